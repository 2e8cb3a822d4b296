# SPDX-License-Identifier: Apache-2.0
"""Between plain values and P4Runtime messages, with finsy's schema of the program doing the field encoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finsy import P4Schema
from finsy.p4entity import (
    P4CounterEntry,
    P4DirectCounterEntry,
    P4MeterConfig,
    P4MulticastGroupEntry,
    P4PacketOut,
    P4TableAction,
    P4TableEntry,
    P4TableMatch,
    decode_entity,
    decode_stream,
)
from finsy.p4entity import P4Replica as Replica
from finsy.proto import p4i, p4r

from nvo3sec.errors import ReadRefused
from nvo3sec.program.entry import CounterValue, Entry, Group, Item, Meter, Operation, PacketIn, Pairs, Update
from nvo3sec.program.generated import COUNTED_TABLES, DEFAULT_TABLES, METERED_TABLES, Table

_OPERATIONS = {
    Operation.INSERT: p4r.Update.INSERT,
    Operation.MODIFY: p4r.Update.MODIFY,
    Operation.DELETE: p4r.Update.DELETE,
}
_NO_METER = P4MeterConfig(cir=0, cburst=0, pir=0, pburst=0)


class Codec:
    """Encodes and decodes for one program. Order of match fields in a decoded entry is the program's."""

    def __init__(self, p4info: p4i.P4Info) -> None:
        self.schema = P4Schema(p4info)
        self._fields = {t.preamble.alias: [field.name for field in t.match_fields] for t in p4info.tables}
        self._actions = {a.preamble.alias: [param.name for param in a.params] for a in p4info.actions}

    def update(self, update: Update) -> p4r.Update:
        """An update. A default entry can only be modified, whatever the update says."""
        item = update.item
        operation = update.operation
        if isinstance(item, Entry) and item.is_default:
            operation = Operation.MODIFY
        entity = self._entity(item, with_action=operation is not Operation.DELETE)
        return p4r.Update(type=_OPERATIONS[operation], entity=entity)

    def _entity(self, item: Item, *, with_action: bool) -> p4r.Entity:
        try:
            if isinstance(item, Group):
                replicas = [Replica(port, instance=instance) for port, instance in item.replicas]
                return P4MulticastGroupEntry(item.group, replicas=replicas).encode(self.schema)
            return P4TableEntry(
                item.table,
                match=P4TableMatch(item.match) or None,
                action=P4TableAction(item.action, **dict(item.params)) if with_action else None,
                is_default_action=item.is_default,
                meter_config=_meter_config(item.meter) if with_action and item.meter else None,
            ).encode(self.schema)
        except (ValueError, KeyError):
            # finsy's text may show the values of parameters.
            raise ValueError(f"{item.name()} does not fit the program") from None

    def read_request(self, tables: Iterable[str], *, groups: bool) -> list[p4r.Entity]:
        """What to ask for to read whole tables (default entries for keyless ones), and all replication groups."""
        entities = []
        for table in tables:
            is_default = table in DEFAULT_TABLES
            # Without an (empty) meter configuration in the request, none comes back.
            meter = _NO_METER if table in METERED_TABLES else None
            entry = P4TableEntry(table, is_default_action=is_default, meter_config=meter)
            entities.append(entry.encode(self.schema))
        if groups:
            entities.append(P4MulticastGroupEntry(0).encode(self.schema))
        return entities

    def item(self, entity: p4r.Entity) -> Item:
        """A table entry or replication group. Raises ReadRefused for what the program cannot have."""
        try:
            value = decode_entity(entity, self.schema)
        except (ValueError, KeyError):
            raise ReadRefused("the switch holds something that the program does not have") from None
        if isinstance(value, P4MulticastGroupEntry):
            return Group(value.multicast_group_id, tuple(sorted(_replica(replica) for replica in value.replicas)))
        if isinstance(value, P4TableEntry):
            return self._entry(value)
        raise ReadRefused("the switch answered with something that was not asked for")

    def _entry(self, value: P4TableEntry) -> Entry:
        action = value.action
        if not isinstance(action, P4TableAction):
            raise ReadRefused(f"an entry of table {value.table_id} has no action")
        meter = None
        if value.meter_config is not None and value.meter_config.pir > 0:
            meter = Meter(value.meter_config.pir, value.meter_config.pburst)
        return Entry(
            value.table_id,
            self._ordered(self._fields[value.table_id], value.match or {}),
            action.name,
            self._ordered(self._actions[action.name], action.args),
            meter,
        )

    @staticmethod
    def _ordered(names: list[str], values: dict[str, Any]) -> Pairs:
        return tuple((name, int(values[name])) for name in names if name in values)

    def counter_request(self, counter: str) -> list[p4r.Entity]:
        """What to ask for to read all cells of an indexed counter."""
        return [P4CounterEntry(counter).encode(self.schema)]

    def counter_value(self, entity: p4r.Entity) -> tuple[int, CounterValue]:
        """(index, value) of one cell."""
        value = decode_entity(entity, self.schema)
        if not isinstance(value, P4CounterEntry):
            raise ReadRefused("the switch answered with something other than a counter")
        return value.index or 0, CounterValue(value.packet_count, value.byte_count)

    def direct_counter_request(self, table: Table) -> list[p4r.Entity]:
        """What to ask for to read the counters of all entries of a table."""
        if table not in COUNTED_TABLES:
            raise ValueError(f"table {table} has no counters")
        counter = self.schema.tables[str(table)].direct_counter
        return [P4DirectCounterEntry(counter.alias if counter else "").encode(self.schema)]

    def direct_counter_value(self, entity: p4r.Entity) -> tuple[Pairs, CounterValue]:
        """(match fields, value) of one entry."""
        value = decode_entity(entity, self.schema)
        if not isinstance(value, P4DirectCounterEntry) or value.table_entry is None:
            raise ReadRefused("the switch answered with something other than a counter")
        fields = self._fields[value.table_entry.table_id]
        match = self._ordered(fields, value.table_entry.match or {})
        return match, CounterValue(value.packet_count, value.byte_count)

    def packet_out(self, frame: bytes, metadata: dict[str, int]) -> p4r.StreamMessageRequest:
        """A packet-out."""
        return P4PacketOut(frame, **metadata).encode_update(self.schema)

    def packet_in(self, message: p4r.StreamMessageResponse, received_at: float) -> PacketIn:
        """A packet-in."""
        value = decode_stream(message, self.schema)
        return PacketIn({name: int(number) for name, number in value.metadata.items()}, value.payload, received_at)


def _meter_config(meter: Meter) -> P4MeterConfig:
    # One rate: whatever is not green is red.
    return P4MeterConfig(cir=meter.rate, cburst=meter.burst, pir=meter.rate, pburst=meter.burst)


def _replica(replica: Any) -> tuple[int, int]:
    return (replica, 0) if isinstance(replica, int) else (replica.port, replica.instance)
