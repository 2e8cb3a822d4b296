# SPDX-License-Identifier: Apache-2.0
"""Table entries and their direct counters and meters: Write and Read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from finsy.proto import p4r

from ..engine_api import (
    ActionCall,
    CounterValue,
    DirectState,
    Engine,
    EntryExists,
    EntryState,
    NoSuchEntry,
    ProfileRef,
    TableFull,
)
from . import entries
from .ageing import Ageing
from .changes import Change, Changes, Kind
from .entries import Key
from .hold import Hold
from .profiles import Profiles
from .resources import check_update, fields_of, new_count, rates_of, write_count, write_rates
from .schema import Schema, Table
from .status import Code, P4Error, invalid, unimplemented

_NOT_METERED = p4r.MeterConfig(cir=-1, cburst=-1, pir=-1, pburst=-1)


@dataclass(frozen=True)
class _Note:
    """What a controller wrote to an entry and only wants back; the data plane does not know it."""

    controller_metadata: int = 0
    metadata: bytes = b""
    idle_timeout_ns: int = 0

    @classmethod
    def of(cls, entry: Any) -> _Note:
        return cls(entry.controller_metadata, entry.metadata, 0 if entry.is_default_action else entry.idle_timeout_ns)

    def __bool__(self) -> bool:
        return bool(self.controller_metadata or self.metadata or self.idle_timeout_ns)

    def write(self, entry: Any) -> None:
        entry.controller_metadata = self.controller_metadata
        entry.metadata = self.metadata
        entry.idle_timeout_ns = self.idle_timeout_ns


_NO_NOTE = _Note()


@dataclass(frozen=True)
class _Seen:
    """An entry with all that belongs to it, of one moment. reference: the p4.v1.TableAction, if it is no action."""

    state: EntryState
    note: _Note = _NO_NOTE
    reference: Any = None


def _key(state: EntryState) -> Key:
    return state.entry.key, state.entry.priority


def _missing(table: Table) -> P4Error:
    return P4Error(Code.NOT_FOUND, f"table {table.name}: there is no such entry")


class Tables:
    """The tables of one pipeline. Not thread-safe: the device serialises writes, and what reads copy under a hold."""

    def __init__(self, schema: Schema, engine: Engine, profiles: Profiles, ageing: Ageing, changes: Changes) -> None:
        self._schema = schema
        self._engine = engine
        self._profiles = profiles
        self._ageing = ageing
        self._changes = changes
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
    def _direct(table: Table, entry: Any) -> DirectState:
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
        count = None
        if counted and table.counter is not None:
            # In an entry, unlike in a counter write, BMv2 zeroes what the counter does not count.
            count = new_count(table.counter.unit, entry.counter_data)
        return DirectState(count, metered, rates)

    # ------------------------------------------------------------------- write

    def _insert(self, table: Table, entry: Any) -> None:
        if entry.is_default_action:
            raise invalid(f"table {table.name}: the default entry cannot be inserted, only modified")
        if not entry.HasField("action"):
            raise invalid(f"table {table.name}: the entry has no action")
        key = entries.key_of(table, entry)
        entries.check_action(self._schema, table, entry)
        call = self._profiles.action(table, entry)
        direct = self._direct(table, entry)
        self._ageing.check(table, entry)
        if table.is_const:
            # Not PERMISSION_DENIED, which the specification asks for: BMv2's server learns it from the switch below it.
            raise P4Error(Code.UNKNOWN, f"table {table.name}: its entries are constant")
        try:
            self._engine.table_insert(table.name, key[0], key[1], call, direct)
        except EntryExists:
            raise P4Error(Code.ALREADY_EXISTS, f"table {table.name}: the entry exists; MODIFY changes it") from None
        except TableFull:
            raise P4Error(Code.RESOURCE_EXHAUSTED, f"table {table.name} is full ({table.size} entries)") from None
        self._profiles.commit(table, key, call)
        self._ageing.set(table, key, entry)
        self._written(table, key, _Note.of(entry))

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
            self._default_notes[table.id] = _NO_NOTE if call is None else _Note.of(entry)
            return
        if table.is_const or call is None:
            raise _missing(table)
        try:
            self._engine.table_modify(table.name, key[0], key[1], call, direct)
        except NoSuchEntry:
            raise _missing(table) from None
        self._profiles.commit(table, key, call)
        self._ageing.set(table, key, entry)
        self._written(table, key, _Note.of(entry))

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
        self._written(table, key, _NO_NOTE)

    def _written(self, table: Table, key: Key, note: _Note) -> None:
        """Only what says something is kept: a note for each of many entries would be as large as the table."""
        if note:
            self._notes[table.id][key] = note
        else:
            self._notes[table.id].pop(key, None)
        self._changes.note(Kind.ENTRY, table.id, key, refers=table.profile is not None)

    # -------------------------------------------------------------------- read

    def _find(self, table: Table, key: Key) -> EntryState | None:
        try:
            return self._engine.table_entry(table.name, *key)
        except NoSuchEntry:
            return None

    def _seen(self, table: Table, state: EntryState) -> _Seen:
        """While nothing is written: ids of members are given away anew, and so are their handles."""
        action = state.entry.action
        reference = self._profiles.written(table, action) if isinstance(action, ProfileRef) else None
        return _Seen(state, self._notes[table.id].get(_key(state), _NO_NOTE), reference)

    def _entries(self, table: Table, wanted: Key | None, hold: Hold) -> Iterator[_Seen]:
        """One entry, or all of them, page by page."""
        if wanted is not None:
            with hold():
                found = self._find(table, wanted)
                seen = None if found is None else self._seen(table, found)
            if seen is not None:
                yield seen
            return
        start: int | None = 0
        while start is not None:
            with hold():
                page = self._engine.table_page(table.name, start)
                found_here: Iterable[_Seen] = (_Seen(state) for state in page.entries)
                if self._notes[table.id] or table.profile is not None:
                    found_here = [self._seen(table, state) for state in page.entries]
            yield from found_here
            start = page.next

    def _read_default(self, table: Table, request: Any, hold: Hold) -> Any:
        if request.HasField("time_since_last_hit"):
            raise invalid("default entries have no time_since_last_hit")
        with hold():
            call = self._engine.table_get_default(table.name)
            note = self._default_notes.get(table.id, _NO_NOTE)
        entity = p4r.Entity()
        entry = entity.table_entry
        entry.table_id = table.id
        entry.is_default_action = True
        entry.action.action.CopyFrom(entries.write_action(self._schema, call))
        note.write(entry)
        return entity

    def _read_entry(self, table: Table, seen: _Seen) -> Any:
        entity = p4r.Entity()
        entry = entity.table_entry
        entry.table_id = table.id
        entries.write_key(table, _key(seen.state), entry)
        action = seen.state.entry.action
        if isinstance(action, ActionCall):
            entry.action.action.CopyFrom(entries.write_action(self._schema, action))
        else:
            entry.action.CopyFrom(seen.reference)
        seen.note.write(entry)
        return entity

    def _read_table(self, table: Table, request: Any, hold: Hold) -> Iterator[Any]:
        if request.is_default_action:
            yield self._read_default(table, request, hold)
            return
        elapsed = request.HasField("time_since_last_hit")
        if elapsed and not table.idle_timeout:
            raise invalid(f"table {table.name} has no idle timeout, so no time_since_last_hit")
        wanted = entries.key_of(table, request) if request.match else None
        counted = request.HasField("counter_data") and table.counter is not None
        metered = request.HasField("meter_config") and table.meter is not None
        for seen in self._entries(table, wanted, hold):
            state = seen.state
            entity = self._read_entry(table, seen)
            if counted and state.count is not None:
                write_count(state.count, entity.table_entry.counter_data)
            if metered:
                write_rates(state.rates, entity.table_entry, "meter_config")
            if elapsed and state.idle_us is not None:
                entity.table_entry.time_since_last_hit.elapsed_ns = 1000 * state.idle_us
            yield entity

    def read(self, request: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.TableEntry of a Read: id 0 is every table, an empty match every entry.

        As on BMv2, priority, action and metadata of the request do not filter.

        Raises:
            P4Error: see the specification, 11.
        """
        if request.table_id:
            yield from self._read_table(entries.table_of(self._schema, request.table_id), request, hold)
            return
        if request.match:
            raise invalid("a match key without a table")
        for table in self._schema.tables.values():
            yield from self._read_table(table, request, hold)

    def held(self, schema: Schema) -> str | None:
        """See `Pipeline.held`. Entries stay, if that p4info describes them as this one does."""
        for table in self._schema.tables.values():
            if self._notes[table.id] or self._default_notes.get(table.id):
                return f"metadata or timeouts of entries of table {table.name}"
            is_same = schema.tables.get(table.id) == table and all(
                schema.actions.get(number) == self._schema.actions[number] for number in table.actions
            )
            if not is_same and (self._has_default(table) or (not table.is_const and self._has_entries(table))):
                return f"what is written to table {table.name}, which it describes otherwise"
        return None

    def _has_default(self, table: Table) -> bool:
        """Whether it is another than the program's own. The engine is asked: it may have been written under a p4info
        before this one."""
        return self._engine.table_get_default(table.name) != self._engine.table_program_default(table.name)

    def _has_entries(self, table: Table) -> bool:
        start: int | None = 0
        while start is not None:
            page = self._engine.table_page(table.name, start)
            if next(iter(page.entries), None) is not None:
                return True
            start = page.next
        return False

    # ------------------------------------------------------------------- copies

    def entry_of(self, change: Change) -> tuple[Any, Any | None]:
        """See `Pipeline.entity_of`. While nothing is written."""
        table = self._schema.tables[change.owner]
        assert not isinstance(change.key, int)
        name = p4r.Entity()
        name.table_entry.table_id = table.id
        entries.write_key(table, change.key, name.table_entry)
        state = self._find(table, change.key)
        return name, None if state is None else self._read_entry(table, self._seen(table, state))

    def reference_of(self, entity: Any) -> Change | None:
        """See `Pipeline.reference_of`."""
        if not entity.HasField("table_entry"):
            return None
        table = self._schema.tables[entity.table_entry.table_id]
        if table.profile is None:
            return None
        return Change(Kind.ENTRY, table.id, entries.key_of(table, entity.table_entry))

    # ------------------------------------------------------- direct resources

    def _of_direct_entry(self, entry: Any) -> tuple[Table, Key | None]:
        """The table, and the key unless it is the default entry. While nothing is written.

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
        if table.is_const or self._find(table, key) is None:
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
        if update == p4r.Update.MODIFY:
            unit = table.counter.unit
            self._engine.direct_counter_write(table.name, *key, new_count(unit, entry.data), fields_of(unit))
        else:
            self._engine.direct_counter_write(table.name, *key, CounterValue(packets=0, bytes=0))

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

    def _read_direct(self, entry: Any, hold: Hold, kind: str) -> Iterator[Any]:
        if not entry.HasField("table_entry"):
            raise invalid("the table_entry is missing")
        wanted = entry.table_entry
        if not wanted.table_id:
            raise unimplemented("direct resources are read table by table")
        table = entries.table_of(self._schema, wanted.table_id)
        if (table.counter if kind == "counter" else table.meter) is None:
            raise invalid(f"table {table.name} has no direct {kind}")
        single = None
        if wanted.match or wanted.is_default_action:
            with hold():
                _, single = self._of_direct_entry(entry)
            if single is None:
                raise self._no_default(table)
        for seen in self._entries(table, single, hold):
            state = seen.state
            entity = p4r.Entity()
            found = entity.direct_counter_entry if kind == "counter" else entity.direct_meter_entry
            if single is not None:
                found.table_entry.CopyFrom(wanted)
            else:
                found.table_entry.table_id = table.id
                entries.write_key(table, _key(state), found.table_entry)
            if kind != "counter":
                write_rates(state.rates, found, "config")
            elif state.count is not None:
                write_count(state.count, found.data)
            yield entity

    def direct_counter_read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.DirectCounterEntry of a Read: one entry, or all of a table."""
        return self._read_direct(entry, hold, "counter")

    def direct_meter_read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.DirectMeterEntry of a Read: one entry, or all of a table."""
        return self._read_direct(entry, hold, "meter")
