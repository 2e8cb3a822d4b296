# SPDX-License-Identifier: Apache-2.0
"""Answers to packets that do not fit: how often, to whom, and that they come out where they should."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from nva_agents import DOMAIN, Agents
from nvo3sec.domain.switch.desired import desired_state, number_everything
from nvo3sec.domain.switch.entries import TunnelEntry, TunnelRoute
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.nve.path_mtu import FLOWS_LIMIT, VAP_RATE, PathMtuAnswers
from nvo3sec.nve.punts import PuntHandler
from nvo3sec.p4runtime import PacketIn, PacketOutOp, PuntReason

HERE, FAR, ELSEWHERE = 0x0200_0000_0001, 0x0200_0000_0002, 0x0200_0000_0003
LENGTH = 1500
UNDERLAY, NARROW = 1500, 1400


def checksum(data: bytes) -> bytes:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (0xFFFF ^ total).to_bytes(2, "big")


def packet_of(flow: int = 0, to: int = FAR, flags: int = 0x40) -> bytes:
    """A frame with a TCP segment of flow number `flow`."""
    head = bytes([0x45, 0]) + (LENGTH - 14).to_bytes(2, "big") + bytes([0, 0, flags, 0, 64, 6])
    addresses = IPv4Address("10.1.0.1").packed + IPv4Address("10.1.0.2").packed
    ip = head + checksum(head + addresses) + addresses
    segment = flow.to_bytes(2, "big") + bytes.fromhex("01bb")
    return to.to_bytes(6, "big") + HERE.to_bytes(6, "big") + b"\x08\x00" + (ip + segment).ljust(LENGTH - 14, b"\0")


class Scene:
    def __init__(self, view) -> None:
        self.now = 1000.0
        self.view = view
        self.numbers = number_everything(view, [], Numbers(), Reserved())
        self.vap = view.vaps[0]
        self.vn = next(vn for vn in view.vns if vn.name == self.vap.vn)
        self.places = {(self.vn.vni, FAR): "leaf2"}
        self.answers = PathMtuAnswers(self.places.get, lambda: self.now)

    def punted(self, frame: bytes, vap=None, timestamp: int = 0) -> PacketIn:
        vap = vap or self.vap
        vni = next(vn.vni for vn in self.view.vns if vn.name == vap.vn)
        metadata = {
            "reason": PuntReason.FRAME_TOO_BIG,
            "interface": self.numbers.vaps[vap.port, vap.vlan, vni],
            "vni": vni,
            "frame_length": len(frame),
            "timestamp": timestamp,
        }
        return PacketIn(metadata, frame[:128], 0.0)

    def heard(self, frame: bytes, vap=None) -> str:
        word, answer = self.answer(frame, vap)
        assert (answer is not None) == (word == "too-big-answered")
        return word

    def answer(self, frame: bytes, vap=None):
        return self.answers.heard(self.punted(frame), self.view, vap or self.vap, self.vn)


async def _view():
    agents = Agents(DOMAIN)
    await agents.join("leaf1", "leaf2")
    return agents.views["leaf1"]


@pytest.fixture(scope="module")
def view():
    found = asyncio.run(_view())
    peers = tuple(replace(peer, mtu=NARROW if peer.name == "leaf2" else peer.mtu) for peer in found.peers)
    return replace(found, mtu=UNDERLAY, peers=peers)


@pytest.fixture
def scene(view) -> Scene:
    return Scene(view)


class TestMtu:
    def test_the_narrower_end_of_the_tunnel_is_announced(self, scene):
        _, answer = scene.answer(packet_of())
        assert answer[40:42] == (NARROW - 86).to_bytes(2, "big")
        assert answer[:12] == HERE.to_bytes(6, "big") + FAR.to_bytes(6, "big")

    def test_an_older_nva_says_only_what_is_here(self, scene):
        scene.view = replace(scene.view, peers=tuple(replace(peer, mtu=0) for peer in scene.view.peers))
        _, answer = scene.answer(packet_of())
        assert answer[40:42] == (UNDERLAY - 86).to_bytes(2, "big")

    def test_the_switch_compares_with_what_is_announced(self, scene):
        """With another number here than there, a tenant would never learn it, or send less than it may."""
        state = desired_state(scene.view, scene.numbers, bytes(16))
        peer = next(one for one in scene.view.peers if one.name == "leaf2")
        tunnel = scene.numbers.tunnels[peer.address]
        route = next(one for one in state.entries if isinstance(one, TunnelRoute) and one.interface == tunnel)
        outer = next(one for one in state.entries if isinstance(one, TunnelEntry) and one.interface == tunnel)
        _, answer = scene.answer(packet_of())
        assert int.from_bytes(answer[40:42], "big") == route.frame_limit - 14 == 1314
        assert outer.mtu == NARROW == route.frame_limit + 72

    def test_a_system_that_is_in_no_tunnel(self, scene):
        assert scene.heard(packet_of(to=ELSEWHERE)) == "too-big-no-tunnel"
        scene.places[scene.vn.vni, FAR] = "leaf9"
        assert scene.heard(packet_of()) == "too-big-no-tunnel"
        del scene.places[scene.vn.vni, FAR]
        assert scene.heard(packet_of()) == "too-big-no-tunnel"
        word, _ = scene.answers.heard(
            PacketIn(scene.punted(packet_of()), b"\x02", 0.0), scene.view, scene.vap, scene.vn
        )
        assert word == "too-big-no-tunnel"

    def test_why_there_is_no_answer_is_named(self, scene):
        assert scene.heard(packet_of(flags=0)) == "too-big-may-be-fragmented"
        assert scene.heard(packet_of()[:12] + b"\x88\xb5" + bytes(1400)) == "too-big-not-ip"


class TestRates:
    def test_one_answer_a_second_for_each_flow(self, scene):
        assert scene.heard(packet_of(1)) == "too-big-answered"
        for after in (0.0, 0.5, 0.49):
            scene.now += after
            assert scene.heard(packet_of(1)) == "too-big-flow-told"
        assert scene.heard(packet_of(2)) == "too-big-answered"
        scene.now += 0.01
        assert scene.heard(packet_of(1)) == "too-big-answered"
        assert scene.heard(packet_of(1)) == "too-big-flow-told"

    def test_what_is_not_answered_costs_nobody_his_answer(self, scene):
        for _ in range(10 * VAP_RATE.burst):
            assert scene.heard(packet_of(flags=0)) == "too-big-may-be-fragmented"
        assert scene.heard(packet_of()) == "too-big-answered"

    def test_each_vap_has_a_bucket(self, scene):
        other = replace(scene.vap, port=99)
        scene.view = replace(scene.view, vaps=(*scene.view.vaps, other))
        for flow in range(VAP_RATE.burst):
            assert scene.heard(packet_of(flow)) == "too-big-answered"
        assert scene.heard(packet_of(9999)) == "too-big-vap-rate"
        word, _ = scene.answers.heard(scene.punted(packet_of()), scene.view, other, scene.vn)
        assert word == "too-big-answered"
        scene.now += 1 / VAP_RATE.per_second
        assert scene.heard(packet_of(9999)) == "too-big-answered", "who was refused has not been told"
        assert scene.heard(packet_of(9998)) == "too-big-vap-rate"

    def test_what_is_remembered_is_bounded_for_each_vap(self, scene):
        for flow in range(3 * FLOWS_LIMIT):
            scene.now += 1.0
            assert scene.heard(packet_of(flow)) == "too-big-answered"
        (place,) = scene.answers._places.values()
        assert len(place.answered) == FLOWS_LIMIT
        assert scene.heard(packet_of(3 * FLOWS_LIMIT - 1)) == "too-big-flow-told"

    def test_the_flow_that_was_told_longest_ago_is_forgotten(self, scene):
        for flow in (*range(FLOWS_LIMIT), 0, FLOWS_LIMIT):
            scene.now += 1.0
            assert scene.heard(packet_of(flow)) == "too-big-answered"
        (place,) = scene.answers._places.values()
        ports = {int.from_bytes(flow[3][:2], "big") for flow in place.answered}
        assert ports == {0, *range(2, FLOWS_LIMIT + 1)}

    def test_vaps_that_are_gone_are_forgotten(self, scene):
        vaps = [replace(scene.vap, port=port) for port in range(1, 200)]
        for vap in vaps:
            scene.view = replace(scene.view, vaps=(vap,))
            word, _ = scene.answers.heard(scene.punted(packet_of(), scene.vap), replace(scene.view), vap, scene.vn)
            assert word == "too-big-answered"
            assert len(scene.answers._places) <= 2


class Switch:
    """The driver and its client, as far as punts need them."""

    def __init__(self, fails: bool = False) -> None:
        self.punts: asyncio.Queue[PacketIn] = asyncio.Queue()
        self.client = self
        self.name = "leaf1"
        self.sent: list[tuple] = []
        self.fails = fails

    async def packet_out(self, operation, frame, **metadata) -> None:
        if self.fails:
            self.fails = False
            raise OSError("gone")
        self.sent.append((operation, frame, metadata))


async def never(*_):
    raise AssertionError("nothing is asked for a frame that is too big")


async def until(handler: PuntHandler, word: str, count: int = 1) -> None:
    while handler.counts[word] < count:
        await asyncio.sleep(0)


class TestHandler:
    """As the agent has it."""

    def run(self, scene: Scene, story, fails: bool = False) -> None:
        async def play() -> None:
            switch = Switch(fails)
            handler = PuntHandler(switch, never, never, lambda: (scene.view, scene.numbers), never, None, scene.answers)
            task = asyncio.create_task(handler.run())
            await story(switch, handler)
            task.cancel()

        asyncio.run(asyncio.wait_for(play(), 30))

    def test_the_answer_goes_to_the_vap_and_to_nobody_else(self, scene):
        async def story(switch, handler):
            handler.open(100)
            switch.punts.put_nowait(scene.punted(packet_of(), timestamp=100))
            while not switch.sent:
                await asyncio.sleep(0)
            ((operation, frame, metadata),) = switch.sent
            assert operation is PacketOutOp.FORWARD
            assert frame[:6] == HERE.to_bytes(6, "big")
            interface = scene.numbers.vaps[scene.vap.port, scene.vap.vlan, scene.vn.vni]
            assert metadata == {"egress_port": scene.vap.port, "interface": interface}
            assert handler.counts == {"too-big-answered": 1}

        self.run(scene, story)

    def test_what_came_before_the_switch_was_what_it_is(self, scene):
        async def story(switch, handler):
            switch.punts.put_nowait(scene.punted(packet_of(), timestamp=100))
            await until(handler, "before-configuration")
            handler.open(200)
            switch.punts.put_nowait(scene.punted(packet_of(), timestamp=199))
            await until(handler, "before-configuration", 2)
            assert switch.sent == []

        self.run(scene, story)

    def test_from_no_vap(self, scene):
        async def story(switch, handler):
            handler.open(0)
            packet = scene.punted(packet_of())
            switch.punts.put_nowait(PacketIn({**packet.metadata, "interface": 0x7000}, packet.frame, 0.0))
            await until(handler, "not-understood")
            assert switch.sent == []

        self.run(scene, story)

    def test_an_answer_that_cannot_be_sent_stops_nothing(self, scene):
        async def story(switch, handler):
            handler.open(0)
            for flow in (1, 2):
                switch.punts.put_nowait(scene.punted(packet_of(flow)))
            while not switch.sent:
                await asyncio.sleep(0)
            assert handler.counts["too-big-answered"] == 2

        self.run(scene, story, fails=True)

    def test_what_the_underlay_says_of_its_mtu_changes_nothing(self, scene):
        """ICMP for an own address of the NVE, which anybody can send."""

        async def story(switch, handler):
            handler.open(0)
            before = scene.heard(packet_of(1))
            ip = bytes.fromhex("450000380000400040010000c0000202c0000201")
            frame = bytes(12) + b"\x08\x00" + ip + bytes.fromhex("030400000000005c") + packet_of()[14:42]
            metadata = {"reason": PuntReason.UNDERLAY_CONTROL, "interface": 0, "vni": 0}
            switch.punts.put_nowait(PacketIn({**metadata, "frame_length": len(frame), "timestamp": 1}, frame, 0.0))
            await until(handler, "not-understood")
            assert switch.sent == []
            assert (before, scene.heard(packet_of(2))) == ("too-big-answered", "too-big-answered")
            _, answer = scene.answer(packet_of(3))
            assert answer[40:42] == (NARROW - 86).to_bytes(2, "big")

        self.run(scene, story)
