# SPDX-License-Identifier: Apache-2.0
"""The scene of the tests: an NVE with four VAPs in two VNs and two peers.

VN RED:   host a (port 1, untagged), host b (port 2, VLAN 10), hosts behind peers 1 and 2
VN BLUE:  host c (port 3, untagged), host d (port 2, VLAN 20), a host behind peer 1
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nvo3ref.flow import flow_label, source_port
from nvo3ref.frames import ip4, ip4_frame, ip6, mac, tagged
from nvo3ref.receiver import LEVELS
from nvo3ref.tunnel import SUITE_CHASKEY12, TunnelPacket

from harness.schema import Entry, entry
from harness.session import FOREVER, PORT_MAC, Session

RED, BLUE = 5001, 5002
LOCAL = ip4("192.0.2.2")
LOCAL_IPV6 = ip6(0x2)
MTU = 9000
LEVEL_INTEGRITY, LEVEL_CONFIDENTIALITY = 1, 2
KIND_TUNNEL, KIND_GROUP, KIND_LINK, KIND_LINK_GROUP, KIND_CONTROL = 1, 2, 3, 4, 5
ANY_LENGTH = 0xFFFF  # of frames: nothing is known of the path
PAIRS = 1 << 12
PEERS = 1 << 15
BUCKETS = 64
TUNNELS = 0xFE00 - 0x8000  # above are the sentinels'
IP_NONE, IP_V4, IP_V6, IP_ARP = range(4)


def derived(*context: object) -> bytes:
    """Sixteen bytes that stand for a key: the same in every run."""
    return hashlib.sha256(repr(context).encode()).digest()[:16]


@dataclass(frozen=True)
class Host:
    """A tenant system at a VAP, or behind a peer (then port, vlan and interface are 0)."""

    vni: int
    mac: bytes
    ip: bytes
    ip6: bytes
    port: int = 0
    vlan: int = 0
    interface: int = 0

    def frame_to(self, other: Host, length: int = 60, seed: int = 0, tos: int = 0) -> bytes:
        """Without a tag."""
        return ip4_frame(other.mac, self.mac, self.ip, other.ip, length, seed, tos)

    def on_wire(self, frame: bytes) -> bytes:
        """As it looks on the link of this host."""
        return tagged(frame, self.vlan) if self.vlan else frame

    def vap_entries(self, level: int = LEVEL_INTEGRITY) -> list[Entry]:
        """VAP in both directions, the meter of its floods, and all source guard entries."""
        out = entry(
            "vap_egress",
            {"port": self.port, "interface": self.interface},
            *(["tagged"] if self.vlan else ["untagged"]),
            **({"vlan": self.vlan} if self.vlan else {}),
        )
        return [self.vap(level=level), out, self.flood_meter(), *self.guard_entries()]

    def flood_meter(self) -> Entry:
        """Of what it has replicated."""
        return entry("vap_flood", {"interface": self.interface}, "police_flood")

    def vap(self, **changes: int) -> Entry:
        return vap(self.port, self.vlan, **({"interface": self.interface, "vni": self.vni} | changes))

    def guard_entries(self, action: str = "permit_source") -> list[Entry]:
        permitted = ((IP_V4, self.ip), (IP_V6, self.ip6), (IP_ARP, self.ip))
        return [self.guard(kind, address, action) for kind, address in permitted]

    def guard(self, kind: int, address: bytes | int, action: str = "permit_source") -> Entry:
        return entry(
            "source_guard",
            {"interface": self.interface, "mac": self.mac, "ip_kind": kind, "ip": address},
            action,
        )

    def bridge_entries(self, **changes: int) -> list[Entry]:
        return to_vap(self.vni, self.mac, **({"port": self.port, "interface": self.interface} | changes))


def vap(port: int, vlan: int, *, interface: int, vni: int, level: int = LEVEL_INTEGRITY, link_level: int = 0) -> Entry:
    """Under no link."""
    key = {"port": port, "link": 0, "vlan": vlan}
    return entry("vap", key, "attach", interface=interface, vni=vni, level=level, link_level=link_level)


def to_vap(vni: int, address: bytes, *, port: int, interface: int) -> list[Entry]:
    """A system behind a VAP, for frames from other VAPs and from tunnels."""
    return [
        entry("bridge", {"vni": vni, "mac": address, "from_underlay": way}, "to_vap", port=port, interface=interface)
        for way in (0, 1)
    ]


def to_tunnel(vni: int, address: bytes, interface: int) -> Entry:
    """A system behind a peer, for frames from VAPs alone."""
    return entry("bridge", {"vni": vni, "mac": address, "from_underlay": 0}, "to_tunnel", interface=interface)


def mapped(address: bytes) -> bytes:
    """An address where there is room for IPv6, an IPv4 one as ::ffff:a.b.c.d."""
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address


def permit(source: bytes, destination: bytes, *, peer: int, tag: bytes, zero_checksum: int = 0) -> Entry:
    key = {"source": mapped(source), "destination": mapped(destination)}
    return entry("authorized_nve", key, "permit", peer=peer, tag=tag, zero_checksum=zero_checksum)


def host(number: int, vni: int, port: int = 0, vlan: int = 0, interface: int = 0) -> Host:
    return Host(
        vni, mac(0xA00000 | number), bytes([10, 0, vni & 0xFF, number]), ip6(vni << 8 | number), port, vlan, interface
    )


A = host(1, RED, 1, 0, 1)
B = host(2, RED, 2, 10, 2)
C = host(3, BLUE, 3, 0, 3)
D = host(4, BLUE, 2, 20, 4)


class Peer:
    """Another NVE, with an SA in each direction and numbers that no other test has used."""

    def __init__(
        self,
        session: Session,
        number: int,
        address: bytes,
        port: int,
        networks: tuple[int, ...],
        context: str,
        suite: int = SUITE_CHASKEY12,
    ) -> None:
        self.suite = suite
        self.address = address
        self.port = port
        self.mac = mac(0x9900 + number)
        self.networks = networks
        self.interface = 0x8000 + session.fresh("tunnel", TUNNELS)
        self.pair = session.fresh("pair", PAIRS)
        self.number = session.fresh("peer", PEERS)
        self.group = self.interface & 0x7FFF
        self.hop = number
        self.tag = derived(context, number, "tag")[:4]
        self.incarnation = bytes(16)  # of the switch; set by World
        self.rx_key = derived(context, number, "rx")
        self.tx_key = derived(context, number, "tx")
        self.rx_spi = 0x00010000 | number
        # Names the key: another context, another key, another SPI.
        self.tx_spi = 0x80000000 | int.from_bytes(derived(context, number, "spi")[:4], "big")
        self.generation = 1
        self.rx_sequence = 0
        self.tx_sequence = 0
        self.entropy: bytes | None = None

    @property
    def local(self) -> bytes:
        """The address of the switch that this peer sends to."""
        return LOCAL_IPV6 if len(self.address) == 16 else LOCAL

    # What arrives from the peer

    def packet(self, inner: bytes, vni: int = RED, **changes: object) -> TunnelPacket:
        """Well-formed, under the next sequence number unless one is given."""
        if "sequence" not in changes:
            self.rx_sequence += 1
            changes["sequence"] = self.rx_sequence
        base = TunnelPacket(
            inner=inner,
            key=self.rx_key,
            spi=self.rx_spi,
            sequence=0,
            vni=vni,
            source=self.address,
            destination=self.local,
            eth_dst=PORT_MAC[self.port],
            eth_src=self.mac,
            suite=self.suite,
        )
        return base.but(**changes)

    # What the switch sends to the peer

    def sent(self, inner: bytes, vni: int = RED, **changes: object) -> bytes:
        """The next packet into this tunnel, byte by byte."""
        if "sequence" not in changes:
            self.tx_sequence += 1
            changes["sequence"] = self.tx_sequence
        base = TunnelPacket(
            inner=inner,
            key=self.tx_key,
            spi=self.tx_spi,
            sequence=0,
            vni=vni,
            source=self.local,
            destination=self.address,
            eth_dst=self.mac,
            eth_src=PORT_MAC[self.port],
            udp_source=source_port(self.entropy, inner),
            flow_label=flow_label(self.entropy, inner) if len(self.address) == 16 else 0,
            suite=self.suite,
        )
        return base.but(**changes).encode()

    # Entries

    def permit(self, *, zero_checksum: int = 0) -> Entry:
        return permit(self.address, self.local, peer=self.number, tag=self.tag, zero_checksum=zero_checksum)

    def sa_rx(self, spi: int | None = None, **changes: int | bytes) -> Entry:
        params: dict[str, int | bytes] = {
            "suite": self.suite,
            "level": LEVELS[self.suite],
            "kind": KIND_TUNNEL,
            "key": self.rx_key,
            "min_coverage": 0xFFFF,
            "pair": self.pair,
            "tag": self.tag,
            "generation": self.generation,
            "not_after": FOREVER,
            "incarnation": self.incarnation,
            "link": 0,
            "vlan": 0,
        }
        key = {"peer": self.number, "spi": self.rx_spi if spi is None else spi}
        return entry("sa_rx", key, "accept", **(params | changes))

    def meter(self) -> Entry:
        """Of what does not verify."""
        return entry("peer_meter", {"peer": self.number}, "police")

    def floor(self) -> Entry:
        """Of what is verified in spite of a penalty."""
        return entry("peer_floor", {"peer": self.number}, "police_floor")

    def authorization(self, vni: int, level: int = LEVEL_INTEGRITY) -> Entry:
        return entry("vn_ingress_authorization", {"peer": self.number, "vni": vni}, "authorize", level=level)

    def route(self, frame_limit: int = ANY_LENGTH) -> Entry:
        return entry("tunnel_route", {"interface": self.interface}, "spread", group=self.group, frame_limit=frame_limit)

    def members(self) -> list[Entry]:
        """All but that of bucket 0, where flows are without a key for their hash."""
        return [self.member(bucket=bucket) for bucket in range(1, BUCKETS)]

    def member(self, port: int | None = None, hop: int | None = None, bucket: int = 0) -> Entry:
        return entry(
            "underlay_member",
            {"group": self.group, "bucket": bucket},
            "via",
            port=self.port if port is None else port,
            hop=self.hop if hop is None else hop,
        )

    def tunnel(self, port: int | None = None, **changes: int | bytes) -> Entry:
        params: dict[str, int | bytes] = {
            "source": self.local,
            "destination": self.address,
            "underlay_mtu": MTU,
            "hop": self.hop,
        }
        key = {"port": self.port if port is None else port, "interface": self.interface}
        action = "encapsulate_ipv6" if len(self.address) == 16 else "encapsulate"
        return entry("tunnel", key, action, **(params | changes))

    def adjacency(self, port: int | None = None, **changes: int | bytes) -> Entry:
        params: dict[str, int | bytes] = {"source_mac": PORT_MAC[self.port], "next_hop_mac": self.mac}
        key = {"egress_port": self.port if port is None else port, "hop": self.hop}
        return entry("adjacency", key, "towards", **(params | changes))

    def sa_tx(self, level: int = LEVEL_INTEGRITY, sa_level: int | None = None, **changes: int | bytes) -> Entry:
        """level: of the VNs that it is for. sa_level: its own, that of its suite unless told."""
        params: dict[str, int | bytes] = {
            "suite": self.suite,
            "level": LEVELS[self.suite] if sa_level is None else sa_level,
            "key": self.tx_key,
            "spi": self.tx_spi,
            "not_after": FOREVER,
            "incarnation": self.incarnation,
        }
        return entry("sa_tx", {"interface": self.interface, "level": level}, "protect", **(params | changes))

    def bridge_entry(self, remote: Host) -> Entry:
        return to_tunnel(remote.vni, remote.mac, self.interface)

    def rx_entries(self) -> list[Entry]:
        authorizations = [self.authorization(vni) for vni in self.networks]
        return [self.permit(), self.sa_rx(), self.meter(), self.floor(), *authorizations]

    def tx_entries(self) -> list[Entry]:
        return [self.route(), self.member(), self.tunnel(), self.adjacency(), self.sa_tx()]


class World:
    """Everything that a test finds in the switch, by name, so that it can take a part away."""

    def __init__(self, session: Session, context: str, suite: int = SUITE_CHASKEY12, *, ipv6: bool = False) -> None:
        self.incarnation = derived(context, "incarnation")
        self.peer1 = Peer(session, 1, ip6(0x1) if ipv6 else ip4("192.0.2.1"), 256, (RED, BLUE), context, suite)
        self.peer2 = Peer(session, 2, ip6(0x30901) if ipv6 else ip4("203.0.113.9"), 257, (RED,), context, suite)
        self.far1 = host(11, RED)
        self.far2 = host(12, RED)
        self.far_blue = host(13, BLUE)
        self.groups = {name: session.fresh("group", 0x7F00) for name in ("red", "red_in", "blue", "blue_in")}
        for peer in self.peers:
            peer.incarnation = self.incarnation

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return self.peer1, self.peer2

    def flood_entry(self, vni: int, from_underlay: int, group: str) -> Entry:
        return entry("flood", {"vni": vni, "from_underlay": from_underlay}, "replicate", group=self.groups[group])

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        for local in (A, B, C, D):
            found += [*local.vap_entries(), *local.bridge_entries()]
        for peer in self.peers:
            found += [*peer.rx_entries(), *peer.tx_entries()]
        found += [
            self.peer1.bridge_entry(self.far1),
            self.peer2.bridge_entry(self.far2),
            self.peer1.bridge_entry(self.far_blue),
        ]
        found += [
            self.flood_entry(RED, 0, "red"),
            self.flood_entry(RED, 1, "red_in"),
            self.flood_entry(BLUE, 0, "blue"),
            self.flood_entry(BLUE, 1, "blue_in"),
        ]
        return found

    def replicas(self) -> dict[int, list[tuple[int, int]]]:
        """Replication lists by group: (port, interface)."""
        red, blue = [(1, A.interface), (2, B.interface)], [(3, C.interface), (2, D.interface)]
        tunnel1, tunnel2 = (256, self.peer1.interface), (257, self.peer2.interface)
        return {
            self.groups["red"]: [*red, tunnel1, tunnel2],
            self.groups["red_in"]: red,
            self.groups["blue"]: [*blue, tunnel1],
            self.groups["blue_in"]: blue,
        }
