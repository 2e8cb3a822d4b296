# SPDX-License-Identifier: Apache-2.0
"""What the observers of the underlay say of a frame."""

from __future__ import annotations

from dataclasses import replace

from nvo3lab.wires.observer import Observer
from nvo3ref import protection
from nvo3ref import tenant_frames as frames

KEY = bytes(range(16))


def packet() -> protection.Protected:
    return protection.Protected(
        "02:aa:00:00:00:01", "02:aa:00:00:00:02", "192.0.2.1", "192.0.2.2", 5001, 0x80001234, 4302, bytes(range(60))
    ).sealed(KEY)


class TestObserver:
    def test_protected_packets_pass(self) -> None:
        observer = Observer("leaf1", "192.0.2.1")
        assert observer.sent(packet().build()) == packet()
        assert observer.sent(replace(packet(), sequence=4303).build()) is not None
        assert observer.report(0)["violations"] == 0
        assert observer.last == {("192.0.2.2", 0x80001234): 4303}

    def test_an_unprotected_frame_is_a_violation(self) -> None:
        observer = Observer("leaf1", "192.0.2.1")
        arp = frames.arp(frames.ARP_REQUEST, "02:aa:00:00:00:01", "192.0.2.1", "00:00:00:00:00:00", "192.0.2.2")
        observer.sent(frames.ethernet(frames.BROADCAST, "02:aa:00:00:00:01", frames.ETHERTYPE_ARP, arp))
        report = observer.report(0)
        assert report["violations"] == 1
        assert "not IPv4" in report["examples"][0]

    def test_a_sequence_number_twice_is_a_violation(self) -> None:
        observer = Observer("leaf1", "192.0.2.1")
        observer.sent(packet().build())
        assert observer.sent(replace(packet(), inner=bytes(60)).sealed(KEY).build()) is None
        assert "second time" in observer.report(0)["examples"][0]

    def test_another_source_is_a_violation(self) -> None:
        observer = Observer("leaf1", "192.0.2.1")
        assert observer.sent(replace(packet(), source="192.0.2.7").build()) is None

    def test_a_talking_kernel_is_a_violation(self) -> None:
        observer = Observer("leaf1", "192.0.2.1")
        observer.foreign(bytes(60))
        assert observer.report(0)["violations"] == 1
