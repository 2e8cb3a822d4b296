# SPDX-License-Identifier: Apache-2.0
"""Reports of agents, kept for operators: none of them can push out what another one said."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from nvo3sec.domain.mapping.events import Told
from nvo3sec.domain.messages.session import Report
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket

KEPT = 4000
"""Of all NVEs."""
KEPT_OF_ONE = 100
RATE_OF_ONE = Rate(2, 50)
"""Reports of one NVE that are kept and logged. What is beyond is counted."""
WELCOME = frozenset({Told.THAWED.value, Told.MOVED.value, Told.RETURNED.value})
"""Events after which things are as somebody wanted to have them: shown and logged, and no warning."""


def log_report(log: Any, nve: str, report: Report) -> None:
    """Log a report. log: of structlog."""
    say = log.info if report.event in WELCOME else log.warning
    say("report", nve=nve, what=report.event, detail=report.detail)


@dataclass(frozen=True)
class ReportRecord:
    """A report, whose it was, and when it came (seconds, monotonic)."""

    nve: str
    at: float
    report: Report


class Journal(deque[ReportRecord]):
    """The newest reports of each NVE, in the order in which they came."""

    def __init__(self) -> None:
        super().__init__(maxlen=KEPT)
        self._buckets: dict[str, TokenBucket] = {}
        self.left_out: Counter[str] = Counter()
        """Reports that were too many, by NVE."""

    def add(self, record: ReportRecord, *, always: bool = False) -> bool:
        """Keep a report, in place of an older one of the same NVE if need be; False if it is one too many.

        always: also then. For what the NVE itself cannot cause often.
        """
        bucket = self._buckets.setdefault(record.nve, TokenBucket(RATE_OF_ONE, record.at))
        if not bucket.take(record.at) and not always:
            self.left_out[record.nve] += 1
            return False
        mine = [index for index, one in enumerate(self) if one.nve == record.nve]
        if len(mine) >= KEPT_OF_ONE:
            del self[mine[0]]
        self.append(record)
        return True
