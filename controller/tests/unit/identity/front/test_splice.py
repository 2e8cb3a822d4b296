# SPDX-License-Identifier: Apache-2.0
"""What comes before both halves of a connection stand is kept, and who hangs up is told, with how far it had got."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from asyncio import selector_events
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from identity_world import (
    DOMAIN,
    ECHO,
    SESSION,
    ForeignAuthority,
    Running,
    World,
    call,
    connected,
    method,
    pem,
    run,
    serving,
    tls_context,
    until,
)
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.client import PeerChannel, _Local, _Remote
from nvo3sec.identity.errors import PeerRefused, PeerUnreachable, Reason
from nvo3sec.identity.front.connection import Outer
from nvo3sec.identity.front.endings import ConnectionStage, EndedBy
from nvo3sec.identity.front.splice import EARLY_BYTES, Side
from nvo3sec.identity.names import DeviceName, Role
from structlog.testing import capture_logs

NVA1 = DeviceName(DOMAIN, Role.NVA, "nva1")


@pytest.fixture
def reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are read although `connection_made` paused them, as in CPython before 3.11.4 (gh-103607)."""

    def add_reader(self: Any, descriptor: int, callback: Any, *args: Any) -> None:
        if not self._closing:
            self._loop._add_reader(descriptor, callback, *args)

    monkeypatch.setattr(selector_events._SelectorTransport, "_add_reader", add_reader)


class Transport:
    """One that reads on when `connection_made` has paused it, and believes that it is paused."""

    def __init__(self) -> None:
        self.paused = False
        self.reading = True
        self.closing = False
        self.written = b""

    def pause_reading(self) -> None:
        if not self.paused:
            self.paused, self.reading = True, False

    def resume_reading(self) -> None:
        if self.paused:
            self.paused, self.reading = False, True

    def reader_added(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.closing = True

    close = abort

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class TestEarlyBytes:
    def test_they_are_kept_in_order_and_the_pause_becomes_true(self):
        side, transport = Side(), Transport()
        side.connection_made(transport)  # type: ignore[arg-type]
        side.pause("connecting")
        transport.reader_added()
        assert side.keep(b"first")
        assert not transport.reading
        assert side.keep(b", second")
        assert side.kept() == b"first, second"
        assert side.kept() == b""
        side.resume("connecting")
        assert transport.reading

    def test_no_more_than_that(self):
        side = Side()
        assert side.keep(b"x" * EARLY_BYTES)
        assert not side.keep(b"x")

    @pytest.mark.usefixtures("reads_on")
    def test_the_preface_of_grpc(self, world: World):
        """gRPC speaks as soon as its connection to the UNIX socket stands, long before the peer has answered."""

        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                connect, kept = peer.connect, []

                async def late(local: _Local) -> _Remote:
                    await until(lambda: bool(local._early))
                    kept.append(bytes(local._early))
                    return await connect(local)

                peer.connect = late  # type: ignore[method-assign]
                assert (await peer.ready()).device == NVA1
                assert await call(peer.channel, ECHO, {"n": 1}) == {"n": 1}
                assert kept[0].startswith(b"PRI * HTTP/2.0\r\n")

        run(go())

    @pytest.mark.usefixtures("reads_on")
    def test_a_flood_of_them_is_an_error_and_not_memory(self, world: World):
        async def go() -> None:
            async with channel(world, 1) as peer:

                async def never(_local: _Local) -> _Remote:
                    await asyncio.Event().wait()
                    raise AssertionError

                peer.connect = never  # type: ignore[method-assign]
                with capture_logs() as lines:
                    reader, writer = await asyncio.open_unix_connection(str(peer._directory / "peer"))
                    writer.write(b"x" * (4 * EARLY_BYTES))
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
                assert f"sent more than {EARLY_BYTES} bytes" in str(peer.last_error)
                assert [line["stage"] for line in lines if line["event"] == "no connection"] == ["connecting"]

        run(go())

    def test_nothing_of_a_peer_reaches_grpc_before_it_is_known_who_it_is(self):
        local, remote, towards_grpc, towards_peer = halves()
        remote.data_received(b"settings")
        local.data_received(b"preface")
        assert (towards_grpc.written, towards_peer.written) == (b"", b"")
        local.identity = SimpleNamespace()  # type: ignore[assignment]
        local._join(remote)
        assert (towards_grpc.written, towards_peer.written) == (b"settings", b"preface")
        assert local.stage is ConnectionStage.SESSION

    def test_too_much_of_a_peer_of_whom_nothing_is_known(self):
        local, remote, towards_grpc, towards_peer = halves()
        remote.data_received(b"x" * EARLY_BYTES)
        assert not towards_peer.closing
        remote.data_received(b"x")
        assert towards_peer.closing
        assert towards_grpc.closing
        assert towards_grpc.written == b""
        [(error, _)] = local._owner.failures  # type: ignore[attr-defined]
        assert error.reason is Reason.HANDSHAKE

    def test_at_the_front(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                front, turn = running.server.front, asyncio.Event()

                async def its_turn(_outer: Outer) -> bool:
                    return await turn.wait()

                front.turn = its_turn  # type: ignore[method-assign]
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                writer.write(hello(running))
                outer = await connecting(running)
                outer.data_received(b"more")
                assert bytes(outer._early) == hello_of(outer) + b"more"
                outer.data_received(b"x" * EARLY_BYTES)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                assert front.refused["not-tls"] == 1
                assert not front.endings.counts
                writer.close()

        run(go())


class TestWhoHungUp:
    """At the client: in the error, and in the log."""

    def told(self, peer: PeerChannel, lines: list[Any], stage: str, text: str) -> None:
        assert f"{stage}: {text}" in str(peer.last_error)
        assert {line["stage"] for line in lines if "stage" in line} == {stage}

    def test_nobody_is_there(self, world: World):
        async def go() -> None:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                async with channel(world, unused.getsockname()[1]) as peer:
                    with capture_logs() as lines, pytest.raises(PeerUnreachable):
                        await peer.ready()
                    self.told(peer, lines, "connecting", "Connect")

        run(go())

    def test_the_peer_in_the_handshake(self, world: World):
        async def go() -> None:
            async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.close()

            server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
            async with channel(world, server.sockets[0].getsockname()[1]) as peer:
                with capture_logs() as lines, pytest.raises(PeerUnreachable):
                    await peer.ready()
                self.told(peer, lines, "tls-handshake", "the peer ended the connection")
            server.close()
            await server.wait_closed()

        run(go())

    def test_we_because_of_its_certificate(self, world: World):
        async def go() -> None:
            async with serving(world, name="nva2") as running, channel(world, running.port) as peer:
                with capture_logs() as lines, pytest.raises(PeerRefused):
                    await peer.ready()
                self.told(peer, client(lines), "certificate-check", "Hostname mismatch")
                await until(lambda: bool(running.server.front.endings.counts))
                assert set(running.server.front.endings.report()) == {"certificate-check"}

        run(go())

    def test_the_peer_because_of_our_certificate(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                foreign = ForeignAuthority()
                anchors = world.authority.anchors_file.read_bytes() + pem(foreign.certificate)
                files = world.store(*foreign.device(world.name(Role.NVE, "leaf1")), "x", anchors)
                async with connected(running, files) as peer:
                    with capture_logs() as lines, pytest.raises(PeerRefused):
                        await peer.ready()
                    self.told(peer, client(lines), "splice", "the peer ended the connection")
                assert running.server.front.endings.report() == {"certificate-check": {"grpc": 1}}
                assert [line["by"] for line in lines if line["event"] == "connection ended"] == ["grpc"]

        run(go())

    def test_the_peer_in_the_session(self, world: World):
        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                stream = method(peer.channel, SESSION, "stream_stream")()
                assert await stream.read()
                peer.connect = refuse  # type: ignore[method-assign]
                with capture_logs() as lines:
                    for outer in list(running.server.front._inside.values()):
                        outer.abort()
                    await until(lambda: any(line["event"] == "connection ended" for line in client(lines)))
                ended = next(line for line in client(lines) if line["event"] == "connection ended")
                assert (ended["stage"], ended["by"], ended["log_level"]) == ("session", "peer", "info")
                assert "session: the peer ended the connection" in ended["detail"]

        run(go())

    def test_grpc_before_the_peer_has_answered(self, world: World):
        async def go() -> None:
            with socket.create_server(("127.0.0.1", 0)) as silent:
                async with channel(world, silent.getsockname()[1]) as peer:
                    with capture_logs() as lines:
                        _, writer = await asyncio.open_unix_connection(str(peer._directory / "peer"))
                        await until(lambda: any(one.stage == "tls-handshake" for one in peer._local))
                        # One that is paused does not see the end of its connection, but its reset.
                        for local in peer._local:
                            local.abort()
                        await until(lambda: peer.last_error is not None)
                        writer.close()
                    self.told(peer, lines, "tls-handshake", "gRPC in this process ended the connection")

        run(go())

    def test_nothing_is_said_of_an_end_that_was_asked_for(self, world: World):
        async def go() -> None:
            with capture_logs() as lines:
                async with serving(world) as running:
                    async with connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                        await call(peer.channel, ECHO, {})
                    assert peer.last_error is None
                    await until(lambda: running.server.front.admission.open == 0)
                    assert running.server.front.endings.report() == {"session": {"peer": 1}}
            assert [line["log_level"] for line in lines if "stage" in line] == ["info"]

        run(go())


class TestWhoHungUpAtTheServer:
    """By the front: counted, and in the log."""

    @pytest.mark.parametrize("stage", ["connecting", "tls-handshake", "certificate-check"])
    def test_a_stranger(self, world: World, tmp_path: Path, stage: str):
        async def go() -> None:
            with socket.socket(socket.AF_UNIX) as silent:
                silent.bind(str(tmp_path / "silent"))
                silent.listen()
                await a_stranger_hangs_up()

        async def a_stranger_hangs_up() -> None:
            async with serving(world) as running:
                front = running.server.front
                if stage == "tls-handshake":
                    front.backend = tmp_path / "silent"
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                if stage == "connecting":
                    await until(lambda: front.admission.open == 1)
                else:
                    writer.write(hello(running))
                    outer = await connecting(running)
                    await until(lambda: outer.other is not None)
                if stage == "certificate-check":
                    assert await reader.read(1)
                with capture_logs() as lines:
                    writer.transport.abort()
                    await until(lambda: front.admission.open == 0)
                assert front.endings.report() == {stage: {"peer": 1}}
                assert running.server.admission_report()["connections"]["ended"] == {stage: {"peer": 1}}
                [line] = [line for line in lines if line["event"] == "connection ended"]
                assert (line["stage"], line["by"], line["source"]) == (stage, "peer", "127.0.0.1")

        run(go())

    def test_the_lines_are_few_and_the_count_is_right(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                endings = running.server.front.endings
                endings._clock = lambda: 0.0
                with capture_logs() as lines:
                    for _ in range(500):
                        endings.tell(ConnectionStage.CONNECTING, EndedBy.PEER, None, source="192.0.2.1")
                assert endings.report() == {"connecting": {"peer": 500}}
                assert 0 < len(lines) < 100

        run(go())

    def test_what_was_refused_is_not_counted_twice(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                front = running.server.front
                reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                await until(lambda: front.admission.open == 0)
                assert front.refused["not-tls"] == 1
                assert not front.endings.counts
                writer.close()

        run(go())


@contextlib.asynccontextmanager
async def channel(world: World, port: int) -> AsyncIterator[PeerChannel]:
    """A client of nva1 at that port."""
    device = world.device(world.issue(Role.NVE, "leaf1"), Purpose.CLIENT)
    peer = PeerChannel(device, world.live(), NVA1, "127.0.0.1", port)
    await peer.start()
    try:
        yield peer
    finally:
        await peer.close()


async def refuse(_local: _Local) -> _Remote:
    raise PeerUnreachable("not again")


def client(lines: list[Any]) -> list[Any]:
    """Lines of the client; those of the front have a source."""
    return [line for line in lines if "source" not in line]


def halves() -> tuple[_Local, _Remote, Transport, Transport]:
    """A connection whose handshake is done, and whose peer nobody has looked at."""
    failures: list[Any] = []
    owner = SimpleNamespace(
        closed=False,
        failures=failures,
        failed=lambda error, stage: failures.append((error, stage)),
        established=lambda _identity: None,
        where=lambda stage: f"nva1: {stage.value}",
    )
    local = _Local(owner)  # type: ignore[arg-type]
    towards_grpc, towards_peer = Transport(), Transport()
    local.transport = towards_grpc  # type: ignore[assignment]
    local.pause("connecting")
    remote = _Remote(local)
    remote.connection_made(towards_peer)  # type: ignore[arg-type]
    local.stage = ConnectionStage.CERTIFICATE_CHECK
    return local, remote, towards_grpc, towards_peer


def hello(running: Running) -> bytes:
    """A good ClientHello."""
    outgoing = ssl.MemoryBIO()
    context = tls_context(None, running.world.authority.anchors_file)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=running.name.dns).do_handshake()
    return outgoing.read()


def hello_of(outer: Outer) -> bytes:
    """The first record of what a connection has kept."""
    length = 5 + int.from_bytes(outer._early[3:5], "big")
    return bytes(outer._early[:length])


async def connecting(running: Running) -> Outer:
    """The only connection, when its hello has come."""
    inside = running.server.front._inside
    await until(lambda: any(outer._hello is None for outer in inside.values()))
    return next(iter(inside.values()))
