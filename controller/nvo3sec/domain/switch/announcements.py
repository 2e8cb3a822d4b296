# SPDX-License-Identifier: Apache-2.0
"""What a frame of a tenant, or of its hypervisor, announces: that addresses are at its sender from now on.

Gratuitous ARP (RFC 5227 3), unsolicited neighbor advertisements (RFC 4861 7.2.6), advertisements of VRRP (RFC 9568 5,
and RFC 3768 5 of version 2). They come from tenants: nothing in them is trusted, and what is not well-formed counts for
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from nvo3sec.domain.overlay.addresses import IpAddress
from nvo3sec.domain.switch.frames import internet_checksum

_HEADER_BYTES = 14
_ARP, _IPV4, _IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
_ARP_HEAD = bytes.fromhex("000108000604")
_ARP_BYTES = 28
_RARP = b"\x80\x35"
_REVERSE_REQUEST = b"\x00\x03"
_ICMPV6, _VRRP = 58, 112
_HOPS = 255
_ND_ADVERTISEMENT = bytes([136, 0])
_ND_SOLICITED = 0x40
_ND_BYTES = 24
_ND_LINK_LAYER = (1, 2)
_ND_TARGET_OPTION = b"\x02\x01"
_VRRP_GROUPS = IPv4Address("224.0.0.18"), IPv6Address("ff02::12")
_VRRP_BYTES = 8
_VRRP_ADVERTISEMENT = 1
_VRRP_AUTHENTICATION_BYTES = {2: 8, 3: 0}
"""Of each version, behind the addresses."""
_VIRTUAL_MACS = {4: 0x0000_5E00_0100, 6: 0x0000_5E00_0200}
"""By version of IP; the last byte is the virtual router's number (RFC 9568 7.3)."""


@dataclass(frozen=True)
class Announced:
    """Who says that it has addresses now. ips: none where a router of VRRP gives them up (priority 0)."""

    mac: int
    ips: tuple[IpAddress, ...]


def parse_announcement(frame: bytes, length: int) -> Announced | None:
    """What an untagged frame announces; None if it does not, or is not well-formed.

    length: of the frame in the switch, bytes. Of one that was cut on its way up the addresses count that are there, and
    no checksum is looked at.
    """
    if len(frame) < _HEADER_BYTES or len(frame) > length or not frame[0] & 1 or frame[6] & 1:
        return None
    mac, body = int.from_bytes(frame[6:12], "big"), frame[_HEADER_BYTES:]
    is_cut = len(frame) < length
    kind = frame[12:14]
    if kind == _ARP:
        return _arp(mac, body)
    if kind == _IPV4:
        return _vrrp_ipv4(mac, body, is_cut)
    return _ipv6(mac, body, is_cut) if kind == _IPV6 else None


def parse_reverse_arp(frame: bytes) -> Announced | None:
    """The system for which an untagged frame asks for its own address (RFC 903), as a hypervisor does that has taken it
    over; None if it is nothing such, or not well-formed."""
    body = frame[_HEADER_BYTES : _HEADER_BYTES + _ARP_BYTES]
    if len(body) < _ARP_BYTES or frame[12:14] != _RARP or body[:8] != _ARP_HEAD + _REVERSE_REQUEST:
        return None
    if not frame[0] & 1 or frame[6] & 1 or not body[8:14] == body[18:24] == frame[6:12]:
        return None
    return Announced(int.from_bytes(frame[6:12], "big"), ())


def _arp(mac: int, arp: bytes) -> Announced | None:
    if len(arp) < _ARP_BYTES or arp[:6] != _ARP_HEAD or arp[6:8] not in (b"\x00\x01", b"\x00\x02"):
        return None
    if int.from_bytes(arp[8:14], "big") != mac or arp[14:18] != arp[24:28]:
        return None
    return Announced(mac, (IPv4Address(arp[14:18]),))


def _ipv6(mac: int, packet: bytes, is_cut: bool) -> Announced | None:
    if len(packet) < 40 or packet[0] >> 4 != 6 or packet[7] != _HOPS:
        return None
    payload = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    if not is_cut and len(payload) != int.from_bytes(packet[4:6], "big"):
        return None
    source, target = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    if packet[6] == _ICMPV6 and not is_cut:
        return _advertisement(mac, source, target, payload)
    if packet[6] == _VRRP and target in _VRRP_GROUPS:
        pseudo = None if is_cut else _pseudo(source, target, int.from_bytes(packet[4:6], "big"), _VRRP)
        return _vrrp(mac, payload, 16, is_cut, pseudo)
    return None


def _advertisement(mac: int, source: IPv6Address, target: IPv6Address, message: bytes) -> Announced | None:
    """As the program lets them through: of an address of the sender, from any that it has."""
    if len(message) < _ND_BYTES or message[:2] != _ND_ADVERTISEMENT or not target.is_multicast:
        return None
    if message[4] & _ND_SOLICITED or not _are_options_of(mac, message[_ND_BYTES:]):
        return None
    if internet_checksum(_pseudo(source, target, len(message), _ICMPV6) + message) != 0:
        return None
    return Announced(mac, (IPv6Address(message[8:_ND_BYTES]),))


def _are_options_of(mac: int, options: bytes) -> bool:
    """Do they end with the message, and give no link-layer address but the sender's (RFC 4861 4.6)?"""
    while options:
        size = 8 * options[1] if len(options) > 1 else 0
        if not 0 < size <= len(options):
            return False
        option, options = options[:size], options[size:]
        if option[0] in _ND_LINK_LAYER and option != _ND_TARGET_OPTION + mac.to_bytes(6, "big"):
            return False
    return True


def _vrrp_ipv4(mac: int, packet: bytes, is_cut: bool) -> Announced | None:
    if len(packet) < 20 or packet[0] != 0x45 or packet[8] != _HOPS or packet[9] != _VRRP:
        return None
    length = int.from_bytes(packet[2:4], "big")
    whole = len(packet) >= length
    if length < 20 or (not whole and not is_cut) or packet[6] & 0x3F or packet[7]:
        return None
    source, target = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    if target not in _VRRP_GROUPS or internet_checksum(packet[:20]) != 0:
        return None
    pseudo = _pseudo(source, target, length - 20, _VRRP) if whole else None
    return _vrrp(mac, packet[20:length], 4, not whole, pseudo)


def _vrrp(mac: int, message: bytes, size: int, is_cut: bool, pseudo: bytes | None) -> Announced | None:
    """size: bytes of an address. pseudo: header that the checksum of version 3 is over, too; None if it was cut."""
    if len(message) < _VRRP_BYTES:
        return None
    version, kind, router, priority, count = message[0] >> 4, message[0] & 0xF, *message[1:4]
    family = 4 if size == 4 else 6
    if kind != _VRRP_ADVERTISEMENT or version not in ((2, 3) if family == 4 else (3,)) or not count or not router:
        return None
    end = _VRRP_BYTES + count * size
    if not is_cut and len(message) != end + _VRRP_AUTHENTICATION_BYTES[version]:
        return None
    if pseudo is not None and not _has_checksum(version, family, message, pseudo):
        return None
    if any(mac & ~0xFF == virtual for virtual in _VIRTUAL_MACS.values()) and mac != _VIRTUAL_MACS[family] | router:
        return None
    listed = message[_VRRP_BYTES:end]
    packed = [listed[at : at + size] for at in range(0, len(listed) - size + 1, size)]
    if priority == 0:
        return Announced(mac, ())
    make = IPv4Address if size == 4 else IPv6Address
    return Announced(mac, tuple(make(one) for one in packed)) if packed else None


def _has_checksum(version: int, family: int, message: bytes, pseudo: bytes) -> bool:
    """Version 3 over IPv4 leaves the pseudo-header out in implementations from before RFC 9568."""
    with_header = version == 3 and internet_checksum(pseudo + message) == 0
    return with_header or (family == 4 and internet_checksum(message) == 0)


def _pseudo(source: IpAddress, target: IpAddress, length: int, protocol: int) -> bytes:
    """RFC 8200 8.1, and RFC 9293 3.1 for IPv4."""
    if isinstance(source, IPv4Address):
        return source.packed + target.packed + bytes([0, protocol]) + length.to_bytes(2, "big")
    return source.packed + target.packed + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
