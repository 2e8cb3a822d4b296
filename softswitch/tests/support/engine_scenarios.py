# SPDX-License-Identifier: Apache-2.0
"""Programs, entries and packets that are run through the engine and through BMv2, from a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import ActionCall, KeyPart, MeterRates, Replica

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Insert:
    table: str
    key: tuple[KeyPart, ...]
    priority: int
    action: ActionCall
    meter: MeterRates | None = None


@dataclass(frozen=True)
class Default:
    table: str
    action: ActionCall


@dataclass(frozen=True)
class Group:
    id: int
    replicas: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Clone:
    id: int
    replicas: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Meter:
    meter: str
    index: int
    cir: int
    cburst: int
    pir: int
    pburst: int


Setup = Insert | Default | Group | Clone | Meter


@dataclass(frozen=True)
class Scenario:
    program: str
    setup: list[Setup]
    packets: list[tuple[int, bytes]]
    counters: list[str] = field(default_factory=list)

    @property
    def json(self) -> Path:
        return PROGRAMS / f"{self.program}.json"

    @property
    def p4info(self) -> Path:
        return PROGRAMS / f"{self.program}.p4info.txtpb"


def apply(engine: CompiledEngine, setup: Sequence[Setup]) -> None:
    """The setup on the engine."""
    for step in setup:
        if isinstance(step, Insert):
            engine.table_insert(step.table, step.key, step.priority, step.action)
            if step.meter is not None:
                engine.direct_meter_write(step.table, step.key, step.priority, step.meter)
        elif isinstance(step, Default):
            engine.table_set_default(step.table, step.action)
        elif isinstance(step, Group):
            engine.multicast_group_set(step.id, [Replica(*r) for r in step.replicas])
        elif isinstance(step, Clone):
            engine.clone_session_set(step.id, [Replica(*r) for r in step.replicas], 0)
        else:
            rates = MeterRates(cir=step.cir, cburst=step.cburst, pir=step.pir, pburst=step.pburst)
            engine.meter_write(step.meter, step.index, rates)


def exact(value: int, bits: int) -> KeyPart:
    return KeyPart(value.to_bytes((bits + 7) // 8, "big"))


def ternary(value: int, mask: int, bits: int) -> KeyPart:
    size = (bits + 7) // 8
    return KeyPart((value & mask).to_bytes(size, "big"), mask.to_bytes(size, "big"))


def between(low: int, high: int, bits: int) -> KeyPart:
    size = (bits + 7) // 8
    return KeyPart(low.to_bytes(size, "big"), high.to_bytes(size, "big"))


def prefix(value: int, length: int, bits: int) -> KeyPart:
    mask = ((1 << length) - 1) << (bits - length)
    return KeyPart((value & mask).to_bytes((bits + 7) // 8, "big"), prefix_len=length)


def call(name: str, *params: tuple[int, int]) -> ActionCall:
    """params: (value, bits)."""
    return ActionCall(name, tuple(v.to_bytes((bits + 7) // 8, "big") for v, bits in params))


# Router --------------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4_packet(
    rng: random.Random, dst: int, *, ttl: int = 64, proto: int = 17, good: bool = True, ihl: int = 5
) -> bytes:
    payload = rng.randbytes(rng.choice([0, 1, 7, 18, 64, 333]))
    udp = struct.pack(">HHHH", rng.randrange(65536), rng.randrange(65536), 8 + len(payload), rng.choice([0, 0x1234]))
    body = (udp if proto == 17 else b"") + payload
    head = struct.pack(">BBHHHBBH", 0x40 | ihl, 0, 20 + len(body), rng.randrange(65536), 0, ttl, proto, 0)
    head += struct.pack(">II", rng.randrange(1 << 32), dst)
    value = checksum(head) if good else rng.randrange(65536)
    head = head[:10] + struct.pack(">H", value) + head[12:]
    ethernet = rng.randbytes(6) + bytes([0, 0, 0, 0, 0, rng.randrange(4)]) + b"\x08\x00"
    return ethernet + head + body


def router(seed: int, count: int) -> Scenario:
    rng = random.Random(seed)
    routes = [(0x0A000000, 8), (0x0A010000, 16), (0x0A010200, 24), (0x0A010203, 32), (0xC0A80000, 17), (0, 0)]
    setup: list[Setup] = [Group(1, ((1, 1), (2, 2), (3, 3)))]
    for number, (value, length) in enumerate(routes):
        action = call("IngressPipe.drop", (8, 8)) if number == 4 else call("IngressPipe.route", (number, 32))
        setup.append(Insert("IngressPipe.routes", (prefix(value, length, 32),), 0, action))
    for number in range(5):
        cut = rng.randrange(1, 999)
        for order, (low, high) in enumerate(((0, cut), (cut, 1000), (300, 500))):
            action = call("IngressPipe.to_port", (order + 1, 9), (0x020000000000 + number, 48))
            key = (exact(number, 32), between(low, high, 16))
            setup.append(Insert("IngressPipe.nexthops", key, 10 + order, action))
    for number in range(4):
        key = (exact(0x0200000000 + number, 48),)
        setup.append(Insert("IngressPipe.bridge", key, 0, call("IngressPipe.forward", (number, 9))))
    packets = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.6:
            dst = rng.choice([0x0A010203, 0x0A010204, 0x0A010300, 0x0A020000, 0xC0A80001, rng.randrange(1 << 32)])
            packet = ipv4_packet(
                rng, dst, ttl=rng.choice([0, 1, 2, 64, 255]), proto=rng.choice([6, 17]), good=rng.random() < 0.9,
                ihl=rng.choice([5, 5, 5, 6]),
            )  # fmt: skip
        else:
            dst = (0x0200000000 + rng.randrange(6)).to_bytes(6, "big")
            packet = dst + rng.randbytes(8) + rng.randbytes(rng.randrange(60))
        if rng.random() < 0.1:
            packet = packet[: rng.randrange(1, len(packet))]
        packets.append((rng.randrange(1, 4), packet))
    return Scenario("router", setup, packets, ["IngressPipe.reasons", "EgressPipe.sent"])


# Copies --------------------------------------------------------------------------------------------------------------


def copies(seed: int, count: int) -> Scenario:
    rng = random.Random(seed)
    setup: list[Setup] = [
        Group(1, ((1, 11), (2, 12), (3, 13))),
        Group(2, ((4, 5),)),
        Clone(1, ((7, 0),)),
        Clone(2, ((7, 3), (8, 4))),
    ]
    packets = []
    for _ in range(count):
        ingress = rng.randrange(256) & rng.randrange(256)
        egress = rng.randrange(256) & rng.randrange(256) & 0x7F
        if egress & 3 == 3:
            egress &= ~1  # clones that go round and are cloned again overflow BMv2's queue of 64 packets
        group = rng.choice([1, 2, 3])
        command = bytes([ingress, egress, rng.choice([1, 2, 3]), rng.randrange(40)])
        command += group.to_bytes(2, "big") + bytes([rng.choice([1, 2, 3, 9]), rng.randrange(256)])
        lead = b"\xee" + rng.randbytes(7) if rng.random() < 0.4 else b""
        if not lead and command[0] == 0xEE:
            continue
        packets.append((rng.randrange(1, 4), lead + command + rng.randbytes(rng.randrange(40))))
    return Scenario("copies", setup, packets)


# Others --------------------------------------------------------------------------------------------------------------


def arithmetic(seed: int, count: int) -> Scenario:
    rng = random.Random(seed)
    packets = []
    for _ in range(count):
        body = bytearray(rng.randbytes(48))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(48)
            body[at : at + 8] = rng.choice([b"\0" * 8, b"\xff" * 8, b"\x80" + b"\0" * 7])
        del body[48:]
        body[46] = rng.choice([body[46], rng.randrange(40)])  # the amount of shifts: mostly a small one
        packets.append((1, bytes(body) + rng.randbytes(rng.randrange(8))))
    return Scenario("arithmetic", [], packets)


def stacks(seed: int, count: int) -> Scenario:
    rng = random.Random(seed)
    packets = []
    for _ in range(count):
        number = rng.choice([0, 1, 2, 3, 4, 5, 6, 7])
        kind = rng.choice([0, 1, 2, 0xBB])
        # A stack that is not full reads stale elements in BMv2: only operations that look at what was extracted.
        op = rng.choice([1, 2, 3, 4, 5, 7, 8, 11] if number < 6 else [1, 2, 3, 4, 5, 6, 7, 8, 9, 11])
        head = bytes([kind, number, op, rng.randrange(number) if number else 0]) + rng.randbytes(2)
        if kind == 0xBB or number == 7:
            op = 11
            head = head[:2] + bytes([op]) + head[3:]
        if number == 0 and op == 2:
            continue
        if head[4:6] == b"\xde\xad":
            continue
        items = b"".join(rng.choice([rng.randbytes(3), b"\x12\x34\x56"]) for _ in range(number))
        rest = rng.choice([b"", b"\xa5", b"\xa7\x01", b"\xb0\x01\x02", b"\xb0", b"\x00\x01"])
        packets.append((rng.randrange(1, 4), head + items + rest))
    return Scenario("stacks", [], packets)


def matches(seed: int, count: int) -> Scenario:
    rng = random.Random(seed)
    small = [0, 1, 5, 10, 15, 20, 25, 30, 77, 100, 0x0F00, 0x0FFF, 0xFFFF]
    wide = [0, 1, 1 << 127, (1 << 128) - 1, 0x0123456789ABCDEF0123456789ABCDEF, 0xFF << 120]
    setup: list[Setup] = []
    pipe = "IngressPipe."

    def action(number: int) -> ActionCall:
        if number % 3 == 0:
            return call(pipe + "set_wide", (rng.randrange(1 << 128), 128), (rng.randrange(1, 5), 9))
        return call(pipe + "set", (number, 32))

    used: set[object] = set()

    def add(step: Insert) -> None:
        identity = (step.table, step.key, step.priority)
        if identity not in used:
            used.add(identity)
            setup.append(step)

    for number in range(24):
        a, b, c, e = rng.choice(small), rng.choice(small), rng.choice(wide), rng.randrange(4)
        exact_action = action(0) if number % 2 else call(pipe + "set_metered", (number, 32))
        key = (exact(a, 32), exact(c, 128), exact(e, 9), exact(rng.choice([0, 7]), 32))
        meter = MeterRates(cir=1, cburst=2, pir=2, pburst=4) if number % 4 == 0 else None
        add(Insert(pipe + "by_exact", key, 0, exact_action, meter))
        key = (
            ternary(a, rng.choice([0, 0xFF, 0xFFFFFFFF]), 32),
            exact(b, 16),
            ternary(c, rng.choice([0, 0xFFFF << 112, (1 << 128) - 1]), 128),
            ternary(number & 1, rng.choice([0, 1]), 1),
        )
        add(Insert(pipe + "by_ternary", key, rng.randrange(1, 6), action(number)))
        lpm_action = call(pipe + "drop") if number == 7 else call(pipe + "set", (number, 32))
        add(Insert(pipe + "by_lpm", (prefix(c, rng.choice([0, 1, 8, 64, 100, 128]), 128), exact(b, 16)), 0, lpm_action))
        low, high = sorted((a, rng.choice(small)))
        low2, high2 = sorted((c, rng.choice(wide)))
        key = (
            between(low, high, 32),
            between(low2, high2, 128),
            ternary(e, rng.choice([0, 3, 0x1FF]), 9),
            prefix(b, rng.choice([0, 8, 16]), 16),
        )
        add(Insert(pipe + "by_range", key, rng.randrange(1, 6), action(number)))
        key = (ternary(a, rng.choice([0, 0xFFFFFFFF]), 32), ternary(number, rng.choice([0, 0x7F]), 7))
        add(Insert(pipe + "by_optional", key, rng.randrange(1, 6), call(pipe + "set", (number, 32))))
    setup.append(Default(pipe + "by_optional", call(pipe + "set", (0x0DEFA017, 32))))
    setup.append(Meter(pipe + "by_index", 3, 1, 200, 2, 400))
    packets = []
    for _ in range(count):
        kind = rng.randrange(1, 9)
        index = rng.randrange(8)
        bits = rng.choice([rng.randrange(128), rng.randrange(24)])
        key_bytes = bytes([kind]) + struct.pack(">IH", rng.choice(small), rng.choice(small))
        key_bytes += rng.choice(wide).to_bytes(16, "big")
        key_bytes += ((bits << 9) | rng.randrange(4)).to_bytes(2, "big") + bytes([index])
        maybe = struct.pack(">I", rng.choice([0, 7])) if bits & 0x40 else b""
        packets.append((rng.randrange(1, 4), key_bytes + maybe + rng.randbytes(rng.randrange(20))))
    return Scenario("matches", setup, packets, [pipe + "by_table"])


def hops(seed: int, count: int) -> Scenario:
    """Source routes, probes, traces, and frames that are flooded; some with more than fits, some cut."""
    rng = random.Random(seed)
    setup: list[Setup] = [
        Group(1, ((1, 1), (2, 1), (3, 1), (4, 1))),
        Insert("Pipe.bridge", (exact(0x020000000001, 48),), 0, call("Pipe.forward", (4, 9))),
        Insert("Pipe.bridge", (exact(0x020000000002, 48),), 0, call("Pipe.drop")),
        Default("Out.identity", call("Out.set_id", (0x1234567, 31))),
    ]
    packets = []
    for _ in range(count):
        dst = (0x020000000000 + rng.randrange(4)).to_bytes(6, "big")
        kind = rng.randrange(4)
        if kind == 0:
            length = rng.randrange(1, 11)
            ports = [rng.randrange(1, 5) | (0x8000 if at == length - 1 else 0) for at in range(length)]
            body = b"\x12\x34" + struct.pack(f">{length}H", *ports)
        elif kind == 1:
            done = rng.randrange(6)
            reports = b"".join(bytes([0x80 * (at == done - 1) | at, 1]) + rng.randbytes(4) for at in range(done))
            body = b"\x08\x12" + bytes([done]) + reports + bytes(rng.randrange(1, 5) for _ in range(done + 1))
        elif kind == 2:
            marks = rng.randrange(6)
            body = b"\x12\x12" + struct.pack(">H", marks) + rng.randbytes(8 * marks)
        else:
            body = b"\x08\x00"
        packet = dst + rng.randbytes(6) + body + rng.randbytes(rng.randrange(40))
        if rng.random() < 0.05:
            packet = packet[: rng.randrange(1, len(packet))]
        packets.append((rng.randrange(1, 5), packet))
    return Scenario("hops", setup, packets, ["Out.sent"])


def flows(seed: int, count: int) -> Scenario:
    """Few flows in both directions, with and without SYN; sums."""
    rng = random.Random(seed)
    pipe = "Pipe."
    inner, outer = 0x0A000000, 0xC0000200
    setup: list[Setup] = [
        Insert(pipe + "paths", (prefix(inner, 8, 32),), 0, call(pipe + "select_path", (0, 16), (2, 32))),
        Insert(pipe + "paths", (prefix(outer, 24, 32),), 0, call(pipe + "select_path", (2, 16), (2, 32))),
    ]
    for path in range(4):
        address = (inner if path < 2 else outer) + path
        hop = call(pipe + "next_hop", (0x0200000000 + path, 48), (address, 32), (path + 1, 9))
        setup.append(Insert(pipe + "next_hops", (exact(path, 14),), 0, hop))
    for low in (1, 2):
        for high in (3, 4):
            for ports, outbound in (((low, high), 1), ((high, low), 0)):
                key = (exact(ports[0], 9), exact(ports[1], 9))
                setup.append(Insert(pipe + "directions", key, 0, call(pipe + "direction", (outbound, 1))))
    packets = []
    for _ in range(count):
        ends = rng.randbytes(12)
        if rng.random() < 0.3:
            operation = rng.choice([b"+", b"-", b"&", b"|", b"^", b"x"])
            packet = ends + b"\x12\x34" + rng.choice([b"P4\x01", b"P4\x01", b"P4\x02"]) + operation + rng.randbytes(12)
            packets.append((rng.randrange(1, 5), packet))
            continue
        out = rng.random() < 0.5
        addresses = [inner + rng.randrange(2), outer + 2 + rng.randrange(2)]
        ports = [rng.choice([5000, 5001]), 80]
        if not out:
            addresses.reverse()
            ports.reverse()
        tcp = struct.pack(">HHIIBB", *ports, rng.randrange(9), 0, 0x50, rng.choice([2, 16, 18])) + rng.randbytes(6)
        protocol = rng.choice([6, 6, 6, 17, 1])
        head = struct.pack(
            ">BBHHHBBH", 0x45, rng.randrange(256), 20 + len(tcp), 1, 0, rng.choice([64, 0, 1]), protocol, 0
        )
        head += struct.pack(">II", *addresses)
        value = checksum(head) if rng.random() < 0.95 else 0
        head = head[:10] + struct.pack(">H", value) + head[12:]
        packets.append((rng.choice([1, 2] if out else [3, 4]), ends + b"\x08\x00" + head + tcp))
    return Scenario("flows", setup, packets)


def wide(seed: int, count: int) -> Scenario:
    """Everything at random, some numbers of all ones, some packets too short."""
    rng = random.Random(seed)
    size = 139
    packets = []
    for _ in range(count):
        body = bytearray(rng.randbytes(size + rng.randrange(20)))
        body[0] = rng.randrange(256)
        at = rng.randrange(1, size)
        body[at : at + 40] = rng.choice([b"\xff", b"\0"]) * len(body[at : at + 40])
        packets.append((1, bytes(body[: rng.choice([size, 900, 900, 900, rng.randrange(1, size)])])))
    return Scenario("wide", [], packets)


SCENARIOS: dict[str, Callable[[int, int], Scenario]] = {
    "router": router,
    "copies": copies,
    "arithmetic": arithmetic,
    "stacks": stacks,
    "matches": matches,
    "hops": hops,
    "flows": flows,
    "wide": wide,
}
