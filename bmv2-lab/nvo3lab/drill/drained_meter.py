# SPDX-License-Identifier: Apache-2.0
"""An outsider off the path (section 4.1) that wants others to drop an NVE's own packets.

It has copied one packet of leaf1's, and sends forged ones under its SPI, with numbers that are still to come. What does
not verify drains the meter that leaf3 has for leaf1, and leaf1 is in penalty there.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from nvo3ref.protection import Protected

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.p4rt import Meter, SwitchReader
from nvo3lab.rpc import Client
from nvo3lab.topology import ECHO_SIZES

_SENDER, _RECEIVER = "leaf1", "leaf3"
_SOURCE, _DESTINATION = "blue1", "blue3"
_REPORT = "peer-penalty"
_TIMES = 10
"""Forged packets for each honest one."""
_HONEST_AT_MOST = 70.0
"""Honest packets a second."""
_ROOM = 14
"""The floor must be at least this many times what the peer sends: it is 16 times what the agent has measured, whose
seconds are not quite those of the drill."""
_ATTACK_SECONDS = 4.0
_HONEST_AT_LEAST = 100
"""Honest packets beside the attack, so that one in a hundred is at least one."""
_LOSS = 0.01
_MEASURED_SECONDS = 1.0
_FLOOR_SECONDS = 60.0
"""Until the agent, which reads its counters every five seconds, has written the floor."""
_OVER = 1.5
"""How far beyond its floor a peer is forged in the end, for the report: that has drops over the floor for its cause."""
_REPORT_SECONDS = 150.0
"""Until the report is there: an agent makes one a minute."""
_REPORT_POLL = 1.0
_AGAIN_SECONDS = 10.0
_PENALTY_SECONDS = 10.0
"""How long a penalty lasts (p4src/common/secure_reception.p4)."""
_VARIETY = 512


@dataclass
class _Honest:
    """What leaf1 sends to leaf3, and the echoes that come back: a stream of its own."""

    host: Client
    began: float = 0.0

    async def begin(self) -> None:
        await self.host.call("stream_begin", stream=_DESTINATION)
        self.began = time.monotonic()

    async def end(self) -> tuple[dict[str, Any], float]:
        """What became of the requests since `begin`, and how many there were a second."""
        seconds = time.monotonic() - self.began
        window: dict[str, Any] = await self.host.call("stream_end", stream=_DESTINATION)
        return window, window["sent"] / seconds


def _floor(world: World) -> Meter:
    """What leaf3 verifies in any case of leaf1. Raises LabError."""
    source = ip_address(world.leaf(_SENDER).ends_with(world.leaf(_RECEIVER))[0])
    with SwitchReader(world.view.switches[_RECEIVER], world.leaf(_RECEIVER).device_id) as switch:
        peers = {
            entry.parameters["peer"]
            for entry in switch.entries("authorized_nve")
            if (address := IPv6Address(entry.key["source"])) == source or address.ipv4_mapped == source
        }
        for meter in switch.meters("peer_floor"):
            if meter.key["peer"] in peers:
                return meter
    raise LabError(f"{_RECEIVER} has no floor for {_SENDER}")


async def _measured(world: World, honest: _Honest) -> tuple[Meter, float, list[str]]:
    """The floor, once the agent has seen what the peer sends; honest packets a second; and what is wrong with it."""
    deadline = time.monotonic() + _FLOOR_SECONDS
    while True:
        await honest.begin()
        await asyncio.sleep(_MEASURED_SECONDS)
        _, rate = await honest.end()
        floor = await asyncio.to_thread(_floor, world)
        if floor.rate >= _ROOM * rate > 0:
            return floor, rate, []
        if time.monotonic() > deadline:
            why = f"{_RECEIVER} verifies {floor.rate} packets/s of {_SENDER} in penalty, which sends {rate:.0f}"
            return floor, rate, [why]


def _forged(world: World, real: Protected) -> list[Protected]:
    victim = world.host(_DESTINATION)
    return [world.guess(real, world.marked_frame(_SOURCE, victim, number), number) for number in range(_VARIETY)]


def _is_reported(status: dict[str, Any]) -> bool:
    return any(
        (one["nve"], one["event"]) == (_RECEIVER, _REPORT) and f"{_SENDER} (" in one["detail"] and not one["over"]
        for one in status["reports"]
    )


async def _beyond(world: World, forged: list[Protected], floor: Meter) -> tuple[int, list[str]]:
    """Forged packets over the floor, until operators are told in whose name they come. Returns how many, and faults."""
    rate = max(world.flood_rate, 2 * floor.rate)
    each = int(floor.burst + _OVER * rate) // _VARIETY + 1
    sent, deadline = 0, time.monotonic() + _REPORT_SECONDS
    while True:
        sent += await world.into_underlay(_RECEIVER, forged, rate=rate, repeat=each)
        again = time.monotonic() + _AGAIN_SECONDS
        while time.monotonic() < again:
            if _is_reported(await world.status()):
                return sent, []
            await asyncio.sleep(_REPORT_POLL)
        if time.monotonic() > deadline:
            return sent, [f"status has no report {_REPORT} of {_RECEIVER} that names {_SENDER}"]


async def drained_meter(world: World) -> Shot:
    """Ten forged packets for each honest one: the peer is in penalty, and its own packets pass all the same."""
    honest = _Honest(world.view.hosts[_SOURCE])
    await world.reach(_SOURCE, _DESTINATION)
    stream: dict[str, Any] = {"stream": _DESTINATION, "destination": world.host(_DESTINATION).ip, "sizes": ECHO_SIZES}
    running = f"{_SOURCE} sends echo requests to {_DESTINATION}"
    world.owes(running, lambda: honest.host.call("stream_stop", stream=_DESTINATION))
    # As fast as the machine is, like everything that is not a flood.
    await honest.host.call("stream_start", interval=1 / min(_HONEST_AT_MOST, world.pace / (_TIMES + 2)), **stream)
    floor, rate, faults = await _measured(world, honest)
    real = await world.catch_one(_SOURCE, _DESTINATION, withhold=False)
    forged = _forged(world, real)
    seconds = max(_ATTACK_SECONDS, _HONEST_AT_LEAST / rate)
    repeat = int(_TIMES * rate * seconds) // _VARIETY + 1
    await honest.begin()
    sent = await world.into_underlay(_RECEIVER, forged, rate=_TIMES * rate, repeat=repeat)
    window, _ = await honest.end()
    await honest.host.call("stream_stop", stream=_DESTINATION)
    world.settled(running)
    lost = window["sent"] - window["received"]
    if lost > _LOSS * window["sent"]:
        faults.append(f"{lost} of {window['sent']} packets between {_SENDER} and {_RECEIVER} were lost")
    beyond, missing = await _beyond(world, forged, floor)
    await asyncio.sleep(_PENALTY_SECONDS)
    await world.reach(_SOURCE, _DESTINATION)
    return Shot(
        # Of the honest ones that were lost, some are counted as the forged ones over the floor are.
        sent + beyond + lost,
        sent + beyond,
        bait=1,
        note=f"{_TIMES * rate:.0f} forged packets/s beside {rate:.0f}, {lost} of {window['sent']} lost;"
        f" {floor.rate} are verified in penalty",
        faults=tuple(faults + missing),
    )


ATTACKS = (
    Attack(
        "drained-meter",
        "outsider",
        "forged packets in the name of an NVE, to have its own dropped",
        frozenset({"BAD_ICV", "PEER_RATE"}),
        drained_meter,
    ),
)
