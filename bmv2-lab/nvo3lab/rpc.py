# SPDX-License-Identifier: Apache-2.0
"""Requests to the processes of the lab: one JSON object a line, over a UNIX stream socket in the run directory.

The directory is closed to other users (mode 0700), which is what protects these sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvo3lab.errors import LabError, RemoteError, words_of

_LINE_LIMIT = 64 * 1024 * 1024
Method = Callable[..., Any]


def answer_future() -> asyncio.Future[Any]:
    """A future for what somebody else will answer. Whoever waits for it may go before the answer comes, and then nobody
    learns of a refusal: that is no fault, and asyncio does not tell of it."""
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return future


async def serve(path: Path, methods: dict[str, Method]) -> asyncio.AbstractServer:
    """Answer requests {"id", "method", "arguments"}; a method may be a coroutine, and several run at a time."""

    async def answer(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        reply: dict[str, Any] = {"id": request.get("id")}
        try:
            result = methods[request["method"]](**request.get("arguments", {}))
            reply["result"] = await result if inspect.isawaitable(result) else result
        except (LabError, OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            reply["error"] = words_of(error)
        try:
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            return  # whoever asked is gone

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.create_task(answer(json.loads(line), writer))
                running.add(task)
                task.add_done_callback(running.discard)
        except ConnectionError:
            pass
        finally:
            for task in running:
                task.cancel()
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(session, path=str(path), limit=_LINE_LIMIT)
    os.chmod(path, 0o600)
    return server


class Client:
    """One connection to a process of the lab; requests may overlap."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._reader = reader
        self._writer = writer
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls, name: str, path: Path) -> Client:
        """Raises OSError while nobody listens yet."""
        reader, writer = await asyncio.open_unix_connection(str(path), limit=_LINE_LIMIT)
        return cls(name, reader, writer)

    async def call(self, method: str, timeout: float = 30.0, **arguments: Any) -> Any:
        """The method's result. Raises RemoteError for its failure, its silence, or its end."""
        self._last_id += 1
        request = self._last_id
        future = answer_future()
        self._pending[request] = future
        try:
            if self._task.done():
                raise RemoteError(f"{self.name} has ended")
            self._writer.write(json.dumps({"id": request, "method": method, "arguments": arguments}).encode() + b"\n")
            await self._writer.drain()
            # Not wait_for: before CPython 3.12 it forgets that it is cancelled if the answer is there by then.
            if not (await asyncio.wait([future], timeout=timeout))[0]:
                raise TimeoutError
            return future.result()
        except TimeoutError:
            raise RemoteError(f"{self.name} did not answer {method} within {timeout:g} s") from None
        except ConnectionError as error:
            raise RemoteError(f"{self.name} has ended: {words_of(error)}") from None
        finally:
            self._pending.pop(request, None)

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _receive(self) -> None:
        try:
            while line := await self._reader.readline():
                reply = json.loads(line)
                future = self._pending.get(reply["id"])
                if future is None or future.done():
                    continue
                if "error" in reply:
                    future.set_exception(RemoteError(f"{self.name}: {reply['error']}"))
                else:
                    future.set_result(reply["result"])
        except ConnectionError:
            pass
        finally:
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(RemoteError(f"{self.name} has ended"))
