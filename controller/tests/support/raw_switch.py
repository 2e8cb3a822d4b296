# SPDX-License-Identifier: Apache-2.0
"""A switch as whoever reaches its socket sees it: P4Runtime by hand, with nothing of the controller's."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import grpc
from finsy.proto import p4r, p4r_grpc

TIMEOUT_S = 120.0


class RawSwitch:
    """One connection, never primary."""

    def __init__(self, target: str, device_id: int) -> None:
        self._device_id = device_id
        self._channel = grpc.insecure_channel(target)
        self._stub = p4r_grpc.P4RuntimeStub(self._channel)
        request = p4r.GetForwardingPipelineConfigRequest(
            device_id=device_id, response_type=p4r.GetForwardingPipelineConfigRequest.P4INFO_AND_COOKIE
        )
        self._p4info = self._stub.GetForwardingPipelineConfig(request, timeout=TIMEOUT_S).config.p4info

    def __enter__(self) -> RawSwitch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def entries(self, table: str) -> list[Any]:
        """The entries of a table, as they come."""
        request = p4r.ReadRequest(device_id=self._device_id)
        request.entities.add().table_entry.table_id = self._named(self._p4info.tables, table).preamble.id
        return [
            entity.table_entry
            for response in self._stub.Read(request, timeout=TIMEOUT_S)
            for entity in response.entities
            if not entity.table_entry.is_default_action
        ]

    def counter(self, name: str, index: int) -> int:
        """Packets in one cell of an indexed counter."""
        request = p4r.ReadRequest(device_id=self._device_id)
        cell = request.entities.add().counter_entry
        cell.counter_id = self._named(self._p4info.counters, name).preamble.id
        cell.index.index = index
        (found,) = [
            entity.counter_entry.data.packet_count
            for response in self._stub.Read(request, timeout=TIMEOUT_S)
            for entity in response.entities
        ]
        return int(found)

    def parameter(self, entry: Any, name: str) -> bytes:
        """The value of a parameter of an entry's action."""
        action = next(one for one in self._p4info.actions if one.preamble.id == entry.action.action.action_id)
        number = next(one.id for one in action.params if one.name == name)
        return next(bytes(one.value) for one in entry.action.action.params if one.param_id == number)

    def key(self, entry: Any, name: str) -> bytes:
        """The value of a match field of an entry; nothing if its table has no such field."""
        table = next(one for one in self._p4info.tables if one.preamble.id == entry.table_id)
        numbers = [one.id for one in table.match_fields if one.name == name]
        return next((bytes(one.exact.value) for one in entry.match if one.field_id in numbers), b"")

    def keys(self) -> set[bytes]:
        """Every key of the switch's tunnels, 16 bytes each."""
        found = {self.parameter(entry, "key") for table in ("sa_rx", "sa_tx") for entry in self.entries(table)}
        return {key.rjust(16, b"\x00") for key in found}

    def delete(self, entry: Any) -> None:
        """Delete an entry in the name of the primary, whose election id the switch tells everybody."""
        request = p4r.WriteRequest(device_id=self._device_id)
        request.election_id.CopyFrom(self._election_id())
        update = request.updates.add(type=p4r.Update.DELETE)
        update.entity.table_entry.table_id = entry.table_id
        update.entity.table_entry.match.extend(entry.match)
        self._stub.Write(request, timeout=TIMEOUT_S)

    def _election_id(self) -> Any:
        request = p4r.StreamMessageRequest()
        request.arbitration.device_id = self._device_id
        stream = self._stub.StreamChannel(iter((request,)), timeout=TIMEOUT_S)
        try:
            for response in stream:
                if response.WhichOneof("update") == "arbitration":
                    return response.arbitration.election_id
        finally:
            stream.cancel()
        raise AssertionError("arbitration was not answered")

    @staticmethod
    def _named(objects: Any, name: str) -> Any:
        return next(one for one in objects if one.preamble.alias == name)
