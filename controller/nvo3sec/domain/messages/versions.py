# SPDX-License-Identifier: Apache-2.0
"""What the two ends of a session speak: versions of the protocol, and features that not every peer knows.

The protocol's version grows with what a peer of the version before would misunderstand; what it would only not know
has a name of its own, a feature, and is not sent to who has not said it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Feature(StrEnum):
    """What is sent only to who knows it. A name is never used again for something else."""

    CREDENTIAL_TERMS = "credential-terms"
    """`AgentMessage.terms`: what of an agent's credentials ends."""
    NEW_INCARNATION = "new-incarnation"
    """`NvaMessage.new_incarnation`: the switch is to take another one."""
    SHARED_ADDRESSES = "shared-addresses"
    """`AttachRequest.is_sign`, which an NVA that does not know it takes for an attachment, and `guards`."""
    ANNOUNCED_AGAIN = "announced-again"
    """`AttachRequest.again`: an NVA that does not know it would give back what an operator has evicted."""
    EARLY_LEASE = "early-lease"
    """`LeaseGrant.early`, and a session in which nothing is said until the NVA has loaded everything."""
    ANNOUNCEMENTS = "announcements"
    """`NveView.claim_places`: who shares addresses and is heard when it announces them."""
    LEVEL_CHANGES = "level-changes"
    """`Peer.sends`, and keys that are in a switch before a VN comes to their level."""


@dataclass(frozen=True)
class Speaks:
    """What one end speaks. protocol: its version; oldest: the oldest that it still serves. software: for people.

    features: names, also such that are not known here.
    """

    protocol: int = 0
    oldest: int = 0
    features: frozenset[str] = frozenset()
    software: str = ""

    def describe(self) -> str:
        """For people."""
        return f"{self.software or 'of an unknown version'} (protocol {self.protocol})"

    def lacks(self, other: Speaks) -> tuple[str, ...]:
        """Features of `other` that this end does not know."""
        return tuple(sorted(other.features - self.features))


UNSAID = Speaks()
"""Of a peer from before any of this was said."""


def mismatch(ours: Speaks, theirs: Speaks, us: str, them: str) -> str:
    """Why the two cannot speak with each other, and which of them is to be upgraded; empty if they can.

    us, them: what the two ends are called.
    """
    if theirs.protocol < ours.oldest:
        behind, ahead, who, other = theirs, ours, them, us
    elif ours.protocol < theirs.oldest:
        behind, ahead, who, other = ours, theirs, us, them
    else:
        return ""
    return (
        f"{who} is {behind.describe()}, and {other} speaks protocol {ahead.oldest} to {ahead.protocol}:"
        f" {who} is to be upgraded"
    )


def missing(feature: Feature, theirs: Speaks, them: str) -> str:
    """That an end cannot go on without a feature that the other one does not know."""
    return f"{them} is {theirs.describe()} and does not know {feature.value!r}: {them} is to be upgraded"


def differences(nva: Speaks, agents: Iterable[tuple[str, Speaks]]) -> list[str]:
    """For operators: which ends know less than others, and what."""
    said = []
    for name, one in agents:
        who = f"the agent of {name}"
        if lacking := one.lacks(nva):
            said.append(f"{who} is {one.describe()} and lacks {', '.join(lacking)}: it is to be upgraded")
        if lacking := nva.lacks(one):
            said.append(f"the NVA is {nva.describe()} and lacks {', '.join(lacking)} of {who}: it is to be upgraded")
    return said
