# SPDX-License-Identifier: Apache-2.0
"""An NVA as its process runs it, which loads when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nvo3sec.config.load import read_domain
from nvo3sec.domain.messages.session import KeyState, Registration
from nvo3sec.identity.names import Role
from nvo3sec.processes import nva_start as starting
from nvo3sec.processes.nva import NvaProcess, NvaSettings
from overlay_world import LEAVES, Identities, free_port, until
from session_world import INCARNATION, Service


class Process:
    """An NVA as its process runs it, in this one; it loads when `may_load` is set."""

    def __init__(self, identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identities = identities
        self.port = free_port()
        self.may_load = threading.Event()
        self.may_load.set()
        self.nva: Any = None
        self._task: asyncio.Task[None] | None = None
        load = starting.NvaStart.load

        def when_told(this: Any) -> Any:
            assert self.may_load.wait(60)
            return load(this)

        monkeypatch.setattr(starting.NvaStart, "load", when_told)
        monkeypatch.setattr(starting, "LARGE_BYTES", 0)

    async def start(self) -> None:
        directory = self.identities.directory
        settings = NvaSettings(
            "127.0.0.1",
            self.port,
            self.identities.place(Role.NVA, "nva1"),
            directory / "run-nva",
            directory / "database",
            directory / "keys",
        )
        self.nva = NvaProcess(read_domain(self.identities.domain_file), settings)
        self._task = asyncio.create_task(self.nva.run())
        await until(self._serves)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    async def stop(self) -> None:
        if self._task is not None:
            self.may_load.set()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def agent(self, leaf: str, **options: Any) -> Any:
        return Service.agent(self, leaf, **options)  # type: ignore[arg-type]  # what it needs is here

    @contextlib.asynccontextmanager
    async def session(self, leaf: str, incarnation: bytes = INCARNATION, **options: Any) -> AsyncIterator[Any]:
        found = await self.agent(leaf, **options).connect()
        try:
            await found.register(Registration(incarnation))
            yield found
        finally:
            await found.close()

    async def has_run(self) -> None:
        """All agents have been there, with the certificates that they have; then it is away, and loads again."""
        await self.start()
        async with contextlib.AsyncExitStack() as stack:
            for leaf in LEAVES:
                session = await stack.enter_async_context(self.session(leaf))
                while not isinstance(await session.next_update(), KeyState):
                    pass
            await until(lambda: self.nva._nva.state.held._stored_early_s > 0)
        await self.stop()
        self.may_load.clear()
        await self.start()
