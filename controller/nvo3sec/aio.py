# SPDX-License-Identifier: Apache-2.0
"""Helpers for asyncio that the standard library does not have."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


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
