# SPDX-License-Identifier: Apache-2.0
"""Numbers that several switches know, what they stand for, and who has to let go of one before it stands for another.

Switches change one after the other, and one whose agent hangs does not change at all: until its lease ends it takes
and sends by what it was told last. So a VNI, an NVE's address or a VAP that stood for one thing is not given to another
before everybody who was told of the one has shown that it is gone.

Numbers that one switch alone knows (interfaces, ring pairs, groups) are in `numbers`, and follow the same rule there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Nve


class Sort(StrEnum):
    """What kind of number."""

    VNI = "VNI"
    ADDRESS = "address"
    """An NVE's, in the underlay."""
    VAP = "VAP"


class Meaning(NamedTuple):
    """A number, as text, and the name of what it stands for: a VN for a VNI or a VAP, an NVE for an address."""

    sort: Sort
    number: str
    owner: str

    @property
    def place(self) -> tuple[Sort, str]:
        """The number without what it stands for."""
        return self.sort, self.number

    def __str__(self) -> str:
        return f"{self.sort} {self.number} as {self.owner}'s"


@dataclass(frozen=True)
class Told:
    """What NVEs are told: a domain, without those who are shut out of it."""

    domain: Domain
    membership: Membership


def vni_meaning(vni: int, vn: str) -> Meaning:
    """What a VNI stands for."""
    return Meaning(Sort.VNI, str(vni), vn)


def address_meaning(address: UnderlayAddress, nve: str) -> Meaning:
    """What an address in the underlay stands for."""
    return Meaning(Sort.ADDRESS, str(address), nve)


def vap_meaning(nve: str, port: int, vlan: int, vn: str) -> Meaning:
    """What a VAP stands for."""
    return Meaning(Sort.VAP, f"{nve} port {port} VLAN {vlan}", vn)


def _addresses(nve: Nve) -> list[Meaning]:
    return [address_meaning(one, nve.name) for one in nve.addresses]


def _vaps(nve: Nve) -> Iterator[Meaning]:
    return (vap_meaning(nve.name, vap.port, vap.vlan, vap.vn) for vap in nve.vaps)


def meanings(domain: Domain) -> dict[tuple[Sort, str], str]:
    """Every number that a domain uses, and what it stands for."""
    found = [vni_meaning(vn.vni, vn.name) for vn in domain.vns]
    for nve in domain.nves:
        found += _addresses(nve)
        found += _vaps(nve)
    return {one.place: one.owner for one in found}


def obstacles(
    old: Domain, new: Domain, held: Mapping[Meaning, Collection[str]] | None = None
) -> dict[tuple[Sort, str], str]:
    """Numbers that cannot stand yet for what they do in `new`, and why.

    held: numbers that stood for something, and the NVEs where they may still do so.
    """
    now = meanings(old)
    holding: dict[tuple[Sort, str], list[Meaning]] = {}
    for meaning, nves in (held or {}).items():
        if nves:
            holding.setdefault(meaning.place, []).append(meaning)
    found = {}
    for place, owner in meanings(new).items():
        what = " ".join(place)
        if (before := now.get(place, owner)) != owner:
            found[place] = f"{what} is {before}'s; apply a file without that first, then one with this"
            continue
        others = [one for one in holding.get(place, ()) if one.owner != owner]
        if others:
            said = " and ".join(f"{one.owner}'s at {', '.join(sorted((held or {})[one]))}" for one in sorted(others))
            found[place] = (
                f"{what} may still be {said}; wait until that is confirmed to be gone, or their leases have run out"
            )
    return found


def let_go(before: Told, after: Told) -> dict[Meaning, frozenset[str]]:
    """What NVEs were told by `before` and no longer by `after`: the NVEs that have to let go of each number."""
    found: dict[Meaning, set[str]] = {}

    def add(meaning: Meaning, *nves: str) -> None:
        found.setdefault(meaning, set()).update(nves)

    stay = {(vn.name, vn.vni) for vn in after.domain.vns}
    for vn in before.domain.vns:
        members = before.membership.members(vn.name)
        left = {nve for nve in members if not after.membership.serves(nve, vn.name)}
        if gone := left if (vn.name, vn.vni) in stay else set(members):
            add(vni_meaning(vn.vni, vn.name), *gone)
    for nve in before.domain.nves:
        new = after.domain.nve_by_name.get(nve.name)
        kept = set(_told_vaps(new, after)) if new is not None else set()
        for meaning in _told_vaps(nve, before):
            if meaning not in kept:
                add(meaning, nve.name)
        _let_go_of_addresses(nve, before, after, add)
    return {meaning: frozenset(nves) for meaning, nves in found.items()}


def _let_go_of_addresses(nve: Nve, before: Told, after: Told, add: Callable[..., None]) -> None:
    """Of `nve`'s own at its peers, and of its peers' at `nve`; all of them, whichever of them the tunnels have."""
    new = after.domain.nve_by_name.get(nve.name)
    left = [one for one in _addresses(nve) if new is None or one not in _addresses(new)]
    if not left and _names(before, nve.name) == _names(after, nve.name):
        return  # a peer that has gone is looked at by itself
    peers = set(before.membership.peers_of(nve.name))
    for own in left:
        add(own, nve.name, *peers)
    for peer in peers - set(after.membership.peers_of(nve.name)):
        for own in _addresses(nve):
            add(own, peer)
        for other in _addresses(before.domain.nve_by_name[peer]):
            add(other, nve.name)


def _names(told: Told, nve: str) -> frozenset[str]:
    return frozenset(vn.name for vn in told.membership.vns_of(nve))


def is_told(told: Told, meaning: Meaning, nve: str) -> bool:
    """Whether an NVE is told that the number stands for this."""
    match meaning.sort:
        case Sort.VNI:
            vn = told.domain.vn_by_name.get(meaning.owner)
            return vn is not None and str(vn.vni) == meaning.number and told.membership.serves(nve, vn.name)
        case Sort.ADDRESS:
            owner = told.domain.nve_by_name.get(meaning.owner)
            if owner is None or meaning not in _addresses(owner):
                return False
            return nve == owner.name or bool(told.membership.shared(nve, owner.name))
        case Sort.VAP:
            found = told.domain.nve_by_name.get(nve)
            return found is not None and meaning in _told_vaps(found, told)


def _told_vaps(nve: Nve, told: Told) -> Iterator[Meaning]:
    served = {vn.name for vn in told.membership.vns_of(nve.name)}
    return (one for one in _vaps(nve) if one.owner in served)
