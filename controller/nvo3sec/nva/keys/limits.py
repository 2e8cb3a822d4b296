# SPDX-License-Identifier: Apache-2.0
"""From a domain file to the limits of keys."""

from __future__ import annotations

from nvo3sec.domain.keys.sa import KeyLimits
from nvo3sec.domain.overlay.model import Lifetimes


def limits_of(life: Lifetimes) -> KeyLimits:
    """The limits of keys that a domain file sets."""
    return KeyLimits(
        soft_s=life.key_soft_s,
        hard_s=life.key_hard_s,
        jitter_s=life.key_jitter_s,
        grace_s=life.grace_s,
        confirm_s=life.confirm_s,
        rollout_s=life.rollout_s,
        soft_packets=life.key_soft_packets,
        soft_bytes=life.key_soft_bytes,
        hard_packets=life.key_hard_packets,
        hard_bytes=life.key_hard_bytes,
    )
