# SPDX-License-Identifier: Apache-2.0
"""Headers that contradict each other, that end early, or whose numbers are at their limits."""

from __future__ import annotations

import struct

from harness.base import NveTest
from harness.batch import Batch
from harness.world import A, B
from nvo3ref.frames import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, arp, checksum, ethernet, ipv6
from nvo3ref.reasons import Reason

ICMPV6, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT = 58, 134, 135, 136


def icmpv6(kind: int, rest: bytes, payload_length: int | None = None) -> bytes:
    """A frame from host A to host B, with hop limit 255 and a right checksum for its real length."""
    body = bytes((kind, 0, 0, 0)) + rest
    pseudo = A.ip6 + B.ip6 + struct.pack(">II", len(body), ICMPV6)
    body = body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    packet = ipv6(A.ip6, B.ip6, body, ICMPV6)
    said = len(body) if payload_length is None else payload_length
    packet = packet[:4] + said.to_bytes(2, "big") + packet[6:7] + b"\xff" + packet[8:]
    return ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet)


def solicitation(options: bytes, payload_length: int | None = None) -> bytes:
    return icmpv6(SOLICITATION, bytes(4) + B.ip6 + options, payload_length)


class ShortArpBehindALongOne(NveTest):
    """An ARP packet of which only the first bytes are there does not borrow the rest from the one before.

    That one must pass unchanged, and directly in front of it: then its headers may lie where the short one's would.
    """

    def runTest(self) -> None:
        whole = ethernet(B.mac, A.mac, ETHERTYPE_ARP, arp(2, A.mac, A.ip, B.mac, B.ip))
        for length in range(16, 42):
            with Batch(self, f"{length} bytes") as batch:
                batch.passes(A.port, whole, (B.port, B.on_wire(whole)))
                batch.dropped(A.port, whole[:length], Reason.MALFORMED_ARP)


class ShortIcmpv6BehindAnAdvertisement(NveTest):
    """Too short to be a message of ICMPv6, of eight bytes, is not what the packet before was."""

    def runTest(self) -> None:
        rogue = icmpv6(ROUTER_ADVERTISEMENT, bytes(60))
        for length in (62, 63):
            self.dropped(A.port, rogue[:length], Reason.ROGUE_ROUTER)
        for length in range(54, 62):
            short = rogue[:length]
            with Batch(self, f"{length} bytes") as batch:
                batch.dropped(A.port, rogue, Reason.ROGUE_ROUTER)
                batch.passes(A.port, short, (B.port, B.on_wire(short)))


class DiscoveryWhoseLengthsDisagree(NveTest):
    """What the IPv6 header says about the length decides what a receiver takes for options: it must be the frame's."""

    def runTest(self) -> None:
        link_layer = b"\x01\x01" + A.mac
        with Batch(self, "lengths") as batch:
            for options in (b"", link_layer):
                right = 24 + len(options)
                for said in (0, 8, right - 8, right - 1, right + 1, right + 8, 0xFFFF):
                    batch.dropped(A.port, solicitation(options, said), Reason.MALFORMED_ND)
        bare = solicitation(b"")
        self.passes(A.port, bare, (B.port, B.on_wire(bare)))


class HighestHopLimitIsNotDiscovery(NveTest):
    """Nothing forbids other protocols to send with hop limit 255, nor ICMPv6 of another type."""

    def runTest(self) -> None:
        with Batch(self, "hop limit 255") as batch:
            for next_header in (6, 17, 50, 59, 132, 253):
                packet = ipv6(A.ip6, B.ip6, bytes(24), next_header)
                frame = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet[:7] + b"\xff" + packet[8:])
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
            for kind in (1, 128, 129, 143):
                frame = icmpv6(kind, bytes(20))
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))


class FloodedFramesOfTheLengthOfASolicitation(NveTest):
    """Eighty-six bytes to a group are no question for a neighbor as such."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        everybody = bytes.fromhex("333300000001")
        unsolicited = icmpv6(ADVERTISEMENT, b"\x20\0\0\0" + A.ip6 + b"\x02\x01" + A.mac)
        ordinary = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, B.ip6, bytes(32)))
        for frame in (everybody + unsolicited[6:], everybody + ordinary[6:], BROADCAST + A.frame_to(B, 86)[6:]):
            self.assertEqual(len(frame), 86)
            outputs = (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))
            self.floods(A.port, frame, *outputs)


class AdvertisementOfNoAddress(NveTest):
    """From the unspecified address and about it: duplicate address detection asks, it never answers."""

    def runTest(self) -> None:
        for options in (b"\x02\x01" + B.mac, b"\x01\x01" + A.mac):
            body = bytes((ADVERTISEMENT, 0, 0, 0)) + bytes(4) + bytes(16) + options
            packet = ipv6(bytes(16), B.ip6, body, ICMPV6)
            frame = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet[:7] + b"\xff" + packet[8:])
            self.dropped(A.port, frame, Reason.MALFORMED_ND)


class CongestionThatIsKnownAlready(NveTest):
    """Marked outside and inside: the frame is not touched, not even a checksum that has two ways to be written."""

    def runTest(self) -> None:
        far = self.world.far1
        for written in (b"\xff\xff", b"\0\0", b"\x12\x34"):
            frame = far.frame_to(B, tos=3)
            frame = frame[:24] + written + frame[26:]
            packet = self.world.peer1.packet(frame, ecn=3)
            self.passes(256, packet.encode(), (B.port, B.on_wire(frame)))


class LengthsThatWrap(NveTest):
    """An IP length that is the UDP length plus 20 only modulo 2^16; and the smallest pair that is consistent."""

    def runTest(self) -> None:
        good = self.world.peer1.packet(self.world.far1.frame_to(B))
        for udp_length in (0xFFEC, 0xFFF0, 0xFFFF):
            wrapped = good.but(udp_length=udp_length, ip_length=(udp_length + 20) & 0xFFFF)
            self.dropped(256, wrapped.encode(), Reason.UDP_LENGTH_MISMATCH)
        self.dropped(256, good.but(udp_length=0xFFEB, ip_length=0xFFFF).encode(), Reason.FRAME_TOO_LONG)
        self.dropped(256, good.but(udp_length=0, ip_length=20).encode(), Reason.FRAME_TOO_SHORT)
