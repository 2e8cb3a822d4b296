# SPDX-License-Identifier: Apache-2.0
"""Recordings from before: of keys that have been rotated away, and of switches that have been restarted since.

The attacker has two kinds: packets that have arrived, and packets that it kept back, whose numbers nobody has seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nvo3lab.domain_file import LIFETIMES
from nvo3lab.drill.model import NOT_OPEN_YET, Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.processes.control_plane import NVA, nve
from nvo3lab.topology import ECHO_SIZES

_EACH = 20
_ROTATIONS = 3
_INTERVAL = {"embedded": 0.02, "bmv2": 0.1}
"""Seconds between echoes, of streams between all pairs at once."""
_PATIENCE = 20.0
"""For the last answers, seconds: longer than a process of a busy machine waits for its turn."""
_RESTARTED = "leaf3"
_PAIRS = (("red1", "red2"), ("blue2", "blue1"), ("blue3", "blue1"), ("blue1", "blue3"))
"""One direction of each tunnel in turn, and of each level: where a packet is sent, and where it has to arrive."""
_TO_RESTARTED, _FROM_RESTARTED = ("blue1", "blue3"), ("blue3", "blue2")

_OLD_KEYS = frozenset({"NO_SA", "REPLAYED", "REPLAY_TOO_LATE"})
"""What a switch says of packets under keys that it does not have, or has seen them under."""
_CLOSED = frozenset(
    {
        "PORT_UNCONFIGURED",
        "VAP_UNKNOWN",
        "INCARNATION",
        "LEASE_ABSENT",
        "LEASE_EXPIRED",
        "UNAUTHORIZED_NVE",
        "PEER_METER_MISSING",
        "PEER_RATE",
        "SA_INCARNATION",
    }
)
"""And one that is being brought up, which refuses everything until the last piece is there. What the kernels of its
tenants say by themselves meanwhile, it refuses likewise: it knows no port at first, and no VAP until the end."""


@dataclass
class Recording:
    """What was caught on the way to one NVE."""

    leaf: str
    passed: list[bytes]
    withheld: list[bytes]

    @property
    def packets(self) -> list[bytes]:
        return self.passed + self.withheld


async def record(world: World, pairs: Iterable[tuple[str, str]]) -> list[Recording]:
    """Record packets between pairs of hosts: as many that arrive as that are kept back."""
    made = []
    for source, destination in pairs:
        await world.reach(source, destination)
        passed = await world.catch(source, destination, _EACH, withhold=False)
        withheld = await world.catch(source, destination, _EACH, withhold=True)
        made.append(Recording(world.topology.leaf_of(destination).name, passed, withheld))
    return made


def _bait(recordings: Iterable[Recording]) -> int:
    """How many of the recorded packets have arrived, and will not again."""
    return sum(len(one.passed) for one in recordings)


async def play(world: World, recordings: Iterable[Recording]) -> int:
    """Send all that was recorded to where it was going. Returns how many."""
    return sum([await world.into_underlay(one.leaf, one.packets) for one in recordings])


async def _play_again(world: World, recordings: Iterable[Recording]) -> int:
    """Only what has arrived once."""
    return sum([await world.into_underlay(one.leaf, one.passed) for one in recordings])


_Direction = tuple[str, str, str]
"""Sender, receiver, level: two NVEs have keys of each level that their VNs demand."""


def _spis(status: dict[str, Any], nve_name: str | None = None) -> dict[_Direction, list[str]]:
    """The SPIs of each direction: all, or those of one NVE."""
    found: dict[_Direction, list[str]] = {}
    for key in status["keys"]:
        if nve_name in (None, key["sender"], key["receiver"]):
            found.setdefault((key["sender"], key["receiver"], key["level"]), []).append(key["spi"])
    return found


def _have_turned(status: dict[str, Any], before: dict[_Direction, list[str]], name: str | None = None) -> bool:
    """Whether every direction has exactly one key, and none of those that it had."""
    now = _spis(status, name)
    return now.keys() == before.keys() and all(
        len(spis) == 1 and not set(spis) & set(before[ends]) for ends, spis in now.items()
    )


async def _turned(world: World, before: dict[_Direction, list[str]]) -> dict[_Direction, list[str]]:
    return _spis(await world.until(lambda status: _have_turned(status, before), "new keys, and the old ones gone"))


class Streams:
    """Echoes between all pairs of hosts of a tenant, as long as the context lasts."""

    def __init__(self, world: World) -> None:
        self._world = world
        seen = {
            frozenset((source.name, destination.name)): (source, destination)
            for source, destination in world.topology.pairs()
        }
        self._pairs = list(seen.values())
        self.sent = self.lost = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with them, once they have ended."""
        return (f"{self.lost} of {self.sent} packets between all pairs were lost",) if self.lost else ()

    async def __aenter__(self) -> Streams:
        for source, destination in self._pairs:
            await self._world.view.hosts[source.name].call(
                "stream_start",
                stream=f"all {destination.name}",
                destination=destination.ip,
                interval=_INTERVAL[self._world.view.target],
                sizes=ECHO_SIZES,
            )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for answer in await asyncio.gather(
            *(
                self._world.view.hosts[source.name].call(
                    "stream_stop", stream=f"all {destination.name}", patience=_PATIENCE
                )
                for source, destination in self._pairs
            )
        ):
            self.sent += answer["sent"]
            self.lost += answer["sent"] - answer["received"]


async def rotation(world: World) -> Shot:
    """Every key is replaced several times under traffic between all pairs; what was recorded is played in between."""
    recordings = await record(world, _PAIRS)
    before = _spis(await world.status())
    sent = 0
    async with Streams(world) as streams:
        for _ in range(_ROTATIONS):
            await world.operate("Rotate")
            # While the old keys may still receive: there, what was kept back would only be late.
            sent += await _play_again(world, recordings)
            before = await _turned(world, before)
        sent += await play(world, recordings)
    return Shot(
        sent,
        sent,
        bait=_bait(recordings),
        faults=streams.faults,
        note=f"{_ROTATIONS} times {len(before)} keys; {streams.sent} echoes between all pairs, {streams.lost} lost",
    )


async def restart_replay(world: World) -> Shot:
    """A switch is killed and started again; what was recorded before is played while it comes up, and afterwards."""
    towards, away = await record(world, (_TO_RESTARTED, _FROM_RESTARTED))
    before = await world.status()
    old, old_keys = _incarnations(before)[_RESTARTED], _spis(before, _RESTARTED)
    await world.kill(_RESTARTED)
    stopping = asyncio.Event()
    # It is there before the switch is, and goes on until everything is as it was: whatever the switch is at a time.
    playing = asyncio.create_task(_keep_playing(world, towards, stopping))
    try:
        await world.start(_RESTARTED)
        await world.until(
            lambda status: (
                _incarnations(status)[_RESTARTED] not in ("", old) and _have_turned(status, old_keys, _RESTARTED)
            ),
            f"{_RESTARTED} is back with new keys",
        )
    finally:
        stopping.set()
        meanwhile = await playing
    sent = await play(world, (towards, away))
    faults = []
    for source, destination in (_TO_RESTARTED, _FROM_RESTARTED):
        try:
            await world.reach(source, destination)
        except LabError as error:
            faults.append(str(error))
    return Shot(
        meanwhile + sent,
        sent,
        bait=_bait((towards, away)),
        faults=tuple(faults),
        note=f"{meanwhile} while it came up; new incarnation, new keys in {len(old_keys)} directions",
    )


async def _keep_playing(world: World, recording: Recording, stopping: asyncio.Event) -> int:
    sent = 0
    while not stopping.is_set():
        sent += await world.into_underlay(recording.leaf, recording.packets)
    return sent


def _incarnations(status: dict[str, Any]) -> dict[str, str]:
    return {switch["nve"]: switch["incarnation"] for switch in status["switches"]}


async def restart_control(world: World) -> Shot:
    """NVA and agents are killed and started again; nobody loses a packet, no key is replaced, no recording works."""
    recordings = await record(world, (("red1", "red2"), ("blue2", "blue1")))
    for one in recordings:
        await world.into_underlay(one.leaf, one.withheld)  # the keys stay, so they are still good: once
    before = await world.status()
    agents = [nve(world.leaf(name)) for name in ("leaf1", "leaf2")]
    sent, away = 0, 0.0
    for victims in ([NVA], agents):
        began = time.monotonic()
        for victim in victims:
            await world.kill(victim)
        sent += await play(world, recordings)
        for victim in victims:
            await world.start(victim)
        await world.until(lambda status: _is_as(status, before), f"as before {' and '.join(victims)} was killed")
        away = max(away, time.monotonic() - began)
    lapsed = away > LIFETIMES["lease_s"] - 2 * LIFETIMES["lease_renew_s"]
    slow = f"; on this machine that took up to {away:.0f} s, longer than a lease, so tunnels closed" if lapsed else ""
    return Shot(
        sent,
        sent,
        bait=sum(len(one.packets) for one in recordings),
        note=f"the NVA, then {len(agents)} agents; every incarnation and every key stayed{slow}",
        lapsed=lapsed,
    )


def _is_as(status: dict[str, Any], before: dict[str, Any]) -> bool:
    return _incarnations(status) == _incarnations(before) and _spis(status) == _spis(before)


ATTACKS = (
    Attack(
        "rotation",
        "keys",
        "recordings, while all keys are rotated under traffic between all pairs",
        _OLD_KEYS,
        rotation,
    ),
    Attack(
        "restart-replay",
        "keys",
        "recordings, while and after a switch is killed and restarted",
        _OLD_KEYS | _CLOSED,
        restart_replay,
        # A host that looks whether its neighbor is there asks the neighbor, through a tunnel that is not open yet.
        own=NOT_OPEN_YET,
    ),
    Attack(
        "restart-control",
        "keys",
        "recordings, while NVA and agents are killed and restarted",
        frozenset({"REPLAYED", "REPLAY_TOO_LATE"}),
        restart_control,
    ),
)
