# SPDX-License-Identifier: Apache-2.0
"""What an operator is told of a connection that has ended: with whom, how far it had got, and who ended it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nvo3sec.errors import Nvo3secError
from nvo3sec.identity.names import Role
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.operator_client import ask_nva
from session_world import Service, run


class Asked:
    """An NVA that is asked, and does not answer before it is told to."""

    def __init__(self, identities: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identities = identities
        self.began, self.may_answer = asyncio.Event(), asyncio.Event()

        async def wait(**_parameters: Any) -> Any:
            self.began.set()
            await self.may_answer.wait()
            return ()

        # What the service of other tests answers to operators: here it takes its time.
        monkeypatch.setattr("session_world.refuse", wait)
        self.service = Service(identities)

    def asks(self, port: int) -> asyncio.Task[Any]:
        address = NvaAddress(self.identities.name(Role.NVA, "nva1"), "127.0.0.1", port)
        place = self.identities.place(Role.OPERATOR, "op")
        return asyncio.create_task(asyncio.to_thread(ask_nva, address, place, "key_audit", nve=None))


async def said(asking: asyncio.Task[Any]) -> str:
    with pytest.raises(Nvo3secError) as error:
        await asking
    return str(error.value)


@contextlib.asynccontextmanager
async def altering(port: int, now: Callable[[int], bool]) -> AsyncIterator[int]:
    """A relay that alters what the NVA says from the moment that `now` is true of how often its client has spoken."""
    spoken = 0
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)

        async def up() -> None:
            nonlocal spoken
            while data := await reader.read(65536):
                spoken += 1
                back_writer.write(data)

        async def down() -> None:
            while data := await back_reader.read(65536):
                writer.write(data[:-1] + bytes([data[-1] ^ 1]) if now(spoken) else data)

        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(up(), down())
        finally:
            for one in (writer, back_writer):
                one.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_the_nva_goes_while_it_is_asked(identities, monkeypatch):
    async def go() -> None:
        asked = Asked(identities, monkeypatch)
        asking = asked.asks(await asked.service.server.start("127.0.0.1", 0))
        await asked.began.wait()
        for outer in list(asked.service.server.front._inside.values()):
            outer.abort()
        assert (await said(asking)).startswith("nva/nva1: session: the peer ended the connection (")
        await asked.service.server.stop(0)

    run(go())


def test_the_nva_stops_while_it_is_asked(identities, monkeypatch):
    async def go() -> None:
        asked = Asked(identities, monkeypatch)
        asking = asked.asks(await asked.service.server.start("127.0.0.1", 0))
        await asked.began.wait()
        await asked.service.server.stop(0)
        assert await said(asking) == "nva/nva1: session: stopping: the server stops"

    run(go())


def test_who_speaks_no_tls_has_each_thing_said_once(identities, monkeypatch):
    async def go() -> None:
        asked = Asked(identities, monkeypatch)
        closed = asyncio.Event()

        async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            closed.set()

        async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
            told = await said(asked.asks(server.sockets[0].getsockname()[1]))
            await closed.wait()
        assert told == "nva/nva1: tls-handshake: TLS in this process ended the connection (WRONG_VERSION_NUMBER)"

    run(go())


@pytest.mark.parametrize("in_session", [True, False])
def test_a_record_that_was_altered_on_the_way(identities, monkeypatch, in_session: bool):
    """Our own side finds it and ends the connection, and no certificate has to do with it."""

    async def go() -> None:
        asked = Asked(identities, monkeypatch)
        port = await asked.service.server.start("127.0.0.1", 0)
        # With its second words a client has ended its side of the handshake.
        is_time = (lambda _: asked.may_answer.is_set()) if in_session else (lambda spoken: spoken > 1)
        async with altering(port, is_time) as on_the_way:
            asking = asked.asks(on_the_way)
            if in_session:
                await asked.began.wait()
                asked.may_answer.set()
            told = await said(asking)
        stage = "session" if in_session else "splice"
        ours = "TLS in this process ended the connection (DECRYPTION_FAILED_OR_BAD_RECORD_MAC)"
        assert told.startswith(f"nva/nva1: {stage}: {ours}")
        assert "certificate" not in told
        await asked.service.server.stop(0)

    run(go())
