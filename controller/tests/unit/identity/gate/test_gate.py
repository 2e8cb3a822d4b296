# SPDX-License-Identifier: Apache-2.0
"""The gate: order of checks, limits, what is told and what is not; over real connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import pytest
from identity_world import (
    COLLECT,
    ECHO,
    FAIL,
    FREE,
    MISSING,
    SESSION,
    WATCH,
    Running,
    Served,
    World,
    call,
    connected,
    grpc_channel,
    method,
    refusal,
    run,
    serving,
    table,
    until,
)
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.gate.authorization import AccessTable
from nvo3sec.identity.gate.gate import LONG_BYTES, RETRY_METADATA
from nvo3sec.identity.names import Role
from structlog.testing import capture_logs


def with_leaf1(
    world: World, test: Callable[[Running, PeerChannel], Awaitable[None]], access: AccessTable | None = None
) -> None:
    async def go() -> None:
        async with (
            serving(world, access=access) as running,
            connected(running, world.issue(Role.NVE, "leaf1")) as peer,
        ):
            await test(running, peer)

    run(go())


class Parsing:
    """Long messages are parsed from now on only once a test says so."""

    def __init__(self, running: Running) -> None:
        self.began, self.end = threading.Event(), threading.Event()
        self.waited = False
        self._really = running.service._parse
        running.service._parse = self._parse  # type: ignore[method-assign]

    def _parse(self, raw: bytes) -> object:
        if len(raw) > LONG_BYTES:
            self.began.set()
            self.waited = self.end.wait(60)
        return self._really(raw)


def pushback_ms(error: grpc.aio.AioRpcError) -> int:
    return int(dict(error.trailing_metadata() or ())[RETRY_METADATA])


class TestKinds:
    """All four kinds of calls, with handlers of both styles."""

    def test_each(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            channel = peer.channel
            assert await call(channel, ECHO, {"vnis": [10]}) == {"vnis": [10]}
            session = method(channel, SESSION, "stream_stream")()
            assert await session.read() == {"hello": "nve/leaf1"}
            for vni in (10, 11):
                await session.write({"vnis": [vni]})
                assert await session.read() == {"vnis": [vni]}
            await session.done_writing()
            assert await session.read() is grpc.aio.EOF
            collect = method(channel, COLLECT, "stream_unary")()
            for vni in (10, 11):
                await collect.write({"vnis": [vni]})
            await collect.done_writing()
            assert await collect == {"collected": [{"vnis": [10]}, {"vnis": [11]}]}
            watch = method(channel, WATCH, "unary_stream")({"vnis": [10]})
            assert await watch.read() == {"watching": {"vnis": [10]}}
            running.service.release.set()
            assert await watch.read() is grpc.aio.EOF
            outcomes = running.server.gate.outcomes
            assert outcomes == {(name, "ok"): 1 for name in (ECHO, SESSION, COLLECT, WATCH)}

        with_leaf1(world, go)


class TestOrder:
    def test_nothing_of_an_unauthorized_caller_is_parsed(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                async with grpc_channel(running.port, world.issue(Role.HYPERVISOR, "host1"), running.name) as channel:
                    for kind, name in (("unary_unary", ECHO), ("unary_stream", WATCH)):
                        made = method(channel, name, kind)({"vnis": [10]})
                        with pytest.raises(grpc.aio.AioRpcError) as caught:
                            await (made if kind == "unary_unary" else made.read())
                        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
                    stream = method(channel, SESSION, "stream_stream")()
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await stream.read()
                    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert running.service.parsed == []
                assert running.service.running == 0

        run(go())

    @pytest.mark.parametrize("size", [0, LONG_BYTES])
    def test_a_message_of_another_vn_ends_a_stream(self, world: World, size: int):
        async def go(running: Running, peer: PeerChannel) -> None:
            stream = method(peer.channel, SESSION, "stream_stream")()
            assert await stream.read() == {"hello": "nve/leaf1"}
            await stream.write({"vnis": [20], "x": "y" * size})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert running.service.ended == 1

        with_leaf1(world, go)

    def test_a_method_that_is_not_there_looks_like_one_that_is_forbidden(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                async with grpc_channel(running.port, world.issue(Role.HYPERVISOR, "host1"), running.name) as channel:
                    answers = {
                        (error.code(), error.details())
                        for error in [await refusal(channel, name, {}) for name in (ECHO, MISSING, "/no.Such/Method")]
                    }
                    assert len(answers) == 1
                assert running.server.gate.outcomes["other", "permission"] == 1

        run(go())

    def test_in_the_table_but_not_implemented(self, world: World):
        async def go(_running: Running, peer: PeerChannel) -> None:
            assert (await refusal(peer.channel, MISSING, {})).code() is grpc.StatusCode.UNIMPLEMENTED

        with_leaf1(world, go)


class TestLimits:
    def test_rate_of_calls_and_when_to_come_back(self, world: World):
        async def go() -> None:
            limits = replace(FREE, calls=Rate(1, 3))
            async with serving(world, access=table(Echo=limits)) as running:
                leaf1, leaf2 = world.issue(Role.NVE, "leaf1"), world.issue(Role.NVE, "leaf2")
                async with connected(running, leaf1) as first, connected(running, leaf2) as second:
                    for _ in range(3):
                        await call(first.channel, ECHO, {})
                    error = await refusal(first.channel, ECHO, {})
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    assert 0 < pushback_ms(error) <= 1000
                    # Neither the neighbor nor another method pays for it.
                    await call(second.channel, ECHO, {})
                    assert (await refusal(first.channel, FAIL, {"secret": 1})).code() is grpc.StatusCode.INTERNAL
                assert running.server.gate.outcomes[ECHO, "rate"] == 1

        run(go())

    def test_a_second_connection_or_certificate_is_no_second_bucket(self, world: World):
        async def go() -> None:
            async with serving(world, access=table(Echo=replace(FREE, calls=Rate(1, 2)))) as running:
                files = world.issue(Role.NVE, "leaf1")
                async with connected(running, files) as peer:
                    await call(peer.channel, ECHO, {})
                    await call(peer.channel, ECHO, {})
                world.authority.issue(world.name(Role.NVE, "leaf1"), renew=True)
                async with connected(running, files) as peer:
                    assert (await refusal(peer.channel, ECHO, {})).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

        run(go())

    def test_calls_at_once(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            held = [asyncio.create_task(call(peer.channel, ECHO, {"hold": 1})) for _ in range(2)]
            await until(lambda: running.service.running == 2)
            error = await refusal(peer.channel, ECHO, {})
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert pushback_ms(error) == 1000
            running.service.release.set()
            await asyncio.gather(*held)
            await call(peer.channel, ECHO, {})

        with_leaf1(world, go, table(Echo=replace(FREE, concurrent=2)))

    def test_a_cancelled_call_gives_its_place_back(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            for number in range(1, 4):
                watch = method(peer.channel, WATCH, "unary_stream")({})
                assert await watch.read()
                watch.cancel()
                await until(lambda number=number: running.server.gate.outcomes[WATCH, "cancelled"] == number)
            assert running.service.running == 0

        with_leaf1(world, go, table(Watch=replace(FREE, concurrent=1)))

    def test_size_of_a_message(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            await call(peer.channel, ECHO, {"x": "y" * 80})
            error = await refusal(peer.channel, ECHO, {"x": "y" * 100})
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert len(running.service.parsed) == 1
            # Above the largest of any method, gRPC itself refuses, before there is a message.
            error = await refusal(peer.channel, ECHO, {"x": "y" * (2 << 20)})
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await call(peer.channel, ECHO, {})

        with_leaf1(world, go, table(Echo=replace(FREE, message_bytes=100)))

    def test_messages_of_a_stream_are_paced_not_lost(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            collect = method(peer.channel, COLLECT, "stream_unary")()
            for number in range(12):
                await collect.write({"n": number})
            await collect.done_writing()
            began = asyncio.get_running_loop().time()
            assert await collect == {"collected": [{"n": number} for number in range(12)]}
            assert asyncio.get_running_loop().time() - began > 0.05
            assert running.server.gate.paced > 0

        with_leaf1(world, go, table(Collect=replace(FREE, messages=Rate(100, 2))))

    @pytest.mark.parametrize("size", [0, LONG_BYTES])
    def test_what_takes_long_is_paced_by_the_time_that_it_takes(self, world: World, size: int):
        async def go(running: Running, peer: PeerChannel) -> None:
            parse = running.service._parse

            def slowly(raw: bytes) -> object:
                began = time.thread_time()
                while time.thread_time() < began + 0.02:
                    pass
                return parse(raw)

            await call(peer.channel, ECHO, {})  # the front knows whose connection it is, and takes more
            running.service._parse = slowly  # type: ignore[method-assign]
            collect = method(peer.channel, COLLECT, "stream_unary")()
            for number in range(4):
                await collect.write({"n": number, "x": "y" * size})
            await collect.done_writing()
            began = asyncio.get_running_loop().time()
            await collect
            assert asyncio.get_running_loop().time() - began > 0.4, "three times 0.02 s, and nine times as long between"

        with_leaf1(world, go, table(Collect=replace(FREE, messages=Rate(100_000, 2))))

    def test_others_do_not_wait_for_a_long_message_to_be_parsed(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            parsing = Parsing(running)
            stream = method(peer.channel, SESSION, "stream_stream")()
            await stream.read()
            await stream.write({"x": "y" * LONG_BYTES})
            await until(parsing.began.is_set)
            async with connected(running, world.issue(Role.NVE, "leaf2")) as other:
                assert await call(other.channel, ECHO, {"n": 1}) == {"n": 1}
            parsing.end.set()
            assert await stream.read() == {"x": "y" * LONG_BYTES}
            assert parsing.waited

        with_leaf1(world, go)

    def test_a_certificate_that_is_revoked_while_its_message_is_parsed(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            running.server._live.sweep = lambda: 0  # type: ignore[method-assign]  # the watcher is late
            parsing = Parsing(running)
            stream = method(peer.channel, SESSION, "stream_stream")()
            await stream.read()
            await stream.write({"x": "y" * LONG_BYTES})
            await until(parsing.began.is_set)
            world.authority.revoke(world.name(Role.NVE, "leaf1"))
            parsing.end.set()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

        with_leaf1(world, go)

    def test_who_cancels_pays_for_what_is_parsed_all_the_same(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            charged: list[float] = []
            running.server.gate._charge = lambda _who, _method, seconds: charged.append(seconds)  # type: ignore[method-assign]
            parsing = Parsing(running)
            stream = method(peer.channel, SESSION, "stream_stream")()
            await stream.read()
            await stream.write({"x": "y" * LONG_BYTES})
            await until(parsing.began.is_set)
            stream.cancel()
            await until(lambda: running.service.ended == 1)
            assert charged == []
            parsing.end.set()
            await until(lambda: len(charged) == 1)
            assert charged[0] > 0

        with_leaf1(world, go)

    @pytest.mark.parametrize("size", [0, LONG_BYTES])
    def test_garbage_in_a_stream_is_malformed(self, world: World, size: int):
        async def go(running: Running, peer: PeerChannel) -> None:
            assert peer.channel is not None
            stream = peer.channel.stream_stream(SESSION)()
            await stream.read()
            await stream.write(b"{" * (size + 1))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

        with_leaf1(world, go)

    def test_a_certificate_that_was_revoked_since_the_last_message(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            running.server._live.sweep = lambda: 0  # type: ignore[method-assign]  # the watcher is late
            stream = method(peer.channel, SESSION, "stream_stream")()
            await stream.read()
            await stream.write({"n": 1})
            assert await stream.read() == {"n": 1}
            world.authority.revoke(world.name(Role.NVE, "leaf1"))
            await stream.write({"n": 2})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert running.service.parsed == [{"n": 1}], "what came later is not even parsed"

        with_leaf1(world, go)

    def test_garbage_is_malformed(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            assert peer.channel is not None
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await peer.channel.unary_unary(ECHO)(b"\xff\xfe{")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert running.service.callers == []

        with_leaf1(world, go)


class TestWhatIsTold:
    def test_an_error_of_a_handler_is_not_the_peers_business(self, world: World):
        async def go(_running: Running, peer: PeerChannel) -> None:
            with capture_logs() as logs:
                error = await refusal(peer.channel, FAIL, {"secret": "hunter2"})
            assert error.code() is grpc.StatusCode.INTERNAL
            assert "hunter2" not in str(error)
            assert "hunter2" not in str(logs)
            (failed,) = [one for one in logs if one["event"] == "handler failed"]
            assert failed["error"].startswith("RuntimeError < identity_world.py:")

        with_leaf1(world, go)

    def test_refusals_are_logged_with_identity_and_source_and_not_without_end(self, world: World):
        async def go(running: Running, peer: PeerChannel) -> None:
            with capture_logs() as logs:
                for _ in range(300):
                    await refusal(peer.channel, ECHO, {"vnis": [20]})
            told = [one for one in logs if one["event"] == "call refused"]
            assert told[0]["peer"] == "nve/leaf1"
            assert told[0]["source"] == "127.0.0.1"
            assert told[0]["reason"] == "permission"
            assert told[0]["method"] == ECHO
            assert len(told) + running.server.gate.unlogged == 300
            assert running.server.gate.unlogged > 0
            assert running.server.gate.outcomes[ECHO, "permission"] == 300

        with_leaf1(world, go)

    def test_membership_changes_take_effect_on_open_streams(self, world: World):
        membership = Served(leaf1={10})

        async def go() -> None:
            async with (
                serving(world, membership=membership) as running,
                connected(running, world.issue(Role.NVE, "leaf1")) as peer,
            ):
                stream = method(peer.channel, SESSION, "stream_stream")()
                await stream.read()
                await stream.write({"vnis": [10]})
                assert await stream.read() == {"vnis": [10]}
                membership.served["leaf1"] = frozenset()
                await stream.write({"vnis": [10]})
                with pytest.raises(grpc.aio.AioRpcError):
                    await stream.read()

        run(go())
