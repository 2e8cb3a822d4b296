# SPDX-License-Identifier: Apache-2.0
"""Idle timeouts: entries that no packet has hit for as long as they said are told of (P4Runtime specification 9.1.8).

An entry that stays idle is told of again each time that its timeout passes anew: a notification may be lost, and BMv2
repeats itself too. Entries are looked at when they can have expired, not swept. Nothing is removed: that is the
controller's to do. The times of a pipeline that is saved, or made ready, begin when it runs: no packet could hit its
entries before.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finsy.proto import p4r

from ..engine_api import Engine, EngineError
from . import entries
from .entries import Key
from .outbox import Send
from .schema import Schema, Table
from .status import invalid

SHORTEST_NS = 100_000_000
"""Shorter timeouts are looked at as rarely as this one."""
_SPARE = 1024
_MAX_ENTRIES = 1024
"""Entries in one notification."""


@dataclass(frozen=True)
class _Timeout:
    """Of one entry; another one takes its place when the entry is modified."""

    number: int
    table: Table
    key: Key
    idle_ns: int
    controller_metadata: int
    metadata: bytes


class Ageing:
    """The idle timeouts of one pipeline, from `start` on. Thread-safe."""

    def __init__(self, schema: Schema, engine: Engine, send: Send) -> None:
        self._schema = schema
        self._engine = engine
        self._send = send
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._timeouts: dict[tuple[int, Key], _Timeout] = {}
        self._due: list[tuple[int, int, _Timeout]] = []
        self._thread: threading.Thread | None = None
        self._started = False
        self._closed = False

    @staticmethod
    def check(table: Table, entry: Any) -> None:
        """The timeout of a p4.v1.TableEntry of a Write.

        Raises:
            P4Error: INVALID_ARGUMENT.
        """
        if entry.idle_timeout_ns < 0:
            raise invalid(f"table {table.name}: idle_timeout_ns is negative")
        if entry.idle_timeout_ns and not table.idle_timeout:
            raise invalid(f"table {table.name} has no idle timeout")

    def set(self, table: Table, key: Key, entry: Any, now: int | None = None) -> None:
        """The entry is in the table; its time begins now (nanoseconds of time.monotonic_ns), or with `start`."""
        if not table.idle_timeout:
            return
        with self._changed:
            self._timeouts.pop((table.id, key), None)
            if not entry.idle_timeout_ns or self._closed:
                return
            number = next(self._numbers)
            note = entry.controller_metadata, entry.metadata
            timeout = _Timeout(number, table, key, entry.idle_timeout_ns, *note)
            self._timeouts[table.id, key] = timeout
            if self._started:
                self._begin([timeout], now)

    def start(self, now: int | None = None) -> None:
        """Packets meet the entries from now on (nanoseconds of time.monotonic_ns). Idempotent."""
        with self._changed:
            if not self._started:
                self._started = True
                self._begin(list(self._timeouts.values()), now)

    def _begin(self, timeouts: Sequence[_Timeout], now: int | None) -> None:
        for timeout in timeouts:
            self._look_at(timeout, (time.monotonic_ns() if now is None else now) + timeout.idle_ns)
        if timeouts and self._thread is None and now is None:
            self._thread = threading.Thread(target=self._run, name="p4runtime-ageing", daemon=True)
            self._thread.start()
        self._changed.notify()

    def forget(self, table: Table, key: Key) -> None:
        """The entry is gone."""
        with self._changed:
            self._timeouts.pop((table.id, key), None)

    def _idle_ns(self, table: Table, key: Key) -> int:
        idle = self._engine.table_entry(table.name, *key).idle_us
        assert idle is not None  # only tables with idle timeouts are here
        return 1000 * idle

    def _look_at(self, timeout: _Timeout, when: int) -> None:
        if len(self._due) > 2 * len(self._timeouts) + _SPARE:  # what was modified or deleted long before its time
            self._due = [d for d in self._due if self._timeouts.get((d[2].table.id, d[2].key)) is d[2]]
            heapq.heapify(self._due)
        heapq.heappush(self._due, (when, timeout.number, timeout))

    def expire(self, now: int) -> list[Any]:
        """p4.v1.IdleTimeoutNotifications of all that has expired by then."""
        with self._changed:
            due: list[_Timeout] = []
            while self._due and self._due[0][0] <= now:
                timeout = heapq.heappop(self._due)[2]
                if self._timeouts.get((timeout.table.id, timeout.key)) is timeout:
                    due.append(timeout)
        expired: list[_Timeout] = []
        for timeout in due:
            try:
                left = timeout.idle_ns - self._idle_ns(timeout.table, timeout.key)
            except EngineError:
                continue  # deleted meanwhile
            if left <= 0:
                expired.append(timeout)
            with self._changed:
                self._look_at(timeout, now + max(left if left > 0 else timeout.idle_ns, SHORTEST_NS))
        return [self._notification(expired[at : at + _MAX_ENTRIES]) for at in range(0, len(expired), _MAX_ENTRIES)]

    @staticmethod
    def _notification(expired: list[_Timeout]) -> Any:
        message = p4r.IdleTimeoutNotification(timestamp=time.monotonic_ns())
        for timeout in expired:
            entry = message.table_entry.add(table_id=timeout.table.id, idle_timeout_ns=timeout.idle_ns)
            entries.write_key(timeout.table, timeout.key, entry)
            entry.controller_metadata, entry.metadata = timeout.controller_metadata, timeout.metadata
        return message

    def _run(self) -> None:
        while True:
            with self._changed:
                wait = (self._due[0][0] - time.monotonic_ns()) / 1e9 if self._due else None
                if not self._closed and (wait is None or wait > 0):
                    self._changed.wait(wait)
                if self._closed:
                    return
            for notification in self.expire(time.monotonic_ns()):
                with self._changed:  # the pipeline may have gone while its entries were looked at
                    if self._closed:
                        return
                    self._send(p4r.StreamMessageResponse(idle_timeout_notification=notification))

    def close(self) -> None:
        """The pipeline is gone: nothing is sent any more."""
        with self._changed:
            self._closed = True
            self._timeouts.clear()
            self._due.clear()
            self._changed.notify()
