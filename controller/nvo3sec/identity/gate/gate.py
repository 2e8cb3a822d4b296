# SPDX-License-Identifier: Apache-2.0
"""The gate in front of every RPC handler: authenticate, authorize, limit; only then is a message parsed and handled.

The order is the point: a message of a caller who may not send it is never deserialized (requirement 4 of the draft:
control messages are authorized before they are processed). What is refused is counted and logged with the identity.

Handlers behind the gate are coroutines or asynchronous generators, and get a context that knows the caller:
`authenticated_identity(context)`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any, NoReturn, Protocol

import grpc
import structlog

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.errors import (
    AuthorizationError,
    NameInUse,
    Nvo3secError,
    VersionMismatch,
    WireError,
    in_one_line,
    whereabouts,
)
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.errors import STOPPING, PeerRefused
from nvo3sec.identity.gate.authenticate import Authenticator
from nvo3sec.identity.gate.authorization import AccessTable, Membership, Method, Scope
from nvo3sec.identity.gate.limits import MESSAGE_UNIT_BYTES, Bucket, Buckets, Places
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.system.uptime import uptime_s

RETRY_METADATA = "grpc-retry-pushback-ms"
"""Trailing metadata of a refusal for lack of resources: milliseconds to wait (gRFC A6, which gRPC clients obey)."""

RETRY_CONCURRENCY_S = 1.0
"""What is said to a caller that runs too many calls: when one of them ends is not known."""

VERSION_REASON = "version"
"""The word before the text of a refusal for which one of the two programs is to be upgraded."""

LOG_RATE = Rate(20, 100)
"""Refusals that are logged a second: a flood must not become a flood of the disk. All are counted."""

REST = 9.0
"""How long the sender of a stream waits for each second that its messages keep this process busy: whatever it finds
that takes long, a tenth of the time is all that it gets. What its bucket has when it begins, it may use at once."""

BLAMED = 4096
"""Identities whose refused calls are counted. All of these have certificates of this domain."""

LONG_BYTES = 64 << 10
"""A message that is longer is parsed in another thread: it takes many milliseconds, which others would wait for."""

WORD_S = 2.0
"""How long a call that ends with the server may take to be tidied up, and its caller to take the word."""

Sleep = Callable[[float], Awaitable[None]]


class Connections(Protocol):
    """What carries the connections; it is told whose they are, and can end them."""

    def bind(self, peer: str, identity: Identity) -> None:
        """The connection that gRPC calls `peer` is one of `identity`; may be said often."""

    def blame(self, peer: str) -> None:
        """A call on the connection that gRPC calls `peer` was refused."""

    def source(self, peer: str) -> str:
        """Where the connection that gRPC calls `peer` comes from, for people."""


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, reason: str, detail: str, retry_s: float | None = None) -> None:
        self.code = code
        self.reason = reason
        self.detail = detail
        self.retry_s = retry_s
        super().__init__(detail)


class _Stopping(Exception):
    """The server stops, which is nobody's fault."""


class GatedContext:
    """The context that handlers get: gRPC's own, and who calls. `read` gives messages that passed the gate."""

    def __init__(
        self,
        context: Any,
        identity: Identity,
        parse: Callable[[bytes], Any],
        authorize: Callable[[Any], None],
        pace: Callable[[int], Awaitable[None]],
        charge: Callable[[float], None],
        source: str,
    ) -> None:
        self._context = context
        self._parse = parse
        self._authorize = authorize
        self._pace = pace
        self._charge = charge
        self.identity = identity
        self.source = source
        """Where the caller's connection comes from, for people."""
        self.verdict: PeerRefused | _Stopping | None = None
        """Why the call was ended from outside, if it was."""

    async def read(self) -> Any:
        """The next message of the stream, or grpc.aio.EOF."""
        raw = await self._context.read()
        if raw is grpc.aio.EOF:
            return raw
        return await self.take(raw)

    async def take(self, raw: bytes) -> Any:
        """A message of the stream, once the caller may send one more. Waiting holds the sender back, by HTTP/2."""
        await self._pace(len(raw))
        if len(raw) > LONG_BYTES:
            return await self._take_long(raw)
        with self.work():
            return self.receive(raw)

    async def _take_long(self, raw: bytes) -> Any:
        """Parsed in another thread: this one serves others meanwhile."""
        parsing = asyncio.ensure_future(asyncio.to_thread(_timed, self._parse, raw))
        # Also if the call is gone by then: to cancel it does not make it cheaper.
        parsing.add_done_callback(lambda done: self._charge(done.result()[1]))
        parsed, _ = await asyncio.shield(parsing)
        if isinstance(parsed, Exception):
            raise parsed
        with self.work():
            self._authorize(parsed)
        return parsed

    def receive(self, raw: bytes) -> Any:
        """A message that the caller may send."""
        message = self._parse(raw)
        self._authorize(message)
        return message

    def check(self, message: Any) -> None:
        """Whether the caller may send a message still, for a handler that has waited before it acts on it. Raises
        PeerRefused, AuthorizationError."""
        self._authorize(message)

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Around what a handler does with a message of the stream: the time that it takes is the caller's."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._charge(time.thread_time() - began)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """Interceptor for a grpc.aio server. Nothing passes that the table does not allow."""

    def __init__(
        self,
        authenticator: Authenticator,
        live: LivePeers,
        table: AccessTable,
        membership: Membership,
        *,
        connections: Connections | None = None,
        clock: Callable[[], float] = uptime_s,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._authenticator = authenticator
        self._live = live
        self._table = table
        self._membership = membership
        self._connections = connections
        self._clock = clock
        self._sleep = sleep
        self._buckets = Buckets()
        self._places = Places()
        self._names = frozenset(method.name for method in table.methods)
        self._log = structlog.get_logger("identity")
        self._log_bucket = Bucket.full(LOG_RATE, clock())
        self._running: dict[asyncio.Task[Any], GatedContext] = {}
        self._stopping = False
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Calls by (method, outcome): `ok`, `cancelled`, `failed`, `stopped` with the server, or why refused. Unknown
        methods count as `other`."""
        self.refused_by: Counter[str] = Counter()
        """Calls that were refused, by who made them; of so many identities at most as there are `BLAMED`."""
        self.paced = 0
        """Messages of streams that had to wait."""
        self.unlogged = 0
        """Refusals that were counted only."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Called by gRPC for each call."""
        name: str = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            # Refused like a method that exists, so that nobody can tell the difference.
            return grpc.stream_stream_rpc_method_handler(self._unknown(name))
        return self._guarded(name, handler)

    async def stop(self, grace_s: float) -> None:
        """Take no call any more, and end those that still run after `grace_s` seconds: with a word to their callers,
        and to the handlers in the way in which any call ends, so that all is tidied up when this returns.

        What gRPC cancels by itself it ends behind everybody's back, with a traceback for each.
        """
        self._stopping = True
        await _ended(self._running, grace_s)
        for task, gated in self._running.items():
            gated.verdict = _Stopping()
            task.cancel()
        await _ended(self._running, WORD_S)

    def _guarded(self, name: str, handler: Any) -> Any:
        parse = handler.request_deserializer or (lambda raw: raw)
        # The guarded handlers deserialize by themselves, after everything else.
        options = {"request_deserializer": None, "response_serializer": handler.response_serializer}

        async def unary_unary(raw: bytes, context: Any) -> Any:
            async def body(gated: GatedContext) -> Any:
                return await handler.unary_unary(gated.receive(raw), gated)

            return await self._run(name, parse, context, body)

        async def unary_stream(raw: bytes, context: Any) -> None:
            async def body(gated: GatedContext) -> None:
                await _send_all(handler.unary_stream(gated.receive(raw), gated), gated)

            await self._run(name, parse, context, body)

        async def stream_unary(raw: AsyncIterator[bytes], context: Any) -> Any:
            async def body(gated: GatedContext) -> Any:
                return await handler.stream_unary(_messages(raw, gated), gated)

            return await self._run(name, parse, context, body)

        async def stream_stream(raw: AsyncIterator[bytes], context: Any) -> None:
            async def body(gated: GatedContext) -> None:
                await _send_all(handler.stream_stream(_messages(raw, gated), gated), gated)

            await self._run(name, parse, context, body)

        if handler.request_streaming:
            if handler.response_streaming:
                return grpc.stream_stream_rpc_method_handler(stream_stream, **options)
            return grpc.stream_unary_rpc_method_handler(stream_unary, **options)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(unary_stream, **options)
        return grpc.unary_unary_rpc_method_handler(unary_unary, **options)

    def _unknown(self, name: str) -> Callable[[Any, Any], Awaitable[None]]:
        async def refuse(_raw: AsyncIterator[bytes], context: Any) -> None:
            async def body(_gated: GatedContext) -> None:
                # In the table, but nobody implements it.
                raise _Refused(grpc.StatusCode.UNIMPLEMENTED, "unimplemented", "the method is not implemented")

            await self._run(name, bytes, context, body)

        return refuse

    async def _run(
        self,
        name: str,
        parse: Callable[[bytes], Any],
        context: Any,
        body: Callable[[GatedContext], Awaitable[Any]],
    ) -> Any:
        label = name if name in self._names else "other"
        caller: list[Identity] = []
        try:
            with self._admitted(name, parse, context, caller) as gated:
                try:
                    result = await body(gated)
                except asyncio.CancelledError:
                    if gated.verdict is None:
                        self.outcomes[label, "cancelled"] += 1
                        raise
                    if (task := asyncio.current_task()) is not None:
                        task.uncancel()
                    raise gated.verdict from None
        except grpc.aio.AbortError:
            # The handler decided; what it said has been sent.
            self.outcomes[label, "failed"] += 1
            raise
        except grpc.aio.BaseError:
            # gRPC's own: the caller has gone, or the server stops. There is nobody to tell anything.
            self.outcomes[label, "cancelled"] += 1
            raise
        except _Stopping:
            self.outcomes[label, "stopped"] += 1
            await _abort(context, _Refused(grpc.StatusCode.UNAVAILABLE, "stopping", STOPPING))
        except Exception as error:  # noqa: BLE001  # gRPC would send the text of whatever it is to the peer
            refused = _as_refusal(error)
        else:
            self.outcomes[label, "ok"] += 1
            return result
        self.outcomes[label, refused.reason] += 1
        if caller and (str(caller[0]) in self.refused_by or len(self.refused_by) < BLAMED):
            self.refused_by[str(caller[0])] += 1
        if self._connections is not None:
            self._connections.blame(context.peer())
        self._tell(name, refused, caller[0] if caller else None, context)
        await _abort(context, refused)

    @contextlib.contextmanager
    def _admitted(
        self, name: str, parse: Callable[[bytes], Any], context: Any, caller: list[Identity]
    ) -> Iterator[GatedContext]:
        if self._stopping:
            raise _Stopping
        identity = self._authenticator.identify(context.auth_context())
        caller.append(identity)
        source = context.peer()
        if self._connections is not None:
            self._connections.bind(source, identity)
            source = self._connections.source(source)
        method, scope = self._table.call(name, identity)
        # By device, not by certificate: a renewal is no way to a full bucket.
        who = str(identity)
        wait = self._buckets.take(who, name, method.limits.calls, self._clock())
        if wait:
            raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "rate", "too many calls", wait)
        if not self._places.enter(who, name, method.limits.concurrent):
            raise _Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "concurrency", "too many calls at once", RETRY_CONCURRENCY_S
            )
        task = asyncio.current_task()
        try:
            gated = GatedContext(
                context,
                identity,
                parse=lambda raw: _parsed(method, parse, raw),
                authorize=lambda message: self._authorize(method, scope, identity, message),
                pace=lambda size: self._pace(identity, method, size),
                charge=lambda seconds: self._charge(who, method, seconds),
                source=source,
            )

            def close(verdict: PeerRefused) -> None:
                gated.verdict = verdict
                if task is not None:
                    task.cancel()

            if task is not None:
                self._running[task] = gated
            with self._live.track(identity, close):
                yield gated
        finally:
            self._places.leave(who, name)
            if task is not None:
                self._running.pop(task, None)

    def _authorize(self, method: Method, scope: Scope, identity: Identity, message: Any) -> None:
        self._live.check(identity)  # once more: to parse it may have taken a while
        self._table.message(method, scope, identity, message, self._membership)

    async def _pace(self, identity: Identity, method: Method, size: int) -> None:
        first = True
        limit, cost = method.limits.messages, max(1.0, size / MESSAGE_UNIT_BYTES)
        while wait := self._buckets.take(str(identity), _stream_of(method), limit, self._clock(), cost):
            self.paced += first
            first = False
            await self._sleep(wait)
        # Between two messages of a stream its certificate can have been revoked, and the watcher may be late.
        self._live.check(identity)

    def _charge(self, who: str, method: Method, seconds: float) -> None:
        limit = method.limits.messages
        self._buckets.charge(who, _stream_of(method), limit, self._clock(), seconds * REST * limit.per_second)

    def _tell(self, name: str, refused: _Refused, identity: Identity | None, context: Any) -> None:
        if self._log_bucket.take(self._clock()):
            self.unlogged += 1
            return
        peer = context.peer()
        self._log.warning(
            "call refused",
            method=name[:200],
            peer=str(identity) if identity else "unknown",
            source=self._connections.source(peer) if self._connections else peer,
            reason=refused.reason,
            detail=refused.detail,
        )


def _parsed(method: Method, parse: Callable[[bytes], Any], raw: bytes) -> Any:
    """A message; what it says is not looked at. In any thread."""
    if len(raw) > method.limits.message_bytes:
        raise _Refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "message-size",
            f"a message of {len(raw)} bytes; at most {method.limits.message_bytes}",
        )
    try:
        return parse(raw)
    except WireError as error:
        raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, "malformed", str(error)) from None
    except Exception:  # noqa: BLE001  # whatever a parser raises, the message is malformed
        raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, "malformed", "the message cannot be parsed") from None


def _timed(parse: Callable[[bytes], Any], raw: bytes) -> tuple[Any, float]:
    """What `parse` returns or raises, and the seconds of processor time that it took."""
    began = time.thread_time()
    try:
        result = parse(raw)
    except _Refused as refused:
        result = refused
    return result, time.thread_time() - began


async def _ended(calls: Collection[asyncio.Task[Any]], timeout_s: float) -> None:
    """Wait until these calls are over, or for so long."""
    if calls:
        await asyncio.wait(list(calls), timeout=timeout_s)


def _stream_of(method: Method) -> str:
    """What the bucket for messages of streams is called."""
    return f"{method.name} messages"


def _as_refusal(error: Exception) -> _Refused:
    match error:
        case _Refused():
            return error
        case PeerRefused():
            return _Refused(grpc.StatusCode.UNAUTHENTICATED, error.reason.value, error.detail)
        case AuthorizationError():
            return _Refused(grpc.StatusCode.PERMISSION_DENIED, "permission", str(error))
        case WireError():
            return _Refused(grpc.StatusCode.INVALID_ARGUMENT, "malformed", str(error))
        case VersionMismatch():
            return _Refused(grpc.StatusCode.FAILED_PRECONDITION, VERSION_REASON, str(error))
        case NameInUse():
            return _Refused(grpc.StatusCode.FAILED_PRECONDITION, "name-in-use", str(error))
        case Nvo3secError():
            return _Refused(grpc.StatusCode.FAILED_PRECONDITION, "failed", in_one_line(error))
        case _:
            structlog.get_logger("identity").error("handler failed", error=whereabouts(error))
            return _Refused(grpc.StatusCode.INTERNAL, "failed", "internal error")


async def _abort(context: Any, refused: _Refused) -> NoReturn:
    metadata: tuple[tuple[str, str], ...] = ()
    if refused.retry_s is not None:
        metadata = ((RETRY_METADATA, str(math.ceil(refused.retry_s * 1000))),)
    await context.abort(refused.code, f"{refused.reason}: {refused.detail}", metadata)
    raise AssertionError("abort does not return")


async def _messages(raw: AsyncIterator[bytes], gated: GatedContext) -> AsyncIterator[Any]:
    async for one in raw:
        yield await gated.take(one)


async def _send_all(result: Any, gated: GatedContext) -> None:
    """Run a handler that streams, of either kind: one that yields, or one that writes to its context."""
    if inspect.isasyncgen(result):
        async with contextlib.aclosing(result):
            async for message in result:
                await gated.write(message)
    else:
        await result
