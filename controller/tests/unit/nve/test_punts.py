# SPDX-License-Identifier: Apache-2.0
"""Punted packets of VAPs that are another VN's by the time: none of them goes anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from nva_agents import DOMAIN, Agents
from nvo3sec.domain.messages.session import LookupAnswer, LookupResult
from nvo3sec.domain.switch.desired import Learned, number_everything
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.nve.punts import PuntHandler
from nvo3sec.p4runtime import PacketIn, PuntReason

MAC, ELSEWHERE = 0x0200_0000_0001, 0x0200_0000_0002
FRAME = ELSEWHERE.to_bytes(6, "big") + MAC.to_bytes(6, "big") + b"\x88\xb5" + bytes(50)


class Switch:
    """The driver and its client, as far as punts need them."""

    def __init__(self) -> None:
        self.punts: asyncio.Queue[PacketIn] = asyncio.Queue()
        self.client = self
        self.name = "leaf1"
        self.sent: list[bytes] = []

    async def packet_out(self, operation, frame, **metadata) -> None:
        self.sent.append(frame)


class World:
    def __init__(self, view) -> None:
        self.view = view
        self.numbers = number_everything(view, [], Numbers(), Reserved())
        self.switch = Switch()
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.handler = PuntHandler(
            self.switch, self.look_up, self.install, lambda: (self.view, self.numbers), self.announce
        )

    async def look_up(self, query):
        self.asked.set()
        await self.answer.wait()
        found = LookupAnswer(LookupResult.FOUND, 300.0, query.mac, "leaf2", (), 1)
        return found, Learned(query.vni, query.mac, "leaf2", (), 1)

    async def install(self) -> None:
        pass

    async def announce(self, announcement):
        raise AssertionError("no tenant system shares an address")

    def packet(self, timestamp: int) -> PacketIn:
        vap = self.view.vaps[0]
        vni = next(vn.vni for vn in self.view.vns if vn.name == vap.vn)
        metadata = {
            "reason": PuntReason.UNKNOWN_DESTINATION,
            "interface": self.numbers.vaps[vap.port, vap.vlan, vni],
            "vni": vni,
            "frame_length": len(FRAME),
            "timestamp": timestamp,
        }
        return PacketIn(metadata, FRAME, 0.0)

    def rename(self) -> None:
        """The VN of the first VAP becomes another, with the number that it had: as an agent sees it that has hung."""
        name = self.view.vaps[0].vn
        vns = tuple(replace(vn, name="green") if vn.name == name else vn for vn in self.view.vns)
        vaps = tuple(replace(vap, vn="green") if vap.vn == name else vap for vap in self.view.vaps)
        self.view = replace(self.view, vns=vns, vaps=vaps, tenant_systems=())


async def started() -> tuple[World, asyncio.Task[None]]:
    agents = Agents(DOMAIN)
    await agents.join("leaf1", "leaf2")
    world = World(agents.views["leaf1"])
    return world, asyncio.create_task(world.handler.run())


async def counted(world: World, what: str) -> None:
    while not world.handler.counts[what]:
        await asyncio.sleep(0)


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


def test_it_goes_where_it_should():
    async def check():
        world, task = await started()
        world.handler.open(1000)
        world.answer.set()
        await world.switch.punts.put(world.packet(1000))
        await counted(world, "forwarded")
        assert world.switch.sent == [FRAME]
        task.cancel()

    run(check())


def test_its_vap_became_another_vns_while_the_answer_was_under_way():
    async def check():
        world, task = await started()
        world.handler.open(1000)
        await world.switch.punts.put(world.packet(1000))
        await world.asked.wait()
        world.rename()
        world.answer.set()
        await counted(world, "not-forwarded")
        assert world.switch.sent == []
        task.cancel()

    run(check())


def test_it_came_up_before_the_switch_was_what_it_is():
    async def check():
        world, task = await started()
        world.answer.set()
        await world.switch.punts.put(world.packet(5000))
        await counted(world, "before-configuration")
        world.handler.open(5000)
        world.handler.open(4000)
        for _ in range(2):
            await world.switch.punts.put(world.packet(4999))
        while world.handler.counts["before-configuration"] < 3:
            await asyncio.sleep(0)
        assert world.switch.sent == []
        world.handler.close()
        await world.switch.punts.put(world.packet(9000))
        while world.handler.counts["before-configuration"] < 4:
            await asyncio.sleep(0)
        task.cancel()

    run(check())
