# SPDX-License-Identifier: Apache-2.0
"""Plays the attacks one by one, and measures each where it matters: at the hosts, in the counters, beside it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nvo3lab.drill import (
    confidentiality,
    drained_meter,
    insider,
    levels,
    lies,
    outsider,
    recorded,
    reuse,
    revocation,
    rollover,
    storm,
    tenant,
    theft,
)
from nvo3lab.drill import (
    control_plane as control,
)
from nvo3lab.drill.drops import DropCounters
from nvo3lab.drill.model import Attack, Result, Shot, Traffic, judge
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError, UsageError
from nvo3lab.host.ledger import KINDS
from nvo3lab.topology import ECHO_SIZES
from nvo3lab.view import View

ATTACKS: tuple[Attack, ...] = (
    *outsider.ATTACKS,
    *confidentiality.ATTACKS,
    *drained_meter.ATTACKS,
    *insider.ATTACKS,
    *tenant.ATTACKS,
    *storm.ATTACKS,
    *control.ATTACKS,
    *theft.ATTACKS,
    *lies.ATTACKS,
    *levels.ATTACKS,
    *recorded.ATTACKS,
    *rollover.ATTACKS,
    *reuse.ATTACKS,
    *revocation.ATTACKS,
)

_STREAMS = (("red1", "red2"), ("blue1", "blue2"))
"""The legitimate traffic: one echo stream for each tenant, across the underlay, small and large packets in turn."""
_INTERVAL = {"embedded": 0.01, "bmv2": 0.05}
_BASELINE_SECONDS = 1.5
_WINDOW_SECONDS = {"embedded": 0.6, "bmv2": 1.0}
"""An attack is observed at least this long, so that there is traffic beside it."""
_SETTLE_SECONDS = 5.0
"""What was sent may take this long to be accounted for."""
_POLL = 0.02
_WARM_UP_SECONDS = 120.0
"""Until an echo comes back before anything is attacked: the first may be lost where a busy machine looks up late."""


def select(names: Sequence[str]) -> tuple[Attack, ...]:
    """The attacks of these names; all that leave the lab as it was, if none are named. A final one comes last.

    Raises UsageError for a name that no attack has.
    """
    known = {attack.name: attack for attack in ATTACKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no attack named {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in names] or [attack for attack in ATTACKS if not attack.is_final]
    return tuple(sorted(chosen, key=lambda attack: attack.is_final))


async def excluded(view: View) -> frozenset[str]:
    """The NVEs that are shut out of a lab."""
    if view.control is None:
        return frozenset()
    status = await view.control.ask("status")
    return frozenset(switch["nve"] for switch in status["switches"] if switch["excluded"])


async def launched(world: World, attack: Attack, on_progress: Callable[[str], None]) -> Shot:
    """Play an attack, and put back what it has not, however it ends. on_progress: told what cannot be."""
    try:
        return await attack.launch(world)
    finally:
        if left := await world.put_back():
            on_progress(f"{attack.name} leaves the lab otherwise than it was: {'; '.join(left)}")


class Drill:
    """One drill against one running lab."""

    def __init__(
        self,
        view: View,
        on_result: Callable[[Result], None] = lambda _result: None,
        on_start: Callable[[Attack], None] = lambda _attack: None,
        on_progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """on_progress: told for what is waited, and what an attack could not put back."""
        self._view = view
        self._on_result = on_result
        self._on_start = on_start
        self._on_progress = on_progress
        self._baseline = Traffic(0, 0, None, None)
        self._window = _WINDOW_SECONDS[view.target]

    async def run(self, attacks: Sequence[Attack]) -> list[Result]:
        """Play attacks. Raises LabError where the lab itself fails, so that nothing could be measured.

        An attack that cannot be played to its end has not held; the others are played all the same.
        """
        topology = self._view.topology
        switches = {leaf.name: (self._view.switches[leaf.name], leaf.device_id) for leaf in topology.leaves}
        counters = await asyncio.to_thread(DropCounters, switches)
        self._world = World(self._view, counters)
        results = []
        try:
            await self._world.announce()
            await self._warm_up()
            await self._start_streams()
            try:
                self._baseline, _shot = await self._beside(lambda: asyncio.sleep(_BASELINE_SECONDS))
                if self._baseline.median_ms is None:
                    raise LabError("no echo came back while nothing was attacked")
                self._world.adapt(self._baseline.median_ms / 1000)
                for attack in attacks:
                    self._on_start(attack)
                    results.append(await self._play(attack, counters))
                    self._on_result(results[-1])
            finally:
                await self._stop_streams()
        finally:
            counters.close()
        return results

    async def _play(self, attack: Attack, counters: DropCounters) -> Result:
        dropped_before, arrived_before = await counters.read(), await self._arrived()
        start = time.monotonic()

        failed: list[str] = []

        async def launch() -> Shot:
            try:
                shot = await launched(self._world, attack, self._on_progress)
            except LabError as error:
                # It says nothing about the attacks before it, and nothing about those behind it.
                failed.append(f"could not be played to its end: {error}")
                return Shot(0, 0)
            await self._settle(attack, shot, counters, dropped_before, arrived_before)
            await asyncio.sleep(max(start + self._window - time.monotonic(), 0))
            return shot

        beside, shot = await self._beside(launch)
        seconds = time.monotonic() - start
        dropped = await counters.read()
        dropped.subtract(dropped_before)
        caught: Counter[str] = Counter()
        for (_leaf, reason), count in dropped.items():
            if count:
                caught[reason] += count
        arrived = await self._arrived()
        arrived.subtract(arrived_before)
        through, faults = judge(attack, shot, dict(caught), dict(arrived), self._baseline, beside)
        faults = failed or faults
        return Result(
            attack.name,
            attack.who,
            attack.summary,
            shot.sent,
            through,
            dict(caught) | shot.refused,
            self._baseline,
            beside,
            seconds,
            shot.note,
            faults,
            min(arrived["bait"], shot.bait),
            dict(shot.refused),
        )

    async def _settle(
        self,
        attack: Attack,
        shot: Shot,
        counters: DropCounters,
        dropped_before: Counter[tuple[str, str]],
        arrived_before: Counter[str],
    ) -> None:
        """Wait until what was sent is accounted for, or time is up; the judge then sees what is missing."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            dropped = sum((await counters.read()).values()) - sum(dropped_before.values())
            bait = (await self._arrived())["bait"] - arrived_before["bait"]
            if dropped >= shot.drops and bait >= shot.bait:
                return
            await asyncio.sleep(_POLL)

    async def _arrived(self) -> Counter[str]:
        total: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        for name, ledger in (await self._view.received()).items():
            if ledger["missed"]:
                raise LabError(f"{name} has missed {ledger['missed']} frames: nothing can be said about what arrived")
            total.update(ledger["counts"])
        return total

    async def _warm_up(self) -> None:
        """Let hosts and agents know each other before anything is measured."""
        for source, destination in self._view.topology.pairs():
            host, loop = self._view.hosts[source.name], asyncio.get_running_loop()
            deadline, told = loop.time() + _WARM_UP_SECONDS, False
            while not (await host.call("ping", destination=destination.ip, count=2))["received"]:
                out = ", ".join(sorted(await excluded(self._view)))
                why = f"; for good shut out of it: {out}; end it, and start another" if out else ""
                if out or loop.time() > deadline:
                    raise LabError(f"{source.name} does not reach {destination.name}: there is no lab to attack{why}")
                if not told:
                    self._on_progress(f"waiting until {source.name} reaches {destination.name}")
                told = True

    async def _start_streams(self) -> None:
        for source, destination in _STREAMS:
            await self._view.hosts[source].call(
                "stream_start",
                stream=destination,
                destination=self._world.host(destination).ip,
                interval=_INTERVAL[self._view.target],
                sizes=ECHO_SIZES,
            )

    async def _stop_streams(self) -> None:
        for source, destination in _STREAMS:
            await self._view.hosts[source].call("stream_stop", stream=destination)

    async def _beside(self, work: Callable[[], Awaitable[Any]]) -> tuple[Traffic, Any]:
        """Measure the legitimate traffic while something is done. Returns it, and what the work returned."""
        for source, destination in _STREAMS:
            await self._view.hosts[source].call("stream_begin", stream=destination)
        outcome = await work()
        ends = await asyncio.gather(
            *(self._view.hosts[source].call("stream_end", stream=destination) for source, destination in _STREAMS)
        )
        sent, received = sum(end["sent"] for end in ends), sum(end["received"] for end in ends)
        medians = [end["median_ms"] for end in ends]
        tails = [end["p99_ms"] for end in ends]
        if None in medians:
            return Traffic(sent, sent - received, None, None), outcome
        return Traffic(sent, sent - received, max(medians), max(tails)), outcome


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """The whole drill as JSON."""
    return {"held": all(result.held for result in results), "attacks": [result.to_json() for result in results]}
