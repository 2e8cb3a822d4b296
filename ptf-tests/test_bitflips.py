# SPDX-License-Identifier: Apache-2.0
"""Packets of a peer, altered on the way: every bit, bytes put on and cut off, with and without fitting lengths."""

from __future__ import annotations

import random

from harness.base import NveTest
from harness.batch import UnderlayBatch
from harness.world import A, B
from nvo3ref.frames import pattern
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import GENEVE_AT, INNER_AT, IPV4_AT, UDP_AT, TunnelPacket, with_ip_checksum


def flipped(packet: bytes, bit: int) -> bytes:
    changed = bytearray(packet)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


class _Altered(NveTest):
    """A batch from peer 1, and proof at its end that the tunnel still works."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.world.peer1
        self.batch = UnderlayBatch(self, self.peer)

    def original(self, length: int = 60) -> TunnelPacket:
        return self.peer.packet(self.world.far1.frame_to(B, length))

    def finish(self) -> None:
        self.assertIsNone(self.batch.add(self.original().encode()))
        self.batch.send()


class FlipEveryBitOfShortPacket(_Altered):
    """From the outer Ethernet header to the last byte. What is authenticated or checked must be refused."""

    def runTest(self) -> None:
        for bit in range(8 * len(self.original().encode())):
            self.batch.add(flipped(self.original().encode(), bit))
        self.finish()
        # The nvo3ref's verdicts are themselves a claim: what may pass is a flip of what nobody vouches for.
        free = 48 + 16  # outer source address, UDP source port
        self.assertEqual(self.batch.verdicts[None], free + 1)


class FlipEveryBitFromGeneveOn(_Altered):
    """Not one bit of the Geneve header, the option or the inner frame can change, whatever the length of the tail."""

    def runTest(self) -> None:
        for length in (16, 17, 31, 32, 45):
            inner = self.world.far1.frame_to(B, 60)[:length]
            for bit in range(8 * GENEVE_AT, 8 * (INNER_AT + length)):
                self.assertIsNotNone(self.batch.add(flipped(self.peer.packet(inner).encode(), bit)))
        self.finish()


class FlipIpv4BitsWithRightChecksum(_Altered):
    """An attacker sets the header checksum right: TTL, DSCP, identification may change, lengths and addresses may
    not."""

    def runTest(self) -> None:
        for bit in range(8 * IPV4_AT, 8 * UDP_AT):
            if not 8 * (IPV4_AT + 10) <= bit < 8 * (IPV4_AT + 12):
                self.batch.add(with_ip_checksum(flipped(self.original().encode(), bit)))
        self.finish()
        free = 6 + 2 + 16 + 2 + 8  # DSCP, ECN (one bit of it is no congestion), identification, reserved and DF, TTL
        self.assertEqual(self.batch.verdicts[None], free + 1)


class FlipSamplesOfLongPackets(_Altered):
    """Long packets: bits here and there, the first and the last of the frame among them."""

    def runTest(self) -> None:
        chooser = random.Random(4303)
        for length in (590, 1024, 1518):
            first, end = 8 * GENEVE_AT, 8 * (INNER_AT + length)
            for bit in (first, 8 * INNER_AT, end - 1, *chooser.sample(range(first, end), 60)):
                self.assertIsNotNone(self.batch.add(flipped(self.original(length).encode(), bit)))
        self.finish()


class AppendBytesBehindIpLength(_Altered):
    """They are cut off, never forwarded, and harm nothing; on every copy of a flooded frame, too."""

    def runTest(self) -> None:
        for extra in (1, 2, 4, 15, 16, 17, 100):
            self.batch.add(self.original().but(trailing=pattern(extra)).encode())
        self.batch.send()
        self.assertEqual(set(self.batch.verdicts), {None})
        frame = b"\xff" * 6 + self.world.far1.mac + self.original().inner[12:]
        for extra in (1, 16, 300):
            packet = self.peer.packet(frame).but(trailing=pattern(extra)).encode()
            self.passes(256, packet, (A.port, frame), (B.port, B.on_wire(frame)))


class AppendBytesWithFittingLengths(_Altered):
    """IP and UDP length follow: the inner length is authenticated, whether or not the coverage follows too."""

    def runTest(self) -> None:
        for extra in (1, 4, 15, 16, 17, 100, 1000):
            good = self.original()
            option = good.option()
            longer = good.but(inner=good.inner + pattern(extra), icv=option[20:], coverage=len(good.inner))
            self.assertEqual(self.batch.add(longer.encode()), Reason.COVERAGE)
            self.assertEqual(self.batch.add(longer.but(coverage=None).encode()), Reason.BAD_ICV)
        self.finish()


class AppendBytesWithOneFittingLength(_Altered):
    """Only the IP or only the UDP length follows."""

    def runTest(self) -> None:
        for extra in (1, 8, 16):
            good = self.original().encode()
            ip_length, udp_length = len(good) - IPV4_AT + extra, len(good) - UDP_AT + extra
            for field in ("ip_length", "udp_length"):
                changed = self.original().but(
                    **{field: ip_length if field == "ip_length" else udp_length, "trailing": pattern(extra)}
                )
                self.assertEqual(self.batch.add(changed.encode()), Reason.UDP_LENGTH_MISMATCH)
        self.finish()


class CutBytesOff(_Altered):
    """Every length shorter than the headers say, down to one byte."""

    def runTest(self) -> None:
        whole = self.original().encode()
        for length in range(1, len(whole)):
            self.batch.add(self.original().encode()[:length])
        self.finish()
        self.assertEqual(self.batch.verdicts[Reason.TRUNCATED], len(whole) - 1)


class CutBytesOffWithFittingLengths(_Altered):
    """The lengths follow: the inner length is authenticated."""

    def runTest(self) -> None:
        for cut in (1, 2, 4, 12, 16, 28, 43, 44):
            good = self.original()
            shorter = good.but(inner=good.inner[:-cut], icv=good.option()[20:], coverage=len(good.inner))
            self.assertEqual(self.batch.add(shorter.encode()), Reason.COVERAGE)
            self.assertEqual(self.batch.add(shorter.but(coverage=None).encode()), Reason.BAD_ICV)
        self.finish()


class SwapBlocks(_Altered):
    """Two blocks of a packet change places, or come from another packet."""

    def runTest(self) -> None:
        for first, second in ((1, 2), (0, 3), (2, 5)):
            good = self.original(112)
            blocks = [good.inner[i : i + 16] for i in range(0, 112, 16)]
            blocks[first], blocks[second] = blocks[second], blocks[first]
            self.assertEqual(
                self.batch.add(good.but(inner=b"".join(blocks), icv=good.option()[20:]).encode()), Reason.BAD_ICV
            )
        one, two = self.original(112), self.peer.packet(self.world.far1.frame_to(B, 112, seed=9))
        spliced = one.inner[:64] + two.inner[64:]
        self.assertEqual(self.batch.add(one.but(inner=spliced, icv=one.option()[20:]).encode()), Reason.BAD_ICV)
        self.finish()
