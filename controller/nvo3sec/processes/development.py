# SPDX-License-Identifier: Apache-2.0
"""NVA, agents and the operator's socket in one process: for development. In earnest each is a process of its own.

There are no identities within it: the processes of `nva` and `nve` are what has them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.overlay.model import Domain, TunnelKeys
from nvo3sec.errors import Nvo3secError, OperatorError, no_such
from nvo3sec.nva import Nva, NvaSideSession
from nvo3sec.nva.store import MemoryStore
from nvo3sec.nve import NveAgent, SwitchAddress
from nvo3sec.nve import counters as nve_counters
from nvo3sec.operator.calls import answered_by
from nvo3sec.operator.console.server import ConsoleServer
from nvo3sec.operator.documents import Counters, NoCounters, NotDone, OwnCounters, Reconciled, Status, SwitchCounters
from nvo3sec.operator.json_form import from_json
from nvo3sec.operator.keys import KeyOperations
from nvo3sec.operator.mappings import Operations
from nvo3sec.operator.status import status_report
from nvo3sec.p4runtime import load_artifacts
from nvo3sec.system.aio import run_together, until_stopped
from nvo3sec.system.uptime import uptime_s

PROGRESS_S = 0.05


class Controller:
    """Everything of one domain. `run` it; the other coroutines are what an operator may ask."""

    def __init__(self, domain: Domain, run_directory: Path) -> None:
        """Raises OperatorError for a domain whose agents need identities."""
        if domain.tunnel_keys is TunnelKeys.NVA_AND_PEER:
            raise OperatorError("tunnel_keys: nva+peer needs agents with identities: run `nva` and `nve` instead")
        self._domain = domain
        self._log = structlog.get_logger("controller").bind(domain=domain.name)
        artifacts = load_artifacts()
        self._nva = Nva(domain, MemoryStore(secrets.token_bytes(16)), random_bytes=secrets.token_bytes)
        self._agents = {
            nve.name: NveAgent(
                SwitchAddress(nve.name, nve.p4runtime, nve.device_id),
                self._connector(nve.name),
                artifacts,
                random_bytes=secrets.token_bytes,
            )
            for nve in domain.nves
        }
        self.keys = KeyOperations(self._nva.administration, self._ask)
        self._console = ConsoleServer(
            run_directory,
            {
                "wait": self.wait,
                **answered_by(self),
                **self.keys.methods,
                **Operations(self._nva.administration).methods,
            },
            "the development controller",
        )

    def _connector(self, nve: str) -> Any:
        async def connect() -> NvaSideSession:
            return self._nva.agents.open_session(nve)

        return connect

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. The switches keep what they have, and their leases end by themselves."""
        await self._console.start()
        self._log.info("controller running", nves=len(self._agents), pid=os.getpid())
        try:
            await run_together(until_stopped(), self._nva.run(), *(agent.run() for agent in self._agents.values()))
        finally:
            await self._console.stop()
        self._log.info("controller stopped")

    # --- operator ---------------------------------------------------------------------------------------------------

    async def status(self) -> Status:
        """Switches, keys, reports."""
        nva, agents = self._nva.administration, {name: agent.status() for name, agent in self._agents.items()}
        return status_report(
            self._domain,
            agents,
            nva.directions(),
            nva.reports,
            nva.registered,
            uptime_s(),
            alarms=nva.alarms(),
            level_changes=nva.level_changes(),
        )

    async def wait(self, wait_s: float = 30.0) -> Status:
        """The status as soon as everything is ready. Raises OperatorError if it is not in time."""
        deadline = uptime_s() + wait_s
        while True:
            status = await self.status()
            if status.ready:
                return status
            if uptime_s() >= deadline:
                raise OperatorError(f"not ready after {wait_s:g} s: " + "; ".join(status.not_ready))
            await asyncio.sleep(PROGRESS_S)

    async def counters(self, nve: str | None = None) -> Counters:
        """Counters of one switch, or of all: those that cannot be read are `unavailable`, and why."""
        if nve is not None:
            return tuple([_told(await agent.counters()) for agent in self._chosen(nve)])
        found: list[SwitchCounters | NoCounters] = []
        for name, agent in self._agents.items():
            try:
                found.append(_told(await agent.counters()))
            except Nvo3secError as error:
                found.append(NoCounters(name, str(error)))
        return tuple(found)

    async def reconcile(self, nve: str | None = None, dry_run: bool = False) -> Reconciled:
        """Reconcile one switch or all; returns the updates of each, or why it is `unavailable`."""
        if nve is not None:
            return {agent.nve.name: await agent.reconcile(dry_run=dry_run) for agent in self._chosen(nve)}
        found: Reconciled = {}
        for name, agent in self._agents.items():
            try:
                found[name] = await agent.reconcile(dry_run=dry_run)
            except Nvo3secError as error:
                found[name] = NotDone(str(error))
        return found

    async def _ask(self, nve: str, _kind: QuestionKind) -> Any:
        return (await self._agents[nve].holdings()).to_json()

    def _chosen(self, nve: str | None) -> list[NveAgent]:
        if nve is None:
            return list(self._agents.values())
        if nve not in self._agents:
            raise no_such("NVE", nve, self._agents)
        return [self._agents[nve]]


def _told(counters: nve_counters.CountersRead) -> OwnCounters:
    return from_json(OwnCounters, nve_counters.counters_report(counters))
