# SPDX-License-Identifier: Apache-2.0
"""What happens to a direction, and what has to be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from nvo3sec.domain.keys.sa.model import Held

# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SenderUp:
    """The sender's agent registered; its switch sends with `held`, if with anything.

    jitter_s: what is inherited is replaced this much before its soft age, as if it were of this NVA's making.
    """

    incarnation: bytes
    held: Held | None = None
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReceiverUp:
    """The receiver's agent registered; its switch receives `held`. jitter_s: as for `SenderUp`."""

    incarnation: bytes
    held: tuple[Held, ...] = ()
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SenderDown:
    """The sender's agent is gone. Its switch goes on until its lease or the hard limit ends it."""


@dataclass(frozen=True, slots=True)
class ReceiverDown:
    """The receiver's agent is gone."""


@dataclass(frozen=True, slots=True)
class SenderRead:
    """The sender's switch was read back: it sends with `spi`, or with none."""

    spi: int | None


@dataclass(frozen=True, slots=True)
class ReceiverRead:
    """The receiver's switch was read back: it receives `spis`."""

    spis: frozenset[int]


@dataclass(frozen=True, slots=True)
class Used:
    """So many packets and bytes have been sent with the key since it was installed, by the sender's switch.

    at_most: it may be far less; the sender's agent does not know when the key was installed.
    """

    spi: int
    packets: int
    octets: int
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """The key that was asked for exists now. epoch: what it is derived from."""

    spi: int
    generation: int
    soft_at: float
    hard_at: float
    epoch: int


@dataclass(frozen=True, slots=True)
class Postponed:
    """The key that was asked for cannot be made yet."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was missing for a key is there."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """An end has lost what the key is made of before its switch had it: it will never have it."""

    spi: int


@dataclass(frozen=True, slots=True)
class Rotate:
    """The operator wants a new key."""


@dataclass(frozen=True, slots=True)
class TurnGiven:
    """It is the turn of this direction to rotate."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Event: TypeAlias = (
    SenderUp
    | ReceiverUp
    | SenderDown
    | ReceiverDown
    | SenderRead
    | ReceiverRead
    | Used
    | Planned
    | Postponed
    | Resumed
    | Unusable
    | Rotate
    | TurnGiven
    | Tick
)


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeedKey:
    """Derive a key for `phase` and answer with Planned."""

    phase: int


@dataclass(frozen=True, slots=True)
class NeedTurn:
    """Answer with TurnGiven when this direction may rotate. due_at: since when it is due."""

    due_at: float


@dataclass(frozen=True, slots=True)
class Changed:
    """What the switches at both ends should hold has changed."""


@dataclass(frozen=True, slots=True)
class Switched:
    """The sender is to use `spi` now."""

    spi: int


@dataclass(frozen=True, slots=True)
class Late:
    """`spi` has not been confirmed in time by the `end` ("sender" or "receiver")."""

    spi: int
    end: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The key in use reached its hard limit without a successor: the direction is closed."""

    spi: int


@dataclass(frozen=True, slots=True)
class UsedUp:
    """The key has sent as much as it may. The sender must not use it any more, whether or not there is another."""

    spi: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Every key ended because an end has a new incarnation."""

    end: str


Effect: TypeAlias = NeedKey | NeedTurn | Changed | Switched | Late | Expired | UsedUp | Dropped
