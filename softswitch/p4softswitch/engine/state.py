# SPDX-License-Identifier: Apache-2.0
"""What a loaded program keeps: tables with their direct counters and meters, arrays of counters and meters."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import TypeVar

from p4softswitch.bmv2json import Program
from p4softswitch.engine import binding
from p4softswitch.engine.codec import TableCodec
from p4softswitch.engine_api import (
    Action,
    ActionCall,
    CounterFields,
    CounterValue,
    DirectState,
    EngineError,
    EntryExists,
    EntryPage,
    EntryState,
    KeyPart,
    MeterRates,
    NoSuchEntry,
    TableEntry,
    TableFull,
)

_PAGE = 512
"""Slots of a table that are copied under one hold of the switch's lock: packets wait some ten microseconds."""

_T = TypeVar("_T")


def check(result: int, name: str) -> None:
    """Raise what a result of the runtime stands for."""
    if result == binding.FULL:
        raise TableFull(f"{name} is full")
    if result == binding.EXISTS:
        raise EntryExists(f"{name} has that entry already")
    if result == binding.NONE:
        raise NoSuchEntry(f"{name} has no such entry")
    if result < 0:
        raise EngineError(f"{name}: not enough memory")


def named(known: dict[str, _T], name: str, kind: str) -> _T:
    """What the program calls by that name. Raises EngineError."""
    try:
        return known[name]
    except KeyError:
        raise EngineError(f"there is no {kind} {name}") from None


class EngineState:
    """The part of an engine that the control plane writes and reads. Thread-safe: each call is one of the runtime's."""

    _lib: ctypes.CDLL
    _handle: int

    def _open_tables(self, program: Program) -> None:
        """With the entries that come with the program."""
        self._codecs = {t.name: TableCodec(t, program.actions) for t in program.tables}
        self._counters = {c.name: c for c in program.counters}
        self._meters = {m.name: m for m in program.meters}
        for codec in self._codecs.values():
            for entry in codec.table.entries:
                key, priority, action = codec.const_entry(entry)
                self._change("p4_table_initial", codec, key, priority, *codec.entry_content(action))

    # Tables ----------------------------------------------------------------------------------------------------------

    def _change(self, function: str, codec: TableCodec, key: Sequence[KeyPart], priority: int, *rest: object) -> None:
        arguments = (*codec.key(key, priority), *rest)
        check(getattr(self._lib, function)(self._handle, codec.table.index, *arguments), codec.table.name)

    def _mutable(self, table: str) -> TableCodec:
        codec = named(self._codecs, table, "table")
        if codec.table.immutable:
            raise EngineError(f"the entries of {table} are constant")
        if not codec.table.key:
            raise EngineError(f"{table} has no key, only a default action")
        return codec

    def table_insert(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None:
        """Add an entry, with what its counter and meter begin with. Raises EntryExists, TableFull."""
        codec = self._mutable(table)
        self._change("p4_table_insert", codec, key, priority, *codec.entry_content(action), _direct(codec, direct))

    def table_modify(
        self, table: str, key: Sequence[KeyPart], priority: int, action: Action, direct: DirectState | None = None
    ) -> None:
        """Change action and parameters of an entry, and of its counter and meter what is given. Raises NoSuchEntry."""
        codec = self._mutable(table)
        self._change("p4_table_modify", codec, key, priority, *codec.entry_content(action), _direct(codec, direct))

    def table_delete(self, table: str, key: Sequence[KeyPart], priority: int) -> None:
        """Remove an entry, and its counter and meter with it. Raises NoSuchEntry."""
        self._change("p4_table_delete", self._mutable(table), key, priority)

    def table_entry(self, table: str, key: Sequence[KeyPart], priority: int) -> EntryState:
        """One entry with its counter and meter, at the cost of one lookup. Raises NoSuchEntry."""
        codec = named(self._codecs, table, "table")
        buffer = ctypes.create_string_buffer(self._record(codec))
        self._change("p4_table_entry", codec, key, priority, buffer)
        return _state(codec, buffer.raw, 0, len(buffer))

    def table_page(self, table: str, start: int = 0) -> EntryPage:
        """Some entries, constant ones too, in the order of the table's slots. See engine_api."""
        codec = named(self._codecs, table, "table")
        record = self._record(codec)
        buffer = ctypes.create_string_buffer(_PAGE * record)
        following = ctypes.c_uint32()
        count = self._lib.p4_table_page(self._handle, codec.table.index, start, _PAGE, buffer, ctypes.byref(following))
        data = ctypes.string_at(buffer, count * record)
        return EntryPage(_states(codec, data, record), following.value or None)

    def table_entries(self, table: str) -> list[TableEntry]:
        """All entries, page by page."""
        found: list[TableEntry] = []
        page = self.table_page(table)
        while True:
            found += [state.entry for state in page.entries]
            if page.next is None:
                return found
            page = self.table_page(table, page.next)

    def _record(self, codec: TableCodec) -> int:
        return int(self._lib.p4_table_record(self._handle, codec.table.index))

    def table_get_default(self, table: str) -> ActionCall:
        """The default action. A table for which p4c wrote none runs NoAction."""
        codec = named(self._codecs, table, "table")
        buffer = ctypes.create_string_buffer(self._record(codec))
        self._lib.p4_table_default_get(self._handle, codec.table.index, buffer)
        return codec.entry_action(buffer.raw, 0)

    def table_program_default(self, table: str) -> ActionCall:
        """The default action that the program declares, whatever it is now."""
        return named(self._codecs, table, "table").program_default()

    def table_set_default(self, table: str, action: ActionCall | None) -> None:
        """Change the default action; None restores that of the program."""
        codec = named(self._codecs, table, "table")
        default = codec.table.default
        if action is None:
            action = codec.program_default()
        elif default is not None and default.const_entry:
            raise EngineError(f"the default action of {table} is constant")
        elif default is not None and default.const_action and codec.action_id(action) != default.action:
            raise EngineError(f"the default action of {table} is constant, only its parameters are not")
        number, words, count = codec.action(action)
        self._lib.p4_table_default_set(self._handle, codec.table.index, number, words, count)

    # Direct counters and meters --------------------------------------------------------------------------------------

    def direct_counter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> CounterValue:
        """Raises NoSuchEntry."""
        count = self.table_entry(table, key, priority).count
        if count is None:
            raise EngineError(f"{table} has no direct counter")
        return count

    def direct_counter_write(
        self,
        table: str,
        key: Sequence[KeyPart],
        priority: int,
        value: CounterValue,
        fields: CounterFields = CounterFields.BOTH,
    ) -> None:
        """Raises NoSuchEntry."""
        codec = named(self._codecs, table, "table")
        direct = _direct(codec, DirectState(count=value))
        direct.given = int(fields)
        self._change("p4_entry_set", codec, key, priority, direct)

    def direct_meter_read(self, table: str, key: Sequence[KeyPart], priority: int) -> MeterRates | None:
        """None: not configured, every packet is green. Raises NoSuchEntry."""
        if named(self._codecs, table, "table").table.meter is None:
            raise EngineError(f"{table} has no direct meter")
        return self.table_entry(table, key, priority).rates

    def direct_meter_write(self, table: str, key: Sequence[KeyPart], priority: int, rates: MeterRates | None) -> None:
        """None removes the configuration. Raises NoSuchEntry."""
        codec = named(self._codecs, table, "table")
        self._change("p4_entry_set", codec, key, priority, _direct(codec, DirectState(metered=True, rates=rates)))

    # Arrays ----------------------------------------------------------------------------------------------------------

    def counter_size(self, counter: str) -> int:
        return named(self._counters, counter, "counter").size

    def counter_values(self, counter: str, start: int, count: int) -> list[CounterValue]:
        """Of count cells from one on, at one moment. Raises NoSuchEntry."""
        array = named(self._counters, counter, "counter")
        _check_cells(counter, start, count, array.size)
        values = (ctypes.c_uint64 * (2 * count))()
        self._lib.p4_counter_get(self._handle, array.index, start, count, values)
        return [CounterValue(values[at], values[at + 1]) for at in range(0, 2 * count, 2)]

    def counter_read(self, counter: str, index: int) -> CounterValue:
        """Raises NoSuchEntry."""
        return self.counter_values(counter, index, 1)[0]

    def counter_write(
        self, counter: str, index: int, value: CounterValue, fields: CounterFields = CounterFields.BOTH
    ) -> None:
        """Raises NoSuchEntry."""
        array = named(self._counters, counter, "counter")
        _check_cells(counter, index, 1, array.size)
        direct = binding.Direct(given=int(fields), packets=value.packets, bytes=value.bytes)
        self._lib.p4_counter_set(self._handle, array.index, index, direct)

    def meter_size(self, meter: str) -> int:
        return named(self._meters, meter, "meter").size

    def meter_values(self, meter: str, start: int, count: int) -> list[MeterRates | None]:
        """Of count cells from one on, at one moment; None: not configured. Raises NoSuchEntry."""
        array = named(self._meters, meter, "meter")
        _check_cells(meter, start, count, array.size)
        values = (binding.MeterReading * count)()
        self._lib.p4_meter_get(self._handle, array.index, start, count, values)
        return [_rates(value) for value in values]

    def meter_read(self, meter: str, index: int) -> MeterRates | None:
        """None: not configured, every packet is green. Raises NoSuchEntry."""
        return self.meter_values(meter, index, 1)[0]

    def meter_write(self, meter: str, index: int, rates: MeterRates | None) -> None:
        """None removes the configuration. Raises NoSuchEntry."""
        array = named(self._meters, meter, "meter")
        direct = binding.Direct()
        _set_rates(direct, rates)
        _check_cells(meter, index, 1, array.size)
        self._lib.p4_meter_set(self._handle, array.index, index, direct)


def _check_cells(array: str, start: int, count: int, size: int) -> None:
    if start < 0 or count < 0 or start + count > size:
        raise NoSuchEntry(f"{array} has {size} cells, not {start} to {start + count - 1}")


def _direct(codec: TableCodec, state: DirectState | None) -> binding.Direct:
    direct = binding.Direct()
    if state is not None and state.count is not None:
        if not codec.table.with_counters:
            raise EngineError(f"{codec.table.name} has no direct counter")
        direct.given = int(CounterFields.BOTH)
        direct.packets, direct.bytes = state.count.packets, state.count.bytes
    if state is not None and state.metered:
        if codec.table.meter is None:
            raise EngineError(f"{codec.table.name} has no direct meter")
        _set_rates(direct, state.rates)
    return direct


def _set_rates(direct: binding.Direct, rates: MeterRates | None) -> None:
    if rates is None:
        direct.given |= binding.DIRECT_UNMETERED
        return
    if rates.pir < rates.cir:
        raise EngineError("the peak rate is below the committed rate")
    if min(rates.cir, rates.cburst, rates.pburst) < 0:
        raise EngineError("a negative rate or burst")
    direct.given |= binding.DIRECT_RATES
    direct.cir, direct.pir, direct.cburst, direct.pburst = rates.cir, rates.pir, rates.cburst, rates.pburst


def _rates(reading: binding.MeterReading) -> MeterRates | None:
    if not reading.configured:
        return None
    return MeterRates(cir=reading.cir, cburst=reading.cburst, pir=reading.pir, pburst=reading.pburst)


def _state(codec: TableCodec, data: bytes, offset: int, record: int) -> EntryState:
    packets, octets, _, _ = binding.read_entry(data, offset)
    count = CounterValue(packets, octets) if codec.table.with_counters else None
    rates = None
    if codec.table.meter is not None:
        behind = offset + record - ctypes.sizeof(binding.MeterReading)
        rates = _rates(binding.MeterReading.from_buffer_copy(data, behind))
    return EntryState(codec.entry(data, offset), count, rates, codec.idle_us(data, offset))


def _states(codec: TableCodec, data: bytes, record: int) -> Iterator[EntryState]:
    for offset in range(0, len(data), record):
        yield _state(codec, data, offset, record)
