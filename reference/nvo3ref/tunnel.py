# SPDX-License-Identifier: Apache-2.0
"""A protected packet of the underlay: Ethernet, IPv4 or IPv6, UDP, Geneve (RFC 8926) with the protection option, inner
frame."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from nvo3ref import ascon, chaskey
from nvo3ref.frames import checksum

SUITE_CHASKEY12 = 1
SUITE_ASCON_AEAD128 = 2
GENEVE_PORT = 6081
GENEVE_ETHERNET = 0x6558
OPTION_CLASS = 0xFF01
OPTION_TYPE = 0x81
OVERHEAD_IPV4 = 20 + 8 + 8 + 36  # from an inner frame to the IPv4 total length
OVERHEAD_IPV6 = 40 + 8 + 8 + 36  # from an inner frame to the length of the IPv6 packet
OUTER_LENGTH = 14 + OVERHEAD_IPV4  # where the inner frame begins on the wire
IPV6_LONGER = 20  # than IPv4: what the offsets below are off by, in a packet over IPv6
# Offsets in the packet as it is on the wire, over IPv4.
IPV4_AT, UDP_AT, GENEVE_AT, OPTION_AT = 14, 34, 42, 50
SPI_AT, SEQUENCE_AT, COVERAGE_AT, SUITE_AT, FLAGS_AT, ICV_AT, INNER_AT = 54, 58, 66, 68, 69, 70, 86


def authenticated(geneve_base: bytes, option: bytes, inner_length: int, covered: bytes) -> bytes:
    """The bytes under the ICV of suite 1: headers as on the wire, a word with the inner length, the covered inner
    bytes."""
    return geneve_base + option[:20] + struct.pack(">HH", inner_length, 0x4E33) + covered


def nonce(spi: int, sequence: int) -> bytes:
    """Of suite 2: SPI, 32 zero bits, sequence."""
    return struct.pack(">IIQ", spi, 0, sequence)


@dataclass(frozen=True)
class TunnelPacket:
    """Every field can be set against the rules; what is None is computed. Addresses of 16 bytes: over IPv6."""

    inner: bytes
    key: bytes
    spi: int
    sequence: int
    vni: int
    source: bytes
    destination: bytes
    eth_dst: bytes
    eth_src: bytes
    udp_source: int = 49152
    coverage: int | None = None
    suite: int = SUITE_CHASKEY12
    flags: int = 0
    icv: bytes | None = None
    # Outer headers
    ether_type: int | None = None
    version_ihl: int = 0x45
    version_ipv6: int = 6
    flow_label: int = 0
    dscp: int = 0
    ecn: int = 0
    identification: int = 0
    fragment: int = 0x4000
    ttl: int = 64
    protocol: int = 17
    ip_options: bytes = b""
    ip_length: int | None = None
    ip_checksum: int | None = None
    udp_destination: int = GENEVE_PORT
    udp_length: int | None = None
    udp_checksum: int | None = None
    # Geneve
    version: int = 0
    option_words: int = 9
    control: int = 0
    critical: int = 1
    geneve_reserved1: int = 0
    geneve_protocol: int = GENEVE_ETHERNET
    geneve_reserved2: int = 0
    option_class: int = OPTION_CLASS
    option_type: int = OPTION_TYPE
    option_reserved: int = 0
    data_words: int = 8
    more_options: bytes = b""
    trailing: bytes = field(default=b"")

    def but(self, **changes: object) -> TunnelPacket:
        """The same packet with other fields; what is computed is computed anew."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def geneve_base(self) -> bytes:
        return struct.pack(
            ">BBHI",
            self.version << 6 | self.option_words,
            self.control << 7 | self.critical << 6 | self.geneve_reserved1,
            self.geneve_protocol,
            self.vni << 8 | self.geneve_reserved2,
        )

    def _option_head(self) -> bytes:
        coverage = len(self.inner) if self.coverage is None else self.coverage
        return struct.pack(
            ">HBBIQHBB",
            self.option_class,
            self.option_type,
            self.option_reserved << 5 | self.data_words,
            self.spi,
            self.sequence,
            coverage,
            self.suite,
            self.flags,
        )

    def sealed(self) -> tuple[bytes, bytes]:
        """The frame as it is carried, and the ICV: suite 2 encrypts, all others are taken for suite 1."""
        head = self._option_head()
        if self.suite == SUITE_ASCON_AEAD128:
            bound = self.geneve_base() + head
            return ascon.encrypt(self.key, nonce(self.spi, self.sequence), bound, self.inner)
        covered = self.inner[: self.coverage]
        return self.inner, chaskey.mac(self.key, authenticated(self.geneve_base(), head, len(self.inner), covered))

    def option(self) -> bytes:
        return self._option_head() + (self.sealed()[1] if self.icv is None else self.icv)

    def encode(self) -> bytes:
        carried, icv = self.sealed()
        option = self._option_head() + (icv if self.icv is None else self.icv)
        body = self.geneve_base() + option + self.more_options + carried
        if self.is_ipv6():
            return self._over_ipv6(body)
        udp_length = 8 + len(body) if self.udp_length is None else self.udp_length
        ip_length = 20 + len(self.ip_options) + 8 + len(body) if self.ip_length is None else self.ip_length
        head = (
            struct.pack(
                ">BBHHHBBH4s4s",
                self.version_ihl,
                self.dscp << 2 | self.ecn,
                ip_length,
                self.identification,
                self.fragment,
                self.ttl,
                self.protocol,
                0,
                self.source,
                self.destination,
            )
            + self.ip_options
        )
        ip_checksum = checksum(head) if self.ip_checksum is None else self.ip_checksum
        head = head[:10] + struct.pack(">H", ip_checksum) + head[12:]
        udp = struct.pack(">HHHH", self.udp_source, self.udp_destination, udp_length, self.udp_checksum or 0)
        return self._ethernet(0x0800) + head + udp + body + self.trailing

    def is_ipv6(self) -> bool:
        return len(self.source) == 16

    def _ethernet(self, usual: int) -> bytes:
        return self.eth_dst + self.eth_src + struct.pack(">H", usual if self.ether_type is None else self.ether_type)

    def _over_ipv6(self, body: bytes) -> bytes:
        """`protocol`: next header. `ttl`: hop limit. `ip_length`: payload length. `ip_options`: extension headers."""
        udp_length = 8 + len(body) if self.udp_length is None else self.udp_length
        payload = len(self.ip_options) + 8 + len(body) if self.ip_length is None else self.ip_length
        word = self.version_ipv6 << 28 | (self.dscp << 2 | self.ecn) << 20 | self.flow_label
        head = struct.pack(">IHBB", word, payload, self.protocol, self.ttl) + self.source + self.destination
        udp = struct.pack(">HHHH", self.udp_source, self.udp_destination, udp_length, 0)
        given = self.udp_checksum
        if given is None:
            given = udp_checksum_ipv6(self.source, self.destination, udp + body) or 0xFFFF
        udp = udp[:6] + struct.pack(">H", given)
        return self._ethernet(0x86DD) + head + self.ip_options + udp + body + self.trailing


def udp_checksum_ipv6(source: bytes, destination: bytes, datagram: bytes) -> int:
    """Over the pseudo-header of RFC 8200 8.1 and the datagram as it stands: 0 where its own field is right already."""
    return checksum(source + destination + struct.pack(">II", len(datagram), 17) + datagram)


def with_udp_checksum(packet: bytes) -> bytes:
    """The packet over IPv6 with its UDP checksum set right, after a change of anything."""
    at = UDP_AT + IPV6_LONGER
    datagram = packet[at : at + 6] + b"\0\0" + packet[at + 8 :]
    right = udp_checksum_ipv6(packet[22:38], packet[38:54], datagram) or 0xFFFF
    return packet[: at + 6] + struct.pack(">H", right) + packet[at + 8 :]


def with_ip_checksum(packet: bytes) -> bytes:
    """The packet with its IPv4 header checksum set right, after a change of that header."""
    head = packet[IPV4_AT : IPV4_AT + 10] + b"\0\0" + packet[IPV4_AT + 12 : UDP_AT]
    return packet[: IPV4_AT + 10] + struct.pack(">H", checksum(head)) + packet[IPV4_AT + 12 :]
