# SPDX-License-Identifier: Apache-2.0
"""Keeps what was learned about tenant systems elsewhere up to date: asks, takes pushes, asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from nvo3sec.domain.mapping.learned import LearnedMappings, Name, Overtaken
from nvo3sec.domain.mapping.lookups import Wanted
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, MappingUpdate
from nvo3sec.domain.switch.desired import Learned
from nvo3sec.errors import Nvo3secError, cause_of
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.system.uptime import uptime_s

REFRESH_S = 5.0
"""How often is looked which mappings have grown old."""
BUSY_S = 1.0
OVERTAKEN = LookupAnswer(LookupResult.UNKNOWN, 0.0)
"""In place of an answer about what changed while it was under way."""


class MappingLookups:
    """The learned mappings of one switch, through one session.

    changed: called when what was learned is different. appeared: called with each address that exists now. missed:
    called with a VN of which changes are missing, so that any address may exist now.
    """

    def __init__(
        self,
        session: NvaSession,
        mappings: LearnedMappings,
        changed: Callable[[], None],
        appeared: Callable[[Wanted], None],
        missed: Callable[[int], None],
    ) -> None:
        self._session = session
        self.mappings = mappings
        self._changed = changed
        self._appeared = appeared
        self._missed = missed
        self._doubtful: dict[Name, None] = {}
        self._log = structlog.get_logger("nve.learning")
        self._doubt = asyncio.Event()

    async def look_up(self, query: Lookup) -> tuple[LookupAnswer, Learned | None]:
        """Ask the NVA: its answer, and what was learned if it is behind another NVE.

        An answer that was overtaken by a change is OVERTAKEN, which is good for no time. Raises NvaUnreachable,
        AuthorizationError.
        """
        number = self.mappings.asking(query)
        try:
            answer = await self._session.look_up(query)
        except BaseException:
            self.mappings.unanswered(query, number)
            raise
        try:
            return answer, self.mappings.answered(query, number, answer, uptime_s())
        except Overtaken:
            return OVERTAKEN, None

    def apply(self, update: MappingUpdate) -> None:
        """Take a push."""
        applied = self.mappings.apply(update)
        for wanted in applied.appeared:
            self._appeared(wanted)
        if applied.changed:
            self._changed()
        if applied.gap:
            self._missed(update.vni)
        self.doubt(applied.ask_again)

    def begin(self, found: Iterable[Name]) -> None:
        """A session begins. found: what the switch holds; it was learned once, so ask again rather than forget it.

        And what an earlier session left in doubt, or has not followed, is as doubtful now.
        """
        self.mappings.doubt_unplaced()
        self.doubt(name for name in found if not self.mappings.knows(name))
        self.doubt(self.mappings.grown_old(uptime_s()))

    def doubt(self, names: Iterable[Name]) -> None:
        """Nobody knows whether this is still so."""
        self._doubtful.update(dict.fromkeys(names))
        if self._doubtful:
            self._doubt.set()

    async def run(self) -> None:
        """Ask again about what is doubtful, and about what has grown old, for ever."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._doubt.wait()
            except TimeoutError:
                self.doubt(self.mappings.grown_old(uptime_s()))
            self._doubt.clear()
            before = self.mappings.all
            await self.settle_doubts()
            if self.mappings.all != before:
                self._changed()

    async def settle_doubts(self) -> None:
        """Ask about everything that is doubtful. A NVA that is busy is asked later; until then it stays as it is."""
        while self._doubtful:
            name = next(iter(self._doubtful))
            vni, mac = name
            try:
                answer, learned = await self.look_up(Lookup(vni, mac=mac))
            except Nvo3secError:
                raise
            except Exception as error:  # noqa: BLE001  # one address; what was learned of it is not trusted
                self._log.error("lookup failed", vni=vni, error=cause_of(error))
                del self._doubtful[name]
                self.mappings.forget(name)
                continue
            if answer.result is LookupResult.BUSY:
                await asyncio.sleep(BUSY_S)
                continue
            if answer is OVERTAKEN:
                continue  # as doubtful as before
            del self._doubtful[name]
            if learned is None and answer.valid_s > 0:
                self.mappings.forget(name)
