# SPDX-License-Identifier: Apache-2.0
"""What ends when an identity ends: calls and connections of peers whose certificate is revoked or expires, whose
authority is no longer trusted, or of whose authority no list is current.

`sweep` is the whole logic; a watcher calls it twice a second. Twice a second one `stat` of each file (lists, anchors,
own certificate and key) and one look at every identity cost microseconds, work on every file system (inotify does not
on network ones, and looks at inodes, not names), and bound the time from a change to the closing of a stream to about
half a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog

from nvo3sec.errors import whereabouts
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.revocation_lists import RevocationFile, Revocations, wall_clock

WATCH_INTERVAL_S = 0.5

Closer = Callable[[PeerRefused], None]
"""Ends something, for the reason given. Must neither block nor raise."""


@dataclass(frozen=True)
class _Live:
    identity: Identity
    close: Closer


class LivePeers:
    """What is open, whose it is, and how it is closed. For one event loop."""

    def __init__(self, revocations: RevocationFile, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._revocations = revocations
        self._clock = clock
        self._live: dict[int, _Live] = {}
        self._numbers = itertools.count()
        self._watcher: asyncio.Task[None] | None = None
        self._watched_by = 0
        self._log = structlog.get_logger("identity")
        self.closed: dict[Reason, int] = {}
        """How many were closed, by reason."""

    @property
    def revocations(self) -> Revocations:
        """What is known to be revoked."""
        return self._revocations.current

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the file of the lists."""
        return self._revocations.faults

    def check(self, identity: Identity) -> None:
        """Raises PeerRefused if the identity is no good now. Costs a few `stat`s, and needs no watcher."""
        self._revocations.refresh()
        self._judge(identity)

    def _judge(self, identity: Identity) -> None:
        now = self._clock()
        identity.check_time(now)
        self.revocations.check(identity, now)

    def add(self, identity: Identity, close: Closer) -> int:
        """Remember something that is open; returns the number for `remove`. Raises PeerRefused."""
        self.check(identity)
        number = next(self._numbers)
        self._live[number] = _Live(identity, close)
        return number

    def remove(self, number: int) -> None:
        """It was closed."""
        self._live.pop(number, None)

    @contextlib.contextmanager
    def track(self, identity: Identity, close: Closer) -> Iterator[None]:
        """`add` and `remove` around something. Raises PeerRefused."""
        number = self.add(identity, close)
        try:
            yield
        finally:
            self.remove(number)

    def identities(self) -> frozenset[Identity]:
        """Whose connections are open."""
        return frozenset(one.identity for one in self._live.values())

    @property
    def open(self) -> int:
        """How many calls and connections are open."""
        return len(self._live)

    def sweep(self) -> int:
        """Look at lists, anchors and the time; close what has to be; returns how many were."""
        self._revocations.refresh()
        closed = 0
        verdicts: dict[Identity, PeerRefused | None] = {}
        for number, one in list(self._live.items()):
            if one.identity not in verdicts:
                verdicts[one.identity] = self._verdict(one.identity)
            verdict = verdicts[one.identity]
            if verdict is None:
                continue
            self._live.pop(number, None)  # closing one can have removed another
            closed += 1
            self.closed[verdict.reason] = self.closed.get(verdict.reason, 0) + 1
            try:
                one.close(verdict)
            except Exception as error:  # noqa: BLE001  # the others have to be closed all the same
                self._log.error("closing failed", peer=str(one.identity), error=whereabouts(error))
        for identity, verdict in verdicts.items():
            if verdict is not None:
                self._log.warning("peer closed", peer=str(identity), reason=verdict.reason.value, detail=verdict.detail)
        return closed

    def _verdict(self, identity: Identity) -> PeerRefused | None:
        try:
            self._judge(identity)
        except PeerRefused as error:
            return error
        return None

    async def start(self) -> None:
        """Begin to watch; what serves or calls peers does it. Each `start` needs its `stop`."""
        self._watched_by += 1
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="revocations")

    async def stop(self) -> None:
        """End to watch when the last one that started it stops."""
        self._watched_by -= 1
        if self._watched_by or self._watcher is None:
            return
        self._watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watcher
        self._watcher = None

    async def _watch(self) -> None:
        while True:
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001  # without a watcher, what is revoked would stay connected
                self._log.error("sweep failed", error=whereabouts(error))
            await asyncio.sleep(WATCH_INTERVAL_S)
