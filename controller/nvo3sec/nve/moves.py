# SPDX-License-Identifier: Apache-2.0
"""What tenants and hypervisors announce at a VAP where it is not permitted: as if a system had moved there, or somebody
would like its addresses. It is a hint, and is never believed: the NVA is asked who has them, operators are told, and
nothing is changed. That an attachment goes to another place is announced by its hypervisor (`nvo3sec nve move`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, NveView, Report
from nvo3sec.domain.overlay.addresses import format_mac, mac_fault, unicast_fault
from nvo3sec.domain.overlay.model import Vap, Vn
from nvo3sec.domain.switch.announcements import Announced, parse_announcement, parse_reverse_arp
from nvo3sec.domain.switch.frames import untagged
from nvo3sec.errors import cause_of
from nvo3sec.p4runtime import PacketIn
from nvo3sec.system.uptime import uptime_s

EVENT = "announced-elsewhere"
PAUSE_S = 60.0
"""Between two reports of what one VAP announces: a tenant that announces everybody fills no list of reports."""
ANSWER_TIMEOUT_S = 5.0


class MoveHints:
    """The hints at one NVE, in one session. ask: the NVA, who has an address. tell: operators. clock: seconds."""

    def __init__(
        self,
        nve: str,
        ask: Callable[[Lookup], Awaitable[LookupAnswer]],
        tell: Callable[[Report], Awaitable[None]],
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._nve = nve
        self._ask = ask
        self._tell = tell
        self._clock = clock
        self._told: dict[tuple[int, int], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("nve.moves").bind(nve=nve)

    def close(self) -> None:
        """Tell nothing any more."""
        for task in self._tasks:
            task.cancel()

    def heard(self, packet: PacketIn, view: NveView, vap: Vap, vn: Vn) -> str:
        """The switch sent up what its source guard has refused at `vap`; returns what became of it, in a word."""
        frame = untagged(packet.frame)
        found = parse_announcement(frame, packet["frame_length"]) or parse_reverse_arp(frame)
        if found is None or mac_fault(found.mac) is not None or any(unicast_fault(ip) is not None for ip in found.ips):
            return "move-malformed"
        if _is_at_home(found, view, vap):
            return "move-at-home"
        now = self._clock()
        if now < self._told.get(vap.place, -PAUSE_S) + PAUSE_S:
            return "move-not-told"
        places = {one.place for one in view.vaps}
        self._told = {place: at for place, at in self._told.items() if place in places} | {vap.place: now}
        task = asyncio.create_task(self._report(found, view, vap, vn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return "move-told"

    async def _report(self, found: Announced, view: NveView, vap: Vap, vn: Vn) -> None:
        ips = "".join(f", {ip}" for ip in found.ips)
        where = f"announced at port {vap.port} VLAN {vap.vlan}, and is not permitted there"
        try:
            whose = await self._whose(found, view, vn)
            report = Report(EVENT, f"{format_mac(found.mac)}{ips} of {vn.name} is {where}; {whose}")
            self._log.warning("announced elsewhere", detail=report.detail)
            await self._tell(report)
        except Exception as error:  # noqa: BLE001  # nobody awaits this task, and one hint is only one
            self._log.warning("hint not told", port=vap.port, vlan=vap.vlan, error=cause_of(error))

    async def _whose(self, found: Announced, view: NveView, vn: Vn) -> str:
        answers = []
        for query in (Lookup(vn.vni, found.mac), *(Lookup(vn.vni, None, ip) for ip in found.ips[:1])):
            what = format_mac(found.mac) if query.mac is not None else str(query.ip)
            answers.append(f"{what} {self._place(await self._look_up(query), query, view, vn)}")
        return ", ".join(answers)

    async def _look_up(self, query: Lookup) -> LookupAnswer | None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._ask(query)
        except TimeoutError:
            return None

    def _place(self, answer: LookupAnswer | None, query: Lookup, view: NveView, vn: Vn) -> str:
        for one in view.tenant_systems:
            if one.vn == vn.name and (one.mac == query.mac or query.ip in one.ips):
                return f"is attached here at port {one.port} VLAN {one.vlan}"
        if answer is None:
            return "is perhaps somebody's: the NVA did not answer in time"
        match answer.result:
            case LookupResult.FOUND:
                return f"is behind {answer.nve}"
            case LookupResult.UNKNOWN:
                return "is nobody's"
        return f"is perhaps somebody's: the NVA says {answer.result.value}"


def _is_at_home(found: Announced, view: NveView, vap: Vap) -> bool:
    """Whether the system is permitted there, with all that it announces: reverse ARP is refused everywhere."""
    there = [(one.port, one.vlan, one.mac, one.ips) for one in view.tenant_systems]
    there += [(one.port, one.vlan, one.mac, one.ips) for one in view.guards]
    permitted = [ips for *place, mac, ips in there if (*place, mac) == (*vap.place, found.mac)]
    return bool(permitted) and set(found.ips) <= {ip for ips in permitted for ip in ips}
