# SPDX-License-Identifier: Apache-2.0
"""Echo requests in a steady stream, and what became of each: the legitimate traffic beside an attack."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nvo3lab.topology import TOKEN

DEADLINE = 2.0
"""Seconds after which an unanswered request counts as lost."""
_HEAD = 32
_SETTLE = 0.005


def summary(sent: int, round_trips: list[float]) -> dict[str, Any]:
    """Loss and round-trip times, milliseconds."""
    times = sorted(seconds * 1000 for seconds in round_trips)
    return {
        "sent": sent,
        "received": len(times),
        "median_ms": statistics.median(times) if times else None,
        "p99_ms": times[min(len(times) - 1, int(len(times) * 0.99))] if times else None,
        "max_ms": times[-1] if times else None,
    }


@dataclass
class _Window:
    began: float = field(default_factory=time.monotonic)
    sent: list[int] = field(default_factory=list)


class EchoStream:
    """A stream towards one destination.

    Args:
        destination: whom the requests are for, and who alone answers them.
        send: sends one echo request with this payload; returns at once.
        interval: seconds between requests.
        sizes: ICMP payload lengths, taken in turn; at least 32 bytes.
    """

    def __init__(self, destination: str, send: Callable[[bytes], None], interval: float, sizes: list[int]) -> None:
        self.destination = destination
        self._send = send
        self._interval = interval
        self._sizes = itertools.cycle([max(size, _HEAD) for size in sizes])
        self._session = os.urandom(8)
        self._next = 0
        self._sent_at: dict[int, float] = {}
        self._round_trip: dict[int, float] = {}
        self._window = _Window()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def owns(self, payload: bytes) -> bool:
        return len(payload) >= _HEAD and payload[len(TOKEN) : len(TOKEN) + 8] == self._session

    def answered(self, payload: bytes) -> None:
        """A reply with this payload has arrived. Only the first one counts."""
        number = struct.unpack_from("!Q", payload, len(TOKEN) + 8)[0]
        if number in self._sent_at and number not in self._round_trip:
            self._round_trip[number] = time.monotonic() - self._sent_at[number]

    def begin(self) -> None:
        """Start a window: requests sent from now on count."""
        self._window = _Window()

    async def end(self, patience: float = DEADLINE) -> dict[str, Any]:
        """End the window, once each of its requests is answered or lost: not answered in `patience` seconds from now.

        Returns its summary, and when the last request was sent that was answered (seconds since the window began).
        """
        window, self._window = self._window, _Window()
        limit = time.monotonic() + patience
        while time.monotonic() < limit and any(number not in self._round_trip for number in window.sent):
            await asyncio.sleep(_SETTLE)
        answered = [number for number in window.sent if number in self._round_trip]
        times = [self._round_trip[number] for number in answered]
        last = self._sent_at[answered[-1]] - window.began if answered else None
        for number in window.sent:
            self._sent_at.pop(number, None)
            self._round_trip.pop(number, None)
        return summary(len(window.sent), times) | {"last_s": last}

    async def burst(self, count: int) -> dict[str, Any]:
        """Send a number of requests, one an interval, and wait for the answers."""
        self.begin()
        for index in range(count):
            self._request()
            if index + 1 < count:
                await asyncio.sleep(self._interval)
        return await self.end()

    def _request(self) -> None:
        number, self._next = self._next, self._next + 1
        head = TOKEN + self._session + struct.pack("!Q", number)
        size = next(self._sizes)
        self._window.sent.append(number)
        self._sent_at[number] = time.monotonic()
        self._send(head + bytes((number + index) & 0xFF for index in range(size - len(head))))

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            self._request()
            due = max(due + self._interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
