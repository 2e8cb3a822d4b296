# SPDX-License-Identifier: Apache-2.0
"""When an interface that is there, and cannot be opened, is tried again.

To ask the kernel whose an interface is, and to close it to the host, takes time, and the lock that everybody waits for.
So it is tried when its link changes, and otherwise after a while that grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .links import Link
from .portstate import PortState

_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""After the first attempt, the second, and so on; after all further ones the last."""


@dataclass(frozen=True)
class _Failure:
    link: Link
    state: PortState
    times: int
    until: float


class Attempts:
    """Of one port. Not thread-safe. clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: _Failure | None = None

    def forget(self) -> None:
        """The interface is gone: the next one is another."""
        self._last = None

    def attempt(self, link: Link, opened: Callable[[], PortState | None]) -> PortState | None:
        """Why the interface with this link is not open, None if it is. opened: tries it, and says the same."""
        last = self._last if self._last is not None and self._last.link == link else None
        if last is not None and self._clock() < last.until:
            return last.state
        state = opened()
        times = 0 if last is None else min(last.times + 1, len(_PAUSES_S) - 1)
        self._last = None if state is None else _Failure(link, state, times, self._clock() + _PAUSES_S[times])
        return state
