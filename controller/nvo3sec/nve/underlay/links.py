# SPDX-License-Identifier: Apache-2.0
"""Which ports of the switch are down, as soon as it is known.

The embedded switch tells of all its ports at each change. Of another one, whose ports are interfaces of this host that
somebody has named, the kernel does. Where neither is so nothing is known, and what is not known is not down: a port
whose state nobody tells any more has none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import structlog

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.errors import NoSuchService, ReadRefused
from nvo3sec.p4runtime import SwitchClient
from nvo3sec.p4runtime.portstates import PortStates
from nvo3sec.system.aio import Backoff
from nvo3sec.system.interfaces import InterfaceStates
from nvo3sec.system.uptime import uptime_s

DOUBT_S = 5.0
"""How long what was told last counts after whoever told it has stopped."""
RETRY_FIRST_S, RETRY_LAST_S = 0.1, 2.0
"""Pauses before it is asked again."""
PACE_S = 0.02
"""Between two answers: a switch that talks without end leaves the agent its time."""
LOG_RATE = Rate(1, 32)
"""Lines of the log, whatever links do and switches say."""


@dataclass(frozen=True)
class _Link:
    """reason: why no frame passes, empty if frames do. since: seconds, when that began or was first told."""

    reason: str
    since: float


class PortLinks:
    """The ports of one switch. Use it from one event loop."""

    def __init__(
        self,
        client: SwitchClient,
        changed: Callable[[], None],
        interfaces: Mapping[int, str] | None = None,
        *,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        """changed: called whenever `down` is not as it was. interfaces: which one a port is, in the network namespace
        of the thread that calls `run`; they count where the switch tells nothing itself."""
        self._client = client
        self._changed = changed
        self._interfaces = dict(interfaces or {})
        self._clock = clock
        self._known: dict[int, _Link] = {}
        self._down: frozenset[int] = frozenset()
        self._forgetting: asyncio.TimerHandle | None = None
        self._lines = TokenBucket(LOG_RATE, clock())
        self._unwritten = 0
        self._log = structlog.get_logger("nve").bind(nve=client.name)
        self.refused = 0
        """Answers of the switch, or what they said of a port, that could not be understood."""

    @property
    def down(self) -> frozenset[int]:
        """Ports that are known to be down now: switched off, without a carrier, or without an interface."""
        return self._down

    def since(self, port: int) -> float | None:
        """For how many seconds the port is known to be up, or down; None if nobody tells."""
        link = self._known.get(port)
        return None if link is None else max(0.0, self._clock() - link.since)

    def reason(self, port: int) -> str:
        """Why a port is down; empty if it is not known to be."""
        link = self._known.get(port)
        return "" if link is None else link.reason

    async def run(self) -> NoReturn:
        """Follow the states for ever. Afterwards, however it ends, nothing is known. Raises SwitchUnreachable."""
        try:
            with contextlib.suppress(NoSuchService):
                await self._follow_switch()
            if self._interfaces:
                await self._follow_interfaces()
            why = "the switch does not tell how its ports are, and no interfaces are named"
            self._log.info("links-unknown", why=why)
            self._know({})
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody completes it")
        finally:
            self._trust()
            self._known, self._down = {}, frozenset()

    async def _follow_switch(self) -> NoReturn:
        """Raises NoSuchService, SwitchUnreachable."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LAST_S)
        while True:
            backoff.begin()
            try:
                async with contextlib.aclosing(self._client.watch_ports()) as answers:
                    async for states in answers:
                        self._take(states)
                        await asyncio.sleep(PACE_S)
                why = f"{self._client.name}: the switch ended it"
            except ReadRefused as error:
                why = str(error)
            await self._again(why, backoff)

    def _take(self, states: PortStates) -> None:
        self.refused += len(states.faults)
        if states.faults:
            self._write("warning", "port-states-refused", what=states.faults[0], faults=len(states.faults))
        self._know(states.reasons)

    async def _follow_interfaces(self) -> NoReturn:
        backoff = Backoff(RETRY_FIRST_S, RETRY_LAST_S)
        while True:
            backoff.begin()
            try:
                with contextlib.closing(InterfaceStates(sorted(set(self._interfaces.values())))) as interfaces:
                    async with contextlib.aclosing(interfaces.follow()) as looks:
                        async for found in looks:
                            self._know({port: found[name] for port, name in self._interfaces.items() if name in found})
                why = "the kernel ended it"
            except OSError as error:
                why = str(error)
            await self._again(why, backoff)

    async def _again(self, why: str, backoff: Backoff) -> None:
        """Nobody tells how the ports are, for now: what was told counts for a while, and no longer."""
        self._write("warning", "links-interrupted", why=why)
        if self._forgetting is None and self._known:
            self._forgetting = asyncio.get_running_loop().call_later(DOUBT_S, self._know, {})
        await asyncio.sleep(backoff.pause_s())

    def _trust(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None

    def _know(self, reasons: Mapping[int, str]) -> None:
        """The ports are so, and nothing is known of others."""
        self._trust()
        now = self._clock()
        known: dict[int, _Link] = {}
        for port, reason in reasons.items():
            before = self._known.get(port)
            is_same = before is not None and bool(before.reason) == bool(reason)
            known[port] = _Link(reason, before.since if before is not None and is_same else now)
        before_all, self._known = self._known, known
        for port in sorted(before_all.keys() | known.keys()):
            self._tell(port, before_all.get(port), known.get(port))
        down = frozenset(port for port, link in known.items() if link.reason)
        if down != self._down:
            self._down = down
            self._changed()

    def _tell(self, port: int, before: _Link | None, link: _Link | None) -> None:
        """A port that was up from the beginning is no news, nor is one that is as it was."""
        was, is_now = "" if before is None else before.reason, None if link is None else link.reason
        if is_now and was != is_now:
            self._write("warning", "port-down", port=port, why=is_now)
        elif was and is_now == "":
            self._write("info", "port-up", port=port)
        elif was and is_now is None:
            self._write("warning", "port-unknown", port=port, why="nobody tells any more how it is")

    def _write(self, level: str, event: str, **said: object) -> None:
        if not self._lines.take(self._clock()):
            self._unwritten += 1
            return
        more, self._unwritten = self._unwritten, 0
        getattr(self._log, level)(event, **said, **({"lines_left_out": more} if more else {}))
