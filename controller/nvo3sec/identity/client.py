# SPDX-License-Identifier: Apache-2.0
"""A gRPC channel to exactly one peer, over mutual TLS 1.3.

grpcio's own TLS channels can neither be held to TLS 1.3 by a setting, nor say which certificate the server showed: a
revoked NVA could not be told from a good one. So TLS is ended here, by the ssl module of Python (OpenSSL), and gRPC
speaks to it through a UNIX socket that only this process can use: in a directory of mode 0700, and the kernel is
asked for the process at its other end. Every connection uses the credentials of its moment and ends when the peer's
identity does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
import structlog

from nvo3sec.identity.certificate import Identity, Purpose, identity_of, parse_der
from nvo3sec.identity.device import Credentials, Device
from nvo3sec.identity.errors import CredentialsError, IdentityError, PeerRefused, PeerUnreachable, Reason
from nvo3sec.identity.front.endings import (
    WHO,
    Attempts,
    ConnectionStage,
    EndedBy,
    ended_by,
    may_be_of_our_certificate,
    said_of,
)
from nvo3sec.identity.front.scratch import ScratchDirectory
from nvo3sec.identity.front.splice import EARLY_BYTES, Side
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import DeviceName, Role

SERVES = {
    Role.NVA: frozenset({Role.NVE, Role.OPERATOR, Role.NVA}),
    Role.NVE: frozenset({Role.HYPERVISOR}),
}
"""Who connects to whom, as {role of the server: roles of its clients}. Nobody connects to anybody else."""

CONNECT_S = 10.0
MESSAGE_BYTES = 4 << 20

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # How long one attempt may take, whatever its name says. The connection to the UNIX socket stands at once, so that
    # what gRPC waits for is the peer's first frame.
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_S * 1000) + 2000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user, group (unix(7))."""


class PeerChannel:
    """A channel to `expected` at (host, port): `channel` is for gRPC stubs, after `start`; `close` ends it."""

    def __init__(
        self,
        device: Device,
        live: LivePeers,
        expected: DeviceName,
        host: str,
        port: int,
        attempts: Attempts | None = None,
    ) -> None:
        """device: loaded for Purpose.CLIENT. attempts: with those of earlier channels to the same peer.

        Raises CredentialsError if it has no business with `expected`.
        """
        if device.purpose is not Purpose.CLIENT:
            raise CredentialsError(f"{device.identity}: its credentials were not loaded for a client")
        if device.identity.role not in SERVES.get(expected.role, frozenset()):
            raise CredentialsError(f"{device.identity} does not connect to a device of role {expected.role.value}")
        if expected.domain != device.domain:
            raise CredentialsError(f"{expected.uri} is not of the domain {device.domain}")
        self.expected = expected
        self.channel: grpc.aio.Channel | None = None
        self.peer: Identity | None = None
        """Who is at the other end now; None while there is no connection."""
        self.closed = False
        """Whatever gRPC still opens is not wanted any more."""
        self.last_error: IdentityError | None = None
        """Why the last attempt failed or the last connection ended; None once one has succeeded."""
        self._device = device
        self._live = live
        self._host = host
        self._port = port
        self._scratch: ScratchDirectory | None = None
        self._directory: Path | None = None
        self._server: asyncio.Server | None = None
        self._local: set[_Local] = set()
        self._failed = asyncio.Event()
        self._attempts = attempts or Attempts()
        self._log = structlog.get_logger("identity").bind(peer=str(expected), address=f"{host}:{port}")

    async def start(self) -> grpc.aio.Channel:
        """Make the channel; it connects when it is used. Raises OSError."""
        await self._live.start()
        self._scratch = ScratchDirectory()
        self._directory = self._scratch.path
        path = self._directory / "peer"
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Local(self), str(path))
        self.channel = grpc.aio.insecure_channel(
            f"unix:{path}", options=[*_OPTIONS, ("grpc.default_authority", self.expected.dns)]
        )
        return self.channel

    async def ready(self, timeout_s: float = CONNECT_S) -> Identity:
        """Connect; returns who is at the other end. Raises PeerRefused, PeerUnreachable once an attempt has failed."""
        if self.channel is None:
            raise PeerUnreachable(f"{self.expected}: the channel is closed")
        self._failed.clear()
        connected = asyncio.ensure_future(self.channel.channel_ready())
        failed = asyncio.create_task(self._failed.wait())
        try:
            await asyncio.wait({connected, failed}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if connected.done() and self.peer is not None:
                return self.peer
            stages = ", ".join(sorted({local.stage for local in self._local})) or ConnectionStage.CONNECTING
            raise self.last_error or PeerUnreachable(f"{self.expected}: {stages}: no connection within {timeout_s:g} s")
        finally:
            for task in (connected, failed):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, grpc.aio.UsageError):
                    await task

    async def close(self) -> None:
        """Close the channel and its connections."""
        if self.channel is None:
            return
        self.closed = True
        await self.channel.close()
        self.channel = None
        if self._server is not None:
            # A server that is closed forgets a connection that it has just accepted: nobody would ever close that one.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            try:
                await asyncio.sleep(0)
            finally:
                self._server.close()
        for local in list(self._local):
            local.abort()
        while self._local:
            await asyncio.sleep(0)
        if self._server is not None:
            await self._server.wait_closed()
        if self._scratch is not None:
            self._scratch.close()
        await self._live.stop()

    # --- connections ------------------------------------------------------------------------------------------------

    def entered(self, local: _Local) -> None:
        """gRPC has opened a connection."""
        self._local.add(local)

    def left(self, local: _Local) -> None:
        """It has ended."""
        self._local.discard(local)
        if not any(one.answered for one in self._local):
            self.peer = None

    def failed(self, error: IdentityError, stage: ConnectionStage) -> None:
        """An attempt has failed, or a connection was ended because of what its peer is."""
        self.last_error = error
        self._failed.set()
        reason = error.reason.value if isinstance(error, PeerRefused) else "unreachable"
        self._attempts.failed(self._log, stage, reason, self.told(error))

    def told(self, error: Exception) -> str:
        """An error for people: the peer first, and how far the connection had got, each once."""
        if not isinstance(error, PeerRefused):
            text = str(error)
        elif error.reason is Reason.HANDSHAKE:
            text = error.detail  # the stage says it
        else:
            text = f"{error.reason.value}: {error.detail.removeprefix(f'{self.expected}: ')}"
        return f"{self.expected}: {text.removeprefix(f'{self.expected}: ')}"

    def ended(self, error: PeerUnreachable, by: EndedBy) -> None:
        """A connection that stood has ended. Whether that is a fault is for those who used it to say."""
        self.last_error = error
        self._log.info("connection ended", stage=ConnectionStage.SESSION.value, by=by.value, detail=str(error))

    def established(self, identity: Identity) -> None:
        """A connection stands."""
        self.peer = identity
        self.last_error = None
        self._attempts.succeeded(self._log)

    async def connect(self, local: _Local) -> _Remote:
        """A TLS connection to the peer, its handshake done. Raises PeerRefused, PeerUnreachable, CredentialsError."""
        context = client_context(self._device.current())
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await _tcp(self._host, self._port)
                local.stage = ConnectionStage.TLS_HANDSHAKE
                _, remote = await asyncio.get_running_loop().create_connection(
                    lambda: _Remote(local), sock=connection, ssl=context, server_hostname=self.expected.dns
                )
                local.stage = ConnectionStage.CERTIFICATE_CHECK
        except ssl.SSLCertVerificationError as error:
            local.stage = ConnectionStage.CERTIFICATE_CHECK
            raise PeerRefused(Reason.HANDSHAKE, f"{self.where(local.stage)}: {error.verify_message}") from None
        except ssl.SSLError as error:
            who = WHO[ended_by(error)]
            raise PeerRefused(
                Reason.HANDSHAKE, f"{self.where(local.stage)}: {who} ended the connection ({said_of(error)})"
            ) from None
        except TimeoutError:
            raise PeerUnreachable(f"{self.where(local.stage)}: no answer within {CONNECT_S:g} s") from None
        except OSError as error:
            said = said_of(error)
            if local.stage is not ConnectionStage.CONNECTING:
                said = f"the peer ended the connection ({said})"
            raise PeerUnreachable(f"{self.where(local.stage)}: {said}") from None
        return remote

    def where(self, stage: ConnectionStage) -> str:
        """How messages about a connection begin."""
        return f"{self.expected}: {stage.value}"

    def identify(self, tls: ssl.SSLObject) -> Identity:
        """Who is at the other end of a connection, if it is who it must be. Raises PeerRefused."""
        where = self.where(ConnectionStage.CERTIFICATE_CHECK)
        if tls.version() != "TLSv1.3":
            raise PeerRefused(Reason.PROTOCOL_VERSION, f"{where}: {tls.version()}")
        if tls.selected_alpn_protocol() != "h2":
            raise PeerRefused(Reason.HANDSHAKE, f"{where}: the peer does not speak HTTP/2")
        identity = identity_of(parse_der(tls.getpeercert(True) or b""), self._device.domain, Purpose.SERVER)
        if identity.device != self.expected:
            raise PeerRefused(Reason.UNEXPECTED_PEER, f"the peer is {identity}, not {self.expected}")
        return identity

    def track(self, identity: Identity, close: Callable[[PeerRefused], None]) -> int:
        """End the connection with its peer's identity. Raises PeerRefused."""
        return self._live.add(identity, close)

    def untrack(self, number: int) -> None:
        """It has ended."""
        self._live.remove(number)


class _Remote(Side):
    """The half towards the peer."""

    def __init__(self, local: _Local) -> None:
        super().__init__()
        self.other = self._local = local

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # What comes with the end of the handshake is of somebody whom nobody has looked at yet.
        self.pause("connecting")
        self._local.other = self

    def close(self) -> None:
        # TLS would wait for the peer's goodbye, which gRPC's never says. Ours is of no use: HTTP/2 has its own.
        if self.transport is not None and not self.transport.get_write_buffer_size():
            self.abort()
        else:
            super().close()

    def data_received(self, data: bytes) -> None:
        if self._local.joined:
            self._local.from_peer(data)
        elif not self.keep(data):
            self._local.end(
                PeerRefused(
                    Reason.HANDSHAKE,
                    f"the peer sent more than {EARLY_BYTES} bytes before it was known who it is",
                )
            )

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._local.remote_lost(error)


class _Local(Side):
    """The half towards gRPC in this process."""

    def __init__(self, owner: PeerChannel) -> None:
        super().__init__()
        self.identity: Identity | None = None
        self.stage = ConnectionStage.CONNECTING
        self.joined = False
        """Whether it is known who the peer is: before that, nothing is passed on in either direction."""
        self._owner = owner
        self._connecting: asyncio.Task[None] | None = None
        self._number: int | None = None
        self._answered = False
        self._ended = False
        """It is known why this connection ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._owner.closed or _process_at_other_end(transport.get_extra_info("socket")) != os.getpid():
            self._ended = True
            cast(asyncio.Transport, transport).abort()
            return
        self._owner.entered(self)
        self.pause("connecting")
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            remote = await self._owner.connect(self)
        except IdentityError as error:
            self.end(error)
            return
        if remote.transport is None or self.transport is None or self.transport.is_closing():
            remote.abort()
            return
        try:
            identity = self._owner.identify(remote.transport.get_extra_info("ssl_object"))
            self._number = self._owner.track(identity, self.end)
        except PeerRefused as error:
            self.end(error)
            return
        self.identity = identity
        self._join(remote)

    def _join(self, remote: _Remote) -> None:
        self.joined = True
        self.stage = ConnectionStage.SPLICE
        if early := self.kept():
            remote.write(early)
        if early := remote.kept():
            self.from_peer(early)
        self.resume("connecting")
        remote.resume("connecting")

    def end(self, verdict: IdentityError) -> None:
        """It ends for a reason that is known here."""
        self._ended = True
        self._owner.failed(verdict, self.stage)
        if self.other is not None:
            self.other.abort()
        self.abort()

    @property
    def answered(self) -> bool:
        """Whether the peer has accepted us."""
        return self._answered

    def data_received(self, data: bytes) -> None:
        if self.joined and self.other is not None:
            self.other.write(data)
        elif not self.keep(data):
            self.end(
                PeerUnreachable(
                    f"{self._owner.where(self.stage)}: gRPC in this process sent more than {EARLY_BYTES} bytes"
                )
            )

    def from_peer(self, data: bytes) -> None:
        """Bytes of the peer. With the first ones it has accepted us: a server of HTTP/2 speaks at once."""
        if not self._answered and self.identity is not None:
            self._answered = True
            self.stage = ConnectionStage.SESSION
            self._owner.established(self.identity)
        self.write(data)

    def remote_lost(self, error: Exception | None) -> None:
        """The peer's half has ended."""
        self._hung_up(ended_by(error), error)
        self.close()

    def _hung_up(self, by: EndedBy, error: Exception | None) -> None:
        """One side has ended it. What follows from that is not said."""
        if self._ended:
            return
        self._ended = True
        said = f"{self._owner.where(self.stage)}: {WHO[by]} ended the connection ({said_of(error)})"
        if self.stage is ConnectionStage.SESSION:
            self._owner.ended(PeerUnreachable(said), by)
        elif self.stage is ConnectionStage.SPLICE and by is EndedBy.PEER and may_be_of_our_certificate(error):
            # In TLS 1.3 a server looks at our certificate after our side of the handshake, and gRPC's says nothing.
            self._owner.failed(PeerRefused(Reason.HANDSHAKE, f"{said}; does it take our certificate?"), self.stage)
        else:
            self._owner.failed(PeerUnreachable(said), self.stage)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self._owner.closed:
            self._hung_up(EndedBy.GRPC, error)
        self._ended = True
        self._owner.left(self)
        if self._number is not None:
            self._owner.untrack(self._number)
        if self._connecting is not None:
            self._connecting.cancel()
        if self.other is not None:
            self.other.close()


async def _tcp(host: str, port: int) -> socket.socket:
    """A connection to one of the addresses of `host`, tried in their order. Raises OSError, that of the last."""
    loop = asyncio.get_running_loop()
    failed = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:
            failed = error
            continue
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failed = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failed


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """TLS 1.3 only, the peer's chain and exact name verified, our certificate shown. Raises CredentialsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["h2"])
    # The ssl module takes keys from files only. This one is in memory, and has no name.
    descriptor = os.memfd_create("credentials", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(credentials.key_pem.reveal() + credentials.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        context.load_verify_locations(cadata=credentials.anchors_pem.decode("ascii"))
    except (ssl.SSLError, OSError, UnicodeDecodeError):
        raise CredentialsError(f"{credentials.identity}: its credentials cannot be loaded for TLS") from None
    finally:
        os.close(descriptor)
    return context


def _process_at_other_end(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process: int = _CREDENTIALS.unpack(raw)[0]
    return process
