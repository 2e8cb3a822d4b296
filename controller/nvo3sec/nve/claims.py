# SPDX-License-Identifier: Apache-2.0
"""Announcements of tenant systems that share addresses with others: each may claim them, and the NVA decides.

A router of VRRP announces itself every second and gratuitous ARP comes in volleys, so an announcement is a claim only
while the addresses are not here, and one set of addresses has one claim under way. What the NVA refuses is not asked
for again at once. So a tenant costs the NVA at most one question a second for each place where it shares addresses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from nvo3sec.domain.mapping import Reason
from nvo3sec.domain.messages.session import Announcement, AttachmentAnswer, ClaimPlace, NveView, Sign, Standing
from nvo3sec.domain.overlay.addresses import IpAddress, unicast_fault
from nvo3sec.domain.overlay.model import Vap, Vn
from nvo3sec.domain.switch.announcements import parse_announcement
from nvo3sec.domain.switch.frames import untagged
from nvo3sec.errors import cause_of
from nvo3sec.p4runtime import PacketIn
from nvo3sec.system.uptime import uptime_s

ANSWER_TIMEOUT_S = 5.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 8.0
"""After one claim of a place, before the next; twice as long after each that was refused."""


@dataclass
class _Claim:
    """Of one place and set: when it may claim next, and how long it waits if that is refused."""

    not_before: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    task: asyncio.Task[None] | None = None
    said: str = ""


class SharedAddressClaims:
    """Claims shared addresses for who announces them behind one NVE.

    announce: tells the NVA. view: what the NVE serves now, or None. counts: what became of each announcement. clock:
    seconds.
    """

    def __init__(
        self,
        nve: str,
        announce: Callable[[Announcement], Awaitable[AttachmentAnswer]],
        view: Callable[[], NveView | None],
        counts: Counter[str],
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._announce = announce
        self._view = view
        self._counts = counts
        self._clock = clock
        self._claims: dict[ClaimPlace, _Claim] = {}
        self._log = structlog.get_logger("nve.claiming").bind(nve=nve)

    def close(self) -> None:
        """Claim nothing any more."""
        for claim in self._claims.values():
            if claim.task is not None:
                claim.task.cancel()

    def heard(self, packet: PacketIn, vap: Vap, vn: Vn) -> None:
        """The switch sent up an announcement, which came from `vap` and passed its source guard."""
        found = parse_announcement(untagged(packet.frame), packet["frame_length"])
        view = self._view()
        if found is None or view is None or any(unicast_fault(ip) is not None for ip in found.ips):
            self._counts["announcement-malformed"] += 1
            return
        if not found.ips:
            self._counts["announcement-gives-up"] += 1
            return
        self._forget_others(view.claim_places)
        meant = [one for one in view.claim_places if (one.place, one.mac) == (vap.place, found.mac)]
        meant = [one for one in meant if not set(one.ips).isdisjoint(found.ips)]
        if not meant:
            self._counts["announcement-hint"] += 1  # an address that is nobody's to fail over with
        for one in meant:
            self._claim(one, next(ip for ip in found.ips if ip in one.ips), view, vn)

    def _claim(self, one: ClaimPlace, ip: IpAddress, view: NveView, vn: Vn) -> None:
        claim = self._claims.setdefault(one, _Claim())
        if _is_here(view, one, ip):
            self._counts["announcement-here"] += 1
            claim.pause_s = FIRST_PAUSE_S
        elif claim.task is not None or self._clock() < claim.not_before:
            self._counts["announcement-waits"] += 1
        else:
            self._counts["announcement-claims"] += 1
            claim.task = asyncio.create_task(self._ask(claim, one, ip, vn))

    def _forget_others(self, places: Iterable[ClaimPlace]) -> None:
        """But those whose claims are still under way."""
        known = set(places)
        for one in [one for one, claim in self._claims.items() if one not in known and claim.task is None]:
            del self._claims[one]

    async def _ask(self, claim: _Claim, one: ClaimPlace, ip: IpAddress, vn: Vn) -> None:
        sign = Sign(one.port, one.vlan, vn.vni, one.mac, ip, vn.name)
        try:
            answer = await self._sign(sign)
            if answer.reason == Reason.TOO_SOON.value:
                # They have moved within this second. Who announced them once only is heard when it is over.
                await asyncio.sleep(FIRST_PAUSE_S)
                view = self._view()
                if view is not None and one in view.claim_places and not _is_here(view, one, ip):
                    answer = await self._sign(sign)
            self._answered(claim, one, answer.standing is Standing.ACTIVE, answer.reason)
        except Exception as error:  # noqa: BLE001  # nobody awaits this task, and one claim is only one
            self._answered(claim, one, False, cause_of(error))
        finally:
            claim.task = None

    async def _sign(self, sign: Sign) -> AttachmentAnswer:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._announce(sign)
        except TimeoutError:
            raise TimeoutError("no answer in time") from None

    def _answered(self, claim: _Claim, one: ClaimPlace, is_granted: bool, why: str) -> None:
        self._counts["claim-granted" if is_granted else "claim-refused"] += 1
        claim.not_before = self._clock() + claim.pause_s
        claim.pause_s = FIRST_PAUSE_S if is_granted else min(2 * claim.pause_s, LAST_PAUSE_S)
        if not is_granted and why != claim.said:
            self._log.warning("claim refused", port=one.port, vlan=one.vlan, ips=[str(ip) for ip in one.ips], why=why)
        claim.said = "" if is_granted else why


def _is_here(view: NveView, one: ClaimPlace, ip: IpAddress) -> bool:
    systems = (system for system in view.tenant_systems if (system.port, system.vlan) == one.place)
    return any(system.mac == one.mac and ip in system.ips for system in systems)
