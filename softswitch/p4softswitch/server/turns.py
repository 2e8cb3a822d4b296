# SPDX-License-Identifier: Apache-2.0
"""Locks that are fair: what is long takes its turns, and lets go of the lock in between."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock that goes to who has waited longest for it, also if who holds it wants it back at once.

    threading.Lock goes to whoever is there first, which is mostly the thread that has just released it: one that takes
    it page by page would have it all the time. Not reentrant.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    @property
    def waiting(self) -> int:
        """Threads that wait for it."""
        with self._guard:
            return len(self._waiting)

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # released by who hands the lock over

    def __exit__(self, *exc: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
