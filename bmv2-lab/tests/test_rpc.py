# SPDX-License-Identifier: Apache-2.0
"""Calls between the lab and its processes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from nvo3lab.errors import RemoteError
from nvo3lab.rpc import Client, serve


def fail(code: int) -> None:
    raise OSError(code, os.strerror(code))


def run(path: Path, body: Callable[[Client], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            gone = asyncio.Event()

            server = await serve(path, {"echo": lambda text: text, "never": gone.wait, "fail": fail})
            client = await Client.connect("service", path)
            try:
                await body(client)
            finally:
                gone.set()
                await client.close()
                server.close()
                await server.wait_closed()

    asyncio.run(bounded())


class TestCall:
    def test_is_answered(self, tmp_path: Path):
        async def body(client: Client) -> None:
            assert await client.call("echo", text="x") == "x"

        run(tmp_path / "s", body)

    def test_without_an_answer_in_time(self, tmp_path: Path):
        async def body(client: Client) -> None:
            with pytest.raises(RemoteError, match=r"did not answer never within 0\.1 s"):
                await client.call("never", timeout=0.1)
            assert not client._pending
            assert await client.call("echo", text="x") == "x"

        run(tmp_path / "s", body)

    def test_that_fails_is_said_in_words(self, tmp_path: Path):
        async def body(client: Client) -> None:
            with pytest.raises(RemoteError) as failed:
                await client.call("fail", code=errno.ENETUNREACH)
            assert str(failed.value) == "service: Network is unreachable"

        run(tmp_path / "s", body)

    def test_that_is_cancelled_ends_also_if_its_answer_is_there(self, tmp_path: Path):
        async def body(client: Client) -> None:
            call = asyncio.create_task(client.call("never"))
            while not client._pending:
                await asyncio.sleep(0)
            [future] = client._pending.values()
            await client._writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)
            future.set_result("the answer")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not client._pending

        run(tmp_path / "s", body)
