# SPDX-License-Identifier: Apache-2.0
"""The switch's clock against the agent's: limits that end in time, and a clock that fell behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from nvo3sec.errors import ClockFellBehind, NoAnswer, SwitchUnreachable
from nvo3sec.nve import agent as agent_module
from nvo3sec.nve import clock
from nvo3sec.nve.bringup import BroughtUp, Retired
from nvo3sec.nve.clock import LAST_US, ClockReading, watch_clock
from nvo3sec.p4runtime import Operation, Update
from nvo3sec.program import generated as p4


class TestClockReading:
    READING = ClockReading(5_000_000, asked_at=100.0, answered_at=100.5)

    def test_what_ends_never_ends_too_late(self):
        assert self.READING.deadline_us(101.0, 10.0) == 15_500_000
        assert self.READING.remaining_s(15_500_000, 101.0) == 9.5
        assert self.READING.deadline_us(101.0, 1e9) == LAST_US
        assert self.READING.deadline_us(0.0, 0.0) == 0

    def test_missing(self):
        """A second at least has passed between the two, whenever in its time each was answered."""
        for went_on, missing in ((1_000_000, 0.0), (1_500_000, -0.5), (0, 1.0), (250_000, 0.75)):
            later = ClockReading(5_000_000 + went_on, asked_at=101.5, answered_at=109.0)
            assert later.missing_s(self.READING) == missing


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "TURN_S", 0.0)


def watched(readings: Iterator[ClockReading | Exception]) -> int:
    """How many were taken before the watch ended with SwitchUnreachable. Raises whatever else it ends with."""
    taken = 0

    async def read() -> ClockReading:
        nonlocal taken
        one = next(readings, None)
        if one is None:
            raise SwitchUnreachable("no more")
        taken += 1
        if isinstance(one, Exception):
            raise one
        return one

    with pytest.raises(SwitchUnreachable):
        asyncio.run(watch_clock("leaf1", read))
    return taken


class TestWatch:
    def test_a_clock_that_goes_on(self):
        """Answers that take long say nothing against it."""
        readings = [
            ClockReading(int(at * 1e6), at - 0.25, at + late) for at, late in ((1, 0), (2, 9), (12, 3), (16, 0))
        ]
        assert watched(iter(readings)) == 4

    def test_a_clock_that_is_a_little_coarse(self):
        assert watched(iter([ClockReading(0, 0.0, 0.0), ClockReading(600_000, 1.0, 1.0)])) == 2

    @pytest.mark.parametrize("between", [[], [NoAnswer("busy"), NoAnswer("busy")]])
    def test_a_clock_that_fell_behind(self, between):
        readings = [ClockReading(0, 0.0, 0.1), *between, ClockReading(1_000_000, 13.1, 13.2)]
        with pytest.raises(ClockFellBehind, match=r"leaf1: the switch's clock has gone on 12\.0 s less than ours"):
            watched(iter(readings))


class TestAgent:
    """What it does with a switch whose limits end too late."""

    def test_it_closes_the_switch_at_once_and_adopts_it_no_more(self, monkeypatch):
        written: list[Any] = []

        async def forever(*_: Any) -> None:
            await asyncio.Event().wait()

        async def behind(*_: Any) -> None:
            raise ClockFellBehind("leaf1: behind")

        async def write(updates: list[Any]) -> None:
            written.extend(updates)

        for name in ("PeerContributions", "Reconciler"):
            monkeypatch.setattr(agent_module, name, MagicMock())
        brought = BroughtUp(b"i" * 16, adopted=True)
        monkeypatch.setattr(agent_module, "bring_up", AsyncMock(return_value=brought))
        monkeypatch.setattr(agent_module, "watch_clock", behind)
        monkeypatch.setattr(agent_module.NveAgent, "_serve_again", forever)
        agent = agent_module.NveAgent(MagicMock(), MagicMock(), MagicMock(), random_bytes=bytes)
        driver = MagicMock()
        driver.client.write = write
        with pytest.raises(ClockFellBehind):
            asyncio.run(agent._use_switch(driver))
        assert written == [Update(Operation.MODIFY, p4.lease_no_lease())]
        assert agent._retired == Retired(brought.incarnation, "its limits end too late")
