# SPDX-License-Identifier: Apache-2.0
"""The NVA's side of the wire to agents: their sessions, behind the gate of `identity`."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn, cast

import grpc
import structlog

from nvo3sec.domain.keys.contribution import PeerNews
from nvo3sec.domain.messages.answers import judged
from nvo3sec.domain.messages.credential_terms import CredentialTerms, Term, TermKind
from nvo3sec.domain.messages.session import (
    Answer,
    AttachmentAnswer,
    LeaseGrant,
    LookupAnswer,
    LookupResult,
    NewIncarnation,
    Question,
    QuestionKind,
    ReadBack,
    Registration,
    Use,
    Welcome,
)
from nvo3sec.domain.messages.session import Report as AgentReport
from nvo3sec.domain.messages.versions import Feature, Speaks, mismatch, missing
from nvo3sec.errors import (
    AuthorizationError,
    HistoryDisputed,
    NameInUse,
    NvaLoading,
    OperatorError,
    VersionMismatch,
    WireError,
)
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.gate.authenticate import authenticated_identity
from nvo3sec.nva.mappings.service import BUSY_S
from nvo3sec.nva.service import AgentService
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.nva.sessions.takeovers import Takeovers
from nvo3sec.nva.store import Certificate
from nvo3sec.system.aio import answer_future, run_together
from nvo3sec.transport import methods
from nvo3sec.transport.early_sessions import LOADING, Held, LoadingSessions
from nvo3sec.wire import checks, down, up, versions

REGISTER_S = 10.0
"""From the beginning of a stream to its registration."""
ANSWER_S = 30.0
"""Until an agent has answered an operator's question."""
STATUS_S = 5.0
"""The same for one that takes an agent no time."""
SILENT_S = 0.2
"""The same for an agent that left its last question without an answer: who asks about all must not wait for it."""
ALIVE_S = STATUS_S
"""Until an agent whose name somebody else comes with has shown that it is there."""
QUESTIONS_AT_ONCE = 16
"""Waiting for one agent."""


class _Link:
    """One stream of one agent, of a switch with this incarnation."""

    def __init__(
        self, session: NvaSideSession, registration: Registration, context: Any, name: bytes | None = None
    ) -> None:
        self.name = name or secrets.token_bytes(checks.SESSION_BYTES)
        self.session = session
        self.speaks = registration.speaks
        self.incarnation = registration.incarnation
        self.source: str = context.source
        self._context = context
        self._writing = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[QuestionKind, asyncio.Future[Any]]] = {}
        self._probes: dict[int, asyncio.Future[bool]] = {}
        self._silent = False

    def work(self) -> AbstractContextManager[None]:
        """Around what is done with a message of the agent."""
        return cast(AbstractContextManager[None], self._context.work())

    async def write(self, message: down.Down) -> None:
        async with self._writing:
            await self._context.write(message)

    async def ask(self, kind: QuestionKind) -> Any:
        """Ask the agent. Raises OperatorError."""
        nve = self.session.nve
        if len(self._waiting) >= QUESTIONS_AT_ONCE:
            raise OperatorError(f"{nve} has too many questions to answer already")
        number = next(self._numbers) & checks.UINT32
        future = answer_future()
        self._waiting[number] = kind, future
        patience_s = SILENT_S if self._silent else STATUS_S if kind is QuestionKind.STATUS else ANSWER_S
        try:
            async with asyncio.timeout(patience_s):
                await self.write(Question(number, kind))
                return await future
        except TimeoutError:
            self._silent = True
            raise OperatorError(f"{nve} did not answer within {patience_s:g} s") from None
        except grpc.aio.BaseError:
            raise OperatorError(f"{nve} has gone") from None
        finally:
            del self._waiting[number]

    async def is_alive(self) -> bool:
        """Whether the agent answers within ALIVE_S. What it answers does not matter, also that it cannot."""
        if self.session.ended.is_set():
            return False
        number = next(self._numbers) & checks.UINT32
        probe: asyncio.Future[bool] = answer_future()
        self._probes[number] = probe
        try:
            async with asyncio.timeout(ALIVE_S):
                await self.write(Question(number, QuestionKind.STATUS))
                return await probe
        except (TimeoutError, grpc.aio.BaseError):
            return False
        finally:
            del self._probes[number]

    def answered(self, answer: Answer) -> tuple[QuestionKind, ValueError | WireError] | None:
        """What came back. If it is refused, returns to which question, and why: a WireError if it is no JSON at all.

        An answer that nobody waits for any more says only that there is somebody.
        """
        self._silent = False
        if (probe := self._probes.get(answer.number)) is not None and not probe.done():
            probe.set_result(True)
        kind, future = self._waiting.get(answer.number, (None, None))
        if kind is None or future is None or future.done():
            return None
        if answer.json is None:
            future.set_exception(OperatorError(answer.refusal or "it does not answer that, and does not say why"))
            return None
        try:
            future.set_result(judged(self.session.nve, kind, _parsed(answer.json)))
        except (ValueError, WireError) as error:
            future.set_exception(OperatorError(f"answer refused: {error}"))
            return kind, error
        return None

    def end(self) -> None:
        """Nobody will answer any more."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(OperatorError(f"{self.session.nve} has gone"))
        for probe in self._probes.values():
            if not probe.done():
                probe.set_result(False)


class NvaTransport:
    """Serves the agents of one NVA."""

    def __init__(self, nva: AgentService | LoadingSessions, speaks: Speaks | None = None) -> None:
        """nva: or the sessions of agents while it is loading, until `loaded`. speaks: what the NVA says that it speaks;
        what this program does, unless told."""
        self._loading = nva if isinstance(nva, LoadingSessions) else None
        self._loaded = nva if isinstance(nva, AgentService) else None
        self._links: dict[str, _Link] = {}
        self.ours = speaks or versions.here()
        self.speaks: dict[str, Speaks] = {}
        """What each agent speaks, by NVE, as it said last."""
        self.refused: dict[str, str] = {}
        """Agents that cannot be served as they are, by NVE, and which end is to be upgraded."""
        self.terms: dict[str, CredentialTerms] = {}
        """What each agent said last of what ends there, by NVE; also after it has gone."""
        self.identities: dict[str, Identity] = {}
        """With which certificate each agent came last, by NVE; also after it has gone."""
        self.answers_refused: Counter[str] = Counter()
        """Answers of agents that were refused, by NVE."""
        self.takeovers = Takeovers()
        self._log = structlog.get_logger("nva")

    def add_to(self, server: Any) -> None:
        """Add the service to a server of grpc.aio that has the gate."""
        unary = grpc.unary_unary_rpc_method_handler
        # Parsing is strict conversion to dataclasses; the gate calls it once it knows that the caller may ask.
        agents = {
            "Connect": grpc.stream_stream_rpc_method_handler(self._connect, up.decode_up, down.encode_down),
            "RenewLease": unary(self._renew_lease, up.decode_renewal, down.encode_grant),
            "LookUp": unary(self._look_up, up.decode_look_up, down.encode_found),
            "Attach": unary(self._announce, up.decode_attach, down.encode_attachment_answer),
            "Detach": unary(self._announce, up.decode_detach, down.encode_attachment_answer),
            "Move": unary(self._announce, up.decode_move, down.encode_attachment_answer),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(methods.NVA_SERVICE, agents),))

    @property
    def _nva(self) -> AgentService:
        if self._loaded is None:
            raise NvaLoading(LOADING)
        return self._loaded

    def loaded(self, nva: AgentService) -> None:
        """The NVA is there: agents that were held are registered with it."""
        self._loaded = nva
        if self._loading is not None:
            self._loading.over()

    async def ask(self, nve: str, kind: QuestionKind) -> Any:
        """Ask an agent about its switch; returns a JSON value. Raises OperatorError, also if it is not connected."""
        link = self._links.get(nve)
        if link is None:
            why = f": {self.refused[nve]}" if nve in self.refused else ""
            raise OperatorError(f"{nve} is not connected to the NVA{why}")
        return await link.ask(kind)

    # --- agents -----------------------------------------------------------------------------------------------------

    async def _connect(self, messages: AsyncIterator[up.Up], context: Any) -> None:
        identity = authenticated_identity(context)
        nve = identity.device.name
        certificate = Certificate(nve, identity.issuer, f"{identity.serial:x}")
        if self._loaded is None and self._loading is not None:
            self._loading.leases.check(nve, certificate)
        else:
            self._nva.check(nve, certificate)
        try:
            async with asyncio.timeout(REGISTER_S):
                first = await anext(messages, None)
        except TimeoutError:
            raise AuthorizationError(f"no registration within {REGISTER_S:g} s") from None
        if not isinstance(first, Registration):
            raise AuthorizationError("the first message must be a registration")
        if self._loading is None or self._loaded is not None:
            await self._serve(first, messages, context, certificate)
            return
        self._check_version(nve, first.speaks)
        held = await self._loading.hold(nve, certificate, first, context.source, self.ours, _welcomes(context))
        if held is None:
            await self._serve(first, messages, context, certificate)
            return
        try:
            await self._serve(first, messages, context, certificate, held)
        finally:
            self._loading.settle(nve, held)

    async def _serve(
        self,
        first: Registration,
        messages: AsyncIterator[up.Up],
        context: Any,
        certificate: Certificate,
        held: Held | None = None,
    ) -> None:
        """One session, from its registration on. held: it was welcomed before, and has waited."""
        nve = certificate.nve
        session = self._nva.open_session(nve, certificate)
        link = _Link(session, first, context, held.name if held is not None else None)
        await self._until_free(link)
        self._check_version(nve, first.speaks)
        before = self._links.get(nve)
        welcome = Welcome(link.name, session.mark, session.known(first.seen), self.ours)
        try:
            try:
                # Nothing is awaited between the last check of the message and this: only a good certificate readmits,
                # and of two streams the one whose calls are taken is the one that is registered.
                with link.work():
                    context.check(first)
                    await session.register(first)
            except HistoryDisputed:
                if held is None:
                    await link.write(welcome)  # so that the agent sees for itself, whoever of the two is wrong
                raise
            self._links[nve] = link
            self.identities[nve] = authenticated_identity(context)
            self.terms[nve] = _seen(self.identities[nve])
            if before is not None:
                await self._note_rival(before, link, refused=False)
            if held is None:
                await link.write(welcome)
            elif self._loading is not None:
                self._loading.settle(nve, held)
            await run_together(self._up(messages, link), self._down(link), self._until_ended(session))
        finally:
            link.end()
            if self._links.get(nve) is link:
                del self._links[nve]
            await session.close()

    def _check_version(self, nve: str, theirs: Speaks) -> None:
        self.speaks[nve] = theirs
        self.refused.pop(nve, None)  # what an earlier attempt ended with is no cause any more
        if why := mismatch(self.ours, theirs, "the NVA", f"the agent of {nve}"):
            self.refused[nve] = why
            raise VersionMismatch(why)

    async def _until_free(self, link: _Link) -> None:
        """Return as soon as `link` can have its name. Raises NameInUse while the agent that has it is alive.

        Of who has the same credentials only the present agent can show that it is there. Its address shows nothing: one
        machine, or one translator of addresses, has room for two. But an agent of the same switch at the same place is
        the one that was there before: its keys stay what they are.
        """
        nve, silent = link.session.nve, None
        while (present := self._links.get(nve)) is not None and present is not silent:
            if (present.incarnation, present.source) == (link.incarnation, link.source):
                return
            if await present.is_alive():
                await self._note_rival(present, link, refused=True)
                raise NameInUse(
                    f"another agent is connected as {nve} from {present.source}, and answers; this one comes from"
                    f" {link.source}. Stop one of them, and revoke the certificate if it was stolen"
                )
            silent = present

    async def _note_rival(self, present: _Link, newcomer: _Link, *, refused: bool) -> None:
        nve = present.session.nve
        report = self.takeovers.note(nve, present.source, newcomer.source, refused=refused)
        if report is not None and (link := self._links.get(nve)) is not None:
            await link.session.report(report)

    async def _until_ended(self, session: NvaSideSession) -> NoReturn:
        await session.ended.wait()
        raise AuthorizationError(session.why)

    async def _up(self, messages: AsyncIterator[up.Up], link: _Link) -> None:
        async for message in messages:
            with link.work():
                await self._take(message, link)

    async def _take(self, message: up.Up, link: _Link) -> None:
        match message:
            case ReadBack():
                self.refused.pop(link.session.nve, None)  # it has understood what it was sent
                await link.session.read_back(message)
            case Use():
                await link.session.used(message)
            case AgentReport():
                await link.session.report(message)
            case PeerNews():
                await link.session.peer_news(message)
            case Answer():
                if (refused := link.answered(message)) is not None:
                    kind, why = refused
                    self.answers_refused[link.session.nve] += 1
                    await link.session.report(AgentReport("answer-refused", f"{kind.value}: {why}"))
                    if isinstance(why, WireError):
                        raise why
            case CredentialTerms():
                self.terms[link.session.nve] = message
            case Registration():
                raise AuthorizationError("a session has one registration")

    async def _down(self, link: _Link) -> None:
        # As slow as the agent reads: what changes meanwhile is replaced in the session, not queued.
        while True:
            update = await link.session.next_update()
            if isinstance(update, NewIncarnation) and Feature.NEW_INCARNATION not in link.speaks.features:
                nve = link.session.nve
                why = missing(Feature.NEW_INCARNATION, link.speaks, f"the agent of {nve}")
                self.refused[nve] = f"its switch has to take another incarnation, and {why}"
                raise VersionMismatch(self.refused[nve])
            await link.write(update)

    def _link_of(self, session: bytes, context: Any) -> _Link:
        nve = authenticated_identity(context).device.name
        link = self._links.get(nve)
        if link is None or link.name != session:
            raise AuthorizationError(f"{nve} has no such session")
        return link

    async def _renew_lease(self, request: up.RenewLease, context: Any) -> LeaseGrant:
        if self._loading is not None:
            nve = authenticated_identity(context).device.name
            grant = await self._loading.renew(nve, request.session, request.seen)
            if grant is not None:
                return grant
        return await self._link_of(request.session, context).session.renew_lease(request.seen)

    async def _look_up(self, request: up.LookUp, context: Any) -> LookupAnswer:
        if self._loaded is None:
            return LookupAnswer(LookupResult.BUSY, BUSY_S)  # a refusal would be remembered
        return await self._link_of(request.session, context).session.look_up(request.query)

    async def _announce(self, request: up.Announce, context: Any) -> AttachmentAnswer:
        if self._loaded is None:
            raise NvaLoading(f"{LOADING}; nothing was changed, ask again")
        return await self._link_of(request.session, context).session.announce(request.announcement)


def _welcomes(context: Any) -> Callable[[Welcome], Awaitable[None]]:
    async def write(welcome: Welcome) -> None:
        await context.write(welcome)

    return write


def _seen(identity: Identity) -> CredentialTerms:
    """What is known before an agent says it: with which certificate it has come."""
    begins, ends = identity.not_before.timestamp(), identity.not_after.timestamp()
    return CredentialTerms((Term(TermKind.CERTIFICATE, str(identity), begins, ends),))


def _parsed(text: str) -> Any:
    """A JSON text. Raises WireError; also for the numbers that Python takes and JSON does not have."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise WireError("answer.json", "is no JSON") from None


def _no_number(_name: str) -> None:
    raise ValueError
