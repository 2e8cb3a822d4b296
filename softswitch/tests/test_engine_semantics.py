# SPDX-License-Identifier: Apache-2.0
"""Semantics of BMv2 that a translator gets wrong first, each shown on its own."""

from __future__ import annotations

import struct

import pytest
from engine_scenarios import SCENARIOS, apply, call, exact, prefix, ternary
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import CounterValue, KeyPart, MeterRates, Replica

COMMAND = struct.Struct(">BBBBHBB")  # ingress, egress, session, length, group, port, mark
TRACE = struct.Struct(">BBHHBB")  # 0xEE, rid, packet length, kept, ingress port, instance type << 4 | passes
REST = bytes(range(30))


def command(
    ingress: int = 0, egress: int = 0, session: int = 1, length: int = 0, group: int = 1, port: int = 4
) -> bytes:
    return COMMAND.pack(ingress, egress, session, length, group, port, 0x42) + REST


@pytest.fixture
def copies() -> CompiledEngine:
    engine = load_program("copies")
    engine.multicast_group_set(1, [Replica(1, 11), Replica(2, 12)])
    engine.clone_session_set(1, [Replica(7, 70)], 0)
    engine.clone_session_set(2, [Replica(8, 80)], 20)
    return engine


def trace(frame: bytes) -> tuple[int, int, int, int, int]:
    """(rid, packet length, kept, instance type, passes)."""
    kind, rid, length, kept, _port, flags = TRACE.unpack(frame[:8])
    assert kind == 0xEE
    return rid, length, kept, flags >> 4, flags & 15


class TestTrafficManager:
    """Order in the traffic manager: clone, digest, resubmit, multicast, drop, unicast."""

    def test_unicast(self, copies: CompiledEngine) -> None:
        ((port, frame),) = copies.process(3, command())
        assert port == 4
        assert trace(frame) == (0, 38, 0x42, 0, 1)
        assert frame[8:] == command()

    def test_ingress_clone_is_the_packet_as_it_came(self, copies: CompiledEngine) -> None:
        """The clone lacks what ingress wrote into headers, and has only the metadata of its field list."""
        frames = dict(copies.process(3, command(ingress=0x41)))
        assert set(frames) == {4, 7}
        assert frames[4][8 + 7] == 0x99
        assert frames[7][8 + 7] == 0x42
        assert trace(frames[7]) == (70, 38, 0x42, 1, 0)

    def test_a_clone_comes_out_in_spite_of_a_drop(self, copies: CompiledEngine) -> None:
        assert [port for port, _ in copies.process(3, command(ingress=0x09))] == [7]

    def test_a_dropped_clone_session_is_only_counted(self, copies: CompiledEngine) -> None:
        assert [port for port, _ in copies.process(3, command(ingress=0x01, session=99))] == [4]
        assert copies.statistics()["no_session"] == 1

    def test_multicast_replaces_unicast(self, copies: CompiledEngine) -> None:
        frames = dict(copies.process(3, command(ingress=0x04)))
        assert {port: trace(f)[0] for port, f in frames.items()} == {1: 11, 2: 12}
        assert {trace(f)[3] for f in frames.values()} == {5}

    def test_mark_to_drop_clears_the_multicast_group(self, copies: CompiledEngine) -> None:
        assert copies.process(3, command(ingress=0x0C)) == []
        assert copies.statistics()["ingress_drops"] == 1

    def test_a_later_egress_spec_brings_the_packet_back(self, copies: CompiledEngine) -> None:
        assert [port for port, _ in copies.process(3, command(ingress=0x18))] == [6]

    def test_resubmission(self, copies: CompiledEngine) -> None:
        """Ingress port and other metadata are lost, the field list is kept; unicast resets the instance type."""
        ((port, frame),) = copies.process(3, command(ingress=0x02))
        assert port == 4
        assert trace(frame) == (0, 38, 0x42, 0, 3)
        assert frame[6] == 0

    def test_egress_clone_has_the_headers_as_they_are_then(self, copies: CompiledEngine) -> None:
        frames = dict(copies.process(3, command(egress=0x01)))
        assert frames[7] == frames[4]  # the first header is valid already, so it is not written again
        frames = dict(copies.process(3, command(egress=0x11)))
        assert trace(frames[4]) == (0, 38, 0x42, 0, 1)
        assert trace(frames[7]) == (70, 46, 0x42, 2, 1)

    def test_recirculation(self, copies: CompiledEngine) -> None:
        """The deparsed packet goes round, without the length of what was added being lost."""
        ((port, frame),) = copies.process(3, command(egress=0x12))
        assert port == 4
        assert trace(frame)[1] == 46
        assert trace(frame)[4] == 4

    def test_egress_drop(self, copies: CompiledEngine) -> None:
        assert copies.process(3, command(egress=0x04)) == []
        assert copies.statistics()["egress_drops"] == 1

    def test_unknown_group_is_counted(self, copies: CompiledEngine) -> None:
        assert copies.process(3, command(ingress=0x04, group=9)) == []
        assert copies.statistics()["no_group"] == 1

    def test_clone_session_truncates(self, copies: CompiledEngine) -> None:
        frames = dict(copies.process(3, command(ingress=0x01, session=2)))
        assert len(frames[8]) == 20
        assert len(frames[4]) == 46


class TestTruncation:
    def test_counts_behind_the_deparser(self, copies: CompiledEngine) -> None:
        """Eight bytes of header that egress adds are inside the length."""
        ((_, frame),) = copies.process(3, command(egress=0x08, length=17))
        assert len(frame) == 17

    def test_of_ingress_survives_unicast(self, copies: CompiledEngine) -> None:
        ((_, frame),) = copies.process(3, command(ingress=0x20, length=17))
        assert len(frame) == 17

    def test_of_ingress_is_lost_on_replicas(self, copies: CompiledEngine) -> None:
        assert {len(f) for _, f in copies.process(3, command(ingress=0x24, length=17))} == {46}

    def test_longer_than_the_packet_does_nothing(self, copies: CompiledEngine) -> None:
        ((_, frame),) = copies.process(3, command(egress=0x08, length=200))
        assert len(frame) == 46


class TestLengths:
    def test_packet_length_follows_headers(self, copies: CompiledEngine) -> None:
        """In ingress it is what arrived; in egress what validity of headers has made of it; bytes count at ingress."""
        ((_, frame),) = copies.process(3, command(egress=0x20))
        assert trace(frame)[1] == 38
        assert frame[8:] == REST


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_nothing_depends_on_an_earlier_packet(name: str) -> None:
    """With garbage in all metadata and header bytes that are not zeroed for a packet, outputs are the same."""
    scenario = SCENARIOS[name](21, 400)
    plain = load_program(scenario.program)
    poisoned = load_program(scenario.program, extra_cflags=("-DP4_POISON",))
    for engine in (plain, poisoned):
        engine.set_clock(0)
        apply(engine, scenario.setup)
    for port, packet in scenario.packets:
        assert poisoned.process(port, packet) == plain.process(port, packet)


class TestHeaderStacks:
    HEAD = struct.Struct(">BBBBH")

    def run(self, engine: CompiledEngine, count: int, op: int, at: int = 0, value: int = 0xABCD) -> bytes:
        items = b"".join(bytes([i, i, 0x30]) for i in range(count))
        ((_, frame),) = engine.process(3, self.HEAD.pack(1, count, op, at, value) + items + b"\x00rest")
        return frame

    def test_push_front(self) -> None:
        frame = self.run(load_program("stacks"), 2, 3)
        assert frame[6:-5] == b"\xab\xcd\x12" + b"\x00\x00\x30\x01\x01\x30"

    def test_push_out_of_a_full_stack(self) -> None:
        frame = self.run(load_program("stacks"), 6, 3)
        assert len(frame[6:-5]) == 18
        assert frame[6:9] == b"\xab\xcd\x12"

    def test_pop_front(self) -> None:
        frame = self.run(load_program("stacks"), 3, 4)
        assert frame[6:-5] == b"\x01\x01\x30\x02\x02\x30"

    def test_more_than_the_stack_holds(self) -> None:
        engine = load_program("stacks")
        frame = self.run(engine, 7, 11)
        assert frame[0] == 0xE3  # StackOutOfBounds; what was not extracted is payload
        assert len(frame) == 6 + 21 + 5

    def test_index_at_run_time(self) -> None:
        frame = self.run(load_program("stacks"), 4, 2, at=2)
        assert frame[6 + 6 : 6 + 8] == b"\xab\xcd"

    def test_loop_over_the_stack(self) -> None:
        frame = self.run(load_program("stacks"), 4, 1)
        assert frame[4:6] == (0x0000 + 0x0101 + 0x0202 + 0x0303).to_bytes(2, "big")
        assert [frame[6 + 3 * i + 2] for i in range(4)] == [0x30, 0x31, 0x32, 0x33]


class TestControlFlow:
    def test_exit_leaves_ingress_only(self) -> None:
        engine = load_program("stacks")
        ((port, frame),) = engine.process(1, bytes([1, 0, 7, 0, 0, 0]) + b"\x00")
        assert port == 5
        assert frame[0] == 2  # egress ran

    def test_assertion_drops(self) -> None:
        engine = load_program("stacks")
        assert engine.process(1, bytes([1, 0, 8, 0, 0xDE, 0xAD]) + b"\x00") == []
        assert engine.statistics()["assertion_failed"] == 1

    def test_register_out_of_range_is_ignored_and_counted(self) -> None:
        engine = load_program("matches")
        packet = struct.pack(">BIH16sHB", 8, 0, 0, (5).to_bytes(16, "big"), 0, 200)
        ((_, frame),) = engine.process(1, packet)
        assert engine.statistics()["register_index"] == 2
        assert frame[7 + 7 : 7 + 23] == bytes(16)

    def test_wide_register(self) -> None:
        engine = load_program("matches")
        value = (1 << 127) | 12345
        packet = struct.pack(">BIH16sHB", 8, 0, 0, value.to_bytes(16, "big"), 0, 3)
        engine.process(1, packet)
        assert engine.register_read("IngressPipe.wide", 3) == value
        engine.process(1, packet)
        assert engine.register_read("IngressPipe.wide", 3) == (2 * value) % (1 << 128)


class TestParser:
    def test_verify_goes_on_to_ingress_with_the_error(self) -> None:
        ((_, frame),) = load_program("stacks").process(1, bytes([0xBB, 0, 11, 0, 0, 0]) + b"\x00")
        assert frame[0] == 0xE1

    def test_too_short(self) -> None:
        ((_, frame),) = load_program("stacks").process(1, bytes([1, 3, 11, 0, 0, 0]) + b"\x00\x01\x02\x03")
        assert frame[0] == 0xE2
        assert frame[6:] == b"\x00\x01\x02\x03"

    def test_lookahead_behind_the_end(self) -> None:
        ((_, frame),) = load_program("stacks").process(1, bytes([1, 0, 11, 0, 0, 0]))
        assert frame[0] == 0xE2

    def test_empty_frame(self) -> None:
        for name in ("router", "copies", "arithmetic", "stacks", "matches"):
            load_program(name).process(1, b"")


class TestKeys:
    def packet(self, kind: int, a: int = 0, c: int = 0, e: int = 0, d: int = 0, maybe: int | None = None) -> bytes:
        bits = (d | (0x40 if maybe is not None else 0)) << 9 | e
        tail = b"" if maybe is None else struct.pack(">I", maybe)
        return struct.pack(">BIH16sHB", kind, a, 0, c.to_bytes(16, "big"), bits, 0) + tail

    def test_a_field_of_an_invalid_header_is_zero_in_a_key(self) -> None:
        """Although its bytes still hold what an earlier packet had."""
        engine = load_program("matches")
        key = (exact(1, 32), exact(2, 128), exact(3, 9), exact(0, 32))
        engine.table_insert("IngressPipe.by_exact", key, 0, call("IngressPipe.set_metered", (0x1234, 32)))
        with_header = engine.process(1, self.packet(1, 1, 2, 3, maybe=77))
        without = engine.process(1, self.packet(1, 1, 2, 3))
        assert with_header[0][1][6] == 0
        assert without[0][1][6] == 1
        assert without[0][1][:4] == struct.pack(">I", 0x1234)

    def test_direct_counter_counts_bytes_at_ingress(self) -> None:
        engine = load_program("matches")
        key = (exact(1, 32), exact(2, 128), exact(3, 9), exact(0, 32))
        engine.table_insert("IngressPipe.by_exact", key, 0, call("IngressPipe.set_metered", (7, 32)))
        packet = self.packet(1, 1, 2, 3)
        for _ in range(3):
            engine.process(1, packet)
        expected = CounterValue(3, 3 * len(packet))
        assert engine.direct_counter_read("IngressPipe.by_exact", key, 0) == expected
        engine.table_modify("IngressPipe.by_exact", key, 0, call("IngressPipe.drop"))
        assert engine.process(1, packet) == []
        assert engine.direct_counter_read("IngressPipe.by_exact", key, 0) == CounterValue(4, 4 * len(packet))

    def test_larger_priority_wins_then_the_earlier_entry(self) -> None:
        engine = load_program("matches")
        everything = (ternary(0, 0, 32), exact(0, 16), ternary(0, 0, 128), ternary(0, 0, 1))
        specific = (ternary(5, 0xFF, 32), exact(0, 16), ternary(0, 0, 128), ternary(0, 0, 1))
        engine.table_insert("IngressPipe.by_ternary", everything, 10, call("IngressPipe.set", (1, 32)))
        engine.table_insert("IngressPipe.by_ternary", specific, 9, call("IngressPipe.set", (2, 32)))
        assert self.value(engine, self.packet(2, 5)) == 1
        engine.table_insert("IngressPipe.by_ternary", specific, 11, call("IngressPipe.set", (3, 32)))
        assert self.value(engine, self.packet(2, 5)) == 3
        engine.table_insert("IngressPipe.by_ternary", everything, 11, call("IngressPipe.set", (4, 32)))
        assert self.value(engine, self.packet(2, 5)) == 3

    @staticmethod
    def value(engine: CompiledEngine, packet: bytes) -> int:
        ((_, frame),) = engine.process(1, packet)
        return int.from_bytes(frame[:4], "big")

    def test_longest_prefix(self) -> None:
        engine = load_program("matches")
        base = 0xABCD << 112
        for length, number in ((0, 1), (8, 2), (16, 3)):
            key = (prefix(base, length, 128), exact(0, 16))
            engine.table_insert("IngressPipe.by_lpm", key, 0, call("IngressPipe.set", (number, 32)))
        assert [self.value(engine, self.packet(3, c=c << 112)) for c in (0xABCD, 0xAB00, 0x1111)] == [3, 2, 1]
        engine.table_delete("IngressPipe.by_lpm", (prefix(base, 16, 128), exact(0, 16)), 0)
        assert self.value(engine, self.packet(3, c=0xABCD << 112)) == 2

    def test_constant_entries_win_in_their_order(self) -> None:
        engine = load_program("matches")
        for a, b, expected in ((17, 5, 1), (17, 6, 2), (12, 5, 1), (100, 0x0F22, 3), (5, 77, 4), (5, 78, 5)):
            packet = struct.pack(">BIH16sHB", 6, a, b, bytes(16), 0, 0)
            assert self.value(engine, packet) == expected


class TestMeters:
    RATES = MeterRates(cir=1, cburst=2, pir=1, pburst=4)

    def colors(self, engine: CompiledEngine, count: int) -> list[int]:
        packet = struct.pack(">BIH16sHB", 1, 1, 0, (2).to_bytes(16, "big"), 3, 0)
        return [engine.process(1, packet)[0][1][5] for _ in range(count)]

    def engine(self) -> tuple[CompiledEngine, tuple[KeyPart, ...]]:
        engine = load_program("matches")
        engine.set_clock(1_000_000)
        key = (exact(1, 32), exact(2, 128), exact(3, 9), exact(0, 32))
        engine.table_insert("IngressPipe.by_exact", key, 0, call("IngressPipe.set_metered", (7, 32)))
        return engine, key

    def test_without_configuration_everything_is_green(self) -> None:
        engine, key = self.engine()
        assert self.colors(engine, 10) == [0] * 10
        assert engine.direct_meter_read("IngressPipe.by_exact", key, 0) is None

    def test_green_yellow_red_and_recovery(self) -> None:
        engine, key = self.engine()
        engine.direct_meter_write("IngressPipe.by_exact", key, 0, self.RATES)
        assert engine.direct_meter_read("IngressPipe.by_exact", key, 0) == self.RATES
        assert self.colors(engine, 6) == [0, 0, 1, 1, 2, 2]
        engine.set_clock(3_000_000)  # two seconds: two tokens in each bucket
        assert self.colors(engine, 3) == [0, 0, 2]

    def test_a_new_entry_starts_without_a_meter(self) -> None:
        engine, key = self.engine()
        engine.direct_meter_write("IngressPipe.by_exact", key, 0, self.RATES)
        engine.table_delete("IngressPipe.by_exact", key, 0)
        engine.table_insert("IngressPipe.by_exact", key, 0, call("IngressPipe.set_metered", (7, 32)))
        assert self.colors(engine, 8) == [0] * 8

    def test_indexed_meter_counts_bytes(self) -> None:
        engine = load_program("matches")
        engine.set_clock(0)
        packet = struct.pack(">BIH16sHB", 7, 0, 0, bytes(16), 0, 2)
        engine.meter_write("IngressPipe.by_index", 2, MeterRates(cir=1, cburst=60, pir=1, pburst=100))
        assert [engine.process(1, packet)[0][1][5] for _ in range(4)] == [0, 0, 1, 2]
        assert len(packet) == 26
