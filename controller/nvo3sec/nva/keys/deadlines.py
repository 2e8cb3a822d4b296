# SPDX-License-Identifier: Apache-2.0
"""When each direction is to be looked at next."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from nvo3sec.domain.overlay.membership import Tunnel


class Deadlines:
    """Of the directions of one key service: for each, a time that is never after its next. Seconds, monotonic."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Tunnel]] = []
        self._due: dict[Tunnel, float] = {}
        self._count = itertools.count()

    def set(self, tunnel: Tunnel, at: float) -> None:
        """Look at it then, unless it is to be looked at before."""
        if at < self._due.get(tunnel, math.inf):
            self._due[tunnel] = at  # what is in the queue for a later time means nothing any more
            heapq.heappush(self._queue, (at, next(self._count), tunnel))

    def forget(self, tunnel: Tunnel) -> None:
        """There is no such direction any more."""
        self._due.pop(tunnel, None)

    def passed(self, now: float) -> Iterator[Tunnel]:
        """Those whose time has come, one by one; what is set meanwhile counts."""
        while self._queue and self._queue[0][0] <= now:
            at, _, tunnel = heapq.heappop(self._queue)
            if self._due.get(tunnel) == at:
                del self._due[tunnel]
                yield tunnel
