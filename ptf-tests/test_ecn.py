# SPDX-License-Identifier: Apache-2.0
"""Congestion marks across the tunnel (RFC 6040): the whole matrix, for IPv4 and IPv6, and for what has no ECN field."""

from __future__ import annotations

from harness.base import NveTest
from harness.world import IP_NONE, A, B, Host
from nvo3ref.frames import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    arp_request,
    checksum,
    ethernet,
    ip4_frame,
    ipv6,
    pattern,
    udp,
)
from nvo3ref.reasons import Reason
from nvo3ref.receiver import Refused, decapsulated_ecn

CE = 3
# RFC 6040 figure 4 once more, written down apart from the nvo3ref: inner, then outer not-ECT, ECT(1), ECT(0), CE.
FIGURE_4 = {0: (0, 0, 0, None), 1: (1, 1, 1, 3), 2: (2, 1, 2, 3), 3: (3, 3, 3, 3)}


def ip6_frame(src: Host, dst: Host, traffic_class: int, length: int = 80) -> bytes:
    payload = udp(1000, 2000, pattern(length - 62))
    return ethernet(dst.mac, src.mac, ETHERTYPE_IPV6, ipv6(src.ip6, dst.ip6, payload, traffic_class=traffic_class))


class _Ecn(NveTest):
    def decapsulate(self, inner: bytes, outer: int) -> None:
        """With the outcome that the nvo3ref names."""
        packet = self.world.peer1.packet(inner, ecn=outer).encode()
        try:
            expected = decapsulated_ecn(outer, inner)
        except Refused as refused:
            self.dropped(256, packet, refused.reason)
        else:
            self.passes(256, packet, (B.port, B.on_wire(expected)))


class DecapsulateIpv4(_Ecn):
    """All sixteen combinations, for several DSCPs; the header checksum of the tenant stays right."""

    def runTest(self) -> None:
        for dscp in (0, 46, 63):
            for outer in range(4):
                for inner_ecn in range(4):
                    far = self.world.far1
                    frame = ip4_frame(B.mac, far.mac, far.ip, B.ip, 60, seed=dscp, tos=dscp << 2 | inner_ecn)
                    result = FIGURE_4[inner_ecn][outer]
                    if result is not None:
                        marked = decapsulated_ecn(outer, frame)
                        self.assertEqual(marked[15], dscp << 2 | result)
                        self.assertEqual(checksum(marked[14:34]), 0)
                    self.decapsulate(frame, outer)


class DecapsulateIpv6(_Ecn):
    """All sixteen combinations in the traffic class."""

    def runTest(self) -> None:
        for dscp in (0, 46, 63):
            for outer in range(4):
                for inner_ecn in range(4):
                    frame = ip6_frame(self.world.far1, B, dscp << 2 | inner_ecn)
                    result = FIGURE_4[inner_ecn][outer]
                    if result is not None:
                        marked = decapsulated_ecn(outer, frame)
                        self.assertEqual((marked[14] << 8 | marked[15]) >> 4 & 0xFF, dscp << 2 | result)
                    self.decapsulate(frame, outer)


class DecapsulateIpv4ChecksumCorners(_Ecn):
    """Checksums around 0 and 0xFFFF, wrong ones among them: a tenant's wrong checksum is not set right."""

    def runTest(self) -> None:
        far = self.world.far1
        for inner_ecn in (1, 2):
            frame = ip4_frame(B.mac, far.mac, far.ip, B.ip, 60, tos=inner_ecn)
            for value in (0, 1, 2, 3, 0x7FFF, 0xFFFD, 0xFFFE, 0xFFFF):
                changed = frame[:24] + value.to_bytes(2, "big") + frame[26:]
                for outer in (1, CE):
                    self.decapsulate(changed, outer)


class CongestionWithoutEcnField(_Ecn):
    """A frame that cannot carry the mark (ARP, other types, a stub of an IPv4 header) is dropped when marked, else
    passes."""

    def runTest(self) -> None:
        far = self.world.far1
        others = (
            arp_request(far.mac, far.ip, B.ip, dst=B.mac),
            ethernet(B.mac, far.mac, ETHERTYPE_LOCAL, pattern(46)),
            ethernet(B.mac, far.mac, ETHERTYPE_IPV4, b"\x45\x02"),
        )
        for frame in others:
            for outer in range(3):
                self.passes(256, self.world.peer1.packet(frame, ecn=outer).encode(), (B.port, B.on_wire(frame)))
            self.dropped(256, self.world.peer1.packet(frame, ecn=CE).encode(), Reason.ECN_NOT_CAPABLE)


class MarksCountOnlyAfterVerification(_Ecn):
    """A forged packet with a congestion mark is a forgery, not congestion."""

    def runTest(self) -> None:
        frame = self.world.far1.frame_to(B)
        forged = self.world.peer1.packet(frame, ecn=CE, icv=bytes(16))
        self.dropped(256, forged.encode(), Reason.BAD_ICV)


class EncapsulateCopiesEcn(_Ecn):
    """Normal mode (RFC 6040 4.1): the inner field goes out, the inner DSCP does not."""

    def runTest(self) -> None:
        peer, far = self.world.peer1, self.world.far1
        for dscp in (0, 46, 63):
            for ecn in range(4):
                frame = ip4_frame(far.mac, A.mac, A.ip, far.ip, 60, tos=dscp << 2 | ecn)
                self.passes(A.port, frame, (256, peer.sent(frame, ecn=ecn, dscp=0)))
                frame = ip6_frame(A, far, dscp << 2 | ecn)
                self.passes(A.port, frame, (256, peer.sent(frame, ecn=ecn, dscp=0)))
        self.insert(A.guard(IP_NONE, 0))
        frame = ethernet(far.mac, A.mac, ETHERTYPE_LOCAL, b"\xff" * 46)
        self.passes(A.port, frame, (256, peer.sent(frame)))
