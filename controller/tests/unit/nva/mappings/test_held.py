# SPDX-License-Identifier: Apache-2.0
"""A number that stood for one thing is not given to another before everybody who was told so has let go of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from domain_variants import NO_RED, without_nve, without_vn
from nva_agents import DOMAIN, INCARNATIONS, Agents, Failing, certificate_of, hang
from nvo3sec.config import DomainText, example_path
from nvo3sec.domain.messages.session import ReadBack, Registration, Report
from nvo3sec.domain.overlay.difference import difference
from nvo3sec.domain.overlay.meanings import Meaning, Sort, Told, is_told, let_go, meanings
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Vap
from nvo3sec.domain.switch.status import unknown_status
from nvo3sec.errors import OperatorError
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.store import MemoryStore, StoreUnavailable, open_store
from nvo3sec.operator.documents import HeldNumber
from nvo3sec.operator.domain_file import at_start
from nvo3sec.operator.status import status_report

LEASE_S = DOMAIN.lifetimes.lease_s
RED = 5002
RED_VNI = Meaning(Sort.VNI, "5002", "red")
"""leaf1 and leaf3 serve it."""


GREEN_VN = replace(DOMAIN.vn_by_name["red"], name="green")
GREEN = replace(
    NO_RED,
    vns=(*NO_RED.vns, GREEN_VN),
    nves=tuple(replace(nve, vaps=(*nve.vaps, Vap(9, 0, "green", nve.vaps[0].meter))) for nve in NO_RED.nves),
)
"""Green has red's number, and VAPs that were nobody's."""


async def settle(agents: Agents) -> None:
    """All fetch what there is, and say that their switches are so."""
    await agents.settle()
    for name, session in agents.sessions.items():
        await session.read_back(ReadBack(INCARNATIONS[name], (), (), agents.views[name].version))


def owed_by(agents: Agents, nve: str) -> list[Meaning]:
    return [meaning for meaning, nves in agents.nva.state.held.waiting.items() if nve in nves]


async def renew(agents: Agents, *nves: str) -> None:
    for nve in nves:
        await agents.sessions[nve].renew_lease()


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


class TestVni:
    def test_an_agent_that_hangs_is_waited_for_until_its_lease_has_run_out(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await renew(agents, "leaf1", "leaf2", "leaf3")
            hung = hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            with pytest.raises(OperatorError, match=r"VNI 5002 may still be red's at leaf1, leaf3; wait until"):
                agents.nva.administration.configure(GREEN)
            await settle(agents)
            with pytest.raises(OperatorError, match=r"VNI 5002 may still be red's at leaf3; wait until"):
                agents.nva.administration.configure(GREEN)
            assert agents.nva.state.domain is NO_RED
            assert [one.refusal for one in difference(NO_RED, GREEN, agents.nva.state.held.waiting).refused]
            agents.after(LEASE_S - 0.1)
            await renew(agents, "leaf1", "leaf2")
            with pytest.raises(OperatorError, match="leaf3"):
                agents.nva.administration.configure(GREEN)
            agents.after(0.2)
            agents.nva.administration.configure(GREEN)
            await settle(agents)
            # It goes on where it was: first of all it would ask for time, with red still in its switch.
            assert (await hung.renew_lease()).duration_s == 0
            agents.sessions["leaf3"] = hung
            await settle(agents)
            assert (await hung.renew_lease()).duration_s == LEASE_S

        run(check())

    def test_everybody_confirms(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            assert agents.nva.state.held.waiting == {}
            agents.nva.administration.configure(GREEN)

        run(check())

    def test_an_older_view_confirms_nothing(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3")
            seen = agents.views["leaf3"].version
            hung = hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            await hung.read_back(ReadBack(INCARNATIONS["leaf3"], (), (), seen))
            assert agents.nva.state.held.waiting[RED_VNI] == ("leaf1", "leaf3")

        run(check())

    def test_who_left_the_vn_before_it_was_removed(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            hang(agents, "leaf3")
            agents.nva.administration.configure(without_vn(DOMAIN, "red", "leaf3"))
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            assert agents.nva.state.held.waiting[RED_VNI] == ("leaf3",)
            with pytest.raises(OperatorError, match="leaf3"):
                agents.nva.administration.configure(GREEN)

        run(check())

    def test_one_that_renews_and_never_confirms(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            silent = hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            agents.after(DEADLINE_S - 0.1)
            assert (await silent.renew_lease()).duration_s == LEASE_S, "it still has time to confirm"
            agents.after(0.1)
            for _ in range(60):  # reports of its own do not keep this one from being told
                await silent.report(Report("noise", "..."))
            assert (await silent.renew_lease()).duration_s == 0
            told = [one.report.detail for one in agents.nva.state.reports if one.report.event == "lease-withheld"]
            assert told == [f"its switch has not let go of {', '.join(map(str, owed_by(agents, 'leaf3')))}"]
            assert str(RED_VNI) in told[0]
            assert agents.nva.state.accounts.alarms(["leaf3"]) == [f"leaf3: its lease is withheld: {told[0]}"]
            with pytest.raises(OperatorError, match=r"VNI 5002 may still be red's at leaf3"):
                agents.nva.administration.configure(GREEN)
            assert (await agents.sessions["leaf1"].renew_lease()).duration_s == LEASE_S
            agents.after(LEASE_S - 0.2)
            assert (await silent.renew_lease()).duration_s == 0
            assert "leaf3" in agents.nva.state.held.waiting[RED_VNI], "what it got last has not run out"
            agents.after(0.1)
            agents.nva.administration.configure(GREEN)
            agents.sessions["leaf3"] = silent
            await settle(agents)
            assert (await silent.renew_lease()).duration_s == LEASE_S
            assert agents.nva.state.accounts.alarms(["leaf3"]) == []

        run(check())

    def test_sessions_that_begin_anew_do_not_begin_the_time_anew(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3")
            agents.nva.administration.configure(NO_RED)
            hang(agents, "leaf3")
            await settle(agents)
            agents.after(DEADLINE_S)
            for _ in range(2):
                session = agents.nva.agents.open_session("leaf3")
                await session.register(Registration(INCARNATIONS["leaf3"]))
                assert (await session.renew_lease()).duration_s == 0
                assert not [one for one in agents.nva.state.reports if one.report.event == "lease-withheld"], (
                    "it may be back"
                )
                agents.after(DEADLINE_S / 2)
            for _ in range(3):  # what has not changed is told once, however often it asks
                assert (await session.renew_lease()).duration_s == 0
            assert [one.nve for one in agents.nva.state.reports if one.report.event == "lease-withheld"] == ["leaf3"]

        run(check())

    def test_each_change_has_its_own_time(self):
        """One that confirms each view in time is never behind, however fast they come."""

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3")
            for number in range(4):
                seen = agents.views["leaf3"].version
                agents.nva.administration.configure([NO_RED, DOMAIN][number % 2])
                agents.after(DEADLINE_S / 2)
                await agents.sessions["leaf3"].read_back(ReadBack(INCARNATIONS["leaf3"], (), (), seen))
                assert (await agents.sessions["leaf3"].renew_lease()).duration_s == LEASE_S
                await settle(agents)

        run(check())

    def test_the_same_vn_may_have_its_number_again(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3")
            agents.nva.administration.configure(NO_RED)
            agents.nva.administration.configure(DOMAIN)
            assert agents.nva.state.held.waiting == {}, "all that held it are told of it again"

        run(check())

    def test_one_that_is_gone_and_comes_again_changes_its_switch_first(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3")
            await renew(agents, "leaf1", "leaf3")
            hung = hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            await hung.close()
            agents.after(LEASE_S / 2)
            assert RED_VNI in agents.nva.state.held.waiting, "its switch goes on without its agent"
            agents.after(LEASE_S / 2)
            assert agents.nva.state.held.waiting == {}
            await agents.join("leaf3")
            assert (await agents.sessions["leaf3"].renew_lease()).duration_s == LEASE_S

        run(check())

    def test_one_that_is_shut_out_in_between(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf3", certificates=True)
            await renew(agents, "leaf3")
            agents.nva.administration.suspend(["leaf3"], "its certificate was revoked")
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            assert "leaf3" in agents.nva.state.held.waiting[RED_VNI]
            agents.after(LEASE_S)
            agents.nva.administration.configure(GREEN)

        run(check())


class TestAddressAndVap:
    def test_an_address(self):
        moved = replace(
            DOMAIN,
            nves=tuple(
                replace(nve, address=IPv4Address("192.0.2.77")) if nve.name == "leaf3" else nve for nve in DOMAIN.nves
            ),
        )
        taken = replace(
            moved,
            nves=tuple(
                replace(nve, address=IPv4Address("192.0.2.3")) if nve.name == "leaf2" else nve for nve in moved.nves
            ),
        )

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            hang(agents, "leaf1")
            agents.nva.administration.configure(moved)
            await settle(agents)
            with pytest.raises(OperatorError, match=r"address 192\.0\.2\.3 may still be leaf3's at leaf1; wait"):
                agents.nva.administration.configure(taken)
            agents.after(LEASE_S)
            agents.nva.administration.configure(taken)

        run(check())
        assert "192.0.2.3 is leaf3's" in difference(DOMAIN, replace(taken, nves=taken.nves[:2])).refused[0].refusal

    def test_a_vap(self):
        place = DOMAIN.nve_by_name["leaf3"].vaps[1]
        assert place.vn == "red"
        other = replace(
            NO_RED,
            nves=tuple(
                replace(nve, vaps=(*nve.vaps, replace(place, vn="blue"))) if nve.name == "leaf3" else nve
                for nve in NO_RED.nves
            ),
        )

        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            with pytest.raises(OperatorError, match=r"VAP leaf3 port \d+ VLAN \d+ may still be red's at leaf3; wait"):
                agents.nva.administration.configure(other)
            agents.after(LEASE_S)
            agents.nva.administration.configure(other)

        run(check())
        (refused,) = difference(DOMAIN, replace(other, vns=DOMAIN.vns)).refused
        assert "is red's; apply a file without that first" in refused.refusal

    def test_an_nve_that_is_removed_cannot_confirm_and_has_its_lease(self):
        async def check():
            agents = Agents()
            await agents.join("leaf1", "leaf2", "leaf3")
            await renew(agents, "leaf3")
            agents.nva.administration.configure(without_nve(DOMAIN, "leaf3"))
            await settle(agents)
            assert agents.nva.state.held.waiting[RED_VNI] == ("leaf3",)
            agents.after(LEASE_S)
            assert agents.nva.state.held.waiting == {}

        run(check())


class TestRestarts:
    def test_nobody_is_forgotten(self, tmp_path):
        async def check():
            store = open_store(tmp_path / "db" / "a", tmp_path / "keys", DOMAIN.name)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf2", "leaf3")
            hang(agents, "leaf3")
            agents.nva.administration.configure(NO_RED)
            await settle(agents)
            agents.after(1)
            store.close()
            store = open_store(tmp_path / "db" / "a", tmp_path / "keys", DOMAIN.name)
            again = Agents(NO_RED, store)
            await again.join("leaf1", "leaf2")
            with pytest.raises(OperatorError, match="VNI 5002 may still be red's at leaf3"):
                again.nva.administration.configure(GREEN)
            await again.join("leaf3")
            await settle(again)
            again.after(1)
            again.nva.administration.configure(GREEN)
            assert all(meaning.owner != "red" for meaning, _ in store.held), "what is over is not kept"
            store.close()

        run(check())

    def test_what_changes_at_a_start(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3")
            again = Agents(NO_RED, store, before=DOMAIN)
            await again.join("leaf1")
            with pytest.raises(OperatorError, match="VNI 5002 may still be red's at leaf3"):
                again.nva.administration.configure(GREEN)

        run(check())

    def test_a_file_that_is_given_at_a_start(self):
        text = example_path().read_text(encoding="utf-8")
        given = DomainText(text, "domain.yaml", example_path().parent)
        held = {Meaning(Sort.VNI, "5002", "gone"): ("leaf3",)}
        other = text.replace("vni: 5002", "vni: 5003")
        with pytest.raises(OperatorError, match="nothing was applied: vn red: VNI 5002 may still be gone's at leaf3"):
            at_start(given, given.parse(), other, take_given=True, held=held)
        start = at_start(given, given.parse(), other, take_given=True)
        assert start.before is not None
        assert start.before.vn_by_name["red"].vni == 5003

    def test_a_lease_that_was_longer(self):
        """The leases of before go on, whatever a file says since."""

        async def check():
            store = MemoryStore(b"h" * 16)
            long = replace(DOMAIN, lifetimes=replace(DOMAIN.lifetimes, lease_s=300.0))
            agents = Agents(long, store)
            await agents.join("leaf1", "leaf3")
            agents.nva.administration.configure(replace(NO_RED, lifetimes=DOMAIN.lifetimes))
            again = Agents(replace(NO_RED, lifetimes=DOMAIN.lifetimes), store)
            again.after(LEASE_S + 1)
            assert "leaf3" in again.nva.state.held.waiting[RED_VNI]
            again.after(300 - LEASE_S - 1)
            assert again.nva.state.held.waiting == {}
            third = Agents(NO_RED, store)
            assert third.nva.state.held.longest_lease_s == LEASE_S, "long enough ago"

        run(check())

    def test_who_held_something_has_a_lease_to_confirm(self):
        async def check():
            store = MemoryStore(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3")
            agents.nva.administration.configure(NO_RED)
            again = Agents(NO_RED, store)
            await again.join("leaf1")
            silent = again.nva.agents.open_session("leaf3")
            await silent.register(Registration(INCARNATIONS["leaf3"]))
            again.after(LEASE_S - 1)
            given = (await silent.renew_lease()).duration_s
            again.after(1)
            assert (given, (await silent.renew_lease()).duration_s) == (LEASE_S, 0)

        run(check())

    def test_a_store_that_fails_changes_nothing(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3")
            store.broken = True
            with pytest.raises(StoreUnavailable):
                agents.nva.administration.configure(NO_RED)
            assert agents.nva.state.held.waiting == {}

        run(check())

    def test_who_was_shut_out_by_a_process_that_died_before_it_could_say_so(self):
        async def check():
            store = Failing(b"h" * 16)
            agents = Agents(store=store)
            await agents.join("leaf1", "leaf3", certificates=True)
            agents.nva.state.intent.suspend(["leaf3"], "its certificate was revoked")
            again = Agents(store=store)
            assert again.nva.state.held.waiting[RED_VNI] == ("leaf3",)
            session = again.nva.agents.open_session("leaf3", replace(certificate_of("leaf3"), serial="77"))
            await session.register(Registration(INCARNATIONS["leaf3"]))
            assert again.nva.state.held.waiting.get(RED_VNI) is None, "it is told of red again"

        run(check())


class TestTold:
    def test_operators_see_who_is_waited_for(self):
        status = status_report(
            DOMAIN,
            {nve.name: unknown_status(nve.name, "away") for nve in DOMAIN.nves},
            [],
            [],
            [],
            0.0,
            {"leaf2": "revoked"},
            held={RED_VNI: ("leaf2", "leaf3")},
        )
        (line,) = [line for line in status.not_ready if "VNI" in line]
        assert line == "leaf3: VNI 5002 as red's is not confirmed to be gone, and its lease has not run out"
        assert status.held == (HeldNumber("VNI 5002", "red", ("leaf2", "leaf3")),)


class TestPure:
    @pytest.mark.parametrize("after", [NO_RED, GREEN, without_nve(DOMAIN, "leaf1"), without_vn(DOMAIN, "red", "leaf1")])
    def test_what_is_let_go_of_is_what_was_told_and_is_not(self, after):
        """Said once more, number by number and NVE by NVE."""
        one, other = Told(DOMAIN, Membership(DOMAIN)), Told(after, Membership(after))
        every = {Meaning(*place, owner) for place, owner in meanings(DOMAIN).items()}
        nves = [nve.name for nve in DOMAIN.nves]
        expected = {
            (meaning, nve)
            for meaning in every
            for nve in nves
            if is_told(one, meaning, nve) and not is_told(other, meaning, nve)
        }
        assert {(meaning, nve) for meaning, gone in let_go(one, other).items() for nve in gone} == expected != set()

    @pytest.mark.parametrize("change", [lambda d: d, lambda d: without_nve(d, "leaf1"), lambda d: without_vn(d, "red")])
    @pytest.mark.parametrize("kept", [(), ("leaf1",), ("leaf1", "leaf2")])
    def test_each_address_is_let_go_of_by_itself(self, change, kept):
        def with_ipv6(domain: Domain, names: tuple[str, ...]) -> Domain:
            other = {name: IPv6Address(f"2001:db8::{name[-1]}") for name in names}
            return replace(domain, nves=tuple(replace(nve, other_address=other.get(nve.name)) for nve in domain.nves))

        old, new = with_ipv6(DOMAIN, ("leaf1", "leaf2")), with_ipv6(change(DOMAIN), kept)
        before, after = Told(old, Membership(old)), Told(new, Membership(new))
        expected = {
            (meaning, nve.name)
            for meaning in (Meaning(*place, owner) for place, owner in meanings(old).items())
            for nve in DOMAIN.nves
            if is_told(before, meaning, nve.name) and not is_told(after, meaning, nve.name)
        }
        assert {(meaning, nve) for meaning, gone in let_go(before, after).items() for nve in gone} == expected
        assert ((Meaning(Sort.ADDRESS, "2001:db8::2", "leaf2"), "leaf1") in expected) == (
            kept != ("leaf1", "leaf2") or change(DOMAIN) == without_nve(DOMAIN, "leaf1")
        )
