# SPDX-License-Identifier: Apache-2.0
"""Pauses of who does something again each time that somebody else undoes it.

Two that undo each other's work at once each time would do nothing else, and fill the log.
"""

from __future__ import annotations

from collections.abc import Callable

_FIRST_S, _LONGEST_S = 0.005, 0.1
"""The longest is short, since something is undone for as long."""
_CALM_S = 1.0
"""After so long it is another story."""


class Pauses:
    """Not thread-safe. clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self._next_s = _FIRST_S

    def done(self) -> float:
        """It was done again: how long to pause before it may be, seconds."""
        now = self._clock()
        if self._last is not None and now - self._last < _CALM_S:
            self._next_s = min(2 * self._next_s, _LONGEST_S)
        else:
            self._next_s = _FIRST_S
        self._last = now
        return self._next_s

    @property
    def is_longest(self) -> bool:
        """Whether it goes on and on."""
        return self._next_s >= _LONGEST_S
