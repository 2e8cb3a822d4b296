# SPDX-License-Identifier: Apache-2.0
"""Who authenticated lately: in bounded memory, and over a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_world import ECHO, World, call, connected, grpc_channel, run, serving, until
from nvo3sec.identity.errors import IdentityError
from nvo3sec.identity.front import known as known_module
from nvo3sec.identity.front.known import ADDRESSES, REFRESH_S, KnownSources, Memory, Seen, load, save
from nvo3sec.identity.names import Role


class TestKnownSources:
    def test_what_is_known(self):
        known = KnownSources(10, 100)
        known.see("nve/a", "192.0.2.1", 0)
        assert "192.0.2.1" in known
        assert "192.0.2.2" not in known

    def test_a_device_has_so_many_addresses_and_no_more(self):
        """One with a prefix to itself must not fill the reserve."""
        known = KnownSources(10, 100)
        known.see("nve/b", "192.0.2.1", 0)
        for number in range(1000):
            known.see("nve/a", f"2001:db8::{number:x}", number)
        assert len(known) == ADDRESSES + 1
        assert "192.0.2.1" in known
        assert "2001:db8::3e7" in known

    def test_the_one_that_was_away_for_longest_is_forgotten_first(self):
        known = KnownSources(2, 100)
        for number, device in enumerate(("nve/a", "nve/b", "nve/a", "nve/c")):
            known.see(device, f"192.0.2.{ord(device[-1])}", number)
        assert [one.device for one in known.all()] == ["nve/a", "nve/c"]

    def test_an_address_of_two_is_known_until_both_are_forgotten(self):
        known = KnownSources(10, 100)
        known.see("nve/a", "192.0.2.1", 0)
        known.see("nve/b", "192.0.2.1", 0)
        known.forget("nve/a")
        assert "192.0.2.1" in known
        known.forget("nve/b")
        assert "192.0.2.1" not in known
        assert len(known) == 0

    def test_it_ends_with_its_time(self):
        known = KnownSources(10, 100)
        known.see("nve/a", "192.0.2.1", 0)
        known.see("nve/a", "192.0.2.2", 50)
        known.prune(101)
        assert [one.source for one in known.all()] == ["192.0.2.2"]
        known.prune(151)
        assert known.all() == []

    def test_a_clock_that_was_set_back_keeps_nobody_for_ever(self):
        known = KnownSources(10, 100)
        known.see("nve/a", "192.0.2.1", 1e9)
        known.prune(0)
        known.prune(101)
        assert known.all() == []

    def test_what_is_worth_writing(self):
        known = KnownSources(10, 1e9)
        known.see("nve/a", "192.0.2.1", 0)
        version = known.version
        known.see("nve/a", "192.0.2.1", REFRESH_S - 1)
        assert known.version == version
        known.see("nve/a", "192.0.2.1", REFRESH_S)
        assert known.version > version

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.booleans()), max_size=100))
    def test_the_books_are_right(self, events: list[tuple[str, int, bool]]):
        known = KnownSources(3, 40)
        for now, (device, source, forget) in enumerate(events):
            if forget:
                known.forget(device)
            else:
                known.see(device, str(source), now)
            if now % 7 == 0:
                known.prune(now)
            found = known.all()
            assert {one.source for one in found} == set(known._held)
            assert len({one.device for one in found}) <= 3
            assert all(sum(one.device == device for one in found) <= ADDRESSES for device in "abcd")


class TestFile:
    def test_there_and_back(self, tmp_path: Path):
        path = tmp_path / "known"
        seen = [Seen("nve/a", "192.0.2.1", 5), Seen("nve/b", "2001:db8::1", 7)]
        assert load(path) == []
        save(path, seen)
        assert load(path) == seen
        assert path.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[",
            "[" * 100_000,
            "[]",
            '{"format": 2, "known": []}',
            '{"format": 1, "known": {}}',
            *(
                json.dumps({"format": 1, "known": [one]})
                for one in (
                    {},
                    {"device": "a", "source": "192.0.2.1", "at": 1, "more": 1},
                    {"device": "a", "source": "192.0.2.1", "at": "1"},
                    {"device": "a", "source": "192.0.2.1", "at": -1},
                    {"device": "a", "source": "192.0.2.1", "at": 1.5},
                    {"device": "a", "source": "192.0.2.1", "at": True},
                    {"device": "a", "source": "192.0.2.0/24", "at": 1},
                    {"device": "a", "source": "2001:DB8::1", "at": 1},
                    {"device": "", "source": "192.0.2.1", "at": 1},
                    {"device": "a" * 300, "source": "192.0.2.1", "at": 1},
                )
            ),
        ],
    )
    def test_what_is_none(self, tmp_path: Path, text: str):
        """It says so, and nobody is known: never a part of a file."""
        path = tmp_path / "known"
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(IdentityError, match="known"):
            load(path)
        memory = Memory(KnownSources(10, 100), path, lambda: 1.0)
        memory.begin()
        assert memory.known.all() == []

    def test_one_that_others_may_read_is_not_believed(self, tmp_path: Path):
        path = tmp_path / "known"
        save(path, [])
        path.chmod(0o644)
        with pytest.raises(IdentityError):
            load(path)


class TestMemory:
    def test_over_a_restart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(known_module, "WRITE_EVERY_S", 0.01)
        path = tmp_path / "known"

        async def go() -> None:
            memory = Memory(KnownSources(10, 1000), path, lambda: 100.0)
            memory.begin()
            keeping = asyncio.create_task(memory.keep(lambda: []))
            memory.see("nve/a", "192.0.2.1")
            await until(path.exists)
            memory.see("nve/b", "192.0.2.2")
            await until(lambda: len(load(path)) == 2)
            keeping.cancel()

        run(go())
        for now, expected in ((200.0, 2), (1200.0, 0)):
            memory = Memory(KnownSources(10, 1000), path, lambda now=now: now)
            memory.begin()
            assert len(memory.known) == expected

    def test_who_stays_connected_stays_known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(known_module, "WRITE_EVERY_S", 0.001)
        monkeypatch.setattr(known_module, "REFRESH_EVERY", 2)
        now = [0.0]

        async def go() -> None:
            memory = Memory(KnownSources(10, 100), None, lambda: now[0])
            memory.see("nve/a", "192.0.2.1")
            memory.see("nve/b", "192.0.2.2")
            now[0] = 101.0
            keeping = asyncio.create_task(memory.keep(lambda: [("nve/a", "192.0.2.1")]))
            await until(lambda: "192.0.2.2" not in memory.known)
            assert "192.0.2.1" in memory.known
            keeping.cancel()

        run(go())

    def test_a_full_disk_costs_the_memory_only(self, tmp_path: Path):
        async def go() -> None:
            memory = Memory(KnownSources(10, 1000), tmp_path / "missing" / "known")
            memory.begin()
            memory.see("nve/a", "192.0.2.1")
            assert not await memory.write()
            assert "192.0.2.1" in memory.known

        run(go())


class TestServer:
    def test_who_is_remembered(self, world: World, tmp_path: Path):
        """Who has a call at this server, once it is authenticated; written at the end, and known to the next one."""
        path, leaf1 = tmp_path / "known", world.issue(Role.NVE, "leaf1")

        async def go() -> None:
            async with serving(world, remember=path) as running:
                front = running.server.front
                async with connected(running, leaf1) as peer:
                    assert "127.0.0.1" not in front.memory.known
                    await call(peer.channel, ECHO, {"vnis": [10]})
                    assert "127.0.0.1" in front.memory.known
            assert [(one.device, one.source) for one in load(path)] == [("nve/leaf1", "127.0.0.1")]
            async with serving(world, remember=path, name="nva2") as running:
                assert "127.0.0.1" in running.server.front.memory.known
                async with connected(running, leaf1) as peer:
                    await call(peer.channel, ECHO, {"vnis": [10]})
                    assert [one.known for one in running.server.front.admission._where.values()] == [True]

        run(go())

    def test_a_role_without_business_is_not(self, world: World):
        async def go() -> None:
            async with serving(world) as running:
                files = world.issue(Role.HYPERVISOR, "hv1")
                async with grpc_channel(running.port, files, running.name) as channel:
                    with pytest.raises(grpc.aio.AioRpcError):
                        await call(channel, ECHO, {})
                assert len(running.server.front.memory.known) == 0

        run(go())

    def test_who_is_revoked_is_known_no_more(self, world: World):
        async def go() -> None:
            async with serving(world) as running, connected(running, world.issue(Role.NVE, "leaf1")) as peer:
                await call(peer.channel, ECHO, {"vnis": [10]})
                memory = running.server.front.memory
                assert "127.0.0.1" in memory.known
                world.authority.revoke(world.name(Role.NVE, "leaf1"))
                await until(lambda: "127.0.0.1" not in memory.known)

        run(go())
