# SPDX-License-Identifier: Apache-2.0
"""What the counters of entries count: packets and bytes, and at which point."""

from __future__ import annotations

from harness.base import NveTest
from harness.world import BLUE, RED, A, B, C
from nvo3ref.reasons import Reason


class SendingAssociation(NveTest):
    """Each packet that takes the SA, with the length at which it came in; also the ones refused after that."""

    def runTest(self) -> None:
        peer = self.world.peer1
        sent = 0
        for count, length in enumerate((60, 100, 1514), start=1):
            frame = A.frame_to(self.world.far1, length)
            self.passes(A.port, frame, (256, peer.sent(frame)))
            sent += length
            self.assertEqual(self.direct_counter(peer.sa_tx()), (count, sent))
        self.modify(peer.sa_tx(not_after=1))
        before = self.direct_counter(peer.sa_tx())
        self.dropped(A.port, A.frame_to(self.world.far1), Reason.TX_SA_EXPIRED)
        after = self.direct_counter(peer.sa_tx())
        self.assertEqual(after[0] - before[0], 1)
        self.assertEqual(self.direct_counter(self.world.peer2.sa_tx()), (0, 0))


class ReceivingAssociation(NveTest):
    """Counts before verification: anybody can drive it, so nothing may depend on it; strangers' packets do not reach
    it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        packet = peer.packet(self.world.far1.frame_to(B))
        self.passes(256, packet.encode(), (B.port, B.on_wire(packet.inner)))
        self.assertEqual(self.direct_counter(peer.sa_rx()), (1, len(packet.encode())))
        self.dropped(256, packet.encode(), Reason.REPLAYED)
        self.dropped(256, packet.but(sequence=9, icv=bytes(16)).encode(), Reason.BAD_ICV)
        self.assertEqual(self.direct_counter(peer.sa_rx())[0], 3)
        self.dropped(256, packet.but(flags=1).encode(), Reason.OPTION_FLAGS)
        self.dropped(256, packet.but(source=b"\1\2\3\4").encode(), Reason.UNAUTHORIZED_NVE)
        self.dropped(256, packet.but(spi=1).encode(), Reason.NO_SA)
        self.assertEqual(self.direct_counter(peer.sa_rx())[0], 3)


class AuthorizationOfNetworks(NveTest):
    """Counts verified packets only, each under its VN."""

    def runTest(self) -> None:
        peer = self.world.peer1
        red, blue = peer.authorization(RED), peer.authorization(BLUE)
        for _ in range(3):
            packet = peer.packet(self.world.far1.frame_to(B))
            self.passes(256, packet.encode(), (B.port, B.on_wire(packet.inner)))
            self.dropped(256, packet.encode(), Reason.REPLAYED)
            self.dropped(256, packet.but(sequence=99, icv=bytes(16)).encode(), Reason.BAD_ICV)
        inner = self.world.far_blue.frame_to(C)
        self.passes(256, peer.packet(inner, BLUE).encode(), (C.port, inner))
        self.assertEqual(self.direct_counter(red), (3, 3 * len(packet.encode())))
        self.assertEqual(self.direct_counter(blue), (1, len(packet.encode())))


class UseOfVaps(NveTest):
    """Each frame that came in at a VAP, its tag included, dropped ones too."""

    def runTest(self) -> None:
        attached = B.vap()
        frame = B.frame_to(A, 100)
        self.passes(B.port, B.on_wire(frame), (A.port, frame))
        self.assertEqual(self.direct_counter(attached), (1, 104))
        self.dropped(B.port, B.on_wire(A.frame_to(B, 60)), Reason.SOURCE_GUARD)
        self.assertEqual(self.direct_counter(attached), (2, 168))
        self.assertEqual(self.direct_counter(A.vap()), (0, 0))


class CountersBeginAnewWithTheEntry(NveTest):
    """An entry that is deleted and inserted again counts from zero: so does a new key in its place."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for _ in range(3):
            frame = A.frame_to(self.world.far1)
            self.passes(A.port, frame, (256, peer.sent(frame)))
        self.assertEqual(self.direct_counter(peer.sa_tx())[0], 3)
        self.delete(peer.sa_tx())
        self.insert(peer.sa_tx())
        self.assertEqual(self.direct_counter(peer.sa_tx()), (0, 0))
