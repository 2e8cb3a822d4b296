# SPDX-License-Identifier: Apache-2.0
"""Helpers for asyncio that the standard library does not have."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from nvo3sec.system.uptime import uptime_s


class Backoff:
    """Pauses between attempts at the same thing: longer and longer, and each of random length.

    Without chance in it, all who lost the same peer at the same moment would come back at the same moments, too.
    """

    def __init__(
        self,
        first_s: float,
        last_s: float,
        *,
        clock: Callable[[], float] = uptime_s,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        """first_s, last_s: the longest pause at first, and ever. random_share: in [0, 1)."""
        self._first_s = first_s
        self._last_s = last_s
        self._clock = clock
        self._random_share = random_share
        self._longest_s = first_s
        self._began = clock()

    def begin(self) -> None:
        """An attempt begins."""
        self._began = self._clock()

    def pause_s(self) -> float:
        """It has failed: the pause before the next one, anything up to the longest. What went well for a while was no
        failure, and the next one is the first again."""
        if self._clock() - self._began > self._last_s:
            self._longest_s = self._first_s
        pause = self._longest_s * self._random_share()
        self._longest_s = min(self._longest_s * 2, self._last_s)
        return pause


def answer_future() -> asyncio.Future[Any]:
    """A future for what somebody else will answer. Whoever waits for it may go before the answer comes, cancelled or
    failed at something else, and then nobody learns of a refusal: that is no fault, and asyncio does not tell of it.
    """
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return future


async def run_together(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run all until the first one ends; then cancel the others, wait for them, and raise what the first one raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    del results  # seen, so that nothing complains about it; what counts is what ended first
    for task in tasks:
        if task in done:
            task.result()


async def until_stopped() -> None:
    """Return once the process is asked to end (SIGTERM, SIGINT)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
