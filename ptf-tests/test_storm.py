# SPDX-License-Identifier: Apache-2.0
"""Storm control: how many frames a VAP and a VN may have replicated. What is not replicated meets none of it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import UNKNOWN_NEIGHBOR
from harness.world import BLUE, IP_NONE, RED, A, B, C, D, Host
from nvo3ref.frames import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_LOCAL, arp, arp_request, ethernet, padded, pattern
from nvo3ref.reasons import Reason

GROUPS = (BROADCAST, b"\x01\0\x5e\1\2\3", b"\x33\x33\0\0\0\1")
OPEN = 1_000_000


def flooded(source: bytes, destination: bytes = BROADCAST) -> bytes:
    return ethernet(destination, source, ETHERTYPE_LOCAL, pattern(46, 1))


class _Storm(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.insert(*(one.guard(IP_NONE, 0) for one in (A, B, C, D)))

    def vn_meter(self, vni: int, from_underlay: int) -> Entry:
        name = ("red" if vni == RED else "blue") + ("_in" if from_underlay else "")
        return self.world.flood_entry(vni, from_underlay, name)

    def passes_from(self, local: Host, frame: bytes | None = None) -> None:
        """Every member but the VAP itself has its copy."""
        frame = flooded(local.mac) if frame is None else frame
        neighbors = {A: B, B: A, C: D, D: C}
        peers = self.world.peers if local.vni == RED else self.world.peers[:1]
        there = neighbors[local]
        copies = [(peer.port, peer.sent(frame, local.vni)) for peer in peers]
        self.floods(local.port, local.on_wire(frame), (there.port, there.on_wire(frame)), *copies)

    def refused(self, local: Host, reason: Reason, frames: Iterable[bytes] = ()) -> None:
        for frame in (*frames, *(flooded(local.mac, group) for group in GROUPS)):
            self.dropped(local.port, local.on_wire(frame), reason)

    def unicast_passes(self) -> None:
        frame = A.frame_to(B)
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))
        frame = self.world.far1.frame_to(A)
        self.passes(256, self.world.peer1.packet(frame).encode(), (A.port, frame))


class StormFromVap(_Storm):
    """A VAP that floods too much: what is over its rate is dropped for that reason, whatever group it is for. Its
    unicast, the other VAP of its VN, other VNs and what comes from tunnels do not notice."""

    def runTest(self) -> None:
        self.set_meter(A.flood_meter(), rate=0, burst=3)
        for group in GROUPS:
            self.passes_from(A, flooded(A.mac, group))
        self.refused(A, Reason.VAP_FLOOD_RATE)
        self.unicast_passes()
        for other in (B, C, D):
            self.passes_from(other)
        inward = flooded(self.world.far1.mac)
        self.passes(256, self.world.peer1.packet(inward).encode(), (A.port, inward), (B.port, B.on_wire(inward)))
        self.set_meter(A.flood_meter(), rate=OPEN, burst=OPEN)
        self.passes_from(A)


class WhatTheAgentIsAskedIsNoFlood(_Storm):
    """A question that goes to the agent alone is not replicated, and costs its VAP nothing of what may be."""

    def runTest(self) -> None:
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        self.set_meter(A.flood_meter(), rate=0, burst=1)
        question = padded(arp_request(A.mac, A.ip, self.world.far1.ip))
        for _ in range(3):
            self.punted(A.port, question, question, reason=UNKNOWN_NEIGHBOR)
        self.passes_from(A)
        self.refused(A, Reason.VAP_FLOOD_RATE)


class StormOfOneVapLeavesTheOthersTheirs(_Storm):
    """What a VAP sends over its own rate is not charged to its VN."""

    def runTest(self) -> None:
        self.set_meter(A.flood_meter(), rate=0, burst=1)
        self.set_meter(self.vn_meter(RED, 0), rate=0, burst=3)
        self.passes_from(A)
        self.refused(A, Reason.VAP_FLOOD_RATE)
        self.passes_from(B)
        self.passes_from(B)
        self.refused(B, Reason.VN_FLOOD_RATE)


class StormInVn(_Storm):
    """More than a VN may have replicated. Its unicast, what comes from tunnels into it and other VNs do not notice."""

    def runTest(self) -> None:
        self.set_meter(self.vn_meter(RED, 0), rate=0, burst=2)
        self.passes_from(A)
        self.passes_from(B)
        for local in (A, B):
            self.refused(local, Reason.VN_FLOOD_RATE)
        self.unicast_passes()
        for other in (C, D):
            self.passes_from(other)
        inward = flooded(self.world.far1.mac)
        self.passes(256, self.world.peer1.packet(inward).encode(), (A.port, inward), (B.port, B.on_wire(inward)))
        self.set_meter(self.vn_meter(RED, 0), rate=OPEN, burst=OPEN)
        self.passes_from(A)


class StormFromTunnel(_Storm):
    """A storm of another NVE costs copies here: it has a meter of its own in each VN, whoever of the peers it is."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.set_meter(self.vn_meter(RED, 1), rate=0, burst=2)
        for peer, far in ((peer1, self.world.far1), (peer2, self.world.far2)):
            frame = flooded(far.mac)
            self.passes(peer.port, peer.packet(frame).encode(), (A.port, frame), (B.port, B.on_wire(frame)))
        for peer, far in ((peer1, self.world.far1), (peer2, self.world.far2)):
            for group in GROUPS:
                self.dropped(peer.port, peer.packet(flooded(far.mac, group)).encode(), Reason.VN_FLOOD_RATE)
        self.unicast_passes()
        for local in (A, B, C, D):
            self.passes_from(local)
        blue = flooded(self.world.far_blue.mac)
        self.passes(256, peer1.packet(blue, BLUE).encode(), (C.port, blue), (D.port, D.on_wire(blue)))
        self.set_meter(self.vn_meter(RED, 1), rate=OPEN, burst=OPEN)
        frame = flooded(self.world.far1.mac)
        self.passes(256, peer1.packet(frame).encode(), (A.port, frame), (B.port, B.on_wire(frame)))


class FloodMeterMissing(_Storm):
    """A VAP without a meter has nothing replicated; a tunnel needs none of a VAP."""

    def runTest(self) -> None:
        self.delete(A.flood_meter())
        self.refused(A, Reason.FLOOD_METER_MISSING)
        self.unicast_passes()
        self.passes_from(B)
        inward = flooded(self.world.far1.mac)
        self.passes(256, self.world.peer1.packet(inward).encode(), (A.port, inward), (B.port, B.on_wire(inward)))
        self.insert(A.flood_meter())
        self.passes_from(A)


class AnsweredQuestionsAreNoStorm(_Storm):
    """A broadcast question that the switch answers costs no copies, and is not charged."""

    def runTest(self) -> None:
        self.set_meter(A.flood_meter(), rate=0, burst=0)
        self.set_meter(self.vn_meter(RED, 0), rate=0, burst=0)
        self.insert(entry("neighbor", {"vni": RED, "ip": B.ip}, "answer", mac=B.mac))
        question = padded(arp_request(A.mac, A.ip, B.ip))
        reply = padded(ethernet(A.mac, B.mac, ETHERTYPE_ARP, arp(2, B.mac, B.ip, A.mac, A.ip)))
        self.passes(A.port, question, (A.port, reply))
        self.refused(A, Reason.VAP_FLOOD_RATE)


class AnnouncementsInAStorm(_Storm):
    """What is over either meter is not told to the agent, and takes nothing of what its VAP may punt."""

    def runTest(self) -> None:
        punts = entry("punt_meter", {"interface": A.interface}, "police_punt")
        self.insert(punts, entry("announcement", {"vni": RED}, "tell", group=self.world.groups["red"]))
        self.modify(*A.guard_entries("permit_announcer"))
        self.set_meter(punts, rate=0, burst=1)
        told = padded(arp_request(A.mac, A.ip, A.ip))
        self.set_meter(A.flood_meter(), rate=0, burst=0)
        self.refused(A, Reason.VAP_FLOOD_RATE, [told])
        self.set_meter(A.flood_meter(), rate=OPEN, burst=OPEN)
        self.set_meter(self.vn_meter(RED, 0), rate=0, burst=0)
        self.refused(A, Reason.VN_FLOOD_RATE, [told])
        self.set_meter(self.vn_meter(RED, 0), rate=OPEN, burst=OPEN)
        self.passes_from(A, told)
        peer1, peer2 = self.world.peers
        self.exchange(
            [(A.port, told)],
            [(B.port, B.on_wire(told)), (256, peer1.sent(told)), (257, peer2.sent(told))],
            [Reason.ANNOUNCEMENT_NOT_TOLD],
        )
