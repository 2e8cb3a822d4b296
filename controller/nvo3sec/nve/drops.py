# SPDX-License-Identifier: Apache-2.0
"""Drops that never happen where all is well: a key whose generation is below what its replay ring has seen.

Every frame under such a key is lost, while everything else looks as it should. The switch counts by reason only: which
of the directions towards it that is, is not known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import ReadRefused
from nvo3sec.nve.confinement import Confinement
from nvo3sec.p4runtime import SwitchClient
from nvo3sec.program.generated import DropReason

REASONS = (DropReason.REPLAY_GENERATION, DropReason.COMMIT_GENERATION)
ALARM_S = 60.0
"""How long an alarm stays after the last frame that was dropped so. Also between two reports."""
EVENT = "replay-generation"
DROPS_S = 5.0
"""How often is looked."""


class DropWatch:
    """Watches one switch. now: seconds, monotonic."""

    def __init__(self, client: SwitchClient) -> None:
        self._client = client
        self._count: int | None = None
        self._last: float | None = None
        self._reported: float | None = None
        self._lost = 0

    async def run(self, found: Callable[[Report], Awaitable[None]], confinement: Confinement) -> None:
        """Look every now and then. found: tells what the operator has to hear. Raises SwitchError."""
        while True:
            try:
                report = await self.look(time.monotonic())
            except ReadRefused as error:
                await confinement.now("drop counters", [str(error)])
            else:
                await confinement.now("drop counters", ())
                if report is not None:
                    await found(report)
            await asyncio.sleep(DROPS_S)

    async def look(self, now: float) -> Report | None:
        """Read the counters; returns what the operator has to hear. Raises SwitchError."""
        drops = await self._client.drop_counters()
        count = sum(cells[reason].packets for cells in drops.values() for reason in REASONS if reason in cells)
        before, self._count = self._count, count
        if before is None or count <= before:
            return None
        self._lost = (
            count - before if self._last is None or now >= self._last + ALARM_S else self._lost + count - before
        )
        self._last = now
        if self._reported is not None and now < self._reported + ALARM_S:
            return None
        self._reported = now
        return Report(EVENT, self._text())

    def alarms(self, now: float) -> tuple[str, ...]:
        """What is wrong now."""
        return () if self._last is None or now >= self._last + ALARM_S else (self._text(),)

    def _text(self) -> str:
        return (
            f"{self._lost} frames dropped for REPLAY_GENERATION: keys towards this switch are older than its replay"
            " rings; `nvo3sec keys reset-marks` gives it new ones"
        )
