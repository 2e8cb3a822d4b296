# SPDX-License-Identifier: Apache-2.0
"""Announcements of agents, collected for one commit: what comes while a commit is under way goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from nvo3sec.domain.mapping import Attach, Detach, Event, Move, Outcome, Place, Reason, Scope, Status
from nvo3sec.domain.messages import Announcement, Attachment, AttachmentAnswer, Release

HandleAll = Callable[[Sequence[Event]], Sequence[Outcome]]
"""Makes events durable and tells everybody; returns an outcome for each. Raises StoreError."""

BATCH = 1024


def event_of(nve: str, announcement: Announcement) -> Event:
    """What `nve`, whose identity is authenticated, announces."""
    match announcement:
        case Attachment():
            return attach_of(nve, announcement)
        case Release(port=port, vlan=vlan, mac=mac, successor=successor, host=host):
            return Detach(nve, port, vlan, mac, successor or None, host)
        case _:
            there = announcement.to
            return Move(
                nve,
                announcement.port,
                announcement.vlan,
                there.port,
                there.vlan,
                there.mac,
                there.ips,
                there.host,
            )


def attach_of(nve: str, one: Attachment) -> Attach:
    """An attachment as the mapping service knows it."""
    return Attach(nve, one.port, one.vlan, one.vni, one.mac, one.ips, one.host)


def is_of_its_vn(scope: Scope, nve: str, announcement: Announcement) -> bool:
    """Whether the VAPs that an announcement names are of the VN that it names: that VN is what was authorized."""
    match announcement:
        case Attachment():
            return True  # the mapping service compares it
        case Release(port=port, vlan=vlan, vni=vni):
            return scope.vaps.get(Place(nve, port, vlan)) == vni
        case _:
            there = announcement.to
            places = (Place(nve, announcement.port, announcement.vlan), Place(nve, there.port, there.vlan))
            return all(scope.vaps.get(place) == there.vni for place in places)


def answer_of(outcome: Outcome) -> AttachmentAnswer:
    """What the announcer is told."""
    return AttachmentAnswer(outcome.status, outcome.reason.value)


NOT_SERVED = AttachmentAnswer(Status.REFUSED, Reason.NOT_SERVED.value)


class Announcing:
    """Collects events until the event loop gets to it, and has them handled together."""

    def __init__(self, handle: HandleAll) -> None:
        self._handle = handle
        self._waiting: list[tuple[Event, asyncio.Future[AttachmentAnswer]]] = []

    async def announce(self, event: Event) -> AttachmentAnswer:
        """The answer, once it is durable. Raises StoreError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AttachmentAnswer] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((event, future))
        return await future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        try:
            outcomes = self._handle([event for event, _ in batch])
        except Exception as error:  # noqa: BLE001  # whoever waits has to learn of it, whatever it is
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(answer_of(outcome))
