# SPDX-License-Identifier: Apache-2.0
"""What arrived at a tenant system, sorted into what had to arrive and what had not.

A drill counts an attack packet as got through if it arrives here, so nothing is dismissed for being harmless: a frame
is either explained (an echo of the lab's own traffic, seen once; an ARP answer that tells the truth; a segment of
the lab's own transfers), or it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nvo3ref import tenant_frames as frames

from nvo3lab.topology import TOKEN

TRANSFER_PORTS = range(50000, 50100)
"""TCP ports of the lab's transfers."""
KINDS = ("explained", "bait", "duplicate", "marked", "other")
"""`bait` are the lab's own packets that an attacker is to catch: each must arrive as often as it was let through."""
_EXAMPLES = 8


@dataclass
class Ledger:
    """Counts of one tenant system.

    Args:
        mac, ip: its own.
        members: IPv4 address → MAC address of every system of its tenant.
        on_echo_reply: called with source address and payload of each reply. Also with those of
            addresses that are no system's (a virtual one, of a tenant's own router), which count as `other`: nobody
            knows here what is true of them, but an answer to what was asked they are.
    """

    mac: str
    ip: str
    members: dict[str, str]
    on_echo_reply: Callable[[str, bytes], None] | None = None
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: list[str] = field(default_factory=list)
    _markers: dict[bytes, str] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)

    def expect_marker(self, marker: bytes, kind: str) -> None:
        """Count frames that carry these bytes as of this kind: marked (an attacker's, must not arrive) or bait."""
        if kind not in ("marked", "bait"):
            raise ValueError(f"no kind of marker: {kind}")
        self._markers[marker] = kind

    def record(self, frame: bytes) -> None:
        kind = self._sort(frame)
        self.counts[kind] += 1
        if kind in ("duplicate", "marked", "other") and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{kind}: {frame[:96].hex()}")

    def _sort(self, frame: bytes) -> str:
        kinds = {kind for marker, kind in self._markers.items() if marker in frame}
        if kinds:
            return "marked" if "marked" in kinds else "bait"
        ethernet = frames.parse_ethernet(frame)
        if ethernet is None or ethernet.vlans or ethernet.destination not in (self.mac, frames.BROADCAST):
            return "other"
        if ethernet.ether_type == frames.ETHERTYPE_ARP:
            return self._sort_arp(ethernet)
        if ethernet.ether_type == frames.ETHERTYPE_IPV4 and ethernet.destination == self.mac:
            return self._sort_ipv4(ethernet)
        return "other"

    def _sort_arp(self, ethernet: frames.Ethernet) -> str:
        arp = frames.parse_arp(ethernet.payload)
        if arp is None or self.members.get(arp.sender_ip) != arp.sender_mac or arp.sender_mac != ethernet.source:
            return "other"
        if arp.operation == frames.ARP_REPLY and (arp.target_ip, arp.target_mac) != (self.ip, self.mac):
            return "other"
        return "explained"

    def _sort_ipv4(self, ethernet: frames.Ethernet) -> str:
        packet = frames.parse_ipv4(ethernet.payload)
        if packet is None or packet.destination != self.ip:
            return "other"
        if packet.source not in self.members:
            return self._sort_unknown(packet)
        if self.members[packet.source] != ethernet.source:
            return "other"
        if packet.protocol == frames.PROTOCOL_ICMP:
            echo = frames.parse_echo(packet.payload)
            if echo is None or not echo.payload.startswith(TOKEN):
                return "other"
            # Requests and replies of both sides have the same payload; kind and sender tell them apart.
            identity = bytes([echo.kind]) + frames.ip_bytes(packet.source) + echo.payload[:32]
            if identity in self._seen:
                return "duplicate"
            self._seen.add(identity)
            if echo.kind == frames.ICMP_ECHO_REPLY and self.on_echo_reply:
                self.on_echo_reply(packet.source, echo.payload)
            return "explained"
        if packet.protocol == frames.PROTOCOL_TCP and len(packet.payload) >= 20:
            source, destination = int.from_bytes(packet.payload[:2]), int.from_bytes(packet.payload[2:4])
            if source in TRANSFER_PORTS or destination in TRANSFER_PORTS:
                return "explained"
        return "other"

    def _sort_unknown(self, packet: frames.Ipv4) -> str:
        echo = frames.parse_echo(packet.payload) if packet.protocol == frames.PROTOCOL_ICMP else None
        if echo is not None and echo.kind == frames.ICMP_ECHO_REPLY and self.on_echo_reply:
            self.on_echo_reply(packet.source, echo.payload)
        return "other"
