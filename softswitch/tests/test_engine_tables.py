# SPDX-License-Identifier: Apache-2.0
"""The control plane's view of tables, counters and groups."""

from __future__ import annotations

import random

import pytest
from engine_scenarios import SCENARIOS, Insert, apply, between, call, exact, prefix, ternary
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import (
    ActionCall,
    CounterValue,
    EngineError,
    EntryExists,
    KeyPart,
    MeterRates,
    NoSuchEntry,
    TableEntry,
    TableFull,
)

PIPE = "IngressPipe."


@pytest.fixture
def matches() -> CompiledEngine:
    return load_program("matches")


def exact_key(a: int) -> tuple[KeyPart, ...]:
    return (exact(a, 32), exact(a * a, 128), exact(a % 512, 9), exact(0, 32))


def value_of(part: KeyPart) -> int:
    return int.from_bytes(part.value, "big")


class TestEntries:
    def test_reading_back_what_was_written(self) -> None:
        """Every kind of match, every width of parameter."""
        scenario = SCENARIOS["matches"](5, 0)
        engine = load_program("matches")
        apply(engine, scenario.setup)
        for table in ("by_exact", "by_ternary", "by_lpm", "by_range", "by_optional"):
            written = [s for s in scenario.setup if isinstance(s, Insert) and s.table == PIPE + table]
            expected = {TableEntry(s.key, s.priority, s.action) for s in written}
            assert set(engine.table_entries(PIPE + table)) == expected
            assert len(expected) == len(written)

    def test_insert_modify_delete(self, matches: CompiledEngine) -> None:
        table, key = PIPE + "by_exact", exact_key(7)
        with pytest.raises(NoSuchEntry):
            matches.table_modify(table, key, 0, call(PIPE + "drop"))
        matches.table_insert(table, key, 0, call(PIPE + "set_metered", (1, 32)))
        with pytest.raises(EntryExists):
            matches.table_insert(table, key, 0, call(PIPE + "drop"))
        matches.table_modify(table, key, 0, call(PIPE + "drop"))
        assert matches.table_entries(table) == [TableEntry(key, 0, call(PIPE + "drop"))]
        matches.table_delete(table, key, 0)
        with pytest.raises(NoSuchEntry):
            matches.table_delete(table, key, 0)

    def test_size_is_a_hard_limit(self, matches: CompiledEngine) -> None:
        for n in range(32):
            matches.table_insert(PIPE + "by_exact", exact_key(n), 0, call(PIPE + "drop"))
        with pytest.raises(TableFull):
            matches.table_insert(PIPE + "by_exact", exact_key(99), 0, call(PIPE + "drop"))
        matches.table_delete(PIPE + "by_exact", exact_key(5), 0)
        matches.table_insert(PIPE + "by_exact", exact_key(99), 0, call(PIPE + "drop"))

    def test_the_same_key_under_another_priority(self, matches: CompiledEngine) -> None:
        key = (ternary(1, 0xFF, 32), exact(0, 16), ternary(0, 0, 128), ternary(0, 0, 1))
        for priority in (1, 2):
            matches.table_insert(PIPE + "by_ternary", key, priority, call(PIPE + "set", (priority, 32)))
        with pytest.raises(EntryExists):
            matches.table_insert(PIPE + "by_ternary", key, 2, call(PIPE + "set", (9, 32)))
        matches.table_delete(PIPE + "by_ternary", key, 2)
        assert [e.priority for e in matches.table_entries(PIPE + "by_ternary")] == [1]

    def test_constant_entries(self, matches: CompiledEngine) -> None:
        entries = matches.table_entries(PIPE + "constant")
        assert [2**31 - 1 - e.priority for e in entries] == [1, 2, 3, 4]
        with pytest.raises(EngineError):
            matches.table_insert(PIPE + "constant", entries[0].key, 1, call(PIPE + "drop"))

    @pytest.mark.parametrize(
        "key",
        [
            (),
            (KeyPart(b"\0\0\0"), exact(0, 128), exact(0, 9), exact(0, 32)),
            (exact(0, 32), exact(0, 128), KeyPart(b"\x02\x00"), exact(0, 32)),
        ],
        ids=["number of parts", "length", "value too large"],
    )
    def test_malformed_keys(self, matches: CompiledEngine, key: tuple[KeyPart, ...]) -> None:
        with pytest.raises(EngineError):
            matches.table_insert(PIPE + "by_exact", key, 0, call(PIPE + "drop"))

    @pytest.mark.parametrize(
        "action",
        [
            ActionCall("no_such"),
            call(PIPE + "set", (1, 32)),
            call(PIPE + "drop", (1, 8)),
            ActionCall(PIPE + "set_metered"),
        ],
        ids=["unknown", "not of this table", "too many parameters", "too few"],
    )
    def test_malformed_actions(self, matches: CompiledEngine, action: ActionCall) -> None:
        with pytest.raises(EngineError):
            matches.table_insert(PIPE + "by_exact", exact_key(1), 0, action)

    def test_many_inserts_and_deletes(self) -> None:
        """The hash table against a dictionary."""
        rng = random.Random(3)
        engine = load_program("router")
        known: dict[int, int] = {}
        for _ in range(4000):
            mac = rng.randrange(90)
            key = (exact(mac, 48),)
            if mac in known:
                engine.table_delete(PIPE + "bridge", key, 0)
                del known[mac]
            elif len(known) < 64:
                port = rng.randrange(1, 500)
                engine.table_insert(PIPE + "bridge", key, 0, call(PIPE + "forward", (port, 9)))
                known[mac] = port
        for mac in range(90):
            out = engine.process(7, mac.to_bytes(6, "big") + bytes(8))
            assert [port for port, _ in out] == ([known[mac]] if mac in known else [])

    def test_priorities_and_places_through_many_changes(self) -> None:
        """A ternary table against a list: who wins, and that the lowest free place is taken, as BMv2 does it."""
        rng = random.Random(4)
        engine = load_program("matches")
        places: list[TableEntry | None] = [None] * 32
        for number in range(3000):
            a, mask = rng.randrange(8), rng.choice((0, 1, 3, 7))
            key = (ternary(a & mask, mask, 32), exact(0, 16), ternary(0, 0, 128), ternary(0, 0, 1))
            priority = rng.randrange(1, 4)
            same = [i for i, e in enumerate(places) if e is not None and (e.key, e.priority) == (key, priority)]
            if same:
                engine.table_delete(PIPE + "by_ternary", key, priority)
                places[same[0]] = None
            elif None in places:
                entry = TableEntry(key, priority, call(PIPE + "set", (number, 32)))
                engine.table_insert(PIPE + "by_ternary", key, priority, call(PIPE + "set", (number, 32)))
                places[places.index(None)] = entry
            there = [e for e in places if e is not None]
            assert engine.table_entries(PIPE + "by_ternary") == there
            sought = number % 8
            hits = [e for e in there if sought & int.from_bytes(e.key[0].mask or b"", "big") == value_of(e.key[0])]
            # Larger priorities win, and among equal ones the lower place: max gives the first of them.
            best = max(hits, key=lambda e: e.priority, default=None)
            [(_, out)] = engine.process(1, b"\x02" + sought.to_bytes(4, "big") + bytes(21))
            assert out[:4] == (best.action.params[0] if best is not None and best.action else b"\0\0\x0d\xef")


class TestDefaults:
    def test_set_and_restore(self, matches: CompiledEngine) -> None:
        table = PIPE + "by_ternary"
        program = call(PIPE + "set", (0xDEF, 32))
        assert matches.table_get_default(table) == program
        other = call(PIPE + "set_wide", (1 << 100, 128), (3, 9))
        matches.table_set_default(table, other)
        assert matches.table_get_default(table) == other
        assert matches.table_program_default(table) == program
        matches.table_set_default(table, None)
        assert matches.table_get_default(table) == program

    def test_constant(self, matches: CompiledEngine) -> None:
        with pytest.raises(EngineError):
            matches.table_set_default(PIPE + "by_lpm", call(PIPE + "drop"))


class TestCounters:
    def test_indexed(self, matches: CompiledEngine) -> None:
        assert matches.counter_size(PIPE + "by_table") == 16
        matches.process(1, bytes([5]) + bytes(25))
        assert matches.counter_read(PIPE + "by_table", 5) == CounterValue(1, 26)
        matches.counter_write(PIPE + "by_table", 5, CounterValue(10, 20))
        assert matches.counter_read(PIPE + "by_table", 5) == CounterValue(10, 20)
        with pytest.raises(NoSuchEntry):
            matches.counter_read(PIPE + "by_table", 16)

    def test_direct(self, matches: CompiledEngine) -> None:
        key = exact_key(3)
        matches.table_insert(PIPE + "by_exact", key, 0, call(PIPE + "drop"))
        matches.direct_counter_write(PIPE + "by_exact", key, 0, CounterValue(5, 6))
        assert matches.direct_counter_read(PIPE + "by_exact", key, 0) == CounterValue(5, 6)
        with pytest.raises(NoSuchEntry):
            matches.direct_counter_read(PIPE + "by_exact", exact_key(4), 0)
        with pytest.raises(EngineError):
            matches.direct_counter_read(PIPE + "by_lpm", (prefix(0, 0, 128), exact(0, 16)), 0)

    def test_indexed_meters(self, matches: CompiledEngine) -> None:
        rates = MeterRates(cir=1000, cburst=10, pir=2000, pburst=20)
        assert matches.meter_read(PIPE + "by_index", 1) is None
        matches.meter_write(PIPE + "by_index", 1, rates)
        assert matches.meter_read(PIPE + "by_index", 1) == rates
        matches.meter_write(PIPE + "by_index", 1, None)
        assert matches.meter_read(PIPE + "by_index", 1) is None
        with pytest.raises(EngineError):
            matches.meter_write(PIPE + "by_index", 1, MeterRates(cir=2, cburst=1, pir=1, pburst=1))


class TestReset:
    def test_everything(self, matches: CompiledEngine) -> None:
        matches.table_insert(PIPE + "by_exact", exact_key(3), 0, call(PIPE + "drop"))
        matches.table_set_default(PIPE + "by_ternary", call(PIPE + "set", (1, 32)))
        matches.register_write(PIPE + "wide", 2, 9)
        matches.reset_state(keep_entries=False)
        assert matches.table_entries(PIPE + "by_exact") == []
        assert matches.table_get_default(PIPE + "by_ternary") == call(PIPE + "set", (0xDEF, 32))
        assert matches.register_read(PIPE + "wide", 2) == 0
        assert len(matches.table_entries(PIPE + "constant")) == 4

    def test_keeping_entries(self, matches: CompiledEngine) -> None:
        matches.table_insert(PIPE + "by_exact", exact_key(3), 0, call(PIPE + "drop"))
        matches.register_write(PIPE + "wide", 2, 9)
        matches.reset_state(keep_entries=True)
        assert len(matches.table_entries(PIPE + "by_exact")) == 1
        assert matches.register_read(PIPE + "wide", 2) == 0


def test_an_empty_range_is_refused(matches: CompiledEngine) -> None:
    key = (between(5, 4, 32), between(0, 1, 128), ternary(0, 0, 9), prefix(0, 0, 16))
    with pytest.raises(EngineError):
        matches.table_insert(PIPE + "by_range", key, 1, call(PIPE + "set", (1, 32)))
