# SPDX-License-Identifier: Apache-2.0
"""Names to numbers, by p4info: table entries, meters, counters, multicast groups, and the headers of the CPU port."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finsy.proto import p4i, p4r
from google.protobuf import text_format

Value = int | bytes


def canonical(value: Value) -> bytes:
    """P4Runtime's canonical byte string: big-endian, as short as it can be, one zero byte for 0."""
    number = value if isinstance(value, int) else int.from_bytes(value, "big")
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


@dataclass(frozen=True)
class Entry:
    """A table entry by names. Keyless tables have only a default action: their key is empty."""

    table: str
    key: tuple[tuple[str, Value], ...]
    action: str
    params: tuple[tuple[str, Value], ...]


def entry(table: str, key: Mapping[str, Value], action: str, /, **params: Value) -> Entry:
    return Entry(table, tuple(key.items()), action, tuple(params.items()))


class Schema:
    """The p4info of one program."""

    def __init__(self, p4info_file: Path) -> None:
        self.p4info = text_format.Parse(p4info_file.read_text(), p4i.P4Info())
        self._tables = {t.preamble.alias: t for t in self.p4info.tables}
        self._actions = {a.preamble.alias: a for a in self.p4info.actions}
        self._counters = {c.preamble.alias: c for c in self.p4info.counters}
        self._headers = {h.preamble.name: h for h in self.p4info.controller_packet_metadata}

    def table_size(self, table: str) -> int:
        return int(self._tables[table].size)

    def tables(self) -> Iterable[str]:
        return self._tables

    def is_keyless(self, table: str) -> bool:
        return not self._tables[table].match_fields

    def has_direct_counter(self, table: str) -> bool:
        return any(c.direct_table_id == self._tables[table].preamble.id for c in self.p4info.direct_counters)

    def table_entry(self, wanted: Entry, with_action: bool = True) -> p4r.TableEntry:
        table = self._tables[wanted.table]
        message = p4r.TableEntry(table_id=table.preamble.id, is_default_action=not table.match_fields)
        fields = {field.name: field for field in table.match_fields}
        if set(fields) != {name for name, _ in wanted.key}:
            raise KeyError(f"{wanted.table} matches {sorted(fields)}, not {sorted(name for name, _ in wanted.key)}")
        for name, value in wanted.key:
            message.match.add(field_id=fields[name].id).exact.value = canonical(value)
        if with_action:
            action = self._actions[wanted.action]
            params = {param.name: param for param in action.params}
            if set(params) != {name for name, _ in wanted.params}:
                raise KeyError(f"{wanted.action} takes {sorted(params)}, not {sorted(n for n, _ in wanted.params)}")
            message.action.action.action_id = action.preamble.id
            for name, value in wanted.params:
                message.action.action.params.add(param_id=params[name].id, value=canonical(value))
        return message

    def all_entries(self, table: str) -> p4r.Entity:
        """For a wildcard read."""
        return p4r.Entity(table_entry=p4r.TableEntry(table_id=self._tables[table].preamble.id))

    def counter(self, counter: str, index: int | None = None) -> p4r.Entity:
        """One cell, or with None all."""
        entity = p4r.Entity()
        entity.counter_entry.counter_id = self._counters[counter].preamble.id
        if index is not None:
            entity.counter_entry.index.index = index
        return entity

    def packet_out(self, payload: bytes, **metadata: Value) -> p4r.PacketOut:
        packet = p4r.PacketOut(payload=payload)
        for field in self._headers["packet_out"].metadata:
            packet.metadata.add(metadata_id=field.id, value=canonical(metadata.get(field.name, 0)))
        return packet

    def packet_in_fields(self, packet: p4r.PacketIn) -> dict[str, int]:
        names = {field.id: field.name for field in self._headers["packet_in"].metadata}
        return {names[one.metadata_id]: int.from_bytes(one.value, "big") for one in packet.metadata}


def update(kind: str, **entity: Any) -> p4r.Update:
    """kind: INSERT, MODIFY or DELETE; one entity by its field name."""
    return p4r.Update(type=p4r.Update.Type.Value(kind), entity=p4r.Entity(**entity))


def cpu_header(operation: int, port: int = 0, interface: int = 0, vni: int = 0, level: int = 0) -> bytes:
    """The packet-out header as the program parses it, for a frame into the CPU port."""
    return b"".join(
        (
            operation.to_bytes(1, "big"),
            port.to_bytes(2, "big"),
            interface.to_bytes(2, "big"),
            vni.to_bytes(3, "big"),
            level.to_bytes(1, "big"),
        )
    )


def multicast_group(group: int, replicas: Iterable[tuple[int, int]]) -> p4r.PacketReplicationEngineEntry:
    """replicas: (port, instance), the instance being the overlay interface."""
    message = p4r.PacketReplicationEngineEntry()
    message.multicast_group_entry.multicast_group_id = group
    for port, instance in replicas:
        message.multicast_group_entry.replicas.add(egress_port=port, instance=instance)
    return message
