# SPDX-License-Identifier: Apache-2.0
"""A VN in which traffic runs is taken to the higher level and back; who has recorded it at the lower one tries that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.recorded import Streams, play, record
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.topology import CONFIDENTIALITY, INTEGRITY
from nvo3lab.wires.observer import GIVEN

_VN = "red"
_PAIR = ("red1", "red2")
_PACKETS = 200
"""Of the VN, after the change was confirmed: that many have to be seen, all of the higher level."""
_WAIT = "120"
_SEEN = 60.0
_POLL = 0.05
_RAISED = f"VN {_VN} demands {CONFIDENTIALITY}"


def _file(world: World, name: str, text: str) -> Path:
    path = world.plane.directory / f"level-{name}.yaml"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _at(text: str, level: str) -> str:
    document = yaml.safe_load(text)
    (vn,) = [vn for vn in document["vns"] if vn["name"] == _VN]
    vn["level"] = level
    return str(yaml.safe_dump(document, sort_keys=False))


async def _apply(world: World, file: Path) -> None:
    await world.plane.ask("domain", "apply", str(file), "--yes", "--wait", _WAIT)


async def _demand(world: World, level: str) -> None:
    """Have the observers demand a level from now on."""
    await world.view.underlay.call("demand", vni=world.vni(_VN), level=level)


async def _seen(world: World) -> tuple[int, int]:
    """Packets of the VN that were of the higher level, and complaints of the observers about anything."""
    report: dict[str, Any] = await world.view.underlay.call("report")
    (vn,) = [one for one in report["vns"] if one["vn"] == _VN]
    carried = sum(count for suite, count in vn["suites"].items() if GIVEN[int(suite)] == CONFIDENTIALITY)
    return carried, sum(link["violations"] for link in report["links"])


async def _is_carried(world: World) -> int:
    """Wait until so many packets of the higher level were seen since now. Returns how many."""
    start, loop = (await _seen(world))[0], asyncio.get_running_loop()
    deadline = loop.time() + _SEEN
    while (count := (await _seen(world))[0] - start) < _PACKETS:
        if loop.time() > deadline:
            raise LabError(f"only {count} packets of VN {_VN} were of the higher level within {_SEEN:g} s")
        await asyncio.sleep(_POLL)
    return count


async def level_change(world: World) -> Shot:
    """Up and down again under traffic between all pairs. Once `domain apply` has returned, nothing is below."""
    recordings = await record(world, (_PAIR,))
    text = (await world.plane.ask("domain", "show"))["text"]
    before, raised = _file(world, "before", text), _file(world, "raised", _at(text, CONFIDENTIALITY))

    async def lower() -> None:
        # In this order: the observers know of no time in which either is right.
        await _demand(world, INTEGRITY)
        await _apply(world, before)

    _, complaints = await _seen(world)
    world.owes(_RAISED, lower)
    async with Streams(world) as streams:
        await _apply(world, raised)
        await _demand(world, CONFIDENTIALITY)
        sent = await play(world, recordings)
        carried = await _is_carried(world)
        await lower()
        world.settled(_RAISED)
        sent += await play(world, recordings)
        await world.reach(*_PAIR)
    _, after = await _seen(world)
    faults = [f"the observers complain of {after - complaints} frames"] if after > complaints else []
    return Shot(
        sent,
        sent,
        bait=sum(len(one.passed) for one in recordings),
        faults=(*streams.faults, *faults),
        note=f"{carried} packets of {_VN} after the change, all of the higher level; {streams.sent} echoes between all"
        f" pairs, {streams.lost} lost",
    )


ATTACKS = (
    Attack(
        "level-change",
        "keys",
        "recordings, while a VN is taken to the higher level and back under traffic",
        frozenset({"NO_SA", "VN_SUITE", "REPLAYED", "REPLAY_TOO_LATE"}),
        level_change,
    ),
)
