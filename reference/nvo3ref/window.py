# SPDX-License-Identifier: Apache-2.0
"""The replay window as a set of numbers: slow, and plainly what RFC 4303 3.4.3 says."""

from __future__ import annotations

from nvo3ref.reasons import Reason

RING_SLOTS = 256
SLOT_PACKETS = 32
WINDOW = SLOT_PACKETS * (RING_SLOTS - 1)  # 8160 packets: one slot is always being refilled


class Window:
    """One (peer, level, phase of the SPI). Sequence numbers begin at 1."""

    def __init__(self) -> None:
        self.generation = -1
        self.highest = 0
        self.seen: set[int] = set()

    def judge(self, generation: int, sequence: int) -> Reason | None:
        """None if the packet may pass; nothing is changed."""
        if generation < self.generation:
            return Reason.REPLAY_GENERATION
        if generation > self.generation:
            return None if sequence > 0 else Reason.REPLAY_TOO_LATE
        if sequence <= max(0, self.highest - WINDOW):
            return Reason.REPLAY_TOO_LATE
        return Reason.REPLAYED if sequence in self.seen else None

    def commit(self, generation: int, sequence: int) -> None:
        """Takes note of a verified packet that `judge` let pass."""
        if self.judge(generation, sequence) is not None:
            raise ValueError("a packet that the window refuses cannot be committed")
        if generation > self.generation:
            self.generation = generation
            self.highest = 0
            self.seen = set()
        self.seen.add(sequence)
        self.highest = max(self.highest, sequence)
