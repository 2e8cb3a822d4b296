# SPDX-License-Identifier: Apache-2.0
"""Whose handshake begins next: one after another, and nobody waits behind a queue that strangers have filled."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

from nvo3sec.identity.front.crowd import Crowd, Path

HANDSHAKE_EVERY_S = 0.003
"""Between the beginnings of two handshakes: the costliest thing that a stranger can ask for. A burst of them made calls
of those who are connected take tens of milliseconds (docs/control-plane-figures.md)."""
STRANGERS_EVERY = 4
"""Each fourth turn is one of a stranger, if one waits: those who are known come first, and starve nobody."""


class Turns:
    """Turns of handshakes. Among those who wait the one to be next is drawn: as often from all as from light sources.

    So whoever waits has a chance at each turn that depends on how many wait, and that no flood can take away.
    """

    def __init__(self, clock: Callable[[], float], rng: random.Random | None = None) -> None:
        self._clock = clock
        rng = rng or random.SystemRandom()
        self._strangers, self._known = Crowd(rng), Crowd(rng)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._count = itertools.count(1)
        self._next_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, number: int, path: Path, *, known: bool) -> None:
        """Until the handshake of a connection may begin. Who is cancelled meanwhile takes no turn."""
        turn = self._waiting[number] = asyncio.get_running_loop().create_future()
        crowd = self._known if known else self._strangers
        crowd.add(number, path)
        self._schedule()
        try:
            await turn
        finally:
            self._waiting.pop(number, None)
            crowd.discard(number)

    def _schedule(self) -> None:
        if self._timer is None and self._waiting:
            left = max(0.0, self._next_at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(left, self._give)

    def _give(self) -> None:
        self._timer = None
        number = self._draw()
        if number is not None:
            self._strangers.discard(number)
            self._known.discard(number)
            turn = self._waiting.pop(number)
            if not turn.done():
                self._next_at = self._clock() + HANDSHAKE_EVERY_S
                turn.set_result(None)
        self._schedule()

    def _draw(self) -> int | None:
        """Whose turn it is."""
        count = next(self._count)
        first, second = self._known, self._strangers
        if count % STRANGERS_EVERY == 0:
            first, second = second, first
        crowd = first or second
        # By groups of turns, so that each kind of turn, too, is drawn in both ways.
        return crowd.lightest() if count // STRANGERS_EVERY % 2 else crowd.anyone()
