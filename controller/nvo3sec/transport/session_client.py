# SPDX-License-Identifier: Apache-2.0
"""The agent's side of the wire: a session with an NVA, over mutual TLS, with exactly the NVA that was named."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import grpc
import structlog

from nvo3sec.domain.keys.contribution import PeerNews
from nvo3sec.domain.messages.credential_terms import CredentialTerms
from nvo3sec.domain.messages.session import (
    Announcement,
    Answer,
    Attachment,
    AttachmentAnswer,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    LookupResult,
    Question,
    QuestionKind,
    ReadBack,
    Registration,
    Release,
    Report,
    Sign,
    StoreMark,
    Update,
    Use,
    Welcome,
)
from nvo3sec.domain.messages.versions import Feature, Speaks, mismatch
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.errors import AuthorizationError, NvaUnreachable, Nvo3secError, VersionMismatch, WireError, whereabouts
from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.device import Device
from nvo3sec.identity.errors import IdentityError
from nvo3sec.identity.front.endings import Attempts
from nvo3sec.identity.gate.gate import VERSION_REASON
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.system.plain import plain_value
from nvo3sec.system.uptime import uptime_s
from nvo3sec.transport import methods
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.ended import why_it_ended
from nvo3sec.transport.inbox import Inbox
from nvo3sec.wire import down, up, versions

T = TypeVar("T")

CALL_S = 5.0
"""Until a call is given up. A lease of which nothing is heard for so long is better asked for anew."""
QUESTIONS_AT_ONCE = 8
LOOKUP_RATE = Rate(150, 800)
"""Lookups that are sent: below what the NVA takes of one NVE. Whoever is refused there is read from more slowly, and so
are the renewals of its lease on the same connection: tenants that scan must not close the tunnels of others."""
LOOKUPS_AT_ONCE = 8
"""Fewer than the calls of a connection: there is always room for the others."""
REFUSED_S = 10.0
"""How long the refusal of a lookup is remembered."""

_OUR_FAULT = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}


class Memory(Protocol):
    """What an agent remembers of how far the NVA's store had come. Either raises NvaUnreachable for an older store."""

    def compare(self, mark: StoreMark, known: Collection[StoreMark]) -> None:
        """The store has come to `mark`, and has told this NVE `known` before."""

    def see(self, mark: StoreMark) -> None:
        """The store has come to `mark`."""


class Forgetful:
    """Remembers nothing, and so believes every store."""

    def compare(self, mark: StoreMark, known: Collection[StoreMark]) -> None:
        """Believe it."""

    def see(self, mark: StoreMark) -> None:
        """Forget it."""


Answerer = Callable[[QuestionKind], Awaitable[Any]]
"""Answers an operator's question with a JSON value. May raise Nvo3secError."""

TERMS_S = 1.0
"""How often is looked whether there is something new of what ends."""


class RemoteNva:
    """The NVAs of a domain, as the agent of `nve` reaches them. `connect` is its NvaConnector."""

    def __init__(
        self,
        nve: str,
        device: Device,
        live: LivePeers,
        nvas: Sequence[NvaAddress],
        answer: Answerer,
        memory: Memory | None = None,
        terms: Callable[[], CredentialTerms] = CredentialTerms,
        speaks: Speaks | None = None,
    ) -> None:
        """terms: what of its credentials ends; the NVA is told when it changes. speaks: this program's, unless told."""
        self._terms = terms
        self._ours = speaks or versions.here()
        self._nve = nve
        self._memory = memory or Forgetful()
        self._device = device
        self._live = live
        self._nvas = [(address, Attempts()) for address in nvas]
        self._answer = answer

    async def connect(self) -> RemoteSession:
        """A session with the first NVA that is there; the one that failed is tried last. Raises NvaUnreachable."""
        failures = []
        for _ in range(len(self._nvas)):
            address, attempts = self._nvas[0]
            channel = PeerChannel(self._device, self._live, address.name, address.host, address.port, attempts)
            try:
                await channel.start()
                await channel.ready()
            except (IdentityError, OSError) as error:
                failures.append(channel.told(error))
                await channel.close()
                self._nvas.append(self._nvas.pop(0))
            except BaseException:
                await channel.close()
                raise
            else:
                return RemoteSession(self._nve, channel, self._answer, self._memory, self._terms, self._ours)
        raise NvaUnreachable("; ".join(failures) or "no NVA was named")


FAILED_WRITE = "Internal error from Core"
"""What gRPC says of a stream that ended while it was written to, in the place of the status that it ended with."""


class RemoteSession:
    """A session over a channel that is connected. Satisfies `nve.nva_session.NvaSession`."""

    def __init__(
        self,
        nve: str,
        channel: PeerChannel,
        answer: Answerer,
        memory: Memory,
        terms: Callable[[], CredentialTerms] = CredentialTerms,
        speaks: Speaks | None = None,
    ) -> None:
        self._nve = nve
        self._terms = terms
        self._ours = speaks or versions.here()
        self._theirs = Speaks()
        self._telling: asyncio.Task[None] | None = None
        self._memory = memory
        self._peer = channel
        self._answer = answer
        raw = channel.channel
        if raw is None:
            raise NvaUnreachable(f"{channel.expected}: the channel is closed")
        self._stream = raw.stream_stream(methods.CONNECT)()
        self._renew = raw.unary_unary(methods.RENEW_LEASE)
        self._find = raw.unary_unary(methods.LOOK_UP)
        self._attach = raw.unary_unary(methods.ATTACH)
        self._detach = raw.unary_unary(methods.DETACH)
        self._move = raw.unary_unary(methods.MOVE)
        self._lookups = TokenBucket(LOOKUP_RATE, uptime_s())
        self._lookup_places = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._session = b""
        self._inbox = Inbox(nve, str(channel.expected))
        self._reader: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._log = structlog.get_logger("nve").bind(nve=nve, nva=str(channel.expected))

    async def register(self, registration: Registration) -> None:
        """Introduce the switch. Raises NvaUnreachable, AuthorizationError."""
        await self._write(replace(registration, speaks=self._ours))
        try:
            async with asyncio.timeout(CALL_S * 2):
                welcome = await self._read()
        except TimeoutError:
            raise NvaUnreachable(f"{self._peer.expected}: session: no answer to the registration") from None
        if not isinstance(welcome, Welcome):
            raise NvaUnreachable(f"{self._peer.expected}: its first message is no welcome")
        self._theirs = welcome.speaks
        if why := mismatch(self._ours, self._theirs, f"the agent of {self._nve}", "the NVA"):
            raise VersionMismatch(f"{self._peer.expected}: {why}")
        self._memory.compare(welcome.mark, welcome.known)
        self._memory.see(welcome.mark)
        self._session = welcome.session
        self._reader = asyncio.create_task(self._follow(), name=f"updates of {self._nve}")
        if Feature.CREDENTIAL_TERMS in self._theirs.features:
            self._telling = asyncio.create_task(self._tell_terms(), name=f"terms of {self._nve}")
        self._log.info("registered", speaks=self._theirs.describe(), lacks=self._theirs.lacks(self._ours))

    async def next_update(self) -> Update:
        """The next state; waits for it. Raises NvaUnreachable, AuthorizationError once the stream has ended."""
        return await self._inbox.next()

    async def read_back(self, report: ReadBack) -> None:
        """Say what the switch was read back with."""
        await self._write(report)

    async def used(self, use: Use) -> None:
        """Say how much keys have protected."""
        await self._write(use)

    async def peer_news(self, news: PeerNews) -> None:
        """Say what peers are to know."""
        await self._write(news)

    async def report(self, report: Report) -> None:
        """Tell the operator something."""
        await self._write(report)

    async def renew_lease(self, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        """Ask for time. Raises NvaUnreachable, AuthorizationError."""
        request = up.encode_renewal(self._session, seen)
        grant = self._decoded(down.decode_grant, await self._call(self._renew, request))
        self._memory.see(grant.mark)
        return grant

    async def look_up(self, query: Lookup) -> LookupAnswer:
        """Ask where a tenant system is."""
        if query.mac is None and query.ip is None:
            return LookupAnswer(LookupResult.UNKNOWN, 0.0)
        if not self._lookups.take(uptime_s()):
            return LookupAnswer(LookupResult.BUSY, 1.0)
        try:
            async with self._lookup_places:
                raw = await self._call(self._find, up.encode_look_up(self._session, query))
        except _Busy:
            return LookupAnswer(LookupResult.BUSY, 1.0)
        except AuthorizationError as error:
            # Of the VN: that of the session would end the stream, which is noticed there.
            self._log.warning("lookup refused", vni=query.vni, error=str(error))
            return LookupAnswer(LookupResult.REFUSED, REFUSED_S)
        return self._decoded(down.decode_found, raw)

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        """A tenant system comes, goes or moves. Raises NvaUnreachable, AuthorizationError; VersionMismatch for what the
        NVA does not know, and nothing has changed then."""
        versions.require_known(announcement, self._theirs)
        match announcement:
            case Attachment() | Sign():
                raw = await self._call(self._attach, up.encode_attach(self._session, announcement))
            case Release():
                raw = await self._call(self._detach, up.encode_detach(self._session, announcement))
            case _:
                raw = await self._call(self._move, up.encode_move(self._session, announcement))
        return self._decoded(down.decode_attachment_answer, raw)

    async def close(self) -> None:
        """End the session."""
        tasks = [*self._answering, *(one for one in (self._reader, self._telling) if one)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stream.cancel()
        await self._peer.close()

    # --- stream -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            while True:
                message = await self._read()
                match message:
                    case Question():
                        self._begin_to_answer(message)
                    case Welcome():
                        raise NvaUnreachable(f"{self._peer.expected}: it welcomes twice")
                    case _:
                        self._inbox.put(message)
        except Nvo3secError as error:
            self._inbox.end(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the session is over; nobody awaits this task
            self._log.error("session broke", error=whereabouts(error))
            self._inbox.end(NvaUnreachable(f"{self._peer.expected}: the session broke"))

    async def _tell_terms(self) -> None:
        """Say what ends, and again whenever it changes."""
        said = CredentialTerms()
        with contextlib.suppress(Nvo3secError):  # the reader tells of the end of the stream
            while True:
                if (now := self._terms()) != said:
                    await self._write(now)
                    said = now
                await asyncio.sleep(TERMS_S)

    def _begin_to_answer(self, question: Question) -> None:
        if len(self._answering) >= QUESTIONS_AT_ONCE:
            raise NvaUnreachable(f"{self._peer.expected}: it asks too much at once")
        task = asyncio.create_task(self._give_answer(question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _give_answer(self, question: Question) -> None:
        try:
            answer = Answer(question.number, json=_document(await self._answer(question.kind)))
        except Nvo3secError as error:
            answer = Answer(question.number, refusal=_one_line(str(error)))
        except Exception as error:  # noqa: BLE001  # an operator's question must not end the session
            self._log.error("question failed", kind=question.kind.value, error=whereabouts(error))
            answer = Answer(question.number, refusal="internal error; the agent's log has the details")
        if answer.json is not None and len(answer.json) > up.JSON_LIMIT:
            answer = Answer(question.number, refusal="the answer is too long for the NVA; ask the agent itself")
        with contextlib.suppress(Nvo3secError):  # the reader tells of the end of the stream
            await self._write(answer)

    async def _read(self) -> down.Down:
        try:
            raw = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            raise self._as_error(error) from None
        if raw is grpc.aio.EOF:
            raise self._end_of_stream(await self._stream.code(), await self._stream.details())
        return self._decoded(down.decode_down, raw)

    async def _write(self, message: up.Up) -> None:
        if self._inbox.ended is not None:
            raise self._inbox.ended
        try:
            async with self._writing, asyncio.timeout(CALL_S):
                await self._stream.write(up.encode_up(message))
        except grpc.aio.AioRpcError as error:
            raise self._as_error(error) from None
        except asyncio.InvalidStateError:
            raise self._end_of_stream(await self._stream.code(), await self._stream.details()) from None
        except TimeoutError:
            raise NvaUnreachable(f"{self._peer.expected}: session: it does not read") from None

    # --- errors -----------------------------------------------------------------------------------------------------

    async def _call(self, method: Any, request: bytes) -> bytes:
        if self._inbox.ended is not None:
            raise self._inbox.ended
        try:
            return bytes(await method(request, timeout=CALL_S))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise _Busy(f"{self._peer.expected}: {_one_line(error.details())}") from None
            raise self._as_error(error) from None

    def _decoded(self, decode: Callable[[bytes], T], raw: bytes) -> T:
        try:
            return decode(raw)
        except WireError as error:
            raise NvaUnreachable(f"{self._peer.expected}: its message cannot be taken: {error}") from None

    def _as_error(self, error: Any) -> Nvo3secError:
        return self._end_of_stream(error.code(), error.details())

    def _end_of_stream(self, code: Any, details: str | None) -> Nvo3secError:
        text = _one_line(details) or "the NVA has ended it"
        if code is grpc.StatusCode.INTERNAL and text == FAILED_WRITE:
            text = "the NVA has ended it, and why is not known: something was being written to it"
        if code in _OUR_FAULT:
            return AuthorizationError(f"{self._peer.expected}: {text}")
        if code is grpc.StatusCode.FAILED_PRECONDITION and text.startswith(f"{VERSION_REASON}: "):
            return VersionMismatch(f"{self._peer.expected}: {text}")
        return NvaUnreachable(why_it_ended(self._peer, text))


class _Busy(NvaUnreachable):
    """The NVA refuses for lack of resources."""


def _one_line(text: str | None) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text or "")[: up.DETAIL_LIMIT]


def _document(value: Any) -> str:
    # What a switch and its host call things can be anything, and the NVA takes printable text only.
    return json.dumps(plain_value(value), allow_nan=False)
