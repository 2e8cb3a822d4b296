# SPDX-License-Identifier: Apache-2.0
"""What ends when an identity ends: by the clock that tests move, and over real connections by the real one."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from cryptography import x509
from identity_world import (
    DOMAIN,
    ECHO,
    SESSION,
    WATCH,
    FakeClock,
    World,
    call,
    connected,
    grpc_channel,
    method,
    refusal,
    run,
    serving,
    until,
)
from nvo3sec.identity.certificate import Identity, Purpose, identity_of
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.live_peers import WATCH_INTERVAL_S, LivePeers
from nvo3sec.identity.names import DeviceName, Role

LEAF1 = DeviceName(DOMAIN, Role.NVE, "leaf1")
SECONDS = 5.0
"""What "within seconds" means here, on a machine that has nothing else to do."""


def identity(world: World, name: str) -> Identity:
    pem = world.issue(Role.NVE, name).certificate.read_bytes()
    return identity_of(x509.load_pem_x509_certificate(pem), DOMAIN, Purpose.CLIENT)


class TestSweep:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def live(self, world: World, clock: FakeClock) -> LivePeers:
        return world.live(clock=clock)

    def test_revoked(self, world: World, live: LivePeers):
        ended: list[PeerRefused] = []
        first, second = identity(world, "leaf1"), identity(world, "leaf2")
        for _ in range(3):
            live.add(first, ended.append)
        live.add(second, ended.append)
        assert live.sweep() == 0
        world.authority.revoke(LEAF1)
        assert live.sweep() == 3
        assert {one.reason for one in ended} == {Reason.REVOKED}
        assert live.identities() == {second}
        assert live.sweep() == 0
        assert live.closed == {Reason.REVOKED: 3}

    def test_expired(self, world: World, live: LivePeers, clock: FakeClock):
        ended: list[PeerRefused] = []
        live.add(identity(world, "leaf1"), ended.append)
        clock.advance(hours=23)
        assert live.sweep() == 0
        clock.advance(hours=2)
        assert live.sweep() == 1
        assert ended[0].reason is Reason.EXPIRED

    def test_when_the_list_ends_everybody_goes(self, tmp_path: Path):
        clock = FakeClock()
        world = World(tmp_path)
        live = world.live(clock=clock)
        from datetime import timedelta

        path, _ = world.authority.issue(LEAF1, timedelta(days=30))
        who = identity_of(x509.load_pem_x509_certificate(path.read_bytes()), DOMAIN, Purpose.CLIENT)
        ended: list[PeerRefused] = []
        live.add(who, ended.append)
        clock.advance(days=8)
        assert live.sweep() == 1
        assert ended[0].reason is Reason.REVOCATION_UNKNOWN

    def test_nothing_is_added_that_is_no_good(self, world: World, live: LivePeers):
        who = identity(world, "leaf1")
        world.authority.revoke(LEAF1)
        with pytest.raises(PeerRefused) as caught:
            live.add(who, lambda _verdict: None)
        assert caught.value.reason is Reason.REVOKED
        assert live.open == 0

    def test_one_that_cannot_be_closed_does_not_save_the_others(self, world: World, live: LivePeers):
        ended: list[PeerRefused] = []

        def broken(_verdict: PeerRefused) -> None:
            raise RuntimeError("cannot")

        who = identity(world, "leaf1")
        live.add(who, broken)
        live.add(who, ended.append)
        world.authority.revoke(LEAF1)
        assert live.sweep() == 2
        assert len(ended) == 1

    def test_what_closed_by_itself_is_forgotten(self, world: World, live: LivePeers):
        with live.track(identity(world, "leaf1"), lambda _verdict: None):
            assert live.open == 1
        assert live.open == 0


class TestConnections:
    def test_revocation_ends_streams_and_connections_within_seconds(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                leaf2 = world.issue(Role.NVE, "leaf2")
                files = world.issue(Role.NVE, "leaf1")
                # The attacker's client, which does not look at revocation lists.
                async with (
                    connected(running, leaf2) as neighbor,
                    grpc_channel(running.port, files, running.name) as channel,
                ):
                    kept = method(neighbor.channel, SESSION, "stream_stream")()
                    assert await kept.read() == {"hello": "nve/leaf2"}
                    stream = method(channel, SESSION, "stream_stream")()
                    assert await stream.read() == {"hello": "nve/leaf1"}
                    watch = method(channel, WATCH, "unary_stream")({})
                    assert await watch.read()
                    assert running.server.front.admission.open == 2

                    # How soon is the interval's business; what is awaited here are the ends.
                    assert WATCH_INTERVAL_S <= SECONDS / 2
                    world.authority.revoke(LEAF1)
                    for one in (stream, watch):
                        with pytest.raises(grpc.aio.AioRpcError) as caught:
                            await one.read()
                        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                        assert (caught.value.details() or "").startswith("revoked: ")
                    await until(lambda: running.server.front.admission.open == 1)
                    assert running.server.front.refused["identity"] == 1
                    assert running.service.running == 1

                    # The neighbor has noticed nothing, and the revoked one does not come back.
                    await kept.write({"vnis": [20]})
                    assert await kept.read() == {"vnis": [20]}
                    assert (await refusal(channel, ECHO, {})).code() is grpc.StatusCode.UNAUTHENTICATED
                    await call(neighbor.channel, ECHO, {"vnis": [20]})

        run(go())

    def test_a_call_right_after_the_revocation_is_refused_without_waiting_for_the_watcher(self, world: World):
        async def go() -> None:
            async with (
                serving(world) as running,
                grpc_channel(running.port, world.issue(Role.NVE, "leaf1"), running.name) as channel,
            ):
                await call(channel, ECHO, {})
                world.authority.revoke(LEAF1)
                assert (await refusal(channel, ECHO, {})).code() is grpc.StatusCode.UNAUTHENTICATED

        run(go())

    def test_expiry_ends_a_stream(self, tmp_path: Path):
        world, clock = World(tmp_path), FakeClock()

        async def go() -> None:
            async with (
                serving(world, live=world.live(clock=clock)) as running,
                grpc_channel(running.port, world.issue(Role.NVE, "leaf1"), running.name) as channel,
            ):
                stream = method(channel, SESSION, "stream_stream")()
                assert await stream.read()
                clock.advance(hours=25)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
                assert (caught.value.details() or "").startswith("expired: ")
                assert running.service.ended == 1

        run(go())
