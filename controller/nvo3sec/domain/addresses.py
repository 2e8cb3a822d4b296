# SPDX-License-Identifier: Apache-2.0
"""Addresses as the overlay uses them: MAC addresses as 48-bit integers, IP addresses as `ipaddress` objects."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_GROUP_BIT = 1 << 40
_V4_MAPPED = 0xFFFF << 32


def parse_mac(text: str) -> int:
    """48-bit value of "aa:bb:cc:dd:ee:ff". Raises ValueError for any other form."""
    if not _MAC.fullmatch(text):
        raise ValueError("not a MAC address; write six bytes in hexadecimal, like 02:00:00:00:01:00")
    return int(text.replace(":", ""), 16)


def format_mac(mac: int) -> str:
    """Lower-case text of a 48-bit MAC address."""
    return mac.to_bytes(6, "big").hex(":")


def is_group_mac(mac: int) -> bool:
    """Multicast or broadcast (IEEE 802: lowest bit of the first byte)."""
    return bool(mac & _GROUP_BIT)


def mapped_ipv6(address: IpAddress) -> bytes:
    """The 16 bytes of an address; IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2)."""
    if isinstance(address, IPv4Address):
        return (_V4_MAPPED | int(address)).to_bytes(16, "big")
    return address.packed


def unicast_fault(address: IpAddress) -> str | None:
    """Why `address` cannot belong to one machine, or None."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        # On no wire (RFC 5156 section 2.2). As which kind of IPv4 address `ipaddress` sees it differs between Pythons.
        return f"{address} is the IPv4 address {address.ipv4_mapped} in the form of IPv6; a unicast address is needed"
    for name in ("multicast", "unspecified", "loopback"):
        if getattr(address, f"is_{name}"):
            return f"{address} is a {name} address; a unicast address is needed"
    if isinstance(address, IPv4Address) and (address.is_reserved or int(address) >> 24 == 0):
        return f"{address} is reserved; a unicast address is needed"
    return None
