# SPDX-License-Identifier: Apache-2.0
"""Frames of tenants and the plain headers of the underlay, as bytes."""

from __future__ import annotations

import struct

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_CTAG = 0x8100
ETHERTYPE_STAG = 0x88A8
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_LOCAL = 0x88B5  # local experimental (IEEE 802): neither IP nor ARP
BROADCAST = b"\xff" * 6
TCP, UDP, SCTP, ICMP, VRRP = 6, 17, 132, 1, 112
VRRP_GROUP, VRRP_MAC = bytes((224, 0, 0, 18)), bytes.fromhex("01005e000012")
VRRP_GROUP_IPV6, VRRP_MAC_IPV6 = bytes.fromhex("ff02" + 13 * "00" + "12"), bytes.fromhex("333300000012")


def mac(number: int) -> bytes:
    """A locally administered unicast address."""
    return (0x020000000000 | number).to_bytes(6, "big")


def ip4(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


def ip6(number: int) -> bytes:
    """An address out of 2001:db8::/32 (documentation)."""
    return (0x20010DB8 << 96 | number).to_bytes(16, "big")


def pattern(length: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place and from seed to seed."""
    return bytes((7 * i + 31 * seed + 5) & 0xFF for i in range(length))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(dst: bytes, src: bytes, ether_type: int, payload: bytes) -> bytes:
    return dst + src + struct.pack(">H", ether_type) + payload


def tagged(frame: bytes, vlan: int, tpid: int = ETHERTYPE_CTAG, pcp: int = 0) -> bytes:
    """The same frame with a VLAN tag behind its addresses (IEEE 802.1Q)."""
    return frame[:12] + struct.pack(">HH", tpid, pcp << 13 | vlan) + frame[12:]


def padded(frame: bytes, length: int = 60) -> bytes:
    return frame + bytes(max(0, length - len(frame)))


def ipv4(
    src: bytes,
    dst: bytes,
    payload: bytes,
    protocol: int = UDP,
    tos: int = 0,
    fragment: int = 0x4000,
    options: bytes = b"",
    ttl: int = 64,
) -> bytes:
    """An IPv4 packet with a right checksum. fragment: flags and offset, by default "do not fragment"."""
    length = 20 + len(options)
    head = (
        struct.pack(
            ">BBHHHBBH4s4s",
            0x40 | length // 4,
            tos,
            length + len(payload),
            0x1234,
            fragment,
            ttl,
            protocol,
            0,
            src,
            dst,
        )
        + options
    )
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def ipv6(
    src: bytes,
    dst: bytes,
    payload: bytes,
    next_header: int = UDP,
    traffic_class: int = 0,
    label: int = 0,
    hop_limit: int = 64,
) -> bytes:
    first = 6 << 28 | traffic_class << 20 | label
    return struct.pack(">IHBB", first, len(payload), next_header, hop_limit) + src + dst + payload


def arp(operation: int, sender_mac: bytes, sender_ip: bytes, target_mac: bytes, target_ip: bytes) -> bytes:
    """The 28 bytes of an ARP packet for IPv4 over Ethernet (RFC 826)."""
    return struct.pack(">HHBBH", 1, ETHERTYPE_IPV4, 6, 4, operation) + sender_mac + sender_ip + target_mac + target_ip


def vrrp(version: int, *addresses: bytes, vrid: int = 1, priority: int = 100) -> bytes:
    """An advertisement (RFC 9568 5.2, RFC 3768 5.1) without the checksum, which no switch looks at."""
    return struct.pack(">BBBBHH", version << 4 | 1, vrid, priority, len(addresses), 100, 0) + b"".join(addresses)


def arp_request(sender_mac: bytes, sender_ip: bytes, target_ip: bytes, dst: bytes = BROADCAST) -> bytes:
    """A request as it leaves a host, 42 bytes, unpadded."""
    return ethernet(dst, sender_mac, ETHERTYPE_ARP, arp(1, sender_mac, sender_ip, bytes(6), target_ip))


def ip4_frame(
    dst: bytes, src: bytes, src_ip: bytes, dst_ip: bytes, length: int = 60, seed: int = 0, tos: int = 0
) -> bytes:
    """A UDP packet that makes a frame of exactly `length` bytes (at least 42)."""
    payload = pattern(length - 42, seed)
    return ethernet(dst, src, ETHERTYPE_IPV4, ipv4(src_ip, dst_ip, udp(1000 + seed % 50000, 2000, payload), tos=tos))
