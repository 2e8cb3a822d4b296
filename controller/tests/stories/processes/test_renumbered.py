# SPDX-License-Identifier: Apache-2.0
"""Other numbers and VAPs under tenant systems that were announced: with real processes, switches and packets. Nobody
attaches anything twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.operator.console import ask
from overlay_world import READY_S, Overlay, overlay
from tenant_traffic import IP, MAC, arrives, frame, settled, tenant, until_registered

NEAR, NEAR_IP = 0x02AA00000078, "10.1.0.78"
"""At port 2 of leaf1; the other one is at port 1 of leaf2, which has no other VAP."""


def vni_of_blue(number: int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        next(vn for vn in document["vns"] if vn["name"] == "blue")["vni"] = number

    return change


def leaf2_serves(*vns: str) -> Callable[[Any], None]:
    """Port 1 of leaf2 is of this VN, or of none; no tenant system is stated there."""

    def change(document: Any) -> None:
        document["nves"][1]["vaps"] = [{"port": 1, "vlan": 0, "vn": vn} for vn in vns]
        document["tenant_systems"] = [one for one in document["tenant_systems"] if one["nve"] != "leaf2"]

    return change


def blue_is_gone(document: Any) -> None:
    for items in ("vns", "tenant_systems", "reservations"):
        key = "name" if items == "vns" else "vn"
        document[items] = [one for one in document.get(items, []) if one[key] != "blue"]
    for nve in document["nves"]:
        nve["vaps"] = [vap for vap in nve["vaps"] if vap["vn"] != "blue"]


class Story:
    """Two tenant systems of blue that were announced, at leaf1 and leaf2, and talk to each other."""

    def __init__(self, world: Overlay) -> None:
        self.world = world
        self.number = 0
        self.before = world.identities.domain_file.read_text()

    async def begin(self) -> None:
        for leaf, port, mac, ip in (("leaf2", 1, MAC, IP), ("leaf1", 2, NEAR, NEAR_IP)):
            where = {"vn": "blue", "port": port, "vlan": 0, "mac": format_mac(mac), "ips": [ip]}
            answer = await asyncio.to_thread(ask, self.world.run_directory(leaf), "attach", **where)
            assert answer["standing"] == "active"
        await self.talk()

    def written(self, *changes: Callable[[Any], None]) -> str:
        document = yaml.safe_load(self.before)
        for change in changes:
            change(document)
        path = self.world.directory / "changed.yaml"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    async def apply(self, *changes: Callable[[Any], None], wait: bool = True) -> str:
        """The file as it was at first, with these changes; returns what the command says, once it is done."""
        words = ["domain", "apply", self.written(*changes), "--yes", *(("--wait", "90") if wait else ())]
        async with asyncio.timeout(READY_S):
            while True:
                done = await asyncio.to_thread(self.world.operate, *words)
                if "may still be" not in done.stderr:  # a VAP that another VN had is held until that is gone
                    break
                await asyncio.sleep(0.2)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    async def active(self, leaf: str) -> None:
        """Until everything that is attached there is active."""
        async with asyncio.timeout(READY_S):
            while not all(one["active"] for one in await self.listed(leaf)):
                await asyncio.sleep(0.05)
        await settled(self.world, leaf)

    async def listed(self, leaf: str) -> list[dict[str, Any]]:
        rows = await asyncio.to_thread(ask, self.world.run_directory(leaf), "attachments")
        return [row for row in rows if row["announced"]]

    async def talk(self) -> None:
        """In both directions, and with one that the file states."""
        ports = self.world.ports
        for leaf in ("leaf1", "leaf2"):
            await self.active(leaf)
        self.number += 1
        there = frame(NEAR, MAC, NEAR_IP, IP, self.number)
        await ports["leaf1"].send(2, there)
        assert await ports["leaf2"].receive(1) == there
        back = frame(MAC, NEAR, IP, NEAR_IP, self.number)
        await ports["leaf2"].send(1, back)
        assert await ports["leaf1"].receive(2) == back
        await arrives(self.world, "leaf2", self.number)


def tell(identities: Any, start_switch: Any, story: Callable[[Story], Any]) -> None:
    async def run() -> None:
        async with overlay(identities, start_switch) as world:
            one = Story(world)
            await one.begin()
            await story(one)

    asyncio.run(run())


def test_another_vni_there_and_back(identities, start_switch):
    """While everybody is there, while an agent is away, and while the NVA is."""

    async def story(one: Story) -> None:
        world = one.world
        said = await one.apply(vni_of_blue(6001))
        assert "note: tenant systems that were announced in blue, at leaf1, leaf2, leaf3, keep what they have" in said
        await one.talk()
        world.kill("leaf2")
        await one.apply(vni_of_blue(6002), wait=False)
        world.start("leaf2")
        await until_registered(world)
        await world.ready()
        await one.talk()
        world.kill("nva")
        world.identities.domain_file.write_text(Path(one.written(vni_of_blue(5001))).read_text())
        world.start("nva", more=["--apply-domain"])
        await until_registered(world)
        await world.ready()
        await one.talk()

    tell(identities, start_switch, story)


def test_what_goes_and_comes_back(identities, start_switch):
    """The VAP, which is the only one of its NVE; and the VN, which has another number then."""

    async def story(one: Story) -> None:
        said = await one.apply(leaf2_serves())
        assert "the agent of leaf2 announces them anew once the VAP is blue's again" in said
        ((row),) = await one.listed("leaf2")
        assert (row["vn"], row["state"], row["why"]) == ("blue", "not-served", "VN blue is not served here")
        await one.apply(leaf2_serves("blue"))
        await one.talk()
        await one.apply(blue_is_gone)
        assert [row["state"] for row in await one.listed("leaf1")] == ["not-served"]
        await one.apply(vni_of_blue(6001))
        await one.talk()

    tell(identities, start_switch, story)


def test_a_vap_that_is_given_to_another_vn(identities, start_switch):
    """Nothing is announced there, and a detach touches nothing of what is there then."""

    async def story(one: Story) -> None:
        world = one.world
        await one.apply(leaf2_serves())

        def has_one_of_its_own(document: Any) -> None:
            leaf2_serves("red")(document)
            stated = {"name": "red9", "vn": "red", "nve": "leaf2", "port": 1, "vlan": 0, "mac": format_mac(MAC)}
            document["tenant_systems"].append(stated | {"ips": [IP]})

        await one.apply(has_one_of_its_own)
        await settled(world, "leaf2")
        (row,) = await one.listed("leaf2")
        assert (row["vn"], row["active"], row["why"]) == ("blue", False, "port 1 is VN red's")
        (claim,) = await claims(world, "leaf2")
        assert (claim["vn"], claim["stated"]) == ("red", True)
        assert (await tenant(world, "leaf2", "detach"))["standing"] == "done"
        assert await one.listed("leaf2") == []
        assert await claims(world, "leaf2") == [claim]

    tell(identities, start_switch, story)


def test_what_an_operator_has_evicted_stays_away(identities, start_switch):
    async def story(one: Story) -> None:
        world = one.world
        evicted = await asyncio.to_thread(
            world.operate, "map", "evict", format_mac(MAC), "--nve", "leaf2", "--yes", "-o", "json"
        )
        assert evicted.returncode == 0, evicted.stderr
        async with asyncio.timeout(READY_S):
            while await one.listed("leaf2"):
                await asyncio.sleep(0.05)
        await one.apply(leaf2_serves())
        await one.apply(leaf2_serves("blue"))
        world.kill("leaf2")
        world.start("leaf2")
        await until_registered(world)
        await world.ready()
        await settled(world, "leaf2")
        assert await claims(world, "leaf2") == []
        assert (await tenant(world, "leaf2", "attach", ips=[IP]))["standing"] == "active"
        await one.talk()

    tell(identities, start_switch, story)


async def claims(world: Overlay, leaf: str) -> list[dict[str, Any]]:
    """What the NVA has behind an NVE."""
    done = await asyncio.to_thread(world.operate, "map", "list", "--nve", leaf, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["claims"]
    return found
