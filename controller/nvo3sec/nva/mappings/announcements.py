# SPDX-License-Identifier: Apache-2.0
"""Announcements of agents, collected for one commit: what comes while a commit is under way goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from nvo3sec.domain.mapping import Attach, Claimed, Detach, Event, Move, Outcome, Place, Reason, Reported, Scope, Status
from nvo3sec.domain.messages.session import Announcement, Attachment, AttachmentAnswer, Release, Report, Sign
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.nva.store.errors import ChangeRefused, StoreError
from nvo3sec.system.aio import answer_future

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
        case Sign(port=port, vlan=vlan, vni=vni, mac=mac, ip=ip):
            return Claimed(nve, port, vlan, vni, mac, ip)
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
    return Attach(nve, one.port, one.vlan, one.vni, one.mac, one.ips, one.host, one.again)


def announced_by(
    nve: str, attachments: Sequence[Attachment], domain: Domain, scope: Scope
) -> tuple[tuple[Attach, ...], Report | None]:
    """All that `nve` announces with its registration, and a report if that is more than it can have.

    What is beyond would be refused one by one, which takes seconds for as many as fit into a message. What was attached
    to a VN is announced in the VN of that name, whatever its number is now; if there is none, it is not announced.
    """
    most = domain.mapping_limits.claims_per_nve + len(domain.tenant_systems_of(nve))
    by_name = (_of_now(domain, one) for one in attachments[:most])
    announced = tuple(attach_of(nve, one) for one in by_name if is_of_its_vn(domain, scope, nve, one))
    if len(attachments) <= most:
        return announced, None
    return announced, Report("attachments-left-out", f"{len(attachments)}, of at most {most}")


def _of_now(domain: Domain, one: Attachment) -> Attachment:
    """Under the number that its VN has now: who registers may have been away when it changed. Nobody asked it to."""
    known = domain.vn_by_name.get(one.vn)
    return replace(one, vni=one.vni if known is None else known.vni, again=True)


def report_of(effect: Reported) -> Report:
    """What operators are told of a mapping. The event says what has happened, and the detail to whom, and why."""
    why = f": {effect.reason}" if effect.reason else ""
    other = f"; {effect.other} is in its way" if effect.other else ""
    return Report(effect.told.value, f"VNI {effect.vni}: {effect.key}{why}{other}")


def is_of_its_vn(domain: Domain, scope: Scope, nve: str, announcement: Announcement) -> bool:
    """Whether the VAPs that an announcement names are of the VN that it names: that VN is what was authorized.

    And whether the VN is the one that its number stood for when the tenant system was attached.
    """
    match announcement:
        case Attachment(vni=vni, vn=vn) | Sign(vni=vni, vn=vn):
            known = domain.vn_by_number.get(vni)
            return not vn or (known is not None and known.name == vn)  # the mapping service compares the VAP
        case Release(port=port, vlan=vlan, vni=vni):
            return scope.vaps.get(Place(nve, port, vlan)) == vni
        case _:
            there = announcement.to
            if not is_of_its_vn(domain, scope, nve, there):
                return False
            places = (Place(nve, announcement.port, announcement.vlan), Place(nve, there.port, there.vlan))
            return all(scope.vaps.get(place) == there.vni for place in places)


def answer_of(outcome: Outcome) -> AttachmentAnswer:
    """What the announcer is told."""
    return AttachmentAnswer(outcome.status, outcome.reason.value)


NOT_SERVED = AttachmentAnswer(Status.REFUSED, Reason.NOT_SERVED.value)


class EventCollector:
    """Collects events until the event loop gets to it, and has them handled together."""

    def __init__(self, handle: HandleAll) -> None:
        self._handle = handle
        self._waiting: list[tuple[Event, asyncio.Future[AttachmentAnswer]]] = []

    async def announce(self, event: Event) -> AttachmentAnswer:
        """The answer, once it is durable. Raises StoreError."""
        future: asyncio.Future[AttachmentAnswer] = answer_future()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append((event, future))
        return await future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._answer(batch)

    def _answer(self, batch: list[tuple[Event, asyncio.Future[AttachmentAnswer]]]) -> None:
        try:
            outcomes = self._handle([event for event, _ in batch])
        except Exception as error:  # noqa: BLE001  # whoever waits has to learn of it, whatever it is
            if len(batch) > 1 and (not isinstance(error, StoreError) or isinstance(error, ChangeRefused)):
                for one in batch:  # nothing has happened, and it is nobody's fault but that of one
                    self._answer([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(answer_of(outcome))
