# SPDX-License-Identifier: Apache-2.0
"""From the domain's typed entries to those of the NVE program, and from a switch to what its agent must know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import HeldReceive, HeldSend, NveView
from nvo3sec.domain.overlay.addresses import UnderlayAddress, mapped_ipv6, underlay_fault, unmapped_ip
from nvo3sec.domain.overlay.dscp import DscpModel, OuterDscp
from nvo3sec.domain.overlay.model import Level, Rate, Suite
from nvo3sec.domain.switch import entries as d
from nvo3sec.domain.switch.numbers import (
    GROUPS,
    HOPS,
    PEERS,
    RING_PAIRS,
    TUNNEL_INTERFACES,
    VAP_INTERFACES,
    Numbers,
    Reserved,
)
from nvo3sec.nve.clock import ClockReading
from nvo3sec.p4runtime import Entry, Group, Meter, SwitchState, Table
from nvo3sec.program import generated as p4
from nvo3sec.program.entry import Item, Pairs

K = TypeVar("K")


def _number(value: bytes | Secret) -> int:
    return int.from_bytes(value.reveal() if isinstance(value, Secret) else value, "big")


def _mapped(address: UnderlayAddress) -> int:
    return int.from_bytes(mapped_ipv6(address), "big")


def _meter(rate: Rate) -> Meter:
    return Meter(rate.per_second, rate.burst)


def to_entry(entry: d.SwitchEntry) -> Entry:
    """The table entry of the program that stands for `entry`."""
    match entry:
        case d.PortRole(port=port, mac=None):
            return p4.port_role_access(port=port)
        case d.PortRole(port=port, mac=int(mac)):
            return p4.port_role_underlay(port=port, mac=mac)
        case d.AuthorizedNve():
            return p4.authorized_nve_permit(
                source=_mapped(entry.source),
                destination=_mapped(entry.destination),
                peer=entry.peer,
                tag=entry.tag,
                zero_checksum=int(entry.zero_checksum),
            )
        case d.ReceiveEntry():
            return p4.sa_rx_accept(
                peer=entry.peer,
                spi=entry.spi,
                suite=entry.suite,
                level=entry.suite.level,
                kind=p4.SaKind.TUNNEL,
                key=_number(entry.key),
                min_coverage=entry.min_coverage,
                pair=entry.pair,
                tag=entry.tag,
                generation=entry.generation,
                not_after=entry.not_after_us,
                incarnation=_number(entry.incarnation),
                link=0,
                vlan=0,
            )
        case d.PeerMeter():
            return p4.peer_meter_police(peer=entry.peer, meter=_meter(entry.rate))
        case d.PeerFloor():
            return p4.peer_floor_police_floor(peer=entry.peer, meter=_meter(entry.rate))
        case d.VnAuthorization():
            return p4.vn_ingress_authorization_authorize(peer=entry.peer, vni=entry.vni, level=entry.level)
        case d.VapEntry():
            return p4.vap_attach(
                port=entry.port,
                link=0,
                vlan=entry.vlan,
                interface=entry.interface,
                vni=entry.vni,
                level=entry.level,
                link_level=0,
                meter=_meter(entry.rate),
            )
        case d.SourceGuard():
            key = {"interface": entry.interface, "mac": entry.mac, "ip_kind": entry.ip_kind, "ip": entry.ip}
            if entry.services:
                services = sum(entry.services) + (d.Service.ANNOUNCER if entry.is_announcer else 0)
                return p4.source_guard_permit_service(**key, services=services)
            permit = p4.source_guard_permit_announcer if entry.is_announcer else p4.source_guard_permit_source
            return permit(**key)
        case d.TargetGuard():
            return p4.target_guard_permit_target(interface=entry.interface, mac=entry.mac, ip=entry.ip)
        case d.Neighbor(ip=IPv6Address()):
            return p4.neighbor_ipv6_answer_ipv6(vni=entry.vni, ip=int(entry.ip), mac=entry.mac)
        case d.Neighbor():
            return p4.neighbor_answer(vni=entry.vni, ip=int(entry.ip), mac=entry.mac)
        case d.BridgeToVap():
            return p4.bridge_to_vap(
                vni=entry.vni,
                mac=entry.mac,
                from_underlay=entry.from_underlay,
                port=entry.port,
                interface=entry.interface,
            )
        case d.BridgeToTunnel():
            return p4.bridge_to_tunnel(vni=entry.vni, mac=entry.mac, from_underlay=0, interface=entry.interface)
        case d.Flood():
            return p4.flood_replicate(
                vni=entry.vni, from_underlay=entry.from_underlay, group=entry.group, meter=_meter(entry.rate)
            )
        case d.VapFlood():
            return p4.vap_flood_police_flood(interface=entry.interface, meter=_meter(entry.rate))
        case d.Announcements():
            return p4.announcement_tell(vni=entry.vni, group=entry.group)
        case d.PuntMeter():
            return p4.punt_meter_police_punt(interface=entry.interface, meter=_meter(entry.rate))
        case d.TunnelRoute():
            return p4.tunnel_route_spread(interface=entry.interface, group=entry.group, frame_limit=entry.frame_limit)
        case d.UnderlayMember():
            return p4.underlay_member_via(group=entry.group, bucket=entry.bucket, port=entry.port, hop=entry.hop)
        case d.Adjacency():
            return p4.adjacency_towards(
                egress_port=entry.port,
                hop=entry.hop,
                source_mac=entry.source_mac,
                next_hop_mac=entry.next_hop_mac,
            )
        case d.PortDscp(port=port, dscp=OuterDscp(model=DscpModel.PIPE, value=value)):
            return p4.outer_dscp_pipe_dscp(port=port, dscp=value)
        case d.PortDscp(port=port, dscp=OuterDscp(model=DscpModel.COPY, value=value)):
            return p4.outer_dscp_copy_dscp(port=port, otherwise=value)
        case d.TunnelEntry():
            is_ipv4 = isinstance(entry.destination, IPv4Address)
            return (p4.tunnel_encapsulate if is_ipv4 else p4.tunnel_encapsulate_ipv6)(
                port=entry.port,
                interface=entry.interface,
                source=int(entry.source),
                destination=int(entry.destination),
                underlay_mtu=entry.mtu,
                hop=entry.hop,
            )
        case d.SendEntry():
            return p4.sa_tx_protect(
                interface=entry.interface,
                level=entry.level,
                suite=entry.suite,
                to_level=entry.suite.level,
                key=_number(entry.key),
                spi=entry.spi,
                not_after=entry.not_after_us,
                incarnation=_number(entry.incarnation),
            )
        case d.VapEgress(vlan=0):
            return p4.vap_egress_untagged(port=entry.port, interface=entry.interface)
        case d.VapEgress():
            return p4.vap_egress_tagged(port=entry.port, interface=entry.interface, vlan=entry.vlan)
    raise TypeError(f"no table for {type(entry).__name__}")


def to_items(state: d.DesiredState) -> list[Item]:
    """Everything in `state`, as the program has it."""
    groups: Iterable[Item] = (Group(group.group, group.replicas) for group in state.groups)
    return [*(to_entry(entry) for entry in state.entries), *groups]


# --- from a switch ----------------------------------------------------------------------------------------------------


def incarnation_of(state: SwitchState) -> bytes:
    """The incarnation entry (16 bytes), or nothing if the switch has none."""
    entry = state.defaults.get(Table.INCARNATION)
    value = dict(entry.params).get("incarnation", 0) if entry else 0
    return value.to_bytes(16, "big") if value else b""


def peers_of(state: SwitchState) -> dict[int, UnderlayAddress]:
    """The address that each peer number stands for, by the entries that find a peer by its addresses; without numbers
    that stand for two."""
    return {number: address for address, number in _usable(_peers(state), PEERS).items()}


def _peers(state: SwitchState) -> dict[UnderlayAddress, int]:
    return {unmapped_ip(e["source"]): e["peer"] for e in state.of_table(Table.AUTHORIZED_NVE)}


def ends_of(state: SwitchState) -> dict[int, UnderlayAddress]:
    """Where each tunnel leads, by its interface."""
    return {e["interface"]: _end(e) for e in state.of_table(Table.TUNNEL)}


def _end(entry: Entry) -> UnderlayAddress:
    # By what the entry does with it: what goes over IPv6 to an IPv4-mapped address does not arrive at that of IPv4.
    make = IPv4Address if entry.action == "encapsulate" else IPv6Address
    return make(entry["destination"])


def numbers_of(state: SwitchState) -> tuple[Numbers, Reserved]:
    """The numbers that a switch was found with: those whose meaning is known, and all that occur anywhere."""
    vaps = {(e["port"], e["vlan"], e["vni"]): e["interface"] for e in state.of_table(Table.VAP)}
    tunnels = {_end(e): e["interface"] for e in state.of_table(Table.TUNNEL)}
    addresses = peers_of(state)
    pairs: dict[tuple[UnderlayAddress, Suite], int] = {}
    for entry in state.of_table(Table.SA_RX):
        if entry["suite"] in set(Suite) and entry["peer"] in addresses:
            pairs[addresses[entry["peer"]], Suite(entry["suite"])] = entry["pair"]
    hops = {(e["egress_port"], e["next_hop_mac"]): e["hop"] for e in state.of_table(Table.ADJACENCY)}
    groups: dict[tuple[int, bool | None], int] = {
        (e["vni"], bool(e["from_underlay"])): e["group"] for e in state.of_table(Table.FLOOD)
    }
    groups |= {(e["vni"], None): e["group"] for e in state.of_table(Table.ANNOUNCEMENT)}
    known = Numbers(
        _usable(vaps, VAP_INTERFACES),
        _usable(tunnels, TUNNEL_INTERFACES),
        _usable(_peers(state), PEERS),
        _usable(pairs, RING_PAIRS),
        _usable(hops, HOPS),
        _usable(groups, GROUPS),
    )
    named: dict[str, set[int]] = {"interface": set(), "peer": set(), "hop": set()}
    for one in state.entries.values():
        for name, value in (*one.match, *one.params):
            if name in named:
                named[name].add(value)
    replicas = {instance for group in state.groups.values() for _, instance in group.replicas}
    reserved = Reserved(
        interfaces=frozenset(named["interface"] | replicas),
        peers=frozenset(named["peer"]),
        hops=frozenset(named["hop"]),
        pairs=frozenset(e["pair"] for e in state.of_table(Table.SA_RX)),
        groups=frozenset(state.groups),
        first_group=int.from_bytes(incarnation_of(state), "big"),
    )
    return known, reserved


def _usable(found: dict[K, int], numbers: range) -> dict[K, int]:
    """Without numbers that stand for two things or are none of ours: nothing of that kind is taken over."""
    uses = Counter(found.values())
    return {key: number for key, number in found.items() if uses[number] == 1 and number in numbers}


def held_keys(
    state: SwitchState, incarnation: bytes, reading: ClockReading, now: float
) -> tuple[tuple[HeldReceive, ...], tuple[HeldSend, ...]]:
    """The keys derived for `incarnation` that a switch was found with and whose limit has not passed; not those of
    tunnels that lead where no NVE can be."""
    peers = {number: end for number, end in ends_of(state).items() if underlay_fault(end) is None}
    own = int.from_bytes(incarnation, "big")
    suites = set(Suite)
    addresses = {number: end for number, end in peers_of(state).items() if underlay_fault(end) is None}
    receive: list[HeldReceive] = []
    send: dict[HeldSend, None] = {}
    for entry in state.of_table(Table.SA_RX):
        remaining = reading.remaining_s(entry["not_after"], now)
        source = addresses.get(entry["peer"])
        if entry["incarnation"] == own and entry["suite"] in suites and remaining > 0 and source is not None:
            held = Held(entry["spi"], entry["generation"], remaining)
            receive.append(HeldReceive(source, Suite(entry["suite"]), held))
    for entry in state.of_table(Table.SA_TX):
        remaining = reading.remaining_s(entry["not_after"], now)
        peer = peers.get(entry["interface"])
        if entry["incarnation"] == own and entry["suite"] in suites and remaining > 0 and peer is not None:
            # By its suite, once: where a pair of NVEs demands more than its VNs, the VNs' levels share one key.
            send[HeldSend(peer, Suite(entry["suite"]), Held(entry["spi"], 0, remaining))] = None
    return tuple(receive), tuple(send)


SaName = tuple[str, Suite, int]
"""Of a sending SA: peer, suite, SPI."""


def sending_entries(state: SwitchState, view: NveView) -> dict[tuple[int, int], tuple[Pairs, SaName]]:
    """The sending entries of a switch by (interface, level): their match fields, and the SA that they send with."""
    ends = ends_of(state)
    names = {peer.address: peer.name for peer in view.peers}
    found = {}
    for entry in state.of_table(Table.SA_TX):
        peer = names.get(ends[entry["interface"]]) if entry["interface"] in ends else None
        if peer is not None and entry["suite"] in set(Suite):
            name = (peer, Suite(entry["suite"]), entry["spi"])
            found[entry["interface"], entry["level"]] = (entry.match, name)
    return found


def levels_of(state: SwitchState) -> dict[int, Level]:
    """The level of each VN (VNI) in a switch, by its VAPs there."""
    return {e["vni"]: Level(e["level"]) for e in state.of_table(Table.VAP) if e["level"] in set(Level)}


def learned_addresses(state: SwitchState) -> list[tuple[int, int]]:
    """(VNI, MAC) of each tenant system that the switch was found to reach through a tunnel."""
    return [(e["vni"], e["mac"]) for e in state.of_table(Table.BRIDGE) if e.action == "to_tunnel"]
