# SPDX-License-Identifier: Apache-2.0
"""Floods, slow lorises and garbage against the front, with real sockets, while a neighbor goes on being served.

Attackers come from 127.0.0.2 and up, neighbors from 127.0.0.1: for the front these are different sources.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import grpc
import pytest
from identity_world import (
    ECHO,
    SESSION,
    Running,
    World,
    call,
    connected,
    grpc_channel,
    method,
    run,
    serving,
    tls_context,
    until,
)
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.front.client_hello import PROTOCOL_VERSION_ALERT
from nvo3sec.identity.front.front import _within_descriptors
from nvo3sec.identity.names import Role
from structlog.testing import capture_logs

PLENTY = Rate(1 << 30, 1 << 30)
PATIENT = FrontLimits(
    hello_s=60,
    handshake_s=60,
    claim_s=60,
    rate=Rate(100_000, 100_000),
    newcomer_rate=Rate(100_000, 100_000),
    bytes=PLENTY,
    bytes_unclaimed=PLENTY,
)
"""Nothing times out by itself: what ends in a test ends for the reason that is tested."""

ATTACKER = "127.0.0.2"


async def attack(running: Running, source: str = ATTACKER) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection of an attacker."""
    return await asyncio.open_connection("127.0.0.1", running.port, local_addr=(source, 0))


async def flood(running: Running, sources: Iterable[str]) -> list[asyncio.StreamWriter]:
    """Connections of attackers, as far as they get: what is refused may be reset before it is even made."""
    writers = []
    for source in sources:
        with contextlib.suppress(ConnectionError):
            writers.append((await attack(running, source))[1])
    return writers


async def ended(reader: asyncio.StreamReader, timeout_s: float = 10.0) -> bytes:
    """What comes until the other side ends the connection."""
    async with asyncio.timeout(timeout_s):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close this end, whatever the other one did before."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def served(running: Running) -> None:
    """A neighbor that has not been here before is served."""
    files = running.world.authority.device_file(running.world.name(Role.NVE, "leaf2"))
    if not files.exists():
        running.world.issue(Role.NVE, "leaf2")
    from nvo3sec.identity.device import DeviceFiles

    async with connected(running, DeviceFiles(files, files, running.world.authority.anchors_file)) as peer:
        assert await call(peer.channel, ECHO, {"vnis": [20]}) == {"vnis": [20]}


@contextlib.asynccontextmanager
async def with_stream(world: World, limits: FrontLimits) -> AsyncIterator[Running]:
    """A server with a neighbor whose stream lives through whatever happens."""
    async with serving(world, front=limits) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
        stream = method(peer.channel, SESSION, "stream_stream")()
        assert await stream.read() == {"hello": "nve/leaf1"}
        yield running
        await stream.write({"vnis": [10]})
        assert await stream.read() == {"vnis": [10]}
        assert running.service.ended == 0


class TestLatency:
    def test_nothing_waits_for_an_acknowledgement(self, world: World):
        """RFC 1122 4.2.3.4: what is written in two pieces would wait for the peer's delayed acknowledgement, 40 ms."""

        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                await call(peer.channel, ECHO, {})
                (outer,) = running.server.front._inside.values()
                assert outer.transport is not None
                side = outer.transport.get_extra_info("socket")
                assert side.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

        run(go())


class TestTurns:
    """Handshakes begin one after the other: those who are connected must not notice a burst of them."""

    def test_only_handshakes_wait(self, world: World):
        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                front, its_turn = running.server.front, asyncio.Event()
                await call(peer.channel, ECHO, {})

                async def turn(_outer: object) -> bool:
                    return await its_turn.wait()

                front.turn = turn  # type: ignore[method-assign]
                async with connected(running, world.issue(Role.NVE, "leaf2")) as other:
                    called = asyncio.create_task(call(other.channel, ECHO, {"n": 2}))
                    await until(lambda: front.admission.unfinished == 1)
                    assert await call(peer.channel, ECHO, {"n": 1}) == {"n": 1}
                    assert front.opened == 1
                    its_turn.set()
                    assert await called == {"n": 2}

        run(go())


class TestGarbage:
    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
            b"\0" * 100,
            os.urandom(4096).replace(b"\x16", b"\x17"),
            b"\x16\x03\x01\xff\xff\x01",
        ],
        ids=["HTTP/1.1", "gRPC in plain text", "zeros", "noise", "a record too long"],
    )
    def test_ended_at_once_without_a_word(self, world: World, data: bytes):
        async def go() -> None:
            async with with_stream(world, PATIENT) as running:
                reader, writer = await attack(running)
                writer.write(data)
                assert await ended(reader) == b""
                assert running.server.front.refused["not-tls"] == 1
                await until(lambda: running.server.front.admission.open == 1)
                writer.close()

        run(go())

    def test_a_plaintext_client_of_grpc(self, world: World):
        import grpc

        async def go() -> None:
            async with with_stream(world, PATIENT) as running:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await channel.unary_unary(ECHO)(b"{}", timeout=60)
                    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                assert running.service.callers == []

        run(go())

    def test_no_answer_is_longer_than_what_caused_it(self, world: World):
        """Requirement 7b of the draft, for everything that can be sent without a certificate and without TLS."""

        async def go() -> None:
            async with with_stream(world, PATIENT) as running:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                out = ssl.MemoryBIO()
                with pytest.raises(ssl.SSLWantReadError):
                    context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="x").do_handshake()
                hello = out.read()
                for data, answer in ((hello, PROTOCOL_VERSION_ALERT), (b"\x16\x03\x01\x00\x04\x02", b""), (b"x", b"")):
                    reader, writer = await attack(running)
                    writer.write(data)
                    got = await ended(reader)
                    assert got == answer
                    assert len(got) <= len(data)
                    writer.close()

        run(go())


class TestSlowLoris:
    def test_a_hello_that_does_not_come(self, world: World):
        async def go() -> None:
            async with with_stream(world, replace(PATIENT, hello_s=0.3)) as running:
                pairs = [await attack(running) for _ in range(5)]
                for _, writer in pairs[1:]:
                    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                for reader, writer in pairs:
                    assert await ended(reader) == b""
                    writer.close()
                assert running.server.front.refused["hello-timeout"] == 5
                await served(running)

        run(go())

    def test_a_hello_one_byte_at_a_time(self, world: World):
        """Each byte is progress, and none of it buys time."""

        async def go() -> None:
            async with with_stream(world, replace(PATIENT, hello_s=0.4)) as running:
                reader, writer = await attack(running)

                async def drip() -> None:
                    for one in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 500:
                        writer.write(bytes([one]))
                        await asyncio.sleep(0.02)

                dripping = asyncio.create_task(drip())
                assert await ended(reader) == b""
                assert not dripping.done(), "it is not the end of the hello that ended it"
                assert running.server.front.refused["hello-timeout"] == 1
                dripping.cancel()
                writer.close()

        run(go())

    def test_a_handshake_that_stops_after_the_hello(self, world: World):
        async def go() -> None:
            async with with_stream(world, replace(PATIENT, handshake_s=0.5)) as running:
                reader, writer = await attack(running)
                writer.write(hello_to(running))
                assert await reader.read(1)  # what the server says to a hello
                await ended(reader)
                assert running.server.front.refused["handshake-timeout"] == 1
                await until(lambda: running.server.front.admission.unfinished == 0)
                writer.close()

        run(go())

    def test_tls_without_http2(self, world: World):
        """A client with a good certificate finishes the handshake, and then says nothing."""

        async def go() -> None:
            async with with_stream(world, replace(PATIENT, handshake_s=0.5)) as running:
                files = world.issue(Role.NVE, "leaf3")
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    running.port,
                    ssl=tls_context(files, files.anchors),
                    server_hostname=running.name.dns,
                    local_addr=(ATTACKER, 0),
                )
                await ended(reader)
                assert running.server.front.refused["handshake-timeout"] == 1
                writer.transport.abort()

        run(go())

    def test_http2_without_a_call(self, world: World):
        """A connection that nobody claims by an authenticated call ends, whatever its certificate is worth."""

        async def go() -> None:
            async with with_stream(world, replace(PATIENT, claim_s=0.6)) as running:
                files = world.issue(Role.NVE, "leaf3")
                world.authority.revoke(world.name(Role.NVE, "leaf3"))
                async with grpc_channel(running.port, files, running.name) as channel:
                    await channel.channel_ready()
                    await until(lambda: running.server.front.opened == 2)
                    await until(lambda: running.server.front.refused["claim-timeout"] == 1)

        run(go())

    def test_who_does_not_read_is_not_buffered_for(self, world: World):
        async def go() -> None:
            async with (
                serving(world, front=PATIENT) as running,
                grpc_channel(running.port, world.issue(Role.NVE, "leaf1"), running.name) as channel,
            ):
                message = {"x": "y" * 900_000}
                assert await call(channel, ECHO, message) == message

        run(go())


class TestFlood:
    def test_one_source_has_its_places_and_no_more(self, world: World):
        async def go() -> None:
            limits = replace(PATIENT, unfinished_per_source=8)
            async with with_stream(world, limits) as running:
                writers = await flood(running, [ATTACKER] * 50)
                await until(lambda: running.server.front.refused["unfinished-per-source"] == 42)
                assert running.server.front.admission.unfinished == 8
                await served(running)
                for writer in writers:
                    writer.close()
                await until(lambda: running.server.front.admission.open == 1)

        run(go())

    def test_rate_of_one_source(self, world: World):
        async def go() -> None:
            limits = replace(PATIENT, newcomer_rate=Rate(1, 10), unfinished_per_source=100)
            async with with_stream(world, limits) as running:
                writers = await flood(running, [ATTACKER] * 30)
                await until(lambda: running.server.front.refused["rate"] >= 15)
                await served(running)
                for writer in writers:
                    writer.close()

        run(go())

    def test_many_sources_that_take_every_place_for_handshakes(self, world: World):
        """The newcomer is never dropped while others hold more, and those are."""

        async def go() -> None:
            limits = replace(PATIENT, unfinished=24, unfinished_per_source=8)
            async with with_stream(world, limits) as running:
                front = running.server.front
                writers = []
                for _ in range(5):
                    # The attackers take what is free, again and again.
                    writers += await flood(running, [f"127.0.1.{1 + number % 5}" for number in range(40)])
                    await until(lambda: 12 <= front.admission.unfinished <= 24)
                    await served(running)
                assert front.refused["displaced"] + front.refused["unfinished"] >= 5 * 40 - 24
                assert front.refused["displaced"] > 0
                for writer in writers:
                    writer.close()

        run(go())

    def test_one_that_goes_before_its_connection_is_made(self, world: World):
        """What is dropped between accept and the loop's next round ends all the same, and is counted once."""

        async def go() -> None:
            limits = replace(PATIENT, unfinished_per_source=1)
            async with serving(world, front=limits) as running:
                raw = [socket.socket() for _ in range(8)]
                for one in raw:
                    one.bind((ATTACKER, 0))
                    one.connect(("127.0.0.1", running.port))  # all wait in the backlog: the loop does not run
                front = running.server.front
                await until(lambda: front.refused["unfinished-per-source"] == 7)
                await until(lambda: len(front._inside) == 1)
                assert front.admission.open == 1
                for one in raw:
                    one.close()
                await until(lambda: not front._inside)

        run(go())

    def test_a_neighbor_is_served_while_connections_pour_in(self, world: World):
        """Connections as fast as they can be made, until many were refused; the neighbor makes calls all the time."""

        async def go() -> None:
            async with (
                serving(world, front=FrontLimits()) as running,
                connected(running, world.issue(Role.NVE, "leaf1")) as peer,
            ):
                await peer.ready()
                stop = asyncio.Event()

                async def pour() -> None:
                    while not stop.is_set():
                        with contextlib.suppress(OSError):
                            _, writer = await attack(running)
                            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                            writer.transport.abort()

                pouring = [asyncio.create_task(pour()) for _ in range(8)]
                calls = 0
                while calls < 20 or running.server.front.refused["rate"] < 50:
                    assert await call(peer.channel, ECHO, {"n": calls}) == {"n": calls}
                    calls += 1
                stop.set()
                await asyncio.gather(*pouring)
                assert running.server.gate.outcomes == {(ECHO, "ok"): calls}

        run(go())


class TestDescriptors:
    def test_without_any_left_it_waits_and_goes_on(self, world: World):
        class Exhausted:
            """A listening socket of a process that has no descriptors left, the first time."""

            def __init__(self, listener: socket.socket) -> None:
                self.listener = listener
                self.failures = 1

            def accept(self) -> object:
                if self.failures:
                    self.failures -= 1
                    raise OSError(errno.EMFILE, "Too many open files")
                return self.listener.accept()

            def __getattr__(self, name: str) -> object:
                return getattr(self.listener, name)

        async def go() -> None:
            async with with_stream(world, PATIENT) as running:
                front = running.server.front
                assert front._listener is not None
                front._listener = Exhausted(front._listener)  # type: ignore[assignment]
                await served(running)
                assert front.refused["descriptors"] == 1

        run(go())

    def test_no_more_connections_than_there_can_be_files(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
        limits = _within_descriptors(FrontLimits(total=4096))
        assert limits.total == 256
        assert limits.unfinished <= limits.total
        monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert _within_descriptors(FrontLimits(total=4096)).total == 4096


def hello_to(running: Running) -> bytes:
    """The first message of a client without a certificate."""
    outgoing = ssl.MemoryBIO()
    client = tls_context(None, running.world.authority.anchors_file).wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname=running.name.dns
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class TestStop:
    """A server that stops gives those that it has some time, and lets nobody in from its first moment on."""

    @staticmethod
    @contextlib.asynccontextmanager
    async def stopping(world: World) -> AsyncIterator[tuple[Running, asyncio.StreamReader, asyncio.StreamWriter]]:
        """One that somebody has a call of, with a connection that has said nothing yet."""
        async with serving(world, front=PATIENT) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
            calling = asyncio.create_task(call(peer.channel, ECHO, {"hold": True}))
            await until(lambda: running.service.running == 1)
            reader, writer = await attack(running)
            await until(lambda: running.server.front.admission.open == 2)
            stop = asyncio.create_task(running.server.stop(60))
            await until(lambda: not running.server.front.is_listening)
            assert not stop.done()
            yield running, reader, writer
            running.service.release.set()
            await stop
            assert await calling == {"hold": True}, "who was there is served to the end"
            await closed(writer)

    def test_nobody_new_is_let_in(self, world: World):
        async def go() -> None:
            async with self.stopping(world) as (running, _, _):
                with pytest.raises(ConnectionRefusedError):
                    await attack(running)

        run(go())

    def test_who_is_there_and_calls_again_hears_why(self, world: World):
        """And not that nobody listens, which is how a client understands a server that sends it away."""

        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                calling = asyncio.create_task(call(peer.channel, ECHO, {"hold": True}))
                await until(lambda: running.service.running == 1)
                stop = asyncio.create_task(running.server.stop(60))
                await until(lambda: not running.server.front.is_listening)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(peer.channel, ECHO, {})
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
                assert refused.value.details() == "stopping: the server stops"
                running.service.release.set()
                await stop
                assert await calling == {"hold": True}

        run(go())

    def test_who_was_late_is_counted_and_no_warning(self, world: World):
        async def go() -> None:
            with capture_logs() as lines:
                async with self.stopping(world) as (running, reader, writer):
                    writer.write(hello_to(running))
                    assert await ended(reader) == b""
                    assert running.server.front.refused == {"stopping": 1}
            said = [(one["log_level"], one["reason"]) for one in lines if one["event"] == "connection refused"]
            assert said == [("info", "stopping")]

        run(go())

    def test_a_server_that_is_gone_by_itself_is_a_fault(self, world: World):
        async def go() -> None:
            with capture_logs() as lines:
                async with serving(world, front=PATIENT) as running:
                    running.server.front.backend.unlink()
                    reader, writer = await attack(running)
                    writer.write(hello_to(running))
                    assert await ended(reader) == b""
                    await closed(writer)
            said = [(one["log_level"], one["reason"]) for one in lines if one["event"] == "connection refused"]
            assert said == [("warning", "backend")]

        run(go())


class TestCounters:
    def test_books_are_balanced_when_everybody_has_gone(self, world: World):
        async def go() -> None:
            async with serving(world, front=PATIENT) as running:
                for _ in range(3):
                    await served(running)
                front = running.server.front
                await until(lambda: front.admission.open == 0)
                assert (front.accepted, front.opened, front.admission.unfinished) == (3, 3, 0)
                assert running.live.open == 0
                assert not front._by_peer

        run(go())

    def test_the_server_socket_is_private_and_goes_away(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                directory = running.server.front.backend.parent
                assert directory.stat().st_mode & 0o777 == 0o700
            assert not directory.exists()

        run(go())
