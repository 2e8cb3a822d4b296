# SPDX-License-Identifier: Apache-2.0
"""A frame to one system that its tunnel does not carry goes nowhere, and the agent hears of it and tells its sender."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import CONTROL_IN, FORWARD, FRAME_TOO_BIG
from harness.world import IP_NONE, RED, A, B, C, Host, host, mapped
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    ICMP,
    TCP,
    checksum,
    ethernet,
    ip4_frame,
    ipv4,
    ipv6,
    pattern,
)
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LONGEST_FRAME
from nvo3ref.tunnel import OVERHEAD_IPV4

PUNT_BYTES = 128
ANY_LENGTH = 0xFFFF
NEXT_HEADER_ICMPV6 = 58
KIND_ICMP = 5


def punt_meter(local: Host) -> Entry:
    return entry("punt_meter", {"interface": local.interface}, "police_punt")


def ip6_frame(sender: Host, receiver: Host, length: int) -> bytes:
    """A TCP packet that makes a frame of exactly `length` bytes (at least 74)."""
    segment = struct.pack(">HH", 1000, 2000) + pattern(length - 58)
    return ethernet(receiver.mac, sender.mac, ETHERTYPE_IPV6, ipv6(sender.ip6, receiver.ip6, segment, TCP))


class _Limits(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.insert(punt_meter(A), punt_meter(B), punt_meter(C))

    def carries(self, longest: int) -> None:
        """The tunnel to peer 1."""
        self.modify(self.world.peer1.route(longest))

    def passes_in(self, sender: Host, frame: bytes) -> None:
        self.passes(sender.port, sender.on_wire(frame), (256, self.world.peer1.sent(frame)))

    def told(self, sender: Host, frame: bytes) -> None:
        """To the agent alone, with its length and what an answer needs of it; and it is counted as refused."""
        fields = {
            "reason": FRAME_TOO_BIG,
            "ingress_port": sender.port,
            "interface": sender.interface,
            "vni": sender.vni,
            "frame_length": len(frame),
        }
        self.exchange(
            [(sender.port, sender.on_wire(frame))],
            drops=Reason.FRAME_TOO_BIG,
            packet_ins=[(fields, frame[:PUNT_BYTES])],
        )

    def refused(self, sender: Host, frame: bytes) -> None:
        self.dropped(sender.port, sender.on_wire(frame), Reason.FRAME_TOO_BIG)


class FrameAtTheLimit(_Limits):
    """As long as the tunnel carries it passes, one byte more does not; a tag of the VAP is no part of it. No number of
    the tunnel is used up."""

    def runTest(self) -> None:
        for longest in (60, 127, 128, 129, 1294, 1414, 1514, LONGEST_FRAME - 1):
            self.carries(longest)
            for sender in (A, B):
                self.passes_in(sender, sender.frame_to(self.world.far1, longest))
                self.told(sender, sender.frame_to(self.world.far1, longest + 1))
            self.told(A, A.frame_to(self.world.far1, LONGEST_FRAME))
            self.passes_in(A, A.frame_to(self.world.far1, longest))


class FrameOfEveryFamily(_Limits):
    """IPv4, IPv6, and what is neither."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0))
        far = self.world.far1
        self.carries(1314)
        for length in (1315, 1400):
            self.told(A, ip6_frame(A, far, length))
            self.told(A, A.frame_to(far, length))
            self.told(A, ethernet(far.mac, A.mac, ETHERTYPE_LOCAL, pattern(length - 14)))
        self.passes_in(A, ip6_frame(A, far, 1314))
        self.passes_in(A, ethernet(far.mac, A.mac, ETHERTYPE_LOCAL, pattern(1300)))


class LimitOfOneTunnel(_Limits):
    """What goes to a system here, or into another tunnel, is none of its business; and nothing is longer than a limit
    that is not known."""

    def runTest(self) -> None:
        self.carries(0)
        peer2 = self.world.peer2
        self.told(A, A.frame_to(self.world.far1))
        for length in (60, LONGEST_FRAME):
            frame = A.frame_to(self.world.far2, length)
            self.passes(A.port, frame, (257, peer2.sent(frame)))
            self.passes(A.port, A.frame_to(B, length), (B.port, B.on_wire(A.frame_to(B, length))))
        self.carries(ANY_LENGTH)
        self.passes_in(A, A.frame_to(self.world.far1, LONGEST_FRAME))


class FloodsAreNotCompared(_Limits):
    """A frame to a group goes to whom it can: what one tunnel does not carry is dropped there, and nobody is told."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.carries(0)
        for group in (BROADCAST, bytes.fromhex("01005e000001")):
            frame = ip4_frame(group, A.mac, A.ip, bytes((224, 0, 0, 1)), 1400)
            copies = [(B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))]
            self.floods(A.port, frame, *copies)
            self.modify(peer1.tunnel(underlay_mtu=len(frame) + OVERHEAD_IPV4 - 1))
            copies = [(B.port, B.on_wire(frame)), (257, peer2.sent(frame))]
            self.exchange([(A.port, frame)], copies, drops=Reason.TUNNEL_MTU)
            self.modify(peer1.tunnel())


class TooBigFramesAreMetered(_Limits):
    """They share what their VAP may punt. Over that, and without a meter, they are refused as before, and counted as
    what they are; the other VAPs have theirs."""

    def runTest(self) -> None:
        self.carries(100)
        frame = A.frame_to(self.world.far1, 101)
        self.set_meter(punt_meter(A), rate=0, burst=2)
        for _ in range(2):
            self.told(A, frame)
        for _ in range(3):
            self.refused(A, frame)
        self.told(B, B.frame_to(self.world.far1, 101))
        self.dropped(A.port, A.frame_to(host(99, RED)), Reason.PUNT_RATE)
        self.passes_in(A, A.frame_to(self.world.far1, 100))
        self.set_meter(punt_meter(A), rate=1_000_000, burst=1_000_000)
        self.told(A, frame)
        self.delete(punt_meter(A))
        self.refused(A, frame)


class TooBigWhileNothingLeads(_Limits):
    """It is the first that is wrong with a frame into a tunnel: next hop, lease and SA are not asked. What has no way
    at all has no limit."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.carries(100)
        frame = A.frame_to(self.world.far1, 101)
        self.delete(peer.member(), peer.sa_tx())
        self.told(A, frame)
        self.dropped(A.port, A.frame_to(self.world.far1, 100), Reason.NO_UNDERLAY_MEMBER)
        self.delete(peer.route())
        for length in (60, 101, LONGEST_FRAME):
            self.dropped(A.port, A.frame_to(self.world.far1, length), Reason.NO_TUNNEL_ROUTE)


class TooBigFromWhoMayNot(_Limits):
    """What is refused at its VAP is not told, however long it is; nor is what comes out of a tunnel."""

    def runTest(self) -> None:
        far = self.world.far1
        self.carries(0)
        self.dropped(A.port, host(21, RED).frame_to(far, 1000), Reason.SOURCE_GUARD)
        group = ethernet(far.mac, b"\x03" + A.mac[1:], ETHERTYPE_LOCAL, pattern(1000))
        self.insert(entry("source_guard", {"interface": 1, "mac": group[6:12], "ip_kind": 0, "ip": 0}, "permit_source"))
        self.dropped(A.port, group, Reason.SOURCE_ADDRESS)
        back = self.world.peer2.packet(self.world.far2.frame_to(far, 1000))
        self.insert(
            entry(
                "bridge",
                {"vni": RED, "mac": far.mac, "from_underlay": 1},
                "to_tunnel",
                interface=self.world.peer1.interface,
            )
        )
        self.dropped(257, back.encode(), Reason.TUNNEL_TO_TUNNEL)


class TooBigFromTheAgent(_Limits):
    """What the agent sends into a tunnel has no VAP that could be told: the last look before the wire refuses it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.carries(0)
        frame = A.frame_to(self.world.far1, 200)
        fields = {"operation": FORWARD, "egress_port": 256, "interface": peer.interface, "vni": RED, "level": 1}
        self.exchange(packet_outs=[(fields, frame)], outputs=[(256, peer.sent(frame))])
        self.modify(peer.tunnel(underlay_mtu=200 + OVERHEAD_IPV4 - 1))
        self.exchange(packet_outs=[(fields, frame)], drops=Reason.TUNNEL_MTU)


class AnswerToTheTenant(_Limits):
    """What the agent answers comes out at the VAP, under its tag."""

    def runTest(self) -> None:
        far = self.world.far1
        for local in (A, B, C):
            message = struct.pack(">BBHHH", 3, 4, 0, 0, 1414) + pattern(28)
            message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
            answer = ethernet(local.mac, far.mac, ETHERTYPE_IPV4, ipv4(far.ip, local.ip, message, ICMP))
            fields = {"operation": FORWARD, "egress_port": local.port, "interface": local.interface}
            self.exchange(packet_outs=[(fields, answer)], outputs=[(local.port, local.on_wire(answer))])


class ForgedAnswerFromTheUnderlay(_Limits):
    """ICMP that says the underlay has become narrower comes from whoever likes: no packet is smaller for it, and no
    answer to a tenant comes of it (RFC 5927). Where the agent hears what is for its own addresses, that is all."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1, 1400)
        own = peer.sent(frame)
        self.passes(A.port, frame, (256, own))
        forged = list(self.forged(own))
        for answer in forged:
            self.dropped(256, answer, Reason.UNDERLAY_CONTROL)
        self.passes_in(A, frame)
        self.insert(
            *(
                entry("own_address", {"port": 256, "address": address}, "own", mac=own[6:12])
                for address in (mapped(own[26:30]), B.ip6)
            ),
            entry("underlay_punt_meter", {"port": 256, "kind": KIND_ICMP}, "hear"),
        )
        for answer in forged:
            fields = {"reason": CONTROL_IN, "interface": 0, "frame_length": len(answer)}
            self.punted(256, answer, answer, **fields)
        self.passes_in(A, frame)

    @staticmethod
    def forged(packet: bytes) -> Iterator[bytes]:
        """About a packet that this NVE has sent."""
        addresses = packet[6:12] + packet[:6]
        for code, mtu in ((4, 68), (4, 576), (4, 0), (2, 0), (3, 0)):
            message = struct.pack(">BBHHH", 3, code, 0, 0, mtu) + packet[14:42]
            message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
            body = ipv4(packet[30:34], packet[26:30], message, ICMP)
            yield addresses + struct.pack(">H", ETHERTYPE_IPV4) + body
        message = struct.pack(">BBHI", 2, 0, 0, 1280) + packet[14:62]
        body = ipv6(A.ip6, B.ip6, message, NEXT_HEADER_ICMPV6)
        yield addresses + struct.pack(">H", ETHERTYPE_IPV6) + body
