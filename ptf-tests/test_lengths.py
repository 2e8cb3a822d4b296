# SPDX-License-Identifier: Apache-2.0
"""Every length of frame, in both directions, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

from harness.base import NveTest
from harness.batch import Batch
from harness.world import IP_NONE, RED, A, B, Host
from nvo3ref.frames import ETHERTYPE_IPV4, ETHERTYPE_LOCAL, ethernet, ip4, ip4_frame, pattern
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LONGEST_FRAME, SHORTEST_FRAME

USUAL = range(60, 1519)
SHORT = range(SHORTEST_FRAME, 60)
LONG = range(1519, LONGEST_FRAME + 1)
WORKED = json.loads((Path(__file__).parents[1] / "reference/tests/data/worked_packets.json").read_text())["packets"]
WORKED_BY_SUITE = {suite: [one for one in WORKED if one["suite"] == suite] for suite in (1, 2)}


def plain(dst: bytes, src: bytes, length: int) -> bytes:
    """A frame of any length from 14 bytes that is neither IP nor ARP."""
    return ethernet(dst, src, ETHERTYPE_LOCAL, pattern(length - 14, length))


class EncapsulateEveryLength(NveTest):
    """From an untagged VAP into a tunnel."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.insert(A.guard(IP_NONE, 0))
        with Batch(self) as batch:
            for length in (*SHORT, *USUAL, *LONG):
                frame = plain(self.world.far1.mac, A.mac, length)
                batch.passes(A.port, frame, (256, peer.sent(frame)))


class EncapsulateEveryLengthTagged(NveTest):
    """From a tagged VAP: the tag is taken off, so the frame that is protected is four bytes shorter."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.insert(B.guard(IP_NONE, 0))
        with Batch(self) as batch:
            for length in (*SHORT, *USUAL, *LONG):
                frame = plain(self.world.far1.mac, B.mac, length)
                batch.passes(B.port, B.on_wire(frame), (256, peer.sent(frame)))


class DecapsulateEveryLength(NveTest):
    """From a tunnel to an untagged VAP."""

    def runTest(self) -> None:
        peer = self.world.peer1
        with Batch(self) as batch:
            for length in (*SHORT, *USUAL, *LONG):
                frame = plain(A.mac, self.world.far1.mac, length)
                batch.passes(256, peer.packet(frame).encode(), (A.port, frame))


class DecapsulateEveryLengthTagged(NveTest):
    """From a tunnel to a tagged VAP."""

    def runTest(self) -> None:
        peer = self.world.peer1
        with Batch(self) as batch:
            for length in (*SHORT, *USUAL, *LONG):
                frame = plain(B.mac, self.world.far1.mac, length)
                batch.passes(256, peer.packet(frame).encode(), (B.port, B.on_wire(frame)))


class BridgeEveryLength(NveTest):
    """From a tagged VAP to an untagged one and back, without cryptography."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0), B.guard(IP_NONE, 0))
        with Batch(self) as batch:
            for length in (*SHORT, *USUAL, *LONG):
                there, back = plain(B.mac, A.mac, length), plain(A.mac, B.mac, length)
                batch.passes(A.port, there, (B.port, B.on_wire(there)))
                batch.passes(B.port, B.on_wire(back), (A.port, back))


class AccessFrameTooLong(NveTest):
    """One byte beyond the parser's limit, and far beyond it."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0), B.guard(IP_NONE, 0))
        for length in (LONGEST_FRAME + 1, LONGEST_FRAME + 2, LONGEST_FRAME + 17, 2000, 9000):
            self.dropped(A.port, plain(B.mac, A.mac, length), Reason.FRAME_TOO_LONG)
            self.dropped(B.port, B.on_wire(plain(A.mac, B.mac, length)), Reason.FRAME_TOO_LONG)


class AccessFrameOf64KiB(NveTest):
    """A length that does not fit into 16 bits is as long as it is, not what remains of it."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0))
        for length in (65535, 65536, 65536 + 60, 65536 + 1000):
            self.dropped(A.port, plain(B.mac, A.mac, length), Reason.FRAME_TOO_LONG)


class AccessFrameTooShort(NveTest):
    """Every length below the shortest frame, with and without a tag."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0), B.guard(IP_NONE, 0))
        whole = plain(B.mac, A.mac, SHORTEST_FRAME)
        self.passes(A.port, whole, (B.port, B.on_wire(whole)))
        with Batch(self) as batch:
            for length in range(1, SHORTEST_FRAME):
                batch.dropped(A.port, whole[:length], Reason.FRAME_TOO_SHORT)
        back = B.on_wire(plain(A.mac, B.mac, SHORTEST_FRAME))
        with Batch(self) as batch:
            for length in range(1, SHORTEST_FRAME + 4):
                batch.dropped(B.port, back[:length], Reason.FRAME_TOO_SHORT)


class UnderlayFrameTooLong(NveTest):
    """A verified packet may carry a frame of the longest length, and of no other above it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for length in (LONGEST_FRAME + 1, LONGEST_FRAME + 2, 2000, 9000):
            frame = plain(A.mac, self.world.far1.mac, length)
            self.dropped(256, peer.packet(frame).encode(), Reason.FRAME_TOO_LONG)


class UnderlayFrameTooShort(NveTest):
    """A frame of fewer than 16 bytes, protected as it should be."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = plain(A.mac, self.world.far1.mac, SHORTEST_FRAME)
        self.passes(256, peer.packet(frame).encode(), (A.port, frame))
        with Batch(self) as batch:
            for length in range(SHORTEST_FRAME):
                batch.dropped(256, peer.packet(frame[:length]).encode(), Reason.FRAME_TOO_SHORT)


class WorkedPacketsReceived(NveTest):
    """The packets that the documentation works out byte by byte are accepted."""

    def runTest(self) -> None:
        peer = self.world.peer1
        worked_packets = WORKED_BY_SUITE[self.suite]
        first = worked_packets[0]
        self.delete(peer.sa_rx())
        self.insert(peer.sa_rx(spi=first["spi"], key=bytes.fromhex(first["key"])))
        target = Host(RED, bytes.fromhex(first["inner"])[:6], ip4("10.9.9.9"), bytes(16), A.port, A.vlan, A.interface)
        self.insert(*target.bridge_entries())
        for worked in worked_packets:
            self.assertEqual((worked["key"], worked["spi"], worked["vni"]), (first["key"], first["spi"], first["vni"]))
            inner = bytes.fromhex(worked["inner"])
            outer = peer.packet(inner).encode()[:14]
            self.passes(256, outer + bytes.fromhex(worked["ipv4_udp_sport_49152"]), (A.port, inner))


class WorkedPacketsSent(NveTest):
    """The switch makes them of their inner frames, sequence number and what depends on it aside."""

    def runTest(self) -> None:
        peer = self.world.peer1
        worked_packets = WORKED_BY_SUITE[self.suite]
        first = worked_packets[0]
        key, spi = bytes.fromhex(first["key"]), first["spi"]
        inner = bytes.fromhex(first["inner"])
        sender = Host(RED, inner[6:12], ip4("10.9.9.9"), bytes(16), A.port, A.vlan, A.interface)
        self.modify(peer.sa_tx(key=key, spi=spi))
        self.insert(peer.bridge_entry(Host(RED, inner[:6], b"", b"")))
        for worked in worked_packets:
            inner = bytes.fromhex(worked["inner"])
            guard = sender.guard(1, inner[26:30])
            self.insert(guard)
            self.passes(A.port, inner, (256, peer.sent(inner, key=key, spi=spi, ecn=inner[15] & 3)))
            self.delete(guard)


class PaddedIpPacket(NveTest):
    """Bytes behind the end of the IP packet belong to the frame, and are protected with it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for extra in (1, 5, 18):
            frame = ip4_frame(self.world.far1.mac, A.mac, A.ip, self.world.far1.ip, 46) + pattern(extra)
            self.passes(A.port, frame, (256, peer.sent(frame)))
            back = ethernet(A.mac, self.world.far1.mac, ETHERTYPE_IPV4, frame[14:])
            self.passes(256, peer.packet(back).encode(), (A.port, back))
