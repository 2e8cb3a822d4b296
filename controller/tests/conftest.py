# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the controller's tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from switches import EXECUTABLES, NAMES, SwitchProcess

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("untimed")


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: stores are opened and copied there by the hundred, and processes die
    there as they do elsewhere, hundreds of them faster."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="nvo3sec-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=sorted(EXECUTABLES))
def switch_executable(request: pytest.FixtureRequest) -> str:
    """Each software switch in turn."""
    executable = EXECUTABLES[request.param]
    if executable is None:
        pytest.skip(f"{NAMES[request.param]} is not on PATH")
    return executable


@pytest.fixture
def start_switch(switch_executable: str, tmp_path: Path) -> Iterator[Callable[[str, int], SwitchProcess]]:
    """Starts a switch by name and device id; all are stopped at the end."""
    started: list[SwitchProcess] = []

    def start(name: str = "leaf1", device_id: int = 1, **environment: str) -> SwitchProcess:
        switch = SwitchProcess(switch_executable, device_id, tmp_path, name, environment=environment)
        started.append(switch)
        switch.start()
        return switch

    yield start
    for switch in started:
        switch.kill()
