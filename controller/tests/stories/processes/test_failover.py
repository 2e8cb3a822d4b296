# SPDX-License-Identifier: Apache-2.0
"""Tenants' routers that fail over by announcing their addresses, with real processes, switches and packets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import yaml
from frames_of_tenants import advertisement, gratuitous_arp, vrrp
from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.operator.console import ask
from overlay_world import Identities, Overlay, overlay
from tenant_traffic import BLUE1, BLUE2, BLUE3, frame, settled

VMAC, VIP = 0x0000_5E00_0107, "10.1.0.250"
FLOATING, FLOATING_IPV6 = "10.1.0.251", "fd00:1::251"
ROUTERS = {"leaf2": "10.1.0.240", "leaf3": "10.1.0.241"}
HOSTS = {"leaf2": BLUE2, "leaf3": BLUE3}


def share(identities: Identities) -> None:
    """Two routers of VRRP with a MAC address, and two hosts that have an address of each kind under their own."""
    document = yaml.safe_load(identities.domain_file.read_text())
    routers = [{"nve": leaf, "port": 1, "sources": [ip]} for leaf, ip in ROUTERS.items()]
    hosts = [{"nve": leaf, "port": 1, "mac": format_mac(host)} for leaf, host in HOSTS.items()]
    document["shared_addresses"] = [
        {"name": "gateway", "vn": "blue", "mac": format_mac(VMAC), "ips": [VIP], "members": routers},
        {"name": "floating", "vn": "blue", "ips": [FLOATING, FLOATING_IPV6], "members": hosts},
    ]
    identities.domain_file.write_text(yaml.safe_dump(document))


class Story:
    """blue1 behind leaf1 asks and sends; behind leaf2 and leaf3 are those who share addresses."""

    def __init__(self, world: Overlay) -> None:
        self.world = world
        self.number = 0

    async def has(self, leaf: str, mac: int, ip: str) -> bool:
        rows = await asyncio.to_thread(ask, self.world.run_directory(leaf), "attachments")
        return any(one["mac"] == format_mac(mac) and ip in one["ips"] for one in rows)

    async def until(self, leaf: str, mac: int, ip: str) -> None:
        while not await self.has(leaf, mac, ip):
            await asyncio.sleep(0.05)
        await settled(self.world, "leaf1")
        await settled(self.world, leaf)

    async def punts(self, leaf: str, what: str) -> int:
        (switch,) = (await asyncio.to_thread(ask, self.world.run_directory(leaf), "status"))["switches"]
        return int(switch["punts"].get(what, 0))

    async def announces(self, leaf: str, announcement: bytes) -> None:
        """It is flooded, so blue1 hears it as well."""
        await self.world.ports[leaf].send(1, announcement)
        await self.hears(lambda seen: seen == announcement)

    async def hears(self, is_it: Callable[[bytes], bool]) -> bytes:
        while not is_it(seen := await self.world.ports["leaf1"].receive(1)):
            pass
        return seen

    async def arrives(self, leaf: str, mac: int, ip: str) -> None:
        """What blue1 sends there arrives behind this leaf, and then not behind the other one: blue1's NVE hears of a
        move later than who has it."""
        sent = {await self._sends(mac, ip)}
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while await self.world.ports[leaf].receive(1) not in sent:
                        pass
                    break
            sent.add(await self._sends(mac, ip))
        last = await self._sends(mac, ip)
        while await self.world.ports[leaf].receive(1) != last:
            pass
        other = next(one for one in HOSTS if one != leaf)
        queue = self.world.ports[other].queues.setdefault(1, asyncio.Queue())
        assert last not in [queue.get_nowait() for _ in range(queue.qsize())]

    async def _sends(self, mac: int, ip: str) -> bytes:
        self.number += 1
        sent = frame(BLUE1, mac, "10.1.0.1", ip, self.number)
        await self.world.ports["leaf1"].send(1, sent)
        return sent

    async def asks(self, ip: str) -> int:
        """Who blue1 is told has it: the MAC address of the answer."""
        body = BLUE1.to_bytes(6, "big") + IPv4Address("10.1.0.1").packed + bytes(6) + IPv4Address(ip).packed
        question = b"\xff" * 6 + BLUE1.to_bytes(6, "big") + bytes.fromhex("08060001080006040001") + body
        await self.world.ports["leaf1"].send(1, question)
        answer = await self.hears(lambda one: one[12:14] == b"\x08\x06" and one[20:22] == b"\0\2")
        return int.from_bytes(answer[22:28], "big")

    async def answers(self, ip: str, mac: int) -> None:
        """blue1 is told this MAC address, once its NVE has heard of the move: who has it hears earlier."""
        while await self.asks(ip) != mac:
            await asyncio.sleep(0.05)


def advert(leaf: str, **changes: Any) -> bytes:
    return vrrp(VMAC, ROUTERS[leaf], VIP, router=7, **changes)


def test_it_fails_over_as_routers_and_hosts_do(identities, start_switch):
    async def run():
        share(identities)
        async with overlay(identities, start_switch) as world:
            story = Story(world)
            await story.until("leaf2", VMAC, VIP)
            await story.arrives("leaf2", VMAC, VIP)
            await story.answers(VIP, VMAC)

            # VRRP, with a MAC address of its own; then back by gratuitous ARP from it.
            await story.announces("leaf3", advert("leaf3"))
            await story.until("leaf3", VMAC, VIP)
            await story.arrives("leaf3", VMAC, VIP)
            await story.announces("leaf2", advert("leaf2", version=2))
            await story.until("leaf2", VMAC, VIP)
            await story.arrives("leaf2", VMAC, VIP)
            await story.announces("leaf3", gratuitous_arp(VMAC, VIP))
            await story.until("leaf3", VMAC, VIP)
            await story.arrives("leaf3", VMAC, VIP)

            # As keepalived does it: from one host's MAC address to another's, with each kind of announcement.
            await story.until("leaf2", BLUE2, FLOATING)
            await story.answers(FLOATING, BLUE2)
            await story.announces("leaf3", gratuitous_arp(BLUE3, FLOATING, 2))
            await story.until("leaf3", BLUE3, FLOATING)
            await story.answers(FLOATING, BLUE3)
            await story.announces("leaf2", advertisement(BLUE2, FLOATING_IPV6))
            await story.until("leaf2", BLUE2, FLOATING_IPV6)
            await story.answers(FLOATING, BLUE2)

            # Each of these announces something, and moves nothing.
            claims = await story.punts("leaf3", "announcement-claims")
            await story.announces("leaf3", gratuitous_arp(BLUE3, "10.1.0.3"))
            await story.announces("leaf3", advert("leaf3"))
            await story.announces("leaf3", vrrp(BLUE3, "10.1.0.3", "10.1.0.2", "10.1.0.9"))
            await story.announces("leaf3", vrrp(BLUE3, "10.1.0.3", FLOATING, priority=0))
            wrong = vrrp(BLUE3, "10.1.0.3", FLOATING)
            await story.announces("leaf3", wrong[:-1] + bytes((wrong[-1] ^ 1,)))
            for what, count in (("hint", 2), ("here", 1), ("gives-up", 1), ("malformed", 1)):
                while await story.punts("leaf3", f"announcement-{what}") < count:
                    await asyncio.sleep(0.05)
            assert await story.punts("leaf3", "announcement-claims") == claims
            # Who is no member, and a member for what is another set's or nobody's: their frames get nowhere.
            for leaf, forged in (
                ("leaf1", gratuitous_arp(BLUE1, FLOATING)),
                ("leaf1", gratuitous_arp(VMAC, VIP)),
                ("leaf1", advert("leaf3")),
                ("leaf3", gratuitous_arp(BLUE3, VIP)),
                ("leaf3", gratuitous_arp(BLUE3, "10.1.0.2")),
                ("leaf3", advertisement(BLUE3, "fd00:1::2")),
            ):
                await world.ports[leaf].send(1, forged)
            await story.announces("leaf3", gratuitous_arp(BLUE3, "10.1.0.3"))
            await story.arrives("leaf3", VMAC, VIP)
            assert await story.asks(FLOATING) == BLUE2
            assert await story.punts("leaf1", "announcement-claims") == 0

    asyncio.run(run())


def test_two_that_both_want_it_are_frozen_and_told_of(identities, start_switch):
    """Each announces itself without end. Meanwhile, and with the agents gone, the announcements are flooded."""

    async def run():
        share(identities)
        async with overlay(identities, start_switch, lease_s=300.0, lease_renew_s=5.0) as world:
            story = Story(world)
            await story.until("leaf2", VMAC, VIP)

            def is_frozen() -> bool:
                return "mapping-unsteady" in world.log("nva")

            while not is_frozen():
                for leaf in ROUTERS:
                    await story.announces(leaf, advert(leaf))
                await asyncio.sleep(0.05)
            assert world.log("nva").count("what=mapping-moved") == 10
            (owner,) = [leaf for leaf in ROUTERS if await story.has(leaf, VMAC, VIP)]
            other = next(leaf for leaf in ROUTERS if leaf != owner)
            refused = await story.punts(other, "claim-refused")
            while await story.punts(other, "claim-refused") <= refused + 1:
                for leaf in ROUTERS:
                    await story.announces(leaf, advert(leaf))
                await asyncio.sleep(0.05)
            assert world.log("nva").count("what=mapping-moved") == 10
            await settled(world, "leaf1")
            await story.arrives(owner, VMAC, VIP)
            for leaf in ROUTERS:
                world.kill(leaf)
            for number in range(200):
                await story.announces(other, gratuitous_arp(VMAC, VIP) + bytes((number,)))

    asyncio.run(run())
