# SPDX-License-Identifier: Apache-2.0
"""The UDP source port of an encapsulated frame: a keyed hash of its inner flow (RFC 8926 3.3, RFC 6438)."""

from __future__ import annotations

import struct

from nvo3ref import chaskey
from nvo3ref.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, SCTP, TCP, UDP

FIRST_PORT = 49152


def flow_block(inner: bytes) -> bytes:
    """Sixteen bytes that all packets of a flow share."""
    ether_type = int.from_bytes(inner[12:14], "big")
    packet = inner[14:]
    if ether_type == ETHERTYPE_IPV4 and len(inner) >= 48:
        protocol = packet[9]
        whole = packet[0] == 0x45 and int.from_bytes(packet[6:8], "big") & 0x3FFF == 0
        ports = packet[20:24] if whole and protocol in (TCP, UDP, SCTP) else bytes(4)
        return packet[12:20] + ports + bytes(3) + bytes([protocol])
    if ether_type == ETHERTYPE_IPV6 and len(inner) >= 64:
        label = int.from_bytes(packet[0:4], "big") & 0xFFFFF
        source = int.from_bytes(packet[8:24], "big")
        destination = int.from_bytes(packet[24:40], "big")
        folded = source ^ (destination << 1 & (1 << 128) - 1) ^ (label << 8 | packet[6])
        return folded.to_bytes(16, "big")
    return inner[:12] + struct.pack(">HH", ether_type, 0)


def source_port(key: bytes | None, inner: bytes) -> int:
    """In the dynamic range; constant without a key."""
    if key is None:
        return FIRST_PORT
    return FIRST_PORT | chaskey.keyed_hash(key, flow_block(inner)) & 0x3FFF
