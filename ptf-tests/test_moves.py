# SPDX-License-Identifier: Apache-2.0
"""Who says that a system is here now which is not permitted here: the frame goes nowhere, and the agent has a hint."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import REFUSED_ANNOUNCEMENT
from harness.world import IP_NONE, RED, A, B, C, Host, host
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_LOCAL,
    arp,
    arp_request,
    ethernet,
    padded,
    pattern,
    tagged,
)
from nvo3ref.reasons import Reason
from test_neighbor_discovery import advertisement, solicitation

ETHERTYPE_RARP = 0x8035
ALL_NODES, ALL_NODES_MAC = bytes.fromhex("ff02" + 13 * "00" + "01"), bytes.fromhex("333300000001")
MOVED = host(21, RED)  # behind another NVE, or nowhere


def punt_meter(local: Host) -> Entry:
    return entry("punt_meter", {"interface": local.interface}, "police_punt")


def gratuitous(sender: Host, operation: int = 1, dst: bytes = BROADCAST) -> bytes:
    return ethernet(dst, sender.mac, ETHERTYPE_ARP, arp(operation, sender.mac, sender.ip, bytes(6), sender.ip))


def reverse(sender: Host, dst: bytes = BROADCAST) -> bytes:
    """As QEMU sends it after a migration: it asks for its own address (RFC 903), and nobody answers."""
    body = arp(3, sender.mac, bytes(4), sender.mac, bytes(4))
    return padded(ethernet(dst, sender.mac, ETHERTYPE_RARP, body))


def unsolicited(sender: Host) -> bytes:
    frame = advertisement(sender, sender, dst_ip=ALL_NODES, flags=0x20000000)
    return ALL_NODES_MAC + frame[6:]


ANNOUNCEMENTS = (
    gratuitous(MOVED),
    padded(gratuitous(MOVED)),
    padded(gratuitous(MOVED, 2)),
    gratuitous(MOVED, 2, b"\x01\0\x5e\0\0\1"),
    reverse(MOVED),
    unsolicited(MOVED),
)


class _Moves(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.insert(punt_meter(A), punt_meter(B), punt_meter(C))

    def told(self, local: Host, frame: bytes) -> None:
        """To the agent alone; and it is a frame that the source guard has refused, as ever."""
        fields = {
            "reason": REFUSED_ANNOUNCEMENT,
            "ingress_port": local.port,
            "interface": local.interface,
            "vni": local.vni,
            "frame_length": len(frame),
        }
        self.exchange(
            [(local.port, local.on_wire(frame))],
            drops=Reason.SOURCE_GUARD,
            packet_ins=[(fields, frame)],
        )


class RefusedAnnouncementIsTold(_Moves):
    """Gratuitous ARP, unsolicited advertisements, reverse ARP of a hypervisor; on untagged VAPs and tagged ones."""

    def runTest(self) -> None:
        for frame in ANNOUNCEMENTS:
            self.told(A, frame)
            self.told(B, frame)
        # Another's address under one's own MAC address is one, too.
        self.told(A, padded(ethernet(BROADCAST, A.mac, ETHERTYPE_ARP, arp(1, A.mac, B.ip, bytes(6), B.ip))))


class PermittedAnnouncementIsNotRefused(_Moves):
    """At its own place it is flooded like any broadcast, and the agent hears nothing."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.insert(A.guard(IP_NONE, 0))
        for frame in (padded(gratuitous(A)), unsolicited(A)):
            self.floods(A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame)))


class OtherRefusedFramesAreNotTold(_Moves):
    """What is refused and announces nothing stays what it was: dropped, without a word."""

    def runTest(self) -> None:
        other = ethernet(BROADCAST, MOVED.mac, ETHERTYPE_LOCAL, pattern(46, 1))
        for frame in (
            MOVED.frame_to(B),
            other,
            padded(arp_request(MOVED.mac, MOVED.ip, B.ip)),  # a question
            padded(ethernet(BROADCAST, MOVED.mac, ETHERTYPE_ARP, arp(2, MOVED.mac, MOVED.ip, A.mac, A.ip))),
            gratuitous(MOVED, 1, B.mac),  # to one
            gratuitous(MOVED, 3),
            reverse(MOVED, B.mac),
            unsolicited(MOVED)[6:12] + unsolicited(MOVED)[6:],
            solicitation(MOVED, B.ip6),
        ):
            self.dropped(A.port, frame, Reason.SOURCE_GUARD)
        malformed = padded(ethernet(BROADCAST, MOVED.mac, ETHERTYPE_ARP, arp(1, A.mac, A.ip, bytes(6), A.ip)))
        self.dropped(A.port, malformed, Reason.MALFORMED_ARP)


class RefusedAnnouncementsAreMetered(_Moves):
    """They share what their VAP may punt; over that, and without a meter, they are dropped as if nobody listened. The
    other VAPs have theirs."""

    def runTest(self) -> None:
        self.set_meter(punt_meter(A), rate=0, burst=2)
        self.told(A, ANNOUNCEMENTS[0])
        self.told(A, ANNOUNCEMENTS[4])
        for frame in ANNOUNCEMENTS:
            self.dropped(A.port, frame, Reason.SOURCE_GUARD)
            self.told(B, frame)
        self.dropped(A.port, A.frame_to(MOVED), Reason.PUNT_RATE)
        self.set_meter(punt_meter(A), rate=1_000_000, burst=1_000_000)
        self.told(A, ANNOUNCEMENTS[0])
        self.delete(punt_meter(A))
        self.dropped(A.port, ANNOUNCEMENTS[0], Reason.SOURCE_GUARD)


class RefusedAnnouncementOpensNothing(_Moves):
    """Whatever is in it: a group as source, a reserved group, an address of somebody here. No other copy comes out."""

    def runTest(self) -> None:
        group = ethernet(BROADCAST, b"\x03\0\0\0\0\1", ETHERTYPE_RARP, arp(3, bytes(6), bytes(4), bytes(6), bytes(4)))
        reserved = reverse(MOVED, bytes.fromhex("0180c2000003"))
        taken = reverse(B)
        self.insert(entry("announcement", {"vni": RED}, "tell", group=self.world.groups["red"]))
        for frame in (group, reserved, taken):
            self.told(A, frame)
        for frame in ANNOUNCEMENTS:
            self.dropped(A.port, tagged(frame, 7), Reason.VAP_UNKNOWN)
        # What comes out of a tunnel was looked at where it came in.
        peer = self.world.peer1
        frame = padded(gratuitous(host(22, RED)))
        self.passes(256, peer.packet(frame).encode(), (A.port, frame), (B.port, B.on_wire(frame)))
