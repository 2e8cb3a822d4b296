# SPDX-License-Identifier: Apache-2.0
"""Another domain file while packets flow: nothing of what both files say is interrupted, what is gone is gone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import yaml
from overlay_world import Overlay, overlay, until
from tenant_traffic import Traffic


def rewritten(world: Overlay, path: Path, change) -> Path:
    document = yaml.safe_load(world.identities.domain_file.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))
    return path


def leaf2_joins_red(document) -> None:
    document["nves"][1]["vaps"].append({"port": 2, "vlan": 100, "vn": "red"})


def leaf3_is_gone(document) -> None:
    leaf2_joins_red(document)
    del document["nves"][2]
    document["nves"][0]["underlay"]["routes"] = []
    document["tenant_systems"] = [one for one in document["tenant_systems"] if one["nve"] != "leaf3"]
    document["tunnels"] = []
    document["reservations"] = []


def test_a_member_more_and_an_nve_less(identities, start_switch, tmp_path):
    async def run():
        async with overlay(identities, start_switch) as world:

            async def operate(*words: str):
                done = await asyncio.to_thread(world.operate, *words)
                assert done.returncode == 0, done.stderr
                return done.stdout

            async with Traffic(world):
                more = rewritten(world, tmp_path / "more.yaml", leaf2_joins_red)
                shown = await operate("domain", "apply", str(more), "--yes", "--wait", "60", "-o", "json")
                assert json.loads(shown)["nves"] == ["leaf1", "leaf2", "leaf3"]
                red = json.loads(await operate("vn", "show", "red", "-o", "json"))
                assert red["members"] == ["leaf1", "leaf2", "leaf3"]

                less = rewritten(world, tmp_path / "less.yaml", leaf3_is_gone)
                await operate("domain", "apply", str(less), "--yes", "--wait", "60")
                await until(lambda: "is not an NVE of lab.example" in world.log("leaf3"))
            status = await world.ready()
            assert {switch["nve"] for switch in status["switches"]} == {"leaf1", "leaf2"}
            assert {key["sender"] for key in status["keys"]} == {"leaf1", "leaf2"}
            counters = json.loads(await operate("counters", "leaf1", "-o", "json"))
            assert "192.0.2.3" not in json.dumps(counters[0]["sa_tx"] + counters[0]["sa_rx"])

    asyncio.run(run())
