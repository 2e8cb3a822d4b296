# SPDX-License-Identifier: Apache-2.0
"""How many frames may be replicated: a budget of copies, divided by what one frame costs here.

A frame to a group is copied once for every member of its VN that this NVE reaches: each VAP, and each other NVE. So
the same rate of frames would cost a thousand times as much in a VN of a thousand NVEs as in a small one.
"""

from __future__ import annotations

from nvo3sec.domain.overlay.model import Rate

VAP_AT_LEAST = Rate(10, 10)
VN_AT_LEAST = Rate(100, 100)
"""Frames, however large the VN: a host that comes up floods a few (its probe, its announcement, DHCP, duplicate address
detection), and one that asks for an address that is known floods nothing."""


def frame_rate(budget: Rate, copies: int, at_least: Rate) -> Rate:
    """Frames a second and at once.

    budget: copies a second and at once. copies: that one frame costs. at_least: frames that are allowed whatever they
    cost.
    """
    each = max(copies, 1)
    return Rate(max(budget.per_second // each, at_least.per_second), max(budget.burst // each, at_least.burst))
