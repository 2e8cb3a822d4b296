# SPDX-License-Identifier: Apache-2.0
"""The overlay as it is configured: virtual networks, NVEs, tenant systems, limits (RFC 7365, RFC 8014)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property

from nvo3sec.domain.overlay.addresses import IpAddress, IpNetwork, UnderlayAddress, tunnel_ends
from nvo3sec.domain.overlay.constants import (
    PORT_CPU,
    PORT_UNDERLAY_BIT,
    SUITE_CHASKEY12,
)
from nvo3sec.domain.overlay.dscp import BEST_EFFORT, OuterDscp

FIRST_UNDERLAY_PORT = PORT_UNDERLAY_BIT
LAST_UNDERLAY_PORT = PORT_CPU - 1
LAST_ACCESS_PORT = PORT_UNDERLAY_BIT - 1
"""The parser tells the class of a port by its number. Above are the agent's port, and where dropped packets go."""

LAST_VLAN = 4094
"""IEEE 802.1Q: 4095 is reserved."""
LAST_VNI = (1 << 24) - 1
"""RFC 8926 3.4."""

REPLICAS_PER_PORT_LIMIT = 60
"""BMv2 queues 64 packets for a port and drops the others in silence."""


class Level(IntEnum):
    """What protection gives: a higher level gives all that a lower one does. VNs and pairs of NVEs demand one."""

    INTEGRITY = 1
    CONFIDENTIALITY = 2

    @property
    def word(self) -> str:
        """As the domain file says it."""
        return self.name.lower()

    @property
    def suite(self) -> Suite:
        """The suite that new keys of this level are of."""
        return _SUITE_FOR[self]


class Suite(IntEnum):
    """Cipher suite of a key. The number is the one on the wire, and says nothing of strength."""

    CHASKEY12 = SUITE_CHASKEY12
    ASCON_AEAD128 = 2

    @property
    def level(self) -> Level:
        """What it gives."""
        return _GIVES[self]


_GIVES = {Suite.CHASKEY12: Level.INTEGRITY, Suite.ASCON_AEAD128: Level.CONFIDENTIALITY}
_SUITE_FOR = {Level.INTEGRITY: Suite.CHASKEY12, Level.CONFIDENTIALITY: Suite.ASCON_AEAD128}
"""One that comes later has a line in the first table. Its level has it in the second, once every switch knows it."""


class TunnelKeys(StrEnum):
    """Who can compute the keys of the tunnels."""

    NVA = "nva"
    """The NVA derives them alone."""
    NVA_AND_PEER = "nva+peer"
    """Each pair of NVEs adds a secret of its own, that the NVA does not know."""


@dataclass(frozen=True)
class Rate:
    """A meter: `per_second` packets, and `burst` packets at once."""

    per_second: int
    burst: int


FLOOD = Rate(100_000, 20_000)
VAP_FLOOD = Rate(25_000, 5_000)
"""Copies of frames, where the domain file does not say. The embedded switch makes 400,000 a second and core."""


@dataclass(frozen=True)
class Vn:
    """A virtual network. `level` is the lowest that may carry it; `mtu` is its tenants' IP MTU in bytes.

    flood, vap_flood: copies that an NVE makes of frames to groups; of all of the VN, for those from VAPs and for those
    from tunnels each, and of those from one VAP.
    """

    name: str
    vni: int
    level: Level
    mtu: int
    punt: Rate
    negative_quota: int
    subnets: tuple[IpNetwork, ...] = ()
    """Those of its tenant systems that are known. Agents are not told."""
    allow_link_local: bool = True
    """Each tenant system may have the link-local address of its MAC address."""
    allow_unspecified_source: bool = False
    """Of those that agents announce. Agents are told of each what it may."""
    flood: Rate = FLOOD
    vap_flood: Rate = VAP_FLOOD


@dataclass(frozen=True)
class Vap:
    """A virtual access point: one VLAN of an access port, attached to one VN. VLAN 0 is untagged."""

    port: int
    vlan: int
    vn: str
    meter: Rate

    @property
    def place(self) -> tuple[int, int]:
        """(port, VLAN), which names the VAP within its NVE."""
        return self.port, self.vlan


@dataclass(frozen=True, slots=True)  # a domain of 1,000 NVEs has a million
class Route:
    """How an NVE reaches one peer: out of `port` from `mac` to `next_hop_mac`; `meter` limits what comes from it."""

    peer: str
    port: int
    mac: int
    next_hop_mac: int
    meter: Rate


VERIFY_RATE = 200_000
"""Where the domain file does not say. Of 1,500 bytes, the embedded switch verifies 500,000 a second, per core."""


@dataclass(frozen=True)
class Nve:
    """A network virtualization edge: one switch, its underlay side, and its VAPs.

    verify_rate: packets a second that the switch can verify; peers that are attacked share it. other_address: in the
    underlay, of IPv6; that of IPv4 is `address` then. zero_checksum: of UDP over IPv6 it sends none. dscp: of the outer
    headers that it sends.
    """

    name: str
    device_id: int
    p4runtime: str
    address: UnderlayAddress
    mtu: int
    underlay_ports: tuple[tuple[int, int], ...]
    routes: tuple[Route, ...]
    vaps: tuple[Vap, ...]
    verify_rate: int = VERIFY_RATE
    other_address: UnderlayAddress | None = None
    zero_checksum: bool = False
    dscp: OuterDscp = BEST_EFFORT

    @property
    def addresses(self) -> tuple[UnderlayAddress, ...]:
        """In the underlay: one, or one of each family, that of IPv4 first."""
        return (self.address,) if self.other_address is None else (self.address, self.other_address)

    def ends_with(self, peer: Nve) -> tuple[UnderlayAddress, UnderlayAddress] | None:
        """Where the tunnel to a peer begins and ends; see `tunnel_ends`."""
        return tunnel_ends(self.addresses, peer.addresses)

    @cached_property
    def vn_names(self) -> frozenset[str]:
        """Names of the VNs that this NVE serves."""
        return frozenset(vap.vn for vap in self.vaps)

    def routes_to(self, peers: Collection[str]) -> dict[str, Route]:
        """The routes to those of `peers` that there are, by peer. Looks through all once."""
        wanted = frozenset(peers)
        return {route.peer: route for route in self.routes if route.peer in wanted}


@dataclass(frozen=True, slots=True)
class TenantSystem:
    """A mapping (RFC 8014 4.3): the addresses of a tenant system, and the VAP behind which it stands."""

    name: str
    vn: str
    nve: str
    port: int
    vlan: int
    mac: int
    ips: tuple[IpAddress, ...]
    allow_other_ethertypes: bool
    allow_unspecified_source: bool
    allow_router: bool = False
    allow_dhcp_server: bool = False


@dataclass(frozen=True)
class Lifetimes:
    """Lives of leases and keys, seconds. From soft on a key is replaced, from hard on it must not be used.

    `*_packets` and `*_bytes`: what one key may protect. rollout_s: how long one rotation may take. rotations_at_once:
    how many tunnel directions may be in a rotation at the same time.
    """

    lease_s: float
    lease_renew_s: float
    key_soft_s: float
    key_hard_s: float
    key_jitter_s: float
    grace_s: float
    confirm_s: float
    key_soft_packets: int
    key_soft_bytes: int
    key_hard_packets: int
    key_hard_bytes: int
    rollout_s: float
    rotations_at_once: int


@dataclass(frozen=True)
class MappingLimits:
    """Bounds for what NVEs can make the NVA remember and do.

    waiting_per_address: how many frozen announcements of one NVE may want the same address. handover_s: how long a
    named successor may take to announce. return_s: how long a claim that ended because the lease of its NVE ran out may
    have its addresses back. thaw_s: how long who waited for these does not get them by that alone. lease_s: the lease
    that NVEs with claims get when the NVA restarts.
    """

    claims_per_vap: int = 256
    claims_per_nve: int = 4096
    ips_per_claim: int = 16
    holds_per_nve: int = 1024
    waiting_per_address: int = 4
    handover_s: float = 10.0
    return_s: float = 300.0
    thaw_s: float = 3600.0
    lease_s: float = 30.0


@dataclass(frozen=True)
class Reservation:
    """An address (MAC or IP) of a VN that can be had behind `nves` only, whoever announces it first."""

    vn: str
    address: int | IpAddress
    nves: frozenset[str]


@dataclass(frozen=True)
class SharedMember:
    """A place where shared addresses can be: a VAP, and the MAC address that has them there.

    sources: further IP addresses that frames from that MAC address may have as their source there.
    """

    nve: str
    port: int
    vlan: int
    mac: int
    sources: tuple[IpAddress, ...] = ()


@dataclass(frozen=True)
class SharedAddress:
    """Addresses of a VN that are stated for several VAPs, and are at one of them at a time (VRRP, RFC 9568).

    mac: a MAC address that goes with them; None if each member has them under its own. members: the first one has them
    until another one claims them.
    """

    name: str
    vn: str
    mac: int | None
    ips: tuple[IpAddress, ...]
    members: tuple[SharedMember, ...]


@dataclass(frozen=True)
class TunnelLevel:
    """The lowest level that may carry anything between two NVEs, whatever the VN asks. `ends`: names, sorted."""

    ends: tuple[str, str]
    level: Level


@dataclass(frozen=True)
class Domain:
    """One administrative domain: everything under one NVA."""

    name: str
    lifetimes: Lifetimes
    vns: tuple[Vn, ...]
    nves: tuple[Nve, ...]
    tenant_systems: tuple[TenantSystem, ...]
    tunnel_keys: TunnelKeys = TunnelKeys.NVA
    tunnels: tuple[TunnelLevel, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    mapping_limits: MappingLimits = MappingLimits()
    shared_addresses: tuple[SharedAddress, ...] = ()
    underlay_macs: frozenset[int] = frozenset()
    """Of NVEs' ports, and of whom they send to: no tenant system's."""

    @cached_property
    def vn_by_name(self) -> dict[str, Vn]:
        """VNs by name."""
        return {vn.name: vn for vn in self.vns}

    @cached_property
    def vn_by_number(self) -> dict[int, Vn]:
        """VNs by VNI."""
        return {vn.vni: vn for vn in self.vns}

    @cached_property
    def nve_by_name(self) -> dict[str, Nve]:
        """NVEs by name."""
        return {nve.name: nve for nve in self.nves}

    @cached_property
    def _stated(self) -> dict[str, tuple[TenantSystem, ...]]:
        found: dict[str, list[TenantSystem]] = {}
        for system in self.tenant_systems:
            found.setdefault(system.nve, []).append(system)
        return {nve: tuple(systems) for nve, systems in found.items()}

    def tenant_systems_of(self, nve: str) -> tuple[TenantSystem, ...]:
        """The tenant systems that are stated to stand behind an NVE, in the order of the domain."""
        return self._stated.get(nve, ())
