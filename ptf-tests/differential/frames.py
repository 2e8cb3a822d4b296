# SPDX-License-Identifier: Apache-2.0
"""Batches of random frames for every kind of port, from valid protected packets to random bytes."""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable, Iterator

from harness.schema import cpu_header
from harness.session import CONTROL_OUT, FORWARD, PORT_MAC, REPORT_STATE, SET_INCARNATION
from harness.switches import CPU_PORT
from nvo3ref import frames as f
from nvo3ref.tunnel import INNER_AT, IPV6_LONGER, TunnelPacket, with_ip_checksum, with_udp_checksum
from nvo3ref.window import RING_SLOTS, SLOT_PACKETS, WINDOW

from differential.pair import BARRIER_INTERFACE, BARRIER_QUESTION
from differential.steps import Frames, PacketOuts
from differential.tenants import LARGEST, Tenants, length
from differential.worlds import ACCESS, MISMATCHED, UNCONFIGURED, UNDERLAY, Association, World

# BMv2's queues take 64 packets of a port, and a group has at most two replicas on one.
BATCH = 24
HISTORY = 600
ALL_PORTS = (*ACCESS, *UNDERLAY, *UNCONFIGURED, *MISMATCHED, 0, 200, 300, 511)
LAST_SEQUENCE = (1 << 64) - 1

# Width in bits of what a mutation can change in a protected packet.
_FIELDS = {
    "ether_type": 16,
    "version_ihl": 8,
    "version_ipv6": 4,
    "flow_label": 20,
    "dscp": 6,
    "ecn": 2,
    "identification": 16,
    "fragment": 16,
    "ttl": 8,
    "protocol": 8,
    "ip_length": 16,
    "ip_checksum": 16,
    "udp_source": 16,
    "udp_destination": 16,
    "udp_length": 16,
    "udp_checksum": 16,
    "version": 2,
    "option_words": 6,
    "control": 1,
    "critical": 1,
    "geneve_reserved1": 6,
    "geneve_protocol": 16,
    "vni": 24,
    "geneve_reserved2": 8,
    "option_class": 16,
    "option_type": 8,
    "option_reserved": 3,
    "data_words": 5,
    "spi": 32,
    "sequence": 64,
    "coverage": 16,
    "suite": 8,
    "flags": 8,
}


def is_ipv6(packet: bytes) -> bool:
    """Long enough to have been made as a protected packet over IPv6."""
    return packet[12:14] == b"\x86\xdd" and len(packet) >= INNER_AT + IPV6_LONGER


class Traffic:
    """The frames of one world, in a stream that its seed determines."""

    def __init__(self, world: World, chooser: random.Random) -> None:
        self._world = world
        self._chooser = chooser
        self._tenants = Tenants(world, chooser)
        self._history: deque[tuple[int, bytes]] = deque(maxlen=HISTORY)
        self._ways: list[tuple[int, Callable[[], tuple[int, bytes]]]] = [
            (40, self._valid),
            (10, self._replay),
            (18, self._mutated),
            (8, self._damaged),
            (34, self._tenants.on_access_link),
            (4, self._damaged_access),
            (4, self._noise),
            (8, self._in_clear),
            (5, self._from_cpu),
        ]

    # Batches

    def batch(self) -> Frames:
        made = self._chooser.choices([way for _, way in self._ways], [weight for weight, _ in self._ways], k=BATCH)
        return Frames(tuple(self._perhaps_elsewhere(*way()) for way in made))

    def state_questions(self) -> Frames:
        """Reads and writes of the registers. They stand alone in a batch: no packet of a tunnel is on its way."""
        c = self._chooser
        found = []
        for _ in range(c.randint(1, 6)):
            value = c.choice((self._world.incarnation, self._world.incarnation, bytes(16), c.randbytes(16)))
            header = cpu_header(
                c.choice((REPORT_STATE, SET_INCARNATION)),
                c.getrandbits(16),
                self._asked(),
                c.getrandbits(24),
                c.getrandbits(8),
            )
            found.append(
                (CPU_PORT, (header + value)[: c.choice((9, 24, 25, 25, 25))] + c.randbytes(c.choice((0, 0, 0, 9))))
            )
        # An incarnation that is wrong stays for a few batches: `registers` puts it right.
        return Frames(tuple(found))

    def registers(self) -> Frames:
        """Both registers as they should be, and what the switch says of every tunnel."""
        questions = [cpu_header(SET_INCARNATION) + self._world.incarnation]
        questions += [cpu_header(REPORT_STATE, interface=tunnel.interface) for tunnel in self._world.tunnels]
        return Frames(tuple((CPU_PORT, question) for question in questions))

    def packet_outs(self) -> PacketOuts:
        c = self._chooser
        found = []
        for _ in range(c.randint(1, BATCH)):
            port, interface = self._outlet()
            fields = {
                "operation": FORWARD,
                "egress_port": port,
                "interface": interface,
                "vni": c.choice(self._world.vnis),
                "level": c.choice((0, 1, 1, 2)),
            }
            station = c.choice(self._world.stations)
            frame = self._tenants.frame(station, station.vni)
            if c.random() < 0.2:
                out = c.choice((*UNDERLAY, *UNDERLAY, port))
                fields |= {"operation": CONTROL_OUT, "egress_port": out}
                frame = self.control_frame(
                    out if out in UNDERLAY else UNDERLAY[0], c.randbytes(6), is_sent=c.random() < 0.8
                )
            found.append((tuple(fields.items()), frame))
        return PacketOuts(tuple(found))

    def replays(self) -> Iterator[Frames]:
        """Every packet that is remembered, once more, in another order: what the windows hold comes to light."""
        again = list(self._history)
        self._chooser.shuffle(again)
        for at in range(0, len(again), BATCH):
            yield Frames(tuple(again[at : at + BATCH]))

    # From the underlay

    def _sequence(self, source: bytes) -> int:
        """Mostly the next one; reordered, late, far ahead now and then. What leaves the window no way back is rare."""
        c = self._chooser
        last = self._world.sequences[source]
        way = c.random()
        if way >= 0.998:
            return c.choice((0, 1, c.getrandbits(64), LAST_SEQUENCE, 1 << 32))
        if 0.90 <= way < 0.97:
            return max(0, last - c.choice((c.randint(0, 64), c.randint(0, 9000), WINDOW - 1, WINDOW)))
        step = 1
        if 0.80 <= way < 0.90:
            step = c.randint(1, 40)
        elif way >= 0.97:
            step = c.choice((SLOT_PACKETS, WINDOW, SLOT_PACKETS * RING_SLOTS, c.randint(1, 20000)))
        self._world.sequences[source] = last + step
        return last + step

    def packet(self) -> tuple[Association, TunnelPacket]:
        c = self._chooser
        association = c.choice(self._world.associations)
        vni = c.choice(self._world.vnis)
        inner = self._tenants.frame(c.choice(self._world.stations), vni)
        coverage = None
        if association.min_coverage != 0xFFFF and c.random() < 0.4:
            coverage = (
                min(len(inner), max(16, association.min_coverage) + 15 & ~15)
                if c.random() < 0.8
                else c.choice((0, 15, 16, 32, len(inner) & ~15, len(inner) + 1))
            )
        return association, TunnelPacket(
            inner=inner,
            key=association.key,
            spi=association.spi,
            sequence=self._sequence(association.source),
            vni=vni,
            source=association.source,
            destination=association.destination,
            eth_dst=PORT_MAC[association.port],
            eth_src=c.randbytes(6),
            ecn=c.choice((0, 0, 1, 2, 3)),
            udp_source=c.getrandbits(16),
            flow_label=c.getrandbits(20),
            suite=association.suite,
            coverage=coverage,
            trailing=b"" if c.random() < 0.95 else c.randbytes(c.randint(1, 60)),
        )

    def _valid(self) -> tuple[int, bytes]:
        association, packet = self.packet()
        return self._remember(association.port, packet.encode())

    def _remember(self, port: int, frame: bytes) -> tuple[int, bytes]:
        self._history.append((port, frame))
        return port, frame

    def _replay(self) -> tuple[int, bytes]:
        """As it was, or under another outer header."""
        if not self._history:
            return self._valid()
        c = self._chooser
        port, frame = c.choice(self._history)
        if c.random() < 0.5 or len(frame) < 86:
            return port, frame
        changed = bytearray(frame)
        if is_ipv6(frame):
            changed[c.choice((6, 15, 17, 21, 54, 55))] = c.getrandbits(
                8
            )  # source MAC, label, hop limit, UDP source port
            return port, with_udp_checksum(bytes(changed))
        at = c.choice((6, 15, 18, 22, 34, 35))  # source MAC, TOS, identification, TTL, UDP source port
        changed[at] = c.getrandbits(8)
        return port, with_ip_checksum(bytes(changed))

    def _mutated(self) -> tuple[int, bytes]:
        """One to three fields changed: by somebody on the path, who cannot sign, or by an insider, who can."""
        c = self._chooser
        association, packet = self.packet()
        changes: dict[str, object] = {}
        for _ in range(c.choice((1, 1, 1, 2, 3))):
            changes |= self._change(packet)
        # An insider's jump to the end of all sequence numbers would close the window for good.
        if c.random() < 0.4 or "sequence" in changes:
            changes.setdefault("icv", packet.option()[20:])
        return self._remember(association.port, packet.but(**changes).encode())

    def _change(self, packet: TunnelPacket) -> dict[str, object]:
        c = self._chooser
        way = c.random()
        if way < 0.75:
            name, bits = c.choice(list(_FIELDS.items()))
            usual = getattr(packet, name)
            near = 0 if usual is None else int(usual)
            value = c.choice(
                (0, (1 << bits) - 1, near + 1, near - 1, near ^ 1 << c.randrange(bits), c.getrandbits(bits))
            )
            return {name: value % (1 << bits)}
        if way < 0.85:
            lie = c.choice((-17, -16, -1, 1, 4, 16, 100))
            udp_length = max(0, 60 - 8 + len(packet.inner) - 8 + 8 + lie)
            ip_length = udp_length if packet.is_ipv6() else udp_length + 20
            return {"udp_length": udp_length, "ip_length": ip_length, "trailing": c.randbytes(max(0, lie))}
        family = len(packet.source)
        others = [source for source, _ in self._world.peers if len(source) == family]
        here = self._world.locals[family][1]
        changes: tuple[dict[str, object], ...] = (
            {"udp_checksum": c.choice((0, 0, c.getrandbits(16)))},
            {"icv": c.randbytes(16)},
            {"icv": bytes(16)},
            {"key": c.randbytes(16)},
            {"source": c.choice((packet.destination, c.randbytes(len(packet.source)), *others))},
            {"destination": c.choice((packet.source, c.randbytes(len(packet.source)), here))},
            {"eth_dst": c.choice((c.randbytes(6), PORT_MAC[256], PORT_MAC[257]))},
            {"ip_options": bytes(4), "version_ihl": c.choice((0x45, 0x46))},
            {"more_options": bytes(4), "option_words": c.choice((9, 10))},
            {"inner": packet.inner[: c.randrange(len(packet.inner) + 1)]},
            {"inner": packet.inner + c.randbytes(c.choice((1, 4, 16)))},
            {"inner": c.randbytes(length(c))},
        )
        return c.choice(changes)

    def _damaged(self) -> tuple[int, bytes]:
        association, packet = self.packet()
        damaged = self._damage(packet.encode())
        if is_ipv6(damaged) and self._chooser.random() < 0.5:
            damaged = with_udp_checksum(damaged)  # by somebody who knows how
        return self._remember(association.port, damaged)

    def _in_clear(self) -> tuple[int, bytes]:
        """What a router says in the underlay, or what somebody makes of it."""
        c = self._chooser
        port = c.choice(UNDERLAY)
        frame = self.control_frame(port, c.choice((PORT_MAC[port], PORT_MAC[port], f.BROADCAST, c.randbytes(6))))
        return self._remember(port, frame if c.random() < 0.7 else self._damage(frame))

    def control_frame(self, port: int, to: bytes, *, is_sent: bool = False) -> bytes:
        """For an address of this NVE, or from one."""
        c = self._chooser
        own4, own6 = (c.choice(self._world.locals[length]) for length in (4, 16))
        other4, other6 = c.randbytes(4), c.randbytes(16)
        source4, target4 = (own4, other4) if is_sent else (other4, own4)
        source6, target6 = (own6, other6) if is_sent else (other6, own6)
        mac = PORT_MAC[port] if is_sent else b"\x02" + c.randbytes(5)
        kind, ttl, tail = c.choice((135, 135, 135, 136, 133, 134, 137, 128)), c.choice((255, 255, 64)), c.randbytes(20)
        ports = struct.pack(">HH", c.choice((179, 3784, 50000, 6081)), c.choice((179, 3784, 4784, 6081, 53)))
        nd_body = bytes(4) + (target6 if kind == 135 and not is_sent else other6)
        nd_body += c.choice(
            (b"", b"\x01\x01" + mac, b"\x0e\x01" + tail[:6], b"\x01\x01" + mac + b"\x05\x01" + tail[:6])
        )
        arp = struct.pack(">HHHH", 1, 0x0800, 0x0604, c.choice((1, 1, 2, 3))) + mac + source4 + bytes(6) + target4
        protocol, upper = c.choice(
            ((1, b"\x08\0" + tail), (6, ports + tail), (17, ports + bytes(4) + tail), (89, tail))
        )
        message = bytes([kind, c.choice((0, 0, 0, 1)), 0, 0]) + nd_body
        zero = bytes(16) if c.random() < 0.1 else source6
        return c.choice(
            (
                f.padded(f.ethernet(to, mac, f.ETHERTYPE_ARP, arp)),
                f.ethernet(to, mac, f.ETHERTYPE_IPV4, f.ipv4(source4, target4, upper, protocol, ttl=ttl)),
                f.ethernet(to, mac, f.ETHERTYPE_IPV6, f.ipv6(source6, target6, upper, protocol, hop_limit=ttl)),
                f.ethernet(to, mac, f.ETHERTYPE_IPV6, f.ipv6(zero, target6, message, 58, hop_limit=ttl)),
                f.ethernet(bytes.fromhex("0180c200000e"), mac, 0x88CC, tail),
            )
        )

    # From access ports, the CPU port, anywhere

    def _damaged_access(self) -> tuple[int, bytes]:
        port, frame = self._tenants.on_access_link()
        return port, self._damage(frame)

    def _damage(self, frame: bytes) -> bytes:
        c = self._chooser
        changed = bytearray(frame)
        at = c.randrange(len(frame))
        way = c.randrange(6)
        if way == 0:
            changed[at] ^= 1 << c.randrange(8)
        elif way == 1:
            del changed[max(1, at) :]
        elif way == 2:
            changed += c.randbytes(c.randint(1, 64))
        elif way == 3:
            del changed[at : at + c.randint(1, 20)]
        elif way == 4:
            changed[at:at] = c.randbytes(c.randint(1, 20))
        else:
            changed[at : at + 4] = c.randbytes(4)
        return bytes(changed[:LARGEST]) or b"\0"

    def _noise(self) -> tuple[int, bytes]:
        c = self._chooser
        noise = c.randbytes(c.choice((c.randint(1, 40), c.randint(1, 150), c.randint(1, LARGEST))))
        return c.choice(ALL_PORTS), noise

    def _asked(self) -> int:
        interface = self._chooser.choice(
            (self._chooser.choice(self._world.tunnels).interface, 0, 1, 0x7FFF, self._chooser.getrandbits(16))
        )
        return interface if interface != BARRIER_QUESTION else 0

    def _outlet(self) -> tuple[int, int]:
        """Where a packet-out may ask to leave. Interfaces of the barriers are not for others."""
        c = self._chooser
        vap, tunnel = c.choice(self._world.vaps), c.choice(self._world.tunnels)
        port, interface = c.choice(
            (
                (vap.port, vap.interface),
                (tunnel.port, tunnel.interface),
                (tunnel.port, tunnel.interface),
                (vap.port, tunnel.interface),
                (tunnel.port, vap.interface),
                (vap.port, 0),
                (511, 1),
                (CPU_PORT, 1),
                (5, vap.interface),
                (c.getrandbits(16), c.getrandbits(16)),
            )
        )
        return (port, interface) if not BARRIER_INTERFACE <= interface < BARRIER_INTERFACE + 512 else (1, 1)

    def _from_cpu(self) -> tuple[int, bytes]:
        """Frames behind a packet-out header. What touches the registers has batches of its own."""
        c = self._chooser
        station = c.choice(self._world.stations)
        operation = FORWARD if c.random() < 0.9 else c.choice((0, 4, 255))
        header = cpu_header(
            operation, *self._outlet(), c.choice((*self._world.vnis, 0, 0xFFFFFF)), c.choice((0, 1, 1, 2, 255))
        )
        frame = header + self._tenants.frame(station, station.vni)
        if c.random() < 0.1:
            frame = frame[: c.randint(1, len(frame))]
        return CPU_PORT, frame[:LARGEST]

    def _perhaps_elsewhere(self, port: int, frame: bytes) -> tuple[int, bytes]:
        if port == CPU_PORT or self._chooser.random() < 0.97:
            return port, frame
        return self._chooser.choice(ALL_PORTS), frame
