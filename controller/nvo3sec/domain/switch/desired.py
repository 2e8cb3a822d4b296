# SPDX-License-Identifier: Apache-2.0
"""What a switch should hold, computed from what its NVE serves, its keys, and what it has learned. A pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from nvo3sec.domain.keys.derivation import Purpose, peer_tag
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.addresses import IpAddress, UnderlayAddress, link_local, mapped_ipv6
from nvo3sec.domain.overlay.constants import UNDERLAY_BUCKETS
from nvo3sec.domain.overlay.dscp import BEST_EFFORT
from nvo3sec.domain.overlay.model import Level, Rate, Suite, TenantSystem
from nvo3sec.domain.overlay.mtu import Family, longest_frame, tunnel_mtu
from nvo3sec.domain.switch.entries import (
    AGENT_REPLICA,
    Adjacency,
    Announcements,
    AuthorizedNve,
    BridgeToTunnel,
    BridgeToVap,
    DesiredState,
    Flood,
    IpKind,
    Neighbor,
    PeerFloor,
    PeerMeter,
    PortDscp,
    PortRole,
    PuntMeter,
    ReceiveEntry,
    ReplicationGroup,
    SendEntry,
    Service,
    SourceGuard,
    SwitchEntry,
    TargetGuard,
    TunnelEntry,
    TunnelRoute,
    UnderlayMember,
    VapEgress,
    VapEntry,
    VapFlood,
    VnAuthorization,
)
from nvo3sec.domain.switch.flood_rates import VAP_AT_LEAST, VN_AT_LEAST, frame_rate
from nvo3sec.domain.switch.numbers import (
    GROUPS,
    HOPS,
    PEERS,
    RING_PAIRS,
    TUNNEL_INTERFACES,
    VAP_INTERFACES,
    Numbers,
    Reserved,
    allocate,
)


@dataclass(frozen=True)
class InstalledReceive:
    """A key to receive with, its end in switch time decided."""

    peer: str
    suite: Suite
    spi: int
    generation: int
    key: Secret
    min_coverage: int
    not_after_us: int


@dataclass(frozen=True)
class InstalledSend:
    """The key to send with to a peer at one level, its end in switch time decided."""

    peer: str
    suite: Suite
    spi: int
    key: Secret
    not_after_us: int


@dataclass(frozen=True)
class Learned:
    """A tenant system behind another NVE, as the NVA said: its MAC address, its NVE, its IP addresses.

    sequence: the move sequence number of that account.
    """

    vni: int
    mac: int
    nve: str
    ips: tuple[IpAddress, ...]
    sequence: int = 0


def number_everything(view: NveView, suites: Iterable[tuple[str, Suite]], known: Numbers, held: Reserved) -> Numbers:
    """Numbers for everything in `view`, and for the (peer, suite) of its keys.

    `known`: those in use. `held`: those that the switch still holds, for whatever; new things keep away from them.
    """
    vni = {vn.name: vn.vni for vn in view.vns}
    address = {peer.name: peer.address for peer in view.peers}
    vaps = [(vap.port, vap.vlan, vni[vap.vn]) for vap in view.vaps]
    pairs = sorted(
        {(address[peer], suite) for peer, suite in suites if peer in address},
        key=lambda pair: (mapped_ipv6(pair[0]), pair[1]),
    )
    groups: list[tuple[int, bool | None]] = [(vn.vni, way) for vn in view.vns for way in (False, True)]
    groups += [(number, None) for number in _announced(view)]
    tunnels = [peer.address for peer in view.peers]
    hops = sorted({(peer.port, peer.next_hop_mac) for peer in view.peers})
    return Numbers(
        vaps=allocate(vaps, known.vaps, VAP_INTERFACES, held.interfaces),
        tunnels=allocate(tunnels, known.tunnels, TUNNEL_INTERFACES, held.interfaces),
        peers=allocate(tunnels, known.peers, PEERS, held.peers),
        hops=allocate(hops, known.hops, HOPS, held.hops),
        pairs=allocate(pairs, known.pairs, RING_PAIRS, held.pairs),
        groups=allocate(groups, known.groups, GROUPS, held.groups, held.first_group),
    )


def desired_state(
    view: NveView,
    numbers: Numbers,
    incarnation: bytes,
    receive: Iterable[InstalledReceive] = (),
    send: Iterable[InstalledSend] = (),
    learned: Iterable[Learned] = (),
    floors: Mapping[UnderlayAddress, Rate] | None = None,
) -> DesiredState:
    """All entries and replication groups of the switch of `view`. `numbers` must cover the view and the keys.

    floors: of peers, by address; those that it does not name have the rate of their meters.
    """
    entries: set[SwitchEntry] = set()
    entries.update(_ports(view))
    entries.update(_access(view, numbers))
    entries.update(_peers(view, numbers, floors or {}))
    entries.update(_keys(view, numbers, incarnation, receive, send))
    entries.update(_learned(view, numbers, learned))
    groups = frozenset(_groups(view, numbers))
    entries.update(_floods(view, numbers, groups))
    entries.update(Announcements(vni, numbers.groups[vni, None]) for vni in _announced(view))
    return DesiredState(frozenset(entries), groups)


def _ports(view: NveView) -> Iterator[SwitchEntry]:
    for port, mac in view.underlay_ports:
        yield PortRole(port, mac)
        if view.dscp != BEST_EFFORT:
            yield PortDscp(port, view.dscp)
    for port in {vap.port for vap in view.vaps}:
        yield PortRole(port, None)


def _access(view: NveView, numbers: Numbers) -> Iterator[SwitchEntry]:
    vns = {vn.name: vn for vn in view.vns}
    interfaces: dict[tuple[int, int], int] = {}
    for vap in view.vaps:
        vn = vns[vap.vn]
        interface = numbers.vaps[vap.port, vap.vlan, vn.vni]
        interfaces[vap.place] = interface
        yield VapEntry(vap.port, vap.vlan, interface, vn.vni, vn.level, vap.meter)
        yield VapEgress(vap.port, interface, vap.vlan)
        yield PuntMeter(interface, vn.punt)
    announcers = {(one.place, one.mac) for one in view.claim_places}
    services: dict[tuple[tuple[int, int], int], frozenset[Service]] = {}
    for system in view.tenant_systems:
        vni = vns[system.vn].vni
        interface = interfaces[system.port, system.vlan]
        for from_underlay in (False, True):
            yield BridgeToVap(vni, system.mac, from_underlay, system.port, interface)
        who = (system.port, system.vlan), system.mac
        services[who] = _services(system)
        yield from _guards(system, interface, who in announcers, services[who], vns[system.vn].allow_link_local)
        yield from _neighbors(vni, system.mac, system.ips)
    for one in view.guards:
        # Beside what stands there: one system, which may do one thing, from whichever of its addresses.
        who = one.place, one.mac
        granted = services.get(who, frozenset())
        yield from _sources(interfaces[one.port, one.vlan], one.mac, one.ips, who in announcers, granted)


def _sources(
    interface: int,
    mac: int,
    ips: Iterable[IpAddress],
    is_announcer: bool,
    services: frozenset[Service],
) -> Iterator[SwitchEntry]:
    for ip in ips:
        kinds = (IpKind.IPV4, IpKind.ARP) if isinstance(ip, IPv4Address) else (IpKind.IPV6,)
        for kind in kinds:
            yield SourceGuard(interface, mac, kind, int(ip), is_announcer, services)
        if isinstance(ip, IPv6Address):
            yield TargetGuard(interface, mac, int(ip))


def _services(system: TenantSystem) -> frozenset[Service]:
    allowed = {Service.ROUTER: system.allow_router, Service.DHCP_SERVER: system.allow_dhcp_server}
    return frozenset(service for service, is_allowed in allowed.items() if is_allowed)


def _guards(
    system: TenantSystem,
    interface: int,
    is_announcer: bool,
    services: frozenset[Service],
    allow_link_local: bool,
) -> Iterator[SwitchEntry]:
    def guard(kind: IpKind, ip: int) -> SourceGuard:
        return SourceGuard(interface, system.mac, kind, ip, services=services)

    own = {*system.ips, link_local(system.mac)} if allow_link_local else {*system.ips}
    yield from _sources(interface, system.mac, own, is_announcer, services)
    if system.allow_unspecified_source:
        # Probes for an address (RFC 5227, RFC 4862 5.4) need none of this: they speak for the address they ask about.
        yield guard(IpKind.IPV4, 0)
        yield guard(IpKind.IPV6, 0)
    if system.allow_other_ethertypes:
        yield guard(IpKind.OTHER, 0)


def _neighbors(vni: int, mac: int, ips: Iterable[IpAddress]) -> Iterator[SwitchEntry]:
    for ip in ips:
        yield Neighbor(vni, ip, mac)


def _peers(view: NveView, numbers: Numbers, floors: Mapping[UnderlayAddress, Rate]) -> Iterator[SwitchEntry]:
    for peer in view.peers:
        tunnel, number = numbers.tunnels[peer.address], numbers.peers[peer.address]
        hop = numbers.hops[peer.port, peer.next_hop_mac]
        group = hop  # there is one way to each peer, so what is behind the same next hop has the same ways
        own = view.towards(peer.address)
        tag = peer_tag(Purpose.TUNNEL, peer.address, own)
        yield AuthorizedNve(
            peer.address, own, number, tag, peer.zero_checksum and Family.of(peer.address) is Family.IPV6
        )
        yield PeerMeter(number, peer.meter)
        yield PeerFloor(number, floors.get(peer.address, peer.meter))
        mtu = tunnel_mtu(view.mtu, peer.mtu)
        yield TunnelRoute(tunnel, group, longest_frame(mtu, Family.of(peer.address)))
        for bucket in range(UNDERLAY_BUCKETS):
            yield UnderlayMember(group, bucket, peer.port, hop)
        yield Adjacency(peer.port, hop, peer.mac, peer.next_hop_mac)
        yield TunnelEntry(
            port=peer.port,
            interface=tunnel,
            source=own,
            destination=peer.address,
            mtu=mtu,
            hop=hop,
        )
        for vni, level in peer.vnis:
            yield VnAuthorization(number, vni, level)


def _keys(
    view: NveView,
    numbers: Numbers,
    incarnation: bytes,
    receive: Iterable[InstalledReceive],
    send: Iterable[InstalledSend],
) -> Iterator[SwitchEntry]:
    address: Mapping[str, UnderlayAddress] = {peer.name: peer.address for peer in view.peers}
    for sa in receive:
        if sa.peer in address:
            source = address[sa.peer]
            yield ReceiveEntry(
                peer=numbers.peers[source],
                spi=sa.spi,
                suite=sa.suite,
                key=sa.key,
                min_coverage=sa.min_coverage,
                pair=numbers.pairs[source, sa.suite],
                tag=peer_tag(Purpose.TUNNEL, source, view.towards(source)),
                generation=sa.generation,
                not_after_us=sa.not_after_us,
                incarnation=incarnation,
            )
    for level, out in _sending(view, send):
        yield SendEntry(
            interface=numbers.tunnels[address[out.peer]],
            level=level,
            suite=out.suite,
            key=out.key,
            spi=out.spi,
            not_after_us=out.not_after_us,
            incarnation=incarnation,
        )


def _sending(view: NveView, send: Iterable[InstalledSend]) -> Iterator[tuple[Level, InstalledSend]]:
    """Which key is used for which level of VNs, to each peer.

    The pipeline asks for the key of a tunnel by the level of the VN alone, and the pair of NVEs may demand more. So a
    VN's level finds the lowest key at hand that gives what both demand, and no entry leads to a weaker one; until the
    key of just that level is there, a higher one is used. The own level of a key has an entry before a VN comes to it:
    a VN that changes its level finds it.
    """
    at_hand: dict[str, list[InstalledSend]] = {}
    for out in send:
        at_hand.setdefault(out.peer, []).append(out)
    levels = {vn.vni: vn.level for vn in view.vns}
    for peer in view.peers:
        keys = sorted(at_hand.get(peer.name, ()), key=lambda one: (one.suite.level, one.suite))
        demanded = {one.suite.level: one.suite.level for one in keys}
        # Of two VNs of one level the pair demands the same.
        demanded |= {levels[vni]: max(levels[vni], peer.sends, level) for vni, level in peer.vnis}
        for level in sorted(demanded):
            enough = next((one for one in keys if one.suite.level >= demanded[level]), None)
            if enough is not None:
                yield level, enough


def _learned(view: NveView, numbers: Numbers, learned: Iterable[Learned]) -> Iterator[SwitchEntry]:
    shared = {peer.name: (peer.address, {vni for vni, _ in peer.vnis}) for peer in view.peers}
    vns = {vn.name: vn.vni for vn in view.vns}
    own = {(vns[system.vn], system.mac) for system in view.tenant_systems}
    own_ips = {(vns[system.vn], ip) for system in view.tenant_systems for ip in system.ips}
    for mapping in learned:
        address, vnis = shared.get(mapping.nve, (None, set[int]()))
        if address is None or mapping.vni not in vnis or (mapping.vni, mapping.mac) in own:
            continue  # the view is newer than the answer, and it decides
        yield BridgeToTunnel(mapping.vni, mapping.mac, numbers.tunnels[address])
        ips = [ip for ip in mapping.ips if (mapping.vni, ip) not in own_ips]
        yield from _neighbors(mapping.vni, mapping.mac, ips)


def _announced(view: NveView) -> frozenset[int]:
    """VNIs of the VNs in which somebody behind this NVE shares addresses."""
    vns = {vap.place: vap.vn for vap in view.vaps}
    names = {vns[one.place] for one in view.claim_places}
    return frozenset(vn.vni for vn in view.vns if vn.name in names)


def _floods(view: NveView, numbers: Numbers, groups: Iterable[ReplicationGroup]) -> Iterator[SwitchEntry]:
    """Where frames to groups go, and how many of them: each costs a copy for every replica."""
    copies = {group.group: len(group.replicas) for group in groups}
    for vn in view.vns:
        for way in (False, True):
            number = numbers.groups[vn.vni, way]
            if number in copies:
                yield Flood(vn.vni, way, number, frame_rate(vn.flood, copies[number], VN_AT_LEAST))
    vns = {vn.name: vn for vn in view.vns}
    for vap in view.vaps:
        vn = vns[vap.vn]
        cost = copies[numbers.groups[vn.vni, False]]
        interface = numbers.vaps[vap.port, vap.vlan, vn.vni]
        yield VapFlood(interface, frame_rate(vn.vap_flood, cost, VAP_AT_LEAST))


def _groups(view: NveView, numbers: Numbers) -> Iterator[ReplicationGroup]:
    announced = _announced(view)
    for vn in view.vns:
        local = [(vap.port, numbers.vaps[vap.port, vap.vlan, vn.vni]) for vap in view.vaps if vap.vn == vn.name]
        remote = [
            (peer.port, numbers.tunnels[peer.address])
            for peer in view.peers
            if any(vni == vn.vni for vni, _ in peer.vnis)
        ]
        yield ReplicationGroup(numbers.groups[vn.vni, False], tuple(sorted(local + remote)))
        if vn.vni in announced:
            yield ReplicationGroup(numbers.groups[vn.vni, None], tuple(sorted([*local, *remote, AGENT_REPLICA])))
        if local:
            yield ReplicationGroup(numbers.groups[vn.vni, True], tuple(sorted(local)))
