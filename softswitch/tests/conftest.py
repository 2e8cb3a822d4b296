# SPDX-License-Identifier: Apache-2.0
"""Switches under test as fixtures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_harness import (
    OTHER,
    Controller,
    DataPort,
    Insert,
    Program,
    Target,
    connected_data_port,
    missing,
    start,
    update,
)

_ELECTION_IDS = itertools.count(1)
"""Rising, so that a controller is primary at once although the switch may not have noticed yet that the last one is
gone."""


@pytest.fixture(scope="module", params=["fake", "engine", "bmv2"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A running switch without a program, one for the whole module."""
    reason = missing(request.param)
    if reason is not None:
        pytest.skip(reason)
    with start(request.param, tmp_path_factory.mktemp(request.param)) as target:
        yield target


@pytest.fixture(params=["fake", "engine", "bmv2"])
def fresh_target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A switch of the test's own, for what a push does not undo."""
    reason = missing(request.param)
    if reason is not None:
        pytest.skip(reason)
    with start(request.param, tmp_path) as target:
        yield target


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Target]:
    """The server with the engine in memory, for what only it does or shows."""
    with start("fake", tmp_path) as target:
        yield target


@pytest.fixture(scope="session")
def program() -> Program:
    """The test program."""
    return Program.load("with_arrays")


@pytest.fixture(scope="session")
def plain_program() -> Program:
    """The test program without indexed counters and meters."""
    return Program.load("without_arrays")


@pytest.fixture
def election_id() -> int:
    """Higher than all before."""
    return next(_ELECTION_IDS)


@pytest.fixture
def ctl(target: Target, program: Program, election_id: int) -> Iterator[Controller]:
    """The primary of a switch that has just got the test program."""
    with target.controller(election_id=election_id) as controller:
        assert controller.arbitrate().status.code == 0
        controller.push(program)
        yield controller


@pytest.fixture(scope="module")
def data(target: Target, program: Program) -> Iterator[DataPort]:
    """Data ports of the switch, in service.

    One stream for all tests of a module: BMv2 takes a moment to free it, and turns the next one away in that moment. It
    also turns the first one away if it has not quite started.
    """
    with target.controller(election_id=0) as controller:
        controller.election_id = None
        controller.push(program)
        controller.write(update(Insert, table_entry=program.forward(OTHER, program.action("set_port", b"\x01"))))
    port = connected_data_port(target.data_address)
    yield port
    port.close()
