# SPDX-License-Identifier: Apache-2.0
"""What the tests of NVA and agents stand on: an authority, credentials as directories, processes that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from nvo3sec.config import example_path, load_domain
from nvo3sec.errors import OperatorError
from nvo3sec.identity.authority.authority import Authority
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.operator.console import ask
from switches import Ports, Underlay

LEAVES = ("leaf1", "leaf2", "leaf3")
READY_S = 180.0
"""What takes so long hangs, however busy the machine. A process that ends is noticed at once."""


_PORTS = range(20_000, 30_000)
"""Below those that the kernel takes by itself, for who connects and for who listens anywhere."""
_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port of the loopback interface that nobody uses, now or later: an NVA that is killed finds it again.

    Tests run side by side. A name that only one process can have says that the port is taken, until that process ends.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0nvo3sec-test-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            name.close()
            continue
        _reserved.append(name)
        return port
    raise AssertionError("no port is free")


async def until(condition: Any, timeout_s: float = READY_S, every_s: float = 0.02) -> None:
    """Wait until something is so; fails if it never is."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(every_s)


class Identities:
    """An authority and directories of credentials."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.domain_file = directory / "domain.yaml"
        self.domain_file.write_text(example_path().read_text())
        self.domain = load_domain(self.domain_file)
        self.authority = Authority.create(directory / "pki", self.domain.name)
        for role, name in ((Role.NVA, "nva1"), (Role.OPERATOR, "op"), *((Role.NVE, leaf) for leaf in LEAVES)):
            self.issue(role, name)

    def name(self, role: Role, name: str) -> DeviceName:
        return DeviceName(self.domain.name, role, name)

    def issue(self, role: Role, name: str) -> Path:
        """Credentials of a new device; returns their directory."""
        path, _ = self.authority.issue(self.name(role, name))
        place = self.place(role, name)
        place.mkdir(parents=True)
        os.symlink(path, place / "device.pem")
        os.symlink(self.authority.anchors_file, place / "anchors.pem")
        os.symlink(self.authority.revocation_file, place / "revoked.pem")
        return place

    def place(self, role: Role, name: str) -> Path:
        return self.directory / "credentials" / f"{role.value}-{name}"


class Overlay:
    """One NVA and three agents as processes, on three switches with the wires between them."""

    def __init__(self, identities: Identities, start_switch: Any, **lifetimes: float) -> None:
        self.identities = identities
        self.directory = identities.directory
        document = yaml.safe_load(identities.domain_file.read_text())
        document["lifetimes"] |= lifetimes
        identities.domain_file.write_text(yaml.safe_dump(document))
        self.port = free_port()
        self.switches = {name: start_switch(name, number) for number, name in enumerate(LEAVES, 1)}
        self.ports = {name: Ports(switch) for name, switch in self.switches.items()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.suspended: set[str] = set()

    @property
    def nva(self) -> str:
        return f"nva1.nva.{self.identities.domain.name}=127.0.0.1:{self.port}"

    def run_directory(self, name: str) -> Path:
        return self.directory / f"run-{name}"

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.process").read_text()

    def start(self, name: str, credentials: Path | None = None, more: Sequence[str] = ()) -> None:
        """Start the NVA (nva) or the agent of an NVE (leaf1). more: words for its command line."""
        if name == "nva":
            place = credentials or self.identities.place(Role.NVA, "nva1")
            words = ["nva", "run", "--domain", str(self.identities.domain_file), "--port", str(self.port)]
            words += ["--database", str(self.directory / "database"), "--keys", str(self.directory / "keys")]
        else:
            place = credentials or self.identities.place(Role.NVE, name)
            switch = self.switches[name]
            words = ["nve", "run", "--name", name, "--p4runtime", switch.target, "--device-id", str(switch.device_id)]
            words += ["--nva", self.nva]
        words += [
            "--credentials",
            str(place),
            "--run-dir",
            str(self.run_directory(name)),
            "--log-level",
            "debug",
            *more,
        ]
        with (self.directory / f"{name}.process").open("ab") as log:
            self.processes[name] = subprocess.Popen(command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """As an out-of-memory killer would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def status(self) -> dict[str, Any] | None:
        """The NVA's, or None while it is not there."""
        with contextlib.suppress(OperatorError):
            result: dict[str, Any] = ask(self.run_directory("nva"), "status")
            return result
        return None

    async def registered(self) -> set[str]:
        status = await asyncio.to_thread(self.status)
        return {switch["nve"] for switch in (status or {"switches": []})["switches"] if switch["registered"]}

    async def ready(self) -> dict[str, Any]:
        """The status once everything is ready, but for the NVEs that are suspended, which it names."""
        deadline = time.monotonic() + READY_S
        while True:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended\n{self.log(name)}"
            status = await asyncio.to_thread(self.status)
            if status is not None and self._is_ready(status):
                return status
            assert time.monotonic() < deadline, f"not ready: {status and status['not_ready']}"
            await asyncio.sleep(0.05)

    def _is_ready(self, status: dict[str, Any]) -> bool:
        missing = {line.partition(": ")[0] for line in status["not_ready"] if ": suspended: " in line}
        assert status["ready"] == (not status["not_ready"])
        return missing == self.suspended and len(status["not_ready"]) == len(missing)

    def operate(self, *words: str, role: Role = Role.OPERATOR, name: str = "op") -> subprocess.CompletedProcess[str]:
        """A command of an operator's, over mutual TLS."""
        where = ["--nva", self.nva, "--credentials", str(self.identities.place(role, name))]
        return subprocess.run(command(*words, *where), capture_output=True, text=True, check=False, timeout=READY_S)

    async def open_ports(self) -> None:
        """From here on the tests have the ports, and what goes between the switches goes through `underlay`."""
        for ports in self.ports.values():
            await ports.open()
        self.underlay = Underlay(self.identities.domain.nves, self.ports)

    def end(self) -> None:
        for name in list(self.processes):
            self.kill(name)


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from nvo3sec.cli import main; main()", *words]


@contextlib.asynccontextmanager
async def ending(world: Overlay) -> AsyncIterator[None]:
    """Its processes end with the block, and its ports are closed."""
    try:
        yield
    finally:
        world.end()
        for ports in world.ports.values():
            await ports.close()


@contextlib.asynccontextmanager
async def overlay(identities: Identities, start_switch: Any, **lifetimes: float) -> AsyncIterator[Overlay]:
    """An overlay that is ready, with its ports open."""
    world = Overlay(identities, start_switch, **lifetimes)
    async with ending(world):
        for name in ("nva", *LEAVES):
            world.start(name)
        await world.ready()
        await world.open_ports()
        yield world
