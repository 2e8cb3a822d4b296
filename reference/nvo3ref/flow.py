# SPDX-License-Identifier: Apache-2.0
"""The UDP source port of an encapsulated frame: a keyed hash of its inner flow (RFC 8926 3.3, RFC 6438)."""

from __future__ import annotations

from nvo3ref import chaskey
from nvo3ref.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, SCTP, TCP, UDP

FIRST_PORT = 49152
FIRST_ETHERTYPE = 0x0600
WITH_PORTS = (TCP, UDP, SCTP)
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
NO_PORTS = bytes(4)


def _ipv4_ports(packet: bytes) -> bytes:
    """Of a packet that is whole. Options stand in front of them."""
    header = 4 * (packet[0] & 0xF)
    is_whole = packet[0] >> 4 == 4 and header >= 20 and int.from_bytes(packet[6:8], "big") & 0x3FFF == 0
    ports = packet[header : header + 4]
    return ports if is_whole and packet[9] in WITH_PORTS and len(ports) == 4 else NO_PORTS


def _ipv6_ports(packet: bytes) -> bytes:
    """Of a packet that is whole, behind all its extension headers. A header is there with its first eight bytes."""
    kind, at = packet[6], 40
    while len(packet) >= at + 8:
        if kind in WITH_PORTS:
            return packet[at : at + 4]
        if kind in (HOP_BY_HOP, ROUTING, DESTINATION):
            length = 8 + 8 * packet[at + 1]
        elif kind == AUTHENTICATION and packet[at + 1] % 2 == 0:
            length = 8 + 4 * packet[at + 1]
        else:
            break
        kind, at = packet[at], at + length
    return NO_PORTS


def flow_block(inner: bytes) -> bytes:
    """Sixteen bytes that all packets of a flow share, and nothing else goes into."""
    ether_type = int.from_bytes(inner[12:14], "big")
    packet = inner[14:]
    if ether_type == ETHERTYPE_IPV4 and len(inner) >= 32:
        destination = packet[16:20] if len(inner) >= 34 else bytes(4)
        ports = _ipv4_ports(packet) if len(inner) >= 34 else NO_PORTS
        return packet[12:16] + destination + ports + bytes(3) + packet[9:10]
    if ether_type == ETHERTYPE_IPV6 and len(inner) >= 48:
        label = int.from_bytes(packet[0:4], "big") & 0xFFFFF
        source = int.from_bytes(packet[8:24], "big")
        destination_number = int.from_bytes(packet[24:40], "big") if len(inner) >= 54 else 0
        rest = bytes(2) + label.to_bytes(3, "big") if label else _ipv6_ports(packet) + packet[6:7]
        folded = source ^ (destination_number << 1 & (1 << 128) - 1) ^ int.from_bytes(rest, "big") << 88
        return folded.to_bytes(16, "big")
    kind = inner[12:14] if ether_type >= FIRST_ETHERTYPE else bytes(2)
    return inner[:12] + kind + bytes(2)


def _hash(key: bytes | None, inner: bytes) -> int:
    """64 bits; 0 without a key. Who spreads packets takes a slice of his own, so that no two agree by chance."""
    return 0 if key is None else chaskey.keyed_hash(key, flow_block(inner))


def source_port(key: bytes | None, inner: bytes) -> int:
    """In the dynamic range; constant without a key."""
    return FIRST_PORT | _hash(key, inner) & 0x3FFF


def bucket(key: bytes | None, inner: bytes) -> int:
    """Of 64: which way of several a flow takes."""
    return _hash(key, inner) >> 16 & 0x3F


def flow_label(key: bytes | None, inner: bytes) -> int:
    """Of the outer IPv6 header, 20 bits; 0, which is none, without a key."""
    return _hash(key, inner) >> 32 & 0xFFFFF
