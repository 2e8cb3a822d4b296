# SPDX-License-Identifier: Apache-2.0
"""Tunnels over IPv6: what holds of those over IPv4; what the header adds (RFC 8200, 6935, 6936, 6438); both families
side by side."""

from __future__ import annotations

import test_admission
import test_bitflips
import test_ecn
import test_flood
import test_lengths
import test_replay
from harness.base import NveTest, varied
from harness.batch import Batch, UnderlayBatch
from harness.schema import entry
from harness.world import RED, A, B, Peer, derived, permit
from nvo3ref.frames import ip4_frame, ip6
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import (
    GENEVE_AT,
    INNER_AT,
    IPV6_LONGER,
    OPTION_AT,
    OVERHEAD_IPV6,
    SUITE_ASCON_AEAD128,
    UDP_AT,
    TunnelPacket,
    with_udp_checksum,
)

OUTER = UDP_AT + IPV6_LONGER  # where UDP begins
INNER = INNER_AT + IPV6_LONGER


# Over IPv6 they hold as they stand; each is a test of its own here, with "Ipv6" before its name.
_OF_IPV4: tuple[type[NveTest], ...] = (
    test_admission.BadIcv,
    test_admission.KeysOfOneTunnelOpenNoOther,
    test_admission.LeaseAbsent,
    test_admission.PeerOfTheSa,
    test_admission.VnUnauthorized,
    test_bitflips.AppendBytesBehindIpLength,
    test_bitflips.CutBytesOff,
    test_ecn.DecapsulateIpv4,
    test_ecn.DecapsulateIpv6,
    test_ecn.EncapsulateCopiesEcn,
    test_flood.FloodFromTunnel,
    test_flood.FloodFromVap,
    test_lengths.DecapsulateEveryLength,
    test_lengths.EncapsulateEveryLength,
    test_replay.ReplayOfEverything,
)
_OF_BOTH_SUITES: tuple[type[NveTest], ...] = (test_lengths.DecapsulateEveryLength, test_lengths.EncapsulateEveryLength)


globals().update(varied(_OF_IPV4, "Ipv6", __name__, ipv6=True))
globals().update(varied(_OF_BOTH_SUITES, "Ipv6Ascon", __name__, ipv6=True, suite=SUITE_ASCON_AEAD128))


class _Outer(NveTest):
    """Each case: the packet that passes, then the same one with one thing wrong."""

    ipv6 = True

    def good(self, length: int = 60, **changes: object) -> TunnelPacket:
        return self.world.peer1.packet(self.world.far1.frame_to(B, length), **changes)

    def accepted(self, packet: TunnelPacket) -> None:
        self.passes(256, packet.encode(), (B.port, B.on_wire(packet.inner)))

    def refused(self, reason: Reason, **changes: object) -> None:
        """The changed packet is dropped; unchanged, under the same sequence number, it passes: no window has moved."""
        good = self.good()
        self.dropped(256, good.but(**changes).encode(), reason)
        self.accepted(good)


class Ipv6Version(_Outer):
    """Six, and nothing else behind this EtherType."""

    def runTest(self) -> None:
        for version in (0, 4, 5, 7, 14, 15):
            self.refused(Reason.IPV6_HEADER, version_ipv6=version)


class Ipv6ExtensionHeaders(_Outer):
    """None is taken, a fragment's least of all: alone, in front of UDP, or as a number without a header."""

    def runTest(self) -> None:
        for kind in (0, 43, 44, 51, 60):
            self.refused(Reason.IPV6_EXTENSION, protocol=kind)
            self.refused(Reason.IPV6_EXTENSION, protocol=kind, ip_options=b"\x11\0" + bytes(6))
        for kind in (1, 4, 6, 41, 50, 58, 59, 135, 136, 255):
            self.refused(Reason.UNDERLAY_CONTROL, protocol=kind)


class Ipv6NotGeneve(_Outer):
    def runTest(self) -> None:
        for port in (0, 6080, 6082, 4789, 65535):
            self.refused(Reason.UNDERLAY_CONTROL, udp_destination=port)


class Ipv6Lengths(_Outer):
    """Payload and UDP length are the same (no jumbogram, nothing behind the datagram)."""

    def runTest(self) -> None:
        right = len(self.good().encode()) - OUTER
        for wrong in (0, 7, 8, right - 1, right + 1, right + 20, 0xFFFF):
            self.refused(Reason.UDP_LENGTH_MISMATCH, udp_length=wrong)
            self.refused(Reason.UDP_LENGTH_MISMATCH, ip_length=wrong)
        for length in (0, 1, 8, 51, 52, 53, 67):
            self.refused(Reason.FRAME_TOO_SHORT, udp_length=length, ip_length=length)


class Ipv6FreeFields(_Outer):
    """Traffic class (but for congestion), flow label and hop limit are the underlay's to change."""

    def runTest(self) -> None:
        for changes in ({"dscp": 63}, {"flow_label": 0xFFFFF}, {"ttl": 1}, {"ttl": 255}, {"ttl": 0}, {"ecn": 2}):
            self.accepted(self.good().but(**changes))


class Ipv6TruncatedInEveryParserState(_Outer):
    """The last byte of every header missing, and the first one of the next."""

    def runTest(self) -> None:
        good = self.world.peer1.packet(self.world.far1.frame_to(B, 63))
        ends = [14, OUTER, GENEVE_AT + IPV6_LONGER, OPTION_AT + IPV6_LONGER, INNER, INNER + 12]
        ends += [INNER + length for length in (16, 32, 48, 56, 60, 62, 63)]
        with Batch(self) as batch:
            for end in ends:
                for length in (end - 2, end - 1, end, end + 1):
                    if length < len(good.encode()):
                        batch.dropped(256, good.encode()[:length], Reason.TRUNCATED)
        self.accepted(good)


class Ipv6UdpChecksum(_Outer):
    """Over IPv6 it is there, and right: 0 would leave the addresses to nobody (RFC 8200 8.1)."""

    def runTest(self) -> None:
        for wrong in (0, 1, 0xFFFF):
            self.refused(Reason.UDP_CHECKSUM, udp_checksum=wrong)
        good = self.good()
        right = int.from_bytes(good.encode()[OUTER + 6 : OUTER + 8], "big")
        for bit in range(16):
            self.dropped(256, good.but(udp_checksum=right ^ 1 << bit).encode(), Reason.UDP_CHECKSUM)
        self.accepted(good)


class Ipv6ZeroChecksumByPeer(_Outer):
    """A peer that may leave it out (RFC 6935, RFC 6936) does so, or sends the right one; another may not, and a wrong
    one is wrong from either."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        self.modify(peer.permit(zero_checksum=1))
        self.accepted(self.good().but(udp_checksum=0))
        self.accepted(self.good())
        self.refused(Reason.UDP_CHECKSUM, udp_checksum=1)
        frame = self.world.far2.frame_to(B)
        self.dropped(257, other.packet(frame).but(udp_checksum=0).encode(), Reason.UDP_CHECKSUM)
        self.modify(peer.permit())
        self.refused(Reason.UDP_CHECKSUM, udp_checksum=0)


class Ipv6FlipEveryBit(_Outer):
    """As it is, and with the checksum set right afterwards: then whatever is authenticated is refused by the ICV."""

    def runTest(self) -> None:
        for suite in (1, SUITE_ASCON_AEAD128):
            peer = self.world.peer1
            peer.suite = suite
            self.modify(peer.sa_rx())
            for fixed in (False, True):
                batch = UnderlayBatch(self, peer)
                for bit in range(8 * len(self.good().encode())):
                    changed = bytearray(self.good().encode())
                    changed[bit // 8] ^= 0x80 >> bit % 8
                    batch.add(with_udp_checksum(bytes(changed)) if fixed else bytes(changed))
                self.assertIsNone(batch.add(self.good().encode()))
                batch.send()
                # Source MAC; traffic class (one bit of ECN is no congestion); flow label; hop limit.
                free = 48 + 8 + 20 + 8
                # Where the checksum is set right, its own bits are as they were, and the source port is free.
                self.assertEqual(batch.verdicts[None], free + 1 + (16 + 16 if fixed else 0))


class Ipv6SumThatIsZero(_Outer):
    """One datagram in 65,536 sums up to 0xFFFF: it is sent as 0xFFFF, and taken so; 0 would say that there is none."""

    def runTest(self) -> None:
        peer = self.world.peer1
        inner = self.world.far1.frame_to(B)
        found = next(
            packet
            for port in range(1 << 16)
            if (packet := peer.packet(inner, sequence=5, udp_source=port)).encode()[OUTER + 6 : OUTER + 8]
            == b"\xff\xff"
        )
        self.accepted(found)
        self.dropped(256, found.but(udp_checksum=0).encode(), Reason.UDP_CHECKSUM)
        # And the other way: an address of the peer is not under the ICV, so one is chosen that makes the sum zero.
        frame = A.frame_to(self.world.far1)
        sum_without = peer.sent(frame, destination=ip6(0xA0000), sequence=1)[OUTER + 6 : OUTER + 8]
        chosen = ip6(0xA0000)[:-2] + sum_without
        self.modify(peer.tunnel(destination=chosen))
        sent = peer.sent(frame, destination=chosen)
        self.assertEqual(sent[OUTER + 6 : OUTER + 8], b"\xff\xff")
        self.passes(A.port, frame, (256, sent))


class Ipv6FlowLabel(_Outer):
    """A slice of the keyed hash of its own, which the source port does not show; none without a key."""

    def runTest(self) -> None:
        peer = self.world.peer1
        labels, ports = set(), set()
        self.modify(entry("flow_entropy", {}, "keyed", key=derived("entropy")))
        self.insert(*peer.members())
        peer.entropy = derived("entropy")
        with Batch(self) as batch:
            for number in range(200):
                frame = ip4_frame(self.world.far1.mac, A.mac, A.ip, self.world.far1.ip, 60, number)
                sent = peer.sent(frame)
                labels.add(int.from_bytes(sent[15:18], "big") & 0xFFFFF)
                ports.add(sent[OUTER : OUTER + 2])
                batch.passes(A.port, frame, (256, sent))
        self.assertGreater(len(labels), 190)
        self.assertGreater(len(ports), 190)


class Ipv6TunnelMtu(_Outer):
    """What is as large as the underlay carries passes, one byte more does not; the header is 20 bytes longer."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for mtu in (1280, 1386, 1500):
            self.modify(peer.tunnel(underlay_mtu=mtu))
            frame = A.frame_to(self.world.far1, mtu - OVERHEAD_IPV6)
            self.passes(A.port, frame, (256, peer.sent(frame)))
            self.dropped(A.port, A.frame_to(self.world.far1, mtu - OVERHEAD_IPV6 + 1), Reason.TUNNEL_MTU)
            self.passes(A.port, frame, (256, peer.sent(frame)))


class BothFamiliesSideBySide(NveTest):
    """The same NVE over IPv4 and over IPv6, as while it changes its address: two peers, with keys and windows of their
    own. Each packet is taken in its own family alone, and what is for one is never sent as the other."""

    def runTest(self) -> None:
        old = self.world.peer1
        new = Peer(self.session, 3, ip6(0x1), 256, (RED,), "other family")
        new.incarnation = self.world.incarnation
        self.insert(*new.rx_entries(), *new.tx_entries())
        frame, back = self.world.far1.frame_to(B), A.frame_to(self.world.far1)
        for peer in (old, new, old, new):
            self.passes(256, peer.packet(frame).encode(), (B.port, B.on_wire(frame)))
            self.modify(peer.bridge_entry(self.world.far1))
            self.passes(A.port, back, (256, peer.sent(back)))
        # A packet of one under the addresses of the other.
        good = new.packet(frame)
        four = {"source": old.address, "destination": old.local}
        self.dropped(256, good.but(**four).encode(), Reason.NO_SA)
        self.dropped(256, good.but(**four, spi=old.rx_spi).encode(), Reason.BAD_ICV)
        # An IPv4 address as IPv6 writes it is the same pair of the table, and yet no IPv4 packet.
        mapped = {"source": bytes(10) + b"\xff\xff" + old.address, "destination": bytes(10) + b"\xff\xff" + old.local}
        self.dropped(256, old.packet(frame).but(**mapped).encode(), Reason.UNAUTHORIZED_NVE)
        self.passes(256, good.encode(), (B.port, B.on_wire(frame)))


class NeitherEndIsOfTheOtherFamily(NveTest):
    """A packet of IPv6 with one address in the form in which tables have those of IPv4: no entry lets it in."""

    def runTest(self) -> None:
        four = self.world.peer1
        six = Peer(self.session, 3, ip6(0x1), 256, (RED,), "other family")
        six.incarnation = self.world.incarnation
        self.insert(*six.rx_entries())
        good = six.packet(self.world.far1.frame_to(B))
        form = bytes(10) + b"\xff\xff"
        for half in ({"source": form + four.address}, {"destination": form + four.local}):
            ends = {"source": six.address, "destination": six.local} | half
            self.insert(permit(**ends, peer=six.number, tag=six.tag))
            self.dropped(256, good.but(**half).encode(), Reason.UNAUTHORIZED_NVE)
        self.passes(256, good.encode(), (B.port, B.on_wire(self.world.far1.frame_to(B))))
