# SPDX-License-Identifier: Apache-2.0
"""What a tenant is answered that has sent a packet which its tunnel does not carry: ICMP "fragmentation needed and DF
set" (RFC 792, RFC 1191 4) or ICMPv6 "packet too big" (RFC 4443 3.2, RFC 8201).

An overlay of layer 2 has no address in the tenant's network. So the answer comes from where the packet was to go, as
Linux has it for bridged tunnels (net/ipv4/ip_tunnel_core.c): a host believes it, for it is about a packet of its own.
The packet comes from a tenant: nothing in it is trusted, and what is not well-formed is not answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from nvo3sec.domain.overlay.addresses import IpAddress, is_group_mac, mac_fault, unicast_fault
from nvo3sec.domain.overlay.mtu import IPV6_LEAST_MTU
from nvo3sec.domain.switch.frames import internet_checksum

_HEADER_BYTES = 14
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_IPV4_BYTES, _IPV6_BYTES = 20, 40
_QUOTED = 8
"""Bytes behind the header of IPv4 by which its sender knows whose packet it was (RFC 792)."""
_TTL = 64
_ICMP, _ICMPV6 = 1, 58
_DONT_FRAGMENT, _OFFSET = 0x4000, 0x1FFF
_BROADCAST = IPv4Address("255.255.255.255")
_ICMP_QUESTIONS = frozenset({0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43})
"""Types of ICMP that are no errors (IANA). Of all others nobody knows, so they count as errors (RFC 1122 3.2.2)."""
_ICMPV6_FIRST_QUESTION = 128
_ICMPV6_REDIRECT = 137
"""Types of ICMPv6 below 128 are errors, and a redirect is as little answered (RFC 4443 2.4 e)."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
"""Headers of IPv6 with a length of their own, in units of 8 bytes beside the first (RFC 8200 4, RFC 6275, RFC 7401,
RFC 5533)."""
_WITH_PORTS = frozenset({6, 17, 132})
_PORTS_BYTES = 4

Flow = tuple[IpAddress, IpAddress, int, bytes]
"""Source, destination, protocol, and the ports where it has any: what learns of the size of its path by one answer."""


class NoAnswer(StrEnum):
    """Why a packet is not answered."""

    GROUP = "group"
    """To a group, as a frame or as a packet."""
    NOT_IP = "not-ip"
    MALFORMED = "malformed"
    """Lengths that do not agree, a wrong checksum, headers that end nowhere in what came up of it."""
    SOURCE = "source"
    """From no unicast address."""
    FRAGMENT = "fragment"
    """Not the first one."""
    ICMP_ERROR = "icmp-error"
    MAY_BE_FRAGMENTED = "may-be-fragmented"
    """IPv4 without DF: the sender does not want to know (RFC 1191 3)."""
    FITS = "fits"
    """The packet is no longer than the tunnel carries: what is too long is what stands behind it, or was until now."""
    LEAST_MTU = "ipv6-least-mtu"
    """A packet of IPv6 that every link has to carry: the sender cannot send a smaller one."""


@dataclass(frozen=True)
class Answer:
    """flow: whose packet it was. frame: what its sender is told, untagged."""

    flow: Flow
    frame: bytes


def answer_too_big(frame: bytes, length: int, packet_limit: int) -> Answer | NoAnswer:
    """What the sender of a frame is told, or why nothing.

    frame: untagged, or what came up of it, 128 bytes at least where there were as many. length: of the whole frame,
    bytes. packet_limit: the longest IP packet that its tunnel carries, bytes.
    """
    if len(frame) < _HEADER_BYTES or len(frame) > length:
        return NoAnswer.MALFORMED
    if is_group_mac(int.from_bytes(frame[:6], "big")):
        return NoAnswer.GROUP
    if mac_fault(int.from_bytes(frame[6:12], "big")) is not None:
        return NoAnswer.SOURCE
    packet, size = frame[_HEADER_BYTES:], length - _HEADER_BYTES
    if frame[12:14] == _IPV4:
        told = _ipv4(packet, size, packet_limit)
    elif frame[12:14] == _IPV6:
        told = _ipv6(packet, size, packet_limit)
    else:
        return NoAnswer.NOT_IP
    if isinstance(told, NoAnswer):
        return told
    return Answer(told.flow, frame[6:12] + frame[:6] + frame[12:14] + told.frame)


def _ipv4(packet: bytes, size: int, limit: int) -> Answer | NoAnswer:
    head = (packet[0] & 0x0F) * 4 if packet else 0
    if head < _IPV4_BYTES or len(packet) < head or packet[0] >> 4 != 4:
        return NoAnswer.MALFORMED
    total = int.from_bytes(packet[2:4], "big")
    if not head < total <= size or len(packet) < min(total, head + _QUOTED) or internet_checksum(packet[:head]) != 0:
        return NoAnswer.MALFORMED
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    if (fault := _addresses_fault(source, destination)) is not None:
        return fault
    flags, protocol = int.from_bytes(packet[6:8], "big"), packet[9]
    if flags & _OFFSET:
        return NoAnswer.FRAGMENT
    if protocol == _ICMP and packet[head] not in _ICMP_QUESTIONS:
        return NoAnswer.ICMP_ERROR
    if not flags & _DONT_FRAGMENT:
        return NoAnswer.MAY_BE_FRAGMENTED
    if total <= limit:
        return NoAnswer.FITS
    message = b"\x03\x04" + _checked(b"", b"\x03\x04", bytes(2) + limit.to_bytes(2, "big") + packet[:total])
    ip = b"\x45\x00" + (_IPV4_BYTES + len(message)).to_bytes(2, "big") + bytes(2) + b"\x40\x00" + bytes([_TTL, _ICMP])
    addresses = destination.packed + source.packed
    ip += internet_checksum(ip + addresses).to_bytes(2, "big") + addresses
    return Answer((source, destination, protocol, _ports(protocol, packet[head:])), ip + message)


def _ipv6(packet: bytes, size: int, limit: int) -> Answer | NoAnswer:
    if len(packet) < _IPV6_BYTES or packet[0] >> 4 != 6:
        return NoAnswer.MALFORMED
    total = _IPV6_BYTES + int.from_bytes(packet[4:6], "big")
    if not _IPV6_BYTES < total <= size:
        return NoAnswer.MALFORMED
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    if (fault := _addresses_fault(source, destination)) is not None:
        return fault
    upper = _upper(packet[:total])
    if isinstance(upper, NoAnswer):
        return upper
    protocol, at = upper
    if at > total or (protocol == _ICMPV6 and at >= min(len(packet), total)):
        return NoAnswer.MALFORMED
    if protocol == _ICMPV6 and (packet[at] < _ICMPV6_FIRST_QUESTION or packet[at] == _ICMPV6_REDIRECT):
        return NoAnswer.ICMP_ERROR
    if total <= limit:
        return NoAnswer.FITS
    if total <= IPV6_LEAST_MTU:
        return NoAnswer.LEAST_MTU
    mtu = max(limit, IPV6_LEAST_MTU).to_bytes(4, "big")
    addresses = destination.packed + source.packed
    quoted = mtu + packet[:total]
    pseudo = addresses + (4 + len(quoted)).to_bytes(4, "big") + bytes([0, 0, 0, _ICMPV6])
    message = b"\x02\x00" + _checked(pseudo, b"\x02\x00", quoted)
    ip = b"\x60\x00\x00\x00" + len(message).to_bytes(2, "big") + bytes([_ICMPV6, _TTL]) + addresses
    return Answer((source, destination, protocol, _ports(protocol, packet[at:])), ip + message)


def _addresses_fault(source: IpAddress, destination: IpAddress) -> NoAnswer | None:
    if destination.is_multicast or destination == _BROADCAST:
        return NoAnswer.GROUP
    if unicast_fault(source) is not None:
        return NoAnswer.SOURCE
    return NoAnswer.MALFORMED if unicast_fault(destination) is not None else None


def _upper(packet: bytes) -> tuple[int, int] | NoAnswer:
    """What an IPv6 packet carries behind its extension headers, and where it begins in it."""
    protocol, at = packet[6], _IPV6_BYTES
    while protocol in _EXTENSIONS or protocol in (_FRAGMENT, _AUTHENTICATION):
        header = packet[at : at + 8]
        if len(header) < 8:
            return NoAnswer.MALFORMED
        if protocol == _FRAGMENT:
            if int.from_bytes(header[2:4], "big") >> 3:
                return NoAnswer.FRAGMENT
            at += 8
        elif protocol == _AUTHENTICATION:
            at += 4 * (header[1] + 2)  # RFC 4302 2.2
        else:
            at += 8 * (header[1] + 1)
        protocol = header[0]
    return protocol, at


def _ports(protocol: int, upper: bytes) -> bytes:
    return upper[:_PORTS_BYTES] if protocol in _WITH_PORTS else b""


def _checked(pseudo: bytes, head: bytes, rest: bytes) -> bytes:
    """The checksum of a message that begins with type and code (`head`), and what stands behind it."""
    return internet_checksum(pseudo + head + bytes(2) + rest).to_bytes(2, "big") + rest
