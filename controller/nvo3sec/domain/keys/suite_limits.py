# SPDX-License-Identifier: Apache-2.0
"""How much one key of a suite may protect, whatever the domain file says. Where the numbers come from: docs/keys.md."""

from __future__ import annotations

from dataclasses import dataclass

from nvo3sec.domain.overlay.model import Suite

BLOCK_BYTES = 16


@dataclass(frozen=True)
class SuiteLimit:
    """name: of the suite. most: what one key may process, in units of `unit` bytes. beside: units of each packet beside
    its frame, at most: for the headers under the ICV, and for the end of the frame."""

    name: str
    most: int
    unit: int
    beside: int

    def processed(self, packets: int, octets: int) -> int:
        """What a key has processed at most, in units, that has protected so many packets and bytes of frames."""
        return -(-octets // self.unit) + self.beside * packets

    def describe(self) -> str:
        """For people."""
        what = "bytes" if self.unit == 1 else f"blocks of {self.unit} bytes"
        return f"2^{self.most.bit_length() - 1} {what}"


SUITE_LIMITS = {
    # Two blocks of headers, and the end of the frame is one of its own at most.
    Suite.CHASKEY12: SuiteLimit("Chaskey-12", 2**38, BLOCK_BYTES, 3),
    # Associated data and frame are each filled up to whole blocks.
    Suite.ASCON_AEAD128: SuiteLimit("Ascon-AEAD128", 2**50, 1, 3 * BLOCK_BYTES),
}


def allowed_share(suite: Suite, packets: int, octets: int) -> tuple[int, int]:
    """How much of these limits a key of a suite may have, as a ratio of two numbers: less than all of it only where
    together they allow more than the suite does. What follows is rounded down, unit by unit."""
    limit = SUITE_LIMITS[suite]
    processed = limit.processed(packets, octets)
    return (1, 1) if processed <= limit.most else (limit.most - 1, processed)
