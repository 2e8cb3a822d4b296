# SPDX-License-Identifier: Apache-2.0
"""What a domain shows of frames that nobody is to read."""

from __future__ import annotations

from collections.abc import Iterator

from nvo3sec.domain.overlay.dscp import DscpModel
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Level


def copied_dscps(domain: Domain) -> Iterator[tuple[str, str]]:
    """(NVE, VN): the NVE copies the DSCP of frames of the VN to where the underlay sees it, and encrypts the frames.

    In the order of the domain.
    """
    membership = Membership(domain)
    for nve in domain.nves:
        if nve.dscp.model is DscpModel.COPY:
            for vn in membership.vns_of(nve.name):
                peers = (peer for peer in membership.members(vn.name) if peer != nve.name)
                if any(membership.level_between(nve.name, peer, vn) is Level.CONFIDENTIALITY for peer in peers):
                    yield nve.name, vn.name
