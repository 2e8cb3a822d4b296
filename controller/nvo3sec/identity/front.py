# SPDX-License-Identifier: Apache-2.0
"""What stands in front of a gRPC server's TLS port: limits that gRPC has no setting for.

A transparent forwarder from TCP to the server's UNIX socket. It ends no TLS and holds no key; it reads what is
readable of a handshake, lets in who keeps to the limits (`admission`), and passes bytes on. It answers to nobody
before a complete ClientHello has come, and to one without TLS 1.3 with an alert of 7 bytes: nothing here can be used
to amplify.

Each of its connections to the server comes from an address of its own, by which gRPC names the peer of a call: that
is how a call's connection, its source and its identity are known to belong together.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from nvo3sec.domain.model import Rate
from nvo3sec.identity.admission import Admission, FrontLimits, Refusal, source_key
from nvo3sec.identity.allowance import Allowance, Allowances
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.client_hello import (
    PROTOCOL_VERSION_ALERT,
    HandshakeProgress,
    HelloReader,
    NotAHello,
    Stage,
    VersionTooLow,
)
from nvo3sec.identity.endings import ConnectionStage, EndedBy, Endings, stage_between
from nvo3sec.identity.errors import PeerRefused
from nvo3sec.identity.limits import Bucket
from nvo3sec.identity.live import LivePeers
from nvo3sec.identity.splice import EARLY_BYTES, Side

VERDICT_GRACE_S = 1.0
"""Between the end of an identity and the end of its connection: its calls end first, and say why."""

BACKLOG = 512
ACCEPTED_AT_ONCE = 16
"""Connections that are looked at before everything else in the loop has its turn."""
HANDSHAKE_EVERY_S = 0.003
"""Between the beginnings of two handshakes: the costliest thing that a stranger can ask for. A burst of them made calls
of those who are connected take tens of milliseconds (docs/control-plane-figures.md)."""
DESCRIPTORS_PAUSE_S = 0.2
DESCRIPTORS_PER_CONNECTION = 3
"""Its two sides here, and gRPC's."""
DESCRIPTORS_FOR_OTHERS = 256

LOG_RATE = Rate(10, 50)

_RESET = struct.pack("ii", 1, 0)


class Front:
    """The front of one gRPC server. Use `start` and `stop`; it satisfies `gate.Connections`."""

    def __init__(
        self,
        backend: Path,
        live: LivePeers,
        limits: FrontLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """backend: the UNIX socket of the gRPC server."""
        self.limits = _within_descriptors(limits or FrontLimits())
        self.backend = backend
        self.live = live
        self.clock = clock
        self.admission = Admission(self.limits)
        self.refused: Counter[Refusal] = Counter()
        """Connections that were not let in or were ended, by reason."""
        self.accepted = 0
        """Connections that were let in."""
        self.opened = 0
        """Of these, the ones that finished their handshake."""
        self.endings = Endings(clock)
        """Connections that were let in and ended without being refused."""
        self.held = 0
        """How often a connection was not read from for a while."""
        self.allowances = Allowances(self.limits.bytes, self.limits.identities_remembered)
        self._numbers = itertools.count()
        self._inside: dict[int, _Outer] = {}
        self._by_peer: dict[str, _Outer] = {}
        self._owned: Counter[str] = Counter()
        self._entering: set[asyncio.Task[None]] = set()
        self._handshaking = asyncio.Lock()
        self._next_handshake_at = float("-inf")
        self._listener: socket.socket | None = None
        self._log = structlog.get_logger("identity")
        self._log_bucket = Bucket.full(LOG_RATE, clock())

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=False)
        listener.setblocking(False)
        self._listener = listener
        loop.add_reader(listener, self._accept)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for task in list(self._entering):
            task.cancel()
        for outer in list(self._inside.values()):
            outer.stop()
        # Their connection_lost is scheduled, not yet called.
        while self._inside or self._entering:
            await asyncio.sleep(0)

    def _accept(self) -> None:
        """Take some of the connections that wait; what is not let in costs a few system calls and no objects.

        asyncio's own server takes all that wait, and makes a transport and a task for each before anybody is asked: a
        flood then holds up everything else in the loop.
        """
        for _ in range(ACCEPTED_AT_ONCE):
            if self._listener is None:
                return
            try:
                connection, name = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors, or no memory: what waits can wait until there are some.
                self.count(Refusal.DESCRIPTORS, "unknown", error.strerror or "")
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener)
                loop.call_later(DESCRIPTORS_PAUSE_S, self._resume)
                return
            address = str(name[0])
            number = next(self._numbers)
            decision = self.admission.enter(number, source_key(address), self.clock())
            if decision.displace is not None:
                self._inside[decision.displace].refuse(Refusal.DISPLACED)
            if decision.refusal is not None:
                self.count(decision.refusal, address, "")
                _reset(connection)
                connection.close()
                continue
            self.accepted += 1
            outer = self._inside[number] = _Outer(self, number, address)
            task = asyncio.get_running_loop().create_task(self._enter(outer, connection))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    def _resume(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def _enter(self, outer: _Outer, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            # asyncio does it only for sockets that name their protocol, which this one does not. Without it, what the
            # server writes in two pieces waits for the peer's delayed acknowledgement, 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: outer, connection)
        except OSError as error:
            # It has gone already.
            outer.hung_up(EndedBy.PEER, error)
            connection.close()
            self.leave(outer)
        except BaseException:
            connection.close()
            self.leave(outer)
            raise

    # --- gate.Connections -------------------------------------------------------------------------------------------

    def bind(self, peer: str, identity: Identity) -> None:
        """The connection that gRPC calls `peer` is one of `identity`, and ends with it. Raises PeerRefused."""
        outer = self._by_peer.get(peer)
        if outer is not None:
            outer.bind(identity)

    def blame(self, peer: str) -> None:
        """A call on the connection that gRPC calls `peer` was refused: who makes many is read from more slowly."""
        outer = self._by_peer.get(peer)
        if outer is not None:
            outer.blame()

    def source(self, peer: str) -> str:
        """The address that the connection comes from."""
        outer = self._by_peer.get(peer)
        return outer.address if outer is not None else peer

    # --- its connections --------------------------------------------------------------------------------------------

    def leave(self, outer: _Outer) -> None:
        """A connection has ended."""
        if self._inside.pop(outer.number, None) is not None:
            self.admission.leave(outer.number)
        self._by_peer.pop(outer.peer, None)
        if outer.owner:
            self._owned[outer.owner] -= 1
            if not self._owned[outer.owner]:
                del self._owned[outer.owner]

    def claim(self, outer: _Outer, owner: str) -> None:
        """It is known whose a connection is. One that is too many of its owner's ends."""
        self.admission.finish(outer.number)
        outer.owner = owner
        self._owned[owner] += 1
        if self._owned[owner] > self.limits.per_identity:
            outer.refuse(Refusal.PER_IDENTITY, owner)

    async def turn(self) -> None:
        """Until the next handshake may begin, in the order of asking. Who is gone meanwhile takes no turn."""
        async with self._handshaking:
            await asyncio.sleep(max(0.0, self._next_handshake_at - self.clock()))
            self._next_handshake_at = self.clock() + HANDSHAKE_EVERY_S

    def name(self, outer: _Outer) -> None:
        """A connection has a name towards gRPC."""
        self._by_peer[outer.peer] = outer

    def count(self, refusal: Refusal, address: str, detail: str) -> None:
        """Count a refusal, and log it if there are not too many."""
        self.refused[refusal] += 1
        if not self._log_bucket.take(self.clock()):
            self._log.warning("connection refused", source=address, reason=refusal.value, detail=detail)


class _Inner(Side):
    """The half towards the gRPC server."""

    def __init__(self, outer: _Outer) -> None:
        super().__init__()
        self.other = self._outer = outer

    def data_received(self, data: bytes) -> None:
        self._outer.from_server(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._outer.hung_up(EndedBy.GRPC, error)
        self._outer.close()


class _Outer(Side):
    """The half towards the network."""

    def __init__(self, front: Front, number: int, address: str) -> None:
        super().__init__()
        self.number = number
        self.address = address
        self.peer = ""
        """What gRPC calls this connection."""
        self.owner = ""
        """The device whose it is, as soon as that is known."""
        self._front = front
        self._began = front.clock()
        self._hello: HelloReader | None = HelloReader()
        self._over = False
        """It is known why this connection ends."""
        self._progress: HandshakeProgress | None = HandshakeProgress()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._identity: Identity | None = None
        self._allowance = Allowance(front.limits.bytes_unclaimed, self._began)
        self._holding: asyncio.TimerHandle | None = None
        self._live_number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._limit(self._front.limits.hello_s, Refusal.HELLO_TIMEOUT)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.hung_up(EndedBy.PEER, error)
        self._limit(None)
        if self._holding is not None:
            self._holding.cancel()
        self._front.leave(self)
        if self._live_number is not None:
            self._front.live.remove(self._live_number)
        if self._connecting is not None:
            self._connecting.cancel()
        if self.other is not None:
            self.other.close()

    def data_received(self, data: bytes) -> None:
        if self._hello is not None:
            self._read_hello(self._hello, data)
            return
        if wait := self._allowance.took(len(data), self._front.clock()):
            self._hold(wait)
        if self.other is None:
            self._keep(data)
            return
        if self._progress is not None:
            self._progress.from_client(data)
            if self._progress.stage is Stage.OPEN:
                self._open()
        self.other.write(data)

    def from_server(self, data: bytes) -> None:
        """Bytes of the server."""
        if self._progress is not None:
            self._progress.from_server(data)
        self.write(data)

    def _read_hello(self, hello: HelloReader, data: bytes) -> None:
        try:
            hello.feed(data)
        except VersionTooLow as error:
            self.write(PROTOCOL_VERSION_ALERT)
            self._front.count(Refusal.PROTOCOL_VERSION, self.address, str(error))
            self._hello = HelloReader()
            self._over = True
            self.close()
            return
        except NotAHello as error:
            self.refuse(Refusal.NOT_TLS, str(error))
            return
        if self._keep(data) and hello.complete and self.transport is not None:
            self._hello = None
            self.pause("connecting")
            self._limit(self._front.limits.handshake_s, Refusal.HANDSHAKE_TIMEOUT)
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def _keep(self, data: bytes) -> bool:
        """Bytes that come before the server's half stands; whether they may."""
        if self.keep(data):
            return True
        self.refuse(Refusal.NOT_TLS, f"more than {EARLY_BYTES} bytes before the server's first")
        return False

    async def _connect(self) -> None:
        await self._front.turn()
        # A name in the abstract space, which nobody can guess and which ends with the socket.
        name = f"nvo3sec-{secrets.token_hex(16)}"
        backend = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            backend.setblocking(False)
            backend.bind(f"\0{name}")
            self.peer = f"unix-abstract:{name}"
            loop = asyncio.get_running_loop()
            # Not for ever: if gRPC does not accept, its backlog fills.
            async with asyncio.timeout(self._front.limits.hello_s):
                await loop.sock_connect(backend, str(self._front.backend))
            self._front.name(self)
            _, inner = await loop.create_unix_connection(lambda: _Inner(self), sock=backend)
        except (OSError, TimeoutError) as error:
            backend.close()
            self.refuse(Refusal.BACKEND, type(error).__name__)
            return
        except BaseException:
            backend.close()
            raise
        self._connecting = None
        self.other = inner
        early = self.kept()
        if self._progress is not None:
            self._progress.from_client(early)
        inner.write(early)
        if self.transport is not None and not self.transport.is_closing():
            self.resume("connecting")
        else:
            inner.close()

    def _open(self) -> None:
        self._progress = None
        self._front.opened += 1
        if self._identity is None:
            self._limit(self._front.limits.claim_s, Refusal.CLAIM_TIMEOUT)
        else:
            self._limit(None)

    def bind(self, identity: Identity) -> None:
        """A call on this connection was authenticated. Raises PeerRefused."""
        if self._identity == identity:
            return
        self._live_number = self._front.live.add(identity, self._end_of_identity)
        self._identity = identity
        self._front.claim(self, str(identity))
        # By device: neither more connections nor a renewal make it more.
        self._allowance = self._front.allowances.of(str(identity), self._front.clock())
        if self._progress is None:
            self._limit(None)

    def blame(self) -> None:
        """A call on this connection was refused: what else its peer has to say can wait."""
        self._hold(self._allowance.blame(self._front.limits.blame_s, self._front.clock()))

    def _hold(self, seconds: float) -> None:
        if self._holding is None:
            self.pause("holding")
            self._front.held += 1
            self._holding = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._holding = None
        if wait := self._allowance.took(0, self._front.clock()):
            self._hold(wait)
        else:
            self.resume("holding")

    def _end_of_identity(self, verdict: PeerRefused) -> None:
        asyncio.get_running_loop().call_later(VERDICT_GRACE_S, self.refuse, Refusal.IDENTITY, verdict.reason.value)

    def hung_up(self, by: EndedBy, error: Exception | None) -> None:
        """It ended, and was not refused. What follows from that is not said."""
        if not self._over:
            self._over = True
            stage = ConnectionStage.CONNECTING if self._hello is not None else stage_between(self._progress)
            self._front.endings.tell(stage, by, error, source=self.address, identity=self.owner)

    def stop(self) -> None:
        """The front stops, which is nobody's fault."""
        self._over = True
        self.abort()

    def refuse(self, refusal: Refusal, detail: str = "") -> None:
        """End this connection at once, without a word: a reset keeps no state here."""
        if self.transport is None or self.transport.is_closing():
            return
        self._over = True
        self._front.count(refusal, self.address, detail)
        _reset(self.transport.get_extra_info("socket"))
        self.transport.abort()

    def _limit(self, seconds: float | None, refusal: Refusal = Refusal.HANDSHAKE_TIMEOUT) -> None:
        """This much time from the beginning of the connection, or no limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            left = max(0.0, self._began + seconds - self._front.clock())
            self._timer = asyncio.get_running_loop().call_later(left, self.refuse, refusal)


def _reset(connection: socket.socket) -> None:
    """Closing it sends a reset, and leaves no state behind."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _within_descriptors(limits: FrontLimits) -> FrontLimits:
    """As many connections as there can be files: without any left, nobody at all would be let in."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    possible = max(1, (soft - DESCRIPTORS_FOR_OTHERS) // DESCRIPTORS_PER_CONNECTION)
    if limits.total <= possible:
        return limits
    structlog.get_logger("identity").warning(
        "fewer connections than configured: raise the limit of open files", configured=limits.total, possible=possible
    )
    return replace(limits, total=possible, unfinished=min(limits.unfinished, possible))
