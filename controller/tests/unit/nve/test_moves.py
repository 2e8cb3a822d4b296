# SPDX-License-Identifier: Apache-2.0
"""What is announced where it is not permitted: a hint that leads to a question and a report, and to nothing else."""

from __future__ import annotations

import asyncio

import pytest
from nva_agents import DOMAIN, Agents
from nvo3sec.domain.messages.session import LookupAnswer, LookupResult, NveView
from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.domain.switch.desired import number_everything
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.nve.moves import EVENT, PAUSE_S, MoveHints
from nvo3sec.nve.punts import PuntHandler
from nvo3sec.p4runtime import PacketIn, PuntReason

MOVED = 0x0200_0000_0077
IP = bytes([10, 1, 0, 77])


def arp(mac: int, ip: bytes, ethertype: str = "0806", operation: int = 1, sender: int | None = None) -> bytes:
    """Gratuitous, or reverse."""
    source = mac.to_bytes(6, "big")
    told = (mac if sender is None else sender).to_bytes(6, "big")
    body = bytes.fromhex("000108000604") + operation.to_bytes(2, "big") + told + ip
    target = told if ethertype == "8035" else bytes(6)
    return b"\xff" * 6 + source + bytes.fromhex(ethertype) + body + target + ip + bytes(18)


def reverse(mac: int, sender: int | None = None) -> bytes:
    return arp(mac, bytes(4), "8035", 3, sender)


class Scene:
    def __init__(self, view: NveView) -> None:
        self.view, self.now = view, 0.0
        self.vap = view.vaps[0]
        self.vn = next(vn for vn in view.vns if vn.name == self.vap.vn)
        self.asked, self.told, self.fault = [], [], None
        self.answer = LookupAnswer(LookupResult.FOUND, 300.0, MOVED, "leaf2", (), 1)
        self.hints = MoveHints("leaf1", self.ask, self.tell, lambda: self.now)

    async def ask(self, query):
        self.asked.append(query)
        if self.fault is not None:
            raise self.fault
        return self.answer

    async def tell(self, report):
        self.told.append(report)

    async def hear(self, frame: bytes, vap=None) -> str:
        vap = vap or self.vap
        vn = next(vn for vn in self.view.vns if vn.name == vap.vn)
        word = self.hints.heard(PacketIn({"frame_length": len(frame)}, frame, 0.0), self.view, vap, vn)
        await asyncio.gather(*self.hints._tasks)
        return word


@pytest.fixture
def run():
    """Runs a story in a scene."""

    def go(story) -> None:
        async def whole():
            agents = Agents(DOMAIN)
            await agents.join("leaf1", "leaf2")
            await story(Scene(agents.views["leaf1"]))

        asyncio.run(whole())

    return go


def test_operators_hear_where_it_is_and_where_it_belongs(run):
    async def story(scene):
        assert await scene.hear(arp(MOVED, IP)) == "move-told"
        (report,) = scene.told
        assert report.event == EVENT
        mac, vap = format_mac(MOVED), scene.vap
        assert report.detail == (
            f"{mac}, 10.1.0.77 of {scene.vn.name} is announced at port {vap.port} VLAN {vap.vlan}, and is not permitted"
            f" there; {mac} is behind leaf2, 10.1.0.77 is behind leaf2"
        )
        assert [(query.mac, str(query.ip)) for query in scene.asked] == [(MOVED, "None"), (None, "10.1.0.77")]

    run(story)


def test_reverse_arp_of_a_hypervisor(run):
    async def story(scene):
        scene.answer = LookupAnswer(LookupResult.UNKNOWN, 1.0)
        assert await scene.hear(reverse(MOVED)) == "move-told"
        assert scene.told[0].detail.endswith(f"; {format_mac(MOVED)} is nobody's")
        assert len(scene.asked) == 1

    run(story)


def test_at_its_own_place_it_is_nothing_special(run):
    async def story(scene):
        own = next(one for one in scene.view.tenant_systems if (one.port, one.vlan) == scene.vap.place)
        assert await scene.hear(reverse(own.mac)) == "move-at-home"
        assert scene.told == scene.asked == []
        # But with an address that is not its own, it is.
        assert await scene.hear(arp(own.mac, IP)) == "move-told"
        here = f"is attached here at port {own.port} VLAN {own.vlan}"
        assert f"{format_mac(own.mac)} {here}, 10.1.0.77 is behind leaf2" in scene.told[0].detail

    run(story)


def test_one_report_a_minute_for_each_vap(run):
    async def story(scene):
        other = next(vap for vap in scene.view.vaps if vap.place != scene.vap.place)
        assert await scene.hear(reverse(MOVED)) == "move-told"
        for number in range(100):
            scene.now += PAUSE_S / 101
            assert await scene.hear(reverse(MOVED + number)) == "move-not-told"
        assert await scene.hear(reverse(MOVED), other) == "move-told", "another's announcements do not silence it"
        scene.now = PAUSE_S
        assert await scene.hear(reverse(MOVED)) == "move-told"
        assert len(scene.told) == len(scene.asked) == 3

    run(story)


@pytest.mark.parametrize(
    "frame",
    [
        reverse(MOVED, MOVED + 1),  # speaks for another
        reverse(MOVED)[:40],
        arp(MOVED, bytes(4), "8035", 4),
        arp(MOVED, bytes([224, 0, 0, 1])),
        b"\x02" + reverse(MOVED)[1:],
        arp(0, IP),
        bytes(60),
        b"",
    ],
)
def test_what_is_not_well_formed_is_no_hint(run, frame):
    async def story(scene):
        assert await scene.hear(frame) == "move-malformed"
        assert scene.told == scene.asked == []

    run(story)


def test_an_nva_that_does_not_answer_spoils_nothing(run):
    async def story(scene):
        scene.answer = LookupAnswer(LookupResult.BUSY, 1.0)
        assert await scene.hear(reverse(MOVED)) == "move-told"
        assert "perhaps somebody's: the NVA says busy" in scene.told[0].detail
        scene.now, scene.fault = PAUSE_S, RuntimeError("gone")
        assert await scene.hear(reverse(MOVED)) == "move-told"
        assert len(scene.told) == 1
        scene.now, scene.fault = 2 * PAUSE_S, TimeoutError()
        assert await scene.hear(reverse(MOVED)) == "move-told"
        assert "the NVA did not answer in time" in scene.told[1].detail

    run(story)


class Switch:
    """The driver and its client, as far as punts need them here: nothing is sent."""

    def __init__(self) -> None:
        self.punts: asyncio.Queue[PacketIn] = asyncio.Queue()
        self.client = self
        self.name = "leaf1"


def test_a_punted_one_is_counted_and_changes_nothing(run):
    async def never(*_):
        raise AssertionError("nothing is learned, written or claimed")

    async def story(scene):
        numbers = number_everything(scene.view, [], Numbers(), Reserved())
        handler = PuntHandler(Switch(), never, never, lambda: (scene.view, numbers), never, scene.hints)
        handler.open(0)
        metadata = {
            "reason": PuntReason.REFUSED_ANNOUNCEMENT,
            "interface": numbers.vaps[(*scene.vap.place, scene.vn.vni)],
            "vni": scene.vn.vni,
            "frame_length": 60,
            "timestamp": 1,
        }
        handler._handle(PacketIn(metadata, arp(MOVED, IP), 0.0))
        await asyncio.gather(*scene.hints._tasks)
        assert handler.counts == {"move-told": 1}
        assert [report.event for report in scene.told] == [EVENT]

    run(story)
