# SPDX-License-Identifier: Apache-2.0
"""Schema of the domain file. Unknown fields are errors: a misspelt limit must not become no limit.

Names carry their units: `_s` seconds, rates in packets a second, bursts in packets, MTUs in bytes of IP packet.
"""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from posixpath import normpath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nvo3sec.domain.overlay.addresses import parse_ip, parse_network, parse_underlay_addresses, parse_unicast_mac
from nvo3sec.domain.overlay.dscp import parse_dscp
from nvo3sec.domain.overlay.model import (
    FIRST_UNDERLAY_PORT,
    FLOOD,
    LAST_ACCESS_PORT,
    LAST_UNDERLAY_PORT,
    LAST_VLAN,
    LAST_VNI,
    VAP_FLOOD,
    VERIFY_RATE,
)
from nvo3sec.domain.overlay.mtu import IPV4_LEAST_MTU, LONGEST_PACKET_BYTES, Family, underlay_mtu_for
from nvo3sec.domain.overlay.names import parse_dns_name, parse_label


def _unix_target(value: str) -> str:
    path = value.removeprefix("unix:")
    if path == value or not path:
        raise ValueError(
            "must be unix:PATH; whoever reaches a P4Runtime server reads the keys of its switch, so TCP is not offered"
        )
    if not path.isprintable() or "%" in path:
        raise ValueError("a path of printable characters without %, which gRPC takes for the beginning of an escape")
    if (plain := re.sub("^//+", "/", normpath(path))) != path:
        raise ValueError(f"a path with . or .., or with / twice or at its end; write unix:{plain}")
    return value


Name = Annotated[str, BeforeValidator(parse_label)]
"""A DNS label: it becomes part of the identity in a certificate."""

DomainName = Annotated[str, BeforeValidator(parse_dns_name)]
Mac = Annotated[int, BeforeValidator(parse_unicast_mac)]
UnicastIp = Annotated[IPv4Address | IPv6Address, BeforeValidator(parse_ip)]
UnderlayIps = Annotated[tuple[IPv4Address | IPv6Address, ...], BeforeValidator(parse_underlay_addresses)]
Subnet = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)]
UnderlayPort = Annotated[int, Field(strict=True, ge=FIRST_UNDERLAY_PORT, le=LAST_UNDERLAY_PORT)]
AccessPort = Annotated[int, Field(strict=True, ge=1, le=LAST_ACCESS_PORT)]
VlanId = Annotated[int, Field(strict=True, ge=0, le=LAST_VLAN)]
Vni = Annotated[int, Field(strict=True, ge=1, le=LAST_VNI)]
Dscp = Annotated[int, BeforeValidator(parse_dscp)]
# A number is written as one: neither `true` nor text becomes 1 (`strict`).
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=365 * 86400, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Level = Literal["integrity", "confidentiality"]
"""What a tunnel gives at least."""
P4RuntimeTarget = Annotated[str, AfterValidator(_unix_target)]


def _at_least(least: float, why: str) -> AfterValidator:
    """A lower bound whose reason is told."""

    def check(value: float) -> float:
        if value < least:
            raise ValueError(f"must be {least:.15g} or more: {why}")
        return value

    return AfterValidator(check)


LeaseSeconds = Annotated[Seconds, _at_least(1, "the tunnels of a switch close with it, and an agent has to renew it")]
RenewSeconds = Annotated[Seconds, _at_least(0.1, "the NVA stores and answers each renewal of each NVE")]
KeySeconds = Annotated[Seconds, _at_least(1, "each key is made, told, written and confirmed in that time")]
ConfirmSeconds = Annotated[Seconds, _at_least(0.1, "an agent has to write its switch and read it back in that time")]
RolloutSeconds = Annotated[Seconds, _at_least(1, "both ends have to be told, and to confirm, in that time")]

KeyPackets = Annotated[Count, _at_least(100, "each key is a generation, and takes a rotation")]
KeyBytes = Annotated[Count, _at_least(10_000, "a frame can have 9216, and each key takes a rotation")]


def hard_limit(soft: int, hard: int | None) -> int:
    """The hard limit of packets or bytes of a key: a tenth above the soft one unless told."""
    return hard if hard is not None else soft + max(1, soft // 10)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class RateSection(_Section):
    """A meter: packets a second, and packets at once."""

    rate: Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
    burst: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]


class CopiesSection(RateSection):
    """The same of copies of frames: copies a second, and copies at once."""


class LifetimesSection(_Section):
    """Lives of leases and keys."""

    lease_s: LeaseSeconds = 300
    """Without news from the NVA the tunnels of a switch close after this time: what it bounds is in
    docs/control-plane.md. The default outlasts a restart and an upgrade of an NVA with 100,000 mappings."""
    lease_renew_s: RenewSeconds | None = None
    """How often the lease is renewed; a third of lease_s unless told, and not less often than every 30 s."""
    key_soft_s: KeySeconds = 3600
    """Age at which a key is replaced."""
    key_hard_s: KeySeconds | None = None
    """Age from which the pipeline refuses a key; a tenth above key_soft_s unless told."""
    key_jitter_s: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    """Keys are replaced up to this much earlier, so that not all turn over at once. A tenth of key_soft_s."""
    grace_s: Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)] = 5
    """How long an old key still receives after its sender has switched."""
    confirm_s: ConfirmSeconds = 10
    """An NVE that has not confirmed a key after this time is reported."""
    key_soft_packets: KeyPackets = 2**32
    """A key is replaced when it has protected so many packets. Why these numbers: docs/keys.md."""
    key_soft_bytes: KeyBytes = 2**41
    """A key is replaced when it has protected so many bytes of frames: an hour at 5 Gbit/s."""
    key_hard_packets: Count | None = None
    """A key protects no more packets than this; a tenth above key_soft_packets unless told."""
    key_hard_bytes: Count | None = None
    """A key protects no more bytes than this; a tenth above key_soft_bytes unless told."""
    rollout_s: RolloutSeconds = 30
    """A rotation that has not ended after this time is given up: the old key stays, and the operator is told."""
    rotations_at_once: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 64
    """So many tunnel directions are rotated at the same time; the others wait."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lease_renew_s is not None and self.lease_renew_s * 2 > self.lease_s:
            raise ValueError("lease_renew_s must be at most half of lease_s, so that one lost renewal closes nothing")
        if self.key_hard_s is not None and self.key_hard_s <= self.key_soft_s + self.grace_s:
            raise ValueError("key_hard_s must be above key_soft_s + grace_s, or keys end before they are replaced")
        if self.key_jitter_s is not None and self.key_jitter_s >= self.key_soft_s:
            raise ValueError("key_jitter_s must be below key_soft_s")
        packets = hard_limit(self.key_soft_packets, self.key_hard_packets)
        octets = hard_limit(self.key_soft_bytes, self.key_hard_bytes)
        if packets <= self.key_soft_packets:
            raise ValueError("key_hard_packets must be above key_soft_packets, or keys end before they are replaced")
        if octets <= self.key_soft_bytes:
            raise ValueError("key_hard_bytes must be above key_soft_bytes, or keys end before they are replaced")
        return self


class MappingLimitsSection(_Section):
    """Bounds for what NVEs can make the NVA remember and do."""

    claims_per_vap: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 256
    """How many tenant systems may be announced behind one VAP."""
    claims_per_nve: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 4096
    ips_per_claim: Annotated[int, Field(strict=True, ge=0, le=256)] = 16
    """IP addresses of one tenant system."""
    holds_per_nve: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1024
    """How many addresses an NVE may keep for the successors that it named."""
    waiting_per_address: Annotated[int, Field(strict=True, ge=1, le=1024)] = 4
    """How many announcements of one NVE may wait for the same address."""
    handover_s: Annotated[
        float,
        Field(strict=True, gt=0, le=3600, allow_inf_nan=False),
        _at_least(0.1, "a successor has to announce in that time"),
    ] = 10
    """How long a named successor may take to announce."""
    return_s: Annotated[float, Field(strict=True, ge=0, le=30 * 86400, allow_inf_nan=False)] = 300
    """How long a tenant system that went because its NVE lost its lease has a right to return to its addresses."""
    thaw_s: Annotated[float, Field(strict=True, ge=0, le=30 * 86400, allow_inf_nan=False)] = 3600
    """How long who had waited for such an address does not get it for no other reason than that it is free."""


class VnSection(_Section):
    """A virtual network."""

    name: Name
    vni: Vni
    level: Level = "integrity"
    """What its tunnels must give at least."""
    mtu: Annotated[int, Field(strict=True, ge=IPV4_LEAST_MTU, le=LONGEST_PACKET_BYTES)] = 1400
    """IP MTU of the tenant systems; the underlay needs more (`domain/overlay/mtu.py`)."""
    punt: RateSection = RateSection(rate=20, burst=20)
    """What each VAP may send to its agent: unknown destinations and neighbors, frames that do not fit into a tunnel."""
    negative_quota: Annotated[int, Field(strict=True, ge=1, le=65536)] = 128
    """How many addresses without an answer an agent remembers for each VAP."""
    flood: CopiesSection = CopiesSection(rate=FLOOD.per_second, burst=FLOOD.burst)
    """What each NVE spends on its broadcast, multicast and the like: from VAPs, and as much again from tunnels. Its
    agent divides it by the copies that one frame costs there, anew whenever these change (docs/tables.md)."""
    vap_flood: CopiesSection = CopiesSection(rate=VAP_FLOOD.per_second, burst=VAP_FLOOD.burst)
    """The same of each VAP."""
    subnets: tuple[Subnet, ...] = ()
    """Subnets of its tenant systems, as far as they are known. Their own addresses, and those of all, are nobody's."""
    allow_link_local: Flag = True
    """Lets each tenant system have the link-local address that follows from its MAC address (RFC 4291, appendix A)."""
    allow_unspecified_source: Flag = False
    """As of a tenant system, for those that agents announce."""


class RouteSection(_Section):
    """How this NVE reaches one peer, where it differs from the default."""

    peer: Name
    port: UnderlayPort | None = None
    """Underlay port of this NVE towards the peer; underlay.port unless told."""
    mac: Mac | None = None
    """This NVE's own MAC address on that port; underlay.mac unless told."""
    next_hop_mac: Mac | None = None
    """The peer's own MAC address on its port towards this NVE unless told."""
    meter: RateSection | None = None


class DscpSection(_Section):
    """The DSCP of the outer headers that an NVE sends (RFC 2983)."""

    model: Literal["pipe", "copy"] = "pipe"
    """Always `value`; or that of the tenant's IP packet, which whoever looks at the underlay can then see."""
    value: Dscp = 0
    """With copy, of frames that are not of IP."""


class UnderlaySection(_Section):
    """The underlay side of an NVE."""

    address: UnderlayIps
    """One, or a list of one of each family. Two NVEs that serve a VN together have one in common."""
    port: UnderlayPort
    mac: Mac
    mtu: Annotated[int, Field(strict=True, ge=underlay_mtu_for(IPV4_LEAST_MTU, Family.IPV4), le=9216)] = 1500
    peer_meter: RateSection = RateSection(rate=100_000, burst=10_000)
    """What may come from one peer and not verify; and what is verified of it in any case when it was more than that."""
    verify_rate: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] = VERIFY_RATE
    """Packets a second that the switch can verify. Peers in whose name more comes than `peer_meter` allows share it:
    several times what it was seen to send is verified of each."""
    zero_checksum: Flag = False
    """This NVE sends zero as the UDP checksum of its tunnels over IPv6, as some hardware does, and its peers take that
    from it (RFC 6935 5, RFC 8926 3.2). The program of this project computes it, and no peer takes zero from anybody
    else."""
    dscp: DscpSection = DscpSection()
    routes: tuple[RouteSection, ...] = ()

    @cached_property
    def route_by_peer(self) -> dict[str, RouteSection]:
        """What is said about the ways to peers; the first of two about the same one, which is a fault."""
        return {route.peer: route for route in reversed(self.routes)}


class VapSection(_Section):
    """A virtual access point."""

    port: AccessPort
    vlan: VlanId = 0
    vn: Name
    meter: RateSection = RateSection(rate=100_000, burst=10_000)


class NveSection(_Section):
    """A network virtualization edge."""

    name: Name
    device_id: Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
    p4runtime: P4RuntimeTarget
    """unix:PATH; a relative path starts at the directory of the domain file."""
    underlay: UnderlaySection
    vaps: tuple[VapSection, ...] = ()


class TenantSystemSection(_Section):
    """A tenant system, and the VAP behind which it stands."""

    name: Name
    vn: Name
    nve: Name
    port: AccessPort
    vlan: VlanId = 0
    mac: Mac
    ips: tuple[UnicastIp, ...] = ()
    allow_other_ethertypes: Flag = False
    """Lets frames that are neither IP nor ARP pass the source guard."""
    allow_unspecified_source: Flag = False
    """Lets 0.0.0.0 and :: pass as sources (DHCP, multicast listener reports). Probes for own addresses pass anyway."""
    allow_router: Flag = False
    """Lets router advertisements and redirects pass, of ICMP and ICMPv6."""
    allow_dhcp_server: Flag = False
    """Lets pass what servers and relays of DHCP and DHCPv6 send."""


class TunnelSection(_Section):
    """What the tunnels between two NVEs must give at least, whatever the VN asks."""

    between: tuple[Name, Name]
    level: Level


class ReservationSection(_Section):
    """An address that can be had behind some NVEs only. Either a MAC address or an IP address."""

    vn: Name
    mac: Mac | None = None
    ip: UnicastIp | None = None
    nves: Annotated[tuple[Name, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.mac is None) == (self.ip is None):
            raise ValueError("names either a mac or an ip")
        return self

    @property
    def address(self) -> int | IPv4Address | IPv6Address:
        """The one of the two that it names."""
        address = self.mac if self.ip is None else self.ip
        assert address is not None
        return address


class SharedMemberSection(_Section):
    """A VAP where shared addresses can be."""

    nve: Name
    port: AccessPort
    vlan: VlanId = 0
    mac: Mac | None = None
    """Of the tenant system there that can have them; not where they have a MAC address of their own."""
    sources: tuple[UnicastIp, ...] = ()
    """Further IP addresses that frames from that MAC address may have there: those that VRRP advertises from."""


class SharedAddressSection(_Section):
    """Addresses that are at one of several VAPs at a time (VRRP, RFC 9568; keepalived)."""

    name: Name
    vn: Name
    mac: Mac | None = None
    """Goes with them; without it each member has them under its own."""
    ips: Annotated[tuple[UnicastIp, ...], Field(min_length=1)]
    members: Annotated[tuple[SharedMemberSection, ...], Field(min_length=2, max_length=16)]
    """The first one has them until another one claims them."""

    @model_validator(mode="after")
    def _one_mac(self) -> Self:
        if any((member.mac is None) == (self.mac is None) for member in self.members):
            raise ValueError("has either a mac for all members, or one with each of them")
        return self


class DomainFile(_Section):
    """The whole file."""

    domain: DomainName
    tunnel_keys: Literal["nva", "nva+peer"] = "nva"
    """Who can compute the keys of the tunnels: the NVA, or only the NVA together with the two NVEs."""
    lifetimes: LifetimesSection = LifetimesSection()
    mapping_limits: MappingLimitsSection = MappingLimitsSection()
    vns: Annotated[tuple[VnSection, ...], Field(min_length=1)]
    nves: Annotated[tuple[NveSection, ...], Field(min_length=1)]
    tunnels: tuple[TunnelSection, ...] = ()
    tenant_systems: tuple[TenantSystemSection, ...] = ()
    reservations: tuple[ReservationSection, ...] = ()
    shared_addresses: tuple[SharedAddressSection, ...] = ()
