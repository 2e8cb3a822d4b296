# SPDX-License-Identifier: Apache-2.0
"""The protected packet on the underlay: Ethernet, IPv4 or IPv6, UDP 6081, Geneve, the protection option, inner frame.

Both directions: `build` makes what a switch would send (or, field by field, what an attacker would), `parse` says
why a frame is not a protected packet.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from nvo3ref import ascon, chaskey
from nvo3ref.tenant_frames import (
    ETHERNET_LENGTH,
    ETHERTYPE_IPV4,
    IPV4_LENGTH,
    PROTOCOL_UDP,
    checksum,
    ip_bytes,
    ip_text,
    mac_bytes,
    mac_text,
)

UDP_PORT_GENEVE = 6081  # RFC 8926 3.3
ETHERTYPE_IPV6 = 0x86DD
IPV6_LENGTH = 40
PROTOCOL_ETHERNET = 0x6558
OPTION_CLASS = 0xFF01  # experimental (RFC 8926 7)
OPTION_TYPE = 0x81  # critical
OPTION_WORDS = 9
OPTION_DATA_WORDS = 8
SUITE_CHASKEY12 = 1
SUITE_ASCON_AEAD128 = 2
_ICV_DOMAIN = 0x4E33

UDP_LENGTH = 8
GENEVE_LENGTH = 8
OPTION_LENGTH = 36
ICV_LENGTH = 16
UDP_OVERHEAD = UDP_LENGTH + GENEVE_LENGTH + OPTION_LENGTH
"""From the inner frame to the UDP length."""
_INNER_MINIMUM = 16


@dataclass(frozen=True)
class Protected:
    """One protected packet. `coverage` None: the whole inner frame.

    `inner` is as it is carried: of a sealed or parsed packet of suite 2 that is ciphertext.
    """

    source_mac: str
    destination_mac: str
    source: str
    destination: str
    vni: int
    spi: int
    sequence: int
    inner: bytes
    suite: int = SUITE_CHASKEY12
    coverage: int | None = None
    flags: int = 0
    source_port: int = 0xC000
    icv: bytes = bytes(ICV_LENGTH)
    flow_label: int = 0
    """Over IPv6."""

    @property
    def is_ipv6(self) -> bool:
        """Of the outer addresses, which are of one family."""
        return ":" in self.destination

    def header(self) -> bytes:
        """Geneve base and option up to the ICV: the 28 authenticated bytes in front of the inner frame."""
        coverage = len(self.inner) if self.coverage is None else self.coverage
        return (
            struct.pack("!BBHI", OPTION_WORDS, 0x40, PROTOCOL_ETHERNET, self.vni << 8)
            + struct.pack("!HBB", OPTION_CLASS, OPTION_TYPE, OPTION_DATA_WORDS)
            + struct.pack("!IQHBB", self.spi, self.sequence, coverage, self.suite, self.flags)
        )

    def sealed(self, key: bytes) -> Protected:
        """The same packet under a key of 16 bytes: with the ICV of its suite, and of suite 2 with `inner` encrypted.

        Raises ValueError for a suite that protects nothing.
        """
        if self.suite == SUITE_ASCON_AEAD128:
            carried, icv = ascon.encrypt(key, self.nonce(), self.header(), self.inner)
            return replace(self, inner=carried, icv=icv)
        if self.suite != SUITE_CHASKEY12:
            raise ValueError(f"no suite {self.suite}")
        coverage = len(self.inner) if self.coverage is None else self.coverage
        message = self.header() + struct.pack("!HH", len(self.inner), _ICV_DOMAIN) + self.inner[:coverage]
        return replace(self, icv=chaskey.mac(key, message))

    def opened(self, key: bytes) -> bytes:
        """The inner frame of a sealed packet.

        Raises:
            ascon.BadTag: the ICV is another one, of either suite.
            ValueError: as `sealed`.
        """
        if self.suite == SUITE_ASCON_AEAD128:
            return ascon.decrypt(key, self.nonce(), self.header(), self.inner, self.icv)
        if not hmac.compare_digest(self.sealed(key).icv, self.icv):
            raise ascon.BadTag("the ICV is another one")
        return self.inner

    def nonce(self) -> bytes:
        """Of suite 2: SPI, 32 zero bits, sequence."""
        return struct.pack("!IIQ", self.spi, 0, self.sequence)

    def build(self) -> bytes:
        """The frame as it is on the underlay."""
        geneve = self.header() + self.icv + self.inner
        udp = struct.pack("!HHHH", self.source_port, UDP_PORT_GENEVE, UDP_LENGTH + len(geneve), 0) + geneve
        macs = mac_bytes(self.destination_mac) + mac_bytes(self.source_mac)
        if self.is_ipv6:
            source, destination = IPv6Address(self.source).packed, IPv6Address(self.destination).packed
            udp = udp[:6] + struct.pack("!H", ipv6_udp_checksum(source, destination, udp)) + udp[8:]
            words = struct.pack("!IHBB", 6 << 28 | self.flow_label, len(udp), PROTOCOL_UDP, 64)
            return macs + struct.pack("!H", ETHERTYPE_IPV6) + words + source + destination + udp
        head = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            IPV4_LENGTH + len(udp),
            0,
            0x4000,
            64,
            PROTOCOL_UDP,
            0,
            ip_bytes(self.source),
            ip_bytes(self.destination),
        )
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return macs + struct.pack("!H", ETHERTYPE_IPV4) + head + udp


def ipv6_udp_checksum(source: bytes, destination: bytes, udp: bytes) -> int:
    """What has to stand in the header of a UDP datagram over IPv6, whatever stands there (RFC 8200 8.1)."""
    pseudo = source + destination + struct.pack("!II", len(udp), PROTOCOL_UDP)
    return checksum(pseudo + udp[:6] + b"\0\0" + udp[8:]) or 0xFFFF


def parse(frame: bytes) -> Protected | str:
    """The packet, or in what way the frame is not one. Of the ICV it is asked only that there is one."""
    kind = int.from_bytes(frame[12:14]) if len(frame) >= ETHERNET_LENGTH else 0
    if kind == ETHERTYPE_IPV4:
        outer = _ipv4(frame)
    elif kind == ETHERTYPE_IPV6:
        outer = _ipv6(frame)
    else:
        return f"neither IPv4 nor IPv6: EtherType 0x{frame[12:14].hex()}"
    if isinstance(outer, str):
        return outer
    source_port, port, length, _ = struct.unpack_from("!HHHH", frame, outer.udp)
    if port != UDP_PORT_GENEVE:
        return f"not Geneve: UDP port {port}"
    if length != len(frame) - outer.udp:
        return "UDP and IP disagree about the length"
    base, inner_offset = outer.udp + UDP_LENGTH, outer.udp + UDP_OVERHEAD
    version, bits, protocol, vni = struct.unpack_from("!BBHI", frame, base)
    if (version, bits, protocol) != (OPTION_WORDS, 0x40, PROTOCOL_ETHERNET):
        return "Geneve without exactly the protection option"
    option_class, option_type, words, spi, sequence, coverage, suite, flags = struct.unpack_from(
        "!HBBIQHBB", frame, base + GENEVE_LENGTH
    )
    if (option_class, option_type, words) != (OPTION_CLASS, OPTION_TYPE, OPTION_DATA_WORDS):
        return "Geneve with another option"
    if suite not in (SUITE_CHASKEY12, SUITE_ASCON_AEAD128) or flags != 0:
        return f"suite {suite}, flags {flags}"
    inner = frame[inner_offset:]
    if coverage != len(inner):
        return f"{coverage} of {len(inner)} bytes are covered"
    icv = frame[inner_offset - ICV_LENGTH : inner_offset]
    if spi & 0x7FFFFFFF == 0 or sequence == 0 or icv == bytes(ICV_LENGTH):
        return "empty SPI, sequence or ICV"
    return Protected(
        mac_text(frame[6:12]),
        mac_text(frame[:6]),
        outer.source,
        outer.destination,
        vni >> 8,
        spi,
        sequence,
        inner,
        suite,
        None,
        flags,
        source_port,
        icv,
        outer.flow_label,
    )


@dataclass(frozen=True)
class _Outer:
    """What the header of IP says. udp: where it ends, from the beginning of the frame."""

    source: str
    destination: str
    udp: int
    flow_label: int = 0


def _ipv4(frame: bytes) -> _Outer | str:
    udp = ETHERNET_LENGTH + IPV4_LENGTH
    if len(frame) < udp + UDP_OVERHEAD + _INNER_MINIMUM:
        return f"too short to be protected: {len(frame)} bytes"
    ip = frame[ETHERNET_LENGTH:udp]
    if ip[0] != 0x45 or checksum(ip) != 0:
        return "IPv4 header with options or a wrong checksum"
    if ip[9] != PROTOCOL_UDP:
        return f"not UDP: protocol {ip[9]}"
    if ip[6:8] not in (b"\x40\0", b"\0\0"):
        return "a fragment of IPv4"
    total = int.from_bytes(ip[2:4])
    if total != len(frame) - ETHERNET_LENGTH:
        return f"{len(frame) - ETHERNET_LENGTH} bytes where IPv4 says {total}"
    if frame[udp + 6 : udp + 8] != b"\0\0":
        return "a UDP checksum over IPv4"
    return _Outer(ip_text(ip[12:16]), ip_text(ip[16:20]), udp)


def _ipv6(frame: bytes) -> _Outer | str:
    udp = ETHERNET_LENGTH + IPV6_LENGTH
    if len(frame) < udp + UDP_OVERHEAD + _INNER_MINIMUM:
        return f"too short to be protected: {len(frame)} bytes"
    word, length, following, _ = struct.unpack_from("!IHBB", frame, ETHERNET_LENGTH)
    if word >> 28 != 6:
        return f"IPv6 with version {word >> 28}"
    if following != PROTOCOL_UDP:
        return f"not UDP behind the IPv6 header: next header {following}"
    if length != len(frame) - udp:
        return f"{len(frame) - udp} bytes where IPv6 says {length}"
    source, destination = frame[ETHERNET_LENGTH + 8 : ETHERNET_LENGTH + 24], frame[ETHERNET_LENGTH + 24 : udp]
    for address in (source, destination):
        if IPv6Address(address).ipv4_mapped is not None:
            return "an IPv4 address in the form of IPv6"
    found = int.from_bytes(frame[udp + 6 : udp + 8])
    if found != (right := ipv6_udp_checksum(source, destination, frame[udp:])):
        return f"UDP checksum {found:#06x} over IPv6, where {right:#06x} is right"
    return _Outer(str(IPv6Address(source)), str(IPv6Address(destination)), udp, word & 0xFFFFF)
