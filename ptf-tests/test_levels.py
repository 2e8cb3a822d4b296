# SPDX-License-Identifier: Apache-2.0
"""Two VNs of different levels between the same two NVEs: two living keys, each with its own rotation, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import Entry
from harness.world import BLUE, LEVEL_CONFIDENTIALITY, LEVEL_INTEGRITY, PAIRS, RED, A, B, C, Host, Peer, derived
from nvo3ref.frames import ip4_frame
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import SUITE_ASCON_AEAD128, SUITE_CHASKEY12

FRAMES = 1000  # of each level
BETWEEN_ROTATIONS = 200
PHASE = 0x80000000


@dataclass
class _Key:
    """The newest key of one level in one direction."""

    level: int
    spi: int
    generation: int
    pair: int = 0
    rotations: int = 0

    @property
    def suite(self) -> int:
        return {LEVEL_INTEGRITY: SUITE_CHASKEY12, LEVEL_CONFIDENTIALITY: SUITE_ASCON_AEAD128}[self.level]

    @property
    def key(self) -> bytes:
        return derived("level", self.level, self.spi, self.generation)

    def rotate(self) -> None:
        self.spi = (self.spi ^ PHASE) + 1
        self.generation += 1
        self.rotations += 1


class _BothLevels(NveTest):
    """VN BLUE demands confidentiality. The generations of the two keys are far apart on purpose."""

    def setUp(self) -> None:
        super().setUp()
        self.peer: Peer = self.world.peer1
        self.keys = (
            _Key(LEVEL_INTEGRITY, 0x00020000, generation=7, pair=self.session.fresh("pair", PAIRS)),
            _Key(LEVEL_CONFIDENTIALITY, 0x00030000, generation=90_000, pair=self.session.fresh("pair", PAIRS)),
        )
        self.ways: tuple[tuple[int, Host, Host], ...] = (
            (RED, self.world.far1, B),
            (BLUE, self.world.far_blue, C),
        )
        self.modify(self.peer.authorization(BLUE, level=LEVEL_CONFIDENTIALITY))
        for key in self.keys:
            self.install(key)

    def install(self, key: _Key) -> None:
        ring = {"pair": key.pair, "generation": key.generation}
        self.insert(self.peer.sa_rx(spi=key.spi, suite=key.suite, level=key.level, key=key.key, **ring))

    def packet(self, key: _Key, number: int) -> tuple[bytes, Host, bytes]:
        vni, source, receiver = self.ways[self.keys.index(key)]
        inner = ip4_frame(receiver.mac, source.mac, source.ip, receiver.ip, 60, number)
        return self.protected(key, inner, vni, sequence=number), receiver, inner

    def protected(self, key: _Key, inner: bytes, vni: int, **changes: object) -> bytes:
        return self.peer.packet(inner, vni, suite=key.suite, spi=key.spi, key=key.key, **changes).encode()


class BothLevelsAtOnce(_BothLevels):
    """A thousand frames of each level, interleaved, with rotations of both: nothing is lost to the generations of the
    other, nothing passes twice, and each key closes the one before the last."""

    def runTest(self) -> None:
        passed: list[bytes] = []
        ended: list[tuple[bytes, Host, bytes]] = []
        with Batch(self, "both levels") as batch:
            for number in range(1, FRAMES + 1):
                for key in self.keys:
                    # Not both at the same moment: the levels know nothing of each other.
                    if (number + key.level * BETWEEN_ROTATIONS // 2) % BETWEEN_ROTATIONS == 0:
                        batch.send()
                        ended.append(self.packet(key, number + FRAMES))
                        key.rotate()
                        self.install(key)
                    packet, receiver, inner = self.packet(key, number)
                    batch.passes(self.peer.port, packet, (receiver.port, receiver.on_wire(inner)))
                    passed.append(packet)
            for packet in passed[-FRAMES // 10 :]:
                batch.dropped(self.peer.port, packet, Reason.REPLAYED)
        self.assertEqual([key.rotations for key in self.keys], [FRAMES // BETWEEN_ROTATIONS] * 2)
        # Old and new key of a rotation are received side by side; those of one phase are not.
        *before, last_low, last_high = ended
        for packet, _, _ in before:
            self.dropped(self.peer.port, packet, Reason.REPLAY_GENERATION)
        for packet, receiver, inner in (last_low, last_high):
            self.passes(self.peer.port, packet, (receiver.port, receiver.on_wire(inner)))


class LowerLevelOpensNoHigherVn(_BothLevels):
    """The key of the lower level verifies and is fresh, and yet opens no VN of the higher one; the other way it may."""

    def runTest(self) -> None:
        low, high = self.keys
        blue = self.world.far_blue.frame_to(C)
        self.dropped(256, self.protected(low, blue, BLUE), Reason.VN_SUITE)
        self.passes(256, self.protected(high, blue, BLUE), (C.port, blue))
        red = self.world.far1.frame_to(B)
        self.passes(256, self.protected(low, red, RED), (B.port, B.on_wire(red)))
        self.passes(256, self.protected(high, red, RED), (B.port, B.on_wire(red)))


class BothLevelsShareASequence(NveTest):
    """Two VAPs of one level and one of another into the same tunnel, interleaved, with rotations of both keys: numbers
    belong to the tunnel, so no key ever meets one twice, whichever VAP or level it serves."""

    def runTest(self) -> None:
        peer = self.world.peer1
        keys = (_Key(LEVEL_INTEGRITY, 0x00040000, 1), _Key(LEVEL_CONFIDENTIALITY, 0x00050000, 1))
        self.modify(C.vap(level=LEVEL_CONFIDENTIALITY))
        self.insert(self.sa_tx(keys[1]))
        self.modify(self.sa_tx(keys[0]))
        with Batch(self, "both levels") as batch:
            for number in range(1, FRAMES + 1):
                for key, vni, local, remote in (
                    (keys[0], RED, A, self.world.far1),
                    (keys[1], BLUE, C, self.world.far_blue),
                    (keys[0], RED, B, self.world.far1),
                ):
                    if local is not B and (number + key.level * 100) % BETWEEN_ROTATIONS == 0:
                        batch.send()
                        key.rotate()
                        self.modify(self.sa_tx(key))
                    frame = local.frame_to(remote, seed=number)
                    sent = peer.sent(frame, vni, suite=key.suite, key=key.key, spi=key.spi)
                    batch.passes(local.port, local.on_wire(frame), (peer.port, sent))
        self.assertEqual(peer.tx_sequence, 3 * FRAMES)
        self.assertEqual(self.session.last_sequence(peer.interface), 3 * FRAMES)

    def sa_tx(self, key: _Key) -> Entry:
        return self.world.peer1.sa_tx(key.level, key.level, suite=key.suite, key=key.key, spi=key.spi)
