# SPDX-License-Identifier: Apache-2.0
"""The few frames that an agent reads or makes: Ethernet II and ARP (RFC 826). They come from tenants: trust nothing."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

ETHERTYPE_ARP = 0x0806
VLAN_TYPES = (0x8100, 0x88A8)
_ARP_HEAD = bytes.fromhex("000108000604")
_ARP_BYTES = 28
_HEADER_BYTES = 14


@dataclass(frozen=True)
class ArpRequest:
    """Who has `target_ip`? Tell `sender_ip` at `sender_mac`."""

    sender_mac: int
    sender_ip: IPv4Address
    target_ip: IPv4Address


def untagged(frame: bytes) -> bytes:
    """The frame without an IEEE 802.1Q tag, if it has one."""
    if len(frame) >= 18 and int.from_bytes(frame[12:14], "big") in VLAN_TYPES:
        return frame[:12] + frame[16:]
    return frame


def destination_of(frame: bytes) -> int | None:
    """Destination MAC address of a frame, or None if it is too short to have one."""
    return int.from_bytes(frame[:6], "big") if len(frame) >= _HEADER_BYTES else None


def parse_arp_request(frame: bytes) -> ArpRequest | None:
    """The ARP request in an untagged frame, or None if it is none, or not well-formed."""
    if len(frame) < _HEADER_BYTES + _ARP_BYTES or int.from_bytes(frame[12:14], "big") != ETHERTYPE_ARP:
        return None
    arp = frame[_HEADER_BYTES : _HEADER_BYTES + _ARP_BYTES]
    if arp[:6] != _ARP_HEAD or arp[6:8] != b"\x00\x01" or arp[8:14] != frame[6:12]:
        return None
    return ArpRequest(int.from_bytes(arp[8:14], "big"), IPv4Address(arp[14:18]), IPv4Address(arp[24:28]))


def arp_reply(request: ArpRequest, mac: int) -> bytes:
    """The frame (42 bytes) that answers `request` with `mac`."""
    asker = request.sender_mac.to_bytes(6, "big")
    answer = mac.to_bytes(6, "big")
    head = asker + answer + ETHERTYPE_ARP.to_bytes(2, "big")
    body = _ARP_HEAD + b"\x00\x02" + answer + request.target_ip.packed + asker + request.sender_ip.packed
    return head + body
