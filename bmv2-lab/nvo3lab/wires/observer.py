# SPDX-License-Identifier: Apache-2.0
"""The observer of one underlay link: it looks at every frame that an NVE sends, and at whatever else is on the link.

Each must be a protected packet, from an NVE that is on this link, with a sequence number that this key has not used
before: the pair of key and sequence is the one thing that both suites must never see twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nvo3ref import protection

_EXAMPLES = 8


@dataclass
class Observer:
    """Counts of one link.

    Args:
        name: of the NVE at the link's other end.
        address: its underlay address; what it sends comes from there.
    """

    name: str
    address: str
    frames: int = 0
    protected: int = 0
    violations: int = 0
    examples: list[str] = field(default_factory=list)
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    _seen: set[tuple[str, int, int]] = field(default_factory=set)

    def sent(self, frame: bytes) -> protection.Protected | None:
        """A frame that the NVE sent. Returns the packet where there is nothing to complain about."""
        self.frames += 1
        packet = protection.parse(frame)
        if isinstance(packet, str):
            self._complain(packet, frame)
            return None
        if packet.source != self.address:
            self._complain(f"source {packet.source}, but the link is that of {self.address}", frame)
            return None
        use = (packet.destination, packet.spi, packet.sequence)
        if use in self._seen:
            self._complain(f"sequence {packet.sequence} a second time under SPI {packet.spi:#010x}", frame)
            return None
        self._seen.add(use)
        key = packet.destination, packet.spi
        self.last[key] = max(self.last.get(key, 0), packet.sequence)
        self.protected += 1
        return packet

    def foreign(self, frame: bytes) -> None:
        """A frame on the link that neither the NVE nor the fabric sent: a kernel that talks by itself."""
        self.frames += 1
        self._complain("sent by a kernel, not by an NVE", frame)

    def report(self, missed: int) -> dict[str, Any]:
        """What was seen; `missed` frames the observer could not look at, which is as bad as a violation."""
        return {
            "link": self.name,
            "frames": self.frames,
            "protected": self.protected,
            "violations": self.violations,
            "missed": missed,
            "examples": list(self.examples),
        }

    def _complain(self, reason: str, frame: bytes) -> None:
        self.violations += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{reason}: {frame[:64].hex()}")
