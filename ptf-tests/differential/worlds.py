# SPDX-License-Identifier: Apache-2.0
"""Random overlays: mostly right, so that packets come far, and wrong in every place now and then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from harness.schema import Entry, Value, entry
from harness.session import FOREVER, PORT_MAC
from harness.switches import CPU_PORT
from harness.world import IP_ARP, IP_NONE, IP_V4, IP_V6, mapped, permit

ACCESS = (1, 2, 3, 4)
UNDERLAY = (256, 257)
UNCONFIGURED = (5, 258)
MISMATCHED = (6, 259)
REPLICAS_PER_PORT = 2  # of one group, at most: see BATCH in frames.py
PAST = (0, 1)
SA_KINDS = (0, 2, 3, 4, 5, 255)  # of SAs: none of them opens a tunnel
GROUPS = range(1, 9)
AGENT_INTERFACE = 0xFFFF
T = TypeVar("T")


@dataclass(frozen=True)
class Vap:
    port: int
    vlan: int
    interface: int
    vni: int
    level: int


@dataclass(frozen=True)
class Station:
    """A tenant system: at a VAP, or behind a tunnel."""

    vni: int
    mac: bytes
    ip: bytes
    ip6: bytes
    vap: Vap | None = None
    tunnel: int = 0


@dataclass
class Association:
    """What the world knows of an SA for reception. The switch may have been told otherwise."""

    source: bytes
    destination: bytes
    port: int
    spi: int
    key: bytes
    min_coverage: int
    suite: int
    entry: Entry


@dataclass(frozen=True)
class Tunnel:
    interface: int
    port: int
    peer: bytes


def _pick(chooser: random.Random, usual: T, *others: T, wrong: float = 0.1) -> T:
    return chooser.choice(others) if others and chooser.random() < wrong else usual


class World:
    """Drawn from a seed, and the same for the same seed. `entries` and `groups` are what it begins with."""

    def __init__(self, chooser: random.Random) -> None:
        self.chooser = chooser
        # In which order the replicas of one packet leave on one port is nobody's promise. So there are worlds in which
        # there is only one, where the order of each port is compared, and worlds in which it is not.
        self.ordered = chooser.random() < 0.5
        self.incarnation = chooser.randbytes(16)
        self.vnis = chooser.sample(
            (0, 1, 5001, 5002, 0x8000, 0xFFFFFF, chooser.randrange(1 << 24)), chooser.randint(2, 3)
        )
        # Two addresses of each family, by their length.
        self.locals = {length: [chooser.randbytes(length) for _ in range(2)] for length in (4, 16)}
        self.peers = [
            (chooser.randbytes(chooser.choice((4, 4, 16))), UNDERLAY[number % 2])
            for number in range(chooser.randint(2, 4))
        ]
        self.shares_a_number = chooser.random() < 0.3
        self.hears = chooser.choice((0.0, 0.7, 0.95))
        self.high_numbers = chooser.random() < 0.5
        self.vaps = list(self._make_vaps())
        # A tunnel interface stays on one port: the two ports have egress threads of their own on BMv2, and which of
        # them would take a sequence number first is nobody's promise.
        self.tunnels = [
            Tunnel(0x8000 | chooser.choice((0, number, 0x1000 + number, 0x7F00 + number)), port, peer)
            for number, (peer, port) in enumerate(self.peers, start=1)
        ]
        self.tunnels = list({tunnel.interface: tunnel for tunnel in self.tunnels}.values())
        self.stations = list(self._make_stations())
        self.associations = list(self._make_associations())
        # A sender counts all its packets, whatever the SA.
        self.sequences = {source: 0 for source, _ in self.peers}
        self.entries = list({(one.table, one.key): one for one in self._make_entries()}.values())
        self.defaults = self._make_defaults()
        self.groups = self._make_groups()

    # Things

    def _make_vaps(self) -> Iterator[Vap]:
        interface = 0
        for port in ACCESS:
            for vlan in self.chooser.sample((0, 0, 1, 10, 20, 4094, 4095), self.chooser.randint(1, 3)):
                interface += 1
                yield Vap(port, vlan, interface, self.chooser.choice(self.vnis), _pick(self.chooser, 1, 0, 2, 255))

    def _make_stations(self) -> Iterator[Station]:
        for number in range(len(self.vaps) + self.chooser.randint(0, 4)):
            vap = self.vaps[number % len(self.vaps)]
            yield Station(vap.vni, self._mac(number), *self._addresses(number), vap=vap)
        for number in range(100, 100 + self.chooser.randint(3, 8)):
            yield Station(
                self.chooser.choice(self.vnis),
                self._mac(number),
                *self._addresses(number),
                tunnel=self.chooser.choice(self.tunnels).interface,
            )

    def _mac(self, number: int) -> bytes:
        return (0x020000000000 | number << 24 | self.chooser.randrange(1 << 24)).to_bytes(6, "big")

    def _addresses(self, number: int) -> tuple[bytes, bytes]:
        return bytes((10, 0, 0, number)), b"\x20\x01\x0d\xb8" + self.chooser.randbytes(11) + bytes((number,))

    def _make_associations(self) -> Iterator[Association]:
        for index, (source, port) in enumerate(self.peers):
            for spi_number in range(self.chooser.randint(1, 4)):
                destination = _pick(self.chooser, *self.locals[len(source)])
                spi = self.chooser.getrandbits(1) << 31 | index << 8 | spi_number + 1
                key = self.chooser.randbytes(16)
                minimum = self.chooser.choice((0xFFFF, 0xFFFF, 0xFFFF, 0, 15, 16, 17, 32, 64))
                suite = self.chooser.choice((1, 2))
                made = self.sa_rx(destination, spi, key, minimum, suite, index)
                yield Association(source, destination, port, spi, key, minimum, suite, made)

    def sa_rx(self, destination: bytes, spi: int, key: bytes, minimum: int, suite: int, index: int) -> Entry:
        c = self.chooser
        return entry(
            "sa_rx",
            {"peer": self.peer_number(index, destination), "spi": spi},
            "accept",
            suite=_pick(c, suite, 0, 1, 2, 255, wrong=0.04),
            level=_pick(c, suite, 0, 1, 2, 255, wrong=0.04),
            kind=_pick(c, 1, *SA_KINDS, wrong=0.04),
            key=key,
            min_coverage=minimum,
            pair=_pick(c, index, 0, 4095, 0x3FFF),
            tag=_pick(c, self.tag(index, destination), 0, wrong=0.04),
            generation=c.choice((1, 1, 1, 0, 2, 0x7FFFFFFF, 0xFFFFFFFF)),
            not_after=_pick(c, FOREVER, *PAST, wrong=0.06),
            incarnation=_pick(c, self.incarnation, c.randbytes(16), bytes(16), wrong=0.06),
            link=0,
            vlan=0,
        )

    def peer_number(self, index: int, destination: bytes) -> int:
        """One for each pair of addresses, and one that two pairs share: that of the first peer and the last."""
        if index == len(self.peers) - 1 and self.shares_a_number:
            index = 0
        return 2 * index + self.locals[len(destination)].index(destination) + (0x7FF0 if self.high_numbers else 1)

    @staticmethod
    def tag(index: int, destination: bytes) -> int:
        return index << 8 | destination[0]

    # Entries

    def _make_entries(self) -> Iterator[Entry]:
        c = self.chooser
        for port in (*ACCESS, *MISMATCHED, *UNDERLAY):
            underlay = (port >= 256) != (port in MISMATCHED)
            yield (
                entry("port_role", {"port": port}, "underlay", mac=PORT_MAC.get(port, bytes(6)))
                if underlay
                else entry("port_role", {"port": port}, "access")
            )
        yield from self._control_entries()
        for vap in self.vaps:
            yield entry(
                "vap",
                {"port": vap.port, "link": 0, "vlan": vap.vlan},
                "attach",
                interface=vap.interface,
                vni=vap.vni,
                level=vap.level,
                link_level=_pick(c, 0, 1, wrong=0.05),
            )
            yield self._vap_egress(vap)
            if c.random() < 0.8:
                yield entry("punt_meter", {"interface": vap.interface}, "police_punt")
            if c.random() < 0.9:
                yield entry("vap_flood", {"interface": vap.interface}, "police_flood")
        for station in self.stations:
            yield from self._station_entries(station)
        for index, (source, _) in enumerate(self.peers):
            yield from self._peer_entries(index, source)
        yield from (association.entry for association in self.associations if c.random() < 0.95)
        for tunnel in self.tunnels:
            yield from self._tunnel_entries(tunnel)
        yield from self._marking_entries()
        for vni in self.vnis:
            for from_underlay in (0, 1):
                if c.random() < 0.9:
                    yield entry(
                        "flood", {"vni": vni, "from_underlay": from_underlay}, "replicate", group=c.choice(GROUPS)
                    )
            if c.random() < 0.8:
                yield entry("announcement", {"vni": vni}, "tell", group=c.choice(GROUPS))

    def _control_entries(self) -> Iterator[Entry]:
        """Of what is in clear: a world hears all of it, some, or nothing."""
        c = self.chooser
        for port in UNDERLAY:
            for address in (*self.locals[4], *self.locals[16]):
                if c.random() < self.hears:
                    key: dict[str, Value] = {"port": port, "address": mapped(address)}
                    yield entry("own_address", key, "own", mac=_pick(c, PORT_MAC[port], c.randbytes(6)))
            for kind in range(1, 7):
                if c.random() < self.hears:
                    yield entry("underlay_punt_meter", {"port": port, "kind": kind}, "hear")

    def _vap_egress(self, vap: Vap) -> Entry:
        key = {"port": vap.port, "interface": vap.interface}
        if vap.vlan == 0:
            return entry("vap_egress", key, "untagged")
        return entry("vap_egress", key, "tagged", vlan=_pick(self.chooser, vap.vlan, 0, 4095))

    def _station_entries(self, station: Station) -> Iterator[Entry]:
        c = self.chooser
        for way in (0, 1):
            bridge: dict[str, Value] = {"vni": station.vni, "mac": station.mac, "from_underlay": way}
            if c.random() < 0.1 or (station.vap is None and way == 1 and c.random() < 0.8):
                continue
            if station.vap is None:
                yield entry("bridge", bridge, "to_tunnel", interface=_pick(c, station.tunnel, 0x8FFF, 1, 0))
                continue
            yield entry(
                "bridge",
                bridge,
                "to_vap",
                port=_pick(c, station.vap.port, 511, 510, 5, 256),
                interface=_pick(c, station.vap.interface, 0, 0x7FFF, self.tunnels[0].interface),
            )
        if station.vap is not None:
            vap = station.vap
            allow = c.choice(("permit_source", "permit_announcer", "permit_service"))
            services: dict[str, Value] = {"services": c.randrange(8)} if allow == "permit_service" else {}
            for kind, address in ((IP_NONE, b"\0"), (IP_V4, station.ip), (IP_V6, station.ip6), (IP_ARP, station.ip)):
                if c.random() < 0.9:
                    yield entry(
                        "source_guard",
                        {"interface": vap.interface, "mac": station.mac, "ip_kind": kind, "ip": address},
                        allow,
                        **services,
                    )
            for address in (station.ip6, c.choice(self.stations).ip6):
                if c.random() < 0.4:
                    target: dict[str, Value] = {"interface": vap.interface, "mac": station.mac, "ip": address}
                    yield entry("target_guard", target, "permit_target")
        if c.random() < 0.5:
            yield entry("neighbor", {"vni": station.vni, "ip": station.ip}, "answer", mac=station.mac)
        if c.random() < 0.5:
            yield entry("neighbor_ipv6", {"vni": station.vni, "ip": station.ip6}, "answer_ipv6", mac=station.mac)

    def _peer_entries(self, index: int, source: bytes) -> Iterator[Entry]:
        c = self.chooser
        for destination in self.locals[len(source)]:
            number = self.peer_number(index, destination)
            if c.random() < 0.95:
                tag = self.tag(index, destination).to_bytes(4, "big")
                yield permit(source, destination, peer=number, tag=tag, zero_checksum=_pick(c, 0, 1, wrong=0.3))
            # How long a penalty lasts is the clock's: it must not show, so whoever can get into one has a floor.
            if c.random() < 0.95:
                yield entry("peer_meter", {"peer": number}, "police")
            yield entry("peer_floor", {"peer": number}, "police_floor")
            for vni in self.vnis:
                if c.random() < 0.85:
                    key: dict[str, Value] = {"peer": number, "vni": vni}
                    yield entry("vn_ingress_authorization", key, "authorize", level=_pick(c, 1, 0, 2, 255))

    def _tunnel_entries(self, tunnel: Tunnel) -> Iterator[Entry]:
        c = self.chooser
        hop = tunnel.interface & 3
        if c.random() < 0.95:
            group = _pick(c, tunnel.interface & 0x7FFF, 0xFFFF)
            limit = _pick(c, 0xFFFF, 0, 60, 100, 1514, wrong=0.3)
            yield entry("tunnel_route", {"interface": tunnel.interface}, "spread", group=group, frame_limit=limit)
        if c.random() < 0.95:
            # All at the same port: see where the tunnels are made.
            port = _pick(c, tunnel.port, 511, 1, 510)
            for bucket in range(64):
                member = {"group": tunnel.interface & 0x7FFF, "bucket": bucket}
                if c.random() < 0.97:
                    yield entry("underlay_member", member, "via", port=port, hop=_pick(c, hop, 0, 77))
        if c.random() < 0.95:
            yield entry(
                "tunnel",
                {"port": tunnel.port, "interface": tunnel.interface},
                "encapsulate_ipv6" if len(tunnel.peer) == 16 else "encapsulate",
                source=self.locals[len(tunnel.peer)][0],
                destination=tunnel.peer,
                underlay_mtu=c.choice((9000, 9000, 1500, 200, 172, 65535, 0)),
                hop=_pick(c, hop, 0, 77),
            )
        if c.random() < 0.95:
            key = {"egress_port": tunnel.port, "hop": hop}
            yield entry("adjacency", key, "towards", source_mac=PORT_MAC[tunnel.port], next_hop_mac=c.randbytes(6))
        for level in (0, 1, 2):
            suite = c.choice((1, 2))
            if c.random() < 0.9:
                yield entry(
                    "sa_tx",
                    {"interface": tunnel.interface, "level": level},
                    "protect",
                    suite=_pick(c, suite, 0, 1, 2, 255),
                    level=_pick(c, min(level, suite), 0, 1, 2, 255),
                    key=c.randbytes(16),
                    spi=c.getrandbits(32),
                    not_after=_pick(c, FOREVER, *PAST, wrong=0.06),
                    incarnation=_pick(c, self.incarnation, c.randbytes(16), wrong=0.06),
                )

    def _marking_entries(self) -> Iterator[Entry]:
        c = self.chooser
        for port in sorted({tunnel.port for tunnel in self.tunnels}):
            if c.random() < 0.7:
                action, param = c.choice((("pipe_dscp", "dscp"), ("copy_dscp", "otherwise")))
                yield entry("outer_dscp", {"port": port}, action, **{param: c.getrandbits(6)})

    def _make_defaults(self) -> list[Entry]:
        c = self.chooser
        entropy = (
            entry("flow_entropy", {}, "keyed", key=c.randbytes(16))
            if c.random() < 0.7
            else entry("flow_entropy", {}, "not_keyed")
        )
        return [
            entry("incarnation", {}, "set_incarnation", incarnation=self.incarnation),
            entry("lease", {}, "grant", not_after=FOREVER),
            entropy,
        ]

    # Replication

    def _make_groups(self) -> dict[int, list[tuple[int, int]]]:
        return {group: self.random_replicas() for group in GROUPS if self.chooser.random() < 0.85}

    def random_replicas(self) -> list[tuple[int, int]]:
        """(port, instance), never more of one port than BMv2's queues take. Mostly a VN's; sometimes nonsense."""
        c = self.chooser
        vni = c.choice(self.vnis)
        found = [(vap.port, vap.interface) for vap in self.vaps if vap.vni == vni]
        found += [(tunnel.port, tunnel.interface) for tunnel in self.tunnels if c.random() < 0.7]
        found += [(c.choice((1, 5, 256, 300)), c.choice((0, 1, 2, 0x7FFF))) for _ in range(_pick(c, 0, 1))]
        if c.random() < 0.5:
            found.append((_pick(c, CPU_PORT, 1, 256), _pick(c, AGENT_INTERFACE, 1, 0x8001)))
        c.shuffle(found)
        kept: list[tuple[int, int]] = []
        for port, instance in dict.fromkeys(found):
            if sum(one[0] == port for one in kept) < (1 if self.ordered else REPLICAS_PER_PORT):
                kept.append((port, instance))
        return kept
