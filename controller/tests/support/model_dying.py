# SPDX-License-Identifier: Apache-2.0
"""A process that forks controllers that die: NVA and agents in one process, over switches that outlive them.

It makes ready what all of them start from (the directory is its argument), says `ready`, and reads lines of: name of a
new directory, and the number of the point of the store at which to die (-1: at none). The child restarts the NVA,
rotates every key, revokes an NVE, and is killed at that point. It answers with the number of points passed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import types
from pathlib import Path

import structlog
from model_client import connect
from model_domain import LIFE
from model_fabric import dump, restore
from model_time import CURRENT
from model_world import World
from nvo3sec.nve import agent
from nvo3sec.system.uptime import uptime_s

FABRIC = "fabric"


def simulate() -> None:
    """As the fixture of the tests does it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("nvo3sec.nve.") and getattr(module, "uptime_s", None) is uptime_s:
            module.uptime_s = lambda: CURRENT.now()
    agent.SwitchClient = types.SimpleNamespace(connect=connect)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def prepare(directory: Path) -> None:
    """A world that has run for a while, and whose controller has ended."""
    world = World(directory / "before", count=2).begin()
    world.kill_nva()
    (directory / FABRIC).write_bytes(dump(world))
    shutil.copytree(world.host.directory, directory / "store")
    world.close()


def live(directory: Path, start: Path, where: int) -> int:
    """A controller from its start to its end; returns how many points it passed."""
    world = World(directory / "nva", count=2, store=start / "store")
    restore(world, (start / FABRIC).read_bytes())
    passed = 0

    def at(point: object) -> None:
        nonlocal passed
        if passed == where:
            (directory / FABRIC).write_bytes(dump(world))
            (directory / "store").symlink_to(world.host.directory)
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    world.host.watch = at
    world.begin(settle_s=8.0)
    world.rotate()
    world.pass_time(LIFE.grace_s + 3)
    world.revoke("leaf1")
    world.pass_time(3)
    return passed


def main() -> None:
    start = Path(sys.argv[1])
    simulate()
    prepare(start)
    print("ready", flush=True)
    for line in sys.stdin:
        directory, where = line.split()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(writer, str(live(Path(directory), start, int(where))).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        count = os.read(reader, 100).decode()
        os.close(reader)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else f"done {count}" if status == 0 else "failed", flush=True)


if __name__ == "__main__":
    main()
