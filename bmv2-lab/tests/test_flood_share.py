# SPDX-License-Identifier: Apache-2.0
"""The rates of the lab's domain file against what its drill sends: on the slowest machine, a flood is one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from nvo3lab import domain_file
from nvo3lab.drill import storm
from nvo3lab.drill.world import World
from nvo3lab.topology import reference
from nvo3lab.view import View

_HOUR_S = 3600.0


def test_a_frame_costs_a_copy_for_each_vap_here_and_each_other_nve() -> None:
    assert {host.name: storm.copies(reference(), host.name) for host in reference().hosts} == {
        "red1": 2,
        "blue1": 3,
        "red2": 3,
        "red3": 3,
        "blue2": 3,
        "blue3": 3,
    }


@pytest.mark.parametrize("target", ["embedded", "bmv2"])
def test_the_flood_is_several_times_the_share_of_a_vap(target: str) -> None:
    world = World(cast(View, SimpleNamespace(target=target, topology=reference())))
    world.adapt(_HOUR_S)
    sent = int(storm.FLOOD_SECONDS * world.flood_rate)
    assert sent > 3 * storm.share(world.topology, "red2", storm.FLOOD_SECONDS + storm.SLOW_MACHINE_SECONDS)


def test_the_vn_has_room_for_every_vap_at_its_limit() -> None:
    for which in ("rate", "burst"):
        assert domain_file.FLOOD[which] >= domain_file.VAP_FLOOD[which] * len(reference().hosts)


def test_only_one_nve_has_a_meter_that_the_drill_drains() -> None:
    places = {leaf.name: Path(leaf.name) for leaf in reference().leaves}
    nves = domain_file.domain(reference(), places)["nves"]
    assert [nve["name"] for nve in nves if "peer_meter" in nve["underlay"]] == ["leaf3"]
    told = domain_file.domain(reference(), places, {"rate": 7, "burst": 8})["nves"]
    assert all(nve["underlay"]["peer_meter"] == {"rate": 7, "burst": 8} for nve in told)
