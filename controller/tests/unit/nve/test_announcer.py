# SPDX-License-Identifier: Apache-2.0
"""What is attached is announced anew by itself where it went without a decision, and never against one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address as ip
from typing import Any

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.mapping import Admit, ClaimKey, Evict, Place
from nvo3sec.domain.messages.session import Attachment, AttachmentAnswer, ReadBack, Registration, Release, Standing
from nvo3sec.domain.overlay.model import Domain, Vap
from nvo3sec.errors import AuthorizationError, NvaGoneBack, NvaUnreachable, VersionMismatch
from nvo3sec.nve import AgentMemory
from nvo3sec.nve.agent_memory import place_of
from nvo3sec.nve.announcer import Announcer
from structlog.testing import capture_logs

BLUE, RED = 5001, 5002
MAC = 0x0200_0000_7777
IP = ip("10.1.0.77")
ONE = Attachment(1, 0, BLUE, MAC, (IP,), vn="blue")
OTHER = replace(ONE, mac=MAC + 2, ips=(ip("10.1.0.78"),))


def with_vaps(nve: str, change: Callable[[tuple[Vap, ...]], tuple[Vap, ...]], domain: Domain = DOMAIN) -> Domain:
    return replace(
        domain,
        nves=tuple(replace(one, vaps=change(one.vaps)) if one.name == nve else one for one in domain.nves),
        tenant_systems=tuple(one for one in domain.tenant_systems if one.nve != nve),
    )


STATES_NOTHING = with_vaps("leaf1", lambda vaps: vaps)
NO_VAP = with_vaps("leaf1", lambda vaps: tuple(vap for vap in vaps if vap.place != (1, 0)))
NONE_AT_ALL = with_vaps("leaf1", lambda _: ())
RED_VAP = with_vaps("leaf1", lambda vaps: tuple(replace(v, vn="red") if v.place == (1, 0) else v for v in vaps))
NO_BLUE = replace(
    DOMAIN,
    vns=tuple(vn for vn in DOMAIN.vns if vn.name != "blue"),
    nves=tuple(replace(nve, vaps=tuple(vap for vap in nve.vaps if vap.vn != "blue")) for nve in DOMAIN.nves),
    tenant_systems=tuple(one for one in DOMAIN.tenant_systems if one.vn != "blue"),
    reservations=tuple(one for one in DOMAIN.reservations if one.vn != "blue"),
)


def renumbered(domain: Domain, vni: int) -> Domain:
    return replace(domain, vns=tuple(replace(vn, vni=vni) if vn.name == "blue" else vn for vn in domain.vns))


class Site:
    """What an agent has of one NVE beside its switch. asked: what was announced by itself."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.memory = AgentMemory(name)
        self.announcer = Announcer(name, self.memory)
        self.asked: list[Attachment] = []
        self.reports: list[str] = []
        self.renewals = 0
        self.before_it_is_asked: Callable[[Attachment], Any] = lambda _: None

    @property
    def session(self):
        return self.world.agents.sessions[self.name]

    async def announce(self, announcement: Attachment) -> AttachmentAnswer:
        """As a session, which the announcer asks."""
        self.asked.append(announcement)
        answer = self.before_it_is_asked(announcement)
        return answer or await self.session.announce(announcement)

    async def renew_lease(self, seen: Any = ()) -> Any:
        self.renewals += 1
        return await self.session.renew_lease(seen)

    async def report(self, report: Any) -> None:
        self.reports.append(report.detail)
        await self.session.report(report)

    async def attach(self, one: Attachment) -> AttachmentAnswer:
        """Somebody asks for it."""
        answer = await self.session.announce(one)
        self.memory.put(one)
        self.announcer.answered(one, answer)
        return answer

    async def follow(self, *, whole: bool = True) -> None:
        """Take what the NVA says now, and do what is due."""
        view = self.world.agents.views[self.name]
        self.memory.name_vns({vn.vni: vn.name for vn in view.vns})
        self.announcer.follow(view, whole=whole)
        await self.announcer._announce_all(self)
        await self.world.agents.settle()
        view = self.world.agents.views[self.name]
        self.announcer.follow(view, whole=False)

    def state(self, one: Attachment = ONE) -> tuple[str, str]:
        return self.announcer.state(self.memory.attachments[place_of(one)])


class World:
    """An NVA with three agents, each with an announcer."""

    def __init__(self) -> None:
        self.agents = Agents(STATES_NOTHING)
        self.sites = {name: Site(self, name) for name in INCARNATIONS}

    async def apply(self, *domains: Domain) -> None:
        """One file after the other. Everybody hears of the last one only."""
        for domain in domains:
            self.agents.nva.administration.configure(domain)
        await self.follow()

    async def follow(self, *, whole: bool = True) -> None:
        await self.agents.settle()
        for site in self.sites.values():
            await site.follow(whole=whole)

    def where(self, vni: int = BLUE, address: Any = IP) -> str | None:
        found = self.agents.nva.state.mappings.find((vni, address))
        return None if found is None else found.place.nve


def story(tell: Callable[[World, Site], Awaitable[None]]) -> None:
    """leaf1 has ONE, active, and everybody knows."""

    async def run() -> None:
        world = World()
        await world.agents.join(*INCARNATIONS)
        site = world.sites["leaf1"]
        assert (await site.attach(ONE)).standing is Standing.ACTIVE
        await world.follow()
        assert site.state() == ("active", "")
        assert site.asked == []
        await tell(world, site)

    asyncio.run(asyncio.wait_for(run(), 60))


class TestItComesBack:
    def test_with_its_vap(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            assert (world.where(), site.asked) == (None, [])
            assert site.state() == ("not-served", "port 1 is no VAP")
            await world.apply(STATES_NOTHING)
            assert (world.where(), site.state()) == ("leaf1", ("active", ""))
            assert site.asked == [replace(ONE, again=True)]
            await world.follow()
            assert len(site.asked) == 1

        story(tell)

    def test_with_its_vap_that_went_and_came_before_anybody_heard_of_it(self):
        async def tell(world, site):
            await world.apply(NO_VAP, STATES_NOTHING)
            assert (world.where(), site.state()) == ("leaf1", ("active", ""))

        story(tell)

    def test_with_its_vn_under_another_number(self):
        async def tell(world, site):
            await world.apply(NO_BLUE)
            assert site.state() == ("not-served", "VN blue is not served here")
            await world.apply(renumbered(STATES_NOTHING, 6001))
            assert (world.where(6001), world.where()) == ("leaf1", None)
            assert site.memory.attachments[place_of(ONE)].vni == 6001
            await world.apply(STATES_NOTHING)
            await world.apply(renumbered(STATES_NOTHING, 6001))
            await world.apply(renumbered(STATES_NOTHING, 6002), STATES_NOTHING)
            assert (world.where(), len(site.asked)) == ("leaf1", 1), "the NVA keeps what only gets another number"

        story(tell)

    def test_where_the_nve_had_no_lease_any_more(self):
        async def tell(world, site):
            await world.apply(NONE_AT_ALL)
            await world.apply(STATES_NOTHING)
            assert (world.where(), site.renewals) == ("leaf1", 1)
            assert [one.again for one in site.asked] == [True, True]

        story(tell)

    def test_after_its_lease_has_ended_in_the_session(self):
        async def tell(world, site):
            world.agents.after(DOMAIN.lifetimes.lease_s)
            await world.follow(whole=False)
            assert (world.where(), site.state()) == ("leaf1", ("active", ""))

        story(tell)

    def test_after_a_restart_of_the_agent(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            again = world.sites["leaf1"] = Site(world, "leaf1")
            again.memory.attachments = dict(site.memory.attachments)
            registration = Registration(INCARNATIONS["leaf1"], attachments=tuple(site.memory.attachments.values()))
            await world.agents.join("leaf1", registration=registration)
            await world.follow()
            assert again.state()[0] == "not-served"
            await world.apply(STATES_NOTHING)
            assert (world.where(), again.state()) == ("leaf1", ("active", ""))

        story(tell)


class TestItDoesNot:
    def test_into_another_vn(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            held = ReadBack(INCARNATIONS["leaf1"], (), (), world.agents.views["leaf1"].version)
            await world.agents.sessions["leaf1"].read_back(held)
            await world.apply(RED_VAP)
            assert (site.asked, site.state()) == ([], ("not-served", "port 1 is VN red's"))
            assert (world.where(RED), world.where(RED, MAC)) == (None, None)

        story(tell)

    def test_when_an_operator_has_evicted_it(self):
        """It is forgotten, so that no later session brings it back either; and the operator need not be told."""

        async def tell(world, site):
            world.agents.nva.administration.decide(Evict(ClaimKey(Place("leaf1", 1, 0), MAC)))
            with capture_logs() as logs:
                await world.follow(whole=False)
            assert (world.where(), site.memory.attachments) == (None, {})
            assert [(one["event"], one["log_level"]) for one in logs if one["log_level"] != "debug"] == [
                ("forgotten: an operator has evicted it", "info")
            ]
            assert site.reports == []
            await world.apply(NO_VAP)
            await world.apply(STATES_NOTHING)
            assert (world.where(), len(site.asked)) == (None, 1)
            assert (await site.attach(ONE)).standing is Standing.ACTIVE

        story(tell)

    def test_what_it_waits_for_can_change(self):
        """The NVA tells nobody why somebody else is frozen now: what it said is shown as what it said before that."""

        async def tell(world, site):
            other = world.sites["leaf2"]
            assert (await other.attach(ONE)).standing is Standing.FROZEN
            assert other.state() == ("waiting", "another tenant system has an address of it")
            await site.session.announce(Release(1, 0, BLUE, MAC, "leaf3"))
            await world.agents.settle()
            other.announcer.changed(RED)
            assert other.state() == ("waiting", "another tenant system has an address of it")
            assert {one.vni for one in world.agents.mappings["leaf2"]} == {BLUE}
            other.announcer.changed(BLUE)
            why = "another tenant system has an address of it; the VN has changed since, `nve attach` asks anew"
            assert other.state() == ("waiting", why)
            assert (await other.attach(ONE)).standing is Standing.FROZEN
            assert other.state() == ("waiting", "an address is kept for a successor, or contested")

        story(tell)

    def test_when_it_was_evicted_before_it_was_seen_there(self):
        """What the NVA answers and what it pushes come on different ways: the latter can be first."""

        async def tell(world, site):
            assert (await site.session.announce(OTHER)).standing is Standing.ACTIVE
            await world.follow(whole=False)
            await site.attach(OTHER)
            world.agents.nva.administration.decide(Evict(ClaimKey(Place("leaf1", 1, 0), OTHER.mac)))
            await world.follow(whole=False)
            assert list(site.memory.attachments.values()) == [ONE]

        story(tell)

    def test_when_it_was_evicted_while_the_agent_was_away(self):
        async def tell(world, site):
            await world.agents.sessions.pop("leaf1").close()
            world.agents.nva.administration.decide(Evict(ClaimKey(Place("leaf1", 1, 0), MAC)))
            await world.agents.join("leaf1", registration=Registration(INCARNATIONS["leaf1"], attachments=(ONE,)))
            await world.follow()
            assert (world.where(), site.memory.attachments) == (None, {})

        story(tell)

    def test_when_another_one_was_found_right(self):
        async def tell(world, site):
            await world.sites["leaf2"].attach(ONE)
            world.agents.nva.administration.decide(Admit(ClaimKey(Place("leaf2", 1, 0), MAC)))
            await world.follow(whole=False)
            assert world.where() == "leaf2"
            assert site.state() == ("waiting", "another tenant system has an address of it")
            for domain in (NO_BLUE, renumbered(STATES_NOTHING, 6001)):
                await world.apply(domain)  # leaf1 hears of it first
            assert world.where(6001) == "leaf2"
            await world.apply(NO_VAP)
            await world.apply(STATES_NOTHING)
            assert world.where() == "leaf2"

        story(tell)

    def test_when_it_was_released_meanwhile(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            await world.agents.settle()
            world.agents.nva.administration.configure(STATES_NOTHING)
            await world.agents.settle()
            async with site.announcer.lock:  # as an operator's announcement, which has come first
                site.announcer.follow(world.agents.views["leaf1"], whole=True)
                work = asyncio.create_task(site.announcer._announce_all(site))
                await asyncio.sleep(0)
                site.memory.drop(place_of(ONE))
            await work
            assert (site.asked, world.where()) == ([], None)

        story(tell)


class TestFrozen:
    def test_it_is_left_to_the_nva_and_races_nobody(self):
        async def tell(world, site):
            waiting = world.sites["leaf2"]
            assert (await waiting.attach(ONE)).standing is Standing.FROZEN
            await world.follow()
            assert waiting.state() == ("waiting", "another tenant system has an address of it")
            assert waiting.asked == []
            world.sites = {name: world.sites[name] for name in ("leaf2", "leaf1", "leaf3")}  # it hears of it first
            await world.apply(NO_BLUE)
            await world.apply(STATES_NOTHING)
            assert (world.where(), waiting.asked) == ("leaf1", [])
            assert waiting.state() == ("waiting", "for somebody to attach it: it had no address when its VAP went")
            await waiting.session.renew_lease()
            assert (await waiting.attach(ONE)).standing is Standing.FROZEN
            assert waiting.state() == ("waiting", "another tenant system has an address of it")

        story(tell)

    def test_in_part_it_comes_back_with_what_it_had(self):
        async def tell(world, site):
            two = replace(OTHER, ips=(ip("10.1.0.79"),))
            other = world.sites["leaf2"]
            assert (await other.attach(two)).standing is Standing.ACTIVE
            await world.follow()
            more = replace(two, ips=(*two.ips, IP))
            assert (await other.attach(more)).standing is Standing.FROZEN
            await world.follow()
            world.sites = {name: world.sites[name] for name in ("leaf2", "leaf1", "leaf3")}
            await world.apply(NO_BLUE)
            await world.apply(STATES_NOTHING)
            assert (world.where(), world.where(address=two.ips[0])) == ("leaf1", "leaf2")
            await world.follow()
            assert other.state(two) == ("waiting", "another tenant system has an address of it")

        story(tell)


class TestOthersGoOn:
    @pytest.mark.parametrize("error", [AuthorizationError, VersionMismatch, ZeroDivisionError])
    def test_what_goes_wrong_with_one_is_said_once(self, error):
        async def tell(world, site):
            await site.attach(OTHER)
            await world.apply(NO_VAP)

            def refuse(one: Attachment) -> None:
                if one.mac == MAC:
                    raise error("so it is")

            site.before_it_is_asked = refuse
            for _ in range(3):
                await world.apply(STATES_NOTHING)
            assert world.where(address=OTHER.ips[0]) == "leaf1"
            assert (site.announcer.refused, len(site.reports)) == (3, 1)
            assert site.state() == ("waiting", site.reports[0].partition(": ")[2])
            site.before_it_is_asked = lambda _: None
            await world.follow()
            assert site.state() == ("active", "")

        story(tell)

    def test_another_cause_is_said(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            for reason in ("quota", "quota", "foreign"):
                site.before_it_is_asked = lambda _, reason=reason: AttachmentAnswer(Standing.REFUSED, reason)
                await world.apply(STATES_NOTHING)
            assert [one.rpartition(": ")[2] for one in site.reports] == [
                "the NVE, the VAP or the tenant system has as many as it may have",
                "another hypervisor announced it",
            ]

        story(tell)

    def test_an_nva_that_does_not_answer_is_asked_again(self):
        async def tell(world, site):
            await world.apply(NO_VAP)
            failures = [NvaUnreachable("busy"), NvaUnreachable("busy")]

            def fail(_: Attachment) -> None:
                if failures:
                    raise failures.pop()

            site.before_it_is_asked = fail
            world.agents.nva.administration.configure(STATES_NOTHING)
            await world.agents.settle()
            site.announcer.follow(world.agents.views["leaf1"], whole=True)
            work = asyncio.create_task(site.announcer.run(site))
            while world.where() is None:
                await asyncio.sleep(0.01)
            work.cancel()
            assert len(site.asked) == 3
            assert site.announcer.refused == 0

        story(tell)

    def test_an_nva_that_has_gone_back_ends_the_session(self):
        async def tell(world, site):
            def gone_back(_: Attachment) -> None:
                raise NvaGoneBack("an old backup")

            site.before_it_is_asked = gone_back
            await world.apply(NO_VAP)
            with pytest.raises(NvaGoneBack):
                await world.apply(STATES_NOTHING)

        story(tell)

    def test_room_that_a_release_makes(self):
        async def tell(world, site):
            await site.attach(OTHER)
            await world.apply(NO_VAP)
            site.before_it_is_asked = lambda one: (
                AttachmentAnswer(Standing.REFUSED, "quota") if one.mac == MAC else None
            )
            await world.apply(STATES_NOTHING)
            site.before_it_is_asked = lambda _: None
            await site.announcer._announce_all(site)
            assert world.where() is None
            release = Release(1, 0, BLUE, OTHER.mac)
            answer = await site.session.announce(release)
            site.memory.drop(place_of(OTHER))
            site.announcer.answered(release, answer)
            await site.announcer._announce_all(site)
            assert world.where() == "leaf1"

        story(tell)
