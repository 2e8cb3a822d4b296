# SPDX-License-Identifier: Apache-2.0
"""NVA, agents and switches killed at random moments, under traffic, with intruders that never stop.

    python controller/tests/support/random_kills.py --kills 200 --seed 7

Three embedded switches with wires between them, an agent for each, an NVA with a database: seven processes. One after
another, chosen by the seed, gets SIGKILL and is started again. When all is ready, what has to be so is looked at:

    each switch holds what the NVA intends (`reconcile` would do nothing)
    what arrived at a tenant system was sent by one that may, once
    nothing passed a switch whose agent was gone for longer than its lease
    every tenant system whose announcement was acknowledged is known to the NVA
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
from nvo3sec.errors import OperatorError
from nvo3sec.operator.console import ask
from overlay_world import LEAVES, Identities, Overlay, until
from switches import EXECUTABLES, Ports, SwitchProcess

LEASE_S = 5.0
PATIENCE_S = 180.0
EVERY_S = 0.02
BLUE = {f"leaf{number}": (0x02AA00000000 + number, f"10.1.0.{number}") for number in (1, 2, 3)}
"""The tenant system at port 1 of each leaf."""
FLOWS = (("leaf1", "leaf2"), ("leaf2", "leaf3"), ("leaf3", "leaf1"))
GOOD, SPOOFED, LATE = 1, 2, 3
"""What a frame says of itself: only the first kind may arrive anywhere."""


def frame(source: int, destination: int, source_ip: str, destination_ip: str, kind: int, number: int) -> bytes:
    """A frame of a tenant system."""
    payload = bytes([kind]) + number.to_bytes(8, "big") + bytes(23)
    packet = b"\x45\x00" + (20 + len(payload)).to_bytes(2, "big") + bytes(4) + b"\x40\xfd\x00\x00"
    packet += IPv4Address(source_ip).packed + IPv4Address(destination_ip).packed + payload
    return destination.to_bytes(6, "big") + source.to_bytes(6, "big") + b"\x08\x00" + packet


def kind_and_number(found: bytes) -> tuple[int, int]:
    """What a frame says of itself."""
    return found[34], int.from_bytes(found[35:43], "big")


class Wires:
    """What leaves an underlay port goes to where its destination lives, unless that is not there."""

    def __init__(self, world: Overlay) -> None:
        self._world = world
        nves = world.identities.domain.nves
        self._owner = {mac.to_bytes(6, "big"): (nve.name, port) for nve in nves for port, mac in nve.underlay_ports}
        self._writing = {leaf: asyncio.Lock() for leaf in LEAVES}
        self.seen: deque[tuple[str, int, bytes]] = deque(maxlen=2000)
        """For who replays: to whom, by which port, and what."""
        self.recording = True
        self.arrived: Callable[[str, int, bytes], None] = lambda _leaf, _port, _frame: None

    async def plug(self, leaf: str) -> None:
        """Connect a switch that was started."""
        ports = Ports(self._world.switches[leaf])

        async def out(port: int, found: bytes) -> None:
            if port < 256:
                self.arrived(leaf, port, found)
            elif owner := self._owner.get(found[:6]):
                if self.recording:
                    self.seen.append((*owner, found))
                await self.send(*owner, found)

        ports.arrived = out  # type: ignore[method-assign]
        await ports.open()
        self._world.ports[leaf] = ports

    async def send(self, leaf: str, port: int, found: bytes) -> None:
        """To a port of a switch, if it is there."""
        async with self._writing[leaf]:  # gRPC takes one write of a stream at a time
            try:
                await self._world.ports[leaf].send(port, found)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                pass
            except asyncio.CancelledError:
                # gRPC says so of a stream that was given up meanwhile; that is not the end of who was writing.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise


class RandomKills:
    """The seven processes, what is sent, and what has to be so."""

    def __init__(self, world: Overlay, seed: int) -> None:
        self.world = world
        self.killed: Counter[str] = Counter()
        self.delivered = 0
        self.intruded = 0
        self.acknowledged: dict[str, str] = {}
        """MAC addresses that an agent has said to be taken, and where."""
        self.outlived = 0
        """Switches that were found closed after their lease."""
        self._random = random.Random(seed)
        self._wires = Wires(world)
        self._wires.arrived = self._arrived
        self._got: dict[str, set[int]] = {leaf: set() for leaf in LEAVES}
        self._answers: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0

    # --- frames -----------------------------------------------------------------------------------------------------

    def _arrived(self, leaf: str, port: int, found: bytes) -> None:
        if found[12:14] == b"\x08\x06" and found[20:22] == b"\x00\x02":
            self._answers[leaf] += 1
        if found[12:14] != b"\x08\x00" or len(found) < 43:
            return  # the neighbor protocols of the switches
        kind, number = kind_and_number(found)
        source = next((one for one, other in FLOWS if other == leaf), "")
        if kind != GOOD or port != 1 or found[6:12] != BLUE[source][0].to_bytes(6, "big"):
            self._wrong.append(f"{leaf} port {port}: kind {kind}, number {number}")
        elif number in self._got[leaf]:
            self._wrong.append(f"{leaf}: number {number} twice")
        else:
            self._got[leaf].add(number)
            self.delivered += 1

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _send(self, source: str, destination: str, kind: int = GOOD) -> int:
        number = self._next()
        (mac, ip), (other, other_ip) = BLUE[source], BLUE[destination]
        await self._wires.send(source, 1, frame(mac, other, ip, other_ip, kind, number))
        return number

    async def _tenants(self) -> None:
        while True:
            for flow in FLOWS:
                await self._send(*flow)
            await asyncio.sleep(EVERY_S)

    async def _intruders(self) -> None:
        """A tenant system that poses as another, one at a port without a VN, replays and changed packets."""
        while True:
            source, destination = self._random.choice(FLOWS)
            (own, own_ip), (other, other_ip) = BLUE[source], BLUE[destination]
            third = next(BLUE[leaf] for leaf in LEAVES if leaf not in (source, destination))
            number = self._next()
            await self._wires.send(source, 1, frame(third[0], other, third[1], other_ip, SPOOFED, number))
            await self._wires.send(source, 1, frame(own, other, third[1], other_ip, SPOOFED, number))
            await self._wires.send(source, 9, frame(own, other, own_ip, other_ip, SPOOFED, number))
            self.intruded += 3
            if self._wires.seen:
                leaf, port, found = self._random.choice(self._wires.seen)
                place = self._random.randrange(14, len(found))
                await self._wires.send(leaf, port, found)
                changed = found[:place] + bytes([found[place] ^ 1 << self._random.randrange(8)]) + found[place + 1 :]
                # The ECN bits of the outer header are not protected, and a change of them alone is no attack.
                if place != 15 or (found[place] ^ changed[place]) & ~3:
                    await self._wires.send(leaf, port, changed)
                self.intruded += 2
            await asyncio.sleep(EVERY_S)

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, kills: int, told: Callable[[str], None] = lambda _text: None) -> None:
        """Kill and look, `kills` times. Raises AssertionError with what is not as it has to be."""
        for name in ("nva", *LEAVES):
            self.world.start(name)
        await self._ready()
        for leaf in LEAVES:
            await self._wires.plug(leaf)
        tasks = self._tasks = [asyncio.create_task(self._tenants()), asyncio.create_task(self._intruders())]
        try:
            await self._passes()
            for number in range(kills):
                await self._kill_one(number, told)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _kill_one(self, number: int, told: Callable[[str], None]) -> None:
        victim = self._random.choice(["nva", *LEAVES, *(f"switch of {leaf}" for leaf in LEAVES)])
        await asyncio.sleep(self._random.uniform(0, 0.5))
        attaching = asyncio.create_task(self._attach(number))
        await asyncio.sleep(self._random.uniform(0, 0.1))
        began = time.monotonic()
        self.killed[victim] += 1
        if victim.startswith("switch"):
            leaf = victim.removeprefix("switch of ")
            switch = self.world.switches[leaf]
            await asyncio.to_thread(switch.kill)
            await asyncio.sleep(self._random.uniform(0, 0.3))
            await self.world.ports[leaf].close()
            await asyncio.to_thread(switch.start)
            await self._wires.plug(leaf)
        else:
            self.world.kill(victim)
            if victim != "nva" and self._random.random() < 0.2:
                await self._closed(victim, began)
            else:
                await asyncio.sleep(self._random.uniform(0, 0.5))
            self.world.start(victim)
        await self._ready()
        await attaching
        await self._look(victim)
        told(f"{number + 1}: {victim}, ready and right after {time.monotonic() - began:.1f} s")

    async def _closed(self, leaf: str, began: float) -> None:
        """The agent is gone: when its lease has run out, nothing goes into its tunnels, and nothing comes out."""
        await asyncio.sleep(max(0.0, began + LEASE_S + 0.5 - time.monotonic()))
        # What an open switch sends to a closed one and somebody keeps until that is open again is a packet that was
        # late, and not wrong: it would arrive, once.
        self._wires.recording = False
        for source, destination in FLOWS:
            if leaf in (source, destination):
                await self._send(source, destination, LATE)
                # It has been looked at, here and there, before the lease can be a new one.
                await self._worked_off(source)
                await self._worked_off(destination)
                self.outlived += 1
        self._wires.recording = True

    async def _worked_off(self, leaf: str) -> None:
        """Until the switch has answered a question (ARP) that came after all that was sent before; no agent does."""
        destination = dict(FLOWS)[leaf]
        (mac, ip), (_, wanted) = BLUE[leaf], BLUE[destination]
        sender, target = mac.to_bytes(6, "big") + IPv4Address(ip).packed, bytes(6) + IPv4Address(wanted).packed
        question = b"\xff" * 6 + mac.to_bytes(6, "big") + bytes.fromhex("0806 0001 0800 06 04 0001") + sender + target
        before = self._answers[leaf]
        async with asyncio.timeout(PATIENCE_S):
            while self._answers[leaf] == before:
                await self._wires.send(leaf, 1, question + bytes(18))
                await asyncio.sleep(0.2)

    async def _attach(self, number: int) -> None:
        """A tenant system comes while something is killed. What was acknowledged has to be known from then on."""
        leaf = self._random.choice(LEAVES)
        mac = f"02:bb:00:00:{number >> 8:02x}:{number & 255:02x}"
        with contextlib.suppress(OperatorError):
            answer = await asyncio.to_thread(
                ask, self.world.run_directory(leaf), "attach", vn="blue", port=1, vlan=0, mac=mac, ips=[]
            )
            assert answer["standing"] == "active", answer
            self.acknowledged[mac] = leaf

    async def _ready(self) -> None:
        why: object = "nothing was said"
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    ended = [name for name, one in self.world.processes.items() if one.poll() is not None]
                    assert not ended, f"{ended} ended by themselves: {[self.world.log(one)[-2000:] for one in ended]}"
                    try:
                        await self.world.ready()
                        return
                    except AssertionError as error:
                        why = error
        except TimeoutError:
            raise AssertionError(f"not ready after {PATIENCE_S:g} s: {why}") from None

    # --- what has to be so ------------------------------------------------------------------------------------------

    async def _look(self, after: str) -> None:
        await self._passes()
        assert not self._wrong, f"after {after}: {self._wrong[:5]}"
        await self._equal_to_intent()
        known = await self._ask("map_list", limit=100_000)
        places = {one["mac"]: one["nve"] for one in known["claims"] if one["standing"] == "active"}
        lost = {mac: leaf for mac, leaf in self.acknowledged.items() if places.get(mac) != leaf}
        assert not lost, f"after {after}: {lost}"

    async def _equal_to_intent(self) -> None:
        """Every switch holds what the NVA intends; what is in the middle of a change gets the time for it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found: dict[str, Any] = {}
                with contextlib.suppress(OperatorError):
                    found = await self._ask("reconcile", dry_run=True)
                if set(found) == set(LEAVES) and not any(found.values()):
                    return
                await asyncio.sleep(0.1)

    async def _passes(self) -> None:
        """Each flow delivers something that was sent from now on."""
        now = self._number

        def passed() -> bool:
            assert not any(task.done() for task in self._tasks), self._tasks
            return all(any(number > now for number in self._got[other]) for _, other in FLOWS)

        await until(passed, timeout_s=PATIENCE_S)

    async def _ask(self, method: str, **parameters: Any) -> Any:
        return await asyncio.to_thread(ask, self.world.run_directory("nva"), method, **parameters)


async def kill_at_random(directory: Path, kills: int, seed: int, told: Callable[[str], None]) -> RandomKills:
    """Everything, from the start of the processes to their end."""
    executable = EXECUTABLES["embedded"]
    assert executable is not None, "no embedded switch on PATH"
    started: list[SwitchProcess] = []

    def start_switch(name: str, device_id: int) -> SwitchProcess:
        switch = SwitchProcess(executable, device_id, directory, name)
        started.append(switch)
        switch.start()
        return switch

    world = Overlay(Identities(directory), start_switch, lease_s=LEASE_S, lease_renew_s=1.0)
    try:
        harness = RandomKills(world, seed)
        await harness.run(kills, told)
        return harness
    finally:
        world.end()
        for ports in world.ports.values():
            await ports.close()
        for switch in started:
            switch.kill()


def main() -> None:
    """Kill as often as told, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        done = asyncio.run(
            kill_at_random(Path(directory), chosen.kills, chosen.seed, lambda text: print(text, flush=True))
        )
    print(f"killed: {dict(sorted(done.killed.items()))}")
    print(f"delivered {done.delivered}, of {done.intruded} frames of intruders none")
    print(f"{done.outlived} frames to or from a switch after its lease: none passed")
    print(f"{len(done.acknowledged)} tenant systems acknowledged, all known")


if __name__ == "__main__":
    main()
