# SPDX-License-Identifier: Apache-2.0
"""Table entries and their direct counters and meters: Write and Read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finsy.proto import p4r

from ..engine_api import ActionCall, CounterValue, Engine, EntryExists, MeterRates, NoSuchEntry, TableEntry, TableFull
from . import entries
from .ageing import Ageing
from .entries import Key
from .profiles import Profiles
from .resources import check_update, new_count, rates_of, write_count, write_rates
from .schema import Schema, Table
from .status import Code, P4Error, invalid, unimplemented

_NOT_METERED = p4r.MeterConfig(cir=-1, cburst=-1, pir=-1, pburst=-1)


@dataclass
class _Note:
    """What a controller wrote to an entry and only wants back; the data plane does not know it."""

    controller_metadata: int = 0
    metadata: bytes = b""

    @classmethod
    def of(cls, entry: Any) -> _Note:
        return cls(entry.controller_metadata, entry.metadata)

    def write(self, entry: Any) -> None:
        entry.controller_metadata = self.controller_metadata
        entry.metadata = self.metadata


@dataclass(frozen=True)
class _Direct:
    """New values of the direct resources of an entry; None leaves the counter as it is."""

    count: Any | None
    metered: bool
    rates: MeterRates | None


def _missing(table: Table) -> P4Error:
    return P4Error(Code.NOT_FOUND, f"table {table.name}: there is no such entry")


class Tables:
    """The tables of one pipeline. Not thread-safe: the device serialises."""

    def __init__(self, schema: Schema, engine: Engine, profiles: Profiles, ageing: Ageing) -> None:
        self._schema = schema
        self._engine = engine
        self._profiles = profiles
        self._ageing = ageing
        self._notes: dict[int, dict[Key, _Note]] = {table_id: {} for table_id in schema.tables}
        self._default_notes: dict[int, _Note] = {}

    def write(self, update: int, entry: Any) -> None:
        """One p4.v1.TableEntry of a Write.

        Raises:
            P4Error: nothing was changed.
        """
        table = entries.table_of(self._schema, entry.table_id)
        if entry.HasField("time_since_last_hit"):
            raise invalid("time_since_last_hit is read, never written")
        if update == p4r.Update.INSERT:
            self._insert(table, entry)
        elif update == p4r.Update.MODIFY:
            self._modify(table, entry)
        elif update == p4r.Update.DELETE:
            self._delete(table, entry)
        else:
            raise invalid("the update type is not set" if update == p4r.Update.UNSPECIFIED else "unknown update type")

    # ------------------------------------------------------------------ checks

    @staticmethod
    def _direct(table: Table, entry: Any) -> _Direct:
        metered, counted = entry.HasField("meter_config"), entry.HasField("counter_data")
        if metered and table.meter is None:
            raise invalid(f"table {table.name} has no direct meter")
        rates = rates_of(entry.meter_config) if metered else None
        if counted and table.counter is None:
            raise invalid(f"table {table.name} has no direct counter")
        if entry.HasField("meter_counter_data"):
            raise unimplemented(f"table {table.name}: per-colour counters are not supported")
        if entry.is_default_action and (metered or counted):
            # BMv2 takes them and forgets them.
            raise P4Error(Code.UNKNOWN, f"table {table.name}: the default entry has no direct resources")
        return _Direct(entry.counter_data if counted else None, metered, rates)

    def _set_direct(self, table: Table, key: Key, direct: _Direct) -> None:
        if direct.count is not None and table.counter is not None:
            # In an entry, unlike in a counter write, BMv2 zeroes what the counter does not count.
            value = new_count(table.counter.unit, direct.count, CounterValue(packets=0, bytes=0))
            self._engine.direct_counter_write(table.name, *key, value)
        if direct.metered:
            self._engine.direct_meter_write(table.name, *key, direct.rates)

    # ------------------------------------------------------------------- write

    def _insert(self, table: Table, entry: Any) -> None:
        if entry.is_default_action:
            raise invalid(f"table {table.name}: the default entry cannot be inserted, only modified")
        if not entry.HasField("action"):
            raise invalid(f"table {table.name}: the entry has no action")
        key = entries.key_of(table, entry)
        call = self._profiles.action(table, entry)
        direct = self._direct(table, entry)
        self._ageing.check(table, entry)
        if table.is_const:
            # Not PERMISSION_DENIED, which the specification asks for: BMv2's server learns it from the switch below it.
            raise P4Error(Code.UNKNOWN, f"table {table.name}: its entries are constant")
        try:
            self._engine.table_insert(table.name, key[0], key[1], call)
        except EntryExists:
            raise P4Error(Code.ALREADY_EXISTS, f"table {table.name}: the entry exists; MODIFY changes it") from None
        except TableFull:
            raise P4Error(Code.RESOURCE_EXHAUSTED, f"table {table.name} is full ({table.size} entries)") from None
        try:
            self._set_direct(table, key, direct)
        except Exception:
            self._engine.table_delete(table.name, *key)
            raise
        self._profiles.commit(table, key, call)
        self._ageing.set(table, key, entry)
        self._notes[table.id][key] = _Note.of(entry)

    def _modify(self, table: Table, entry: Any) -> None:
        key: Key = ((), 0)
        if entry.is_default_action:
            entries.check_default(entry)
        else:
            key = entries.key_of(table, entry)
        entries.check_action(self._schema, table, entry)
        call = self._profiles.action(table, entry) if entry.HasField("action") else None
        if call is None and not entry.is_default_action:
            raise invalid(f"table {table.name}: the entry has no action")
        direct = self._direct(table, entry)
        self._ageing.check(table, entry)
        if entry.is_default_action:
            self._engine.table_set_default(table.name, call if isinstance(call, ActionCall) else None)
            self._default_notes[table.id] = _Note() if call is None else _Note.of(entry)
            return
        if table.is_const or call is None:
            raise _missing(table)
        try:
            self._engine.table_modify(table.name, key[0], key[1], call)
        except NoSuchEntry:
            raise _missing(table) from None
        self._profiles.commit(table, key, call)
        self._ageing.set(table, key, entry)
        self._set_direct(table, key, direct)
        self._notes[table.id][key] = _Note.of(entry)

    def _delete(self, table: Table, entry: Any) -> None:
        if entry.is_default_action:
            raise invalid(f"table {table.name}: the default entry cannot be deleted; MODIFY without action resets it")
        key = entries.key_of(table, entry)
        if table.is_const:
            raise _missing(table)
        try:
            self._engine.table_delete(table.name, *key)
        except NoSuchEntry:
            raise _missing(table) from None
        self._profiles.forget(table, key)
        self._ageing.forget(table, key)
        self._notes[table.id].pop(key, None)

    # -------------------------------------------------------------------- read

    def _entries(self, table: Table, wanted: Key | None) -> list[TableEntry]:
        found = self._engine.table_entries(table.name)
        if wanted is None:
            return found
        return [entry for entry in found if (tuple(entry.key), entry.priority) == wanted]

    def _read_default(self, table: Table, request: Any, response: Any) -> None:
        if request.HasField("time_since_last_hit"):
            raise invalid("default entries have no time_since_last_hit")
        entry = response.entities.add().table_entry
        entry.table_id = table.id
        entry.is_default_action = True
        call = self._engine.table_get_default(table.name)
        entry.action.action.CopyFrom(entries.write_action(self._schema, call))
        self._default_notes.get(table.id, _Note()).write(entry)

    def _read_table(self, table: Table, request: Any, response: Any) -> None:
        if request.is_default_action:
            self._read_default(table, request, response)
            return
        elapsed = request.HasField("time_since_last_hit")
        if elapsed and not table.idle_timeout:
            raise invalid(f"table {table.name} has no idle timeout, so no time_since_last_hit")
        wanted = entries.key_of(table, request) if request.match else None
        for found in self._entries(table, wanted):
            key = (tuple(found.key), found.priority)
            entry = response.entities.add().table_entry
            entry.table_id = table.id
            entries.write_key(table, key, entry)
            self._profiles.write_action(table, found.action, entry.action)
            if request.HasField("counter_data") and table.counter is not None:
                write_count(self._engine.direct_counter_read(table.name, *key), entry.counter_data)
            if request.HasField("meter_config") and table.meter is not None:
                write_rates(self._engine.direct_meter_read(table.name, *key), entry, "meter_config")
            self._notes[table.id].get(key, _Note()).write(entry)
            self._ageing.write(table, key, entry, elapsed=elapsed)

    def read(self, request: Any, response: Any) -> None:
        """A p4.v1.TableEntry of a Read: id 0 is every table, an empty match every entry.

        As on BMv2, priority, action and metadata of the request do not filter.

        Raises:
            P4Error: see the specification, 11.
        """
        if request.table_id:
            self._read_table(entries.table_of(self._schema, request.table_id), request, response)
            return
        if request.match:
            raise invalid("a match key without a table")
        for table in self._schema.tables.values():
            self._read_table(table, request, response)

    # ------------------------------------------------------- direct resources

    def _of_direct_entry(self, entry: Any) -> tuple[Table, Key | None]:
        """The table, and the key unless it is the default entry.

        Raises:
            P4Error: INVALID_ARGUMENT, also for an entry that is not there.
        """
        if not entry.HasField("table_entry"):
            raise invalid("the table_entry is missing")
        table = entries.table_of(self._schema, entry.table_entry.table_id)
        if entry.table_entry.is_default_action:
            entries.check_default(entry.table_entry)
            return table, None
        key = entries.key_of(table, entry.table_entry)
        if not self._entries(table, key) or table.is_const:
            # As on BMv2, whose server does not know the entries that came with the program.
            raise invalid(f"table {table.name}: there is no such entry")
        return table, key

    @staticmethod
    def _no_default(table: Table) -> P4Error:
        return P4Error(Code.UNKNOWN, f"table {table.name}: the default entry has no direct resources")

    def direct_counter_write(self, update: int, entry: Any) -> None:
        """A p4.v1.DirectCounterEntry of a Write."""
        table, key = self._of_direct_entry(entry)
        if table.counter is None:
            raise invalid(f"table {table.name} has no direct counter")
        check_update(update, "counters", deletable=True)
        if key is None:
            raise self._no_default(table)
        value = CounterValue(packets=0, bytes=0)
        if update == p4r.Update.MODIFY:
            value = new_count(table.counter.unit, entry.data, self._engine.direct_counter_read(table.name, *key))
        self._engine.direct_counter_write(table.name, *key, value)

    def direct_meter_write(self, update: int, entry: Any) -> None:
        """A p4.v1.DirectMeterEntry of a Write."""
        table, key = self._of_direct_entry(entry)
        if table.meter is None:
            raise invalid(f"table {table.name} has no direct meter")
        check_update(update, "meters", deletable=False)
        rates = rates_of(entry.config if entry.HasField("config") else _NOT_METERED)
        if key is None:
            raise self._no_default(table)
        self._engine.direct_meter_write(table.name, *key, rates)

    def _read_direct(self, entry: Any, response: Any, kind: str) -> None:
        if not entry.HasField("table_entry"):
            raise invalid("the table_entry is missing")
        wanted = entry.table_entry
        if not wanted.table_id:
            raise unimplemented("direct resources are read table by table")
        table = entries.table_of(self._schema, wanted.table_id)
        if (table.counter if kind == "counter" else table.meter) is None:
            raise invalid(f"table {table.name} has no direct {kind}")
        single = bool(wanted.match) or wanted.is_default_action
        if single:
            _, key = self._of_direct_entry(entry)
            if key is None:
                raise self._no_default(table)
            keys = [key]
        else:
            keys = [(tuple(found.key), found.priority) for found in self._entries(table, None)]
        for key in keys:
            entity = response.entities.add()
            found = entity.direct_counter_entry if kind == "counter" else entity.direct_meter_entry
            if single:
                found.table_entry.CopyFrom(wanted)
            else:
                found.table_entry.table_id = table.id
                entries.write_key(table, key, found.table_entry)
            if kind == "counter":
                write_count(self._engine.direct_counter_read(table.name, *key), found.data)
            else:
                write_rates(self._engine.direct_meter_read(table.name, *key), found, "config")

    def direct_counter_read(self, entry: Any, response: Any) -> None:
        """A p4.v1.DirectCounterEntry of a Read: one entry, or all of a table."""
        self._read_direct(entry, response, "counter")

    def direct_meter_read(self, entry: Any, response: Any) -> None:
        """A p4.v1.DirectMeterEntry of a Read: one entry, or all of a table."""
        self._read_direct(entry, response, "meter")
