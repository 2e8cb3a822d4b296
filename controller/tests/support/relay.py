# SPDX-License-Identifier: Apache-2.0
"""Somebody on the way between agent and NVA: passes bytes on, keeps them, and changes one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Relay:
    """A TCP relay to `port`. The first connection has bit `bit` of byte `at` of `direction` changed, if told."""

    def __init__(self, port: int, direction: str = "", at: int = 0, bit: int = 0) -> None:
        self._target = port
        self._direction, self._at, self._bit = direction, at, bit
        self.port = 0
        self.changed = False
        self.up: list[bytes] = []
        """What each connection's client said."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.up)
        self.up.append(b"")
        back_writer = None
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target)
            done, waiting = await asyncio.wait(
                [
                    asyncio.create_task(self._copy(reader, back_writer, "up", number)),
                    asyncio.create_task(self._copy(back_reader, writer, "down", number)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in waiting:
                task.cancel()
            await asyncio.gather(*done, *waiting, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in (writer, back_writer):
                if one is not None:
                    one.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str, number: int) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if way == "up":
                    self.up[number] += data
                if number == 0 and way == self._direction and count <= self._at < count + len(data):
                    place = self._at - count
                    data = data[:place] + bytes([data[place] ^ 1 << self._bit]) + data[place + 1 :]
                    self.changed = True
                count += len(data)
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def relaying(port: int, direction: str = "", at: int = 0, bit: int = 0) -> AsyncIterator[Relay]:
    """A relay that runs."""
    relay = Relay(port, direction, at, bit)
    server = await asyncio.start_server(relay._serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
