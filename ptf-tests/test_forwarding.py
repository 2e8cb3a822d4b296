# SPDX-License-Identifier: Apache-2.0
"""What the NVE is for: frames of a VN between VAPs and tunnels."""

from __future__ import annotations

from harness.base import NveTest
from harness.world import BLUE, RED, A, B, C, D


class BridgeBetweenVaps(NveTest):
    """Untagged to tagged and back, in one VN."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        frame = B.frame_to(A)
        self.passes(B.port, B.on_wire(frame), (A.port, frame))


class BridgeIntoTunnel(NveTest):
    """A frame to a host behind a peer leaves protected, in order of sequence numbers."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for length in (60, 61, 100, 1514):
            frame = A.frame_to(self.world.far1, length)
            self.passes(A.port, frame, (256, peer.sent(frame)))
        frame = D.frame_to(self.world.far_blue)
        self.passes(D.port, D.on_wire(frame), (256, peer.sent(frame, BLUE)))


class BridgeOutOfTunnel(NveTest):
    """A protected frame reaches its VAP as it was sent."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for length in (60, 61, 100, 1514):
            frame = self.world.far1.frame_to(B, length)
            self.passes(256, peer.packet(frame).encode(), (B.port, B.on_wire(frame)))
        frame = self.world.far_blue.frame_to(C)
        self.passes(256, peer.packet(frame, BLUE).encode(), (C.port, frame))


class SameAddressInTwoNetworks(NveTest):
    """The VNI decides, not the MAC address."""

    def runTest(self) -> None:
        twin = self.world.far1
        frame = twin.frame_to(A)
        self.passes(257, self.world.peer2.packet(frame, RED).encode(), (A.port, frame))
