# SPDX-License-Identifier: Apache-2.0
"""The NVA as a process: its service over mutual TLS, and a console for whoever may enter its run directory."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from nvo3sec.config import DomainText
from nvo3sec.domain.messages.credential_terms import CredentialTerms
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.switch.status import status_from_json, unknown_status
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.names import Role
from nvo3sec.identity.server import SecureServer
from nvo3sec.identity.signing import DeviceVerifier
from nvo3sec.identity.terms import TermLog, terms_of
from nvo3sec.nva import Nva
from nvo3sec.nva.administration import Administration
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.keys.contribution_verification import RelayedOnly
from nvo3sec.nva.store import Certificate
from nvo3sec.operator.access import probe
from nvo3sec.operator.calls import Method, answered_by
from nvo3sec.operator.console.server import ConsoleServer
from nvo3sec.operator.documents import (
    Counters,
    NoCounters,
    NotDone,
    Reconciled,
    Revoked,
    Status,
    SwitchCounters,
    Verdict,
)
from nvo3sec.operator.domain_file import DomainFileOperations, Start
from nvo3sec.operator.ends import with_terms
from nvo3sec.operator.fair_share import without_the_longest
from nvo3sec.operator.json_form import from_json
from nvo3sec.operator.keys import KeyOperations
from nvo3sec.operator.mappings import Operations
from nvo3sec.operator.status import status_report, with_versions
from nvo3sec.processes import nva_trust as trust
from nvo3sec.processes.nva_start import Given, NvaStart, Served, loading_status
from nvo3sec.system import garbage
from nvo3sec.system.aio import run_together, until_stopped
from nvo3sec.system.uptime import uptime_s
from nvo3sec.transport.credentials import live_peers, load_device
from nvo3sec.transport.early_sessions import LOADING, LoadingSessions
from nvo3sec.transport.methods import access_table
from nvo3sec.transport.operator_server import OperatorTransport
from nvo3sec.transport.session_server import NvaTransport

PROGRESS_S = 0.1
ANSWERS_BYTES = 2 << 20
"""Of all agents together, in one answer over TLS: half of what an operator's client takes in one message."""
BESIDE_BYTES = ANSWERS_BYTES // 4
"""The same for what agents say of their credentials, and for what they say that they speak."""
KNOWN_FILE = "known-sources.json"
"""Where devices were authenticated lately; beside the database, and of no use to whoever restores one."""
THREADS_TURN_S = 0.0005
"""After so long another thread of this process has its turn, instead of after Python's 5 ms: while one parses a long
message, the one that serves everybody asks for its turn again after each piece of input and output."""
WATCH_S = 0.5
"""How often is looked whether the certificate of an NVE has been revoked, connected or not."""


@dataclass(frozen=True)
class NvaSettings:
    """Where an NVA serves, where its credentials are, where it remembers, and where its console is.

    port 0: any that is free. database: directory of its database. keys: directory of the keys that open it, which must
    be elsewhere and out of its backups. Both None: nothing outlives the process.
    """

    host: str
    port: int
    credentials: Path
    run_directory: Path
    database: Path | None = None
    keys: Path | None = None
    apply_domain: bool = False
    """Take the file that is given, also if another one was applied since."""
    start_new_term: bool = False
    """Go on with a database that is not the newest, or without one: see `store.open_store`."""
    front: FrontLimits = field(default_factory=FrontLimits)
    """Connections that are let in."""
    issued: Path | None = None
    """Directory of the certificates that the authority has issued, without keys: a renewed one is taken from there."""


class NvaProcess:
    """The NVA of a domain. `run` it; the other coroutines are what operators may ask."""

    def __init__(self, given: DomainText, settings: NvaSettings) -> None:
        """given: the domain file; what runs is the one that was applied last, if one was (`applying`).

        Raises ConfigError, CredentialsError, RevocationUnknown, StorageError, StoreError, OperatorError.
        """
        self._settings = settings
        self._began = uptime_s()
        self._loaded: Nva | None = None
        where = Given(given, settings.database, settings.keys, settings.apply_domain, settings.start_new_term)
        self._starting = NvaStart(where, self._to_shut_out)
        try:
            self._prepare()
        except BaseException:
            self._starting.store.close()
            raise

    def _prepare(self) -> None:
        """Load a small file, and what says who this NVA is and whom it trusts."""
        settings = self._settings
        self._log = structlog.get_logger("nva").bind(domain=self._starting.domain)
        early = self._starting.early
        ready = self._starting.load() if isinstance(early, str) else None
        self._device = load_device(
            settings.credentials, self._starting.domain, Purpose.SERVER, Role.NVA, issued=settings.issued
        )
        self._live = live_peers(settings.credentials, self._device, settings.keys)
        self._methods: dict[str, Method] = {"status": partial(self.status, room=ANSWERS_BYTES)}
        self._console = ConsoleServer(
            settings.run_directory,
            {"status": self.status, "wait": self.wait, "admission": self.admission},
            f"the NVA of {self._starting.domain}",
        )
        self._console.not_yet = LOADING
        self._server: SecureServer | None = None
        self._served = Served(self._starting, lambda: self._loaded)
        self._sessions = None if isinstance(early, str) else LoadingSessions(early)
        serving = self._sessions if ready is None else ready[1].agents
        assert serving is not None
        self._transport = NvaTransport(serving)
        self._trust = trust.TrustWatch(self._live, self._transport.identities)
        if ready is not None:
            self._take(*ready)

    @property
    def _nva(self) -> Nva:
        if self._loaded is None:
            raise OperatorError(f"{LOADING}: ask again")
        return self._loaded

    @property
    def _operators(self) -> Administration:
        return self._nva.administration

    def _take(self, start: Start, nva: Nva) -> None:
        """Everything is loaded."""
        self._loaded, operators = nva, nva.administration
        methods: dict[str, Method] = {
            "wait": self.wait,
            **answered_by(self),
            **Operations(operators).methods,
            **KeyOperations(operators, self._ask_agent).methods,
            **DomainFileOperations(operators, start.file).methods,
        }
        over_tls: dict[str, Method] = {
            "status": partial(self.status, room=ANSWERS_BYTES),
            "counters": partial(self.counters, room=ANSWERS_BYTES),
            "reconcile": partial(self.reconcile, room=ANSWERS_BYTES),
        }
        self._methods |= methods | over_tls
        self._console.add(methods)
        self._suspend_revoked()  # before anybody is served: what was revoked while no NVA ran is out as well
        if not isinstance(self._starting.early, str):
            self._starting.early.hand_over(nva.agents.granted_before)
        verifier = DeviceVerifier(operators.domain.name, self._live, self._device.anchors)
        nva.state.contributing.relay.check = RelayedOnly(nva.state.intent, verifier)
        self._transport.loaded(nva.agents)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Agents keep what they have, and their leases end by themselves."""
        _as_many_files_as_allowed()
        if self._loaded is not None:
            garbage.leave_alone_what_is_there()
        sys.setswitchinterval(THREADS_TURN_S)
        where = self._settings.database
        server = SecureServer(
            self._device,
            self._live,
            access_table(),
            self._served,
            front=self._settings.front,
            remember=where / KNOWN_FILE if where is not None else None,
        )
        self._server = server
        self._transport.add_to(server.grpc)
        OperatorTransport(self._methods).add_to(server.grpc)
        await self._console.start()
        try:
            port = await self._listen(server)
            loading = asyncio.create_task(self._load(port), name="loading")
            try:
                await run_together(until_stopped(), self._work(loading), TermLog(self._terms).run())
            finally:
                await asyncio.wait([loading])  # a thread of it may be at the store, and cannot be interrupted
                await server.stop()
        finally:
            await self._console.stop()
            self._starting.store.close()
        self._log.info("NVA stopped")

    async def _load(self, port: int) -> None:
        """Load what is not loaded yet. Raises ConfigError, OperatorError, StoreError."""
        where = {"identity": str(self._device.identity), "host": self._settings.host, "port": port, "pid": os.getpid()}
        if self._loaded is None:
            self._log.info("NVA loading", **where)
            start, nva = await asyncio.to_thread(self._starting.load)
            self._take(start, nva)
            garbage.leave_alone_what_is_there()
        self._log.info("NVA running", **where)

    async def _work(self, loading: asyncio.Task[None]) -> None:
        await asyncio.shield(loading)
        await run_together(self._nva.run(), self._watch_certificates())

    async def _watch_certificates(self) -> None:
        """Suspend NVEs whose certificate is revoked, or whose authority is trusted no more: their switches may go on,
        but nobody takes anything from them."""
        while True:
            state = self._nva.state
            with state.confinement.around("certificates"):
                self._suspend_revoked()
                self._operators.suspend(self._trust.due(state.intent.certificates), trust.WHY, for_good=False)
            await asyncio.sleep(WATCH_S)

    def _suspend_revoked(self) -> None:
        self._operators.suspend(self._revoked_of(self._nva.state.intent.certificates), "its certificate was revoked")

    def _to_shut_out(self, known: Collection[Certificate]) -> list[str]:
        """The NVEs among these that are to be shut out, at once or soon."""
        return sorted({*self._revoked_of(known), *self._trust.gone(known)})

    def _revoked_of(self, known: Collection[Certificate]) -> list[str]:
        """The NVEs among these whose certificate is revoked."""
        revocations = self._live.revocations
        return [one.nve for one in known if one.serial and revocations.is_revoked(one.issuer, int(one.serial, 16))]

    async def _listen(self, server: SecureServer) -> int:
        try:
            return await server.start(self._settings.host, self._settings.port)
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise OperatorError(f"cannot serve on {where}: {error.strerror or error}") from None

    # --- operator ---------------------------------------------------------------------------------------------------

    async def status(self, wait_s: float = 0.0, *, room: int | None = None) -> Status:
        """Switches, keys, reports. With `wait_s`, as `wait`. room: for what agents answer, bytes of JSON."""
        if wait_s > 0:
            return await self.wait(wait_s, room=room)
        early = self._starting.early
        if self._loaded is None and self._sessions is not None and not isinstance(early, str):
            since_s = uptime_s() - self._began
            report = loading_status(self._starting.domain, early, self._sessions.waiting, since_s)
            return with_terms(report, {str(self._device.identity): self._terms()}, time.time())
        agents = {
            name: unknown_status(name, str(answer))
            if isinstance(answer, OperatorError)
            else status_from_json(name, answer)
            for name, answer in (await self._ask_all(QuestionKind.STATUS, room)).items()
        }
        nva = self._operators
        report = status_report(
            nva.domain,
            agents,
            nva.directions(),
            nva.reports,
            nva.registered,
            uptime_s(),
            nva.excluded,
            nva.disputes,
            nva.alarms(),
            nva.held,
            self._transport.takeovers.contested(nva.domain.nve_by_name.keys() - nva.excluded.keys()),
            nva.awaited,
            nva.level_changes(),
        )
        said = {str(self._device.identity): self._terms()}
        said |= {f"{Role.NVE.value}/{name}": terms for name, terms in sorted(self._transport.terms.items())}
        beside = None if room is None else BESIDE_BYTES
        report = with_versions(report, self._transport.ours, self._transport.speaks, beside)
        said = {name: one for name, one in said.items() if name not in self._out()}
        return with_terms(report, said, time.time(), beside)

    def _terms(self) -> CredentialTerms:
        return terms_of(self._device, self._live)

    def _out(self) -> frozenset[str]:
        """Processes of which nothing is expected: those of NVEs that are shut out, or that the domain has no more."""
        present = {nve.name for nve in self._operators.domain.nves} - set(self._operators.excluded)
        return frozenset(f"{Role.NVE.value}/{name}" for name in self._transport.terms if name not in present)

    async def wait(self, wait_s: float = 30.0, *, room: int | None = None) -> Status:
        """The status as soon as everything is ready. Raises OperatorError if it is not in time."""
        deadline = uptime_s() + wait_s
        while True:
            status = await self.status(room=room)
            if status.ready:
                return status
            if uptime_s() >= deadline:
                raise OperatorError(f"not ready after {wait_s:g} s: " + "; ".join(status.not_ready))
            await asyncio.sleep(PROGRESS_S)

    async def counters(self, nve: str | None = None, *, room: int | None = None) -> Counters:
        """Counters of one switch, or of all: those that do not answer are `unavailable`, and why. room: as `status`."""
        if nve is not None:
            return (from_json(SwitchCounters, await self._ask_agent(self._known(nve), QuestionKind.COUNTERS)),)
        answers = await self._ask_all(QuestionKind.COUNTERS, room)
        return tuple(_counters(name, answer, self._is_revoked(name)) for name, answer in answers.items())

    async def reconcile(self, nve: str | None = None, dry_run: bool = False, *, room: int | None = None) -> Reconciled:
        """Reconcile one switch or all; returns the updates of each, or why it is `unavailable`. room: as `status`."""
        kind = QuestionKind.PREVIEW if dry_run else QuestionKind.RECONCILE
        if nve is not None:
            return {nve: tuple(await self._ask_agent(self._known(nve), kind))}
        return {
            name: NotDone(str(answer), self._is_revoked(name)) if isinstance(answer, OperatorError) else tuple(answer)
            for name, answer in (await self._ask_all(kind, room)).items()
        }

    async def revoke(self, nve: str) -> Revoked:
        """Shut an NVE out for good. Returns how long it took (seconds) until every other switch was without it."""
        began = uptime_s()
        self._operators.revoke(nve)
        return Revoked(await self._cut_off(nve, began))

    async def authz_probe(self, device: str, method: str, vn: str | None = None) -> Verdict:
        """What a call of a device would be answered, and why."""
        return probe(
            access_table(),
            self._served,
            self._operators.domain,
            self._operators.excluded,
            device=device,
            method=method,
            vn=vn,
        )

    async def _cut_off(self, nve: str, began: float) -> float:
        while waiting := self._operators.not_yet_without(nve):
            if uptime_s() >= began + DEADLINE_S:
                raise OperatorError(
                    f"{nve} is revoked; these have not confirmed within {DEADLINE_S:g} s, and get no lease until they"
                    f" do: {', '.join(waiting)}"
                )
            await asyncio.sleep(PROGRESS_S / 10)
        return uptime_s() - began

    async def admission(self) -> dict[str, Any]:
        """Connections and calls that were let in and refused since the start. On the console only."""
        if self._server is None:
            raise OperatorError("the NVA does not serve yet")
        own: dict[str, Any] = {"answers_refused": dict(self._transport.answers_refused)}
        if self._loaded is not None:
            own["reports_left_out"] = dict(self._loaded.state.reports.left_out)
            own["confined"] = dict(self._loaded.state.confinement.counts)
        return self._server.admission_report() | own

    async def _ask_agent(self, nve: str, kind: QuestionKind) -> Any:
        self._operators.must_be_in([nve])
        return await self._transport.ask(nve, kind)

    async def _ask(self, nve: str, kind: QuestionKind) -> Any:
        try:
            return await self._ask_agent(nve, kind)
        except OperatorError as error:
            return error

    async def _ask_all(self, kind: QuestionKind, room: int | None) -> dict[str, Any]:
        """What each agent answers, or the OperatorError that says why it does not: one must not hide the others."""
        names = [one.name for one in self._operators.domain.nves]
        answers = dict(zip(names, await asyncio.gather(*(self._ask(name, kind) for name in names)), strict=True))
        return answers if room is None else without_the_longest(answers, room)

    def _is_revoked(self, nve: str) -> bool:
        """Whether an NVE is shut out for good, on purpose: one that is suspended is to come back."""
        return nve in self._operators.excluded and nve not in self._operators.awaited

    def _known(self, nve: str) -> str:
        names = [one.name for one in self._operators.domain.nves]
        if nve not in names:
            raise no_such("NVE", nve, names)
        return nve


def _counters(nve: str, answer: Any, is_revoked: bool) -> SwitchCounters | NoCounters:
    try:
        if isinstance(answer, OperatorError):
            raise answer
        return from_json(SwitchCounters, answer)
    except OperatorError as error:
        return NoCounters(nve, str(error), is_revoked)


def _as_many_files_as_allowed() -> None:
    """Most systems start a process with room for few files (1,024) and allow it many: each agent takes three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
