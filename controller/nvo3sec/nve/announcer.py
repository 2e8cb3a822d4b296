# SPDX-License-Identifier: Apache-2.0
"""Announces anew what is attached and went without anybody's decision: with its VN, with its VAP, with a lease.

A tenant system is attached to a VN, by its name, at a VAP. Whenever that VAP is one of that VN and the NVA has nothing
of the tenant system, it is announced under the number that the VN has now; into another VN it never is. What was
decided stays: what the NVA has frozen is left to it, what an operator has evicted is refused and then forgotten, and
what had no address when its VAP went does not race for one with its owner when the VAP is back.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

import structlog

from nvo3sec.domain.mapping.events import Reason
from nvo3sec.domain.mapping.model import vap_words
from nvo3sec.domain.mapping.reasons import words_of
from nvo3sec.domain.messages.session import (
    Announcement,
    Attachment,
    AttachmentAnswer,
    NveView,
    Release,
    Report,
    Sign,
    Standing,
)
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.errors import NvaGoneBack, NvaUnreachable, Nvo3secError, OperatorError, VersionMismatch, cause_of
from nvo3sec.nve.agent_memory import AgentMemory, Place, place_of
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.system.aio import Backoff
from nvo3sec.system.uptime import uptime_s

EVENT = "not-announced-anew"
"""The report of who was refused."""
PACE = Rate(25, 256)
"""Announcements: below what the NVA takes of one NVE, so that there is room for those that operators ask for."""
RETRY_FIRST_S, RETRY_LAST_S = 0.2, 5.0

ACTIVE, WAITING, NOT_SERVED = "active", "waiting", "not-served"


class State(NamedTuple):
    """How an attachment stands: ACTIVE, WAITING or NOT_SERVED, and for people what it waits for, or what is missing."""

    word: str
    why: str = ""


class Announcer:
    """Of one agent, for all its sessions. memory: what is attached.

    `lock` is held by whoever announces: between what the NVA answers and what is remembered nobody else says anything.
    """

    def __init__(self, nve: str, memory: AgentMemory) -> None:
        self.lock = asyncio.Lock()
        self.refused = 0
        """Announcements that came to nothing."""
        self._memory = memory
        self._vaps: dict[tuple[int, int], str] = {}
        self._vnis: dict[str, int] = {}
        self._there: dict[Place, tuple[str, tuple[IpAddress, ...]]] = {}
        self._had: dict[Place, tuple[IpAddress, ...]] = {}
        self._answers: dict[Place, AttachmentAnswer] = {}
        self._overtaken: set[Place] = set()
        """Frozen, and the VN has changed since the NVA said why."""
        self._part: dict[Place, tuple[IpAddress, ...]] = {}
        self._lost: set[Place] = set()
        self._told: dict[Place, str] = {}
        """What was said of who was refused, until it is there."""
        self._wake = asyncio.Event()
        self._pace = TokenBucket(PACE, uptime_s())
        self._log = structlog.get_logger("nve").bind(nve=nve)

    @property
    def standing(self) -> tuple[str, ...]:
        """What of what was told is still so, event first."""
        return tuple(f"{EVENT}: {detail}" for detail in self._told.values())

    # --- what the NVA says ------------------------------------------------------------------------------------------

    def follow(self, view: NveView, *, whole: bool) -> None:
        """What the NVE serves, and what stands behind it. whole: the former may be new, too.

        A change of what is served can lift what an announcement was refused for. What was answered to be active and is
        not there is either not in this state yet, and then it does no harm to say it again, or is gone by now.
        """
        self._vaps = {vap.place: vap.vn for vap in view.vaps}
        self._vnis = {vn.name: vn.vni for vn in view.vns}
        self._there = {(one.port, one.vlan, one.mac): (one.vn, one.ips) for one in view.tenant_systems}
        self._keep_answers(frozenset({Standing.FROZEN} if whole else {Standing.FROZEN, Standing.REFUSED}))
        for place, one in self._memory.attachments.items():
            self._follow_one(place, one)
        self._prune()
        self._wake.set()

    def _follow_one(self, place: Place, one: Attachment) -> None:
        has = self._has(one)
        if not self._is_served(one):
            answer = self._answers.pop(place, None)
            if answer is not None and answer.standing is Standing.FROZEN:
                # Its claim is gone with its VAP, and so is that of the owner, which is to be the first again.
                if place in self._had:
                    self._part[place] = self._had[place]
                else:
                    self._lost.add(place)
            return
        if has is None:
            self._had.pop(place, None)
            return
        self._had[place] = has
        self._lost.discard(place)
        if self._is_active(one):
            self._answers.pop(place, None)
            self._part.pop(place, None)
            self._told.pop(place, None)

    def changed(self, vni: int) -> None:
        """Mappings of a VN have changed: what was answered before can be frozen for another reason by now."""
        for place, answer in self._answers.items():
            one = self._memory.attachments.get(place)
            if one is not None and self._vnis.get(one.vn) == vni and answer.standing is Standing.FROZEN:
                self._overtaken.add(place)

    def answered(self, announcement: Announcement, answer: AttachmentAnswer) -> None:
        """What came of an announcement that somebody has asked for."""
        if isinstance(announcement, Sign) or answer.standing is Standing.REFUSED:
            return
        here = announcement if isinstance(announcement, Attachment | Release) else announcement.to
        place = here.port, here.vlan, here.mac
        self._lost.discard(place)
        self._part.pop(place, None)
        if isinstance(announcement, Release):
            self._prune()
        else:
            self._take(place, answer)
        # What went made room, perhaps.
        self._keep_answers(frozenset({Standing.FROZEN, Standing.ACTIVE}))
        self._wake.set()

    def _take(self, place: Place, answer: AttachmentAnswer) -> None:
        self._answers[place] = answer
        self._overtaken.discard(place)

    def _keep_answers(self, standings: frozenset[Standing]) -> None:
        self._answers = {place: one for place, one in self._answers.items() if one.standing in standings}

    def _prune(self) -> None:
        known = self._memory.attachments.keys()
        for places in (self._had, self._answers, self._part, self._told):
            for place in [one for one in places if one not in known]:
                del places[place]
        self._lost &= known
        self._overtaken &= known

    # --- what is so -------------------------------------------------------------------------------------------------

    def _is_served(self, one: Attachment) -> bool:
        return bool(one.vn) and one.vn in self._vnis and self._vaps.get((one.port, one.vlan)) == one.vn

    def _has(self, one: Attachment) -> tuple[IpAddress, ...] | None:
        vn, ips = self._there.get(place_of(one), ("", None))
        return ips if one.vn in ("", vn) else None

    def _is_active(self, one: Attachment) -> bool:
        has = self._has(one)
        return has is not None and set(one.ips) <= set(has)

    def _is_due(self, one: Attachment) -> bool:
        place = place_of(one)
        is_settled = place in self._answers or place in self._lost
        return self._is_served(one) and not self._is_active(one) and not is_settled

    def state(self, one: Attachment) -> State:
        """How an attachment stands."""
        place, at = place_of(one), vap_words(one.port, one.vlan)
        if self._is_active(one):
            return State(ACTIVE)
        if not one.vn:
            return State(NOT_SERVED, f"VNI {one.vni} was attached to before VNs had names here")
        if not self._is_served(one):
            if other := self._vaps.get((one.port, one.vlan)):
                return State(NOT_SERVED, f"{at} is VN {other}'s")
            is_known = one.vn in self._vnis
            return State(NOT_SERVED, f"{at} is no VAP" if is_known else f"VN {one.vn} is not served here")
        if place in self._lost:
            return State(WAITING, "for somebody to attach it: it had no address when its VAP went")
        answer = self._answers.get(place)
        if answer is None or answer.standing is Standing.ACTIVE:
            return State(WAITING, "for the NVA")
        later = "; the VN has changed since, `nve attach` asks anew" if place in self._overtaken else ""
        return State(WAITING, _said(answer) + later)

    # --- what is done -----------------------------------------------------------------------------------------------

    async def run(self, session: NvaSession) -> None:
        """Announce what is due, through one session. Raises NvaGoneBack; for all else there is another attempt."""
        self._answers.clear()  # it has been told everything anew, with the registration
        backoff = Backoff(RETRY_FIRST_S, RETRY_LAST_S)
        while True:
            await self._wake.wait()
            self._wake.clear()
            backoff.begin()
            if not await self._announce_all(session):
                await asyncio.sleep(backoff.pause_s())
                self._keep_answers(frozenset({Standing.FROZEN, Standing.ACTIVE}))
                self._wake.set()

    async def _announce_all(self, session: NvaSession) -> bool:
        """Whether all of it was answered for good."""
        is_over, has_asked = True, False
        for place in tuple(self._memory.attachments):
            one = self._memory.attachments.get(place)
            if one is None or not self._is_due(one):
                continue
            while not self._pace.take(uptime_s()):
                await asyncio.sleep(1 / PACE.per_second)
            async with self.lock:  # and looked at again: it may be gone by now, or somewhere else
                one = self._memory.attachments.get(place)
                if one is None or not self._is_due(one):
                    continue
                answer = await self._announce(session, one)
                if answer is not None and answer.reason == Reason.NO_LEASE.value and not has_asked:
                    has_asked = True  # who served nothing has none, and the next one is not due yet
                    if await self._ask_for_time(session):
                        answer = await self._announce(session, one)
                if answer is None or answer.reason == Reason.NO_LEASE.value:
                    is_over = False
                if answer is not None:
                    await self._note(session, one, answer)
        return is_over

    async def _announce(self, session: NvaSession, one: Attachment) -> AttachmentAnswer | None:
        """None if there is no answer, for now."""
        place = place_of(one)
        asked = replace(one, vni=self._vnis[one.vn], ips=self._part.get(place, one.ips), again=True)
        try:
            return await session.announce(asked)
        except NvaGoneBack:
            raise
        except VersionMismatch as error:
            return AttachmentAnswer(Standing.REFUSED, str(error))
        except NvaUnreachable:
            return None  # the session is over, or the NVA has much to do
        except Nvo3secError as error:
            return AttachmentAnswer(Standing.REFUSED, str(error))
        except Exception as error:  # noqa: BLE001  # what goes wrong with one is nothing to the others
            return AttachmentAnswer(Standing.REFUSED, cause_of(error))

    async def _ask_for_time(self, session: NvaSession) -> bool:
        try:
            await session.renew_lease(self._memory.marks)
        except NvaGoneBack:
            raise
        except Nvo3secError:
            return False
        return True

    async def _note(self, session: NvaSession, one: Attachment, answer: AttachmentAnswer) -> None:
        place = place_of(one)
        self._take(place, answer)
        what = f"{format_mac(one.mac)} at {vap_words(one.port, one.vlan)}"
        if answer.standing is Standing.REFUSED and answer.reason == Reason.EVICTED.value:
            self._forget(place, what)
            return
        if answer.standing is Standing.REFUSED:
            self.refused += 1
            detail = f"{what} in VN {one.vn}: {_said(answer)}"
            if self._told.get(place) != detail:
                self._told[place] = detail
                self._log.warning("not announced anew", what=detail, refused=self.refused)
                await session.report(Report(EVENT, detail))
            return
        self._told.pop(place, None)
        if answer.standing is Standing.ACTIVE:
            self._part.pop(place, None)
            self._log.info("announced anew", what=what, vn=one.vn, vni=self._vnis.get(one.vn))

    def _forget(self, place: Place, what: str) -> None:
        try:
            self._memory.drop(place)
        except OperatorError as error:  # the NVA says it again when the next session asks
            self._log.warning("not forgotten", what=what, error=str(error))
        else:
            self._log.info("forgotten: an operator has evicted it", what=what)  # who did it knows


def _said(answer: AttachmentAnswer) -> str:
    return words_of(answer.reason) or answer.reason or answer.standing.value
