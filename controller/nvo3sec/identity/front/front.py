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
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import structlog

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.errors import Reason
from nvo3sec.identity.front.admission import Admission, FrontLimits, Refusal
from nvo3sec.identity.front.allowance import Allowances
from nvo3sec.identity.front.connection import Outer, reset
from nvo3sec.identity.front.crowd import source_path
from nvo3sec.identity.front.endings import EndedBy, Endings
from nvo3sec.identity.front.known import KnownSources, Memory
from nvo3sec.identity.front.turns import Turns
from nvo3sec.identity.gate.limits import Bucket
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import Role
from nvo3sec.system.uptime import uptime_s

BACKLOG = 4096
"""As most systems allow: who waits here costs the kernel a little, and whoever finds no place tries again a second
later."""
ACCEPTED_AT_ONCE = 16
"""Connections that are looked at before everything else in the loop has its turn."""
ADMITTED_AT_ONCE = 4
"""Of these, so many are let in: that costs several times what a refusal does."""
LAST_WORD_S = 1.0
"""How long a connection may take to bring the last that gRPC has said to its peer, once everything stops."""
DESCRIPTORS_PAUSE_S = 0.2
DESCRIPTORS_PER_CONNECTION = 3
"""Its two sides here, and gRPC's."""
DESCRIPTORS_FOR_OTHERS = 256

LOG_RATE = Rate(10, 50)


class Front:
    """The front of one gRPC server. Use `start` and `stop`; it satisfies `gate.Connections`."""

    def __init__(
        self,
        backend: Path,
        live: LivePeers,
        limits: FrontLimits | None = None,
        *,
        remember: Path | None = None,
        roles: Collection[Role] = tuple(Role),
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        """backend: the UNIX socket of the gRPC server.

        remember: a file for where devices of `roles` were authenticated, so that they have a reserve after a restart.
        """
        self.limits = _within_descriptors(limits or FrontLimits())
        self.backend = backend
        self.live = live
        self.clock = clock
        self.admission = Admission(self.limits)
        self.memory = Memory(KnownSources(self.limits.known, self.limits.known_s), remember)
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
        self._inside: dict[int, Outer] = {}
        self._by_peer: dict[str, Outer] = {}
        self._owned: Counter[str] = Counter()
        self._entering: set[asyncio.Task[None]] = set()
        self._roles = frozenset(roles)
        self._turns = Turns(clock)
        self._remembering: asyncio.Task[None] | None = None
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
        self.memory.begin()
        self._remembering = asyncio.create_task(self.memory.keep(self._connected), name="known sources")
        loop.add_reader(listener, self._accept)
        return int(listener.getsockname()[1])

    @property
    def is_listening(self) -> bool:
        """Whether somebody new is let in."""
        return self._listener is not None

    def close(self) -> None:
        """Let nobody in any more, before the gRPC server stops: there is nothing behind this front from then on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        self.close()
        if self._remembering is None:
            return
        self._remembering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._remembering
        self._remembering = None
        await self.memory.write()
        for task in list(self._entering):
            task.cancel()
        for outer in self._through(connected=False):
            outer.stop()
        # gRPC has ended the others, if it has stopped: what it said last is still on its way through here.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                while self._through(connected=True):
                    await asyncio.sleep(LAST_WORD_S / 100)
        for outer in list(self._inside.values()):
            outer.stop()
        # Their connection_lost is scheduled, not yet called.
        while self._inside or self._entering:
            await asyncio.sleep(0)

    def _through(self, *, connected: bool) -> list[Outer]:
        """Connections that have the server's half, or that have not."""
        return [outer for outer in self._inside.values() if (outer.other is not None) == connected]

    def _accept(self) -> None:
        """Take some of the connections that wait; what is not let in costs a few system calls and no objects.

        asyncio's own server takes all that wait, and makes a transport and a task for each before anybody is asked: a
        flood then holds up everything else in the loop.
        """
        admitted = 0
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
            path = source_path(address)
            known = path[-1] in self.memory.known
            decision = self.admission.enter(number, path, self.clock(), known=known)
            for other, why in decision.displaced:
                self._inside[other].refuse(why)
            if decision.refusal is not None:
                self.count(decision.refusal, address, "")
                reset(connection)
                connection.close()
                continue
            self.accepted += 1
            outer = self._inside[number] = Outer(self, number, address, path)
            task = asyncio.get_running_loop().create_task(self._enter(outer, connection))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)
            admitted += 1
            if admitted == ADMITTED_AT_ONCE:
                return

    def _resume(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def _enter(self, outer: Outer, connection: socket.socket) -> None:
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

    def leave(self, outer: Outer) -> None:
        """A connection has ended."""
        if self._inside.pop(outer.number, None) is not None:
            self.admission.leave(outer.number)
        self._by_peer.pop(outer.peer, None)
        if outer.owner:
            self._owned[outer.owner] -= 1
            if not self._owned[outer.owner]:
                del self._owned[outer.owner]

    def claim(self, outer: Outer, identity: Identity) -> None:
        """It is known whose a connection is. One that is too many of its owner's ends."""
        self.admission.finish(outer.number)
        outer.owner = owner = str(identity)
        outer.remembered = identity.role in self._roles
        if outer.remembered:
            self.memory.see(owner, outer.path[-1])
        self._owned[owner] += 1
        if self._owned[owner] > self.limits.per_identity:
            outer.refuse(Refusal.PER_IDENTITY, owner)

    async def turn(self, outer: Outer) -> bool:
        """Until the handshake of a connection may begin; False if others need its place more."""
        await self._turns.take(outer.number, outer.path, known=self.admission.is_known(outer.number))
        victim = self.admission.begin_handshake(outer.number)
        if victim is not None:
            self._inside[victim].refuse(Refusal.HANDSHAKES)
        return victim != outer.number

    def ended(self, outer: Outer, reason: Reason) -> None:
        """The identity of a connection has ended: who is revoked has no reserve any more."""
        if reason is Reason.REVOKED:
            self.memory.known.forget(outer.owner)

    def _connected(self) -> Iterator[tuple[str, str]]:
        """Whose connections there are, and from where."""
        return ((one.owner, one.path[-1]) for one in self._inside.values() if one.owner and one.remembered)

    def name(self, outer: Outer) -> None:
        """A connection has a name towards gRPC."""
        self._by_peer[outer.peer] = outer

    def count(self, refusal: Refusal, address: str, detail: str) -> None:
        """Count a refusal, and log it if there are not too many. That a server stops is nothing to be warned of."""
        self.refused[refusal] += 1
        if not self._log_bucket.take(self.clock()):
            log = self._log.info if refusal is Refusal.STOPPING else self._log.warning
            log("connection refused", source=address, reason=refusal.value, detail=detail)


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
    return limits.within(possible)
