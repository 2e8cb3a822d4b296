# SPDX-License-Identifier: Apache-2.0
"""The agent of one NVE as a process: client of its NVA over mutual TLS, and the only client of its switch."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.domain.keys.contribution import Own, PeerKeys
from nvo3sec.domain.messages.credential_terms import SAID, CredentialTerms
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.overlay.addresses import IpAddress
from nvo3sec.errors import OperatorError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.names import Role
from nvo3sec.identity.signing import DeviceSigner, DeviceVerifier
from nvo3sec.identity.terms import TermLog, terms_of
from nvo3sec.nve import CANNOT, AgentMemory, NveAgent, SwitchAddress, tenant_methods
from nvo3sec.nve.counters import counters_report
from nvo3sec.nve.status import lines_to_json, status_to_json
from nvo3sec.operator.console.server import ConsoleServer
from nvo3sec.operator.documents import Counters, OwnCounters, OwnStatus, Reconciled, Switch
from nvo3sec.operator.ends import with_terms
from nvo3sec.operator.json_form import from_json
from nvo3sec.p4runtime import load_artifacts
from nvo3sec.system import garbage
from nvo3sec.system.aio import run_together, until_stopped
from nvo3sec.system.uptime import uptime_s
from nvo3sec.transport.credentials import NvaAddress, live_peers, load_device
from nvo3sec.transport.session_client import RemoteNva

STATE_FILE = "agent.json"
NOT_KNOWN = ("other switches", "keys", "reports")
"""What there is in the status of an NVA, and an agent does not know: of keys it has no lives."""
PROGRESS_S = 0.1
"""Between two looks at what an operator waits for."""


@dataclass(frozen=True)
class NveSettings:
    """All that an agent is told; the rest comes from its NVA. `nvas`: tried in their order."""

    name: str
    p4runtime: str
    device_id: int
    nvas: Sequence[NvaAddress]
    credentials: Path
    run_directory: Path
    state_directory: Path
    """Survives restarts: what is attached is remembered here."""
    peer_keys_required: bool = False
    """The NVA has no say: tunnels have keys that this NVE and its peer have mixed, or none."""
    issued: Path | None = None
    """Directory of the certificates that the authority has issued, without keys: a renewed one is taken from there."""


class NveProcess:
    """The agent of one NVE. `run` it."""

    def __init__(self, settings: NveSettings) -> None:
        """Raises OperatorError, CredentialsError, RevocationUnknown, StorageError."""
        switch = SwitchAddress(settings.name, settings.p4runtime, settings.device_id)
        if not switch.p4runtime.removeprefix("unix:") or not switch.p4runtime.startswith("unix:"):
            raise OperatorError("P4Runtime must be unix:PATH: whoever reaches the server reads the keys of its switch")
        domains = {address.name.domain for address in settings.nvas}
        if len(domains) != 1:
            raise OperatorError("one NVA at least must be named, and all of one domain")
        self._log = structlog.get_logger("nve").bind(nve=switch.name)
        self._domain = domains.pop()
        self._p4runtime, self._device_id = switch.p4runtime, switch.device_id
        device = load_device(settings.credentials, self._domain, Purpose.CLIENT, Role.NVE, switch.name, settings.issued)
        self._device = device
        settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._live = live_peers(settings.credentials, device, settings.state_directory)
        self._memory = memory = AgentMemory(switch.name, settings.state_directory / STATE_FILE)
        remote = RemoteNva(switch.name, device, self._live, settings.nvas, self._answer, memory, self._terms)
        signer = DeviceSigner(device)
        verifier = DeviceVerifier(self._domain, self._live, device.anchors)

        def make_peer_keys(name: str, addresses: tuple[IpAddress, ...], incarnation: bytes) -> PeerKeys:
            own = Own(self._domain, name, addresses, incarnation)
            return PeerKeys(
                own, signer=signer, verifier=verifier, random_bytes=secrets.token_bytes, wall_seconds=time.time
            )

        self._agent = NveAgent(
            switch,
            remote.connect,
            load_artifacts(),
            random_bytes=secrets.token_bytes,
            memory=memory,
            make_peer_keys=make_peer_keys,
            peer_keys_required=settings.peer_keys_required,
        )
        self._console = ConsoleServer(
            settings.run_directory,
            {
                "status": self._console_status,
                "wait": self._console_wait,
                "counters": self._console_counters,
                "reconcile": self._console_reconcile,
                **tenant_methods(self._agent),
            },
            f"the agent of {switch.name}",
        )

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. The switch keeps what it has, until its lease ends."""
        await self._console.start()
        await self._live.start()
        self._log.info("agent running", pid=os.getpid())
        garbage.leave_alone_what_is_there()
        try:
            await run_together(until_stopped(), self._agent.run(), TermLog(self._terms).run())
        finally:
            await self._live.stop()
            await self._console.stop()
        self._log.info("agent stopped")

    async def _answer(self, kind: QuestionKind) -> Any:
        match kind:
            case QuestionKind.STATUS:
                return status_to_json(self._agent.status())
            case QuestionKind.COUNTERS:
                return counters_report(await self._agent.counters())
            case QuestionKind.RECONCILE:
                return lines_to_json(await self._agent.reconcile(dry_run=False))
            case QuestionKind.PREVIEW:
                return lines_to_json(await self._agent.reconcile(dry_run=True))
            case QuestionKind.KEYS:
                return (await self._agent.holdings()).to_json()

    def _terms(self) -> CredentialTerms:
        """What ends, and what is wrong with its files: an agent that cannot remember does not go on for ever."""
        terms = terms_of(self._device, self._live)
        fault = self._memory.fault
        return replace(terms, faults=(f"{CANNOT}: {fault}", *terms.faults[: SAID - 1])) if fault else terms

    # --- console: the forms that an NVA answers with, for this one NVE ----------------------------------------------

    async def _console_status(self) -> OwnStatus:
        status = self._agent.status()
        switch = Switch(**vars(status), registered=status.nva, p4runtime=self._p4runtime, device_id=self._device_id)
        not_ready = () if status.in_sync else (f"{status.nve}: {status.fault or 'not in sync'}",)
        report = OwnStatus(self._domain, status.in_sync, not_ready, switches=(switch,), not_known=NOT_KNOWN)
        return with_terms(report, {str(self._device.identity): self._terms()}, time.time())

    async def _console_wait(self, wait_s: float = 30.0) -> OwnStatus:
        """The status as soon as the agent is ready. Raises OperatorError if it is not in time."""
        deadline = uptime_s() + wait_s
        while not (status := await self._console_status()).ready:
            if uptime_s() >= deadline:
                raise OperatorError(f"not ready after {wait_s:g} s: " + "; ".join(status.not_ready))
            await asyncio.sleep(PROGRESS_S)
        return status

    async def _console_counters(self, nve: str | None = None) -> Counters:
        self._check_name(nve)
        return (from_json(OwnCounters, counters_report(await self._agent.counters())),)

    async def _console_reconcile(self, nve: str | None = None, dry_run: bool = False) -> Reconciled:
        self._check_name(nve)
        return {self._agent.nve.name: await self._agent.reconcile(dry_run=dry_run)}

    def _check_name(self, nve: str | None) -> None:
        if nve not in (None, self._agent.nve.name):
            raise OperatorError(f"this is the agent of {self._agent.nve.name}; ask the NVA about others")
