# SPDX-License-Identifier: Apache-2.0
"""Frames of tenants, built and taken apart: Ethernet, 802.1Q, ARP, IPv4, ICMP echo, TCP, UDP.

The lab's own, so that no packet library stands between what a test means and what is on the wire.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_CTAG = 0x8100  # IEEE 802.1Q
ETHERTYPE_STAG = 0x88A8  # IEEE 802.1ad
ETHERTYPE_EXPERIMENTAL = 0x88B5
"""IEEE 802 local experimental: the payload of attack frames that are to reach a host without disturbing its stack."""

BROADCAST = "ff:ff:ff:ff:ff:ff"
ETHERNET_LENGTH = 14
IPV4_LENGTH = 20

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8
ARP_REQUEST = 1
ARP_REPLY = 2


def mac_bytes(mac: str) -> bytes:
    """Six bytes of a MAC address in colon notation. Raises ValueError."""
    data = bytes.fromhex(mac.replace(":", ""))
    if len(data) != 6:
        raise ValueError(f"not a MAC address: {mac}")
    return data


def mac_text(data: bytes) -> str:
    return data.hex(":")


def ip_bytes(ip: str) -> bytes:
    return IPv4Address(ip).packed


def ip_text(data: bytes) -> str:
    return str(IPv4Address(data))


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination: str, source: str, ether_type: int, payload: bytes) -> bytes:
    return mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", ether_type) + payload


def tagged(frame: bytes, vlan: int, tpid: int = ETHERTYPE_CTAG) -> bytes:
    """The frame with one more VLAN tag, outermost."""
    return frame[:12] + struct.pack("!HH", tpid, vlan) + frame[12:]


def ipv4(source: str, destination: str, protocol: int, payload: bytes, identification: int = 0, ttl: int = 64) -> bytes:
    """An IPv4 packet without options, not to be fragmented (RFC 791)."""
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        IPV4_LENGTH + len(payload),
        identification,
        0x4000,
        ttl,
        protocol,
        0,
        ip_bytes(source),
        ip_bytes(destination),
    )
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def icmp_echo(kind: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP echo request or reply (RFC 792)."""
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + payload
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def silent(source: str, destination: str, payload: bytes) -> bytes:
    """An IPv4 packet that no stack answers, whatever it contains: an echo reply that nobody has asked for."""
    return ipv4(source, destination, PROTOCOL_ICMP, icmp_echo(ICMP_ECHO_REPLY, 0, 0, payload))


def arp(operation: int, sender_mac: str, sender_ip: str, target_mac: str, target_ip: str) -> bytes:
    """An ARP packet (RFC 826)."""
    return (
        struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, operation)
        + mac_bytes(sender_mac)
        + ip_bytes(sender_ip)
        + mac_bytes(target_mac)
        + ip_bytes(target_ip)
    )


@dataclass(frozen=True)
class Ethernet:
    """A frame, taken apart; `vlans` are its tags from the outside."""

    destination: str
    source: str
    vlans: tuple[int, ...]
    ether_type: int
    payload: bytes


def parse_ethernet(frame: bytes) -> Ethernet | None:
    """None for what is too short to be a frame."""
    if len(frame) < ETHERNET_LENGTH:
        return None
    vlans = []
    offset = 12
    kind = int.from_bytes(frame[12:14])
    while kind in (ETHERTYPE_CTAG, ETHERTYPE_STAG) and len(frame) >= offset + 6:
        vlans.append(int.from_bytes(frame[offset + 2 : offset + 4]) & 0x0FFF)
        offset += 4
        kind = int.from_bytes(frame[offset : offset + 2])
    return Ethernet(mac_text(frame[:6]), mac_text(frame[6:12]), tuple(vlans), kind, frame[offset + 2 :])


@dataclass(frozen=True)
class Arp:
    operation: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


def parse_arp(payload: bytes) -> Arp | None:
    """None for anything but ARP for IPv4 on Ethernet."""
    if len(payload) < 28 or payload[:6] != b"\x00\x01\x08\x00\x06\x04":
        return None
    return Arp(
        int.from_bytes(payload[6:8]),
        mac_text(payload[8:14]),
        ip_text(payload[14:18]),
        mac_text(payload[18:24]),
        ip_text(payload[24:28]),
    )


@dataclass(frozen=True)
class Ipv4:
    source: str
    destination: str
    protocol: int
    payload: bytes


def parse_ipv4(packet: bytes) -> Ipv4 | None:
    """None for what is not a whole, unfragmented IPv4 packet with a right header checksum."""
    if len(packet) < IPV4_LENGTH or packet[0] >> 4 != 4:
        return None
    head = (packet[0] & 0x0F) * 4
    total = int.from_bytes(packet[2:4])
    if head < IPV4_LENGTH or not head <= total <= len(packet) or checksum(packet[:head]) != 0:
        return None
    if int.from_bytes(packet[6:8]) & 0x3FFF:
        return None
    return Ipv4(ip_text(packet[12:16]), ip_text(packet[16:20]), packet[9], packet[head:total])


@dataclass(frozen=True)
class Echo:
    kind: int
    identifier: int
    sequence: int
    payload: bytes


def parse_echo(data: bytes) -> Echo | None:
    """None for anything but an ICMP echo request or reply with a right checksum."""
    if len(data) < 8 or data[0] not in (ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY) or checksum(data) != 0:
        return None
    return Echo(data[0], int.from_bytes(data[4:6]), int.from_bytes(data[6:8]), data[8:])
