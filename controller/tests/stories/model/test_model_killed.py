# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a real process, with the NVA and its agents in it, at every moment of a restart, a rotation and a
revocation that reaches the disk. The switches live on; another process goes on from there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from model_fabric import restore
from model_scene import SETTLE_S
from model_world import World
from places import SUPPORT


class Mortals:
    """Runs `model_dying.py`. start: directory with what every one begins with."""

    def __init__(self, start: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "model_dying.py"), str(start)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, directory: Path, where: int) -> str:
        directory.mkdir()
        self._process.stdin.write(f"{directory} {where}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def survive(directory: Path, worlds: list[World]) -> None:
    """Another controller, over the same store and the same switches."""
    world = World(directory / "after", count=2, store=directory / "store")
    worlds.append(world)
    restore(world, (directory / "fabric").read_bytes())
    world.begin(settle_s=3.0)
    world.replay()
    excluded = set(world.host.nva.administration.excluded)
    if not excluded:
        world.being_revoked.clear()  # it never was, and nobody was told that it was
    world.pass_time(2 * SETTLE_S)
    world.rotate()
    world.pass_time(SETTLE_S)
    world.replay()
    if excluded:
        world.observer.shut_out.setdefault("leaf1", 0.0)
        world.forge("leaf1")
    else:
        assert world.healthy() == set(world.names)
        assert world.probes > 50
    world.close()
    worlds.pop()


@pytest.fixture
def mortals(memory_path):
    start = memory_path / "start"
    start.mkdir()
    one = Mortals(start)
    yield one
    one.close()


@pytest.mark.usefixtures("_simulated")
def test_at_every_point(mortals, memory_path):
    word, count = mortals.run(memory_path / "whole", -1).split()
    assert word == "done"
    assert int(count) > 20
    worlds: list[World] = []
    try:
        for where in range(int(count)):
            directory = memory_path / f"{where}"
            assert mortals.run(directory, where) == "killed"
            survive(directory, worlds)
    finally:
        for world in worlds:
            world.close()
