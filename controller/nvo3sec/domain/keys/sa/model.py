# SPDX-License-Identifier: Apache-2.0
"""The nouns of the life of keys. Times are seconds of one monotonic clock.

What a million directions have several of each, and make anew at every step, are named tuples: they are made, changed
and hashed several times faster than frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from nvo3sec.domain.keys.spi import phase_of
from nvo3sec.domain.overlay.membership import Tunnel


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """When a key is replaced (soft) and when it ends (hard), by age in seconds and by what was sent with it.

    jitter_s: a key may be replaced up to this much before its soft age. grace_s: how long an old key still receives.
    confirm_s: after this long, an end that has not confirmed a key is reported. rollout_s: how long a rotation may keep
    others waiting. Packets and bytes: None for no limit.
    """

    soft_s: float
    hard_s: float
    jitter_s: float
    grace_s: float
    confirm_s: float
    rollout_s: float
    soft_packets: int | None = None
    soft_bytes: int | None = None
    hard_packets: int | None = None
    hard_bytes: int | None = None

    def is_worn(self, packets: int, octets: int) -> bool:
        """Whether a key that has sent so much is to be replaced."""
        return _reaches(packets, self.soft_packets) or _reaches(octets, self.soft_bytes)

    def is_used_up(self, packets: int, octets: int) -> bool:
        """Whether a key that has sent so much must not be used any more."""
        return _reaches(packets, self.hard_packets) or _reaches(octets, self.hard_bytes)


def _reaches(used: int, limit: int | None) -> bool:
    return limit is not None and used >= limit


class SaState(StrEnum):
    """Where an SA is in its life; one that is gone is not there."""

    PLANNED = "planned"
    SENDING = "sending"
    DRAINING = "draining"


class Turn(Enum):
    """Only so many directions of a domain may be in a rotation at once; the others wait for their turn."""

    NONE = "none"
    ASKED = "asked"
    TAKEN = "taken"


class Sa(NamedTuple):
    """One key. epoch: what it is derived from; 0 for one that an NVA found in the switches, and cannot derive.

    told_at: when the end that has to confirm it next was told. confirmed: the sender's switch has been read back with
    it. drain_until: when its receiving half is removed; None while that is open.
    """

    spi: int
    generation: int
    state: SaState
    planned_at: float
    soft_at: float
    hard_at: float
    epoch: int
    told_at: float
    drain_until: float | None = None
    confirmed: bool = False
    reported_late: bool = False

    @property
    def phase(self) -> int:
        """Which replay ring it uses."""
        return phase_of(self.spi)

    @property
    def inherited(self) -> bool:
        """Found in the switches: the switches have the key, the NVA has only its name."""
        return self.epoch == 0


def in_state(sas: Iterable[Sa], state: SaState) -> Sa | None:
    """The SA that is in `state`, if there is one."""
    for sa in sas:
        if sa.state is state:
            return sa
    return None


class End(NamedTuple):
    """What is known of one end: its incarnation (empty: it never registered), whether its agent is connected, and the
    SPIs of this direction that its switch holds by the last read-back (None: it has not been read back)."""

    incarnation: bytes = b""
    present: bool = False
    holds: tuple[int, ...] | None = None


UNKNOWN = End()


class Direction(NamedTuple):
    """The keys of one direction of one tunnel.

    waiting: a key has been asked for and is not planned yet. postponed: something that keys are made of is missing.
    """

    tunnel: Tunnel
    limits: KeyLimits
    sender: End = UNKNOWN
    receiver: End = UNKNOWN
    sas: tuple[Sa, ...] = ()
    rotation_wanted: bool = False
    waiting: bool = False
    postponed: bool = False
    turn: Turn = Turn.NONE
    last_planned_at: float | None = None

    @property
    def current(self) -> Sa | None:
        """The SA that the sender uses or has been told to use."""
        return in_state(self.sas, SaState.SENDING)

    @property
    def planned(self) -> Sa | None:
        """The SA that is being installed at the receiver."""
        return in_state(self.sas, SaState.PLANNED)

    @property
    def is_established(self) -> bool:
        """Both switches have been read back with the current key."""
        current = self.current
        return current is not None and all(
            end.present and end.holds is not None and current.spi in end.holds for end in (self.sender, self.receiver)
        )


@dataclass(frozen=True, slots=True)
class Held:
    """An SA found in a switch: SPI, generation (0 on the sending side, which has none), seconds to its hard limit."""

    spi: int
    generation: int
    remaining_s: float
