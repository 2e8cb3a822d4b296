# SPDX-License-Identifier: Apache-2.0
"""Which NVEs serve which VN, which tunnels follow from it, and who may send into a VN (requirement 14)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import NamedTuple

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
    """VN membership of the NVEs of a domain, without those in `revoked`. NVEs without a common VN share nothing."""

    def __init__(self, domain: Domain, revoked: Iterable[str] = ()) -> None:
        self._domain = domain
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
        """The lowest level that may carry `vn` between two NVEs: the higher of what the VN and the pair demand."""
        return max(vn.level, self._levels.get((one, other), vn.level))

    def tunnels(self) -> frozenset[Tunnel]:
        """Every direction between NVEs that share a VN, at each level that their common VNs and the pair demand."""
        return frozenset(
            Tunnel(sender, receiver, self.level_between(sender, receiver, vn).suite)
            for vn in self._domain.vns
            for sender, receiver in permutations(self.members(vn.name), 2)
        )
