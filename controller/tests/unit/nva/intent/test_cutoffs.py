# SPDX-License-Identifier: Apache-2.0
"""NVEs that are revoked or suspended: everywhere at once, through restarts, and nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents, Failing, certificate_of
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.messages.session import (
    Attachment,
    HeldReceive,
    HeldSend,
    Lookup,
    LookupResult,
    NveView,
    ReadBack,
    Registration,
)
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.store import MemoryStore, StoreUnavailable

BLUE = 5001
MAC = 0x0200_0000_7777
NEW = Attachment(1, 0, BLUE, MAC, (ip("10.1.0.77"),))
"""VAP 1 of each leaf is one of blue."""
WHY = "its certificate was revoked"


def shut_out(agents: Agents, how: str) -> None:
    """leaf3."""
    if how == "revoke":
        agents.nva.administration.revoke("leaf3")
    else:
        agents.nva.administration.suspend(["leaf3"], WHY)


async def without_leaf3(how: str) -> Agents:
    """All were there, and leaf3 has just been shut out. The others have not been told yet."""
    agents = Agents()
    await agents.join("leaf1", "leaf2", "leaf3")
    shut_out(agents, how)
    agents.sessions.pop("leaf3")
    return agents


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


class TestShutOut:
    def test_revoked_everywhere_at_once_and_for_good(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2", "leaf3")
            await agents.sessions["leaf3"].announce(NEW)
            await agents.settle()
            old = {sa.spi for sa in (*agents.keys["leaf1"].receive, *agents.keys["leaf1"].send) if sa.peer == "leaf3"}
            kept = [sa.spi for sa in agents.keys["leaf1"].send if sa.peer == "leaf2"]
            assert old
            agents.nva.administration.revoke("leaf3")
            assert agents.sessions.pop("leaf3").ended.is_set()
            assert agents.nva.administration.not_yet_without("leaf3") == ("leaf1", "leaf2")
            await agents.settle()
            assert agents.nva.administration.not_yet_without("leaf3") == ()
            for name in ("leaf1", "leaf2"):
                assert "leaf3" not in {peer.name for peer in agents.views[name].peers}
                assert "leaf3" not in {sa.peer for sa in (*agents.keys[name].receive, *agents.keys[name].send)}
            assert [sa.spi for sa in agents.keys["leaf1"].send if sa.peer == "leaf2"] == kept, "nobody else"
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="revoked for good"):
                    nva.agents.open_session("leaf3")
                assert nva.administration.excluded == {"leaf3": "revoked"}

        run(check())

    def test_who_is_not_connected_has_to_run_out_of_its_lease(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await agents.sessions.pop("leaf2").close()
            agents.nva.administration.revoke("leaf3")
            agents.sessions.pop("leaf3")
            await agents.settle()
            assert agents.nva.administration.not_yet_without("leaf3") == ("leaf2",)
            agents.after(DOMAIN.lifetimes.lease_s)
            assert agents.nva.administration.not_yet_without("leaf3") == ()

        run(check())

    @pytest.mark.parametrize("before", ["revoke", "suspend"])
    def test_an_operator_who_asks_again_waits_for_the_same_switches(self, before):
        async def check():
            agents = await without_leaf3(before)
            agents.nva.administration.revoke("leaf3")
            assert agents.nva.administration.not_yet_without("leaf3") == ("leaf1", "leaf2")
            await agents.settle()
            assert agents.nva.administration.not_yet_without("leaf3") == ()

        run(check())

    def test_who_stays_connected_and_does_not_confirm_gets_no_lease(self):
        async def check():
            agents = await without_leaf3("revoke")
            silent = agents.sessions.pop("leaf2")
            await agents.settle()
            full = DOMAIN.lifetimes.lease_s
            agents.after(DEADLINE_S - 1)
            assert (await silent.renew_lease()).duration_s == full
            agents.after(1)
            assert (await silent.renew_lease()).duration_s == 0, "left behind, and closed"
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == full
            assert [one.nve for one in agents.nva.state.reports if one.report.event == "lease-withheld"] == ["leaf2"]
            agents.sessions["leaf2"] = silent
            await agents.settle()
            assert agents.nva.administration.not_yet_without("leaf3") == ()
            assert (await silent.renew_lease()).duration_s == full

        run(check())

    def test_a_switch_that_was_read_back_as_it_was_before_has_let_go_of_nobody(self):
        async def check():
            agents = await without_leaf3("revoke")
            silent, old = agents.sessions.pop("leaf2"), agents.views["leaf2"].version
            await agents.settle()
            await silent.read_back(ReadBack(INCARNATIONS["leaf2"], (), (), old))
            assert agents.nva.administration.not_yet_without("leaf3") == ("leaf2",)
            agents.after(DEADLINE_S)
            assert (await silent.renew_lease()).duration_s == 0
            while not isinstance(update := silent.update_now(), NveView):
                assert update is not None
            await silent.read_back(ReadBack(INCARNATIONS["leaf2"], (), (), update.version))
            assert agents.nva.administration.not_yet_without("leaf3") == ()
            assert (await silent.renew_lease()).duration_s == DOMAIN.lifetimes.lease_s

        run(check())

    def test_who_has_let_go_of_it_may_come_again_later(self):
        """An agent that is restarted is not asked twice: its tunnels would close until it has confirmed again."""

        async def check():
            agents = await without_leaf3("revoke")
            silent = agents.sessions.pop("leaf2")
            await agents.settle()
            agents.after(DEADLINE_S)
            for name, lease_s in (("leaf1", DOMAIN.lifetimes.lease_s), ("leaf2", 0)):
                session = agents.nva.agents.open_session(name)
                await session.register(Registration(INCARNATIONS[name]))
                assert (await session.renew_lease()).duration_s == lease_s
            assert silent.ended.is_set()

        run(check())

    @pytest.mark.parametrize("how", ["revoke", "suspend"])
    def test_a_restart_of_the_nva_spares_nobody_who_does_not_confirm(self, how):
        async def check():
            store, full = MemoryStore(b"h" * 16), DOMAIN.lifetimes.lease_s
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2", "leaf3", certificates=True)
            shut_out(agents, how)
            again = Agents(store=store)
            await again.join("leaf1")
            silent = again.nva.agents.open_session("leaf2")
            await silent.register(Registration(INCARNATIONS["leaf2"]))
            assert again.nva.administration.not_yet_without("leaf3") == ("leaf2",)
            again.after(max(DEADLINE_S, full) - 1)
            assert (await silent.renew_lease()).duration_s == full
            again.after(1)
            assert (await silent.renew_lease()).duration_s == 0
            assert (await again.sessions["leaf1"].renew_lease()).duration_s == full
            again.sessions["leaf2"] = silent
            await again.settle()
            assert (await silent.renew_lease()).duration_s == full

        run(check())

    def test_of_many_at_once_is_one_change(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            version = agents.views["leaf1"].version
            follow, times = agents.nva.state.follow_intent, []
            agents.nva.state.follow_intent = lambda now: (times.append(now), follow(now))
            agents.nva.administration.suspend(["leaf2", "leaf3", "leaf9"], "their certificates were revoked")
            agents.nva.administration.suspend(["leaf2"], "again")
            assert len(times) == 1
            assert set(agents.nva.administration.excluded) == {"leaf2", "leaf3"}
            del agents.sessions["leaf2"], agents.sessions["leaf3"]
            await agents.settle()
            assert agents.views["leaf1"].version > version
            assert agents.views["leaf1"].peers == ()

        run(check())

    def test_the_certificate_of_a_suspension_never_comes_back(self):
        """Not even after another one, when a revocation list that was put back has forgotten it."""

        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf3", certificates=True)
            agents.nva.administration.suspend(["leaf3"], WHY)
            renewed = replace(certificate_of("leaf3"), serial="ff")
            session = agents.nva.agents.open_session("leaf3", renewed)
            await session.register(Registration(INCARNATIONS["leaf3"]))
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="needs another certificate"):
                    nva.agents.open_session("leaf3", certificate_of("leaf3"))
                nva.agents.open_session("leaf3", renewed)

        run(check())

    def test_who_has_not_been_read_back_yet_is_not_blamed(self):
        """It comes for the first time, long after somebody was revoked and the NVA restarted."""

        async def check():
            store = MemoryStore(b"h" * 16)
            Agents(store=store).nva.administration.revoke("leaf3")
            agents = Agents(store=store)
            agents.after(1000)
            session = agents.nva.agents.open_session("leaf1")
            await session.register(Registration(INCARNATIONS["leaf1"]))
            assert (await session.renew_lease()).duration_s == 0, "nothing is known of its switch"
            assert list(agents.nva.state.reports) == []
            agents.sessions["leaf1"] = session
            await agents.settle()
            assert (await session.renew_lease()).duration_s == DOMAIN.lifetimes.lease_s

        run(check())

    def test_a_suspension_is_waited_for_likewise_and_ends(self):
        async def check():
            agents = await without_leaf3("suspend")
            agents.after(DEADLINE_S)
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == 0
            await agents.join("leaf3")
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == DOMAIN.lifetimes.lease_s

        run(check())

    def test_after_a_restart_nobody_is_known_to_have_no_lease(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            agents.nva.administration.revoke("leaf3")
            assert agents.nva.administration.not_yet_without("leaf3") == ("leaf1", "leaf2"), (
                "switches may have one of an earlier NVA"
            )
            agents.after(DOMAIN.lifetimes.lease_s)
            assert agents.nva.administration.not_yet_without("leaf3") == ()

        run(check())

    def test_who_is_suspended_is_awaited_unless_it_is_revoked_for_good_or_out_of_the_file(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.nva.administration.suspend(["leaf2", "leaf3"], WHY)
            assert agents.nva.state.intent.awaited == {"leaf2", "leaf3"}
            agents.nva.administration.revoke("leaf2")
            assert agents.nva.state.intent.awaited == {"leaf3"}
            without = replace(DOMAIN, nves=tuple(nve for nve in DOMAIN.nves if nve.name != "leaf3"))
            agents.nva.administration.configure(replace(without, tenant_systems=(), reservations=(), tunnels=()))
            assert agents.nva.state.intent.awaited == set()
            agents.nva.administration.configure(DOMAIN)
            assert agents.nva.state.intent.awaited == {"leaf3"}, "it needs another certificate still"

        run(check())

    def test_suspended_until_it_comes_with_a_good_certificate(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            before = {sa.spi for sa in agents.keys["leaf1"].receive if sa.peer == "leaf3"}
            agents.nva.administration.suspend(["leaf3"], WHY)
            agents.sessions.pop("leaf3")
            await agents.settle()
            assert {peer.name for peer in agents.views["leaf1"].peers} == {"leaf2"}
            await agents.join("leaf3")
            assert {peer.name for peer in agents.views["leaf1"].peers} == {"leaf2", "leaf3"}
            after = {sa.spi for sa in agents.keys["leaf1"].receive if sa.peer == "leaf3"}
            assert after
            assert not after & before, "what it may have given away opens nothing"
            assert all(direction.is_established for direction in agents.nva.administration.directions())

        run(check())

    def test_a_suspension_outlives_the_nva(self):
        """Also for a peer that was away meanwhile, and whose switch still has everything of it."""

        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2", "leaf3", certificates=True)
            await agents.sessions["leaf3"].announce(NEW)
            await agents.settle()
            await agents.sessions.pop("leaf2").close()
            held = agents.keys["leaf2"]
            agents.nva.administration.suspend(["leaf3"], WHY)
            again = Agents(store=store)
            assert again.nva.administration.excluded == {"leaf3": WHY}
            peers = {peer.name: peer.address for peer in agents.views["leaf2"].peers}
            receive = tuple(
                HeldReceive(peers[sa.peer], sa.suite, Held(sa.spi, sa.generation, 900.0)) for sa in held.receive
            )
            send = tuple(HeldSend(peers[sa.peer], sa.suite, Held(sa.spi, 0, 900.0)) for sa in held.send)
            await again.join("leaf2", registration=Registration(INCARNATIONS["leaf2"], receive, send))
            await again.join("leaf1")
            for name in ("leaf1", "leaf2"):
                assert {peer.name for peer in again.views[name].peers} == {"leaf1", "leaf2"} - {name}
                keys = again.keys[name]
                assert "leaf3" not in {sa.peer for sa in (*keys.receive, *keys.send)}
            assert (await again.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN
            assert {direction.tunnel.sender for direction in again.nva.administration.directions()} == {
                "leaf1",
                "leaf2",
            }

        run(check())

    def test_it_ends_with_another_certificate_and_with_no_other(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3", certificates=True)
            agents.nva.administration.suspend(["leaf3"], WHY)
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="needs another certificate"):
                    nva.agents.open_session("leaf3", certificate_of("leaf3"))
            waiting = agents.nva.agents.open_session("leaf1", certificate_of("leaf1"))
            agents.nva.administration.suspend(["leaf1"], WHY)
            with pytest.raises(AuthorizationError, match="needs another certificate"):
                await waiting.register(Registration(INCARNATIONS["leaf1"]))
            assert set(agents.nva.administration.excluded) == {"leaf1", "leaf3"}, "suspended between its two messages"
            renewed = replace(certificate_of("leaf3"), serial="ff")
            session = agents.nva.agents.open_session("leaf3", renewed)
            await session.register(Registration(INCARNATIONS["leaf3"]))
            for nva in (agents.nva, Agents(store=store).nva):
                assert set(nva.administration.excluded) == {"leaf1"}
                assert nva.state.intent.certificates == (renewed,), "what is looked for in revocation lists from now on"

        run(check())

    def test_a_certificate_is_written_down_once(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", certificates=True)
            version = store.version
            for _ in range(3):
                await agents.join("leaf1", certificates=True)
            assert store.version == version
            assert agents.nva.state.intent.certificates == (certificate_of("leaf1"),)

        run(check())

    def test_a_store_that_fails_suspends_nobody_and_ends_the_nva(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            running = asyncio.create_task(agents.nva.run())
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.administration.suspend(["leaf2"], WHY)
            store.broken = False
            assert agents.nva.administration.excluded == {}
            with pytest.raises(StoreUnavailable):
                await running

        run(check())

    def test_who_was_alone_is_served_when_others_come_back(self):
        async def check():
            agents = Agents()
            for name in ("leaf2", "leaf3"):
                agents.nva.administration.suspend([name], WHY)
            await agents.join("leaf1")
            assert agents.views["leaf1"].peers == ()
            await agents.join("leaf2")
            agents.after(2)
            await agents.settle()
            for name, peer in (("leaf1", "leaf2"), ("leaf2", "leaf1")):
                assert [sa.peer for sa in agents.keys[name].send] == [peer]
                assert [sa.peer for sa in agents.keys[name].receive] == [peer]

        run(check())

    def test_a_store_that_fails_revokes_nobody_and_ends_the_nva(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            running = asyncio.create_task(agents.nva.run())
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.administration.revoke("leaf2")
            store.broken = False
            with pytest.raises(StoreUnavailable):
                await running

        run(check())
