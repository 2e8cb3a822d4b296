# SPDX-License-Identifier: Apache-2.0
"""A level changes while packets flow, over processes and real switches: each arrives, and at the level that is due."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from nvo3sec.domain.overlay.model import Level, TunnelKeys
from overlay_world import Overlay, overlay, until
from places import ROOT
from tenant_traffic import Traffic, until_registered

GENEVE_VNI, SUITE = slice(46, 49), 68
"""In a packet of the underlay: behind Ethernet, IPv4, UDP and four bytes of Geneve; docs/wire-format.md."""
BLUE = 5001
WEAK, STRONG = Level

HAS_BOTH = "SUITE_ASCON_AEAD128 = 2" in (ROOT / "p4src" / "common" / "constants.p4").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(not HAS_BOTH, reason="the pipeline has one suite only")


class Domain:
    """The operator's domain file, in the making."""

    def __init__(self, world: Overlay, directory: Path) -> None:
        self._world, self._directory = world, directory
        self.document = yaml.safe_load(world.identities.domain_file.read_text())
        self.document["tunnels"] = []

    def vn(self, name: str, level: Level) -> None:
        (vn,) = [vn for vn in self.document["vns"] if vn["name"] == name]
        vn["level"] = level.word

    def pair(self, *ends: str, level: Level) -> None:
        self.document["tunnels"] = [{"between": list(ends), "level": level.word}]

    async def operate(self, *words: str) -> str:
        done = await asyncio.to_thread(self._world.operate, *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    async def apply(self, *, wait: bool = True) -> None:
        path = self._directory / "domain.yaml"
        path.write_text(yaml.safe_dump(self.document))
        await self.operate("domain", "apply", str(path), "--yes", *(("--wait", "120") if wait else ()))


def levels(world: Overlay, since: int, vni: int) -> set[Level]:
    """Of what went over the underlay in a VN, by the suites on the wire."""
    suites = {level.suite: level for level in Level}
    packets = [one for one in world.underlay.carried[since:] if int.from_bytes(one[GENEVE_VNI], "big") == vni]
    return {suites[one[SUITE]] for one in packets}


async def some_packets(world: Overlay, traffic: Traffic) -> int:
    """Let some be sent; from where on they are among what was carried."""
    since, sent = len(world.underlay.carried), traffic.sent
    await until(lambda: traffic.sent > sent + 20 and len(world.underlay.carried) > since + 20)
    return since


@pytest.mark.parametrize("tunnel_keys", TunnelKeys)
def test_a_vn_and_a_pair_go_up_and_down(identities, start_switch, tmp_path, tunnel_keys):
    document = yaml.safe_load(identities.domain_file.read_text())
    identities.domain_file.write_text(yaml.safe_dump(document | {"tunnel_keys": tunnel_keys.value}))

    async def run():
        async with overlay(identities, start_switch) as world:
            domain = Domain(world, tmp_path)
            async with Traffic(world) as traffic:
                assert levels(world, await some_packets(world, traffic), BLUE) == {WEAK}
                domain.vn("blue", STRONG)
                await domain.apply()
                assert levels(world, await some_packets(world, traffic), BLUE) == {STRONG}
                # Two VNs, and two keys for each direction between two NVEs that serve both.
                keys = json.loads(await domain.operate("keys", "list", "-o", "json"))
                between = [one for one in keys if (one["sender"], one["receiver"]) == ("leaf1", "leaf3")]
                assert {one["level"] for one in between} == {level.word for level in Level}
                assert len({one["spi"] for one in between}) == len(between)
                domain.pair("leaf1", "leaf2", level=STRONG)
                await domain.apply()
                domain.vn("blue", WEAK)
                await domain.apply()
                assert levels(world, await some_packets(world, traffic), BLUE) == {STRONG}, "the pair demands it"
                domain.pair("leaf1", "leaf3", level=WEAK)
                await domain.apply()
                assert levels(world, await some_packets(world, traffic), BLUE) == {WEAK}
            for leaf in world.switches:
                drops = json.loads(await domain.operate("counters", leaf, "-o", "json"))[0]["drops"]
                reasons = {reason for pipeline in drops.values() for reason in pipeline}
                assert not reasons & {"TX_NO_SA", "TX_SUITE_TOO_WEAK", "VN_SUITE", "NO_SA", "BAD_ICV"}, (leaf, drops)

    asyncio.run(run())


def test_the_nva_and_an_agent_end_in_the_middle(identities, start_switch, tmp_path):
    async def run():
        async with overlay(identities, start_switch) as world:
            domain = Domain(world, tmp_path)
            async with Traffic(world) as traffic:
                for level in (STRONG, WEAK):
                    domain.vn("blue", level)
                    await domain.apply(wait=False)
                    world.kill("nva")
                    await some_packets(world, traffic)
                    world.start("nva")
                    await until_registered(world)
                    world.kill("leaf2")
                    await some_packets(world, traffic)
                    world.start("leaf2")
                    await world.ready()
                    assert levels(world, await some_packets(world, traffic), BLUE) == {level}

    asyncio.run(run())
