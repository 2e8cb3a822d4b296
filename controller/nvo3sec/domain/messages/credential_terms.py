# SPDX-License-Identifier: Apache-2.0
"""What ends by itself unless somebody replaces it: certificates, revocation lists, trust anchors; and how near that is.

Times are seconds since 1970 (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, unique

DAY_S = 86400.0
WARN_SHARE, WARN_AT_MOST_S = 1 / 3, 90 * DAY_S
"""What is left of a life when it is said first. An authority lives for years: a third of that is no warning."""
URGE_SHARE, URGE_AT_MOST_S = 1 / 10, 30 * DAY_S
"""What is left of it when it is said again."""
SAID = 64
"""Terms, and faults, that one process says at most."""


@unique
class TermKind(Enum):
    """What ends."""

    CERTIFICATE = "certificate"
    REVOCATION_LIST = "revocation list"
    TRUST_ANCHOR = "trust anchor"


@unique
class Urgency(IntEnum):
    """How near the end is."""

    NONE = 0
    WARNING = 1
    URGENT = 2
    ENDED = 3


@dataclass(frozen=True)
class Term:
    """One thing that ends. name: whose it is, for people."""

    kind: TermKind
    name: str
    begins: float
    ends: float

    def urgency(self, now: float) -> Urgency:
        """How near the end is at `now`."""
        left, life = self.ends - now, max(0.0, self.ends - self.begins)
        if left <= 0:
            return Urgency.ENDED
        if left <= min(life * URGE_SHARE, URGE_AT_MOST_S):
            return Urgency.URGENT
        if left <= min(life * WARN_SHARE, WARN_AT_MOST_S):
            return Urgency.WARNING
        return Urgency.NONE

    def describe(self, now: float) -> str:
        """In words."""
        what = f"the {self.kind.value} of {self.name}"
        left = self.ends - now
        return f"{what} has ended {span(-left)} ago" if left <= 0 else f"{what} ends in {span(left)}"


@dataclass(frozen=True)
class CredentialTerms:
    """What one process knows to end, and what is wrong with the files of its credentials."""

    terms: tuple[Term, ...] = ()
    faults: tuple[str, ...] = ()


def span(seconds: float) -> str:
    """A length of time for people, rounded down: `6 d`, `7 h 20 min`, `4 min`, `30 s`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600, whole // 60
    if days >= 3:
        return f"{days} d"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{whole} s"
