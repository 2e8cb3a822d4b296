# SPDX-License-Identifier: Apache-2.0
"""What an agent does with its switch: load the pipeline, write, read back, count, exchange packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from finsy.proto import U128, p4r, rpc_code

from nvo3sec.errors import (
    NotPrimary,
    PipelineMissing,
    PipelineRefused,
    ReadRefused,
    RefusedUpdate,
    SwitchError,
    WriteRefused,
)
from nvo3sec.p4runtime.codec import Codec
from nvo3sec.p4runtime.connection import ELECTION_ID, PUSH_TIMEOUT_S, Connection, RpcFailed, code_name
from nvo3sec.p4runtime.statistics import STATISTICS_METHOD, SwitchStatistics, parse_statistics
from nvo3sec.program.artifacts import Artifacts
from nvo3sec.program.entry import CounterValue, Entry, Group, PacketIn, Pairs, SwitchState, Update
from nvo3sec.program.generated import Counter, DropReason, PacketOutOp, Table

WRITE_BATCH = 500
"""Updates in one request."""
DECODE_BATCH = 500
"""Entities that are decoded before other tasks get their turn: tens of milliseconds."""


class SwitchClient:
    """One switch, as its primary client. Use `SwitchClient.connect`."""

    def __init__(self, connection: Connection, artifacts: Artifacts) -> None:
        self._connection = connection
        self._artifacts = artifacts
        self._codec = Codec(artifacts.p4info)

    @classmethod
    async def connect(
        cls, name: str, target: str, device_id: int, artifacts: Artifacts, timeout_s: float = 10.0
    ) -> SwitchClient:
        """Connect to `target` and become primary. Raises SwitchUnreachable, NotPrimary."""
        return cls(await Connection.open(name, target, device_id, timeout_s), artifacts)

    @property
    def name(self) -> str:
        """Name of the switch in messages."""
        return self._connection.name

    @property
    def packets_lost(self) -> int:
        """Packet-ins that found the queue full."""
        return self._connection.packets_lost

    @property
    def stream_errors(self) -> int:
        """Packet-outs that the switch refused."""
        return self._connection.stream_errors

    async def close(self) -> None:
        """Close the connection. The switch keeps what it holds."""
        await self._connection.close()

    async def until_broken(self) -> SwitchError:
        """Wait until the connection is of no use any more; returns why."""
        return await self._connection.until_broken()

    # --- pipeline ---------------------------------------------------------------------------------------------------

    async def has_pipeline(self) -> bool:
        """Does the switch run exactly the pipeline of the artifacts?"""
        request = p4r.GetForwardingPipelineConfigRequest(
            device_id=self._connection.device_id,
            response_type=p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY,
        )
        try:
            reply = await self._connection.call("GetForwardingPipelineConfig", request)
        except RpcFailed as failure:
            if failure.code in (rpc_code.FAILED_PRECONDITION, rpc_code.NOT_FOUND):
                return False
            raise ReadRefused(f"{self.name}: cannot ask for the pipeline: {failure}") from None
        return bool(reply.config.cookie.cookie == self._artifacts.cookie)

    async def push_pipeline(self) -> None:
        """Load the pipeline: entries, registers and groups start empty. Raises PipelineRefused."""
        config = p4r.ForwardingPipelineConfig(
            p4info=self._artifacts.p4info,
            p4_device_config=self._artifacts.device_config,
            cookie=p4r.ForwardingPipelineConfig.Cookie(cookie=self._artifacts.cookie),
        )
        request = p4r.SetForwardingPipelineConfigRequest(
            device_id=self._connection.device_id,
            election_id=U128.encode(ELECTION_ID),
            action=p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
            config=config,
        )
        try:
            await self._connection.call("SetForwardingPipelineConfig", request, PUSH_TIMEOUT_S)
        except RpcFailed as failure:
            raise PipelineRefused(f"{self.name}: the pipeline was refused: {failure}; restart the switch") from None

    # --- entries ----------------------------------------------------------------------------------------------------

    async def write(self, updates: Sequence[Update]) -> None:
        """Apply `updates` in order. Raises WriteRefused at the end of the first batch with an error; the batches after
        it are not sent."""
        for start in range(0, len(updates), WRITE_BATCH):
            await self._write_batch(updates[start : start + WRITE_BATCH])

    async def _write_batch(self, updates: Sequence[Update]) -> None:
        request = p4r.WriteRequest(
            device_id=self._connection.device_id,
            election_id=U128.encode(ELECTION_ID),
            updates=[self._codec.update(update) for update in updates],
        )
        try:
            await self._connection.call("Write", request)
        except RpcFailed as failure:
            if failure.code == rpc_code.PERMISSION_DENIED:
                raise NotPrimary(f"{self.name}: the switch does not take us for its primary client") from None
            raise self._refusal(updates, failure) from None

    def _refusal(self, updates: Sequence[Update], failure: RpcFailed) -> WriteRefused:
        if not failure.details:
            refused = [RefusedUpdate(f"one or more of {len(updates)} updates", str(failure))]
            return WriteRefused(self.name, refused, 0, complete=False)
        refused = [
            RefusedUpdate(updates[index].describe(), f"{code_name(code)}: {text}" if text else code_name(code))
            for index, (code, text) in sorted(failure.details.items())
            if index < len(updates)
        ]
        return WriteRefused(self.name, refused, len(updates) - len(refused))

    async def read(self, tables: Iterable[Table] = tuple(Table), *, groups: bool = True) -> SwitchState:
        """Read whole tables, default entries for keyless ones, and replication groups. Raises ReadRefused."""
        entries: dict[tuple[str, Pairs], Entry] = {}
        defaults: dict[str, Entry] = {}
        found: dict[int, Group] = {}
        count = 0
        try:
            async for entity in self._connection.read(self._codec.read_request(tables, groups=groups)):
                count += 1
                if count % DECODE_BATCH == 0:
                    await asyncio.sleep(0)  # a switch may answer with all of its entries in one message
                item = self._codec.item(entity)
                if isinstance(item, Group):
                    found[item.group] = item
                elif item.is_default:
                    defaults[item.table] = item
                else:
                    entries[item.key] = item
        except RpcFailed as failure:
            if failure.code == rpc_code.FAILED_PRECONDITION:
                raise PipelineMissing(f"{self.name}: {failure}") from None
            raise ReadRefused(f"{self.name}: {failure}") from None
        return SwitchState(entries, defaults, found)

    # --- counters ---------------------------------------------------------------------------------------------------

    async def drop_counters(self) -> dict[Counter, dict[DropReason, CounterValue]]:
        """Drops of both pipelines by reason, without zeros. Raises ReadRefused for a reason without a name."""
        result: dict[Counter, dict[DropReason, CounterValue]] = {}
        for counter in (Counter.DROPS_INGRESS, Counter.DROPS_EGRESS):
            cells: dict[DropReason, CounterValue] = {}
            async for entity in self._read_counters(self._codec.counter_request(counter)):
                index, value = self._codec.counter_value(entity)
                if value.packets == 0:
                    continue
                try:
                    cells[DropReason(index)] = value
                except ValueError:
                    raise ReadRefused(f"{self.name}: {counter} counts a reason {index} without a name") from None
            result[counter] = cells
        return result

    async def direct_counters(self, table: Table) -> dict[Pairs, CounterValue]:
        """Counters of all entries of a table, by their match fields."""
        request = self._codec.direct_counter_request(table)
        pairs = [self._codec.direct_counter_value(entity) async for entity in self._read_counters(request)]
        return dict(pairs)

    async def statistics(self) -> SwitchStatistics | None:
        """What the switch counts besides; None where it has no such service. Raises ReadRefused."""
        try:
            return parse_statistics(await self._connection.call_other(STATISTICS_METHOD))
        except RpcFailed as failure:
            if failure.code == rpc_code.UNIMPLEMENTED:
                return None
            raise ReadRefused(f"{self.name}: {failure}") from None
        except ValueError as error:
            raise ReadRefused(f"{self.name}: {error}") from None

    async def _read_counters(self, entities: list[p4r.Entity]) -> AsyncIterator[p4r.Entity]:
        try:
            async for entity in self._connection.read(entities):
                yield entity
        except RpcFailed as failure:
            raise ReadRefused(f"{self.name}: {failure}") from None

    # --- packets ----------------------------------------------------------------------------------------------------

    async def packet_out(
        self,
        operation: PacketOutOp,
        payload: bytes = b"",
        *,
        egress_port: int = 0,
        interface: int = 0,
        vni: int = 0,
        level: int = 0,
    ) -> None:
        """Send a packet-out. The switch does not acknowledge it."""
        metadata = {
            "operation": int(operation),
            "egress_port": egress_port,
            "interface": interface,
            "vni": vni,
            "level": level,
        }
        await self._connection.send(self._codec.packet_out(payload, metadata))

    async def packet_in(self) -> PacketIn:
        """The next packet-in; waits for one. Use it from one task only."""
        message, received_at = await self._connection.packets.get()
        return self._codec.packet_in(message, received_at)
