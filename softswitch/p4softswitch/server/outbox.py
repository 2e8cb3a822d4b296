# SPDX-License-Identifier: Apache-2.0
"""Messages on their way to one client, filled by threads that must not wait."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

_LOG = logging.getLogger(__name__)

Send = Callable[[Any], None]
"""Takes a p4.v1.StreamMessageResponse for the primary; never waits."""

_MAX_CONTROL = 4096
"""A client that lets this many notifications pile up does not read; it is cut off."""


class Outbox:
    """Queue with one consumer.

    Control messages are always taken. Packets are taken up to `capacity`, beyond that dropped and counted: the producer
    is a thread of the data plane, and neither a slow client nor a slow log may hold it up. So the consumer logs the
    drops.
    """

    def __init__(self, name: str, capacity: int = 1024) -> None:
        self._name = name
        self._capacity = capacity
        self._queue: deque[tuple[Any, bool]] = deque()
        self._packets = 0
        self._closed = False
        self._dropped = 0
        self._logged = 0
        self._ready = threading.Condition()
        self._is_out = False

    @property
    def is_out(self) -> bool:
        """Has the consumer a message with which it has not come back yet?"""
        return self._is_out

    @property
    def dropped(self) -> int:
        """Packets dropped so far."""
        return self._dropped

    def put_control(self, message: Any) -> None:
        """Queue a message that must not be lost."""
        with self._ready:
            if len(self._queue) - self._packets >= _MAX_CONTROL:
                self._closed = True
            if not self._closed:
                self._queue.append((message, False))
            self._ready.notify()

    def put_packet(self, message: Any) -> bool:
        """Queue a packet; False if it was dropped."""
        with self._ready:
            if self._closed or self._packets >= self._capacity:
                self._dropped += not self._closed
                return False
            self._queue.append((message, True))
            self._packets += 1
            self._ready.notify()
            return True

    def close(self) -> None:
        """The consumer gets what is queued and then ends. Idempotent."""
        with self._ready:
            self._closed = True
            self._ready.notify()

    def abandon(self) -> None:
        """The client is gone: the consumer ends at once."""
        with self._ready:
            self._closed = True
            self._queue.clear()
            self._packets = 0
            self._ready.notify()

    def _log_drops(self) -> None:
        dropped = self._dropped
        if dropped > self._logged:
            _LOG.warning("%s: %d packets dropped, the client is too slow (%d in all)", self._name,
                         dropped - self._logged, dropped)  # fmt: skip
            self._logged = dropped

    def __iter__(self) -> Iterator[Any]:
        """Messages in order, until closed."""
        try:
            while True:
                with self._ready:
                    while not self._queue and not self._closed:
                        self._ready.wait()
                    if not self._queue:
                        return
                    message, is_packet = self._queue.popleft()
                    self._packets -= is_packet
                    self._is_out = True
                self._log_drops()
                yield message
                self._is_out = False
        finally:
            self._log_drops()
