# SPDX-License-Identifier: Apache-2.0
"""What becomes of any sequence of bytes that arrives from the underlay: the first rule that it breaks, or its inner
frame.

Order of checks: RFC 4303 3.4 with a packet filter ahead of it. A header is judged as soon as it is there whole;
lengths are
judged before the bytes that they promise are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nvo3ref import ascon, chaskey
from nvo3ref import tunnel as t
from nvo3ref.frames import (
    ETHERTYPE_ARP,
    ETHERTYPE_CTAG,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_STAG,
    TCP,
    UDP,
    checksum,
)
from nvo3ref.reasons import Reason
from nvo3ref.window import Window

SHORTEST_FRAME = 16
LONGEST_FRAME = 16 + 16 * 96 + 15
WHOLE_FRAME = 0xFFFF
MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address looks like as one of IPv6 (RFC 4291 2.5.5.2): on no wire."""
LEVELS = {t.SUITE_CHASKEY12: 1, t.SUITE_ASCON_AEAD128: 2}
"""The highest that a suite gives."""
CE = 3


class Refused(Exception):
    """Carries the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass
class RxSa:
    """Security association of one sender, as installed at the receiver."""

    key: bytes
    generation: int
    window: Window
    suite: int = t.SUITE_CHASKEY12
    level: int = 1
    min_coverage: int = WHOLE_FRAME


@dataclass
class Receiver:
    """The receiving half of an NVE, as far as it decides over packets from the underlay."""

    port_mac: bytes
    authorized: set[tuple[bytes, bytes]] = field(default_factory=set)
    associations: dict[tuple[bytes, bytes, int], RxSa] = field(default_factory=dict)
    networks: dict[tuple[bytes, int], int] = field(default_factory=dict)
    zero_checksum: bool = False

    def receive(self, packet: bytes) -> tuple[Reason | None, int, bytes]:
        """(None, VNI, inner frame) of an accepted packet, (reason, 0, b"") of a refused one. The window moves."""
        try:
            inner_length = _parse(packet, self.port_mac)
            source, destination, aligned = _addresses_and_rest(packet)
            _outer(aligned, self.port_mac, is_ipv6=_is_ipv6(packet))
            return None, *self._admit(source, destination, aligned, inner_length)
        except Refused as refused:
            return refused.reason, 0, b""

    def _admit(self, source: bytes, destination: bytes, packet: bytes, inner_length: int) -> tuple[int, bytes]:
        """Offsets are those of a packet over IPv4."""
        if (source, destination) not in self.authorized or source[:12] == MAPPED or destination[:12] == MAPPED:
            raise Refused(Reason.UNAUTHORIZED_NVE)
        if len(source) == 16 and not _is_summed(source, destination, packet, inner_length, self.zero_checksum):
            raise Refused(Reason.UDP_CHECKSUM)
        sa = self.associations.get((source, destination, _number(packet, t.SPI_AT, 4)))
        if sa is None:
            raise Refused(Reason.NO_SA)
        sequence = _number(packet, t.SEQUENCE_AT, 8)
        coverage = _number(packet, t.COVERAGE_AT, 2)
        if packet[t.SUITE_AT] != sa.suite:
            raise Refused(Reason.SUITE_MISMATCH)
        if sa.level > LEVELS[sa.suite]:
            raise Refused(Reason.SA_LEVEL)
        partial = coverage % 16 == 0 and 16 <= coverage < inner_length and coverage >= sa.min_coverage
        partial = partial and sa.suite == t.SUITE_CHASKEY12
        if coverage != inner_length and not partial:
            raise Refused(Reason.COVERAGE)
        late = sa.window.judge(sa.generation, sequence)
        if late is not None:
            raise Refused(late)
        inner = _verified(packet, sa, inner_length, coverage)
        sa.window.commit(sa.generation, sequence)
        return self._decapsulate(packet, source, sa, inner)

    def _decapsulate(self, packet: bytes, source: bytes, sa: RxSa, inner: bytes) -> tuple[int, bytes]:
        vni = _number(packet, t.GENEVE_AT + 4, 3)
        demanded = self.networks.get((source, vni))
        if demanded is None:
            raise Refused(Reason.VN_UNAUTHORIZED)
        if sa.level < demanded:
            raise Refused(Reason.VN_SUITE)
        if _number(inner, 12, 2) in (ETHERTYPE_CTAG, ETHERTYPE_STAG):
            raise Refused(Reason.INNER_VLAN)
        return vni, decapsulated_ecn(packet[15] & 3, inner)


def _addresses_and_rest(packet: bytes) -> tuple[bytes, bytes, bytes]:
    """Source, destination, and the packet as over IPv4: all offsets alike, and the ECN field at its place."""
    if _is_ipv6(packet):
        congestion = _number(packet, 14, 2) >> 4 & 3
        head = packet[:14] + bytes([0x45, congestion]) + bytes(18)
        return packet[22:38], packet[38:54], head + packet[t.UDP_AT + t.IPV6_LONGER :]
    return packet[26:30], packet[30:34], packet


def _is_ipv6(packet: bytes) -> bool:
    return _number(packet, 12, 2) == ETHERTYPE_IPV6


def _is_summed(source: bytes, destination: bytes, packet: bytes, inner_length: int, zero_is_fine: bool) -> bool:
    datagram = packet[t.UDP_AT : t.INNER_AT + inner_length]
    if datagram[6:8] == b"\0\0":
        return zero_is_fine
    return t.udp_checksum_ipv6(source, destination, datagram) == 0


def _verified(packet: bytes, sa: RxSa, inner_length: int, coverage: int) -> bytes:
    """The inner frame as it was before it was protected."""
    carried = packet[t.INNER_AT : t.INNER_AT + inner_length]
    geneve_base, option = packet[t.GENEVE_AT : t.OPTION_AT], packet[t.OPTION_AT : t.INNER_AT]
    if sa.suite == t.SUITE_ASCON_AEAD128:
        nonce = t.nonce(_number(packet, t.SPI_AT, 4), _number(packet, t.SEQUENCE_AT, 8))
        try:
            return ascon.decrypt(sa.key, nonce, geneve_base + option[:20], carried, option[20:])
        except ascon.BadTag:
            raise Refused(Reason.BAD_ICV) from None
    if option[20:] != chaskey.mac(sa.key, t.authenticated(geneve_base, option, inner_length, carried[:coverage])):
        raise Refused(Reason.BAD_ICV)
    return carried


def _number(packet: bytes, at: int, length: int) -> int:
    return int.from_bytes(packet[at : at + length], "big")


def _need(packet: bytes, length: int) -> None:
    if len(packet) < length:
        raise Refused(Reason.TRUNCATED)


def _refuse_if(wrong: bool, reason: Reason) -> None:
    if wrong:
        raise Refused(reason)


def _parse(packet: bytes, port_mac: bytes) -> int:
    """The length of the inner frame, once all that the headers promise is there."""
    _need(packet, t.IPV4_AT)
    ether_type = _number(packet, 12, 2)
    if ether_type == ETHERTYPE_IPV4:
        promised = _parse_ipv4(packet, port_mac)
    elif ether_type == ETHERTYPE_IPV6:
        promised = _parse_ipv6(packet, port_mac)
    else:
        _need(packet, t.IPV4_AT + (28 if ether_type == ETHERTYPE_ARP else 0))
        raise _in_clear(packet, port_mac)
    _, _, packet = _addresses_and_rest(packet)
    udp_length = _number(packet, 38, 2)
    _refuse_if(promised != udp_length, Reason.UDP_LENGTH_MISMATCH)
    _need(packet, t.OPTION_AT)
    _refuse_if(packet[t.GENEVE_AT] & 0x3F != 9, Reason.GENEVE_OPTIONS_LENGTH)
    _need(packet, t.INNER_AT)
    inner_length = udp_length - 52
    _refuse_if(inner_length < SHORTEST_FRAME, Reason.FRAME_TOO_SHORT)
    _need(packet, t.INNER_AT + SHORTEST_FRAME)
    _refuse_if(inner_length > LONGEST_FRAME, Reason.FRAME_TOO_LONG)
    _need(packet, t.INNER_AT + inner_length)
    return inner_length


def _in_clear(packet: bytes, port_mac: bytes) -> Refused:
    """What is no tunnel's. Nobody here is to hear it."""
    is_plain_ipv4 = _number(packet, 12, 2) == ETHERTYPE_IPV4 and packet[14] == 0x45
    if is_plain_ipv4 and checksum(packet[t.IPV4_AT : t.UDP_AT]) != 0:
        return Refused(Reason.IPV4_CHECKSUM)
    is_elsewhere = packet[0] & 1 == 0 and packet[:6] != port_mac
    return Refused(Reason.UNDERLAY_MAC if is_elsewhere and packet[6] & 1 == 0 else Reason.UNDERLAY_CONTROL)


def _parse_ipv4(packet: bytes, port_mac: bytes) -> int:
    """What the header says of the length of the datagram."""
    _need(packet, t.UDP_AT)
    is_plain = packet[14] == 0x45
    is_fragment = _number(packet, 20, 2) & 0x3FFF != 0
    if packet[23] != UDP:
        _need(packet, t.UDP_AT + (4 if packet[23] == TCP and is_plain and not is_fragment else 0))
        raise _in_clear(packet, port_mac)
    _refuse_if(not is_plain, Reason.IPV4_OPTIONS)
    _refuse_if(is_fragment, Reason.IPV4_FRAGMENT)
    _need(packet, t.GENEVE_AT)
    if _number(packet, 36, 2) != t.GENEVE_PORT:
        raise _in_clear(packet, port_mac)
    return _number(packet, 16, 2) - 20


EXTENSIONS = (0, 43, 44, 51, 60)
"""Hop-by-hop, routing, fragment, authentication, destination (RFC 8200 4, RFC 4302)."""
ICMPV6, SOLICITATION = 58, 135


def _parse_ipv6(packet: bytes, port_mac: bytes) -> int:
    end = t.UDP_AT + t.IPV6_LONGER
    _need(packet, end)
    _refuse_if(packet[14] >> 4 != 6, Reason.IPV6_HEADER)
    _refuse_if(packet[20] in EXTENSIONS, Reason.IPV6_EXTENSION)
    payload = _number(packet, 18, 2)
    if packet[20] != UDP:
        _need(packet, end + (4 if packet[20] in (TCP, ICMPV6) else 0))
        if packet[20] == ICMPV6 and packet[end] == SOLICITATION and payload in (24, 32):
            _need(packet, end + payload)
        raise _in_clear(packet, port_mac)
    _need(packet, end + 8)
    if _number(packet, end + 2, 2) != t.GENEVE_PORT:
        raise _in_clear(packet, port_mac)
    return payload


def _outer(packet: bytes, port_mac: bytes, *, is_ipv6: bool) -> None:
    """Offsets are those of a packet over IPv4."""
    geneve = packet[t.GENEVE_AT : t.OPTION_AT]
    option = packet[t.OPTION_AT : t.INNER_AT]
    _refuse_if(packet[:6] != port_mac, Reason.UNDERLAY_MAC)
    if not is_ipv6:
        _refuse_if(checksum(packet[t.IPV4_AT : t.UDP_AT]) != 0, Reason.IPV4_CHECKSUM)
        _refuse_if(packet[40:42] != b"\0\0", Reason.UDP_CHECKSUM_PRESENT)
    _refuse_if(geneve[0] >> 6 != 0, Reason.GENEVE_VERSION)
    _refuse_if(geneve[1] & 0x80 != 0, Reason.GENEVE_CONTROL)
    _refuse_if(geneve[1] & 0x40 == 0, Reason.GENEVE_NOT_CRITICAL)
    _refuse_if(_number(geneve, 2, 2) != t.GENEVE_ETHERNET, Reason.GENEVE_PROTOCOL)
    _refuse_if(option[:3] != b"\xff\x01\x81" or option[3] & 0x1F != 8, Reason.OPTION_UNKNOWN)
    _refuse_if(option[19] != 0, Reason.OPTION_FLAGS)


# RFC 6040 figure 4: rows are the inner field, columns the outer one (not-ECT, ECT(1), ECT(0), CE); None: drop.
_ECN_OUT: dict[int, tuple[int | None, ...]] = {
    0: (0, 0, 0, None),
    1: (1, 1, 1, CE),
    2: (2, 1, 2, CE),
    3: (CE, CE, CE, CE),
}


def decapsulated_ecn(outer: int, inner: bytes) -> bytes:
    """The inner frame with the congestion that the underlay marked (RFC 6040 4.2). Frames without ECN count as
    not-ECT."""
    ether_type = _number(inner, 12, 2)
    if ether_type == ETHERTYPE_IPV4 and len(inner) >= 32:
        old, shift, at = inner[15] & 3, 0, 15
    elif ether_type == ETHERTYPE_IPV6:
        old, shift, at = inner[15] >> 4 & 3, 4, 15
    else:
        _refuse_if(outer == CE, Reason.ECN_NOT_CAPABLE)
        return inner
    new = _ECN_OUT[old][outer]
    if new is None:
        raise Refused(Reason.ECN_NOT_CAPABLE)
    if new == old:
        return inner
    marked = bytearray(inner)
    marked[at] = inner[at] & ~(3 << shift) | new << shift
    if ether_type == ETHERTYPE_IPV4:
        # RFC 1624 equation 3, so that a checksum that was wrong stays wrong.
        total = (~_number(inner, 24, 2) & 0xFFFF) + (~_number(inner, 14, 2) & 0xFFFF) + _number(bytes(marked), 14, 2)
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        marked[24:26] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(marked)


def is_arp(inner: bytes) -> bool:
    return _number(inner, 12, 2) == ETHERTYPE_ARP
