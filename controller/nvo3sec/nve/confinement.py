# SPDX-License-Identifier: Apache-2.0
"""What went wrong at an agent that is nothing to the rest: told once, and part of its status while it lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nvo3sec.domain.messages.session import Report
from nvo3sec.system.uptime import uptime_s

EVENT = "confined"
OVER_S = 60.0
"""What has not gone wrong for so long is over: if it comes back, it is told again."""
KNOWN = 256
"""Things that went wrong which are told, in one session."""


class Confinement:
    """Of one session. log: of structlog. report: tells the NVA. clock: monotonic seconds."""

    def __init__(
        self, log: Any, report: Callable[[Report], Awaitable[None]], clock: Callable[[], float] = uptime_s
    ) -> None:
        self._log = log
        self._report = report
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}
        self._standing: dict[str, tuple[str, ...]] = {}

    @property
    def standing(self) -> tuple[str, ...]:
        """What is wrong now, event first."""
        return tuple(f"{EVENT}: {text}" for texts in self._standing.values() for text in texts)

    async def now(self, part: str, whys: Sequence[str], *, what: str = "") -> None:
        """All that is wrong with a part now, nothing if all is well again. what: the name under which several parts are
        told. Operators hear of each once, and again if it comes back."""
        texts = [f"{what or part}: {why}" for why in whys]
        self._standing[part] = ()
        for text, why in zip(texts, whys, strict=True):
            if text not in self._known and len(self._known) >= KNOWN:
                return
            self._standing[part] += (text,)
            await self._tell(what or part, text, why)

    async def _tell(self, part: str, text: str, why: str) -> None:
        now = self._clock()
        last, count = self._known.get(text, (float("-inf"), 0))
        self._known[text] = now, count + 1
        if now >= last + OVER_S:
            again = f" (again, {count + 1} times in all)" if count else ""
            self._log.error("confined", part=part, error=why, count=count + 1)
            await self._report(Report(EVENT, text + again))
