# SPDX-License-Identifier: Apache-2.0
"""The replay window against a set of numbers: inside, outside, reordered, in jumps, over generations and phases."""

from __future__ import annotations

import random

from harness.base import NveTest
from harness.batch import UnderlayBatch
from harness.world import RED, B, Peer, derived
from nvo3ref.frames import ip4_frame
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import TunnelPacket
from nvo3ref.window import RING_SLOTS, SLOT_PACKETS, WINDOW

LAST = (1 << 64) - 1
RING = RING_SLOTS * SLOT_PACKETS


class _Replay(NveTest):
    """Packets by sequence number; the nvo3ref knows what becomes of each."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.world.peer1
        self.batch = UnderlayBatch(self, self.peer)
        self.association = next(iter(self.batch.receiver.associations.values()))

    def inner(self, seed: int = 0) -> bytes:
        return ip4_frame(B.mac, self.world.far1.mac, self.world.far1.ip, B.ip, 60, seed & 0xFFFF)

    def numbered(self, sequence: int) -> TunnelPacket:
        return self.peer.packet(self.inner(sequence), sequence=sequence, key=self.association.key)

    def add(self, *sequences: int) -> list[Reason | None]:
        return [self.batch.add(self.numbered(sequence).encode()) for sequence in sequences]

    def renew(self, generation: int, key: bytes | None = None) -> None:
        """The SA of this SPI gets another generation, and with it another key."""
        self.batch.send()
        self.association.generation = generation
        self.association.key = key or derived("generation", generation)
        self.modify(self.peer.sa_rx(generation=generation, key=self.association.key))

    def tearDown(self) -> None:
        self.batch.send()
        super().tearDown()


class ReplayOfEverything(_Replay):
    """Each packet passes once, in order; then all of them again, forwards and backwards."""

    def runTest(self) -> None:
        numbers = list(range(1, 200))
        self.assertEqual(set(self.add(*numbers)), {None})
        self.assertEqual(set(self.add(*numbers, *reversed(numbers))), {Reason.REPLAYED})


class ReplayUnderNewOuterHeader(_Replay):
    """A replay with another source port, TTL or MAC is a replay."""

    def runTest(self) -> None:
        self.add(5)
        for changes in ({"udp_source": 60000}, {"ttl": 3}, {"dscp": 10}, {"eth_src": bytes(6)}, {"identification": 9}):
            self.assertEqual(self.batch.add(self.numbered(5).but(**changes).encode()), Reason.REPLAYED)


class ReplayWithOtherContent(_Replay):
    """An insider who signs another frame under a number that was used is refused as well."""

    def runTest(self) -> None:
        self.add(5)
        again = self.peer.packet(self.inner(999), sequence=5)
        self.assertEqual(self.batch.add(again.encode()), Reason.REPLAYED)


class ForgeryMovesNoWindow(_Replay):
    """A packet with a bad ICV neither uses up its number nor pushes the window ahead."""

    def runTest(self) -> None:
        self.add(1)
        for sequence in (2, 3, 50000, LAST):
            self.assertEqual(self.batch.add(self.numbered(sequence).but(icv=bytes(16)).encode()), Reason.BAD_ICV)
        self.assertEqual(self.add(2, 3), [None, None])


class SequenceZero(_Replay):
    """It is never sent, so it never passes: before the first packet, and after."""

    def runTest(self) -> None:
        self.assertEqual(self.add(0), [Reason.REPLAY_TOO_LATE])
        self.assertEqual(self.add(1, 0), [None, Reason.REPLAY_TOO_LATE])


class WindowEdges(_Replay):
    """The oldest number that may still come, and the one before it."""

    def runTest(self) -> None:
        for highest in (WINDOW, WINDOW + 1, 20000, 1 << 32, (1 << 45) + 7):
            self.assertEqual(self.add(highest), [None])
            oldest = max(1, highest - WINDOW + 1)
            self.assertEqual(self.add(oldest, oldest, oldest - 1), [None, Reason.REPLAYED, Reason.REPLAY_TOO_LATE])


class Reordering(_Replay):
    """Blocks of packets backwards and shuffled: each passes once."""

    def runTest(self) -> None:
        chooser = random.Random(6479)
        first = list(range(200, 0, -1))
        self.assertEqual(set(self.add(*first)), {None})
        second = list(range(201, 800))
        chooser.shuffle(second)
        self.assertEqual(set(self.add(*second)), {None})
        self.assertEqual(set(self.add(*chooser.sample(first + second, 100))), {Reason.REPLAYED})


class JumpOverTheRing(_Replay):
    """A jump by whole rings meets old slots: they count as empty, and what they held is too late."""

    def runTest(self) -> None:
        self.add(*range(1, 100))
        for factor in (1, 2, 7):
            base = factor * RING
            self.assertEqual(set(self.add(*range(base + 10, base + 40))), {None})
            self.assertEqual(set(self.add(*range(base + 10, base + 40))), {Reason.REPLAYED})
        self.assertEqual(set(self.add(*range(1, 100))), {Reason.REPLAY_TOO_LATE})


class SlotBorders(_Replay):
    """Both sides of every border between slots, of 32 bits, and of the ring."""

    def runTest(self) -> None:
        borders = [SLOT_PACKETS * k for k in (1, 2, 3, 255, 256, 257, 512)]
        for border in borders:
            self.assertEqual(self.add(border - 1, border, border + 1), [None, None, None])
            self.assertEqual(set(self.add(border - 1, border, border + 1)), {Reason.REPLAYED})


class RandomWalk(_Replay):
    """Thousands of packets: small steps, repeats, late ones at the edge, jumps, forgeries in between."""

    def runTest(self) -> None:
        chooser = random.Random(4303)
        highest = 1
        for _ in range(4000):
            kind = chooser.random()
            if kind < 0.45:
                sequence = highest + chooser.randrange(1, 4)
            elif kind < 0.75:
                sequence = max(0, highest - chooser.randrange(0, 200))
            elif kind < 0.90:
                sequence = max(0, highest - WINDOW + chooser.randrange(-40, 40))
            elif kind < 0.93:
                sequence = highest + chooser.randrange(1, 2 * RING)
            else:
                self.batch.add(self.numbered(highest + chooser.randrange(1, 50000)).but(icv=bytes(16)).encode())
                continue
            if self.add(sequence) == [None]:
                highest = max(highest, sequence)
        self.batch.send()
        verdicts = self.batch.verdicts
        for reason in (None, Reason.REPLAYED, Reason.REPLAY_TOO_LATE, Reason.BAD_ICV):
            self.assertGreater(verdicts[reason], 100, f"the walk has hardly met {reason}")


class RandomWalkOverGenerations(_Replay):
    """The same over forty generations of the key, some older than what the ring has seen."""

    def runTest(self) -> None:
        chooser = random.Random(300)
        generation = 1
        for _ in range(40):
            generation = max(1, generation + chooser.choice((-2, -1, 1, 1, 1, 2, 5)))
            self.renew(generation)
            start = chooser.choice((1, 100, RING - 20, 40000))
            for _ in range(32):
                self.add(max(0, start + chooser.randrange(-60, 60)))
        self.batch.send()
        for reason in (None, Reason.REPLAYED, Reason.REPLAY_GENERATION):
            self.assertGreater(self.batch.verdicts[reason], 50, f"the walk has hardly met {reason}")


class GenerationStep(_Replay):
    """A new key finds the window empty, the old one finds it closed, and stays out when its entry comes back."""

    def runTest(self) -> None:
        old = self.association.key
        self.add(1, 2, 3, 9000)
        self.renew(2)
        self.assertEqual(self.add(1, 2, 3, 1), [None, None, None, Reason.REPLAYED])
        self.renew(1, old)
        self.assertEqual(self.add(4, 9001, 20000), [Reason.REPLAY_GENERATION] * 3)
        self.renew(2)
        self.assertEqual(self.add(4, 1), [None, Reason.REPLAYED])


class GenerationExtremes(_Replay):
    """From the first generation number there is to the last."""

    def runTest(self) -> None:
        for generation in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            self.renew(generation)
            self.assertEqual(self.add(7, 7), [None, Reason.REPLAYED])
        self.renew(0)
        self.assertEqual(self.add(8), [Reason.REPLAY_GENERATION])


class NewGenerationCounterContinues(_Replay):
    """A sender's counter goes on over a rekeying: the new key begins where the old one stopped."""

    def runTest(self) -> None:
        self.add(*range(100_000, 100_040))
        self.renew(2)
        self.assertEqual(set(self.add(*range(100_040, 100_080))), {None})
        self.assertEqual(self.add(100_040, 100_039), [Reason.REPLAYED, None])


class PoisonedWindowHeals(_Replay):
    """With a stolen key the window is driven to its end; the next generation, and only it, opens it again."""

    def runTest(self) -> None:
        self.add(*range(1, 10))
        self.assertEqual(self.add(LAST), [None])
        self.assertEqual(self.add(10, 11, LAST - WINDOW), [Reason.REPLAY_TOO_LATE] * 3)
        poison = [LAST - WINDOW + 1 + SLOT_PACKETS * k for k in range(RING_SLOTS - 1)]
        self.assertEqual(set(self.add(*poison)), {None})
        self.assertEqual(self.add(12), [Reason.REPLAY_TOO_LATE])
        self.renew(2)
        self.assertEqual(set(self.add(*range(10, 40), LAST - 3)), {None})


class HighestSequences(_Replay):
    """The last numbers of 64 bits: no overflow lets anything in twice."""

    def runTest(self) -> None:
        self.assertEqual(self.add(LAST - 1, LAST, LAST, LAST - 1), [None, None, Reason.REPLAYED, Reason.REPLAYED])
        self.assertEqual(self.add(LAST - WINDOW, LAST - WINDOW + 1), [Reason.REPLAY_TOO_LATE, None])
        self.assertEqual(self.add(0, 1), [Reason.REPLAY_TOO_LATE] * 2)


class BothPhasesAtOnce(NveTest):
    """During a rotation old and new key are received side by side; their windows do not touch each other."""

    def runTest(self) -> None:
        peer = self.world.peer1
        new_key, new_spi = derived("phase 1"), peer.rx_spi | 0x80000000
        self.insert(peer.sa_rx(spi=new_spi, key=new_key, generation=2))
        old = UnderlayBatch(self, peer)
        new = UnderlayBatch(self, peer)
        window = next(iter(new.receiver.associations.values()))
        window.key, window.generation = new_key, 2
        new.receiver.associations = {(peer.address, key[1], new_spi): window for key in new.receiver.associations}
        chooser = random.Random(2)
        for step in range(1, 300):
            number = chooser.randrange(max(1, step - 20), step + 20)
            batch = chooser.choice((old, new))
            spi, key = (peer.rx_spi, peer.rx_key) if batch is old else (new_spi, new_key)
            frame = self.world.far1.frame_to(B, seed=step)
            batch.add(peer.packet(frame, sequence=number, spi=spi, key=key).encode())
            batch.send()
        for batch in (old, new):
            self.assertGreater(batch.verdicts[Reason.REPLAYED], 10)
        # A jump, even to the end, in one phase leaves the other as it was.
        self.assertIsNone(new.add(peer.packet(self.inner(), sequence=LAST, spi=new_spi, key=new_key).encode()))
        new.send()
        self.assertIsNone(old.add(peer.packet(self.inner(), sequence=400).encode()))
        old.send()

    def inner(self) -> bytes:
        return self.world.far1.frame_to(B)


class PairsDoNotShareWindows(NveTest):
    """Two peers use the same sequence numbers at the same time."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        for sequence in (1, 2, 5, 8000, 3):
            for source, port, far in ((peer, 256, self.world.far1), (other, 257, self.world.far2)):
                frame = far.frame_to(B)
                packet = source.packet(frame, RED, sequence=sequence).encode()
                self.passes(port, packet, (B.port, B.on_wire(frame)))
                self.dropped(port, packet, Reason.REPLAYED)


class ReassignedPair(NveTest):
    """A ring that belonged to one peer is given to another under a higher generation: it starts empty."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        frame = self.world.far1.frame_to(B)
        for sequence in (1, 2, 70000):
            self.passes(256, peer.packet(frame, sequence=sequence).encode(), (B.port, B.on_wire(frame)))
        self.delete(peer.sa_rx())
        self.modify(other.sa_rx(pair=peer.pair, generation=2))
        frame = self.world.far2.frame_to(B)
        for sequence in (1, 2, 3):
            self._once(other, frame, sequence)

    def _once(self, other: Peer, frame: bytes, sequence: int) -> None:
        packet = other.packet(frame, sequence=sequence).encode()
        self.passes(257, packet, (B.port, B.on_wire(frame)))
        self.dropped(257, packet, Reason.REPLAYED)
