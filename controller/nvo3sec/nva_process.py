# SPDX-License-Identifier: Apache-2.0
"""The NVA as a process: its service over mutual TLS, and a console for whoever may enter its run directory."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.aio import run_together, until_stopped
from nvo3sec.console import ConsoleServer
from nvo3sec.domain.messages import QuestionKind
from nvo3sec.domain.model import Domain
from nvo3sec.errors import OperatorError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.names import Role
from nvo3sec.identity.server import SecureServer
from nvo3sec.nva import Nva
from nvo3sec.reports import status_from_json, status_report, unknown_status
from nvo3sec.transport.credentials import live_peers, load_device
from nvo3sec.transport.methods import DomainMembership, access_table
from nvo3sec.transport.nva import NvaTransport

PROGRESS_S = 0.1


@dataclass(frozen=True)
class NvaSettings:
    """Where an NVA serves, where its credentials are, and where its console is. `port` 0: any that is free."""

    host: str
    port: int
    credentials: Path
    run_directory: Path


class NvaProcess:
    """The NVA of a domain. `run` it; the other coroutines are what operators may ask."""

    def __init__(self, domain: Domain, settings: NvaSettings) -> None:
        """Raises CredentialsError, RevocationUnknown, StorageError."""
        self._domain = domain
        self._settings = settings
        self._log = structlog.get_logger("nva").bind(domain=domain.name)
        self._nva = Nva(domain, random_bytes=secrets.token_bytes)
        self._device = load_device(settings.credentials, domain.name, Purpose.SERVER, Role.NVA)
        self._live = live_peers(settings.credentials, self._device)
        methods: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self.status,
            "wait": self.wait,
            "counters": self.counters,
            "reconcile": self.reconcile,
            "rotate": self.rotate,
        }
        self._transport = NvaTransport(self._nva, methods)
        self._console = ConsoleServer(settings.run_directory, methods)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Agents keep what they have, and their leases end by themselves."""
        server = SecureServer(self._device, self._live, access_table(), DomainMembership(self._domain))
        self._transport.add_to(server.grpc)
        await self._console.start()
        try:
            port = await self._listen(server)
            self._log.info(
                "NVA running", identity=str(self._device.identity), host=self._settings.host, port=port, pid=os.getpid()
            )
            try:
                await run_together(until_stopped(), self._nva.run())
            finally:
                await server.stop()
        finally:
            await self._console.stop()
        self._log.info("NVA stopped")

    async def _listen(self, server: SecureServer) -> int:
        try:
            return await server.start(self._settings.host, self._settings.port)
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise OperatorError(f"cannot serve on {where}: {error.strerror or error}") from None

    # --- operator ---------------------------------------------------------------------------------------------------

    async def status(self, wait_s: float = 0.0) -> dict[str, Any]:
        """Switches, keys, reports. With `wait_s`, as `wait`."""
        if wait_s > 0:
            return await self.wait(wait_s)
        names = [nve.name for nve in self._domain.nves]
        answers = await asyncio.gather(*(self._ask(name, QuestionKind.STATUS) for name in names))
        agents = {
            name: unknown_status(name, str(answer))
            if isinstance(answer, OperatorError)
            else status_from_json(name, answer)
            for name, answer in zip(names, answers, strict=True)
        }
        return status_report(
            self._domain,
            agents,
            self._nva.directions(),
            list(self._nva.reports),
            self._nva.registered,
            time.monotonic(),
        )

    async def wait(self, wait_s: float = 30.0) -> dict[str, Any]:
        """The status as soon as everything is ready. Raises OperatorError if it is not in time."""
        deadline = time.monotonic() + wait_s
        while True:
            status = await self.status()
            if status["ready"]:
                return status
            if time.monotonic() >= deadline:
                raise OperatorError(f"not ready after {wait_s:g} s: " + "; ".join(status["not_ready"]))
            await asyncio.sleep(PROGRESS_S)

    async def counters(self, nve: str | None = None) -> list[Any]:
        """Counters of one switch, or of all."""
        return await self._ask_all(self._chosen(nve), QuestionKind.COUNTERS)

    async def reconcile(self, nve: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        """Reconcile one switch or all; returns the updates of each."""
        names = self._chosen(nve)
        kind = QuestionKind.PREVIEW if dry_run else QuestionKind.RECONCILE
        return dict(zip(names, await self._ask_all(names, kind), strict=True))

    async def rotate(self, nves: list[str] | None = None) -> dict[str, int]:
        """New keys, make before break."""
        return {"directions": self._nva.rotate(nves or ())}

    async def _ask(self, nve: str, kind: QuestionKind) -> Any:
        try:
            return await self._transport.ask(nve, kind)
        except OperatorError as error:
            return error

    async def _ask_all(self, nves: Iterable[str], kind: QuestionKind) -> list[Any]:
        answers = await asyncio.gather(*(self._ask(name, kind) for name in nves))
        for answer in answers:
            if isinstance(answer, OperatorError):
                raise answer
        return answers

    def _chosen(self, nve: str | None) -> list[str]:
        names = [one.name for one in self._domain.nves]
        if nve is None:
            return names
        if nve not in names:
            raise OperatorError(f"no such NVE: {nve}; there are: {', '.join(sorted(names))}")
        return [nve]
