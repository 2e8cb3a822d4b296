# SPDX-License-Identifier: Apache-2.0
"""What the sender of a packet that does not fit is told, byte for byte as the RFCs have it; and who is told nothing."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from nvo3sec.domain.switch.too_big import Answer, NoAnswer, answer_too_big

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
IP_A, IP_B = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
IP6_A, IP6_B = IPv6Address("fd00::1"), IPv6Address("fd00::2")
PORTS = bytes.fromhex("03e807d0")
CUT = 128
LIMIT, LIMIT6 = 1314, 1294


def ones_sum(data: bytes) -> int:
    """Of 16-bit words, as RFC 1071 1 adds them; 0xFFFF over what has a right checksum in it."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = total // 0x10000 + total % 0x10000
    return total


def ipv4(payload: bytes, *, flags=0x4000, protocol=6, source=IP_A, to=IP_B, options=b"", total=None) -> bytes:
    length = 20 + len(options) + len(payload)
    first = 0x40 | (20 + len(options)) // 4
    fields = (first, 0, length if total is None else total, 0x1234, flags, 64, protocol, 0)
    head = struct.pack(">BBHHHBBH", *fields) + source.packed + to.packed + options
    return head[:10] + (0xFFFF ^ ones_sum(head)).to_bytes(2, "big") + head[12:] + payload


def ipv6(payload: bytes, *, protocol=6, source=IP6_A, to=IP6_B, length=None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">IHBB", 0x60000000, size, protocol, 64) + source.packed + to.packed + payload


def frame(packet: bytes, *, src=A, dst=B, kind=None) -> bytes:
    kind = kind or {4: b"\x08\x00", 6: b"\x86\xdd"}[packet[0] >> 4]
    return dst + src + kind + packet


def told(whole: bytes, limit=LIMIT, cut=CUT):
    return answer_too_big(whole[:cut], len(whole), limit)


def filled(size: int) -> bytes:
    return PORTS + bytes(at & 0xFF for at in range(size - 4))


class TestIpv4:
    PACKET = ipv4(filled(1400))

    def test_byte_for_byte(self):
        """RFC 792 p. 4 with the MTU of RFC 1191 4; 20 + 94 bytes of the packet, which is all that came up."""
        expected = (
            A
            + B
            + b"\x08\x00"
            # 142 bytes, identification 0 with DF (RFC 6864 4.1), TTL 64, ICMP; from where the packet was to go
            + bytes.fromhex("45 00 00 8e 00 00 40 00 40 01 26 6d 0a 00 00 02 0a 00 00 01")
            + bytes.fromhex("03 04 28 31 00 00 05 22")  # 1314
            + self.PACKET[:114]
        )
        answer = told(frame(self.PACKET))
        assert isinstance(answer, Answer)
        assert answer.frame.hex() == expected.hex()
        assert ones_sum(answer.frame[14:34]) == 0xFFFF
        assert ones_sum(answer.frame[34:]) == 0xFFFF
        assert answer.flow == (IP_A, IP_B, 6, PORTS)

    def test_options_are_quoted_too(self):
        packet = ipv4(filled(1400), options=bytes.fromhex("94040000"))
        answer = told(frame(packet))
        assert isinstance(answer, Answer)
        assert answer.frame[14] == 0x45, "the answer has none"
        assert answer.frame[42:] == packet[:114]
        assert answer.flow == (IP_A, IP_B, 6, PORTS)

    def test_what_stands_behind_the_packet_is_not_quoted(self):
        """A tunnel that carries next to nothing, and a frame with a trailer."""
        packet = ipv4(filled(60))
        answer = told(frame(packet) + bytes(20), limit=70)
        assert isinstance(answer, Answer)
        assert answer.frame[42:] == packet

    @pytest.mark.parametrize("size", [1315, 1316, 1400, 1553])
    def test_one_byte_too_many_is_enough(self, size):
        assert isinstance(told(frame(ipv4(filled(size - 20)))), Answer)

    @pytest.mark.parametrize("size", [28, 1313, 1314])
    def test_a_packet_that_fits_is_not_answered(self, size):
        """Whatever follows it in its frame: a smaller packet would not help."""
        whole = frame(ipv4(filled(size - 20)))
        assert told(whole + bytes(1500 - len(whole))) is NoAnswer.FITS

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"flags": 0}, NoAnswer.MAY_BE_FRAGMENTED),
            ({"flags": 0x2000}, NoAnswer.MAY_BE_FRAGMENTED),
            ({"flags": 0x8000}, NoAnswer.MAY_BE_FRAGMENTED),
            ({"flags": 0x4001}, NoAnswer.FRAGMENT),
            ({"flags": 0x1000}, NoAnswer.FRAGMENT),
            ({"flags": 0x6001}, NoAnswer.FRAGMENT),
            ({"to": IPv4Address("224.0.0.5")}, NoAnswer.GROUP),
            ({"to": IPv4Address("239.255.255.255")}, NoAnswer.GROUP),
            ({"to": IPv4Address("255.255.255.255")}, NoAnswer.GROUP),
            ({"to": IPv4Address(0)}, NoAnswer.MALFORMED),
            ({"to": IPv4Address("127.0.0.1")}, NoAnswer.MALFORMED),
            ({"source": IPv4Address(0)}, NoAnswer.SOURCE),
            ({"source": IPv4Address("224.0.0.5")}, NoAnswer.SOURCE),
            ({"source": IPv4Address("255.255.255.255")}, NoAnswer.SOURCE),
            ({"source": IPv4Address("240.0.0.1")}, NoAnswer.SOURCE),
            ({"source": IPv4Address("127.0.0.1")}, NoAnswer.SOURCE),
            ({"total": 20}, NoAnswer.MALFORMED),
            ({"total": 0}, NoAnswer.MALFORMED),
            ({"total": 1421}, NoAnswer.MALFORMED),
            ({"total": 65535}, NoAnswer.MALFORMED),
        ],
    )
    def test_who_is_told_nothing(self, changes, reason):
        assert told(frame(ipv4(filled(1400), **changes))) is reason

    def test_the_first_fragment_is_answered(self):
        assert isinstance(told(frame(ipv4(filled(1400), flags=0x6000))), Answer)

    @pytest.mark.parametrize("kind", range(256))
    def test_errors_of_icmp_are_never_answered(self, kind):
        """RFC 1122 3.2.2. A type of which nobody knows counts as one."""
        whole = frame(ipv4(bytes([kind]) + bytes(1399), protocol=1))
        questions = {0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43}
        if kind in questions:
            assert isinstance(told(whole), Answer)
        else:
            assert told(whole) is NoAnswer.ICMP_ERROR
        behind_options = frame(ipv4(bytes([kind]) + bytes(1399), protocol=1, options=b"\x01" * 40))
        assert isinstance(told(behind_options), Answer) == (kind in questions)

    @pytest.mark.parametrize("first", [0x44, 0x40, 0x35, 0x55, 0x00, 0x65])
    def test_no_header(self, first):
        packet = bytes([first]) + self.PACKET[1:]
        assert told(frame(packet, kind=b"\x08\x00")) is NoAnswer.MALFORMED

    def test_a_wrong_checksum(self):
        for bit in range(160):
            packet = bytearray(self.PACKET)
            packet[bit // 8] ^= 0x80 >> bit % 8
            assert told(frame(bytes(packet), kind=b"\x08\x00")) is NoAnswer.MALFORMED

    def test_nothing_less_than_its_headers_is_read(self):
        whole = frame(ipv4(filled(1400), options=b"\x01" * 40))
        for cut in range(14 + 60 + 8):
            assert isinstance(answer_too_big(whole[:cut], len(whole), LIMIT), NoAnswer)
        assert isinstance(answer_too_big(whole[:82], len(whole), LIMIT), Answer)


class TestIpv6:
    PACKET = ipv6(filled(1400))

    def test_byte_for_byte(self):
        """RFC 4443 3.2, with its pseudo-header (RFC 8200 8.1)."""
        expected = (
            A
            + B
            + b"\x86\xdd"
            + bytes.fromhex("60 00 00 00 00 7a 3a 40")  # 8 + 114 bytes, ICMPv6, hop limit 64
            + IP6_B.packed
            + IP6_A.packed
            + bytes.fromhex("02 00 e1 f5 00 00 05 0e")  # 1294
            + self.PACKET[:114]
        )
        answer = told(frame(self.PACKET), LIMIT6)
        assert isinstance(answer, Answer)
        assert answer.frame.hex() == expected.hex()
        message = answer.frame[54:]
        assert ones_sum(IP6_B.packed + IP6_A.packed + struct.pack(">II", len(message), 58) + message) == 0xFFFF
        assert answer.flow == (IP6_A, IP6_B, 6, PORTS)

    def test_not_below_what_every_link_carries(self):
        """RFC 8200 5: nobody sends smaller packets for it, so less is not said, and less is not asked of anybody."""
        answer = told(frame(self.PACKET), 1214)
        assert isinstance(answer, Answer)
        assert answer.frame[58:62] == (1280).to_bytes(4, "big")
        assert isinstance(told(frame(ipv6(filled(1241))), 1214), Answer)
        assert told(frame(ipv6(filled(1240))), 1214) is NoAnswer.LEAST_MTU
        assert told(frame(ipv6(filled(1175))), 1214) is NoAnswer.LEAST_MTU
        assert told(frame(ipv6(filled(1174))) + bytes(100), 1214) is NoAnswer.FITS

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"to": IPv6Address("ff02::1")}, NoAnswer.GROUP),
            ({"to": IPv6Address("ff0e::1234")}, NoAnswer.GROUP),
            ({"to": IPv6Address("::")}, NoAnswer.MALFORMED),
            ({"to": IPv6Address("::1")}, NoAnswer.MALFORMED),
            ({"source": IPv6Address("::")}, NoAnswer.SOURCE),
            ({"source": IPv6Address("::1")}, NoAnswer.SOURCE),
            ({"source": IPv6Address("ff02::1")}, NoAnswer.SOURCE),
            ({"source": IPv6Address("::ffff:10.0.0.1")}, NoAnswer.SOURCE),
            ({"length": 0}, NoAnswer.MALFORMED),
            ({"length": 1401}, NoAnswer.MALFORMED),
            ({"length": 65535}, NoAnswer.MALFORMED),
        ],
    )
    def test_who_is_told_nothing(self, changes, reason):
        assert told(frame(ipv6(filled(1400), **changes)), LIMIT6) is reason

    def test_link_local_systems_are_told(self):
        whole = frame(ipv6(filled(1400), source=IPv6Address("fe80::1"), to=IPv6Address("fe80::2")))
        assert isinstance(told(whole, LIMIT6), Answer)

    @pytest.mark.parametrize("kind", range(256))
    def test_errors_of_icmpv6_are_never_answered(self, kind):
        """RFC 4443 2.4 (e.1), (e.2): errors, and redirects; behind extension headers, too."""
        is_answered = kind >= 128 and kind != 137
        message = bytes([kind]) + bytes(1399)
        authentication = bytes.fromhex("3a02") + bytes(14)
        behind = (
            (60, bytes.fromhex("3a00010400000000")),
            (0, bytes.fromhex("3c000104000000003a01") + bytes(14)),
            (44, bytes.fromhex("3a00000100000001")),  # the first fragment
            (51, authentication),
            (135, bytes.fromhex("3a00") + bytes(6)),
        )
        assert isinstance(told(frame(ipv6(message, protocol=58)), LIMIT6), Answer) == is_answered
        for first, headers in behind:
            answer = told(frame(ipv6(headers + message, protocol=first)), LIMIT6)
            assert isinstance(answer, Answer) == is_answered, first
            assert is_answered or answer is NoAnswer.ICMP_ERROR

    def test_fragments_behind_the_first(self):
        for offset in (0x0008, 0x0009, 0x0100, 0xFFF8):
            header = bytes([17, 0]) + offset.to_bytes(2, "big") + bytes(4)
            assert told(frame(ipv6(header + filled(1400), protocol=44)), LIMIT6) is NoAnswer.FRAGMENT
            behind = bytes.fromhex("2c00010400000000") + header
            assert told(frame(ipv6(behind + filled(1400), protocol=60)), LIMIT6) is NoAnswer.FRAGMENT
        for first in (0x0000, 0x0001, 0x0007):
            header = bytes([17, 0]) + first.to_bytes(2, "big") + bytes(4)
            answer = told(frame(ipv6(header + filled(1400), protocol=44)), LIMIT6)
            assert isinstance(answer, Answer)
            assert answer.flow == (IP6_A, IP6_B, 17, PORTS)

    def test_headers_whose_end_did_not_come_up(self):
        """It could be an error of ICMP, or a fragment."""
        long = bytes([58, 8]) + bytes(70)
        assert told(frame(ipv6(long + bytes([128]) + bytes(1399), protocol=60)), LIMIT6) is not NoAnswer.MALFORMED
        for headers in (bytes([58, 9]) + bytes(78), bytes([60, 9]) + bytes(78) + bytes([58, 0]) + bytes(6)):
            whole = frame(ipv6(headers + bytes([128]) + bytes(1399), protocol=60))
            assert told(whole, LIMIT6) is NoAnswer.MALFORMED
        beyond = bytes([6, 255]) + bytes(1400)
        assert told(frame(ipv6(beyond, protocol=60)), LIMIT6) is NoAnswer.MALFORMED

    def test_nothing_less_than_its_header_is_read(self):
        whole = frame(self.PACKET)
        for cut in range(54):
            assert isinstance(answer_too_big(whole[:cut], len(whole), LIMIT6), NoAnswer)
        for version in (0, 4, 5, 7, 15):
            packet = bytes([version << 4]) + self.PACKET[1:]
            assert told(frame(packet, kind=b"\x86\xdd"), LIMIT6) is NoAnswer.MALFORMED


class TestFrames:
    @pytest.mark.parametrize("packet", [ipv4(filled(1400)), ipv6(filled(1400))])
    def test_to_groups_and_from_nobody(self, packet):
        for group in ("ffffffffffff", "01005e000001", "333300000001", "030000000002"):
            assert told(frame(packet, dst=bytes.fromhex(group))) is NoAnswer.GROUP
        for source in ("000000000000", "030000000001"):
            assert told(frame(packet, src=bytes.fromhex(source))) is NoAnswer.SOURCE

    @pytest.mark.parametrize("kind", ["0806", "88b5", "0600", "05dc", "8100", "88a8", "0000"])
    def test_what_is_not_ip(self, kind):
        assert told(frame(ipv4(filled(1400)), kind=bytes.fromhex(kind))) is NoAnswer.NOT_IP

    def test_more_than_there_was(self):
        whole = frame(ipv4(filled(1400)))[:CUT]
        assert answer_too_big(whole, CUT - 1, LIMIT) is NoAnswer.MALFORMED

    def test_an_answer_is_never_answered(self):
        for packet, limit in ((ipv4(filled(1400)), LIMIT), (ipv6(filled(1400)), LIMIT6)):
            answer = told(frame(packet), limit)
            assert isinstance(answer, Answer)
            assert isinstance(told(answer.frame, limit=40), NoAnswer)

    def test_whatever_comes_up_it_ends_with_an_answer_or_a_reason(self):
        chooser = random.Random(1191)
        for _ in range(5000):
            packet = bytearray(
                chooser.choice((ipv4(filled(1400)), ipv6(filled(1400), protocol=chooser.choice((0, 44, 60)))))
            )
            for _ in range(chooser.randint(1, 12)):
                packet[chooser.randrange(100)] = chooser.randrange(256)
            whole = frame(bytes(packet), kind=chooser.choice((b"\x08\x00", b"\x86\xdd")))
            found = answer_too_big(
                whole[: chooser.randint(0, CUT)], chooser.randint(0, len(whole)), chooser.randint(0, 1553)
            )
            assert isinstance(found, NoAnswer) or found.frame[:12] == whole[6:12] + whole[:6]
