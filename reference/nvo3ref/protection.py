# SPDX-License-Identifier: Apache-2.0
"""The protected packet on the underlay: Ethernet, IPv4, UDP 6081, Geneve with the protection option, inner frame.

Both directions: `build` makes what a switch would send (or, field by field, what an attacker would), `parse` says
why a frame is not a protected packet.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, replace

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
INNER_OFFSET = ETHERNET_LENGTH + IPV4_LENGTH + UDP_OVERHEAD
"""Where the inner frame starts, counted from the outer Ethernet header."""
_ICV_OFFSET = INNER_OFFSET - ICV_LENGTH
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
        return (
            mac_bytes(self.destination_mac)
            + mac_bytes(self.source_mac)
            + struct.pack("!H", ETHERTYPE_IPV4)
            + head
            + udp
        )


def parse(frame: bytes) -> Protected | str:
    """The packet, or in what way the frame is not one. Of the ICV it is asked only that there is one."""
    if len(frame) < ETHERNET_LENGTH or int.from_bytes(frame[12:14]) != ETHERTYPE_IPV4:
        return f"not IPv4: EtherType 0x{frame[12:14].hex()}"
    if len(frame) < INNER_OFFSET + _INNER_MINIMUM:
        return f"too short to be protected: {len(frame)} bytes"
    ip = frame[ETHERNET_LENGTH : ETHERNET_LENGTH + IPV4_LENGTH]
    if ip[0] != 0x45 or checksum(ip) != 0:
        return "IPv4 header with options or a wrong checksum"
    if ip[9] != PROTOCOL_UDP:
        return f"not UDP: protocol {ip[9]}"
    total = int.from_bytes(ip[2:4])
    if total != len(frame) - ETHERNET_LENGTH:
        return f"{len(frame) - ETHERNET_LENGTH} bytes where IPv4 says {total}"
    source_port, port, length, _ = struct.unpack_from("!HHHH", frame, ETHERNET_LENGTH + IPV4_LENGTH)
    if port != UDP_PORT_GENEVE:
        return f"not Geneve: UDP port {port}"
    if length != total - IPV4_LENGTH:
        return "UDP and IPv4 disagree about the length"
    base = ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH
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
    inner = frame[INNER_OFFSET:]
    if coverage != len(inner):
        return f"{coverage} of {len(inner)} bytes are covered"
    icv = frame[_ICV_OFFSET:INNER_OFFSET]
    if spi & 0x7FFFFFFF == 0 or sequence == 0 or icv == bytes(ICV_LENGTH):
        return "empty SPI, sequence or ICV"
    return Protected(
        mac_text(frame[6:12]),
        mac_text(frame[:6]),
        ip_text(ip[12:16]),
        ip_text(ip[16:20]),
        vni >> 8,
        spi,
        sequence,
        inner,
        suite,
        None,
        flags,
        source_port,
        icv,
    )
