# SPDX-License-Identifier: Apache-2.0
"""The agent's connection to a modelled switch: what `SwitchClient` is to a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from model_switch import Switch
from model_time import CURRENT
from nvo3sec.errors import PipelineMissing, RefusedUpdate, SwitchError, SwitchUnreachable, WriteRefused
from nvo3sec.p4runtime import Entry, PacketIn, PacketOutOp, PuntReason, SwitchState, Table, Update
from nvo3sec.program.entry import CounterValue, Pairs

CALL_S = 0.002
"""How long a call takes. What happens meanwhile happens between two calls."""


class Plug:
    """Where agents connect to a switch. One client at a time; a new one takes the place of the old.

    before_call: told of each call of the connected client; it may keep the call from ever coming back. coin: whether a
    write that is given up is carried out nevertheless.
    """

    def __init__(self, switch: Switch, coin: Callable[[], bool]) -> None:
        self.switch = switch
        self.coin = coin
        self.client: ModelClient | None = None
        self.before_call: Callable[[], Any] = lambda: None

    def break_off(self, why: str) -> None:
        """The switch or the connection is gone."""
        if self.client is not None:
            self.client.broken.set_result(SwitchUnreachable(f"{self.switch.name}: {why}"))
            self.client = None


async def connect(name: str, _target: str, _device_id: int, _artifacts: Any, timeout_s: float) -> ModelClient:
    """What stands in for `SwitchClient.connect`."""
    plug: Plug = CURRENT.switches[name]
    await asyncio.sleep(CALL_S)
    if not plug.switch.running:
        raise SwitchUnreachable(f"{name}: connection refused within {timeout_s} s")
    plug.break_off("another client is primary")
    plug.client = ModelClient(plug)
    return plug.client


class ModelClient:
    """One connection. Calls have the meaning of those of `SwitchClient`."""

    packets_lost = 0
    stream_errors = 0

    def __init__(self, plug: Plug) -> None:
        self._plug = plug
        self._switch = plug.switch
        self.name = plug.switch.name
        self.broken: asyncio.Future[SwitchError] = asyncio.get_running_loop().create_future()
        self._packets: asyncio.Queue[PacketIn] = asyncio.Queue()

    async def _call(self) -> Switch:
        held = self._plug.before_call()
        if held is not None:
            await held
        await asyncio.sleep(CALL_S)
        if self.broken.done():
            raise self.broken.result()
        return self._switch

    async def close(self) -> None:
        if self._plug.client is self:
            self._plug.client = None
        if not self.broken.done():
            self.broken.set_result(SwitchUnreachable(f"{self.name}: closed"))

    async def until_broken(self) -> SwitchError:
        return await asyncio.shield(self.broken)

    async def has_pipeline(self) -> bool:
        return (await self._call()).has_pipeline

    async def push_pipeline(self) -> None:
        (await self._call()).push(keeps_entries=False)

    async def write(self, updates: Sequence[Update]) -> None:
        if not updates:
            return
        try:
            switch = await self._call()
        except asyncio.CancelledError:
            # The request is on its way; who sent it does not wait for the answer any more.
            if self._plug.coin() and not self.broken.done():
                self._apply(self._switch, updates)
            raise
        if not switch.has_pipeline:
            raise WriteRefused(self.name, [RefusedUpdate("everything", "FAILED_PRECONDITION")], 0, complete=False)
        if refused := self._apply(switch, updates):
            raise WriteRefused(self.name, refused, len(updates) - len(refused))

    @staticmethod
    def _apply(switch: Switch, updates: Sequence[Update]) -> list[RefusedUpdate]:
        refused = []
        for update in updates:
            if why := switch.write(update):
                refused.append(RefusedUpdate(update.describe(), why))
        return refused

    async def read(self, tables: Iterable[Table] = tuple(Table), *, groups: bool = True) -> SwitchState:
        switch = await self._call()
        if not switch.has_pipeline:
            raise PipelineMissing(f"{self.name}: no pipeline")
        wanted = set(tables)
        return SwitchState(
            {key: entry for key, entry in switch.entries.items() if entry.table in wanted},
            {table: entry for table, entry in switch.defaults.items() if table in wanted},
            dict(switch.groups) if groups else {},
        )

    async def drop_counters(self) -> dict[Any, Any]:
        return {}

    async def direct_counters(self, table: Table) -> dict[Pairs, CounterValue]:
        switch = await self._call()
        found: list[Entry] = [entry for entry in switch.entries.values() if entry.table == table]
        return {e.match: CounterValue(switch.used.get(e.key, 0), 100 * switch.used.get(e.key, 0)) for e in found}

    async def packet_out(self, operation: PacketOutOp, payload: bytes = b"", *, interface: int = 0, **_: int) -> None:
        switch = await self._call()
        if not switch.has_pipeline or operation is PacketOutOp.FORWARD:
            return
        if operation is PacketOutOp.SET_INCARNATION:
            switch.set_incarnation(int.from_bytes(payload, "big"))
        metadata = {
            "reason": PuntReason.STATE,
            "agreement": switch.agreement,
            "interface": interface,
            "timestamp": switch.clock_us,
            "sequence": switch.sequence.get(interface & 0x7FFF, 0),
        }
        self._packets.put_nowait(PacketIn(metadata, b"", CURRENT.now()))

    async def packet_in(self) -> PacketIn:
        return await self._packets.get()
