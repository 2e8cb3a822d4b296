# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with one part of an agent's work stays there: logged, and told to operators through the NVA."""

from __future__ import annotations

import time
from typing import Any

from nvo3sec.domain.messages.session import Report
from nvo3sec.nve.nva_session import NvaSession

OVER_S = 60.0
"""What has not gone wrong for so long is over: if it comes back, it is told again."""
KNOWN = 256
"""Things that went wrong which are told, in one session."""


class Confinement:
    """Of one session. log: of structlog."""

    def __init__(self, session: NvaSession, log: Any) -> None:
        self._session = session
        self._log = log
        self._known: dict[str, tuple[float, int]] = {}

    async def note(self, part: str, why: str) -> None:
        """Something went wrong that is nothing to the rest; operators hear of it once, and again if it comes back."""
        text, now = f"{part}: {why}", time.monotonic()
        if text not in self._known and len(self._known) >= KNOWN:
            return
        last, count = self._known.get(text, (float("-inf"), 0))
        self._known[text] = now, count + 1
        if now >= last + OVER_S:
            again = f" (again, {count + 1} times in all)" if count else ""
            self._log.error("confined", part=part, error=why, count=count + 1)
            await self._session.report(Report("confined", text + again))
