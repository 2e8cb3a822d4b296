# SPDX-License-Identifier: Apache-2.0
"""How fast an overlay of two NVEs is, and how fast the same chain of processes is without one.

Four namespaces in a row, veth pairs between them: tenant, NVE, NVE, tenant. In the NVEs' places stand first the switch
that was asked for, configured by the controller, and then a program that receives and sends in the same way and does
nothing else (floor.c). Measured are one TCP stream, and frames of three sizes sent without regard for what arrives.
Generator and counter share the processors with the switches: on few cores all figures are lower than what a switch
alone could do.

    python bmv2-lab/bench/overlay.py [--target embedded|bmv2] [--seconds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nvo3lab import domain_file
from nvo3lab.processes import audit, preflight, switches
from nvo3lab.processes import nvo3sec_command as controller
from nvo3lab.processes.guarded import Guarded
from nvo3lab.topology import TENANT_MTU, UNDERLAY_MTU, AccessPort, Host, Leaf, Tenant, Topology
from nvo3lab.wires import linux
from nvo3ref import tenant_frames as frames

HERE = Path(__file__).parent
TOPOLOGY = Topology(
    tenants=(Tenant("red", 5001),),
    leaves=tuple(
        Leaf(
            f"leaf{n}",
            n,
            f"192.0.2.{n}",
            f"02:aa:00:00:00:0{n}",
            (AccessPort(1, (Host(f"red{n}", "red", f"02:00:00:00:01:0{n}", f"10.0.0.{n}"),)),),
        )
        for n in (1, 2)
    ),
)
UNLIMITED = {"rate": 100_000_000, "burst": 10_000_000}
"""Meters are not what is measured."""
SIZES = (64, 512, 1500)
MARKER = b"nvo3sec-bench-marker"
PORT = 5201
REPEATS = 3


class Row:
    """The four namespaces, and the processes in them."""

    def __init__(self, directory: Path, guard: Guarded) -> None:
        self.directory = directory
        self.guard = guard
        self._serial = 0

    @classmethod
    @asynccontextmanager
    async def laid_out(cls, user_namespace: bool) -> AsyncIterator[Row]:
        directory = Path(tempfile.mkdtemp(prefix="nvo3bench-"))
        run = directory / "run"
        run.mkdir(mode=0o700)
        failed: list[str] = []
        guard = await Guarded.launch(run, user_namespace, lambda name, status: failed.append(f"{name}: {status}"))
        try:
            row = cls(directory, guard)
            hosts = [leaf.hosts[0] for leaf in TOPOLOGY.leaves]
            ends = []
            for leaf, host in zip(TOPOLOGY.leaves, hosts, strict=True):
                await guard.namespace(leaf.name)
                await guard.namespace(host.name)
                ends.append(
                    [
                        {
                            "namespace": leaf.name,
                            "interface": "access1",
                            "mtu": TENANT_MTU,
                            "mac": f"02:fe:{leaf.mac[6:]}",
                        },
                        {
                            "namespace": host.name,
                            "interface": "eth0",
                            "mtu": TENANT_MTU,
                            "mac": host.mac,
                            "ip": host.ip,
                            "prefix_length": 24,
                        },
                    ]
                )
            underlay = [
                {"namespace": leaf.name, "interface": "underlay0", "mtu": UNDERLAY_MTU, "mac": leaf.mac}
                for leaf in TOPOLOGY.leaves
            ]
            names = [leaf.name for leaf in TOPOLOGY.leaves] + [host.name for host in hosts]
            await guard.plumb({"namespaces": names, "links": [*ends, underlay]})
            yield row
        finally:
            await guard.end()
            shutil.rmtree(directory, ignore_errors=True)
        unexpected = [each for each in failed if not each.endswith(": 0")]
        if unexpected:
            raise RuntimeError(f"ended by themselves: {', '.join(unexpected)}")

    async def run(self, namespace: str, *argv: str, stdin: Path | None = None) -> Running:
        """Start a process whose output is wanted."""
        self._serial += 1
        name = f"{Path(argv[0]).name}-{self._serial}"
        log = self.directory / f"{name}.log"
        command = list(argv)
        if stdin is not None:
            command = ["/bin/sh", "-c", 'exec "$@" < "$0"', str(stdin), *command]
        pid = await self.guard.start(name, command, log, namespace)
        return Running(name, pid, log)

    async def start_overlay(self, target: str) -> None:
        """Switches and a controller; returns when every tunnel has its keys."""
        run = self.directory / "run"
        executable = preflight.switch_executable(target)
        sockets = {leaf.name: run / f"{leaf.name}.sock" for leaf in TOPOLOGY.leaves}
        for leaf in TOPOLOGY.leaves:
            ports = ["1@access1", f"{leaf.underlay_port}@underlay0"]
            argv = switches.command(executable, leaf, ports, sockets[leaf.name])
            pid = await self.guard.start(leaf.name, argv, self.directory / leaf.name, leaf.name)
            never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            if not await switches.wait_listening(sockets[leaf.name], 60, never):
                raise RuntimeError((self.directory / leaf.name).read_text())
            if audit.internet_sockets_of_tree(pid):
                raise RuntimeError("a switch is on the network")
        domain = run / "domain.yaml"
        domain_file.write(TOPOLOGY, sockets, domain, UNLIMITED)
        await self.guard.start(controller.NAME, controller.run_command(domain, run / "c"), self.directory / "c.log")
        missing = await controller.wait_ready(run / "c", asyncio.get_running_loop().create_future())
        if missing:
            raise RuntimeError(f"{missing}\n{(self.directory / 'c.log').read_text()}")

    async def start_floor(self, floor: Path) -> None:
        for leaf in TOPOLOGY.leaves:
            running = await self.run(leaf.name, str(floor), "forward", "access1", "underlay0")
            await running.ready()


class Running:
    """A process whose output is a line "ready" (or nothing), and then one JSON object."""

    def __init__(self, name: str, pid: int, log: Path) -> None:
        self.name, self.pid, self._log = name, pid, log

    async def ready(self) -> None:
        await self._wait(lambda: self._log.read_text().startswith("ready\n"))

    async def result(self) -> dict[str, Any]:
        await self._wait(lambda: linux.start_time(self.pid) is None)
        text = self._log.read_text().removeprefix("ready\n")
        try:
            answer: dict[str, Any] = json.loads(text) if text else {}
        except ValueError:
            raise RuntimeError(f"{self.name}: {text}") from None
        return answer

    async def _wait(self, condition: Any) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.02)


async def tcp(row: Row, seconds: float) -> float:
    """Mbit/s of one TCP stream from red1 to red2, as the receiver counted them."""
    address = TOPOLOGY.host("red2").ip
    stream = str(HERE / "stream.py")
    receiver = await row.run("red2", sys.executable, stream, "receive", address, str(PORT))
    await receiver.ready()
    sender = await row.run("red1", sys.executable, stream, "send", address, str(PORT), str(seconds))
    answer = await receiver.result()
    await sender.result()
    return float(answer["bytes"] * 8 / answer["seconds"] / 1e6)


async def packets(row: Row, floor: Path, size: int, seconds: float) -> float:
    """Frames a second of one size that arrive at red2 while red1 sends as fast as it can."""
    sender, receiver = TOPOLOGY.host("red1"), TOPOLOGY.host("red2")
    body = MARKER + bytes(size - frames.ETHERNET_LENGTH - frames.IPV4_LENGTH - 8 - len(MARKER))
    packet = frames.silent(sender.ip, receiver.ip, body)
    frame = frames.ethernet(receiver.mac, sender.mac, frames.ETHERTYPE_IPV4, packet)
    if len(frame) != size:
        raise ValueError(f"a frame of {len(frame)} bytes instead of {size}")
    path = row.directory / f"frame-{size}"
    path.write_bytes(frame)
    counting = await row.run("red2", str(floor), "count", "eth0", str(seconds * 0.8), MARKER.hex())
    await counting.ready()
    sending = await row.run("red1", str(floor), "send", "eth0", str(seconds), stdin=path)
    answer = await counting.result()
    await sending.result()
    return float(answer["received"] / answer["seconds"])


async def measure(row: Row, floor: Path, seconds: float) -> dict[str, Any]:
    """Median of several runs of each."""
    rates = [await tcp(row, seconds) for _ in range(REPEATS)]
    result: dict[str, Any] = {"tcp_mbit_per_s": statistics.median(rates), "packets_per_s": {}}
    for size in SIZES:
        counts = [await packets(row, floor, size, seconds / 2) for _ in range(REPEATS)]
        result["packets_per_s"][str(size)] = statistics.median(counts)
    return result


def build_floor(directory: Path) -> Path:
    """Compile floor.c with the flags of the embedded switch."""
    program = directory / "floor"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-std=gnu11", "-O2", "-Wall", "-o", str(program), str(HERE / "floor.c")], check=True)
    return program


async def bench(target: str, seconds: float) -> dict[str, Any]:
    wiring = preflight.choose_wiring("kernel", target)
    with tempfile.TemporaryDirectory(prefix="nvo3bench-") as directory:
        floor = build_floor(Path(directory))
        async with Row.laid_out(wiring.user_namespace) as row:
            await row.start_floor(floor)
            bare = await measure(row, floor, seconds)
        async with Row.laid_out(wiring.user_namespace) as row:
            await row.start_overlay(target)
            overlay = await measure(row, floor, seconds)
    return {
        "target": target,
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "floor": bare,
        "overlay": overlay,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['target']}, {result['cpus']} processors, Linux {result['kernel']}")
    print(f"{'':24}{'overlay':>12}{'floor':>12}{'ratio':>8}")
    rows = [("TCP, Mbit/s", result["overlay"]["tcp_mbit_per_s"], result["floor"]["tcp_mbit_per_s"])]
    rows += [
        (
            f"{size}-byte frames/s",
            result["overlay"]["packets_per_s"][str(size)],
            result["floor"]["packets_per_s"][str(size)],
        )
        for size in SIZES
    ]
    for name, overlay, floor in rows:
        print(f"{name:24}{overlay:12,.0f}{floor:12,.0f}{overlay / floor:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=preflight.TARGETS, default="embedded")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = asyncio.run(bench(arguments.target, arguments.seconds))
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
