# SPDX-License-Identifier: Apache-2.0
"""The few frames that an agent reads or makes: ARP (RFC 826) and neighbor discovery (RFC 4861), over Ethernet II.

They come from tenants: nothing in them is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from nvo3sec.domain.overlay.addresses import IpAddress

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
VLAN_TYPES = (0x8100, 0x88A8)
_ARP_HEAD = bytes.fromhex("000108000604")
_ARP_BYTES = 28
_HEADER_BYTES = 14
_IPV6_BYTES = 40
_ICMPV6 = 58
_ND_SOLICITATION, _ND_ADVERTISEMENT = 135, 136
_ND_HOP_LIMIT = 255
_ND_LENGTH = (32).to_bytes(2, "big")
_ND_FRAME_BYTES = _HEADER_BYTES + _IPV6_BYTES + 32
_ND_SOURCE_OPTION, _ND_TARGET_OPTION = b"\x01\x01", b"\x02\x01"
_ND_SOLICITED_OVERRIDE = b"\x60\x00\x00\x00"


@dataclass(frozen=True)
class Question:
    """Who has `target_ip`? Tell `sender_ip` at `sender_mac`. IPv4: an ARP request; IPv6: a neighbor solicitation."""

    sender_mac: int
    sender_ip: IpAddress
    target_ip: IpAddress


def untagged(frame: bytes) -> bytes:
    """The frame without an IEEE 802.1Q tag, if it has one."""
    if len(frame) >= 18 and int.from_bytes(frame[12:14], "big") in VLAN_TYPES:
        return frame[:12] + frame[16:]
    return frame


def destination_of(frame: bytes) -> int | None:
    """Destination MAC address of a frame, or None if it is too short to have one."""
    return int.from_bytes(frame[:6], "big") if len(frame) >= _HEADER_BYTES else None


def parse_question(frame: bytes) -> Question | None:
    """The ARP request or neighbor solicitation in an untagged frame, or None if it is neither, or not well-formed."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ETHERTYPE_ARP:
        return _parse_arp(frame)
    return _parse_solicitation(frame) if kind == ETHERTYPE_IPV6 else None


def _parse_arp(frame: bytes) -> Question | None:
    arp = frame[_HEADER_BYTES : _HEADER_BYTES + _ARP_BYTES]
    if len(arp) < _ARP_BYTES or arp[:6] != _ARP_HEAD or arp[6:8] != b"\x00\x01" or arp[8:14] != frame[6:12]:
        return None
    return Question(int.from_bytes(arp[8:14], "big"), IPv4Address(arp[14:18]), IPv4Address(arp[24:28]))


def _parse_solicitation(frame: bytes) -> Question | None:
    """With the source's link-layer address as its one option (RFC 4861 4.3): 86 bytes, and nothing else is answered."""
    if len(frame) != _ND_FRAME_BYTES:
        return None
    ip, icmp = frame[_HEADER_BYTES:][:_IPV6_BYTES], frame[_HEADER_BYTES + _IPV6_BYTES :]
    if ip[:1] != b"\x60" or ip[4:8] != _ND_LENGTH + bytes([_ICMPV6, _ND_HOP_LIMIT]):
        return None
    if icmp[:2] != bytes([_ND_SOLICITATION, 0]) or icmp[24:26] != _ND_SOURCE_OPTION or icmp[26:32] != frame[6:12]:
        return None
    if _icmpv6_checksum(ip[8:40], icmp) != 0:
        return None
    return Question(int.from_bytes(icmp[26:32], "big"), IPv6Address(ip[8:24]), IPv6Address(icmp[8:24]))


def _icmpv6_checksum(addresses: bytes, icmp: bytes) -> int:
    """Internet checksum over pseudo-header and message (RFC 8200 8.1); 0 for a message with a right one."""
    return internet_checksum(addresses + len(icmp).to_bytes(4, "big") + bytes([0, 0, 0, _ICMPV6]) + icmp)


def internet_checksum(data: bytes) -> int:
    """RFC 1071; 0 for data with a right one in it. An odd byte at the end counts as one with a zero behind it."""
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def neighbor_reply(question: Question, mac: int) -> bytes:
    """The frame that answers `question` with `mac`: 42 bytes of ARP, or 86 of neighbor advertisement."""
    asker, answer = question.sender_mac.to_bytes(6, "big"), mac.to_bytes(6, "big")
    target, sender = question.target_ip.packed, question.sender_ip.packed
    if isinstance(question.target_ip, IPv4Address):
        body = _ARP_HEAD + b"\x00\x02" + answer + target + asker + sender
        return asker + answer + ETHERTYPE_ARP.to_bytes(2, "big") + body
    message = target + _ND_TARGET_OPTION + answer
    head, flags = bytes([_ND_ADVERTISEMENT, 0]), _ND_SOLICITED_OVERRIDE
    checksum = _icmpv6_checksum(target + sender, head + bytes(2) + flags + message).to_bytes(2, "big")
    ip = b"\x60\x00\x00\x00" + _ND_LENGTH + bytes([_ICMPV6, _ND_HOP_LIMIT]) + target + sender
    return asker + answer + ETHERTYPE_IPV6.to_bytes(2, "big") + ip + head + checksum + flags + message
