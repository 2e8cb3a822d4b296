# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the controller's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from switches import EXECUTABLES, NAMES, SwitchProcess

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("untimed")


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

    def start(name: str = "leaf1", device_id: int = 1) -> SwitchProcess:
        switch = SwitchProcess(switch_executable, device_id, tmp_path, name)
        started.append(switch)
        switch.start()
        return switch

    yield start
    for switch in started:
        switch.kill()
