# SPDX-License-Identifier: Apache-2.0
"""From the counters of a switch's sending entries to how much each key has protected.

A counter belongs to the entry, and goes on when the entry gets another key. What went through between the last reading
and the change is therefore counted for the new key too: never too little for any key, and that is what limits need.
Where an entry is older than its meter (an agent that has begun anew), nobody knows how much of its counter is the
present key's: it is at most all of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Slot = TypeVar("Slot", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Amount:
    """Packets, and bytes of frames. at_most: it may be far less, because the counter is older than the key."""

    packets: int = 0
    octets: int = 0
    at_most: bool = False

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.packets + other.packets, self.octets + other.octets, self.at_most or other.at_most)


@dataclass(frozen=True)
class _Reading:
    key: Hashable
    base: Amount
    last: Amount


class UseMeter(Generic[Slot, Key]):
    """The counters of one switch. A slot is an entry, whatever key it has."""

    def __init__(self) -> None:
        self._readings: dict[Slot, _Reading] = {}
        self._new: set[Slot] = set()

    def made_anew(self, slot: Slot) -> None:
        """The entry was inserted: its counter began at zero."""
        self._readings.pop(slot, None)
        self._new.add(slot)

    def read(self, counters: Mapping[Slot, tuple[Key, Amount]]) -> dict[Key, Amount]:
        """What each key that is in use has protected, given the key and the counter of every entry."""
        readings: dict[Slot, _Reading] = {}
        used: dict[Key, Amount] = {}
        for slot, (key, now) in counters.items():
            before = self._readings.get(slot)
            if before is None:
                base = Amount(at_most=slot not in self._new)
            else:
                base = before.base if before.key == key else before.last
            if now.packets < base.packets or now.octets < base.octets:
                base = Amount()  # somebody else made it anew
            readings[slot] = _Reading(key, base, now)
            amount = Amount(now.packets - base.packets, now.octets - base.octets, base.at_most)
            used[key] = used.get(key, Amount()) + amount
        self._readings = readings
        self._new -= readings.keys()
        return used
