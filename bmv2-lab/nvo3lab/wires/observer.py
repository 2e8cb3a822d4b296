# SPDX-License-Identifier: Apache-2.0
"""The observer of one underlay link: it looks at every frame that an NVE sends, and at whatever else is on the link.

Each must be a protected packet, from the NVE on this link to one that it has a tunnel to, over IPv4 or IPv6 as that
tunnel is, with a sequence number that this key has not used before: the pair of key and sequence is the one thing that
both suites must never see twice. Its suite must give the level that its VN demands, and where that is confidentiality,
nothing may be readable of what is known of the tenants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nvo3ref import protection

from nvo3lab.topology import CONFIDENTIALITY, INTEGRITY, TOKEN
from nvo3lab.wires.reader import Known, pieces

_EXAMPLES = 8
LEVELS = (INTEGRITY, CONFIDENTIALITY)
"""The higher ones last."""
GIVEN = {protection.SUITE_CHASKEY12: INTEGRITY, protection.SUITE_ASCON_AEAD128: CONFIDENTIALITY}
"""Suite → level."""
FAMILIES = ("IPv4", "IPv6")
"""Of the outer addresses."""


def family_of(packet: protection.Protected) -> str:
    """One of `FAMILIES`."""
    return FAMILIES[packet.is_ipv6]


@dataclass
class WatchedVn:
    """A VN as the observers of all links know it, from the domain.

    Attributes:
        level: that it demands now.
        known: what nobody may read where it demands confidentiality.
    """

    name: str
    vni: int
    level: str
    known: Known

    @classmethod
    def of_members(cls, name: str, vni: int, level: str, members: Iterable[tuple[str, str]]) -> WatchedVn:
        """members: their MAC and IP addresses."""
        known = Known.of_members(vni, members)
        return cls(name, vni, level, Known(vni, known.anywhere, known.inside | {*pieces(TOKEN)}))

    def demand(self, level: str) -> None:
        """Another level from now on. Raises ValueError for a word that is none."""
        if level not in LEVELS:
            raise ValueError(f"{level}: a level is one of {', '.join(LEVELS)}")
        self.level = level


@dataclass
class Observer:
    """Counts of one link.

    Args:
        name: of the NVE at the link's other end.
        ends: of its tunnels, from where to where: what it sends has these addresses.
        vns: VNI → what is demanded; the same for the observers of all links.
    """

    name: str
    ends: frozenset[tuple[str, str]]
    vns: dict[int, WatchedVn] = field(default_factory=dict)
    frames: int = 0
    protected: int = 0
    violations: int = 0
    examples: list[str] = field(default_factory=list)
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    suites: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    """(VNI, family of the outer addresses, suite) → packets."""
    _seen: set[tuple[str, int, int]] = field(default_factory=set)

    def sent(self, frame: bytes) -> protection.Protected | None:
        """A frame that the NVE sent. Returns the packet where there is nothing to complain about."""
        self.frames += 1
        packet = protection.parse(frame)
        if isinstance(packet, str):
            self._complain(packet, frame)
            return None
        self.suites[packet.vni, family_of(packet), packet.suite] += 1
        if (packet.source, packet.destination) not in self.ends:
            self._complain(f"{self.name} has no tunnel from {packet.source} to {packet.destination}", frame)
            return None
        use = (packet.destination, packet.spi, packet.sequence)
        if use in self._seen:
            self._complain(f"sequence {packet.sequence} a second time under SPI {packet.spi:#010x}", frame)
            return None
        self._seen.add(use)
        if (reason := self._below(packet) or self._readable(packet, frame)) is not None:
            self._complain(reason, frame)
            return None
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

    def _below(self, packet: protection.Protected) -> str | None:
        """What is wrong with the level of a packet."""
        vn, given = self.vns.get(packet.vni), GIVEN[packet.suite]
        if vn is None or LEVELS.index(given) >= LEVELS.index(vn.level):
            return None
        return f"VN {vn.name} demands {vn.level}, and suite {packet.suite} gives {given}"

    def _readable(self, packet: protection.Protected, frame: bytes) -> str | None:
        """What can be read that must not be."""
        for vn in self.vns.values():
            if vn.level == CONFIDENTIALITY and (shown := vn.known.shown_by(frame, packet.vni)):
                return f"plaintext of VN {vn.name}: {min(shown).hex()}"
        return None

    def _complain(self, reason: str, frame: bytes) -> None:
        self.violations += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{reason}: {frame[:64].hex()}")
