# SPDX-License-Identifier: Apache-2.0
"""Tenant systems come, go and move: who is told what, who is refused, and what a restart of the NVA finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents, certificate_of
from nvo3sec.domain.mapping import Admit, ClaimKey, Evict, Place
from nvo3sec.domain.membership import Tunnel
from nvo3sec.domain.messages import (
    Attachment,
    HeldReceive,
    HeldSend,
    KeyUse,
    Lookup,
    LookupResult,
    Position,
    Registration,
    Release,
    Relocation,
    Standing,
    StoreMark,
    Use,
)
from nvo3sec.domain.model import Suite
from nvo3sec.domain.sa import Held, Used
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva import switches
from nvo3sec.nva.cutoffs import DEADLINE_S
from nvo3sec.nva.store import MemoryStore, StoreUnavailable, open_store

BLUE, RED = 5001, 5002
MAC = 0x0200_0000_7777
NEW = Attachment(1, 0, BLUE, MAC, (ip("10.1.0.77"),))
"""VAP 1 of each leaf is one of blue."""


def attached(view) -> set[int]:
    return {one.mac for one in view.tenant_systems}


def _without_blue(nve):
    return replace(nve, vaps=tuple(vap for vap in nve.vaps if vap.vn != "blue"))


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


class TestTold:
    def test_its_own_nve_gets_the_tenant_the_others_the_news(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.mappings.clear()
            before = {name: view.version for name, view in agents.views.items()}
            answer = await agents.sessions["leaf1"].announce(NEW)
            assert answer.standing is Standing.ACTIVE
            await agents.settle()
            (tenant,) = (one for one in agents.views["leaf1"].tenant_systems if one.mac == MAC)
            assert (tenant.vn, tenant.port, tenant.vlan, tenant.ips) == ("blue", 1, 0, NEW.ips)
            assert not tenant.allow_other_ethertypes
            assert not tenant.allow_unspecified_source
            for name in ("leaf2", "leaf3"):
                (update,) = agents.mappings[name]
                (mapping,) = update.mappings
                assert (update.vni, mapping.mac, mapping.nve, mapping.ips) == (BLUE, MAC, "leaf1", NEW.ips)
                assert MAC not in attached(agents.views[name])
            assert {name: view.version for name, view in agents.views.items()} == before, "no view was made anew"

        run(check())

    def test_nobody_outside_the_vn_hears_of_it(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.mappings.clear()
            assert (await agents.sessions["leaf3"].announce(Attachment(2, 100, RED, MAC))).standing is Standing.ACTIVE
            await agents.settle()
            assert set(agents.mappings) == {"leaf1", "leaf3"}

        run(check())

    def test_after_a_reconnect_exactly_what_was_missed(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            known = {update.vni: update.position for update in agents.mappings["leaf2"]}
            await agents.sessions.pop("leaf2").close()
            await agents.sessions["leaf1"].announce(NEW)
            await agents.sessions["leaf1"].announce(Release(NEW.port, NEW.vlan, BLUE, MAC))
            agents.mappings.clear()
            back = Registration(INCARNATIONS["leaf2"], positions=tuple(known.items()))
            await agents.join("leaf2", registration=back)
            (update,) = agents.mappings["leaf2"]
            assert update.base == known[BLUE].version
            assert [mac for mac, _ in update.withdrawn] == [MAC]
            assert not update.mappings

        run(check())

    def test_what_changes_between_a_registration_and_its_first_update(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1")
            await agents.sessions["leaf1"].announce(NEW)
            session = agents.nva.open_session("leaf2")
            await session.register(Registration(INCARNATIONS["leaf2"]))
            assert (await session.look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"
            await agents.sessions["leaf1"].announce(Release(NEW.port, NEW.vlan, BLUE, MAC))
            agents.sessions["leaf2"] = session
            await agents.settle()
            (update,) = agents.mappings["leaf2"]
            assert [mac for mac, _ in update.withdrawn] == [MAC], "it may have learned it in the meantime"

        run(check())

    def test_the_first_change_of_a_vn_that_an_nve_has_come_to_serve(self):
        async def check():
            nves = tuple(_without_blue(nve) if nve.name == "leaf2" else nve for nve in DOMAIN.nves)
            systems = tuple(one for one in DOMAIN.tenant_systems if one.nve != "leaf2")
            without = replace(DOMAIN, nves=nves, tenant_systems=systems)
            with_vap = replace(without, nves=DOMAIN.nves)
            agents = Agents(without)
            await agents.join("leaf1", "leaf2")
            assert "leaf2" not in agents.mappings
            await agents.sessions["leaf1"].announce(NEW)
            agents.nva.configure(with_vap)
            await agents.settle()
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"
            await agents.sessions["leaf1"].announce(Release(NEW.port, NEW.vlan, BLUE, MAC))
            await agents.settle()
            assert [mac for update in agents.mappings["leaf2"] for mac, _ in update.withdrawn] == [MAC]

        run(check())

    @pytest.mark.parametrize("position", [Position(b"another history!", 5), Position(b"h" * 16, 5)])
    def test_a_position_that_nobody_knows_any_more(self, position):
        async def check():
            agents = Agents()
            registration = Registration(INCARNATIONS["leaf2"], positions=((BLUE, position),))
            await agents.join("leaf2", registration=registration)
            (update,) = agents.mappings["leaf2"]
            assert (update.base, update.mappings) == (None, ())

        run(check())


class TestMoves:
    def test_from_one_nve_to_another(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await agents.sessions["leaf1"].announce(NEW)
            query = Lookup(BLUE, mac=MAC)
            first = await agents.sessions["leaf3"].look_up(query)
            thief = await agents.sessions["leaf2"].announce(NEW)
            assert (thief.standing, thief.reason) == (Standing.FROZEN, "owned")
            assert (await agents.sessions["leaf3"].look_up(query)).nve == "leaf1", "the incumbent stays"
            (report,) = (record for record in agents.nva.reports if record.report.event == "mapping-frozen")
            assert (report.nve, "leaf1" in report.report.detail) == ("leaf2", True)
            gone = await agents.sessions["leaf1"].announce(Release(NEW.port, NEW.vlan, BLUE, MAC, successor="leaf2"))
            assert gone.standing is Standing.DONE
            second = await agents.sessions["leaf3"].look_up(query)
            assert (second.nve, second.sequence > first.sequence) == ("leaf2", True)
            await agents.settle()
            assert MAC in attached(agents.views["leaf2"])
            assert MAC not in attached(agents.views["leaf1"])

        run(check())

    def test_between_vaps_of_one_nve(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1")
            await agents.sessions["leaf1"].announce(NEW)
            answer = await agents.sessions["leaf1"].announce(Relocation(1, 0, replace(NEW, port=2)))
            assert answer.standing is Standing.ACTIVE
            await agents.settle()
            (tenant,) = (one for one in agents.views["leaf1"].tenant_systems if one.mac == MAC)
            assert tenant.port == 2

        run(check())

    def test_the_end_of_a_lease_makes_room(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await agents.sessions["leaf1"].announce(NEW)
            await agents.sessions["leaf2"].announce(NEW)
            await agents.sessions["leaf1"].close()
            agents.after(DOMAIN.lifetimes.lease_s - 1)
            for name in ("leaf2", "leaf3"):
                await agents.sessions[name].renew_lease()
            assert (await agents.sessions["leaf3"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"
            agents.after(2)
            assert (await agents.sessions["leaf3"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf2"

        run(check())

    def test_an_operator_decides(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            await agents.sessions["leaf1"].announce(NEW)
            await agents.sessions["leaf2"].announce(NEW)
            there, here = (ClaimKey(Place(name, 1, 0), MAC) for name in ("leaf2", "leaf1"))
            assert agents.nva.decide(Admit(there)).status is Standing.ACTIVE
            assert (await agents.sessions["leaf1"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf2"
            assert agents.nva.decide(Evict(here)).status is Standing.DONE
            assert agents.nva.mappings.frozen() == ()

        run(check())


class TestRefused:
    @pytest.mark.parametrize(
        "announcement",
        [
            replace(NEW, vni=RED),
            replace(NEW, port=9),
            Release(1, 0, RED, MAC),
            Release(9, 0, BLUE, MAC),
            Relocation(1, 0, replace(NEW, port=3, vlan=100)),
            Relocation(1, 0, replace(NEW, port=3, vlan=100, vni=RED)),
        ],
    )
    def test_a_vap_of_another_vn(self, announcement):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            await agents.sessions["leaf1"].announce(NEW)
            answer = await agents.sessions["leaf1"].announce(announcement)
            assert (answer.standing, answer.reason) == (Standing.REFUSED, "not-served")
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"

        run(check())

    def test_a_session_that_was_replaced(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1")
            old = agents.sessions["leaf1"]
            await agents.join("leaf1")
            assert old.ended.is_set()
            with pytest.raises(AuthorizationError):
                await old.announce(NEW)
            assert (await agents.sessions["leaf1"].announce(NEW)).standing is Standing.ACTIVE

        run(check())

    def test_what_the_domain_file_states_is_not_released_by_announcements(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1")
            stated = next(one for one in DOMAIN.tenant_systems if one.nve == "leaf1" and one.vn == "blue")
            answer = await agents.sessions["leaf1"].announce(Release(stated.port, stated.vlan, BLUE, stated.mac))
            assert (answer.standing, answer.reason) == (Standing.REFUSED, "static")
            await agents.join("leaf1")  # an agent that remembers nothing
            assert stated.mac in attached(agents.views["leaf1"])

        run(check())


class TestTooMuch:
    """What one agent says cannot keep the NVA from the others."""

    def test_attachments(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            many = tuple(Attachment(1, 0, BLUE, MAC + number) for number in range(20_000))
            await agents.join("leaf1", registration=Registration(INCARNATIONS["leaf1"], attachments=many))
            limits = DOMAIN.mapping_limits
            announced = [claim for claim in agents.nva.mappings.behind("leaf1") if not claim.static]
            assert len(announced) == limits.claims_per_vap
            records = [record.report for record in agents.nva.reports if record.report.event == "attachments-left-out"]
            assert [record.detail.split(",")[0] for record in records] == ["20000"]

        run(check())

    def test_keys(self):
        """Held by a switch, and sent with: thousands for one direction, of which none exists."""
        leaf2 = DOMAIN.nve_by_name["leaf2"]

        async def check():
            agents = Agents()
            held = tuple(HeldReceive(leaf2.address, Suite.CHASKEY12, Held(spi, spi, 60.0)) for spi in range(1, 5000))
            await agents.join("leaf1", registration=Registration(INCARNATIONS["leaf1"], receive=held))
            await agents.join("leaf2")
            assert max(len(direction.sas) for direction in agents.nva.directions()) < 100
            (sa,) = (sa for sa in agents.keys["leaf1"].send if sa.peer == "leaf2")
            spis = [sa.spi if number % 2 else number for number in range(5000)]
            sent = [KeyUse("leaf2", sa.suite, spi, number, 1) for number, spi in enumerate(spis)]
            sent += [KeyUse(name, sa.suite, 1, 1, 1) for name in ("leaf3", "nobody")]
            use = Use(INCARNATIONS["leaf1"], tuple(sent))
            known = {direction.tunnel: direction for direction in agents.nva.directions()}
            events = list(switches.used("leaf1", known, use))
            assert events == [(Tunnel("leaf1", "leaf2", sa.suite), Used(sa.spi, 4999, 1))]

        run(check())


class Failing(MemoryStore):
    broken = False

    def commit(self, changes):
        if self.broken and changes:
            raise StoreUnavailable("the disk is full")
        return super().commit(changes)


class TestStore:
    def test_a_store_that_fails_ends_the_nva_and_promises_nothing(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            running = asyncio.create_task(agents.nva.run())
            store.broken = True
            with pytest.raises(StoreUnavailable):
                await agents.sessions["leaf1"].announce(NEW)
            store.broken = False
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await running

        run(check())

    def test_announcements_of_one_moment_are_one_commit(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            before = store.version
            calls = [agents.sessions["leaf1"].announce(replace(NEW, mac=MAC + n, ips=())) for n in range(100)]
            answers = await asyncio.gather(*calls)
            assert {answer.standing for answer in answers} == {Standing.ACTIVE}
            assert store.version == before + 1

        run(check())

    def test_a_restart_finds_everything_that_was_acknowledged(self, tmp_path):
        def reopened():
            return open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", DOMAIN.name)

        async def check():
            store = reopened()
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            await agents.sessions["leaf1"].announce(NEW)
            store.close()
            again = Agents(store=reopened())
            await again.join("leaf2", "leaf1", registration=None)
            assert (await again.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN, (
                "the agent that has it says everything that is attached, and that was nothing"
            )
            third = Agents(store=store_of(again))
            await third.join("leaf2")
            back = Registration(INCARNATIONS["leaf1"], attachments=(NEW,))
            await third.join("leaf1", registration=back)
            assert (await third.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"

        def store_of(agents):
            return agents.nva._store

        run(check())

    def test_before_its_agent_is_back_a_restarted_nva_answers_with_what_was_acknowledged(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            await agents.sessions["leaf1"].announce(NEW)
            again = Agents(store=store)
            await again.join("leaf2")
            assert (await again.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf1"
            again.after(DOMAIN.lifetimes.lease_s)
            assert (await again.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN

        run(check())

    def test_memory_says_that_it_is_none(self):
        assert Agents().nva.marks.of("leaf1") == StoreMark(0, 0)


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
            agents.nva.revoke("leaf3")
            assert agents.sessions.pop("leaf3").ended.is_set()
            assert agents.nva.not_yet_without("leaf3") == ("leaf1", "leaf2")
            await agents.settle()
            assert agents.nva.not_yet_without("leaf3") == ()
            for name in ("leaf1", "leaf2"):
                assert "leaf3" not in {peer.name for peer in agents.views[name].peers}
                assert "leaf3" not in {sa.peer for sa in (*agents.keys[name].receive, *agents.keys[name].send)}
            assert [sa.spi for sa in agents.keys["leaf1"].send if sa.peer == "leaf2"] == kept, "nobody else"
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).result is LookupResult.UNKNOWN
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="revoked for good"):
                    nva.open_session("leaf3")
                assert nva.excluded == {"leaf3": "revoked"}

        run(check())

    def test_who_is_not_connected_has_to_run_out_of_its_lease(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await agents.sessions.pop("leaf2").close()
            agents.nva.revoke("leaf3")
            agents.sessions.pop("leaf3")
            await agents.settle()
            assert agents.nva.not_yet_without("leaf3") == ("leaf2",)
            agents.after(DOMAIN.lifetimes.lease_s)
            assert agents.nva.not_yet_without("leaf3") == ()

        run(check())

    @pytest.mark.parametrize("before", ["revoke", "suspend"])
    def test_an_operator_who_asks_again_waits_for_the_same_switches(self, before):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            if before == "revoke":
                agents.nva.revoke("leaf3")
            else:
                agents.nva.suspend(["leaf3"], "its certificate was revoked")
            agents.sessions.pop("leaf3")
            agents.nva.revoke("leaf3")
            assert agents.nva.not_yet_without("leaf3") == ("leaf1", "leaf2")
            await agents.settle()
            assert agents.nva.not_yet_without("leaf3") == ()

        run(check())

    def test_who_stays_connected_and_does_not_confirm_gets_no_lease(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.nva.revoke("leaf3")
            agents.sessions.pop("leaf3")
            silent = agents.sessions.pop("leaf2")
            await agents.settle()
            full = DOMAIN.lifetimes.lease_s
            agents.after(DEADLINE_S - 1)
            assert (await silent.renew_lease()).duration_s == full
            agents.after(1)
            assert (await silent.renew_lease()).duration_s == 0, "left behind, and closed"
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == full
            assert [one.nve for one in agents.nva.reports if one.report.event == "lease-withheld"] == ["leaf2"]
            agents.sessions["leaf2"] = silent
            await agents.settle()
            assert agents.nva.not_yet_without("leaf3") == ()
            assert (await silent.renew_lease()).duration_s == full

        run(check())

    def test_who_has_let_go_of_it_may_come_again_later(self):
        """An agent that is restarted is not asked twice: its tunnels would close until it has confirmed again."""

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.nva.revoke("leaf3")
            agents.sessions.pop("leaf3")
            silent = agents.sessions.pop("leaf2")
            await agents.settle()
            agents.after(DEADLINE_S)
            for name, lease_s in (("leaf1", DOMAIN.lifetimes.lease_s), ("leaf2", 0)):
                session = agents.nva.open_session(name)
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
            if how == "revoke":
                agents.nva.revoke("leaf3")
            else:
                agents.nva.suspend(["leaf3"], "its certificate was revoked")
            again = Agents(store=store)
            await again.join("leaf1")
            silent = again.nva.open_session("leaf2")
            await silent.register(Registration(INCARNATIONS["leaf2"]))
            assert again.nva.not_yet_without("leaf3") == ("leaf2",)
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
            follow, times = agents.nva._follow_intent, []
            agents.nva._follow_intent = lambda now: (times.append(now), follow(now))
            agents.nva.suspend(["leaf2", "leaf3", "leaf9"], "their certificates were revoked")
            agents.nva.suspend(["leaf2"], "again")
            assert len(times) == 1
            assert set(agents.nva.excluded) == {"leaf2", "leaf3"}
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
            agents.nva.suspend(["leaf3"], "its certificate was revoked")
            renewed = replace(certificate_of("leaf3"), serial="ff")
            session = agents.nva.open_session("leaf3", renewed)
            await session.register(Registration(INCARNATIONS["leaf3"]))
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="needs another certificate"):
                    nva.open_session("leaf3", certificate_of("leaf3"))
                nva.open_session("leaf3", renewed)

        run(check())

    def test_who_has_not_been_read_back_yet_is_not_blamed(self):
        """It comes for the first time, long after somebody was revoked and the NVA restarted."""

        async def check():
            store = MemoryStore(b"h" * 16)
            Agents(store=store).nva.revoke("leaf3")
            agents = Agents(store=store)
            agents.after(1000)
            session = agents.nva.open_session("leaf1")
            await session.register(Registration(INCARNATIONS["leaf1"]))
            assert (await session.renew_lease()).duration_s == 0, "nothing is known of its switch"
            assert list(agents.nva.reports) == []
            agents.sessions["leaf1"] = session
            await agents.settle()
            assert (await session.renew_lease()).duration_s == DOMAIN.lifetimes.lease_s

        run(check())

    def test_a_suspension_is_waited_for_likewise_and_ends(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.nva.suspend(["leaf3"], "its certificate was revoked")
            agents.sessions.pop("leaf3")
            agents.after(DEADLINE_S)
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == 0
            await agents.join("leaf3")
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == DOMAIN.lifetimes.lease_s

        run(check())

    def test_after_a_restart_nobody_is_known_to_have_no_lease(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            agents.nva.revoke("leaf3")
            assert agents.nva.not_yet_without("leaf3") == ("leaf1", "leaf2"), "switches may have one of an earlier NVA"
            agents.after(DOMAIN.lifetimes.lease_s)
            assert agents.nva.not_yet_without("leaf3") == ()

        run(check())

    def test_suspended_until_it_comes_with_a_good_certificate(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            before = {sa.spi for sa in agents.keys["leaf1"].receive if sa.peer == "leaf3"}
            agents.nva.suspend(["leaf3"], "its certificate was revoked")
            agents.sessions.pop("leaf3")
            await agents.settle()
            assert {peer.name for peer in agents.views["leaf1"].peers} == {"leaf2"}
            await agents.join("leaf3")
            assert {peer.name for peer in agents.views["leaf1"].peers} == {"leaf2", "leaf3"}
            after = {sa.spi for sa in agents.keys["leaf1"].receive if sa.peer == "leaf3"}
            assert after
            assert not after & before, "what it may have given away opens nothing"
            assert all(direction.is_established for direction in agents.nva.directions())

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
            agents.nva.suspend(["leaf3"], "its certificate was revoked")
            again = Agents(store=store)
            assert again.nva.excluded == {"leaf3": "its certificate was revoked"}
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
            assert {direction.tunnel.sender for direction in again.nva.directions()} == {"leaf1", "leaf2"}

        run(check())

    def test_it_ends_with_another_certificate_and_with_no_other(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3", certificates=True)
            agents.nva.suspend(["leaf3"], "its certificate was revoked")
            for nva in (agents.nva, Agents(store=store).nva):
                with pytest.raises(AuthorizationError, match="needs another certificate"):
                    nva.open_session("leaf3", certificate_of("leaf3"))
            waiting = agents.nva.open_session("leaf1", certificate_of("leaf1"))
            agents.nva.suspend(["leaf1"], "its certificate was revoked")
            with pytest.raises(AuthorizationError, match="needs another certificate"):
                await waiting.register(Registration(INCARNATIONS["leaf1"]))
            assert set(agents.nva.excluded) == {"leaf1", "leaf3"}, "suspended between its two messages"
            renewed = replace(certificate_of("leaf3"), serial="ff")
            session = agents.nva.open_session("leaf3", renewed)
            await session.register(Registration(INCARNATIONS["leaf3"]))
            for nva in (agents.nva, Agents(store=store).nva):
                assert set(nva.excluded) == {"leaf1"}
                assert nva.intent.certificates == (renewed,), "what is looked for in revocation lists from now on"

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
            assert agents.nva.intent.certificates == (certificate_of("leaf1"),)

        run(check())

    def test_a_store_that_fails_suspends_nobody_and_ends_the_nva(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2")
            running = asyncio.create_task(agents.nva.run())
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.suspend(["leaf2"], "its certificate was revoked")
            store.broken = False
            assert agents.nva.excluded == {}
            with pytest.raises(StoreUnavailable):
                await running

        run(check())

    def test_who_was_alone_is_served_when_others_come_back(self):
        async def check():
            agents = Agents()
            for name in ("leaf2", "leaf3"):
                agents.nva.suspend([name], "its certificate was revoked")
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
                agents.nva.revoke("leaf2")
            store.broken = False
            with pytest.raises(StoreUnavailable):
                await running

        run(check())
