# SPDX-License-Identifier: Apache-2.0
"""Protected packets as text says them: built, and taken apart."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from nvo3ref import ascon, chaskey, protection, tenant_frames
from nvo3ref.tunnel import TunnelPacket

# Known answers, made with the designers' reference code; message byte i is i mod 256.
KEY = bytes.fromhex("33343d839f389f004fe6982339cf7a41")
TAGS = {
    0: "411fcb43c2a0eb51c38a0aff42f6e37e",
    1: "6720acf946a8359c3dad1a4430737b77",
    512: "b4ecb5e95c9fba6bfa5e33621b6f3fae",
    1500: "5cdd1d86e57df9f7b5a47c7ef9edfc1e",
}
# One packet written out byte by byte, from the Geneve header on.
PACKET_KEY = bytes.fromhex("ddcf123ece056dbdbef8026df15edb7c")
GENEVE = bytes.fromhex(
    "0940655800138900ff0181088000123400000000000010ce003c0100c97223a7d3701616f05ad3a202b7a5d4020000000002020000000001"
    "08003c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b62697077"
)
WORKED = json.loads((Path(__file__).parent / "data" / "worked_packets.json").read_text())["packets"]


def worked(one: dict[str, str | int]) -> protection.Protected:
    """A worked packet before it is sealed."""
    return protection.Protected(
        "02:aa:00:00:00:01",
        "02:aa:00:00:00:02",
        "192.0.2.1",
        "192.0.2.2",
        int(one["vni"]),
        int(one["spi"]),
        int(one["sequence"]),
        bytes.fromhex(str(one["inner"])),
        int(one["suite"]),
    )


def packet() -> protection.Protected:
    return protection.Protected(
        "02:aa:00:00:00:01", "02:aa:00:00:00:02", "192.0.2.1", "192.0.2.2", 5001, 0x80001234, 4302, GENEVE[44:]
    ).sealed(PACKET_KEY)


def over_ipv6() -> protection.Protected:
    """The same packet: what an ICV binds are no outer addresses."""
    return replace(packet(), source="2001:db8::1", destination="2001:db8::2", flow_label=0xABCDE)


def _summed(frame: bytes) -> bytes:
    """A frame over IPv6 with the UDP checksum that it should have."""
    value = protection.ipv6_udp_checksum(frame[22:38], frame[38:54], frame[54:])
    return frame[:60] + value.to_bytes(2) + frame[62:]


def _more_fragments(frame: bytes) -> bytes:
    """A frame over IPv4 that says that more of it follows; with the header checksum right."""
    head = bytearray(frame[14:34])
    head[6:8], head[10:12] = b"\x20\0", b"\0\0"
    head[10:12] = tenant_frames.checksum(bytes(head)).to_bytes(2)
    return frame[:14] + bytes(head) + frame[34:]


@pytest.mark.parametrize("length", TAGS)
def test_chaskey_known_answers(length: int) -> None:
    assert chaskey.mac(KEY, bytes(index & 0xFF for index in range(length))).hex() == TAGS[length]


def test_chaskey_refuses_other_keys() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        chaskey.mac(bytes(15), b"")


class TestProtected:
    def test_worked_packet(self) -> None:
        assert packet().build()[42:] == GENEVE

    def test_parse_is_the_inverse(self) -> None:
        parsed = protection.parse(packet().build())
        assert parsed == packet()

    @pytest.mark.parametrize("one", WORKED, ids=lambda one: f"{one['suite']}-{one['sequence']}")
    def test_worked_packets_of_both_suites(self, one: dict[str, str | int]) -> None:
        plain, key = worked(one), bytes.fromhex(str(one["key"]))
        sealed = plain.sealed(key)
        assert sealed.build()[42:].hex() == one["geneve_to_end"]
        parsed = protection.parse(sealed.build())
        assert parsed == sealed
        assert isinstance(parsed, protection.Protected)
        assert parsed.opened(key) == plain.inner
        assert (parsed.inner == plain.inner) == (plain.suite == protection.SUITE_CHASKEY12)

    @pytest.mark.parametrize("one", [WORKED[0], WORKED[-1]], ids=lambda one: str(one["suite"]))
    def test_what_was_changed_does_not_open(self, one: dict[str, str | int]) -> None:
        key = bytes.fromhex(str(one["key"]))
        sealed = worked(one).sealed(key)
        other = bytes([sealed.inner[0] ^ 1])
        for changed in (
            replace(sealed, inner=other + sealed.inner[1:]),
            replace(sealed, icv=bytes([sealed.icv[0] ^ 1]) + sealed.icv[1:]),
            replace(sealed, sequence=sealed.sequence + 1),
            replace(sealed, spi=sealed.spi ^ 1),
            replace(sealed, vni=sealed.vni + 1),
            replace(sealed, coverage=len(sealed.inner) - 1),
            replace(sealed, suite=3 - sealed.suite),
        ):
            with pytest.raises(ascon.BadTag):
                changed.opened(key)

    def test_no_other_suite_seals(self) -> None:
        with pytest.raises(ValueError, match="no suite 3"):
            replace(packet(), suite=3).sealed(PACKET_KEY)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda data: data[:12] + b"\x86\xdd" + data[14:], "IPv6 with version 4"),
            (lambda data: data[:12] + b"\x08\x06" + data[14:], "neither IPv4 nor IPv6"),
            (lambda data: data[:60], "too short"),
            (lambda data: data + b"\x00", "IPv4 says"),
            (lambda data: data[:24] + b"\x00\x00" + data[26:], "checksum"),
            (_more_fragments, "a fragment"),
            (lambda data: data[:40] + b"\x00\x01" + data[42:], "UDP checksum"),
            (lambda data: data[:36] + b"\x12\xb5" + data[38:], "not Geneve"),
            (lambda data: data[:42] + b"\x00" + data[43:], "exactly the protection option"),
            (lambda data: data[:50] + b"\x01\x02" + data[52:], "another option"),
            (lambda data: data[:68] + b"\x00" + data[69:], "suite 0"),
            (lambda data: data[:66] + b"\x00\x10" + data[68:], "are covered"),
            (lambda data: data[:70] + bytes(16) + data[86:], "empty"),
        ],
    )
    def test_what_is_not_protected(self, change: object, reason: str) -> None:
        assert callable(change)
        result = protection.parse(change(packet().build()))
        assert isinstance(result, str)
        assert reason in result


class TestIpv6:
    def test_parse_is_the_inverse(self) -> None:
        assert protection.parse(over_ipv6().build()) == over_ipv6()

    def test_it_is_what_the_other_reader_writes(self) -> None:
        """They share nothing but the text."""
        other = TunnelPacket(
            inner=packet().inner,
            key=PACKET_KEY,
            spi=0x80001234,
            sequence=4302,
            vni=5001,
            source=IPv6Address("2001:db8::1").packed,
            destination=IPv6Address("2001:db8::2").packed,
            eth_dst=bytes.fromhex("02aa00000002"),
            eth_src=bytes.fromhex("02aa00000001"),
            udp_source=0xC000,
            flow_label=0xABCDE,
        )
        assert over_ipv6().build() == other.encode()

    def test_a_sum_of_zero_is_sent_as_ones(self) -> None:
        """Otherwise it would say that there is none."""
        checksum = int.from_bytes(over_ipv6().build()[60:62])
        port = (over_ipv6().source_port + checksum) % 0xFFFF  # now all of it adds up to ones
        frame = replace(over_ipv6(), source_port=port).build()
        assert frame[60:62] == b"\xff\xff"
        assert isinstance(protection.parse(frame), protection.Protected)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda data: data[:12] + b"\x08\x00" + data[14:], "IPv4 header with options"),
            (lambda data: data[:14] + b"\x40" + data[15:], "IPv6 with version 4"),
            (lambda data: data[:80], "too short"),
            (lambda data: data + b"\x00", "IPv6 says"),
            (lambda data: data[:20] + b"\x3c" + data[21:], "next header 60"),
            (lambda data: data[:20] + b"\x2c" + data[21:], "next header 44"),
            (lambda data: data[:60] + bytes(2) + data[62:], "checksum 0x0000"),
            (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "checksum"),
            (lambda data: data[:37] + b"\x07" + data[38:], "checksum"),
            (lambda data: _summed(data[:22] + bytes(10) + b"\xff\xff\xc0\0\2\1" + data[38:]), "in the form of IPv6"),
            (lambda data: _summed(data[:38] + bytes(10) + b"\xff\xff\xc0\0\2\1" + data[54:]), "in the form of IPv6"),
            (lambda data: _summed(data[:58] + b"\0\x64" + data[60:]), "disagree"),
            (lambda data: _summed(data[:56] + b"\x12\xb5" + data[58:]), "not Geneve"),
            (lambda data: _summed(data[:62] + b"\x00" + data[63:]), "exactly the protection option"),
            (lambda data: _summed(data[:86] + b"\x00\x10" + data[88:]), "are covered"),
        ],
    )
    def test_what_is_not_protected(self, change: object, reason: str) -> None:
        assert callable(change)
        result = protection.parse(change(over_ipv6().build()))
        assert isinstance(result, str)
        assert reason in result
