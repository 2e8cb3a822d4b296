# SPDX-License-Identifier: Apache-2.0
"""What the mapping service speaks of: places, claims, holds, what NVEs serve, limits (RFC 8014 4.3, RFC 7365 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from nvo3sec.domain.overlay.addresses import (
    IpAddress,
    format_mac,
    link_local_owner,
    mac_fault,
    own_addresses,
    unicast_fault,
)
from nvo3sec.domain.overlay.model import Domain, MappingLimits, SharedAddress, SharedMember, TenantSystem

Address: TypeAlias = tuple[int, int | IpAddress]
"""(VNI, MAC address or IP address): what at most one claim owns."""

Limits: TypeAlias = MappingLimits

TERM_SHIFT = 40
"""Versions of a VN start at term << 40, so that they grow even when a database had to be started anew (new term)."""


def vap_words(port: int, vlan: int) -> str:
    """A VAP of an NVE that is known, for people."""
    return f"port {port}" + (f" VLAN {vlan}" if vlan else "")


class Place(NamedTuple):
    """A VAP: port and VLAN (0: untagged) of an NVE."""

    nve: str
    port: int
    vlan: int

    def __str__(self) -> str:
        return f"{self.nve} {vap_words(self.port, self.vlan)}"


class ClaimKey(NamedTuple):
    """One tenant system's MAC address at one VAP. The VAP decides the VN."""

    place: Place
    mac: int

    def __str__(self) -> str:
        return f"{format_mac(self.mac)} at {self.place}"


@dataclass(frozen=True, slots=True)
class Claim:
    """An attachment that an NVE has announced, or (`static`) that the domain file states.

    announced: IP addresses that it asks for, sorted. granted: those that it has, or None if it is frozen: it then has
    nothing, not even its MAC address. sequence: version of the VN at which it got what it has (the move sequence
    number; 0 if it never had anything). arrival: order of the announcements in this NVA. host: the hypervisor that
    the NVE announced it for, "" for none; only the same one may change it.
    """

    key: ClaimKey
    vni: int
    announced: tuple[IpAddress, ...]
    granted: tuple[IpAddress, ...] | None
    sequence: int
    arrival: int
    static: bool = False
    host: str = ""

    @property
    def nve(self) -> str:
        """The NVE behind which it stands."""
        return self.key.place.nve

    @property
    def owned(self) -> frozenset[Address]:
        """The addresses that it has."""
        if self.granted is None:
            return frozenset()
        return frozenset(((self.vni, self.key.mac), *((self.vni, ip) for ip in self.granted)))

    @property
    def demanded(self) -> frozenset[Address]:
        """The addresses that it asks for."""
        return frozenset(((self.vni, self.key.mac), *((self.vni, ip) for ip in self.announced)))

    @property
    def mapping(self) -> MappingEntry | None:
        """What others see of it."""
        if self.granted is None:
            return None
        return MappingEntry(self.vni, self.key.mac, self.granted, self.key.place, self.sequence)


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """A mapping in force: (VNI, MAC, IPs) to a VAP of an NVE, with its move sequence number."""

    vni: int
    mac: int
    ips: tuple[IpAddress, ...]
    place: Place
    sequence: int


@dataclass(frozen=True, slots=True)
class Hold:
    """An address without an owner that is not free to all.

    successor: the NVE that its last owner named when it released it, until `until` (seconds, monotonic). None:
    contested, several claims waited for it and nobody said which one is right; it stays so until one is left or an
    operator decides. by: the NVE that released it.
    """

    address: Address
    successor: str | None
    until: float | None
    by: str


@dataclass(frozen=True, slots=True)
class Absence:
    """An address that a claim lost because the lease of its NVE ran out, and for no other reason.

    key, host: the claim. returns_until: until then it has the address again as soon as it is announced again, whoever
    has it meanwhile. barred: NVEs whose claims had waited for the address by then; they do not get it before
    `thaws_at` for no other reason than that it is free. Both in seconds, monotonic.
    """

    address: Address
    key: ClaimKey
    host: str
    returns_until: float
    thaws_at: float
    barred: frozenset[str] = frozenset()

    @property
    def ends(self) -> float:
        """When it means nothing any more."""
        return max(self.returns_until, self.thaws_at if self.barred else self.returns_until)


@dataclass(frozen=True)
class Shared:
    """Addresses that are stated for several claims; one of `members` has all of them at a time.

    mac: whether the members' MAC address, which is one then, is among them.
    """

    name: str
    addresses: frozenset[Address]
    members: tuple[ClaimKey, ...]
    mac: bool

    @property
    def ips(self) -> frozenset[IpAddress]:
        """Those that are IP addresses."""
        return frozenset(value for _, value in self.addresses if not isinstance(value, int))


@dataclass(frozen=True)
class Scope:
    """Which VAPs exist, of which VN each is, and for which NVEs addresses are reserved.

    reserved: an address that is in here can be had behind these NVEs only, whoever announces it first. shared: what is
    stated for several claims.
    """

    vaps: Mapping[Place, int] = field(default_factory=dict)
    reserved: Mapping[Address, frozenset[str]] = field(default_factory=dict)
    shared: tuple[Shared, ...] = ()
    underlay_macs: frozenset[int] = frozenset()
    """These are no tenant system's, in whatever VN."""
    nobodys: frozenset[Address] = frozenset()
    """Addresses that are nobody's in their VN: those of whole subnets."""
    vnis: Mapping[str, int] = field(default_factory=dict)
    """The number of each VN, by its name."""

    def can_be_had(self, mac: int, addresses: Iterable[Address]) -> bool:
        """Whether the tenant system with this MAC address can have these addresses at all."""
        return not any(
            address in self.nobodys
            or self._is_anothers(mac, address)
            or (
                (address[1] in self.underlay_macs or mac_fault(address[1]) is not None)
                if isinstance(address[1], int)
                else unicast_fault(address[1]) is not None
            )
            for address in addresses
        )

    def _is_anothers(self, mac: int, address: Address) -> bool:
        """The link-local address that follows from another MAC address: whoever has that has it without announcing it.

        But what the domain file reserves or states for several claims, it says whose it is.
        """
        owner = None if isinstance(address[1], int) else link_local_owner(address[1])
        return owner not in (None, mac) and address not in self.reserved and address not in self.shared_at

    @cached_property
    def shared_at(self) -> Mapping[Address, Shared]:
        """What each shared address belongs to."""
        return {address: one for one in self.shared for address in one.addresses}

    @cached_property
    def served(self) -> frozenset[tuple[str, int]]:
        """(NVE, VNI) for every VN that an NVE serves."""
        return frozenset((place.nve, vni) for place, vni in self.vaps.items())

    @cached_property
    def nves(self) -> frozenset[str]:
        """NVEs that serve anything."""
        return frozenset(place.nve for place in self.vaps)

    def serves(self, nve: str, vni: int) -> bool:
        """Whether `nve` serves the VN: may announce into it and ask about it."""
        return (nve, vni) in self.served


@dataclass(frozen=True)
class StaticMapping:
    """A mapping that the operator states. It has no lease, and no announcement changes it."""

    key: ClaimKey
    vni: int
    ips: tuple[IpAddress, ...]


def sorted_ips(ips: Iterable[IpAddress]) -> tuple[IpAddress, ...]:
    """In one order, each once: IPv4 first."""
    return tuple(sorted(set(ips), key=lambda ip: (not isinstance(ip, IPv4Address), int(ip))))


def scope_of(
    domain: Domain, revoked: Iterable[str] = (), reserved: Mapping[Address, frozenset[str]] | None = None
) -> Scope:
    """What the NVEs of a domain serve, without those that are revoked, and what the domain file reserves for whom.

    reserved: reservations that replace those of the domain file. An address that is reserved for revoked NVEs only can
    be had nowhere.
    """
    gone = frozenset(revoked)
    vni = {vn.name: vn.vni for vn in domain.vns}
    vaps = {
        Place(nve.name, vap.port, vap.vlan): vni[vap.vn]
        for nve in domain.nves
        if nve.name not in gone
        for vap in nve.vaps
    }
    if reserved is None:
        reserved = _sources(domain, vni) | {(vni[one.vn], one.address): one.nves for one in domain.reservations}
    nobodys = {(vn.vni, ip) for vn in domain.vns for subnet in vn.subnets for ip in own_addresses(subnet)}
    shared = tuple(_shared(one, vni[one.vn]) for one in domain.shared_addresses)
    return Scope(vaps, reserved, shared, domain.underlay_macs, frozenset(nobodys), vni)


def member_key(member: SharedMember) -> ClaimKey:
    """The claim that has shared addresses at a place."""
    return ClaimKey(Place(member.nve, member.port, member.vlan), member.mac)


def _sources(domain: Domain, vni: Mapping[str, int]) -> dict[Address, frozenset[str]]:
    """What members of shared addresses send from beside them: to be had behind the NVEs of these members only."""
    found: dict[Address, frozenset[str]] = {}
    for one in domain.shared_addresses:
        for member in one.members:
            for ip in member.sources:
                if ip not in one.ips:
                    address = (vni[one.vn], ip)
                    found[address] = found.get(address, frozenset()) | {member.nve}
    return found


def _shared(one: SharedAddress, vni: int) -> Shared:
    addresses: set[Address] = {(vni, ip) for ip in one.ips}
    if one.mac is not None:
        addresses.add((vni, one.mac))
    return Shared(one.name, frozenset(addresses), tuple(map(member_key, one.members)), one.mac is not None)


def statics_of(domain: Domain, scope: Scope) -> tuple[StaticMapping, ...]:
    """The tenant systems of a domain file, as far as their VAPs are in `scope`. Each states what it shares as well."""
    vni = {vn.name: vn.vni for vn in domain.vns}
    shared: dict[ClaimKey, list[IpAddress]] = {}
    for one in domain.shared_addresses:
        for member in one.members:
            shared.setdefault(member_key(member), []).extend(one.ips)

    def static(system: TenantSystem) -> StaticMapping:
        key = ClaimKey(Place(system.nve, system.port, system.vlan), system.mac)
        return StaticMapping(key, vni[system.vn], sorted_ips((*system.ips, *shared.get(key, ()))))

    stated = [static(system) for system in domain.tenant_systems]
    stated += [
        StaticMapping(member_key(member), vni[one.vn], sorted_ips(shared[member_key(member)]))
        for one in domain.shared_addresses
        if one.mac is not None
        for member in one.members
    ]
    return tuple(one for one in stated if scope.vaps.get(one.key.place) == one.vni)
