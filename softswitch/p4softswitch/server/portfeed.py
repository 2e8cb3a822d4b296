# SPDX-License-Identifier: Apache-2.0
"""States of the ports for those who want to hear of each change at once.

What is sent is how all ports are, not what happened to one: whoever is slow hears less often, and misses nothing that
is still so. So there is never more than one message on its way to anybody, and nothing is queued.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

_States = TypeVar("_States")


class PortFeed:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._changes = 0

    def changed(self) -> None:
        """Some port is not any more as it was, or is new, or is gone. Never waits for a client."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def follow(self, look: Callable[[], _States], over: threading.Event) -> Iterator[_States]:
        """How the ports are, at once, and again after each change that can be seen. look: gives it. Ends once `over`
        is set and `wake` was called."""
        last: _States | None = None
        seen = -1
        while True:
            with self._changed:
                while seen == self._changes and not over.is_set():
                    self._changed.wait()
                if over.is_set():
                    return
                seen = self._changes
            states = look()  # after what was seen: what changes meanwhile is looked at again
            if states != last:
                yield states
            last = states

    def wake(self) -> None:
        """For whoever has set `over`."""
        with self._changed:
            self._changed.notify_all()
