# SPDX-License-Identifier: Apache-2.0
"""Addresses as the overlay uses them: MAC addresses as 48-bit integers, IP addresses as `ipaddress` objects.

Every address of a tenant or an NVE comes in through this module: from files, commands, messages, frames, switches. What
is equal on the wire is equal here. What has another form, or is on no wire as such an address, is refused, with the
reason in words.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address
IpNetwork: TypeAlias = IPv4Network | IPv6Network
UnderlayAddress: TypeAlias = IPv4Address | IPv6Address
"""Of an NVE: one for which `underlay_fault` has nothing to say."""

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_OTHER_MAC = re.compile(r"[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}|[0-9a-fA-F]{12}")
"""As other tools write them (IEEE 802 section 8.1; Cisco's form; no separators)."""
_GROUP_BIT = 1 << 40
_V4_MAPPED = 0xFFFF << 32
_V4_COMPATIBLE_BITS = 32


# --- MAC addresses --------------------------------------------------------------------------------------------------


def parse_mac(text: object) -> int:
    """48-bit value of "aa:bb:cc:dd:ee:ff". Raises ValueError for any other form."""
    if not isinstance(text, str):
        # YAML 1.1 reads 02:00:00:00:01:00 as a number in base 60 if every digit is decimal and below 60.
        raise ValueError('not text; quote the MAC address, like "02:00:00:00:01:00"')
    if _MAC.fullmatch(text):
        return int(text.replace(":", ""), 16)
    if _OTHER_MAC.fullmatch(text):
        mac = int(re.sub("[-.]", "", text), 16)
        raise ValueError(f"a MAC address in another form; write its six bytes with colons: {format_mac(mac)}")
    raise ValueError("not a MAC address; write six bytes in hexadecimal, like 02:00:00:00:01:00")


def format_mac(mac: int) -> str:
    """Lower-case text of a 48-bit MAC address."""
    return mac.to_bytes(6, "big").hex(":")


def link_local(mac: int) -> IPv6Address:
    """The address on its link of who has this MAC address: fe80::/64 and its modified EUI-64 (RFC 4291, appendix A)."""
    high, low = mac >> 24 ^ 0x02_00_00, mac & 0xFF_FF_FF
    return IPv6Address(0xFE80 << 112 | high << 40 | 0xFF_FE << 24 | low)


def link_local_owner(ip: IpAddress) -> int | None:
    """The MAC address that `link_local` makes this address of; None if it is no such address, or nobody can have that
    MAC address."""
    if isinstance(ip, IPv4Address) or int(ip) >> 64 != 0xFE80 << 48 or int(ip) >> 24 & 0xFFFF != 0xFF_FE:
        return None
    mac = (int(ip) >> 40 & 0xFF_FF_FF ^ 0x02_00_00) << 24 | int(ip) & 0xFF_FF_FF
    return mac if mac_fault(mac) is None else None


def is_group_mac(mac: int) -> bool:
    """Multicast or broadcast (IEEE 802: lowest bit of the first byte)."""
    return bool(mac & _GROUP_BIT)


def mac_fault(mac: int) -> str | None:
    """Why `mac` cannot belong to one machine, or None."""
    if is_group_mac(mac):
        return "a group address; a unicast MAC address has an even first byte"
    return None if 0 < mac < 1 << 48 else "the all-zero address belongs to nobody"


def parse_unicast_mac(text: object) -> int:
    """The MAC address of one machine. Raises ValueError."""
    mac = parse_mac(text)
    if (fault := mac_fault(mac)) is not None:
        raise ValueError(fault)
    return mac


# --- IP addresses ---------------------------------------------------------------------------------------------------


def mapped_ipv6(address: IpAddress) -> bytes:
    """The 16 bytes of an address; IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2)."""
    if isinstance(address, IPv4Address):
        return (_V4_MAPPED | int(address)).to_bytes(16, "big")
    return address.packed


def unmapped_ip(number: int) -> IpAddress:
    """The address whose bytes are `mapped_ipv6`, as a number of 128 bits."""
    return IPv4Address(number & 0xFFFF_FFFF) if number >> 32 == _V4_MAPPED >> 32 else IPv6Address(number)


def unicast_fault(address: IpAddress) -> str | None:
    """Why `address` cannot belong to one machine, or None.

    Link-local addresses can: each is of one machine in its VN, and every IPv6 host has one.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            # RFC 4007 section 11: a zone means something on one machine only, and is in no packet.
            return f"{address.ipv4_mapped or address} has a zone, which is on no wire; write it without %..."
        if address.ipv4_mapped is not None:
            # On no wire (RFC 5156 section 2.2). As which kind of IPv4 address `ipaddress` sees it differs between
            # Pythons.
            return (
                f"{address} is the IPv4 address {address.ipv4_mapped} in the form of IPv6; a unicast address is needed"
            )
    for name in ("multicast", "unspecified", "loopback"):
        if getattr(address, f"is_{name}"):
            return f"{address} is a {name} address; a unicast address is needed"
    if isinstance(address, IPv4Address) and (address.is_reserved or int(address) >> 24 == 0):
        return f"{address} is reserved; a unicast address is needed"
    if isinstance(address, IPv6Address) and int(address) >> _V4_COMPATIBLE_BITS == 0:
        # RFC 4291 section 2.5.5.1: deprecated.
        return f"{address} is an IPv4-compatible address, which is on no wire; a unicast address is needed"
    return None


def parse_ip(text: object) -> IpAddress:
    """The IP address of one machine. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError('not text; quote the address, like "10.1.0.1"')  # 1:20 is a number in base 60 in YAML 1.1
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError("not an IP address; write IPv4 like 10.1.0.1, or IPv6 like 2001:db8::1") from None
    if (fault := unicast_fault(address)) is not None:
        raise ValueError(fault)
    return address


def underlay_fault(address: IpAddress) -> str | None:
    """Why no NVE can have `address` in the underlay, or None."""
    if (fault := unicast_fault(address)) is None and address.is_link_local:
        # RFC 3927 section 7, RFC 4291 section 2.5.6: no router forwards them, and the same one may be on another link.
        return f"{address} is a link-local address, which stays on one link; an NVE needs one that is routed"
    return fault


def parse_underlay(text: object) -> UnderlayAddress:
    """The address of an NVE. Raises ValueError."""
    address = parse_ip(text)
    if (fault := underlay_fault(address)) is not None:
        raise ValueError(fault)
    return address


def parse_underlay_addresses(value: object) -> tuple[UnderlayAddress, ...]:
    """The address of an NVE, or a list of one of each family, that of IPv4 first. Raises ValueError."""
    if not isinstance(value, list | tuple):
        return (parse_underlay(value),)
    addresses = tuple(sorted(map(parse_underlay, value), key=lambda one: one.version))
    if not addresses or len({one.version for one in addresses}) != len(addresses):
        raise ValueError("an NVE has one address, or one of IPv4 and one of IPv6")
    return addresses


def tunnel_ends(
    one: Collection[UnderlayAddress], other: Collection[UnderlayAddress]
) -> tuple[UnderlayAddress, UnderlayAddress] | None:
    """Between which of their addresses two NVEs have their tunnel: those of IPv6 if both have one, else those of IPv4.

    None: no tunnel can be between them.
    """
    for version in (6, 4):
        ends = [address for side in (one, other) for address in side if address.version == version]
        if len(ends) == 2:
            return ends[0], ends[1]
    return None


def parse_network(text: object) -> IpNetwork:
    """A subnet, as its first address and the length of its prefix. Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2})", text):
        raise ValueError('not a subnet; write it like "10.1.0.0/24" or "2001:db8::/64"')
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError('not a subnet; write it like "10.1.0.0/24" or "2001:db8::/64"') from None
    first = text.partition("/")[0]
    if ip_address(first) != network.network_address:
        raise ValueError(f"{first} is an address within a subnet; write {network}")
    if isinstance(network, IPv6Network) and network.overlaps(IPv6Network("::ffff:0:0/96")):
        raise ValueError(f"{network} has IPv4 addresses in the form of IPv6")
    return network


def own_addresses(network: IpNetwork) -> frozenset[IpAddress]:
    """The addresses of a subnet that are nobody's in it: its own and the one of all (RFC 919, RFC 922 section 7), in
    IPv6 that of any of its routers (RFC 4291 section 2.6.1). Where a prefix leaves one bit or none, there is none
    (RFC 3021, RFC 6164)."""
    if network.max_prefixlen - network.prefixlen < 2:
        return frozenset()
    if isinstance(network, IPv4Network):
        return frozenset((network.network_address, network.broadcast_address))
    return frozenset((network.network_address,))
