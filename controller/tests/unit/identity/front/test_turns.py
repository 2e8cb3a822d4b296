# SPDX-License-Identifier: Apache-2.0
"""In which order handshakes begin."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from identity_world import run
from nvo3sec.identity.front.crowd import Path
from nvo3sec.identity.front.turns import HANDSHAKE_EVERY_S, Turns


class ListWithoutAnchor:
    """Many who wait for a turn, and the order in which they get it."""

    def __init__(self) -> None:
        self.turns = Turns(time.monotonic, random.Random(7))
        self.order: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def come(self, number: int, path: Path, *, known: bool = False) -> None:
        async def wait() -> None:
            await self.turns.take(number, path, known=known)
            self.order.append(number)

        self.tasks[number] = asyncio.create_task(wait())

    async def had(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.order) < count:
                await asyncio.sleep(HANDSHAKE_EVERY_S)

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert not self.turns._waiting
        assert not self.turns._strangers
        assert not self.turns._known


class TestTurns:
    def test_time_between_them(self):
        async def go() -> None:
            waiting = ListWithoutAnchor()
            began = time.monotonic()
            for number in range(20):
                waiting.come(number, (f"s{number}",))
            await waiting.had(20)
            assert time.monotonic() - began >= 19 * HANDSHAKE_EVERY_S
            await waiting.end()

        run(go())

    def test_who_has_gone_takes_no_turn(self):
        async def go() -> None:
            waiting = ListWithoutAnchor()
            waiting.turns._clock = lambda: 0.0
            waiting.come(0, ("a",))
            await waiting.had(1)
            for number in range(1, 200):
                waiting.come(number, ("flood",))
            await asyncio.sleep(0)
            for number in range(1, 200):
                waiting.tasks[number].cancel()
            waiting.come(200, ("b",))
            await asyncio.sleep(0)
            assert waiting.turns._next_at == HANDSHAKE_EVERY_S
            waiting.turns._clock = lambda: 1.0
            await waiting.had(2)
            assert waiting.order == [0, 200]
            assert waiting.turns._next_at == 1.0 + HANDSHAKE_EVERY_S
            await waiting.end()

        run(go())

    def test_a_queue_that_strangers_have_filled_keeps_nobody_waiting(self):
        """300 of few sources wait already: who comes last is not the last one."""

        async def go() -> None:
            waiting = ListWithoutAnchor()
            for number in range(300):
                waiting.come(number, (f"flood{number % 20}",))
            await asyncio.sleep(0)
            waiting.come(1000, ("newcomer",))
            waiting.come(1001, ("agent",), known=True)
            await waiting.had(200)
            assert waiting.order.index(1001) <= 1
            assert 1000 in waiting.order
            await waiting.end()

        run(go())

    def test_neither_kind_starves_the_other(self):
        async def go() -> None:
            waiting = ListWithoutAnchor()
            for number in range(200):
                waiting.come(number, ("agent",), known=True)
                waiting.come(1000 + number, (f"stranger{number}",))
            await waiting.had(100)
            kinds = Counter(number >= 1000 for number in waiting.order[:100])
            assert kinds[True] == 25
            await waiting.end()

        run(go())
