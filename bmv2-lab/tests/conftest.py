# SPDX-License-Identifier: Apache-2.0
"""What the tests of the lab share: a place for run directories, guardians, and pairs of hosts on one wire."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from nvo3lab import rundir
from nvo3lab.errors import AbsentError
from nvo3lab.processes import preflight
from nvo3lab.processes.guarded import Guarded
from nvo3lab.rpc import Client
from nvo3lab.view import connect_when_ready

from .processes import SILENCE, Running, wait_gone


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose path is short enough for UNIX sockets, which pytest's own is not always."""
    path = Path(tempfile.mkdtemp(prefix="nvo3lab-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["kernel", "unix"])
def wiring(request: pytest.FixtureRequest) -> preflight.Wiring:
    """Both kinds of wires, as far as this machine has them."""
    chosen = preflight.choose_wiring("auto" if request.param == "kernel" else "unix", "embedded")
    if request.param == "kernel" and not chosen.kernel:
        pytest.skip(chosen.reason)
    return chosen


@asynccontextmanager
async def guardian(directory: Path, user_namespace: bool = False) -> AsyncIterator[Guarded]:
    """A guardian whose run directory is `directory`/run."""
    run = directory / "run"
    run.mkdir(mode=0o700)
    guarded = await Guarded.launch(run, user_namespace, lambda _name, _status: None)
    try:
        yield guarded
    finally:
        await guarded.end()


_BOUND = """
import os, signal, sys
from nvo3lab.wires import linux
linux.die_with_parent(int(sys.argv[1]))  # a test run may be killed, too
# The worst that a caller can pass on: the lab must be able to end all the same.
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""In the process itself and not between fork and exec: what forks has threads of gRPC's, which can end the child."""


@contextmanager
def lab_process(base: Path, *arguments: str) -> Iterator[tuple[Running, dict[str, Any]]]:
    """`nvo3sec lab up` as a process of its own, up and ready, and its published state."""
    command = [sys.executable, "-c", _BOUND, str(os.getpid()), preflight.executable("nvo3sec"), "lab", "up", *arguments]
    running = Running(command, os.environ | {"NVO3LAB_RUN": str(base)})
    state: dict[str, Any] = {}

    def published() -> dict[str, Any] | None:
        try:
            return rundir.load_state("lab", base)
        except AbsentError:
            return None

    try:
        state = running.until(published)
        yield running, state
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGINT)
            running.finish()
        wait_gone([state["guardian"]] if state else [])


HOSTS = {"a": ("02:00:00:00:00:0a", "10.0.0.1"), "b": ("02:00:00:00:00:0b", "10.0.0.2")}


@asynccontextmanager
async def host_pair(
    directory: Path, wiring: preflight.Wiring, members: Iterable[str] = tuple(HOSTS)
) -> AsyncIterator[dict[str, Client]]:
    """Two tenant systems at the two ends of one wire. members: those of which both know that they are there."""
    async with guardian(directory, wiring.user_namespace) as guarded:
        run = directory / "run"
        wires: dict[str, dict[str, str]]
        if wiring.kernel:
            ends = []
            for name, (mac, ip) in HOSTS.items():
                await guarded.namespace(name)
                ends.append(
                    {"namespace": name, "interface": "eth0", "mtu": 1500, "mac": mac, "ip": ip, "prefix_length": 24}
                )
            await guarded.plumb({"namespaces": list(HOSTS), "links": [ends]})
            wires = {name: {"interface": "eth0"} for name in HOSTS}
        else:
            wires = {
                "a": {"local": str(run / "a"), "peer": str(run / "b")},
                "b": {"local": str(run / "b"), "peer": str(run / "a")},
            }
        clients: dict[str, Client] = {}
        stack = AsyncExitStack()
        for name, (mac, ip) in HOSTS.items():
            control = run / f"{name}.sock"
            configuration: dict[str, Any] = {
                "name": name,
                "mac": mac,
                "ip": ip,
                "members": {ip: mac for host, (mac, ip) in HOSTS.items() if host in members},
                "wire": wires[name],
                "stack": "kernel" if wiring.kernel else "user",
                "captures": str(run),
                "control": str(control),
            }
            clients[name] = await start_own(
                guarded, run, name, "nvo3lab.host", configuration, name if wiring.kernel else None
            )
            stack.push_async_callback(clients[name].close)
        async with stack:
            yield clients


async def start_own(
    guarded: Guarded, run: Path, name: str, module: str, configuration: dict[str, Any], namespace: str | None
) -> Client:
    """Start a process of the lab's and connect to it."""

    path = run / f"{name}.json"
    path.write_text(json.dumps(configuration))
    await guarded.start(name, [sys.executable, "-P", "-m", module, str(path)], run / f"{name}.log", namespace)
    try:
        return await connect_when_ready(name, Path(configuration["control"]), SILENCE)
    except Exception:
        print((run / f"{name}.log").read_text())
        raise
