# SPDX-License-Identifier: Apache-2.0
"""An NVA that is loading, over real TLS: leases that run are prolonged, and nothing else is given before it has."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loading_nva import Process
from nvo3sec.config.load import read_domain
from nvo3sec.domain.messages.session import Attachment, Lookup, LookupResult, NveView, Registration
from nvo3sec.errors import AuthorizationError, NvaUnreachable, OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.operator.console import ask
from nvo3sec.wire import versions
from overlay_world import LEAVES, Overlay, until
from session_world import INCARNATION, run


@pytest.fixture
def process(identities, monkeypatch) -> Process:
    return Process(identities, monkeypatch)


def loading(process: Process, check: Any) -> None:
    async def bounded() -> None:
        try:
            await process.has_run()
            await check()
        finally:
            await process.stop()

    run(bounded())


class TestWhileItLoads:
    def test_a_lease_is_prolonged_and_the_session_goes_on_once_it_has_loaded(self, process):
        async def check():
            async with process.session("leaf1") as leaf1, process.session("leaf2") as leaf2:
                grant = await leaf1.renew_lease()
                assert grant.early
                assert 0 < grant.duration_s <= process.identities.domain.lifetimes.lease_s
                vni = process.identities.domain.vns[0].vni
                found = await leaf1.look_up(Lookup(vni, mac=0x020000000001))
                assert found.result is LookupResult.BUSY, "a refusal would be remembered"
                with pytest.raises(NvaUnreachable, match="still loading; nothing was changed"):
                    await leaf1.announce(Attachment(1, 0, vni, 0x020000000001, (), ""))
                status = await process.nva.status()
                assert not status.ready
                assert "2 agents wait, and 1 NVEs had a lease prolonged" in status.not_ready[0]
                assert status.switches == status.keys == ()
                for asked in (process.nva.counters, process.nva.reconcile):
                    with pytest.raises(OperatorError, match="still loading"):
                        await asked()
                with pytest.raises(OperatorError, match="not ready after"):
                    await process.nva.wait(0.01)
                assert (await process.nva.admission())["connections"]["open"] >= 2
                process.may_load.set()
                for session in (leaf1, leaf2):
                    assert isinstance(await session.next_update(), NveView)
                grant = await leaf1.renew_lease()
                assert not grant.early
                assert grant.duration_s == process.identities.domain.lifetimes.lease_s
                assert process.nva._nva.administration.registered == ("leaf1", "leaf2")

        loading(process, check)

    def test_what_is_asked_in_between_waits_for_the_registration(self, process):
        async def check():
            sessions, waiting = process.nva._sessions, asyncio.Event()
            certificate = next(one for one in sessions.leases._certificates.values() if one.nve == "leaf1")
            first = Registration(INCARNATION, speaks=versions.here())

            async def write(_welcome: Any) -> None:
                waiting.set()

            hold = sessions.hold("leaf1", certificate, first, "here", versions.here(), write)
            task = asyncio.create_task(hold)
            await waiting.wait()
            name = sessions._held["leaf1"].name
            assert (await sessions.renew("leaf1", name, ())).early
            sessions.over()
            held = await task
            asked = asyncio.create_task(sessions.renew("leaf1", name, ()))
            done, _ = await asyncio.wait([asked], timeout=0)
            assert not done, "nobody has registered it yet"
            sessions.settle("leaf1", held)
            assert await asked is None, "the NVA itself is to be asked"
            assert sessions.waiting == 0

        loading(process, check)

    def test_an_agent_that_does_not_know_it_is_sent_away(self, process):
        async def check():
            ours = versions.here()
            old = replace(ours, features=ours.features - {"early-lease"})
            with pytest.raises(NvaUnreachable, match="still loading, and leaf1 does not know 'early-lease'"):
                async with process.session("leaf1", speaks=old):
                    raise AssertionError
            process.may_load.set()
            await until(lambda: process.nva._loaded is not None)
            async with process.session("leaf1", speaks=old) as session:
                assert isinstance(await session.next_update(), NveView)

        loading(process, check)

    def test_of_two_with_one_name_the_first_waits_on(self, process):
        async def check():
            async with process.session("leaf1") as first:
                with pytest.raises(NvaUnreachable, match="another agent waits as leaf1"):
                    async with process.session("leaf1", secrets.token_bytes(16)):
                        raise AssertionError
                assert (await first.renew_lease()).early
                # The same switch at the same place is the agent that was there before.
                async with process.session("leaf1") as second:
                    assert (await second.renew_lease()).early
                    with pytest.raises((AuthorizationError, NvaUnreachable)):
                        await first.next_update()

        loading(process, check)

    def test_a_session_of_somebody_else_is_no_way_in(self, process):
        async def check():
            async with process.session("leaf1") as first, process.session("leaf2") as second:
                second._session = first._session
                with pytest.raises(AuthorizationError, match="no such session"):
                    await second.renew_lease()

        loading(process, check)

    def test_who_is_revoked_meanwhile_goes_and_nobody_else_gets_time(self, process):
        async def check():
            async with process.session("leaf1") as leaf1, process.session("leaf3") as leaf3:
                assert (await leaf1.renew_lease()).duration_s
                process.identities.authority.revoke(process.identities.name(Role.NVE, "leaf3"))
                with pytest.raises((AuthorizationError, NvaUnreachable)):
                    await leaf3.next_update()
                assert (await leaf1.renew_lease()).duration_s == 0, "it has still to let go of leaf3"
                process.may_load.set()
                assert isinstance(await leaf1.next_update(), NveView)
                assert "leaf3" in process.nva._nva.administration.excluded

        loading(process, check)

    def test_a_wrong_file_ends_the_process_and_the_next_start_gives_nothing(self, process):
        async def check():
            process.may_load.set()
            await until(lambda: process.nva._loaded is not None and process.nva._nva.state.held._stored_early_s > 0)
            await process.stop()
            process.may_load.clear()
            good = process.identities.domain_file.read_text()
            process.identities.domain_file.write_text(good + "\nnonsense: 1\n")
            await process.start()
            assert process.nva._loaded is None
            process.may_load.set()
            with pytest.raises(Exception, match="nonsense"):
                await process._task
            process._task = None
            process.identities.domain_file.write_text(good)  # and may_load is set
            await process.start()
            assert process.nva._starting.early == "the start before has not come to its end"

        loading(process, check)


class TestSwitches:
    def test_the_lease_in_the_switches_goes_on_while_the_nva_loads(self, process, start_switch):
        world = Overlay(process.identities, start_switch, lease_s=60, lease_renew_s=20)
        process.port = world.port

        async def ends(leaf: str) -> float:
            """When the lease of a switch ends, by the clock of this machine; -inf while nothing is known of it."""
            with contextlib.suppress(OperatorError):
                status = await asyncio.to_thread(ask, world.run_directory(leaf), "status")
                left = status["switches"][0]["lease_left_s"]
                return float("-inf") if left is None else time.monotonic() + float(left)
            return float("-inf")

        async def is_ready() -> bool:
            return bool((await process.nva.status()).ready)

        async def check():
            try:
                await process.start()
                for leaf in LEAVES:
                    world.start(leaf)
                while not await is_ready():
                    await asyncio.sleep(0.05)
                await until(lambda: process.nva._nva.state.held._stored_early_s > 0)
                before = {leaf: await ends(leaf) for leaf in LEAVES}
                await process.stop()
                world.kill("leaf3")
                world.start("leaf3")  # an agent that was restarted as well finds the lease in its switch
                process.may_load.clear()
                await process.start()
                for leaf in LEAVES:
                    while await ends(leaf) < before[leaf] + 0.5:
                        await asyncio.sleep(0.05)
                assert process.nva._loaded is None
                assert set(process.nva._starting.early.granted) == set(LEAVES)
                process.may_load.set()
                await until(lambda: process.nva._loaded is not None)
                while not await is_ready():
                    await asyncio.sleep(0.05)
                for leaf in LEAVES:
                    assert "foreign-entry" not in world.log(leaf)
            finally:
                world.end()
                await process.stop()

        async def bounded() -> None:
            async with asyncio.timeout(180):
                await check()

        asyncio.run(bounded())


def test_names_are_found_at_once(tmp_path: Path):
    for text, found in (
        ("domain: lab.example\nvns: [", "lab.example"),
        ('{"domain": "lab.example", "vns": [', "lab.example"),
        ("# x\n---\ndomain: lab.example\n", "lab.example"),
        ("vns: []\ndomain: lab.example\n", None),
        ("domain: [lab.example]\n", None),
        ("", None),
        ("domain", None),
        ("\x00", None),
    ):
        path = tmp_path / "domain.yaml"
        path.write_text(text)
        assert read_domain(path).first_name() == found, text
