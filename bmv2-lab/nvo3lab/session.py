# SPDX-License-Identifier: Apache-2.0
"""The life of a lab in one command: up, do something, and down again, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nvo3lab.errors import LabError, ProcessError
from nvo3lab.lab import Closing, Lab, Options

T = TypeVar("T")
U = TypeVar("U")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Outcome(Generic[T]):
    """How a lab ended.

    Attributes:
        value: what the body returned; None where it did not finish.
        error: what kept it from finishing.
        interrupted: the signal by which somebody asked it to end (Ctrl-C, SIGTERM, SIGHUP) while it was coming up or at
            work; None: nobody did.
        was_up: whether it was fully up.
    """

    closing: Closing
    value: T | None = None
    error: LabError | None = None
    interrupted: signal.Signals | None = None
    was_up: bool = False


async def run(options: Options, body: Callable[[Lab], Awaitable[T]], say: Callable[[str], None]) -> Outcome[T]:
    """Bring a lab up, run `body`, take the lab down. A process of the lab that ends by itself ends the lab.

    So does the end of whoever reads the progress: a terminal that was closed, a pipe without a reader.
    """
    loop = asyncio.get_running_loop()
    unheard = False

    def tell(text: str) -> None:
        """Never fails: a lab whose progress nobody reads has to be taken down all the same."""
        nonlocal unheard
        try:
            if not unheard:
                say(text)
        except LabError as error:
            unheard, outcome.error = True, error
            work.cancel()

    lab = Lab(options, tell)
    outcome: Outcome[T] = Outcome(lab.closing)
    work = asyncio.create_task(_work(lab, body))

    asked = False

    def interrupt(number: signal.Signals) -> None:
        nonlocal asked
        first, asked = not asked, True
        if work.cancel():
            outcome.interrupted = outcome.interrupted or number
        if first:
            tell("asked to end: going down")

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    # Whoever started this process may have blocked them, and a lab that nobody can end must not be.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        outcome.value = await work
    except LabError as error:
        outcome.error = outcome.error or error
    except asyncio.CancelledError:
        if outcome.interrupted is None and not unheard:
            raise
    finally:
        # Handlers stay: a second Ctrl-C must not cut the way down short.
        outcome.was_up = lab.is_up
        outcome.closing = await lab.down()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    return outcome


async def _work(lab: Lab, body: Callable[[Lab], Awaitable[T]]) -> T:
    # From the first process on: what leans on one that is no more would wait for it as long as it may.
    await _unless_broken(lab, lab.up())
    return await _unless_broken(lab, body(lab))


async def _unless_broken(lab: Lab, work: Awaitable[U]) -> U:
    """The result of some work, which ends when a process of the lab ends by itself. Raises ProcessError then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, lab.broken), return_when=asyncio.FIRST_COMPLETED)
        if lab.broken.done() and not task.done():
            raise ProcessError(lab.obituary(lab.broken.result()))
        return await task
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LabError):
                await task
