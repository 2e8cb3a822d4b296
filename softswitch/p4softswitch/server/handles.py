# SPDX-License-Identifier: Apache-2.0
"""Handles of an action profile: which are free, and how many of them a member needs.

Nothing here goes through all that there is: members and groups are written under the lock of the device, and an action
profile may have tens of thousands.
"""

from __future__ import annotations

import heapq
from collections import Counter

from .status import Code, P4Error

MAX_HANDLES = 1 << 16
"""Members with their copies, and groups, of one profile; the engine's bound."""


class Handles:
    """Numbers, the lowest free one first."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._given_back: list[int] = []
        """A heap. All others below `_next` are taken."""
        self._next = 0

    def take(self, count: int = 1) -> list[int]:
        """Raises P4Error (RESOURCE_EXHAUSTED) and takes nothing if there are not so many."""
        fresh = max(0, count - len(self._given_back))
        if self._next + fresh > MAX_HANDLES:
            raise P4Error(Code.RESOURCE_EXHAUSTED, f"{self._what} is full ({MAX_HANDLES})")
        found = [heapq.heappop(self._given_back) for _ in range(count - fresh)]
        found += range(self._next, self._next + fresh)
        self._next += fresh
        return found

    def give(self, handles: list[int]) -> None:
        for handle in handles:
            heapq.heappush(self._given_back, handle)


class Weights:
    """Those of one member in the groups that it stands in."""

    def __init__(self) -> None:
        self._groups: Counter[int] = Counter()
        """By weight."""
        self._heap: list[int] = []
        """Weights, the largest one first (negative), each once; also of some that no group has any more."""
        self._in_heap: set[int] = set()

    def __bool__(self) -> bool:
        """Does it stand in a group?"""
        return bool(self._groups)

    def add(self, weight: int) -> None:
        """In a group more."""
        self._groups[weight] += 1
        if weight not in self._in_heap:
            self._in_heap.add(weight)
            heapq.heappush(self._heap, -weight)

    def remove(self, weight: int) -> None:
        """In a group less."""
        self._groups[weight] -= 1
        if not self._groups[weight]:
            del self._groups[weight]

    def largest(self) -> int:
        """0 without a group."""
        while self._heap and -self._heap[0] not in self._groups:
            self._in_heap.remove(-heapq.heappop(self._heap))
        return -self._heap[0] if self._heap else 0
