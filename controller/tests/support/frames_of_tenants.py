# SPDX-License-Identifier: Apache-2.0
"""Frames that announce addresses, as tenants' hosts and routers send them, written from the RFCs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

BROADCAST = 0xFFFF_FFFF_FFFF
VRRP_MACS = {4: 0x0100_5E00_0012, 6: 0x3333_0000_0012}
VRRP_GROUPS = {4: IPv4Address("224.0.0.18"), 6: IPv6Address("ff02::12")}
ALL_NODES, ALL_NODES_MAC = IPv6Address("ff02::1"), 0x3333_0000_0001


def mac(number: int) -> bytes:
    return number.to_bytes(6, "big")


def checksum(data: bytes) -> bytes:
    """RFC 1071, of data with zeros in its place."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = total % 0x10000 + total // 0x10000
    return (0xFFFF - total).to_bytes(2, "big")


def gratuitous_arp(source: int, ip: str, operation: int = 1, target: str | None = None) -> bytes:
    address = IPv4Address(ip).packed
    body = bytes.fromhex("0001080006040000")[:6] + operation.to_bytes(2, "big") + mac(source) + address
    return mac(BROADCAST) + mac(source) + b"\x08\x06" + body + bytes(6) + IPv4Address(target or ip).packed


def _ipv6(source: str, target: IPv6Address, protocol: int, message: bytes, at: int, hops: int = 255) -> bytes:
    """With the checksum of the message at `at`."""
    ends = IPv6Address(source).packed + target.packed
    pseudo = ends + len(message).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    message = message[:at] + checksum(pseudo + message) + message[at + 2 :]
    return b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes((protocol, hops)) + ends + message


def advertisement(
    source: int,
    ip: str,
    *,
    flags: int = 0x20,
    option: bool = True,
    target: IPv6Address = ALL_NODES,
    about: str | None = None,
    more: bytes = b"",
) -> bytes:
    """An unsolicited neighbor advertisement: override, not solicited. more: options behind its own."""
    message = bytes((136, 0, 0, 0, flags, 0, 0, 0)) + IPv6Address(about or ip).packed
    message += (b"\x02\x01" + mac(source) if option else b"") + more
    return mac(ALL_NODES_MAC) + mac(source) + b"\x86\xdd" + _ipv6(ip, target, 58, message, 2)


def vrrp(
    source: int,
    ip: str,
    *listed: str,
    version: int = 3,
    router: int = 1,
    priority: int = 100,
    pseudo: bool = True,
    ttl: int = 255,
) -> bytes:
    """An advertisement of VRRP from `ip`, of IPv4 or IPv6."""
    addresses = b"".join(ip_address(one).packed for one in listed)
    message = bytes((version << 4 | 1, router, priority, len(listed), 0, 100, 0, 0)) + addresses
    if version == 2:
        message += bytes(8)
    own = ip_address(ip)
    if own.version == 6:
        packet = _ipv6(ip, VRRP_GROUPS[6], 112, message, 6, ttl)
        return mac(VRRP_MACS[6]) + mac(source) + b"\x86\xdd" + packet
    ends = own.packed + VRRP_GROUPS[4].packed
    header = ends + bytes((0, 112)) + len(message).to_bytes(2, "big") if version == 3 and pseudo else b""
    message = message[:6] + checksum(header + message) + message[8:]
    head = b"\x45\xc0" + (20 + len(message)).to_bytes(2, "big") + bytes(4) + bytes((ttl, 112, 0, 0)) + ends
    packet = head[:10] + checksum(head) + head[12:] + message
    return mac(VRRP_MACS[4]) + mac(source) + b"\x08\x00" + packet
