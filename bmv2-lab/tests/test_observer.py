# SPDX-License-Identifier: Apache-2.0
"""What the observers of the underlay say of a frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nvo3lab.domain_file import domain, watched
from nvo3lab.topology import TOKEN, reference
from nvo3lab.wires.observer import Observer, WatchedVn
from nvo3lab.wires.reader import PIECE, Known, Reader, pieces
from nvo3ref import protection
from nvo3ref import tenant_frames as frames

KEY = bytes(range(16))
ENDS = frozenset({("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")})
"""A link of whose tunnels one is over IPv4, and another over IPv6."""


def packet() -> protection.Protected:
    return protection.Protected(
        "02:aa:00:00:00:01", "02:aa:00:00:00:02", "192.0.2.1", "192.0.2.2", 5001, 0x80001234, 4302, bytes(range(60))
    ).sealed(KEY)


def over_ipv6() -> protection.Protected:
    return replace(packet(), source="2001:db8::1", destination="2001:db8::2")


def watching() -> Observer:
    """What the lab's own domain has it know: red demands integrity, blue confidentiality."""
    document = domain(reference(), {leaf.name: Path("/nowhere") for leaf in reference().leaves})
    vns = {vn["vni"]: WatchedVn.of_members(**vn) for vn in watched(document)}
    return Observer("leaf1", ENDS, vns)


def between(source: str, destination: str, text: bytes = bytes(16)) -> bytes:
    one, other = reference().host(source), reference().host(destination)
    return frames.ethernet(other.mac, one.mac, frames.ETHERTYPE_IPV4, frames.silent(one.ip, other.ip, text))


def of_blue(inner: bytes, suite: int = protection.SUITE_ASCON_AEAD128) -> protection.Protected:
    return replace(packet(), vni=5002, suite=suite, inner=inner).sealed(KEY)


class TestObserver:
    def test_protected_packets_pass(self) -> None:
        observer = Observer("leaf1", ENDS)
        assert observer.sent(packet().build()) == packet()
        assert observer.sent(replace(packet(), sequence=4303).build()) is not None
        assert observer.report(0)["violations"] == 0
        assert observer.last == {("192.0.2.2", 0x80001234): 4303}

    def test_an_unprotected_frame_is_a_violation(self) -> None:
        observer = Observer("leaf1", ENDS)
        arp = frames.arp(frames.ARP_REQUEST, "02:aa:00:00:00:01", "192.0.2.1", "00:00:00:00:00:00", "192.0.2.2")
        observer.sent(frames.ethernet(frames.BROADCAST, "02:aa:00:00:00:01", frames.ETHERTYPE_ARP, arp))
        report = observer.report(0)
        assert report["violations"] == 1
        assert "neither IPv4 nor IPv6" in report["examples"][0]

    def test_a_sequence_number_twice_is_a_violation(self) -> None:
        observer = Observer("leaf1", ENDS)
        observer.sent(packet().build())
        assert observer.sent(replace(packet(), inner=bytes(60)).sealed(KEY).build()) is None
        assert "second time" in observer.report(0)["examples"][0]

    @pytest.mark.parametrize(
        ("source", "destination"),
        [
            ("192.0.2.7", "192.0.2.2"),
            ("192.0.2.1", "192.0.2.7"),
            ("192.0.2.2", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::7", "2001:db8::2"),
            ("2001:db8::1", "2001:db8::7"),
        ],
    )
    def test_other_addresses_are_a_violation(self, source: str, destination: str) -> None:
        observer = Observer("leaf1", ENDS)
        assert observer.sent(replace(packet(), source=source, destination=destination).build()) is None
        assert f"no tunnel from {source} to {destination}" in observer.report(0)["examples"][0]

    def test_the_other_family_is_a_violation(self) -> None:
        """A tunnel is over one of them, and falls back to the other never."""
        observer = Observer("leaf1", ENDS - {("192.0.2.1", "192.0.2.2")})
        assert observer.sent(packet().build()) is None
        assert observer.sent(over_ipv6().build()) == over_ipv6()

    def test_both_families_are_looked_at(self) -> None:
        observer = Observer("leaf1", ENDS)
        assert observer.sent(packet().build()) == packet()
        assert observer.sent(over_ipv6().build()) == over_ipv6()
        assert observer.suites == {(5001, "IPv4", 1): 1, (5001, "IPv6", 1): 1}
        assert observer.sent(over_ipv6().build()) is None, "that sequence number again"

    def test_over_ipv6_a_datagram_has_its_checksum(self) -> None:
        observer = Observer("leaf1", ENDS)
        frame = over_ipv6().build()
        assert observer.sent(frame[:60] + bytes(2) + frame[62:]) is None
        assert "UDP checksum" in observer.report(0)["examples"][0]

    def test_a_talking_kernel_is_a_violation(self) -> None:
        observer = Observer("leaf1", ENDS)
        observer.foreign(bytes(60))
        assert observer.report(0)["violations"] == 1


class TestLevels:
    def test_each_vn_has_its_own(self) -> None:
        observer = watching()
        assert observer.sent(replace(packet(), inner=between("red1", "red2")).sealed(KEY).build()) is not None
        assert observer.sent(of_blue(between("blue1", "blue2")).build()) is None, "that SPI and sequence again"
        assert observer.sent(replace(of_blue(between("blue1", "blue2")), sequence=1).sealed(KEY).build()) is not None
        assert observer.suites == {(5001, "IPv4", 1): 1, (5002, "IPv4", 2): 2}

    def test_below_its_level_is_a_violation(self) -> None:
        observer = watching()
        assert observer.sent(of_blue(bytes(60), protection.SUITE_CHASKEY12).build()) is None
        assert "VN blue demands confidentiality, and suite 1 gives integrity" in observer.report(0)["examples"][0]

    def test_above_it_is_none(self) -> None:
        observer = watching()
        red = replace(packet(), suite=protection.SUITE_ASCON_AEAD128).sealed(KEY)
        assert observer.sent(red.build()) is not None

    @pytest.mark.parametrize(
        ("inner", "shown"),
        [
            (between("blue1", "blue2"), "0200000002"),
            (between("red1", "red2"), "0a0000010a000002"),
            (bytes(20) + TOKEN + bytes(20), TOKEN[PIECE:].hex()),
        ],
    )
    def test_plaintext_is_a_violation(self, inner: bytes, shown: str) -> None:
        """A switch that calls it suite 2, and has not encrypted."""
        observer = watching()
        assert observer.sent(replace(of_blue(bytes(60)), inner=inner).build()) is None
        found = observer.report(0)["examples"][0]
        assert "plaintext of VN blue" in found
        assert shown in found

    def test_so_is_that_of_another_vn_anywhere(self) -> None:
        observer = watching()
        red = replace(packet(), inner=between("blue1", "blue2")).sealed(KEY)
        assert observer.sent(red.build()) is None
        assert "plaintext of VN blue" in observer.report(0)["examples"][0]


class TestReader:
    def test_one_readable_block_is_enough(self) -> None:
        text = bytes(range(64))
        known = Known.of_members(1, (), [text])
        for at in range(0, len(text) - 15):
            assert known.shown_by(bytes(40) + text[at : at + 15] + bytes(9), None), at
        assert not known.shown_by(bytes(100), None)

    def test_addresses_of_both_families_stand_beside_their_own(self) -> None:
        members = [("02:00:00:00:02:01", ip) for ip in ("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2")]
        pairs = Known.of_members(5002, members).inside
        assert sorted(map(len, pairs)) == [8, 8, 32, 32]

    def test_a_text_of_no_whole_pieces_is_refused(self) -> None:
        for text in (b"", bytes(PIECE + 1)):
            with pytest.raises(ValueError, match="no whole number"):
                pieces(text)

    def test_it_counts_what_it_looked_at_and_what_it_found(self) -> None:
        reader = Reader()
        sealed = of_blue(bytes(60)).build()
        reader.look(sealed)
        assert reader.report() == []
        text = bytes(range(8))
        reader.look_for([Known.of_members(5002, [], [text])])
        reader.look(sealed)
        reader.look(bytes(60) + text)
        reader.look(replace(packet(), inner=text * 4).sealed(KEY).build())
        assert reader.report() == [{"vni": 5002, "packets": 1, "found": {text.hex(): 2}}]

    def test_as_json(self) -> None:
        known = Known.of_members(5002, [("02:00:00:00:02:01", "10.0.0.1"), ("02:00:00:00:02:02", "10.0.0.2")], [KEY])
        assert Known.from_json(known.to_json()) == known
