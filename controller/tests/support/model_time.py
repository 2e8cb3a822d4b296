# SPDX-License-Identifier: Apache-2.0
"""An event loop whose time goes by only when nothing is left to do: hours pass in moments, and always alike."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

START_S = 1000.0


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # which one it is depends on the system
    """Instead of waiting, moves the clock of its loop."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        if timeout > 0:
            self.loop.moment += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """moment: seconds, monotonic. failures: what callbacks and forgotten tasks raised."""

    def __init__(self) -> None:
        self.moment = START_S
        self.failures: list[dict[str, Any]] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self.moment

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing here has threads")

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that happens in so many seconds."""
        self.run(asyncio.sleep(seconds))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run until it is done."""
        return self.run_until_complete(coroutine)

    def end(self) -> None:
        """Cancel everything and close."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()


class _Current:
    """The world whose turn it is: its loop, and its switches by name."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self.switches: dict[str, Any] = {}

    def now(self) -> float:
        assert self.loop is not None
        return self.loop.moment


CURRENT = _Current()
