# SPDX-License-Identifier: Apache-2.0
"""How fast the overlay follows: moves, rotations, revocations, with real processes, real TLS and embedded switches.

    PYTHONPATH=controller/tests/support python controller/bench/convergence.py [--moves N] [--rotations N]

One NVA, three agents, three switches on this machine, and tenants that send all the time.

move        from the old place's release (the new place has announced already) to the first packet there
rotation    packets that did not arrive, or arrived twice or out of order, while all keys are replaced again and again
revocation  from the operator's command until every other switch was read back without the NVE
bring-up    from the start of an agent's process, with its switch empty, to a switch that was read back as it should be
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.operator.console import ask
from overlay_world import Identities, Overlay, overlay
from switches import EXECUTABLES, SwitchProcess

BLUE1, MAC, IP = 0x02AA00000001, 0x02AA00000077, "10.1.0.77"
WHERE = {"vn": "blue", "port": 1, "vlan": 0, "mac": format_mac(MAC)}
PACE_S = 0.001
GRACE_S = 0.5
"""Of old keys; the next rotation of a direction waits for it."""


def packet(number: int) -> bytes:
    """A packet of blue1's to the tenant system that moves."""
    payload = number.to_bytes(8, "big") + bytes(24)
    ip = b"\x45\x00" + (20 + len(payload)).to_bytes(2, "big") + bytes(4) + b"\x40\xfd\x00\x00"
    ip += IPv4Address("10.1.0.1").packed + IPv4Address(IP).packed + payload
    return MAC.to_bytes(6, "big") + BLUE1.to_bytes(6, "big") + b"\x08\x00" + ip


class Sender:
    """Sends to the tenant system all the time; remembers when which packet left."""

    def __init__(self, world: Overlay) -> None:
        self._world = world
        self.sent = 0
        self.stopping = False

    async def run(self) -> None:
        """Until it is to stop: between two packets."""
        while not self.stopping:
            await self._world.ports["leaf1"].send(1, packet(self.sent))
            self.sent += 1
            await asyncio.sleep(PACE_S)


@contextlib.asynccontextmanager
async def living(**lifetimes: float) -> AsyncIterator[Overlay]:
    """An overlay that is ready."""
    executable = EXECUTABLES["embedded"]
    if executable is None:
        raise SystemExit("p4softswitch is not installed")
    started: list[SwitchProcess] = []
    with tempfile.TemporaryDirectory(prefix="nvo3bench-") as directory:

        def start(name: str, device_id: int) -> SwitchProcess:
            switch = SwitchProcess(executable, device_id, Path(directory), name)
            started.append(switch)
            switch.start()
            return switch

        try:
            async with overlay(Identities(Path(directory)), start, **lifetimes) as world:
                yield world
        finally:
            for switch in started:
                switch.kill()


async def tenant(world: Overlay, leaf: str, method: str, **params: Any) -> Any:
    return await asyncio.to_thread(ask, world.run_directory(leaf), method, **WHERE, **params)


async def arrival(world: Overlay, leaf: str) -> float:
    await world.ports[leaf].receive(1)
    return time.perf_counter()


async def empty(world: Overlay, leaf: str) -> None:
    while world.ports[leaf].waiting(1):
        await world.ports[leaf].receive(1)


async def moves(count: int) -> None:
    """Back and forth between leaf2 and leaf3."""
    async with living() as world:
        here, there = "leaf2", "leaf3"
        await tenant(world, here, "attach", ips=[IP])
        sender = Sender(world)
        task = asyncio.create_task(sender.run())
        try:
            await arrival(world, here)
            times = []
            for _ in range(count):
                await tenant(world, there, "attach", ips=[IP])
                await empty(world, there)
                waiting = asyncio.create_task(arrival(world, there))
                began = time.perf_counter()
                await tenant(world, here, "detach", successor=there)
                times.append(await waiting - began)
                await asyncio.sleep(0.05)
                await empty(world, here)
                here, there = there, here
        finally:
            task.cancel()
    show("move to restored traffic", [1000 * one for one in times], "ms")


async def rotations(count: int) -> None:
    """All keys of the domain, under traffic."""
    async with living(grace_s=GRACE_S) as world:
        await tenant(world, "leaf2", "attach", ips=[IP])
        await world.ports["leaf1"].send(1, packet(2**32))
        await world.ports["leaf2"].receive(1)  # the first one has the agent look it up
        sender = Sender(world)
        task = asyncio.create_task(sender.run())
        times = []
        for _ in range(count):
            before = await sending(world)
            began = time.perf_counter()
            await asyncio.to_thread(ask, world.run_directory("nva"), "rotate")
            while before & await sending(world):
                await asyncio.sleep(0.01)
            times.append(time.perf_counter() - began)
        sender.stopping = True
        await task
        counters = await asyncio.to_thread(ask, world.run_directory("nva"), "counters")
        for one in counters:
            for pipeline, reasons in one["drops"].items():
                for reason, value in reasons.items():
                    print(f"{one['nve']} {pipeline}: {reason} {value['packets']}")
        lost = 0
        expected = 0
        for _ in range(sender.sent):
            try:
                got = await world.ports["leaf2"].receive(1, timeout_s=60)
            except TimeoutError:
                break
            number = int.from_bytes(got[34:42], "big")
            if number != expected:
                print(f"packets {expected} to {number - 1} did not arrive")
            lost += number - expected
            expected = number + 1
        lost += sender.sent - expected
        more = world.ports["leaf2"].waiting(1)
    print(f"{count} rotations of 6 directions: {sender.sent} packets sent, {lost} lost, {more} too many")
    show("rotation of all keys", times, "s")


async def sending(world: Overlay) -> set[str]:
    """SPIs that senders use."""
    return {one["spi"] for one in (await world.ready())["keys"] if one["state"] == "sending"}


async def revocations(count: int) -> None:
    """Each in an overlay of its own: a revocation is for good."""
    times = []
    for _ in range(count):
        async with living() as world:
            result = await asyncio.to_thread(ask, world.run_directory("nva"), "revoke", nve="leaf3")
            times.append(1000 * result["cut_off_s"])
    show("revocation to last cut-off", times, "ms")


async def bring_up(count: int) -> None:
    """An agent and an empty switch."""
    times = []
    async with living() as world:
        for _ in range(count):
            world.kill("leaf3")
            world.switches["leaf3"].kill()
            world.switches["leaf3"].start()
            began = time.perf_counter()
            world.start("leaf3")
            while "leaf3" not in await world.registered():
                await asyncio.sleep(0.01)
            await world.ready()
            times.append(time.perf_counter() - began)
    show("bring-up of an agent and its switch", times, "s")


def show(what: str, values: list[float], unit: str) -> None:
    """Median, 99th percentile (the highest, of fewer than 100), and how many."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what}: p50 {statistics.median(ordered):.3g} {unit}, p99 {p99:.3g} {unit}, of {len(ordered)}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("moves", 100), ("rotations", 100), ("revocations", 5), ("bring-ups", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    for work, count in (
        (moves, chosen.moves),
        (rotations, chosen.rotations),
        (revocations, chosen.revocations),
        (bring_up, chosen.bring_ups),
    ):
        if count:
            asyncio.run(work(count))


if __name__ == "__main__":
    main()
