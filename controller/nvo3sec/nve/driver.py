# SPDX-License-Identifier: Apache-2.0
"""A switch that is asked questions: sorts packet-ins into answers of the pipeline and packets of tenants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from nvo3sec.domain.overlay.constants import PORT_CPU
from nvo3sec.errors import NoAnswer
from nvo3sec.nve.clock import ClockReading
from nvo3sec.p4runtime import PacketIn, PacketOutOp, PuntReason, SwitchClient
from nvo3sec.system.uptime import uptime_s

ANSWER_TIMEOUT_S = 3.0
PUNT_QUEUE = 256
BOTH_AGREE = 3
"""Agreement bits of a STATE answer: ingress register, egress register."""


@dataclass(frozen=True)
class StateAnswer:
    """A STATE packet-in: do both registers agree with the entry, the last sequence number of the tunnel, the clock."""

    agrees: bool
    sequence: int
    reading: ClockReading


class SwitchDriver:
    """A connected switch. `pump` must run for questions to be answered."""

    def __init__(self, client: SwitchClient) -> None:
        self.client = client
        self.punts: asyncio.Queue[PacketIn] = asyncio.Queue(PUNT_QUEUE)
        self.punts_lost = 0
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[PacketIn] | None = None
        self._asked_about = 0

    async def pump(self) -> None:
        """Receive packet-ins for ever."""
        while True:
            packet = await self.client.packet_in()
            if packet["reason"] == PuntReason.STATE:
                # An answer that comes after its question was given up is about nothing.
                if self._answer and not self._answer.done() and packet["interface"] == self._asked_about:
                    self._answer.set_result(packet)
                continue
            try:
                self.punts.put_nowait(packet)
            except asyncio.QueueFull:
                self.punts_lost += 1

    async def ask_state(self, interface: int = 0) -> StateAnswer:
        """Ask the pipeline about itself and about one tunnel. Raises NoAnswer."""
        return await self._ask(PacketOutOp.REPORT_STATE, b"", interface)

    async def set_incarnation(self, incarnation: bytes) -> StateAnswer:
        """Write the registers of both pipelines (16 bytes). Raises NoAnswer."""
        return await self._ask(PacketOutOp.SET_INCARNATION, incarnation, 0)

    async def _ask(self, operation: PacketOutOp, payload: bytes, interface: int) -> StateAnswer:
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            self._asked_about = interface
            asked_at = uptime_s()
            try:
                await self.client.packet_out(operation, payload, interface=interface)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    packet = await self._answer
            except TimeoutError:
                raise NoAnswer(
                    f"{self.client.name}: no answer to {operation.name} in {ANSWER_TIMEOUT_S:g} s;"
                    f" is the CPU port of the switch {PORT_CPU}?"
                ) from None
            finally:
                self._answer = None
            reading = ClockReading(packet["timestamp"], asked_at, packet.received_at)
            return StateAnswer(packet["agreement"] == BOTH_AGREE, packet["sequence"], reading)
