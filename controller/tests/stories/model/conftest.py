# SPDX-License-Identifier: Apache-2.0
"""Gives each test a world whose time is its own."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from model_client import connect
from model_time import CURRENT
from model_world import World
from nvo3sec.nve import agent
from nvo3sec.system import aio
from nvo3sec.system.uptime import uptime_s


@pytest.fixture
def _simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The agent's modules read the clock of the current world and connect to its switches; nothing is logged."""
    for name, module in list(sys.modules.items()):
        if name.startswith("nvo3sec.nve.") and getattr(module, "uptime_s", None) is uptime_s:
            monkeypatch.setattr(module, "uptime_s", lambda: CURRENT.now())
    monkeypatch.setattr(agent, "SwitchClient", types.SimpleNamespace(connect=connect))
    # Stories count on moments, so nothing in them is left to chance.
    monkeypatch.setitem(aio.Backoff.__init__.__kwdefaults__, "random_share", lambda: 0.5)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def make_world(memory_path: Path, _simulated: None) -> Iterator[Callable[..., World]]:
    """Worlds of the test; all end with it."""
    worlds: list[World] = []

    def make(only: set[str] | None = None) -> World:
        world = World(memory_path / f"world-{len(worlds)}")
        world.observer.only = None if only is None else frozenset(only)
        worlds.append(world)
        return worlds[-1].begin()

    yield make
    for world in worlds:
        world.close()
