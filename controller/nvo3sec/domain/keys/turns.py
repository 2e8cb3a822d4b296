# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to rotate: at most so many directions at once, the others in a fair order."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterable

from nvo3sec.domain.overlay.membership import Tunnel


class Turns:
    """Places for rotations, and who waits for one.

    Two kinds wait: directions whose key is due, the longest due first, so that none gets near its hard limit because of
    others; and directions that an operator wants rotated, in the order of asking. If both wait, they alternate.
    """

    def __init__(self, places: int) -> None:
        if places < 1:
            raise ValueError(f"{places} rotations at once: nothing would ever rotate")
        self.places = places
        self._taken: set[Tunnel] = set()
        self._due: list[tuple[float, int, Tunnel]] = []
        self._count = itertools.count()
        self._wanted: OrderedDict[Tunnel, float] = OrderedDict()  # a dict that loses its first looks longer every time
        self._wanted_next = False

    @property
    def taken(self) -> int:
        """How many directions have their turn."""
        return len(self._taken)

    @property
    def waiting(self) -> int:
        """How many wait, at most: some may need no turn any more."""
        return len(self._due) + len(self._wanted)

    def ask(self, tunnel: Tunnel, due_at: float) -> None:
        """A direction waits for its turn; its key is too old from `due_at` on."""
        heapq.heappush(self._due, (due_at, next(self._count), tunnel))

    def want(self, tunnels: Iterable[Tunnel], now: float) -> None:
        """An operator wants new keys for these, made after `now`. Asking again changes nothing about the order."""
        self._wanted.update(dict.fromkeys(tunnels, now))

    def pick(self) -> tuple[Tunnel, float | None] | None:
        """Who is next, while there is a place: a direction, and for one that an operator wants rotated, since when."""
        if len(self._taken) >= self.places:
            return None
        if self._wanted and (self._wanted_next or not self._due):
            self._wanted_next = False
            return self._wanted.popitem(last=False)
        if self._due:
            self._wanted_next = True
            return heapq.heappop(self._due)[2], None
        return None

    def take(self, tunnel: Tunnel) -> None:
        """The direction has its turn now."""
        self._taken.add(tunnel)

    def leave(self, tunnel: Tunnel) -> None:
        """The direction does not have its turn any more, or is gone. If it waits, it goes on waiting."""
        self._taken.discard(tunnel)
