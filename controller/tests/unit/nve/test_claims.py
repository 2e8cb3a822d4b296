# SPDX-License-Identifier: Apache-2.0
"""Announcements of tenants that share addresses: what their agent makes of them, with an NVA in this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from frames_of_tenants import gratuitous_arp, vrrp
from nva_agents import DOMAIN, Agents
from nvo3sec.domain.messages.session import ClaimPlace, Sign
from nvo3sec.domain.overlay.model import SharedAddress, SharedMember
from nvo3sec.errors import NvaUnreachable
from nvo3sec.nve import claims as claiming
from nvo3sec.nve.claims import LAST_PAUSE_S, SharedAddressClaims
from nvo3sec.p4runtime import PacketIn, PuntReason

ONE, TWO = (next(s for s in DOMAIN.tenant_systems if s.name == name) for name in ("blue1", "blue2"))
VIP, OWN = ip("10.1.0.250"), str(TWO.ips[0])
MEMBERS = tuple(SharedMember(s.nve, s.port, s.vlan, s.mac) for s in (ONE, TWO))
SHARED = SharedAddress("gateway", "blue", None, (VIP,), MEMBERS)


class World:
    """blue2 behind leaf2, which shares an address with blue1, and what its agent does."""

    def __init__(self, *shared: SharedAddress) -> None:
        self.agents = Agents(replace(DOMAIN, shared_addresses=shared or (SHARED,)))
        self.counts: Counter[str] = Counter()
        self.now = 1000.0
        self.signs: list[Sign] = []
        self.fails = False
        self.claiming = SharedAddressClaims("leaf2", self.announce, lambda: self.view, self.counts, lambda: self.now)

    @property
    def view(self):
        return self.agents.views["leaf2"]

    async def announce(self, sign):
        self.signs.append(sign)
        if self.fails:
            raise NvaUnreachable("it is away")
        answer = await self.agents.sessions["leaf2"].announce(sign)
        await self.agents.settle()
        return answer

    def hear(self, frame: bytes, length: int | None = None) -> None:
        vap = next(vap for vap in self.view.vaps if vap.place == (TWO.port, TWO.vlan))
        vn = next(vn for vn in self.view.vns if vn.name == vap.vn)
        metadata = {"reason": PuntReason.ANNOUNCEMENT, "frame_length": length or len(frame)}
        self.claiming.heard(PacketIn(metadata, frame, 0.0), vap, vn)

    async def heard(self, frame: bytes) -> None:
        """And what follows from it."""
        self.hear(frame)
        while tasks := [claim.task for claim in self.claiming._claims.values() if claim.task is not None]:
            await asyncio.wait(tasks)

    def is_here(self) -> bool:
        return any(VIP in system.ips for system in self.view.tenant_systems)

    async def back(self, seconds: float = 2.0) -> None:
        """The other one takes it, and time passes."""
        for _ in range(2):
            self.now += seconds
            self.agents.after(seconds)
        sign = Sign(ONE.port, ONE.vlan, 5001, ONE.mac, VIP, "blue")
        assert (await self.agents.sessions["leaf1"].announce(sign)).standing.value == "active"
        self.agents.after(seconds)
        self.now += seconds
        await self.agents.settle()


def run(story, *shared: SharedAddress) -> None:
    async def go():
        world = World(*shared)
        await world.agents.join("leaf1", "leaf2", "leaf3")
        await story(world)
        world.claiming.close()

    asyncio.run(asyncio.wait_for(go(), 60))


GARP = gratuitous_arp(TWO.mac, str(VIP))


def test_the_view_says_who_is_heard():
    async def story(world):
        assert world.view.claim_places == (ClaimPlace(TWO.port, TWO.vlan, TWO.mac, (VIP,)),)
        assert not world.agents.views["leaf3"].claim_places

    run(story)


@pytest.mark.parametrize("frame", [GARP, vrrp(TWO.mac, OWN, str(VIP)), vrrp(TWO.mac, OWN, "10.1.0.9", str(VIP))])
def test_a_claim_moves_it(frame):
    async def story(world):
        assert not world.is_here()
        await world.heard(frame)
        assert world.is_here()
        assert world.signs == [Sign(TWO.port, TWO.vlan, 5001, TWO.mac, VIP, "blue")]

    run(story)


def test_who_has_it_claims_nothing():
    """A router of VRRP announces itself for ever, and that is nothing to the NVA."""

    async def story(world):
        for _ in range(100):
            await world.heard(vrrp(TWO.mac, OWN, str(VIP)))
            world.now += 1.0
        assert len(world.signs) == 1
        assert world.counts["announcement-here"] == 99

    run(story)


def test_a_volley_is_one_claim():
    async def story(world):
        for _ in range(200):
            world.hear(GARP)
        await world.heard(GARP)
        assert len(world.signs) == 1
        assert world.counts["announcement-waits"] == 200

    run(story)


def test_it_fails_over_again_and_again():
    async def story(world):
        for number in range(1, 5):
            await world.heard(GARP)
            assert world.is_here()
            assert len(world.signs) == number
            await world.back()
            assert not world.is_here()

    run(story)


NOTHING = {
    "hint": gratuitous_arp(TWO.mac, OWN),
    "hint ": vrrp(TWO.mac, OWN, "10.1.0.9"),
    "hint  ": gratuitous_arp(ONE.mac, str(VIP)),  # another's, and not from here
    "gives-up": vrrp(TWO.mac, OWN, str(VIP), priority=0),
    "malformed": GARP[:40],
    "malformed ": gratuitous_arp(TWO.mac, "224.0.0.5"),
    "malformed  ": vrrp(TWO.mac, OWN, str(VIP), "255.255.255.255"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_claims_nothing(what):
    async def story(world):
        await world.heard(NOTHING[what])
        assert world.counts == {f"announcement-{what.strip()}": 1}
        assert not world.signs

    run(story)


def test_a_set_that_was_taken_out_of_the_file():
    async def story(world):
        world.agents.views["leaf2"] = replace(world.view, claim_places=())
        await world.heard(GARP)
        assert world.counts == {"announcement-hint": 1}

    run(story)


def test_two_sets_at_one_place():
    """One frame that speaks for both claims both, and each has a claim of its own."""
    other = SharedAddress("other", "blue", None, (ip("10.1.0.251"),), MEMBERS)

    async def story(world):
        await world.heard(vrrp(TWO.mac, OWN, str(VIP), "10.1.0.251"))
        assert {sign.ip for sign in world.signs} == {VIP, ip("10.1.0.251")}
        (system,) = (one for one in world.view.tenant_systems if one.mac == TWO.mac)
        assert {VIP, ip("10.1.0.251")} <= set(system.ips)

    run(story, SHARED, other)


def test_one_that_came_too_soon_is_not_lost(monkeypatch):
    """It was announced once, within the second in which it had moved to the other one."""
    monkeypatch.setattr(claiming, "FIRST_PAUSE_S", 0.0)

    async def story(world):
        await world.heard(GARP)
        await world.back()
        world.agents.now = world.agents.nva.state.mappings.moved_at["gateway"][-1] + 0.5
        told = world.announce

        async def announce(sign):
            answer = await told(sign)
            world.agents.now += 0.5
            return answer

        world.claiming._announce = announce
        await world.heard(GARP)
        assert world.is_here()
        assert len(world.signs) == 3

    run(story)


def test_what_is_refused_is_asked_for_less_and_less():
    """Two that both want it: the NVA freezes it, and is not asked by each announcement whether that is still so."""

    async def story(world):
        for _ in range(5):
            await world.heard(GARP)
            await world.back(1.0)
        assert len(world.signs) == 5
        for _ in range(600):
            await world.heard(GARP)
            world.now += 0.1
        assert not world.is_here()
        assert 5 + 60 / LAST_PAUSE_S <= len(world.signs) <= 5 + 4 + 60 / LAST_PAUSE_S
        assert world.counts["claim-refused"] == len(world.signs) - 5
        events = [record.report.event for record in world.agents.nva.state.reports]
        assert "mapping-unsteady" in events

    run(story)


def test_an_nva_that_is_away():
    async def story(world):
        world.fails = True
        await world.heard(GARP)
        assert world.counts["claim-refused"] == 1
        world.fails = False
        world.now += 1.0
        await world.heard(GARP)
        assert world.is_here()

    run(story)
