# SPDX-License-Identifier: Apache-2.0
"""What an agent has learned about tenant systems behind other NVEs, and how pushed changes and answers meet in it.

Answers and pushes come on different ways and can overtake each other. The move sequence number decides: of two accounts
of a MAC address the higher one is newer. An answer about an address that changed while it was under way is worth
nothing unless it is at least as new.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nvo3sec.domain.mapping.lookups import Wanted
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, MappingUpdate, Position
from nvo3sec.domain.overlay.addresses import IpAddress
from nvo3sec.domain.switch.desired import Learned

LONG_AGO = float("-inf")

Name = tuple[int, int]
"""(VNI, MAC address)."""


@dataclass(frozen=True)
class Applied:
    """What a pushed update leads to.

    changed: whether what was learned is different now. appeared: addresses that exist, so that negative answers about
    them are worth nothing. ask_again: what nobody knows any more whether it still is so. gap: changes are missing, so
    that no negative answer about the VN is worth anything.
    """

    changed: bool
    appeared: tuple[Wanted, ...]
    ask_again: tuple[Name, ...]
    gap: bool = False


@dataclass
class _OpenQuestions:
    """Questions about a VN that are under way, by number, and what has changed since the oldest of them was asked.

    changes: for an address the version of its last change, and the number of the last question that was asked before
    it. gap: the number of the last question that was asked before changes were missed.
    """

    questions: dict[int, None] = field(default_factory=dict)
    changes: OrderedDict[int | IpAddress, tuple[int, int]] = field(default_factory=OrderedDict)
    gap: int = -1

    def note(self, addresses: Iterable[int | IpAddress], version: int) -> None:
        last = next(reversed(self.questions))
        for address in addresses:
            self.changes[address] = (version, last)
            self.changes.move_to_end(address)

    def missed(self) -> None:
        """No answer to a question that is under way says how it is now."""
        self.gap = next(reversed(self.questions))

    def ended(self, question: int) -> None:
        """Forget what changed before every question that is left was asked: so it is bounded by the longest one."""
        del self.questions[question]
        oldest = next(iter(self.questions), None)
        while self.changes and (oldest is None or next(iter(self.changes.values()))[1] < oldest):
            self.changes.popitem(last=False)

    def version_since(self, question: int, address: int | IpAddress | None) -> int:
        """Version of the last change of an address since a question was asked; -1 for none."""
        if address is None:
            return -1
        version, before = self.changes.get(address, (-1, -1))
        return version if before >= question else -1


class LearnedMappings:
    """The learned mappings of NVE `own`. Times are seconds of a monotonic clock, passed in."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._entries: dict[Name, Learned] = {}
        self._fresh_until: dict[Name, float] = {}
        self._positions: dict[int, Position] = {}
        self._vns: dict[int, str] = {}
        self._numbers = itertools.count()
        self._asking: dict[int, _OpenQuestions] = {}

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

    def nve_of(self, name: Name) -> str | None:
        """The NVE behind which the tenant system is; None if it is not known."""
        known = self._entries.get(name)
        return known.nve if known is not None else None

    def keep_vns(self, vns: Mapping[int, str]) -> frozenset[int]:
        """VNs that are served from now on: forget everything of others. Returns the VNIs that are of another VN now.

        vns: their names by VNI. A number that another VN has is nothing that the one had, nor is an answer about it
        that is under way.
        """
        others = frozenset(vni for vni, name in self._vns.items() if vns.get(vni, name) != name)
        self._vns = dict(vns)
        served = vns.keys() - others
        self._positions = {vni: at for vni, at in self._positions.items() if vni in served}
        for name in [name for name in self._entries if name[0] not in served]:
            self.forget(name)
        for vni in others & self._asking.keys():
            self._asking[vni].missed()
        return others

    def forget(self, name: Name) -> None:
        """It is there no more."""
        self._entries.pop(name, None)
        self._fresh_until.pop(name, None)

    def grown_old(self, now: float) -> tuple[Name, ...]:
        """What was last heard of longer ago than it is good for, or has been in doubt since."""
        return tuple(name for name, until in self._fresh_until.items() if until <= now)

    def doubt_unplaced(self) -> None:
        """A session begins: what was learned of a VN whose changes no earlier session has followed is in doubt."""
        self._doubt(name for name in self._entries if name[0] not in self._positions)

    def _doubt(self, names: Iterable[Name]) -> tuple[Name, ...]:
        """It is old from now on: whatever becomes of the session that should ask about it, it is asked about again."""
        doubtful = tuple(names)
        self._fresh_until.update(dict.fromkeys(doubtful, LONG_AGO))
        return doubtful

    # --- answers ------------------------------------------------------------------------------------------------------

    def asking(self, query: Lookup) -> int:
        """A question goes out; `answered` or `unanswered` must follow, with the number that is returned."""
        number = next(self._numbers)
        self._asking.setdefault(query.vni, _OpenQuestions()).questions[number] = None
        return number

    def unanswered(self, query: Lookup, number: int) -> None:
        """No answer will come."""
        asking = self._asking[query.vni]
        asking.ended(number)
        if not asking.questions:
            del self._asking[query.vni]

    def answered(self, query: Lookup, number: int, answer: LookupAnswer, now: float) -> Learned | None:
        """Take an answer; returns what was learned, or None if there is nothing behind another NVE.

        Raises Overtaken if the address changed while the answer was under way, or may have.
        """
        asking = self._asking[query.vni]
        is_found = answer.result is LookupResult.FOUND
        asked: int | IpAddress | None = query.mac if query.mac is not None else query.ip
        changed = asking.version_since(number, answer.mac if is_found else asked)
        missed = asking.gap >= number
        self.unanswered(query, number)
        if answer.result in (LookupResult.BUSY, LookupResult.REFUSED):
            return None  # says nothing about any address
        if missed or changed > (answer.sequence if is_found else -1):
            raise Overtaken
        if not is_found:
            return None
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
            if (asking := self._asking.get(vni)) is not None:
                asking.missed()
            return Applied(False, (), self._doubt(name for name in self._entries if name[0] == vni), gap=True)
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
        if (asking := self._asking.get(vni)) is not None:
            asking.note(addresses, version)


class Overtaken(Exception):  # no error: ask again
    """What was asked about changed while the answer was under way."""
