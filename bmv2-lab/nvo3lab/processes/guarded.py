# SPDX-License-Identifier: Apache-2.0
"""The lab's side of its guardian: start and stop processes by name, and hear of those that end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from nvo3lab.errors import GuardianGone, LabError, ProcessError
from nvo3lab.rpc import answer_future
from nvo3lab.wires import linux

_START_TIMEOUT = 90.0
"""Without an answer or any progress. Making namespaces and wires waits for the kernel, which takes its time on a busy
machine."""
GUARDIAN = "guardian"
"""The name under which the guardian's own end is told."""
_END_TIMEOUT = 120.0
"""The same, while processes are ended."""
_PATIENCE = 10.0
"""After this, who waits is told for whom, and looks whether there is progress."""


class Guarded:
    """A running guardian."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_end: Callable[[str, int], None],
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.pid = process.pid
        self.killed: dict[str, float] = {}
        """Processes that were asked to end and did not, and after how many seconds they were killed."""
        self._say = say
        self._status: int | None = None
        self._is_silent = False
        self._process = process
        self._reader = reader
        self._writer = writer
        self._on_end = on_end
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._expected: set[str] = set()
        self._ending = False
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def launch(
        cls,
        run_directory: Path,
        user_namespace: bool,
        on_end: Callable[[str, int], None],
        keep_open: tuple[int, ...] = (),
        say: Callable[[str], None] = lambda _text: None,
    ) -> Guarded:
        """Start a guardian for a run directory.

        Args:
            user_namespace: have it enter a user namespace first, where it is root.
            on_end: called with name and exit status of each process that ends without having been asked to, the
                guardian (GUARDIAN) included.
            keep_open: descriptors that it and its processes are to hold as long as they live (the lock of the run
                directory).
            say: told for whom is waited, where that takes long.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of this package
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "nvo3lab.processes.guardian",
                    str(theirs.fileno()),
                    str(run_directory),
                    "1" if user_namespace else "0",
                    *map(str, keep_open),
                ],
                pass_fds=(theirs.fileno(), *keep_open),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 24)
        guarded = cls(process, reader, writer, on_end, say)
        try:
            await guarded._call("processes", {})  # it answers, so it is there
        except BaseException:
            guarded._ending = True
            # At once: closing the writer takes a turn of the loop, which waits here for what waits for that.
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            writer.close()
            process.wait(_END_TIMEOUT)
            raise
        return guarded

    async def namespace(self, name: str) -> None:
        await self._call("namespace", {"name": name})

    async def plumb(self, plan: dict[str, Any]) -> None:
        await self._call("plumb", {"plan": plan})

    async def start(
        self,
        name: str,
        argv: list[str],
        log: Path,
        namespace: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> int:
        """Start a process. Returns its id; raises ProcessError where it cannot be executed."""
        self._expected.discard(name)
        arguments = {"name": name, "argv": argv, "log": str(log), "namespace": namespace, "environment": environment}
        return int(await self._call("start", arguments))

    async def stop(self, *names: str) -> dict[str, int]:
        """End processes, by their ids, and wait until they are gone. Returns their exit status. Those that had to be
        killed are in `killed`."""
        self._expected.update(names)
        answer = await self._call("stop", {"names": list(names)})
        self.killed |= answer["killed"]
        return dict(answer["statuses"])

    async def kill(self, name: str) -> None:
        """Kill a process that was started under this name, and wait until it is gone. Raises ProcessError."""
        self._expected.add(name)
        await self._call("kill", {"name": name})

    async def pause(self, name: str) -> None:
        """Have a process hang that was started under this name. Raises ProcessError."""
        await self._call("pause", {"name": name})

    async def resume(self, name: str) -> None:
        """Let a process go on that was paused. Raises ProcessError."""
        await self._call("resume", {"name": name})

    async def processes(self) -> dict[str, int]:
        """Names and ids of what runs."""
        return dict(await self._call("processes", {}))

    async def end(self) -> None:
        """Let go of the guardian, and wait until it has ended everything.

        Raises:
            LabError: it could not, or was killed before. Its processes are killed then, but the run directory is left.
        """
        self._ending = True
        with contextlib.suppress(ProcessError):
            if not self._is_silent:  # nor would it answer now
                self._expected.update(await self.processes())
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        ended = asyncio.create_task(asyncio.to_thread(self._process.wait))
        if not await self._waited([ended], _END_TIMEOUT, "the end of the lab's processes"):
            self._process.kill()
            await ended
            self._task.cancel()
            raise LabError(f"the guardian (process {self.pid}) did nothing for {_END_TIMEOUT:g} s, and was killed")
        self._task.cancel()
        self._status = ended.result()
        if self._status != 0:
            raise GuardianGone(self._obituary())

    def _obituary(self) -> str:
        return f"the lab's guardian (process {self.pid}) {how_ended(self._status)}"

    async def _waited(self, awaited: Collection[asyncio.Future[Any]], limit: float, what: str) -> bool:
        """Whether one of these is there, before the guardian has done nothing for `limit` seconds."""
        begun = time.monotonic()
        progress, said = linux.Progress([self.pid], begun), False
        while True:
            # Not wait_for: before CPython 3.12 it forgets that it is cancelled if the answer is there by then.
            if (await asyncio.wait(awaited, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED))[0]:
                return True
            if not said:
                self._say(f"waiting for {what}{self._advice()}")
                said = True
            if progress.idle_s(self.pid, time.monotonic()) >= limit:
                self._is_silent = True
                return False

    def _advice(self) -> str:
        if not linux.is_stopped(self.pid):
            return ""
        return (
            f": the lab's guardian (process {self.pid}) is stopped; `kill -CONT {self.pid}` lets it go on,"
            f" `kill -KILL {self.pid}` ends it and every process of the lab"
        )

    async def _call(self, method: str, arguments: dict[str, Any]) -> Any:
        if self._task.done():
            raise GuardianGone(self._obituary())
        self._last_id += 1
        request = self._last_id
        future = answer_future()
        self._pending[request] = future
        self._writer.write(json.dumps({"id": request, "method": method, "arguments": arguments}).encode() + b"\n")
        is_stop = method == "stop"
        what = f"the end of {', '.join(arguments['names'])}" if is_stop else f"the lab's guardian ({method})"
        try:
            if not await self._waited([future], _END_TIMEOUT if is_stop else _START_TIMEOUT, what):
                raise ProcessError(f"the lab's guardian did not answer {method}")
            return future.result()
        finally:
            del self._pending[request]

    async def _receive(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "ended" in message:
                    if message["ended"] not in self._expected:
                        self._on_end(message["ended"], message["status"])
                    continue
                future = self._pending.get(message["id"])
                if future is None or future.done():
                    continue
                if "error" in message:
                    future.set_exception(ProcessError(message["error"]))
                else:
                    future.set_result(message["result"])
        # It has closed its end, as only its own end does.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._status = await asyncio.to_thread(self._process.wait, _END_TIMEOUT)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(GuardianGone(self._obituary()))
        if not self._ending:
            self._on_end(GUARDIAN, -1 if self._status is None else self._status)


def how_ended(status: int | None) -> str:
    """In words, an exit status as subprocess has it; None where it is not known."""
    if status is None:
        return "has ended by itself"
    if status >= 0:
        return f"has ended by itself with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"has ended by itself: killed by {name}"
