# SPDX-License-Identifier: Apache-2.0
"""The switch's clock as the agent knows it. Limits in the pipeline are written in its microseconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nvo3sec.errors import ClockFellBehind, NoAnswer

LAST_US = (1 << 48) - 1
TURN_S = 1.0
"""Between two looks at the switch's clock."""
SLACK_S = 0.5
"""So far behind ours a switch's clock may be after one of them: a pipeline may read its clock once a batch."""


@dataclass(frozen=True)
class ClockReading:
    """The switch said `switch_us` at some moment between `asked_at` and `answered_at` (`uptime_s`, local)."""

    switch_us: int
    asked_at: float
    answered_at: float

    def earliest_us(self, at: float) -> int:
        """The switch's clock at local time `at`, or a little before it: what ends then never ends too late."""
        return max(0, self.switch_us + int((at - self.answered_at) * 1e6))

    def latest_us(self, at: float) -> int:
        """The switch's clock at local time `at`, or a little after it."""
        return max(0, self.switch_us + int((at - self.asked_at) * 1e6))

    def deadline_us(self, at: float, duration_s: float) -> int:
        """`duration_s` after local time `at`, as a limit for the pipeline."""
        return min(LAST_US, self.earliest_us(at) + max(0, int(duration_s * 1e6)))

    def remaining_s(self, not_after_us: int, at: float) -> float:
        """Seconds from local time `at` to a limit in the pipeline; negative if it has passed."""
        return (not_after_us - self.latest_us(at)) / 1e6

    def missing_s(self, since: ClockReading) -> float:
        """Seconds by which the switch's clock has gone on less than ours since an earlier reading, at least; negative
        where nothing can be said."""
        return self.asked_at - since.answered_at - (self.switch_us - since.switch_us) / 1e6


async def watch_clock(name: str, read: Callable[[], Awaitable[ClockReading]]) -> None:
    """See for ever that the clock of switch `name` goes on. Raises ClockFellBehind, and what `read` raises.

    BMv2 measures by the wall clock of its machine, which can be set back.
    """
    before: ClockReading | None = None
    while True:
        with contextlib.suppress(NoAnswer):  # whoever needs an answer says so
            now = await read()
            if before is not None and (missing := now.missing_s(before)) > SLACK_S:
                raise ClockFellBehind(
                    f"{name}: the switch's clock has gone on {missing:.1f} s less than ours, was set back perhaps;"
                    " its lease and its keys end too late, so it takes another incarnation"
                )
            before = now
        await asyncio.sleep(TURN_S)
