# SPDX-License-Identifier: Apache-2.0
"""What a switch holds, as typed values: one class for each kind of entry. Times are microseconds, switch clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.overlay import constants
from nvo3sec.domain.overlay.addresses import IpAddress, UnderlayAddress
from nvo3sec.domain.overlay.dscp import OuterDscp
from nvo3sec.domain.overlay.model import Level, Rate, Suite

AGENT_REPLICA = constants.PORT_CPU, constants.INTERFACE_AGENT
"""Port and interface of the copy that goes to the agent."""
TUNNEL_BIT = constants.INTERFACE_TUNNEL
"""Top bit of an overlay interface that is a tunnel; without it, a VAP."""


class IpKind(IntEnum):
    """What the source guard sees in a frame."""

    OTHER = constants.IP_KIND_NONE
    IPV4 = constants.IP_KIND_IPV4
    IPV6 = constants.IP_KIND_IPV6
    ARP = constants.IP_KIND_ARP


class Service(IntEnum):
    """What a source may be besides a host: bits of `permit_service`."""

    ANNOUNCER = constants.SERVICE_ANNOUNCER
    ROUTER = constants.SERVICE_ROUTER
    DHCP_SERVER = constants.SERVICE_DHCP_SERVER


@dataclass(frozen=True)
class PortRole:
    """A port with a role: access (`mac` None), or underlay with its own MAC address."""

    port: int
    mac: int | None


@dataclass(frozen=True)
class AuthorizedNve:
    """Packets from `source` to `destination` may reach the cryptography, as those of number `peer`. `tag`: of the pair
    of addresses; the keys of that peer repeat it. zero_checksum: they may have none of UDP over IPv6."""

    source: UnderlayAddress
    destination: UnderlayAddress
    peer: int
    tag: int
    zero_checksum: bool = False


@dataclass(frozen=True)
class ReceiveEntry:
    """A key to receive with. `pair` names the two replay rings of peer and level; `tag` is that of `AuthorizedNve`."""

    peer: int
    spi: int
    suite: Suite
    key: Secret
    min_coverage: int
    pair: int
    tag: int
    generation: int
    not_after_us: int
    incarnation: bytes


@dataclass(frozen=True)
class PeerMeter:
    """What may come from a peer and not verify, before it is in penalty."""

    peer: int
    rate: Rate


@dataclass(frozen=True)
class PeerFloor:
    """What is verified of a peer that is in penalty: see `floors`."""

    peer: int
    rate: Rate


@dataclass(frozen=True)
class VnAuthorization:
    """`peer` may send into `vni`, at `level` or higher (requirement 14)."""

    peer: int
    vni: int
    level: Level


@dataclass(frozen=True)
class VapEntry:
    """A VAP: port and VLAN to interface and VN."""

    port: int
    vlan: int
    interface: int
    vni: int
    level: Level
    rate: Rate


@dataclass(frozen=True)
class SourceGuard:
    """This source may appear at this VAP. `ip` as a number, 0 for neither IP nor ARP. is_announcer: the agent hears
    what it announces. services: what else it may do than a host."""

    interface: int
    mac: int
    ip_kind: IpKind
    ip: int
    is_announcer: bool = False
    services: frozenset[Service] = frozenset()


@dataclass(frozen=True)
class TargetGuard:
    """This source may advertise `ip` (IPv6, as a number) to neighbors at this VAP, from whatever address it has."""

    interface: int
    mac: int
    ip: int


@dataclass(frozen=True)
class Neighbor:
    """The answer to an ARP request or a neighbor solicitation."""

    vni: int
    ip: IpAddress
    mac: int


@dataclass(frozen=True)
class BridgeToVap:
    """A tenant system behind a VAP of this NVE, for frames from its VAPs or from its tunnels."""

    vni: int
    mac: int
    from_underlay: bool
    port: int
    interface: int


@dataclass(frozen=True)
class BridgeToTunnel:
    """A tenant system behind another NVE, for frames from VAPs: what came out of a tunnel goes into none."""

    vni: int
    mac: int
    interface: int


@dataclass(frozen=True)
class Flood:
    """Where broadcast and multicast of a VN go, and how many frames of it."""

    vni: int
    from_underlay: bool
    group: int
    rate: Rate


@dataclass(frozen=True)
class VapFlood:
    """How many frames a VAP may have replicated."""

    interface: int
    rate: Rate


@dataclass(frozen=True)
class Announcements:
    """Where announcements of a VN go that the agent is to hear: `group` is that of the flood, and the agent."""

    vni: int
    group: int


@dataclass(frozen=True)
class PuntMeter:
    """What a VAP may send to the agent."""

    interface: int
    rate: Rate


@dataclass(frozen=True)
class TunnelRoute:
    """The ways of a tunnel: `group` names them, which tunnels with the same ways share. frame_limit: the longest frame
    of a tenant that goes there, bytes."""

    interface: int
    group: int
    frame_limit: int


@dataclass(frozen=True)
class UnderlayMember:
    """The way of the flows that fall into `bucket`: a port, and a next hop there."""

    group: int
    bucket: int
    port: int
    hop: int


@dataclass(frozen=True)
class Adjacency:
    """A next hop at a port: its MAC address, and that of the port."""

    port: int
    hop: int
    source_mac: int
    next_hop_mac: int


@dataclass(frozen=True)
class PortDscp:
    """The DSCP of the outer headers that leave by `port`; without an entry 0."""

    port: int
    dscp: OuterDscp


@dataclass(frozen=True)
class TunnelEntry:
    """The outer headers of a tunnel. `mtu`: largest outer IP packet, bytes. `hop`: of replicas, and of what the agent
    sends."""

    port: int
    interface: int
    source: UnderlayAddress
    destination: UnderlayAddress
    mtu: int
    hop: int


@dataclass(frozen=True)
class SendEntry:
    """The key to send with into a tunnel, for VNs of one level. What the key gives is that level or a higher one."""

    interface: int
    level: Level
    suite: Suite
    key: Secret
    spi: int
    not_after_us: int
    incarnation: bytes


@dataclass(frozen=True)
class VapEgress:
    """The tag of a VAP's frames; VLAN 0 is untagged."""

    port: int
    interface: int
    vlan: int


@dataclass(frozen=True)
class ReplicationGroup:
    """Copies of a frame: (port, interface), sorted."""

    group: int
    replicas: tuple[tuple[int, int], ...]


SwitchEntry: TypeAlias = (
    PortRole
    | AuthorizedNve
    | ReceiveEntry
    | PeerMeter
    | PeerFloor
    | VnAuthorization
    | VapEntry
    | SourceGuard
    | TargetGuard
    | Neighbor
    | BridgeToVap
    | BridgeToTunnel
    | Flood
    | Announcements
    | PuntMeter
    | TunnelRoute
    | UnderlayMember
    | Adjacency
    | PortDscp
    | TunnelEntry
    | SendEntry
    | VapEgress
    | VapFlood
)


@dataclass(frozen=True)
class DesiredState:
    """Everything that a switch should hold, apart from its incarnation and its lease."""

    entries: frozenset[SwitchEntry]
    groups: frozenset[ReplicationGroup]
