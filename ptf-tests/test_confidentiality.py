# SPDX-License-Identifier: Apache-2.0
"""Suite 2, Ascon-AEAD128: what holds of the first suite, under keys of the second; and what holds of it alone."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import test_admission
import test_agent
import test_bitflips
import test_ecn
import test_flood
import test_lengths
import test_protection
import test_replay
import test_source_ports
from harness.base import NveTest, varied
from harness.batch import Batch
from harness.own_switch import own_switch
from harness.world import A, B, World
from nvo3ref import ascon
from nvo3ref.frames import BROADCAST, ETHERTYPE_LOCAL, ethernet, pattern
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LONGEST_FRAME
from nvo3ref.tunnel import ICV_AT, INNER_AT, SUITE_ASCON_AEAD128, SUITE_CHASKEY12, TunnelPacket, nonce

# Under keys of this suite they hold as they stand; each is a test of its own here, with "Ascon" before its name.
_OF_THE_FIRST_SUITE: tuple[type[NveTest], ...] = (
    test_agent.PacketOutToTunnel,
    test_agent.PuntedFrameKeepsNothingOfEarlierOnes,
    test_admission.BadIcv,
    test_admission.KeysOfOneTunnelOpenNoOther,
    test_admission.LevelOfTheSuite,
    test_admission.PeerRate,
    test_admission.ReflectedPacket,
    test_admission.WrongVniOnTheWire,
    test_bitflips.AppendBytesBehindIpLength,
    test_bitflips.AppendBytesWithFittingLengths,
    test_bitflips.CutBytesOffWithFittingLengths,
    test_bitflips.FlipEveryBitFromGeneveOn,
    test_bitflips.FlipEveryBitOfShortPacket,
    test_bitflips.FlipSamplesOfLongPackets,
    test_bitflips.SwapBlocks,
    test_ecn.CongestionWithoutEcnField,
    test_ecn.DecapsulateIpv4,
    test_ecn.DecapsulateIpv6,
    test_ecn.EncapsulateCopiesEcn,
    test_ecn.MarksCountOnlyAfterVerification,
    test_flood.FloodFromTunnel,
    test_flood.FloodFromVap,
    test_flood.FloodWithOneTunnelClosed,
    test_flood.ManyReplicas,
    test_lengths.DecapsulateEveryLength,
    test_lengths.DecapsulateEveryLengthTagged,
    test_lengths.EncapsulateEveryLength,
    test_lengths.EncapsulateEveryLengthTagged,
    test_lengths.WorkedPacketsReceived,
    test_lengths.WorkedPacketsSent,
    test_protection.LevelOfTheSuiteWhenSending,
    test_protection.TunnelMtu,
    test_replay.BothPhasesAtOnce,
    test_replay.ForgeryMovesNoWindow,
    test_replay.RandomWalkOverGenerations,
    test_replay.ReplayOfEverything,
    test_replay.ReplayWithOtherContent,
    test_source_ports.LengthsOfAFlow,
)


globals().update(varied(_OF_THE_FIRST_SUITE, "Ascon", __name__, suite=SUITE_ASCON_AEAD128))


class _Frames(NveTest):
    """Frames between A and what is behind peer 1, in VN RED."""

    suite = SUITE_ASCON_AEAD128

    def packet(self, inner: bytes, **changes: object) -> TunnelPacket:
        return self.world.peer1.packet(inner, **changes)

    def refused(self, packet: TunnelPacket, reason: Reason) -> None:
        self.dropped(self.world.peer1.port, packet.encode(), reason)

    def accepted(self, packet: TunnelPacket) -> None:
        self.passes(self.world.peer1.port, packet.encode(), (B.port, B.on_wire(packet.inner)))


class AsconCoversTheWholeFrame(_Frames):
    """Whatever minimum the entry names: of a frame that is encrypted no part is less than the whole."""

    def runTest(self) -> None:
        inner = self.world.far1.frame_to(B, 100)
        for minimum in (0, 16, 32, 0xFFFF):
            self.modify(self.world.peer1.sa_rx(min_coverage=minimum))
            for coverage in (0, 15, 16, 32, 48, 64, 96, 99, 101, 112, 0xFFFF):
                self.refused(self.packet(inner, coverage=coverage), Reason.COVERAGE)
            self.accepted(self.packet(inner))


class EveryBlockOfTheLongestFrame(_Frames):
    """One bit of each block is flipped on the way, and of the tail; what was not, passes."""

    def runTest(self) -> None:
        chooser = random.Random(800_232)
        frame = self.world.far1.frame_to(B, LONGEST_FRAME)
        with Batch(self, "one bit of each block") as batch:
            for block in range(LONGEST_FRAME // 16 + 1):
                packet = bytearray(self.packet(frame).encode())
                first = INNER_AT + 16 * block
                packet[chooser.randrange(first, min(first + 16, len(packet)))] ^= 1 << chooser.randrange(8)
                batch.dropped(256, bytes(packet), Reason.BAD_ICV)
        self.accepted(self.packet(frame))


class EveryBitOfTheTag(_Frames):
    """Each of the 128 bits of the ICV counts, of a frame with a tail and of one without."""

    def runTest(self) -> None:
        for length in (64, 75):
            frame = self.world.far1.frame_to(B, length)
            with Batch(self) as batch:
                for bit in range(128):
                    packet = bytearray(self.packet(frame).encode())
                    packet[ICV_AT + bit // 8] ^= 0x80 >> bit % 8
                    batch.dropped(256, bytes(packet), Reason.BAD_ICV)
            self.accepted(self.packet(frame))


class ForgedPlaintextDecidesNothing(_Frames):
    """Who knows a frame chooses what its first block is decrypted to, with such a cipher. Whatever that is, an unknown
    destination, everybody, a neighbor's question, a tag, the ICV is wrong, and nobody hears of it."""

    def runTest(self) -> None:
        frame = self.world.far1.frame_to(B)
        wanted = (
            BROADCAST + frame[6:14],
            b"\x02\x00\x00\x00\xde\xad" + frame[6:14],  # unknown
            BROADCAST + self.world.far1.mac + b"\x08\x06",  # ARP
            frame[:12] + b"\x81\x00",
            frame[:6] + b"\x03" + frame[7:14],  # from a group
            b"\x01\x80\xc2\x00\x00\x03" + frame[6:14],
            A.mac + frame[6:14],
        )
        for head in wanted:
            packet = bytearray(self.packet(frame).encode())
            for at, (is_, shall) in enumerate(zip(frame, head, strict=False)):
                packet[INNER_AT + at] ^= is_ ^ shall
            self.dropped(256, bytes(packet), Reason.BAD_ICV)
        self.accepted(self.packet(frame))


class LongForgeryBeforeShortFrames(_Frames):
    """What a forgery was decrypted to shows in no frame that follows it, of whatever length."""

    def runTest(self) -> None:
        long = self.world.far1.frame_to(B, LONGEST_FRAME)
        with Batch(self) as batch:
            for length in (*range(16, 64), 100, 1000):
                forged = self.packet(long)
                batch.dropped(256, forged.but(icv=bytes(16)).encode(), Reason.BAD_ICV)
                inner = ethernet(B.mac, self.world.far1.mac, ETHERTYPE_LOCAL, pattern(length - 14, length))
                batch.passes(256, self.packet(inner).encode(), (B.port, B.on_wire(inner)))


class SuiteByteOnTheWire(_Frames):
    """A packet of either suite is not one of the other: not by its suite byte, not under the other's key."""

    def runTest(self) -> None:
        peer, frame = self.world.peer1, self.world.far1.frame_to(B)
        good = self.packet(frame)
        carried, icv = good.sealed()
        self.refused(good.but(suite=SUITE_CHASKEY12), Reason.SUITE_MISMATCH)
        # The ciphertext, as a frame of suite 1 with the same tag.
        self.refused(good.but(suite=SUITE_CHASKEY12, inner=carried, icv=icv), Reason.SUITE_MISMATCH)
        self.modify(peer.sa_rx(suite=SUITE_CHASKEY12, level=1))
        self.refused(good, Reason.SUITE_MISMATCH)
        self.refused(good.but(suite=SUITE_CHASKEY12, inner=carried, icv=icv), Reason.BAD_ICV)
        self.modify(peer.sa_rx())
        in_clear = good.but(suite=SUITE_CHASKEY12)
        # Protected by suite 1 with the very key, and its suite byte changed to what the SA says.
        option = in_clear.option()
        lied = in_clear.encode().replace(option, option[:18] + bytes([SUITE_ASCON_AEAD128]) + option[19:])
        self.dropped(256, lied, Reason.BAD_ICV)
        self.accepted(good)


class NonceIsSpiAndSequence(_Frames):
    """Another SPI or sequence on the wire is another nonce, and is bound as well: neither alone would do."""

    def runTest(self) -> None:
        peer, frame = self.world.peer1, self.world.far1.frame_to(B)
        self.insert(peer.sa_rx(spi=peer.rx_spi + 1))  # the same key under another SPI
        good = self.packet(frame)
        bound = good.geneve_base() + good.option()[:20]
        for spi, sequence in ((good.spi + 1, good.sequence), (good.spi, good.sequence + 1)):
            moved = good.but(spi=spi, sequence=sequence)
            bound_moved = moved.geneve_base() + moved.option()[:20]
            for context, name in ((bound, (spi, sequence)), (bound_moved, (good.spi, good.sequence))):
                carried, icv = ascon.encrypt(peer.rx_key, nonce(*name), context, frame)
                # Both, as they would be of a suite that used only one of the two.
                self.dropped(256, moved.encode()[:ICV_AT] + icv + carried, Reason.BAD_ICV)
        self.accepted(good)


class NoPlaintextLeaves(_Frames):
    """Nothing of any block of a frame is in the packet into the tunnel; a flood is encrypted for each peer anew."""

    def runTest(self) -> None:
        for peer in self.world.peers:
            peer.tx_sequence = 0
        needle = bytes(random.Random(2).randbytes(16))
        for length in (60, 590, 1514):
            frame = A.frame_to(self.world.far1, length)
            frame = frame[:42] + (needle * 100)[: length - 42]
            sent = self.world.peer1.sent(frame)
            self.assertNotIn(needle[:4], sent)
            self.assertNotIn(A.mac, sent)
            self.passes(A.port, frame, (256, sent))
        frame = BROADCAST + A.mac + A.frame_to(self.world.far1)[12:]
        copies = [(peer.port, peer.sent(frame)) for peer in self.world.peers]
        self.assertNotEqual(copies[0][1][INNER_AT:], copies[1][1][INNER_AT:])
        self.floods(A.port, frame, (B.port, B.on_wire(frame)), *copies)


class ForgedPlaintextIsInNoMemory(_Frames):
    """What a forgery was decrypted to is in no memory of the switch that a packet, or what looks at one, could meet: it
    is where headers and metadata live that is searched, not what calls have left on stacks. (The plaintext of a packet
    which verifies stays until the next one comes: so the search would have found it.)"""

    world_installed = False
    recordable = False

    def setUp(self) -> None:
        super().setUp()
        if self.session.target != "embedded":
            self.skipTest("BMv2 frees memory without overwriting it")

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.world = World(session, type(self).__name__, self.suite)
            session.set_incarnation(self.world.incarnation)
            session.set_lease()
            self.insert(*self.world.entries(), groups=self.world.replicas())
            for tail in (0, 7, 15):
                self.leaves_nothing(random.Random(tail).randbytes(16 * 8 + tail))

    def leaves_nothing(self, frame: bytes) -> None:
        """Of random bytes, their first ones too: addresses, type, blocks and a tail of each length."""
        self.refused(self.packet(frame).but(icv=bytes(16)), Reason.BAD_ICV)
        self.assertEqual(self.remains(frame), set())
        known = self.world.far1.frame_to(B, 60)
        self.accepted(self.packet(known + frame))
        self.assertNotEqual(self.remains(frame), set())

    def remains(self, frame: bytes) -> set[bytes]:
        """Pieces of it that are in memory that the switch may write, in either order of the bytes of a field."""
        fields = [frame[:6], frame[6:12], *(frame[at : at + 4] for at in range(16, len(frame), 4))]
        tail = frame[len(frame) // 16 * 16 :]
        pairs = [left + right for left, right in zip(fields[2::2], fields[3::2], strict=False)]
        swapped = [left[::-1] + right[::-1] for left, right in zip(fields[2::2], fields[3::2], strict=False)]
        pieces = {one for one in (*fields[:2], *pairs[::3], tail) if len(one) >= PIECE}
        pieces |= {one[::-1] for one in pieces} | {one for one in swapped[::3] if len(one) >= PIECE}
        pieces |= {tail[:8][::-1]} if len(tail) >= 8 else set()
        found = set()
        for region in writable(self.session.switch.pid):
            found |= {piece for piece in pieces if piece in region}
        return found


PIECE = 6
"""Bytes: of fewer, some would be in memory by chance."""


def stack_pointers(pid: int) -> list[int]:
    """Of the threads that wait, which all do while there is no packet (proc(5), syscall)."""
    told = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/syscall")]
    return [int(words[-2], 16) for words in told if len(words) > 2]


def writable(pid: int) -> Iterator[bytes]:
    """The memory of a process that it may write, region by region, without stacks."""
    stacks = stack_pointers(pid)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            first, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and not any(first <= stack < end for stack in stacks):
                memory.seek(first)
                with contextlib.suppress(OSError):  # a region that went meanwhile, or that nobody reads so
                    yield memory.read(end - first)
