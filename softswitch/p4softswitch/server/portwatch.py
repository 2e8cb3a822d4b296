# SPDX-License-Identifier: Apache-2.0
"""The thread that looks at the ports when the kernel says that an interface changed, and once a second for sockets."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

from .links import Links

_LOG = logging.getLogger(__name__)

_PERIOD_S = 1.0
_PAUSE_S = 0.02
"""Between two looks: what changes meanwhile is seen by one, however often the kernel says so."""


class PortWatch:
    """Start with `start`, end with `stop`."""

    def __init__(self, links: Callable[[], Links | None], look: Callable[[], None]) -> None:
        """links: those of the ports, once there are some. look: at all ports; what it raises is logged."""
        self._links = links
        self._look = look
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Once."""
        self._thread = threading.Thread(target=self._run, name="port-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.write(self._wake[1], b"\0")
            thread.join()
        wake, self._wake = self._wake, (-1, -1)
        for descriptor in wake:
            if descriptor >= 0:
                os.close(descriptor)

    def _run(self) -> None:
        while not self._ended(None, _PAUSE_S):
            links = self._links()
            if self._ended(links, _PERIOD_S):
                return
            try:
                if links is not None:
                    links.drain()
                self._look()
            except Exception:  # noqa: BLE001 - a port that cannot be looked at must not end the watch over the others
                _LOG.exception("the ports could not be looked at")

    def _ended(self, links: Links | None, seconds: float) -> bool:
        """Wait for the end, for a change, or so long; whether it is the end."""
        wake = self._wake[0]
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if links is not None:
            poll.register(links, select.POLLIN)
        return any(descriptor == wake for descriptor, _ in poll.poll(seconds * 1000))
