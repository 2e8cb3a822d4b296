# SPDX-License-Identifier: Apache-2.0
"""Tenant systems come, go and move: who is told what, who is refused, and what a restart of the NVA finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents, Failing
from nvo3sec.domain.keys.sa import Held, Used
from nvo3sec.domain.mapping import Admit, ClaimKey, Evict, Place
from nvo3sec.domain.messages.session import (
    Attachment,
    Guard,
    HeldReceive,
    KeyUse,
    Lookup,
    LookupResult,
    Position,
    Registration,
    Release,
    Relocation,
    Sign,
    Standing,
    StoreMark,
    Use,
)
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import SharedAddress, SharedMember, Suite
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva.keys import switch_events as switches
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
    asyncio.run(asyncio.wait_for(coroutine, 60))


class TestOfItsVn:
    """A number can have become another VN's since a tenant system was attached."""

    def test_what_an_agent_remembers(self):
        async def check():
            agents = Agents()
            kept = [
                replace(NEW, vn="blue"),
                replace(NEW, mac=MAC + 1, ips=(), vn="gone"),
                replace(NEW, mac=MAC + 2, ips=()),
            ]
            await agents.join("leaf1", registration=Registration(INCARNATIONS["leaf1"], attachments=tuple(kept)))
            assert {MAC, MAC + 1, MAC + 2} & attached(agents.views["leaf1"]) == {MAC, MAC + 2}

        run(check())

    @pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
    def test_a_vn_that_gets_another_number(self, away):
        """Who is there keeps what it has; who was away says the old number, and means the VN."""
        domain = replace(DOMAIN, vns=tuple(replace(vn, vni=6001) if vn.name == "blue" else vn for vn in DOMAIN.vns))
        known = replace(NEW, vn="blue")

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            assert (await agents.sessions["leaf1"].announce(known)).standing is Standing.ACTIVE
            assert (await agents.sessions["leaf2"].announce(known)).standing is Standing.FROZEN
            if away:
                await agents.sessions.pop("leaf1").close()
            agents.nva.administration.configure(domain)
            if away:
                again = Registration(INCARNATIONS["leaf1"], attachments=(known,))
                await agents.join("leaf1", registration=again)
            await agents.settle()
            assert (MAC in attached(agents.views["leaf1"]), MAC in attached(agents.views["leaf2"])) == (True, False)
            assert agents.nva.state.mappings.find((6001, NEW.ips[0])).place.nve == "leaf1"

        run(check())

    @pytest.mark.parametrize(
        "announcement", [replace(NEW, vn="gone"), Relocation(1, 0, replace(NEW, port=3, vlan=100, vn="gone"))]
    )
    def test_what_it_announces(self, announcement):
        async def check():
            agents = Agents()
            await agents.join("leaf1")
            answer = await agents.sessions["leaf1"].announce(announcement)
            assert (answer.standing, answer.reason) == (Standing.REFUSED, "not-served")

        run(check())


class TestShared:
    """An address of a set of VAPs: a claim of one of them moves it, and everybody is told."""

    def test_a_claim(self):
        one, two = (next(s for s in DOMAIN.tenant_systems if s.name == name) for name in ("blue1", "blue2"))
        members = tuple(SharedMember(s.nve, s.port, s.vlan, s.mac) for s in (one, two))
        vip = ip("10.1.0.250")
        domain = replace(DOMAIN, shared_addresses=(SharedAddress("gateway", "blue", None, (vip,), members),))

        async def check():
            agents = Agents(domain)
            await agents.join("leaf1", "leaf2", "leaf3")
            assert agents.views["leaf2"].guards == (Guard(two.port, two.vlan, two.mac, (vip,)),)
            assert agents.views["leaf1"].guards == ()
            answer = await agents.sessions["leaf2"].announce(Sign(two.port, two.vlan, BLUE, two.mac, vip, "blue"))
            assert answer.standing is Standing.ACTIVE
            await agents.settle()
            assert agents.views["leaf1"].guards == (Guard(one.port, one.vlan, one.mac, (vip,)),)
            assert agents.views["leaf2"].guards == ()
            assert (await agents.sessions["leaf3"].look_up(Lookup(BLUE, ip=vip))).nve == "leaf2"
            moved = {m.mac: m.ips for update in agents.mappings["leaf3"] for m in update.mappings}
            assert (vip in moved[one.mac], vip in moved[two.mac]) == (False, True)
            answer = await agents.sessions["leaf3"].announce(Sign(1, 0, BLUE, MAC, vip, "blue"))
            assert (answer.standing, answer.reason) == (Standing.REFUSED, "hint")
            answer = await agents.sessions["leaf1"].announce(Sign(one.port, one.vlan, BLUE, one.mac, vip, "gone"))
            assert answer.reason == "not-served"

        run(check())


class TestWhatAnnouncedOnesMay:
    """An announcement asks for addresses alone. What its VN lets them do, and what a stated one may, the file says."""

    @pytest.mark.parametrize("is_allowed", [False, True])
    def test_unspecified_sources_by_the_vn(self, is_allowed):
        vns = tuple(replace(vn, allow_unspecified_source=is_allowed) for vn in DOMAIN.vns)
        bold = [replace(one, allow_router=True, allow_dhcp_server=True) for one in DOMAIN.tenant_systems]
        domain = replace(DOMAIN, vns=vns, tenant_systems=tuple(bold))

        async def check():
            agents = Agents(domain)
            await agents.join("leaf1")
            assert (await agents.sessions["leaf1"].announce(NEW)).standing is Standing.ACTIVE
            await agents.settle()
            may = {
                one.mac: (one.allow_unspecified_source, one.allow_router, one.allow_dhcp_server)
                for one in agents.views["leaf1"].tenant_systems
                if one.vn == "blue"
            }
            assert may[MAC] == (is_allowed, False, False)
            for one in bold:
                if one.nve == "leaf1" and one.vn == "blue":
                    assert may[one.mac] == (one.allow_unspecified_source, True, True)

        run(check())


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
            session = agents.nva.agents.open_session("leaf2")
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
            agents.nva.administration.configure(with_vap)
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
            (report,) = (record for record in agents.nva.state.reports if record.report.event == "mapping-frozen")
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

    def test_the_end_of_a_lease_makes_room_for_newcomers_and_not_for_who_waited(self):
        """Waiting on somebody's address must not be a way to get it."""

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
            assert (await agents.sessions["leaf3"].look_up(Lookup(BLUE, mac=MAC))).nve == ""
            assert (await agents.sessions["leaf3"].announce(NEW)).standing is Standing.ACTIVE
            assert (await agents.sessions["leaf2"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf3"

        run(check())

    def test_an_operator_decides(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2")
            await agents.sessions["leaf1"].announce(NEW)
            await agents.sessions["leaf2"].announce(NEW)
            there, here = (ClaimKey(Place(name, 1, 0), MAC) for name in ("leaf2", "leaf1"))
            assert agents.nva.administration.decide(Admit(there)).status is Standing.ACTIVE
            assert (await agents.sessions["leaf1"].look_up(Lookup(BLUE, mac=MAC))).nve == "leaf2"
            assert agents.nva.administration.decide(Evict(here)).status is Standing.DONE
            assert agents.nva.state.mappings.frozen() == ()

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

    def test_who_is_told_why_its_session_has_ended(self):
        async def check():
            agents = Agents()
            await agents.join("leaf2", "leaf3")
            gone = [one for one in DOMAIN.nves if one.name != "leaf3"]
            stated = [one for one in DOMAIN.tenant_systems if one.nve != "leaf3"]
            agents.nva.administration.revoke("leaf2")
            agents.nva.administration.configure(replace(DOMAIN, nves=tuple(gone), tenant_systems=tuple(stated)))
            assert agents.sessions["leaf2"].why == "leaf2 is shut out of lab.example"
            assert agents.sessions["leaf3"].why == "leaf3 is not an NVE of lab.example"

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
            announced = [claim for claim in agents.nva.state.mappings.behind("leaf1") if not claim.static]
            assert len(announced) == limits.claims_per_vap
            records = [
                record.report for record in agents.nva.state.reports if record.report.event == "attachments-left-out"
            ]
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
            assert max(len(direction.sas) for direction in agents.nva.administration.directions()) < 100
            (sa,) = (sa for sa in agents.keys["leaf1"].send if sa.peer == "leaf2")
            spis = [sa.spi if number % 2 else number for number in range(5000)]
            sent = [KeyUse("leaf2", sa.suite, spi, number, 1) for number, spi in enumerate(spis)]
            sent += [KeyUse(name, sa.suite, 1, 1, 1) for name in ("leaf3", "nobody")]
            use = Use(INCARNATIONS["leaf1"], tuple(sent))
            known = {direction.tunnel: direction for direction in agents.nva.administration.directions()}
            events = list(switches.used("leaf1", known, use))
            assert events == [(Tunnel("leaf1", "leaf2", sa.suite), Used(sa.spi, 4999, 1))]

        run(check())


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
            store_of(third).close()

        def store_of(agents):
            return agents.nva.state.store

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
        assert Agents().nva.state.marks.of("leaf1") == StoreMark(0, 0)
