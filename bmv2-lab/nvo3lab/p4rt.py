# SPDX-License-Identifier: Apache-2.0
"""Reads a switch through P4Runtime, with names from the P4Info that the switch itself hands out.

The server on a switch's UNIX socket asks nobody who they are, and entries contain keys. That is the insider's way to
his own switch's keys, and the reason why the socket is in a directory that only its owner may enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from finsy.proto import p4i, p4r, p4r_grpc

from nvo3lab.errors import SwitchError

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Entry:
    """A table entry; values are unsigned numbers. Never printed: parameters may be keys."""

    table: str
    key: dict[str, int]
    action: str
    parameters: dict[str, int]

    def __repr__(self) -> str:
        return f"Entry(table={self.table!r}, action={self.action!r})"


@dataclass(frozen=True)
class Meter:
    """The meter of a table entry: its rate (packets a second) and burst (packets), as they were written."""

    key: dict[str, int]
    rate: int
    burst: int


class SwitchReader:
    """A connection to one switch that never asks to be its primary."""

    def __init__(self, path: Path, device_id: int) -> None:
        self._device_id = device_id
        self._channel = grpc.insecure_channel(f"unix:{path}")
        self._stub = p4r_grpc.P4RuntimeStub(self._channel)
        self._p4info = self._fetch_p4info()

    def __enter__(self) -> SwitchReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def entries(self, table: str) -> list[Entry]:
        """All entries of a table, by its short name. Raises SwitchError."""
        description = self._named(self._p4info.tables, table)
        request = p4r.ReadRequest(device_id=self._device_id)
        request.entities.add().table_entry.table_id = description.preamble.id
        fields = {field.id: field.name for field in description.match_fields}
        return [
            self._entry(table, fields, entity.table_entry)
            for entity in self._read(request)
            if not entity.table_entry.is_default_action
        ]

    def meters(self, table: str) -> list[Meter]:
        """The direct meters of all entries of a table, by its short name. Raises SwitchError."""
        description = self._named(self._p4info.tables, table)
        request = p4r.ReadRequest(device_id=self._device_id)
        wanted = request.entities.add().table_entry
        wanted.table_id = description.preamble.id
        wanted.meter_config.SetInParent()
        fields = {field.id: field.name for field in description.match_fields}
        return [
            Meter(
                {fields[match.field_id]: int.from_bytes(match.exact.value) for match in entry.match},
                entry.meter_config.cir,
                entry.meter_config.cburst,
            )
            for entry in (entity.table_entry for entity in self._read(request))
            if not entry.is_default_action
        ]

    def counters(self, name: str) -> dict[int, int]:
        """Packets by index, of those that are not zero. Raises SwitchError."""
        description = self._named(self._p4info.counters, name)
        request = p4r.ReadRequest(device_id=self._device_id)
        request.entities.add().counter_entry.counter_id = description.preamble.id
        return {
            entity.counter_entry.index.index: entity.counter_entry.data.packet_count
            for entity in self._read(request)
            if entity.counter_entry.data.packet_count
        }

    def table_update(self, entry: Entry) -> Any:
        """An update that inserts an entry, for who may write."""
        table = self._named(self._p4info.tables, entry.table)
        action = self._named(self._p4info.actions, entry.action)
        update = p4r.Update(type=p4r.Update.INSERT)
        target = update.entity.table_entry
        target.table_id = table.preamble.id
        for field in table.match_fields:
            match = target.match.add(field_id=field.id)
            match.exact.value = _canonical(entry.key[field.name])
        target.action.action.action_id = action.preamble.id
        for parameter in action.params:
            target.action.action.params.add(param_id=parameter.id, value=_canonical(entry.parameters[parameter.name]))
        return update

    def primary_election_id(self) -> int:
        """The election id of the present primary, which a switch tells everybody who asks. Raises SwitchError."""
        request = p4r.StreamMessageRequest()
        request.arbitration.device_id = self._device_id
        # An election id of 0, as good as none, takes part and never wins.
        stream = self._stub.StreamChannel(iter((request,)), timeout=_TIMEOUT)
        try:
            for response in stream:
                if response.WhichOneof("update") == "arbitration":
                    identity = response.arbitration.election_id
                    return int(identity.high << 64 | identity.low)
        except grpc.RpcError as error:
            raise SwitchError(f"arbitration refused: {error.code().name}") from None
        finally:
            stream.cancel()
        raise SwitchError("arbitration was not answered")

    def write(self, election_id: int, *updates: Any) -> None:
        """Write under somebody's election id, which is all that a switch asks for. Raises SwitchError."""
        request = p4r.WriteRequest(device_id=self._device_id, updates=updates)
        request.election_id.high, request.election_id.low = divmod(election_id, 1 << 64)
        try:
            self._stub.Write(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            raise SwitchError(f"write refused: {error.code().name}") from None

    def _entry(self, table: str, fields: dict[int, str], entry: Any) -> Entry:
        action = next(each for each in self._p4info.actions if each.preamble.id == entry.action.action.action_id)
        names = {parameter.id: parameter.name for parameter in action.params}
        return Entry(
            table,
            {fields[match.field_id]: int.from_bytes(match.exact.value) for match in entry.match},
            action.preamble.alias,
            {names[parameter.param_id]: int.from_bytes(parameter.value) for parameter in entry.action.action.params},
        )

    def _read(self, request: Any) -> list[Any]:
        try:
            return [entity for response in self._stub.Read(request, timeout=_TIMEOUT) for entity in response.entities]
        except grpc.RpcError as error:
            raise SwitchError(f"read refused: {error.code().name}") from None

    def _fetch_p4info(self) -> Any:
        request = p4r.GetForwardingPipelineConfigRequest(
            device_id=self._device_id, response_type=p4r.GetForwardingPipelineConfigRequest.P4INFO_AND_COOKIE
        )
        try:
            response = self._stub.GetForwardingPipelineConfig(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            self._channel.close()
            raise SwitchError(f"no program: {error.code().name}") from None
        info: p4i.P4Info = response.config.p4info
        return info

    def _named(self, objects: Any, name: str) -> Any:
        for candidate in objects:
            if candidate.preamble.alias == name:
                return candidate
        raise SwitchError(f"the program has no {name}")


def _canonical(value: int) -> bytes:
    """P4Runtime's shortest form of a number: no leading zero bytes, but at least one byte."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8))
