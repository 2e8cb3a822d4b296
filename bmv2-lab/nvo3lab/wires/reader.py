# SPDX-License-Identifier: Apache-2.0
"""An outsider on the underlay that reads: it knows something of what tenants say, and looks for it in every frame.

Texts are looked for in pieces of eight bytes. Whatever a cipher left readable of one, be it a single block of sixteen,
has one of them in it whole, and ciphertext has one by chance never. An IPv4 address has four bytes, which ciphertext
does have by chance; so addresses are looked for as headers have them, source and destination beside each other, and in
the packets of their own VN, since other tenants have the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from nvo3ref import protection
from nvo3ref import tenant_frames as frames

PIECE = 8
"""Bytes."""


def pieces(text: bytes) -> list[bytes]:
    """What is looked for of a text. Raises ValueError for one that has no whole number of pieces."""
    if not text or len(text) % PIECE:
        raise ValueError(f"{len(text)} bytes are no whole number of pieces of {PIECE}")
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


@dataclass(frozen=True)
class Known:
    """What is known of one VN.

    Attributes:
        anywhere: bytes that no frame may show, whatever it claims to be.
        inside: bytes that no packet of this VN may show.
    """

    vni: int
    anywhere: frozenset[bytes]
    inside: frozenset[bytes] = frozenset()

    @classmethod
    def of_members(cls, vni: int, members: Iterable[tuple[str, str]], texts: Iterable[bytes] = ()) -> Known:
        """Of a VN whose members have these MAC and IP addresses, and say these texts."""
        members = list(members)
        macs, ips = [frames.mac_bytes(mac) for mac, _ in members], [ip_address(ip).packed for _, ip in members]
        pairs = {one + other for one in ips for other in ips if one != other and len(one) == len(other)}
        return cls(vni, frozenset([*macs, *(piece for text in texts for piece in pieces(text))]), frozenset(pairs))

    @classmethod
    def from_json(cls, known: dict[str, Any]) -> Known:
        return cls(known["vni"], *(frozenset(map(bytes.fromhex, known[which])) for which in ("anywhere", "inside")))

    def to_json(self) -> dict[str, Any]:
        where = {"anywhere": self.anywhere, "inside": self.inside}
        return {"vni": self.vni} | {which: sorted(one.hex() for one in found) for which, found in where.items()}

    def shown_by(self, frame: bytes, vni: int | None) -> set[bytes]:
        """What of it a frame shows. vni: of the protected packet that it is, if it is one."""
        return _within(frame, self.anywhere) | (_within(frame, self.inside) if vni == self.vni else set())


def _within(frame: bytes, wanted: frozenset[bytes]) -> set[bytes]:
    """Those that are in a frame, at any place."""
    return {one for one in wanted if one in frame}


@dataclass
class Reader:
    """What was looked for, and found since."""

    known: tuple[Known, ...] = ()
    frames: Counter[int] = field(default_factory=Counter)
    """VNI → packets of it that were looked at."""
    found: dict[int, Counter[bytes]] = field(default_factory=dict)
    """VNI → what is known of it → frames that show it."""

    def look_for(self, known: Iterable[Known]) -> None:
        """From now on, and for nothing else; what was found before is forgotten."""
        self.known, self.frames = tuple(known), Counter()
        self.found = {one.vni: Counter() for one in self.known}

    def look(self, frame: bytes) -> None:
        """At a frame, whatever it is."""
        if not self.known:
            return
        packet = protection.parse(frame)
        vni = None if isinstance(packet, str) else packet.vni
        if vni is not None:
            self.frames[vni] += 1
        for one in self.known:
            self.found[one.vni].update(one.shown_by(frame, vni))

    def report(self) -> list[dict[str, Any]]:
        """Of each VN: packets that were looked at, and what was found in how many frames (of any VN, or of none)."""
        return [
            {
                "vni": one.vni,
                "packets": self.frames[one.vni],
                "found": {what.hex(): count for what, count in sorted(self.found[one.vni].items())},
            }
            for one in self.known
        ]
