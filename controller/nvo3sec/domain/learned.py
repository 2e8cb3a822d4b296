# SPDX-License-Identifier: Apache-2.0
"""What an agent has learned about tenant systems behind other NVEs, and how pushed changes and answers meet in it.

Answers and pushes come on different ways and can overtake each other. The move sequence number decides: of two accounts
of a MAC address the higher one is newer. An answer about an address that changed while it was under way is worth
nothing unless it is at least as new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from nvo3sec.domain.addresses import IpAddress
from nvo3sec.domain.desired import Learned
from nvo3sec.domain.lookups import Wanted
from nvo3sec.domain.messages import Lookup, LookupAnswer, LookupResult, MappingUpdate, Position

Name = tuple[int, int]
"""(VNI, MAC address)."""


@dataclass(frozen=True)
class Applied:
    """What a pushed update leads to.

    changed: whether what was learned is different now. appeared: addresses that exist, so that negative answers about
    them are worth nothing. ask_again: what nobody knows any more whether it still is so.
    """

    changed: bool
    appeared: tuple[Wanted, ...]
    ask_again: tuple[Name, ...]


class LearnedMappings:
    """The learned mappings of NVE `own`. Times are seconds of a monotonic clock, passed in."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._entries: dict[Name, Learned] = {}
        self._fresh_until: dict[Name, float] = {}
        self._positions: dict[int, Position] = {}
        self._asking: Counter[int] = Counter()
        self._changed_meanwhile: dict[int, dict[int | IpAddress, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def all(self) -> tuple[Learned, ...]:
        """Everything that was learned and not taken back."""
        return tuple(self._entries.values())

    @property
    def positions(self) -> tuple[tuple[int, Position], ...]:
        """Up to where pushes have been applied, by VNI."""
        return tuple(sorted(self._positions.items()))

    def knows(self, name: Name) -> bool:
        """Whether the tenant system is known."""
        return name in self._entries

    def keep_vns(self, vnis: Iterable[int]) -> bool:
        """Forget everything in VNs that are served no more; returns whether there was something."""
        served = set(vnis)
        self._positions = {vni: at for vni, at in self._positions.items() if vni in served}
        gone = [name for name in self._entries if name[0] not in served]
        for name in gone:
            self.forget(name)
        return bool(gone)

    def forget(self, name: Name) -> None:
        """It is there no more."""
        self._entries.pop(name, None)
        self._fresh_until.pop(name, None)

    def grown_old(self, now: float) -> tuple[Name, ...]:
        """What was last heard of longer ago than it is good for."""
        return tuple(name for name, until in self._fresh_until.items() if until <= now)

    # --- answers ------------------------------------------------------------------------------------------------------

    def asking(self, query: Lookup) -> None:
        """A question goes out; `answered` or `unanswered` must follow."""
        self._asking[query.vni] += 1

    def unanswered(self, query: Lookup) -> None:
        """No answer will come."""
        self._asking[query.vni] -= 1
        if self._asking[query.vni] <= 0:
            del self._asking[query.vni]
            self._changed_meanwhile.pop(query.vni, None)

    def answered(self, query: Lookup, answer: LookupAnswer, now: float) -> Learned | None:
        """Take an answer; returns what was learned, or None if there is nothing behind another NVE.

        Raises Overtaken if the address changed while the answer was under way.
        """
        meanwhile = self._changed_meanwhile.get(query.vni, {})
        self.unanswered(query)
        if answer.result is not LookupResult.FOUND:
            asked: int | IpAddress | None = query.mac if query.mac is not None else query.ip
            if asked in meanwhile:
                raise Overtaken
            return None
        if meanwhile.get(answer.mac, -1) > answer.sequence:
            raise Overtaken
        if answer.nve == self._own:
            return None
        name = (query.vni, answer.mac)
        known = self._entries.get(name)
        if known is None or known.sequence <= answer.sequence:
            known = Learned(query.vni, answer.mac, answer.nve, answer.ips, answer.sequence)
            self._entries[name] = known
        self._fresh_until[name] = now + answer.valid_s
        return known

    # --- pushes -------------------------------------------------------------------------------------------------------

    def apply(self, update: MappingUpdate) -> Applied:
        """Take what changed in a VN."""
        vni, have = update.vni, self._positions.get(update.vni)
        self._positions[vni] = update.position
        if update.base is None or (
            have is not None and have != Position(update.position.history, update.base)  # a gap
        ):
            return Applied(False, (), tuple(name for name in self._entries if name[0] == vni))
        changed, appeared = False, []
        for mapping in update.mappings:
            appeared += [Wanted(vni, mac=mapping.mac), *(Wanted(vni, ip=ip) for ip in mapping.ips)]
            self._remember(vni, (mapping.mac, *mapping.ips), mapping.sequence)
            new = Learned(vni, mapping.mac, mapping.nve, mapping.ips, mapping.sequence)
            known = self._entries.get((vni, mapping.mac))
            if known is None or known.sequence > mapping.sequence or known == new:
                continue
            changed = True
            if mapping.nve == self._own:
                self.forget((vni, mapping.mac))
            else:
                self._entries[vni, mapping.mac] = new
        for mac, version in update.withdrawn:
            self._remember(vni, (mac,), version)
            known = self._entries.get((vni, mac))
            if known is not None and known.sequence < version:
                self.forget((vni, mac))
                changed = True
        return Applied(changed, tuple(appeared), ())

    def _remember(self, vni: int, addresses: Iterable[int | IpAddress], version: int) -> None:
        """Only while something is asked about the VN, so that it is bounded by what happens in that time."""
        if self._asking.get(vni, 0) > 0:
            meanwhile = self._changed_meanwhile.setdefault(vni, {})
            meanwhile.update(dict.fromkeys(addresses, version))


class Overtaken(Exception):  # no error: ask again
    """What was asked about changed while the answer was under way."""
