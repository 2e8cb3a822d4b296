# SPDX-License-Identifier: Apache-2.0
"""Packets that the pipeline sent up: unknown destinations and unknown neighbors of tenants behind this NVE, what
tenants announce that share addresses with others (`claims.py`), what is announced where it must not be (`moves.py`),
what is longer than its tunnel carries (`path_mtu.py`).

Each of the unknown becomes at most one question to the NVA. A found destination is installed first, then the packet
that asked for it goes on its way if it came up whole; a found neighbor is installed, and its question answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from nvo3sec.domain.mapping.lookups import LookupPolicy, Verdict, Wanted
from nvo3sec.domain.messages.session import Announcement, AttachmentAnswer, Lookup, LookupAnswer, LookupResult, NveView
from nvo3sec.domain.overlay.addresses import mac_fault, unicast_fault
from nvo3sec.domain.overlay.model import Vap, Vn
from nvo3sec.domain.switch.desired import Learned
from nvo3sec.domain.switch.frames import destination_of, neighbor_reply, parse_question, untagged
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.errors import cause_of
from nvo3sec.nve.claims import SharedAddressClaims
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.moves import MoveHints
from nvo3sec.nve.path_mtu import PathMtuAnswers
from nvo3sec.p4runtime import PacketIn, PacketOutOp, PuntReason
from nvo3sec.system.uptime import uptime_s

LOOKUP_TIMEOUT_S = 5.0


class PuntHandler:
    """Handles the punted packets of one NVE.

    look_up: asks the NVA; gives its answer and what was learned from it. install: returns when the switch has what was
    learned. context: the current view and numbers, or None while there are none. announce: tells the NVA. moves: takes
    what is announced where it is not permitted. path_mtu: knows what to answer to packets that their tunnels do not
    carry.
    """

    def __init__(
        self,
        driver: SwitchDriver,
        look_up: Callable[[Lookup], Awaitable[tuple[LookupAnswer, Learned | None]]],
        install: Callable[[], Awaitable[None]],
        context: Callable[[], tuple[NveView, Numbers] | None],
        announce: Callable[[Announcement], Awaitable[AttachmentAnswer]],
        moves: MoveHints | None = None,
        path_mtu: PathMtuAnswers | None = None,
    ) -> None:
        self._driver = driver
        self._ask_nva = look_up
        self._install = install
        self._context = context
        self._policy = LookupPolicy()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("nve.punts").bind(nve=driver.client.name)
        self.counts: Counter[str] = Counter()
        self._claiming = SharedAddressClaims(driver.client.name, announce, self._view, self.counts)
        self._moves = moves
        self._path_mtu = path_mtu
        self._since_us: int | None = None

    def close(self) -> None:
        """What comes from a VAP cannot be told from what came from another before: nothing is handled until `open`."""
        self._since_us = None

    @property
    def is_open(self) -> bool:
        """Is anything handled?"""
        return self._since_us is not None

    def open(self, since_us: int) -> None:
        """Everything that the switch sends up from now on (its own clock) came from the VAPs that there are."""
        if self._since_us is None:
            self._since_us = since_us

    async def run(self) -> None:
        """Handle packets for ever."""
        try:
            while True:
                packet = await self._driver.punts.get()
                try:
                    self._handle(packet)
                except Exception as error:  # noqa: BLE001  # one packet of a tenant, and no other's business
                    self._failed(packet["vni"], error)
        finally:
            for task in self._tasks:
                task.cancel()
            self._claiming.close()
            if self._moves is not None:
                self._moves.close()

    def _view(self) -> NveView | None:
        context = self._context()
        return None if context is None or self._since_us is None else context[0]

    def _handle(self, packet: PacketIn) -> None:
        context = self._context()
        if context is None or self._since_us is None or packet["timestamp"] < self._since_us:
            self.counts["before-configuration"] += 1
            return
        view, numbers = context
        found = _vap_of(packet, view, numbers)
        if found is not None and packet["reason"] == PuntReason.ANNOUNCEMENT:
            self._claiming.heard(packet, *found)
            return
        if found is not None and packet["reason"] == PuntReason.REFUSED_ANNOUNCEMENT and self._moves is not None:
            self.counts[self._moves.heard(packet, view, *found)] += 1
            return
        if found is not None and packet["reason"] == PuntReason.FRAME_TOO_BIG and self._path_mtu is not None:
            word, answer = self._path_mtu.heard(packet, view, *found)
            self.counts[word] += 1
            if answer is not None:
                self._start(self._tell(packet, found[0], answer))
            return
        wanted = _wanted(packet)
        if found is None or wanted is None:
            self.counts["not-understood"] += 1
            return
        vap, vn = found
        verdict = self._policy.ask(wanted, packet["interface"], vn.punt, uptime_s())
        self.counts[verdict.value] += 1
        if verdict is Verdict.ASK:
            self._start(self._look_up(wanted, packet, vap, vn))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, packet: PacketIn, vap: Vap, answer: bytes) -> None:
        """The sender of a packet that its tunnel does not carry."""
        try:
            await self._driver.client.packet_out(
                PacketOutOp.FORWARD, answer, egress_port=vap.port, interface=packet["interface"]
            )
        except Exception as error:  # noqa: BLE001  # nobody awaits this task; the tenant sends again, and is told then
            self._log.warning("answer not sent", port=vap.port, vlan=vap.vlan, error=cause_of(error))

    async def _look_up(self, wanted: Wanted, packet: PacketIn, vap: Vap, vn: Vn) -> None:
        negative_until: float | None = None
        try:
            # Not wait_for: before CPython 3.12 it forgets that it is cancelled if the answer is there by then.
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                answer, learned = await self._ask_nva(Lookup(wanted.vni, wanted.mac, wanted.ip))
            self.counts[f"answer-{answer.result.value}"] += 1
            if learned is not None:
                await self._found(wanted, learned, packet, vap, vn)
            elif answer.result is not LookupResult.FOUND:  # behind this NVE its own entries decide
                negative_until = uptime_s() + answer.valid_s
        except TimeoutError:
            self.counts["failed"] += 1
            self._log.warning("lookup failed", vni=wanted.vni, error="no answer in time")
        except Exception as error:  # noqa: BLE001  # nobody awaits this task, and one question is only one
            self._failed(wanted.vni, error)
        finally:
            self._policy.answered(wanted, negative_until, vn.negative_quota)

    def _failed(self, vni: int, error: Exception) -> None:
        self.counts["failed"] += 1
        self._log.warning("lookup failed", vni=vni, error=cause_of(error))

    def forget(self, wanted: Wanted) -> None:
        """The address exists: no negative answer about it is worth anything."""
        self._policy.forget(wanted)

    def forget_vn(self, vni: int) -> None:
        """Nobody knows which addresses of a VN exist: no negative answer about it is worth anything."""
        self._policy.forget_vn(vni)

    async def _found(self, wanted: Wanted, answer: Learned, packet: PacketIn, vap: Vap, vn: Vn) -> None:
        self._policy.forget(wanted)  # another VAP may have asked before it was there
        await self._install()
        if not self._is_still(packet, vap, vn):
            self.counts["not-forwarded"] += 1  # its VAP is gone, or is another VN's, whose number it may be
            return
        if packet["reason"] == PuntReason.UNKNOWN_NEIGHBOR:
            request = parse_question(untagged(packet.frame))
            if request is not None:
                await self._driver.client.packet_out(
                    PacketOutOp.FORWARD,
                    neighbor_reply(request, answer.mac),
                    egress_port=vap.port,
                    interface=packet["interface"],
                )
                self.counts["answered"] += 1
        else:
            await self._forward(answer, packet, vn)

    def _is_still(self, packet: PacketIn, vap: Vap, vn: Vn) -> bool:
        """Whether the interface that a packet came from is still that of the same VAP of the same VN."""
        context = self._context()
        found = None if context is None else _vap_of(packet, *context)
        return found is not None and (found[0].place, found[1].name) == (vap.place, vn.name)

    async def _forward(self, answer: Learned, packet: PacketIn, vn: Vn) -> None:
        context = self._context()
        if context is None:
            return
        view, numbers = context
        peer = next((p for p in view.peers if p.name == answer.nve), None)
        frame = untagged(packet.frame)
        if peer is None or len(frame) != packet["frame_length"]:
            self.counts["not-forwarded"] += 1  # cut on its way up, or to nowhere; its sender repeats it
            return
        await self._driver.client.packet_out(
            PacketOutOp.FORWARD,
            frame,
            egress_port=peer.port,
            interface=numbers.tunnels[peer.address],
            vni=vn.vni,
            level=vn.level,
        )
        self.counts["forwarded"] += 1


def _vap_of(packet: PacketIn, view: NveView, numbers: Numbers) -> tuple[Vap, Vn] | None:
    """The VAP that the packet came from, if the agent knows it and it belongs to the VN that the pipeline says."""
    vns = {vn.name: vn for vn in view.vns}
    for vap in view.vaps:
        vn = vns[vap.vn]
        if numbers.vaps.get((vap.port, vap.vlan, vn.vni)) == packet["interface"]:
            return (vap, vn) if vn.vni == packet["vni"] else None
    return None


def _wanted(packet: PacketIn) -> Wanted | None:
    """What the packet asks for; None if no tenant system can have it: nothing that is malformed goes to the NVA."""
    frame = untagged(packet.frame)
    if packet["reason"] == PuntReason.UNKNOWN_NEIGHBOR:
        request = parse_question(frame)
        if request is None or unicast_fault(request.target_ip) is not None:
            return None
        return Wanted(packet["vni"], ip=request.target_ip)
    if packet["reason"] == PuntReason.UNKNOWN_DESTINATION:
        mac = destination_of(frame)
        return None if mac is None or mac_fault(mac) is not None else Wanted(packet["vni"], mac=mac)
    return None
