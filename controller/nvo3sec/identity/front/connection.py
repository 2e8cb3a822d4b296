# SPDX-License-Identifier: Apache-2.0
"""One connection through the front: a half towards the network, and one towards the gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Protocol

from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.front.admission import FrontLimits, Refusal
from nvo3sec.identity.front.allowance import Allowance, Allowances
from nvo3sec.identity.front.client_hello import (
    PROTOCOL_VERSION_ALERT,
    HandshakeProgress,
    HelloReader,
    NotAHello,
    Stage,
    VersionTooLow,
)
from nvo3sec.identity.front.crowd import Path
from nvo3sec.identity.front.endings import ConnectionStage, EndedBy, Endings, stage_between
from nvo3sec.identity.front.splice import EARLY_BYTES, Side
from nvo3sec.identity.live_peers import LivePeers

VERDICT_GRACE_S = 1.0
"""Between the end of an identity and the end of its connection: its calls end first, and say why."""

_RESET = struct.pack("ii", 1, 0)


def reset(connection: socket.socket) -> None:
    """Closing it sends a reset, and leaves no state behind."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Doorkeeper(Protocol):
    """What a connection asks of the front that let it in, and tells it. `front.Front` is one."""

    limits: FrontLimits
    backend: FilePath
    live: LivePeers
    clock: Callable[[], float]
    endings: Endings
    allowances: Allowances
    opened: int
    held: int

    @property
    def is_listening(self) -> bool: ...
    def leave(self, outer: Outer) -> None: ...
    def claim(self, outer: Outer, identity: Identity) -> None: ...
    async def turn(self, outer: Outer) -> bool: ...
    def ended(self, outer: Outer, reason: Reason) -> None: ...
    def name(self, outer: Outer) -> None: ...
    def count(self, refusal: Refusal, address: str, detail: str) -> None: ...


class Inner(Side):
    """The half towards the gRPC server."""

    def __init__(self, outer: Outer) -> None:
        super().__init__()
        self.other = self._outer = outer

    def data_received(self, data: bytes) -> None:
        self._outer.from_server(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._outer.hung_up(EndedBy.GRPC, error)
        self._outer.close()


class Outer(Side):
    """The half towards the network."""

    def __init__(self, front: Doorkeeper, number: int, address: str, path: Path) -> None:
        """path: of `address`."""
        super().__init__()
        self.number = number
        self.address = address
        self.path = path
        self.peer = ""
        """What gRPC calls this connection."""
        self.owner = ""
        """The device whose it is, as soon as that is known."""
        self.remembered = False
        """It is one of a device whose addresses have a reserve."""
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
        self._condemned: tuple[Refusal, str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._condemned is not None:
            self.refuse(*self._condemned)
            return
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
        if not await self._front.turn(self):
            return
        if not self._front.is_listening:
            self.refuse(Refusal.STOPPING)
            return
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
            _, inner = await loop.create_unix_connection(lambda: Inner(self), sock=backend)
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
        self._front.claim(self, identity)
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
        self._front.ended(self, verdict.reason)
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
        if self.transport is None:
            self._condemned = (refusal, detail)  # accepted, but not made yet
            return
        if self.transport.is_closing():
            return
        self._over = True
        self._front.count(refusal, self.address, detail)
        reset(self.transport.get_extra_info("socket"))
        self.transport.abort()

    def _limit(self, seconds: float | None, refusal: Refusal = Refusal.HANDSHAKE_TIMEOUT) -> None:
        """This much time from the beginning of the connection, or no limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            left = max(0.0, self._began + seconds - self._front.clock())
            self._timer = asyncio.get_running_loop().call_later(left, self.refuse, refusal)
