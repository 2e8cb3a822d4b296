# SPDX-License-Identifier: Apache-2.0
"""The data ports of a switch under test: what is sent before it is ready arrives, and once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from switches import Packet, Ports, SwitchProcess

NOT_READY = (grpc.StatusCode.UNAVAILABLE, "not ready")
TAKEN = (grpc.StatusCode.RESOURCE_EXHAUSTED, "only one client authorized at a time")


class _Service:
    """Turns streams away with the given answers, one each, and then carries one: what comes in goes out again."""

    def __init__(self, answers: Sequence[tuple[grpc.StatusCode, str]]) -> None:
        self._answers = list(answers)
        self.carried: list[bytes] = []

    async def packet_stream(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        if self._answers:
            await context.abort(*self._answers.pop(0))
        async for request in requests:
            self.carried.append(request.packet)
            yield request


@asynccontextmanager
async def _ports(service: _Service, directory: Path) -> AsyncIterator[Ports]:
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(service.packet_stream, Packet.FromString, Packet.SerializeToString)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("p4.bm.DataplaneInterface", {"PacketStream": method}),)
    )
    switch = SwitchProcess("", 1, directory, "switch")
    server.add_insecure_port(switch.ports_target)
    await server.start()
    switch.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ports = Ports(switch)
    try:
        await ports.open()
        yield ports
    finally:
        await ports.close()
        await server.stop(None)
        switch.kill()


def test_what_is_sent_before_the_switch_is_ready_arrives_once(tmp_path: Path) -> None:
    async def check() -> None:
        service = _Service([*[NOT_READY] * 5, TAKEN])
        async with _ports(service, tmp_path) as ports:
            for frame in (b"one", b"two"):
                await ports.send(1, frame)
            assert [await ports.receive(1) for _ in range(2)] == [b"one", b"two"]
            await ports.send(1, b"three")
            assert await ports.receive(1) == b"three"
            assert service.carried == [b"one", b"two", b"three"]

    asyncio.run(check())


def test_another_refusal_is_told_to_who_waits(tmp_path: Path) -> None:
    async def check() -> None:
        service = _Service([NOT_READY, (grpc.StatusCode.PERMISSION_DENIED, "not you")])
        async with _ports(service, tmp_path) as ports:
            with pytest.raises(AssertionError, match="out of port 1; packet stream: ended, PERMISSION_DENIED: not you"):
                await ports.receive(1)

    asyncio.run(check())
