# SPDX-License-Identifier: Apache-2.0
"""Drops that operators hear of: those that never happen where all is well, and those of a peer in penalty.

The switch counts drops by reason only. Of which peers those in penalty were follows from what was counted before and
behind the verification (`verified.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import ReadRefused
from nvo3sec.nve.confinement import Confinement
from nvo3sec.nve.verified import VerifiedWatch
from nvo3sec.p4runtime import SwitchClient
from nvo3sec.program.generated import DropReason
from nvo3sec.system.uptime import uptime_s

ALARM_S = 60.0
"""How long an alarm stays after the last frame that was dropped so. Also between two reports."""
DROPS_S = 5.0
"""How often is looked."""


@dataclass(frozen=True)
class Cause:
    """What such drops mean. event: of the report. what: in words, behind the number of frames. is_alarm: the switch is
    not as it should be; what strangers can bring about is none, or they could have any switch called not ready."""

    event: str
    reasons: tuple[DropReason, ...]
    what: str
    is_alarm: bool


PENALTY = Cause(
    "peer-penalty",
    (DropReason.PEER_RATE,),
    "of peers in penalty dropped (PEER_RATE): more under their addresses did not verify (BAD_ICV) than `peer_meter`"
    " of the domain file allows; somebody in the underlay sends forged ones",
    is_alarm=False,
)
CAUSES = (
    Cause(
        "replay-generation",
        (DropReason.REPLAY_GENERATION, DropReason.COMMIT_GENERATION),
        "dropped since keys towards this switch are older than its replay rings (REPLAY_GENERATION, COMMIT_GENERATION):"
        " `nvo3sec keys reset-marks` gives it new ones",
        is_alarm=True,
    ),
    Cause(
        "peers-confused",
        (DropReason.SA_PEER, DropReason.SA_KIND, DropReason.PEER_METER_MISSING),
        "dropped since entries of the switch contradict each other (SA_PEER, SA_KIND, PEER_METER_MISSING):"
        " `nvo3sec keys audit` and `nvo3sec reconcile` look again",
        is_alarm=True,
    ),
    PENALTY,
)


class _Watched:
    """One cause at one switch. now: seconds, monotonic."""

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.whose = ""
        self._count: int | None = None
        self._last: float | None = None
        self._reported: float | None = None
        self._lost = 0

    def look(self, count: int, now: float) -> Report | None:
        """count: of all drops so far. Returns what the operator has to hear."""
        before, self._count = self._count, count
        if before is None or count <= before:
            return None
        self._lost = count - before + (self._lost if self.lasts(now) else 0)
        self._last = now
        if self._reported is not None and now < self._reported + ALARM_S:
            return None
        self._reported = now
        return Report(self.cause.event, self.text)

    def has_grown(self, count: int) -> bool:
        """Whether there are more than at the last look."""
        return self._count is not None and count > self._count

    def lasts(self, now: float) -> bool:
        """Whether such a frame came lately."""
        return self._last is not None and now < self._last + ALARM_S

    @property
    def text(self) -> str:
        """What is known of it."""
        return f"{self._lost} frames {self.cause.what}{self.whose}"


class DropWatch:
    """Watches one switch. now: seconds, monotonic."""

    def __init__(self, client: SwitchClient, peers: VerifiedWatch | None = None) -> None:
        """peers: looks whenever this does, and says in whose name packets came that did not verify."""
        self._client = client
        self._peers = peers
        self._watched = tuple(_Watched(cause) for cause in CAUSES)

    async def run(self, found: Callable[[Report], Awaitable[None]], confinement: Confinement) -> None:
        """Look every now and then. found: tells what the operator has to hear. Raises SwitchError."""
        while True:
            try:
                reports = await self.look(uptime_s())
            except ReadRefused as error:
                await confinement.now("drop counters", [str(error)])
            else:
                await confinement.now("drop counters", ())
                for report in reports:
                    await found(report)
            await asyncio.sleep(DROPS_S)

    async def look(self, now: float) -> tuple[Report, ...]:
        """Read the counters; returns what the operator has to hear. Raises SwitchError."""
        drops = await self._client.drop_counters()
        counts = [
            sum(cells[reason].packets for cells in drops.values() for reason in one.cause.reasons if reason in cells)
            for one in self._watched
        ]
        # Before anything counts as reported: where this cannot be read, nothing is.
        for one, count in zip(self._watched, counts, strict=True):
            if one.cause is PENALTY and self._peers is not None:
                await self._peers.look(now, penalties=one.has_grown(count))
                one.whose = self._peers.refused or one.whose
        reports = [one.look(count, now) for one, count in zip(self._watched, counts, strict=True)]
        return tuple(report for report in reports if report is not None)

    def alarms(self, now: float) -> tuple[str, ...]:
        """What is wrong now."""
        return tuple(one.text for one in self._watched if one.cause.is_alarm and one.lasts(now))

    def standing(self, now: float) -> tuple[str, ...]:
        """Events of which the reports are still so."""
        return tuple(f"{one.cause.event}: " for one in self._watched if one.lasts(now))
