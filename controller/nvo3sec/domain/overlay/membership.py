# SPDX-License-Identifier: Apache-2.0
"""Which NVEs serve which VN, which tunnels follow from it, and who may send into a VN (requirement 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import NamedTuple

from nvo3sec.domain.overlay.level_changes import LOWEST, LevelChange, Subject, kept_levels, steady
from nvo3sec.domain.overlay.model import Domain, Level, Suite, Vn


class Tunnel(NamedTuple):
    """One direction between two NVEs, at one level of protection. It has keys of its own.

    A named tuple, because it is looked up several times for each step of each key.
    """

    sender: str
    receiver: str
    suite: Suite

    def __str__(self) -> str:
        return f"{self.sender} to {self.receiver}"


class Membership:
    """VN membership of the NVEs of a domain, without those in `revoked`. NVEs without a common VN share nothing.

    changes: of levels, that are under way.
    """

    def __init__(
        self, domain: Domain, revoked: Iterable[str] = (), changes: Mapping[Subject, LevelChange] | None = None
    ) -> None:
        self._domain = domain
        self._changes = changes or {}
        gone = frozenset(revoked)
        self._nves = {nve.name: nve.vn_names for nve in domain.nves if nve.name not in gone}
        self._members: dict[str, list[str]] = {}
        for name in sorted(self._nves):
            for vn_name in self._nves[name]:
                self._members.setdefault(vn_name, []).append(name)
        self._vns: dict[str, list[Vn]] = {}
        for vn in domain.vns:
            for name in self._members.get(vn.name, ()):
                self._vns.setdefault(name, []).append(vn)
        self._levels = {ends: tunnel.level for tunnel in domain.tunnels for ends in (tunnel.ends, tunnel.ends[::-1])}

    def serves(self, nve: str, vn: str) -> bool:
        """Does `nve` serve `vn`: may it send into it, and ask about it?"""
        return vn in self._nves.get(nve, frozenset())

    def vns_of(self, nve: str) -> tuple[Vn, ...]:
        """The VNs that `nve` serves, in the order of the domain."""
        return tuple(self._vns.get(nve, ()))

    def members(self, vn: str) -> tuple[str, ...]:
        """The NVEs that serve `vn`, sorted."""
        return tuple(self._members.get(vn, ()))

    def peers_of(self, nve: str) -> tuple[str, ...]:
        """The NVEs that share at least one VN with `nve`, sorted."""
        own = self._nves.get(nve, frozenset())
        return tuple(sorted({name for vn in own for name in self._members[vn]} - {nve}))

    def shared(self, one: str, other: str) -> tuple[Vn, ...]:
        """The VNs that both serve, in the order of the domain."""
        return tuple(vn for vn in self._vns.get(one, ()) if self.serves(other, vn.name))

    def level_between(self, one: str, other: str, vn: Vn) -> Level:
        """The lowest level that may carry `vn` between two NVEs: the higher of what the VN and the pair demand.

        That is what the domain says; while a level changes, the methods below say what is so.
        """
        return max(vn.level, self._pair_level(one, other))

    def sent_in(self, vn: Vn) -> Level:
        """At which level its NVEs send into a VN, at least."""
        return self._vn_change(vn).sends

    def sent_between(self, one: str, other: str) -> Level:
        """At which level two NVEs send to each other, at least, whatever the VN."""
        return self._pair_change(one, other).sends

    def demanded_between(self, one: str, other: str, vn: Vn) -> Level:
        """The lowest level that two NVEs take from each other in `vn`."""
        return max(self._vn_change(vn).demands, self._pair_change(one, other).demands)

    def levels_between(self, one: str, other: str, vn: Vn) -> frozenset[Level]:
        """The levels of which two NVEs have keys for `vn`."""
        return _higher(self.vn_levels(vn), self.pair_levels(one, other))

    def vn_levels(self, vn: Vn, *, sent_only: bool = False) -> frozenset[Level]:
        """The levels of a VN of which there are keys; sent_only: that at which its NVEs were told to send."""
        change = self._vn_change(vn)
        return frozenset({change.sends}) if sent_only else kept_levels(change, vn.level)

    def pair_levels(self, one: str, other: str, *, sent_only: bool = False) -> frozenset[Level]:
        """The same of a pair of NVEs."""
        change = self._pair_change(one, other)
        return frozenset({change.sends}) if sent_only else kept_levels(change, self._pair_level(one, other))

    def _pair_level(self, one: str, other: str) -> Level:
        return self._levels.get((one, other), LOWEST)

    def _vn_change(self, vn: Vn) -> LevelChange:
        return self._changes.get((vn.name,)) or steady(vn.level)

    def _pair_change(self, one: str, other: str) -> LevelChange:
        ends = (one, other) if one < other else (other, one)
        return self._changes.get(ends) or steady(self._pair_level(one, other))

    def tunnels(self) -> frozenset[Tunnel]:
        """Every direction between NVEs that share a VN, at each level of which they have keys for it."""
        # Of millions: what a VN and a pair make of it is one of few things, and is made once each.
        changing = {subject for subject in self._changes if len(subject) == 2}
        found, seen = set[Tunnel](), set[tuple[frozenset[Level], tuple[str, ...]]]()
        for vn in self._domain.vns:
            of_vn, members = self.vn_levels(vn), self.members(vn.name)
            if (of_vn, members) in seen:
                continue  # another VN of the same members has given these
            seen.add((of_vn, members))
            usual = {least: [level.suite for level in _higher(of_vn, frozenset({least}))] for least in Level}
            for sender, receiver in permutations(members, 2):
                ends = (sender, receiver) if sender < receiver else (receiver, sender)
                if ends in changing:
                    suites = [level.suite for level in _higher(of_vn, self.pair_levels(sender, receiver))]
                else:
                    suites = usual[self._pair_level(sender, receiver)]
                found.update(Tunnel(sender, receiver, suite) for suite in suites)
        return frozenset(found)


def _higher(of_vn: Iterable[Level], of_pair: Iterable[Level]) -> frozenset[Level]:
    """Every level that a level of a VN and one of a pair demand together: the higher of both."""
    of_pair = tuple(of_pair)
    return frozenset(max(level, least) for level in of_vn for least in of_pair)
