# SPDX-License-Identifier: Apache-2.0
"""What the outer source port depends on: the inner flow, and nothing else (RFC 8926 3.3, RFC 6438)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from harness.base import NveTest
from harness.schema import entry
from harness.world import IP_NONE, IP_V4, IP_V6, A, Host, derived
from nvo3ref.frames import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    ICMP,
    SCTP,
    TCP,
    UDP,
    ethernet,
    ipv4,
    ipv6,
    padded,
    pattern,
)

ICMPV6, FRAGMENT = 58, 44
WHOLE, FIRST, LATER, LAST = 0x4000, 0x2000, 0x2001, 0x0002
UDP_SOURCE_AT = 34


def ports(source: int, destination: int, length: int = 16) -> bytes:
    return struct.pack(">HH", source, destination) + pattern(length - 4)


def fragment_header(next_header: int, offset: int, more: bool) -> bytes:
    return struct.pack(">BBHI", next_header, 0, offset << 3 | more, 7)


class _Flows(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.key = derived("entropy of flows")
        self.modify(entry("flow_entropy", {}, "keyed", key=self.key))
        self.far: Host = self.world.far1
        self.insert(A.guard(IP_NONE, 0), *self.world.peer1.members())

    def source_ports(self, frames: Iterable[bytes]) -> set[int]:
        """What the switch chooses, by the packets that come out and by nothing else."""
        frames = list(frames)
        seen = set()
        for at in range(0, len(frames), 16):
            some = frames[at : at + 16]
            # The reference says what comes out: `exchange` compares it byte by byte, the port among the rest.
            self.world.peer1.entropy = self.key
            packets = [self.world.peer1.sent(frame, ecn=0) for frame in some]
            observed = self.exchange([(A.port, frame) for frame in some], [(256, packet) for packet in packets])
            seen |= {int.from_bytes(packet[UDP_SOURCE_AT : UDP_SOURCE_AT + 2], "big") for _, packet in observed.outputs}
        return seen

    def ip4(self, payload: bytes, protocol: int = UDP, **changes: object) -> bytes:
        packet = ipv4(A.ip, self.far.ip, payload, protocol, **changes)  # type: ignore[arg-type]
        return ethernet(self.far.mac, A.mac, ETHERTYPE_IPV4, packet)

    def ip6(self, payload: bytes, next_header: int = UDP, label: int = 0) -> bytes:
        packet = ipv6(A.ip6, self.far.ip6, payload, next_header, label=label)
        return ethernet(self.far.mac, A.mac, ETHERTYPE_IPV6, packet)

    def is_one_flow(self, frames: Iterable[bytes]) -> None:
        self.assertEqual(len(self.source_ports(frames)), 1)

    def are_flows(self, frames: Iterable[bytes]) -> None:
        """No two of the same port: with these keys and frames none collide."""
        frames = list(frames)
        self.assertEqual(len(self.source_ports(frames)), len(frames))


class LengthsOfAFlow(_Flows):
    """From a datagram without a byte on, padded and not."""

    def runTest(self) -> None:
        lengths = (*range(8, 40), 500, 1400)
        for protocol in (TCP, UDP, SCTP):
            self.is_one_flow(self.ip4(ports(1000, 2000, length), protocol) for length in lengths)
            self.is_one_flow(padded(self.ip4(ports(1000, 2000, length), protocol)) for length in lengths)
            self.is_one_flow(self.ip6(ports(1000, 2000, length), protocol) for length in lengths)
        self.is_one_flow(self.ip4(pattern(length, 1), ICMP) for length in (*range(40), 500))
        self.is_one_flow(self.ip6(pattern(length), 253) for length in (*range(40), 500))
        self.is_one_flow(self.ip6(pattern(length), UDP, label=7) for length in range(8, 40))
        self.is_one_flow(ethernet(self.far.mac, A.mac, ETHERTYPE_LOCAL, pattern(n)) for n in (*range(2, 60), 500))


class LengthsInsteadOfTypes(_Flows):
    """IEEE 802.3: what stands where an EtherType does is the length of the frame."""

    def runTest(self) -> None:
        sizes = (3, 4, 46, 100, 1000, 1500)
        self.is_one_flow(
            ethernet(self.far.mac, A.mac, size, b"\x42\x42\x03" + pattern(max(0, size - 3))) for size in sizes
        )
        self.are_flows(ethernet(self.far.mac, A.mac, kind, pattern(46)) for kind in (46, 0x0600, 0x88B5, 0x8847))


class SmallPacketsOfFlows(_Flows):
    """The shortest packets of different flows differ, ports or addresses."""

    def runTest(self) -> None:
        for protocol in (TCP, UDP, SCTP):
            self.are_flows(self.ip4(ports(1000 + n, 2000, 8), protocol) for n in range(8))
            self.are_flows(self.ip4(ports(1000, 2000 + n, 8), protocol) for n in range(8))
            self.are_flows(self.ip6(ports(1000 + n, 2000, 8), protocol) for n in range(8))
            self.are_flows(self.ip6(ports(1000, 2000 + n, 8), protocol) for n in range(8))
        self.are_flows(self.ip4(b"", protocol) for protocol in range(8))
        self.are_flows(self.ip6(b"", protocol) for protocol in range(90, 98))
        others = [bytes((10, 0, 137, 100 + n)) for n in range(8)]
        others6 = [self.far.ip6[:15] + bytes((100 + n,)) for n in range(8)]
        for length in (0, 1, 2, 3, 4, 5, 6, 7, 8, 12):
            self.are_flows(
                ethernet(self.far.mac, A.mac, ETHERTYPE_IPV4, ipv4(A.ip, other, pattern(length), 253))
                for other in others
            )
            self.are_flows(
                ethernet(self.far.mac, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, other, pattern(length), 253))
                for other in others6
            )


class FragmentsOfADatagram(_Flows):
    """The first one alone shows the ports, so none of them counts them; the datagrams of two hosts still differ."""

    def runTest(self) -> None:
        for protocol in (TCP, UDP, SCTP):
            fragments = [
                self.ip4(ports(1000, 2000, 24), protocol, fragment=FIRST),
                self.ip4(ports(3000, 4000, 24), protocol, fragment=FIRST),
                self.ip4(pattern(24, 1), protocol, fragment=LATER),
                self.ip4(pattern(3, 2), protocol, fragment=LAST),
                self.ip4(b"\1", protocol, fragment=LAST),
            ]
            self.is_one_flow(fragments)
            self.are_flows([fragments[0], self.ip4(ports(1000, 2000, 24), protocol)])
            fragments6 = [
                self.ip6(fragment_header(protocol, 0, True) + ports(1000, 2000, 24), FRAGMENT),
                self.ip6(fragment_header(protocol, 0, True) + ports(3000, 4000, 24), FRAGMENT),
                self.ip6(fragment_header(protocol, 3, True) + pattern(24, 1), FRAGMENT),
                self.ip6(fragment_header(protocol, 6, False) + pattern(3, 2), FRAGMENT),
            ]
            self.is_one_flow(fragments6)


class FlowLabels(_Flows):
    """A label stands for ports and extension headers (RFC 6437); without one the ports are looked for."""

    def runTest(self) -> None:
        options, routing = bytes((UDP, 0, 1, 4, 0, 0, 0, 0)), bytes((UDP, 2)) + bytes(22)
        self.is_one_flow(
            [
                self.ip6(ports(1000, 2000), UDP, label=0xABCDE),
                self.ip6(ports(1001, 2000), UDP, label=0xABCDE),
                self.ip6(options + ports(1000, 2000), 60, label=0xABCDE),
                self.ip6(fragment_header(UDP, 0, True) + ports(1000, 2000), FRAGMENT, label=0xABCDE),
                self.ip6(fragment_header(UDP, 2, False) + pattern(5), FRAGMENT, label=0xABCDE),
            ]
        )
        self.are_flows(self.ip6(ports(1000, 2000), UDP, label=1 << n) for n in range(20))
        for header, kind in ((options, 60), (options, 0), (routing, 43)):
            self.are_flows(self.ip6(header + ports(1000 + n, 2000), kind) for n in range(4))
            self.is_one_flow(self.ip6(header + ports(1000, 2000, n), kind) for n in range(8, 20))


class OptionsOfAFlow(_Flows):
    """IPv4 options do not make a flow another one, however many there are."""

    def runTest(self) -> None:
        for protocol in (TCP, UDP, SCTP):
            self.is_one_flow(
                self.ip4(ports(1000, 2000, length), protocol, options=b"\x01" * 4 * words)
                for words in range(11)
                for length in (8, 9, 24)
            )
        self.are_flows(self.ip4(ports(1000 + n, 2000, 8), UDP, options=b"\x01" * 4 * (n % 11)) for n in range(11))


class HeadersThatAreNone(_Flows):
    """Version or length of an IPv4 header that cannot be: no ports."""

    def runTest(self) -> None:
        good = self.ip4(ports(1000, 2000))
        for first in (0x00, 0x35, 0x40, 0x41, 0x42, 0x43, 0x44, 0x55, 0xF5):
            self.is_one_flow(good[:14] + bytes((first,)) + good[15:34] + bytes((n,)) * 120 for n in range(3))


class PacketsThatEndEarly(_Flows):
    """In every byte behind the source address, and the last extension header: what is not there counts for nothing."""

    def runTest(self) -> None:
        long4 = self.ip4(ports(1000, 2000), options=b"\x01" * 40)
        chain = bytes((60, 1)) + bytes(14) + bytes((TCP, 0)) + bytes(6) + ports(1000, 2000, 24)
        for whole, first in (
            (self.ip4(ports(1000, 2000)), 32),
            (long4, 32),
            (self.ip4(ports(1000, 2000), options=b"\x01" * 12), 32),
            (self.ip6(ports(1000, 2000)), 48),
            (self.ip6(chain, 60), 78),
        ):
            seen = self.source_ports(whole[:length] for length in range(first, len(whole)))
            self.assertIn(len(seen), (2, 3))  # without a destination, without ports, with them


class StubsOfHeaders(_Flows):
    """Without all of its source address a packet has no flow but its frame's: nothing of the packet before is taken for
    it."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_V4, 0), A.guard(IP_V6, 0))
        for make, end in ((self.ip4, 32), (self.ip6, 48)):
            frames = []
            for length in range(16, end):
                frames += [make(ports(length, 2000)), make(ports(1, 2))[:length]]
            stubs = self.source_ports(frames[1::2])
            self.assertEqual(len(stubs), 1)
            self.assertLessEqual(stubs, self.source_ports(frames))
