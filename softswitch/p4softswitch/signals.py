# SPDX-License-Identifier: Apache-2.0
"""What a process does that somebody tells something by a signal.

SIGTERM and SIGINT tell it to stop, at any time, also while it starts. SIGHUP, as is usual for daemons, has it open its
log file anew; without a log file it means that the terminal is gone, and the process stops in good order. Where it was
ignored from the start (nohup), it stays ignored without a log file.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_LOG = logging.getLogger(__name__)


class Stop:
    """Whether the process was told to stop. Thread-safe."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []

    @property
    def is_told(self) -> bool:
        return self._told.is_set()

    def wait(self) -> None:
        """Until it is told to."""
        self._told.wait()

    def also(self, action: Callable[[], None]) -> None:
        """Call this as soon as it is told to; at once if it has been."""
        with self._lock:
            if not self._told.is_set():
                self._actions.append(action)
                return
        action()

    def tell(self) -> None:
        with self._lock:
            self._told.set()
        with ExitStack() as whole:  # also what is behind one that fails
            for action in reversed(self._actions):
                whole.callback(action)


@contextmanager
def stop_on_signals(reopen: Callable[[], None] | None) -> Iterator[Stop]:
    """reopen: what SIGHUP asks for; None without a log file.

    The signals are blocked, so that every thread that is made meanwhile inherits that, and come to a thread of its own.
    Undone at the end, because whoever calls this may start processes, which inherit it too.
    """
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if reopen is None and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signals.remove(signal.SIGHUP)
    stop = Stop()
    ended = threading.Event()

    def watch() -> None:
        while True:
            number = signal.sigwait(signals | {_WAKE})
            if ended.is_set():
                return
            try:
                if number == signal.SIGHUP and reopen is not None:
                    reopen()
                elif number in signals:
                    stop.tell()
            except Exception:  # noqa: BLE001 - whatever fails, the next signal is heard
                _LOG.exception("%s was not done with", signal.Signals(number).name)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals | {_WAKE})
    try:
        watcher = threading.Thread(target=watch, name="signals", daemon=True)
        watcher.start()
        try:
            yield stop
        finally:
            ended.set()
            signal.pthread_kill(watcher.ident or 0, _WAKE)
            watcher.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_WAKE = signal.SIGRTMIN
"""Ends the thread; to nobody else."""
