# SPDX-License-Identifier: Apache-2.0
"""What a client demands of its peer: exactly one device, alive, over TLS 1.3. Impostors with real certificates."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import subprocess
import sys
import types
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from identity_world import (
    DOMAIN,
    ECHO,
    SESSION,
    FakeClock,
    ForeignAuthority,
    World,
    call,
    connected,
    key_pem,
    make_key,
    method,
    pem,
    run,
    san,
    serving,
    until,
)
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.client import SERVES, PeerChannel
from nvo3sec.identity.device import DeviceFiles
from nvo3sec.identity.errors import CredentialsError, IdentityError, PeerRefused, PeerUnreachable, Reason
from nvo3sec.identity.names import DeviceName, Role

NVA1 = DeviceName(DOMAIN, Role.NVA, "nva1")


@contextlib.asynccontextmanager
async def impostor(
    files: DeviceFiles, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, protocols: tuple[str, ...] = ("h2",)
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A TLS server with whatever certificate; gives its port, and what clients said to it after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.maximum_version = highest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    heard: list[bytes] = []
    connections: list[socket.socket] = []
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve(connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            transport, _ = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), connection, ssl=context
            )
            try:
                while data := await reader.read(65536):
                    heard.append(data)
            finally:
                transport.abort()

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connections.append(connection)
            tasks.append(loop.create_task(serve(connection)))

    accepting = loop.create_task(accept())
    try:
        yield listener.getsockname()[1], heard
    finally:
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A task that was cancelled before it began has not taken its connection.
        for task, connection in zip(tasks, connections, strict=True):
            if task.cancelled():
                connection.close()
        await until(lambda: all(connection.fileno() == -1 for connection in connections))


def refused(world: World, files: DeviceFiles, reason: Reason, **options: object) -> None:
    """A client that wants nva1 does not talk to the holder of `files`: not a byte of a call reaches it."""

    async def go() -> None:
        device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
        async with impostor(files, **options) as (port, heard):
            peer = PeerChannel(device, world.live(), NVA1, "127.0.0.1", port)
            await peer.start()
            with pytest.raises(IdentityError) as caught:
                await peer.ready()
            # A server that knows no TLS 1.3 may also just reset the connection.
            assert isinstance(caught.value, PeerRefused) or options["highest"] is ssl.TLSVersion.TLSv1_2
            assert getattr(caught.value, "reason", reason) is reason
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call(peer.channel, ECHO, {"secret": 1}, timeout_s=1)
            assert failed.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            assert peer.peer is None
            await peer.close()
            assert heard == []

    run(go())


class TestImpostors:
    def test_an_nve(self, world: World):
        refused(world, world.issue(Role.NVE, "nva1"), Reason.HANDSHAKE)

    def test_another_nva(self, world: World):
        refused(world, world.issue(Role.NVA, "nva2"), Reason.HANDSHAKE)

    def test_a_foreign_authority(self, world: World):
        refused(world, world.store(*ForeignAuthority().device(NVA1), "x"), Reason.HANDSHAKE)

    def test_expired(self, world: World):
        certificate = world.signing().device(NVA1, begins=timedelta(hours=-2), ends=timedelta(hours=-1))
        refused(world, world.store(*certificate, "x"), Reason.HANDSHAKE)

    def test_not_yet_valid(self, world: World):
        certificate = world.signing().device(NVA1, begins=timedelta(hours=1), ends=timedelta(hours=2))
        refused(world, world.store(*certificate, "x"), Reason.HANDSHAKE)

    def test_revoked(self, world: World):
        files = world.issue(Role.NVA, "nva1")
        world.authority.revoke(NVA1)
        refused(world, files, Reason.REVOKED)

    def test_not_for_servers(self, world: World):
        certificate = world.signing().device(NVA1, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        refused(world, world.store(*certificate, "x"), Reason.HANDSHAKE)

    def test_no_purpose(self, world: World):
        certificate = world.signing().device(NVA1, purposes=None)
        refused(world, world.store(*certificate, "x"), Reason.EXTENDED_KEY_USAGE)

    def test_a_wildcard(self, world: World):
        certificate = world.signing().device(NVA1, names=san(NVA1.uri, f"*.nva.{DOMAIN}"))
        refused(world, world.store(*certificate, "x"), Reason.URI_DNS_DISAGREE)

    def test_an_nve_with_the_dns_name_of_the_nva(self, world: World):
        nve = DeviceName(DOMAIN, Role.NVE, "leaf3")
        certificate = world.signing().device(nve, names=san(nve.uri, NVA1.dns))
        refused(world, world.store(*certificate, "x"), Reason.URI_DNS_DISAGREE)

    def test_the_name_in_the_subject_only(self, world: World):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NVA1.dns)])
        key = make_key()
        certificate = world.signing().sign(subject, key, names=())
        refused(world, world.store(certificate, key, "x"), Reason.HANDSHAKE)

    def test_tls12(self, world: World):
        refused(world, world.issue(Role.NVA, "nva1"), Reason.HANDSHAKE, highest=ssl.TLSVersion.TLSv1_2)

    def test_not_http2(self, world: World):
        refused(world, world.issue(Role.NVA, "nva1"), Reason.HANDSHAKE, protocols=())

    def test_nobody_there(self, world: World):
        async def go() -> None:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
                peer = PeerChannel(device, world.live(), NVA1, "127.0.0.1", unused.getsockname()[1])
                await peer.start()
                with pytest.raises(PeerUnreachable):
                    await peer.ready()
                await peer.close()

        run(go())


class TestRoles:
    def test_every_pair(self, world: World):
        live = world.live()
        for client in Role:
            device = world.device(world.issue(client, "client"), Purpose.CLIENT)
            for server in Role:
                expected = world.name(server, "server")
                if client in SERVES.get(server, ()):
                    PeerChannel(device, live, expected, "127.0.0.1", 1)
                else:
                    with pytest.raises(CredentialsError):
                        PeerChannel(device, live, expected, "127.0.0.1", 1)
        pairs = {(client.value, server.value) for server, clients in SERVES.items() for client in clients}
        assert pairs == {("nve", "nva"), ("operator", "nva"), ("nva", "nva"), ("hypervisor", "nve")}

    def test_of_another_domain(self, world: World):
        device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
        with pytest.raises(CredentialsError):
            PeerChannel(device, world.live(), DeviceName("other.example", Role.NVA, "nva1"), "127.0.0.1", 1)

    def test_credentials_of_a_server_are_not_used_by_mistake(self, world: World):
        device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.SERVER)
        with pytest.raises(CredentialsError):
            PeerChannel(device, world.live(), NVA1, "127.0.0.1", 1)


class TestLife:
    @pytest.mark.parametrize("rounds", range(5))
    def test_a_connection_that_comes_with_the_end_is_closed(self, world: World, monkeypatch, rounds: int):
        """Whatever asyncio has done for it by then: nothing of it is left to be found later."""

        async def go() -> None:
            device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
            peer = PeerChannel(device, world.live(), NVA1, "127.0.0.1", 1)
            channel = await peer.start()

            async def at_once() -> None:
                pass

            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(peer._directory / "peer"))
                monkeypatch.setattr(peer, "channel", types.SimpleNamespace(close=at_once))
                for _ in range(rounds):
                    await asyncio.sleep(0)
                await peer.close()
            await channel.close()
            gc.collect()

        run(go())

    def test_who_is_at_the_other_end(self, world: World):
        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                assert (await peer.ready()).device == NVA1
                assert peer.peer is not None
                await call(peer.channel, ECHO, {})

        run(go())

    def test_what_it_says_does_not_wait_for_an_acknowledgement(self, world: World):
        """asyncio turns Nagle's algorithm off only where a socket names its protocol."""

        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                await peer.ready()
                [local] = peer._local
                connection = local.other.transport.get_extra_info("socket")
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

        run(go())

    def test_what_the_server_says_against_our_certificate_is_told(self, world: World):
        """In TLS 1.3 the server's refusal comes after our side of the handshake."""

        async def go() -> None:
            async with serving(world) as running:
                foreign = ForeignAuthority()
                anchors = world.authority.anchors_file.read_bytes() + pem(foreign.certificate)
                files = world.store(*foreign.device(world.name(Role.NVE, "leaf1")), "x", anchors)
                async with connected(running, files) as peer:
                    with pytest.raises(PeerRefused, match="does it take our certificate"):
                        await peer.ready()
                    assert peer.peer is None

        run(go())

    def test_a_revoked_peer_is_left_within_seconds(self, world: World):
        """The stolen key of an NVA: whoever holds it loses its clients, and gets none."""

        async def go() -> None:
            # The server does not know of the revocation, as an attacker's would not.
            stale = World.live(world)
            stale._revocations.refresh = lambda: False  # type: ignore[method-assign]
            async with serving(world, live=stale) as running:
                device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
                peer = PeerChannel(device, world.live(), NVA1, "127.0.0.1", running.port)
                await peer.start()
                stream = method(peer.channel, SESSION, "stream_stream")()
                assert await stream.read()
                world.authority.revoke(NVA1)
                with pytest.raises(grpc.aio.AioRpcError):
                    await stream.read()
                assert isinstance(peer.last_error, PeerRefused)
                assert peer.last_error.reason is Reason.REVOKED
                with pytest.raises(PeerRefused):
                    await peer.ready()
                await peer.close()

        run(go())

    def test_an_expired_peer_is_left(self, tmp_path: Path):
        world, clock = World(tmp_path), FakeClock()

        async def go() -> None:
            async with serving(world) as running:
                device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
                peer = PeerChannel(device, world.live(clock=clock), NVA1, "127.0.0.1", running.port)
                await peer.start()
                stream = method(peer.channel, SESSION, "stream_stream")()
                assert await stream.read()
                clock.advance(hours=25)
                with pytest.raises(grpc.aio.AioRpcError):
                    await stream.read()
                await peer.close()

        run(go())

    def test_it_connects_again_when_the_server_is_back(self, world: World):
        async def go() -> None:
            files = world.issue(Role.NVA, "nva1")
            async with (
                serving(world, device=world.device(files, Purpose.SERVER)) as running,
                connected(running, world.issue(Role.NVE, "leaf1")) as peer,
            ):
                await call(peer.channel, ECHO, {"vnis": [10]})
                # Every connection is cut.
                for outer in list(running.server.front._inside.values()):
                    outer.abort()
                await until(lambda: peer.peer is None)
                await peer.ready()
                await call(peer.channel, ECHO, {"vnis": [10]})

        run(go())

    def test_another_process_cannot_use_the_channel(self, world: World):
        """Even of the same user, who could enter the directory."""

        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                await peer.ready()
                assert peer._directory is not None
                assert peer._directory.stat().st_mode & 0o777 == 0o700
                script = (
                    "import socket, sys\n"
                    "s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1])\n"
                    "try:\n    s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'); data = s.recv(100)\n"
                    "except ConnectionError:\n    data = b''\n"
                    "sys.exit(len(data))"
                )
                thief = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", script, str(peer._directory / "peer"), stdin=subprocess.DEVNULL
                )
                assert await thief.wait() == 0
                assert running.server.front.accepted == 1

        run(go())

    def test_nothing_is_left(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                async with connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                    await peer.ready()
                    directory = peer._directory
                assert directory is not None
                assert not directory.exists()
                await peer.close()

        run(go())


def test_no_key_in_anything_that_is_shown(world: World):
    files = world.issue(Role.NVE, "leaf1")
    device = world.device(files, Purpose.CLIENT)
    credentials = device.current()
    secret = credentials.key_pem.reveal()
    lines = [line for line in secret.splitlines() if not line.startswith(b"-")]
    files.certificate.write_bytes(secret[:-60] + b"-----END PRIVATE KEY-----\n")
    shown = [repr(credentials), str(credentials), repr(device), repr(credentials.identity), f"{credentials}"]
    with pytest.raises(CredentialsError) as caught:
        world.device(files, Purpose.CLIENT)
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert not any(line.decode() in text for line in lines for text in shown)
    assert key_pem(make_key()) != secret
