# SPDX-License-Identifier: Apache-2.0
"""From an access port: VAPs by port and VLAN, their meters, and the source guard."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import entry
from harness.world import BLUE, IP_ARP, IP_NONE, IP_V4, IP_V6, RED, A, B, C, D, Host, vap
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_CTAG,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    ETHERTYPE_STAG,
    arp,
    ethernet,
    ip4,
    ip4_frame,
    ip6,
    ipv6,
    mac,
    padded,
    pattern,
    tagged,
    udp,
)
from nvo3ref.reasons import Reason


def ip6_frame(src: Host, dst: Host, src_ip: bytes | None = None) -> bytes:
    packet = ipv6(src_ip if src_ip is not None else src.ip6, dst.ip6, udp(1, 2, pattern(10)))
    return ethernet(dst.mac, src.mac, ETHERTYPE_IPV6, packet)


def arp_reply(src: Host, dst: Host, sender_ip: bytes | None = None) -> bytes:
    return padded(ethernet(dst.mac, src.mac, 0x0806, arp(2, src.mac, sender_ip or src.ip, dst.mac, dst.ip)))


class VapByPortAndVlan(NveTest):
    """Two VAPs of two VNs on one port, told apart by the tag alone."""

    def runTest(self) -> None:
        red, blue = B.frame_to(A), D.frame_to(C)
        self.passes(2, tagged(red, 10), (A.port, red))
        self.passes(2, tagged(blue, 20), (C.port, blue))
        self.dropped(2, red, Reason.VAP_UNKNOWN)
        for vlan in (0, 1, 9, 11, 21, 4095):
            self.dropped(2, tagged(red, vlan), Reason.VAP_UNKNOWN)


class VapUnknownBeforeAndAfter(NveTest):
    """A VLAN without a VAP, then with one, then without again."""

    def runTest(self) -> None:
        frame = tagged(B.frame_to(A), 30)
        self.dropped(2, frame, Reason.VAP_UNKNOWN)
        third = vap(2, 30, interface=B.interface, vni=RED)
        self.insert(third)
        self.passes(2, frame, (A.port, B.frame_to(A)))
        self.delete(third)
        self.dropped(2, frame, Reason.VAP_UNKNOWN)


class PriorityTaggedIsUntagged(NveTest):
    """VLAN 0 carries a priority, not a VLAN (IEEE 802.1Q 6.9); priority and DEI never choose a VAP."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        for pcp in range(8):
            self.passes(A.port, tagged(frame, 0, pcp=pcp), (B.port, B.on_wire(frame)))
            back = B.frame_to(A)
            self.passes(B.port, tagged(back, 0x1000 | 10, pcp=pcp & 6), (A.port, back))


class TaggedOnUntaggedPort(NveTest):
    """A host of an untagged VAP cannot choose a VLAN, the one of a neighbouring VAP neither."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        for vlan in (1, 10, 20, 4095):
            self.dropped(A.port, tagged(frame, vlan), Reason.VAP_UNKNOWN)


class VlanHoppingWithTwoTags(NveTest):
    """A second tag of either kind is never carried on, in either order, on tagged and untagged VAPs."""

    def runTest(self) -> None:
        for inner_vlan in (0, 10, 20, 30):
            for tpid in (ETHERTYPE_CTAG, ETHERTYPE_STAG):
                double = tagged(tagged(B.frame_to(A), inner_vlan, tpid), 10)
                self.dropped(2, double, Reason.SECOND_TAG)
                self.dropped(A.port, tagged(tagged(A.frame_to(B), inner_vlan, tpid), 0), Reason.SECOND_TAG)
            self.dropped(A.port, tagged(A.frame_to(B), inner_vlan, ETHERTYPE_STAG), Reason.SECOND_TAG)
            self.dropped(2, tagged(B.frame_to(A), inner_vlan, ETHERTYPE_STAG), Reason.VAP_UNKNOWN)
        self.passes(2, B.on_wire(B.frame_to(A)), (A.port, B.frame_to(A)))


class VlanHoppingOutwards(NveTest):
    """Frames leave under the tag of the VAP that they go to, whatever tag they came in with; a tag cannot leave a
    tunnel."""

    def runTest(self) -> None:
        other = Host(RED, mac(0xB1), ip4("10.0.137.99"), ip6(99), 4, 44, 9)
        self.insert(*other.vap_entries(), *other.bridge_entries())
        frame = B.frame_to(other)
        self.passes(2, tagged(frame, 10, pcp=7), (4, tagged(frame, 44)))
        smuggled = tagged(self.world.far1.frame_to(B), 20)
        self.dropped(256, self.world.peer1.packet(smuggled).encode(), Reason.INNER_VLAN)


class VapOfAnotherNetworkIsOutOfReach(NveTest):
    """The MAC address of a host in another VN is unknown here, and its flood does not arrive there."""

    def runTest(self) -> None:
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        frame = A.frame_to(C)
        self.punted(A.port, frame, frame, reason=1, vni=RED, interface=A.interface)
        flooded = BROADCAST + A.mac + A.frame_to(C)[12:]
        peer1, peer2 = self.world.peers
        self.floods(
            A.port, flooded, (B.port, B.on_wire(flooded)), (256, peer1.sent(flooded)), (257, peer2.sent(flooded))
        )


class VapRate(NveTest):
    """A VAP over its rate is cut off; the other VAP on the same port is not."""

    def runTest(self) -> None:
        attached = B.vap()
        frame = B.frame_to(A)
        self.set_meter(attached, rate=0, burst=3)
        for _ in range(3):
            self.passes(2, B.on_wire(frame), (A.port, frame))
        for _ in range(3):
            self.dropped(2, B.on_wire(frame), Reason.VAP_RATE)
        other = D.frame_to(C)
        self.passes(2, D.on_wire(other), (C.port, other))
        self.set_meter(attached, rate=1_000_000, burst=1_000_000)
        self.passes(2, B.on_wire(frame), (A.port, frame))


class RateBeforeEverythingElse(NveTest):
    """What is over the rate is counted as that, be it spoofed, double tagged or malformed."""

    def runTest(self) -> None:
        attached = B.vap()
        self.set_meter(attached, rate=0, burst=1)
        self.passes(2, B.on_wire(B.frame_to(A)), (A.port, B.frame_to(A)))
        for frame in (tagged(B.frame_to(A), 5), A.frame_to(B), BROADCAST + BROADCAST + bytes(40)):
            self.dropped(2, tagged(frame, 10), Reason.VAP_RATE)


class LevelOfTheLink(NveTest):
    """A VAP that demands protection of the link takes nothing from a port without one."""

    def runTest(self) -> None:
        frame = B.frame_to(A)
        for level in (1, 2, 255):
            self.modify(B.vap(link_level=level))
            self.dropped(2, B.on_wire(frame), Reason.LINK_LEVEL)
        self.modify(B.vap())
        self.passes(2, B.on_wire(frame), (A.port, frame))


class SourceGuardIpv4(NveTest):
    """Another's MAC address, another's IP address, both; shown again once each is permitted."""

    def runTest(self) -> None:
        stranger = ip4("10.0.137.200")
        spoofed_ip = ip4_frame(B.mac, A.mac, stranger, B.ip)
        spoofed_mac = ip4_frame(A.mac, mac(0xABCD), B.ip, A.ip)
        self.dropped(A.port, spoofed_ip, Reason.SOURCE_GUARD)
        self.dropped(A.port, ip4_frame(B.mac, A.mac, B.ip, B.ip), Reason.SOURCE_GUARD)
        self.dropped(2, tagged(spoofed_mac, 10), Reason.SOURCE_GUARD)
        self.dropped(2, tagged(ip4_frame(A.mac, A.mac, A.ip, B.ip), 10), Reason.SOURCE_GUARD)
        permitted = A.guard(IP_V4, stranger)
        self.insert(permitted)
        self.passes(A.port, spoofed_ip, (B.port, B.on_wire(spoofed_ip)))
        self.delete(permitted)
        self.dropped(A.port, spoofed_ip, Reason.SOURCE_GUARD)


class SourceGuardEveryBit(NveTest):
    """One bit of the source MAC or source IP address off."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        for start, end in ((6, 12), (26, 30)):
            for bit in range(8 * start, 8 * end):
                spoofed = bytearray(frame)
                spoofed[bit // 8] ^= 0x80 >> bit % 8
                self.dropped(A.port, bytes(spoofed), Reason.SOURCE_GUARD)
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))


class SourceGuardIpv6(NveTest):
    """All 128 bits count; the unspecified address of duplicate detection needs a permission of its own."""

    def runTest(self) -> None:
        frame = ip6_frame(A, B)
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        for bit in range(128):
            spoofed = (int.from_bytes(A.ip6, "big") ^ 1 << bit).to_bytes(16, "big")
            self.dropped(A.port, ip6_frame(A, B, spoofed), Reason.SOURCE_GUARD)
        unspecified = ip6_frame(A, B, bytes(16))
        self.dropped(A.port, unspecified, Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_V6, 0))
        self.passes(A.port, unspecified, (B.port, B.on_wire(unspecified)))


class SourceGuardArp(NveTest):
    """The sender address inside ARP counts: a poisoning reply is dropped."""

    def runTest(self) -> None:
        reply = arp_reply(A, B)
        self.passes(A.port, reply, (B.port, B.on_wire(reply)))
        poison = arp_reply(A, B, sender_ip=self.world.far1.ip)
        self.dropped(A.port, poison, Reason.SOURCE_GUARD)
        # Permission for IPv4 is none for ARP.
        self.insert(A.guard(IP_V4, self.world.far1.ip))
        self.dropped(A.port, poison, Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_ARP, self.world.far1.ip))
        self.passes(A.port, poison, (B.port, B.on_wire(poison)))


class SourceGuardOtherTypes(NveTest):
    """Neither IP nor ARP: permitted by MAC address alone, and only where an entry says so."""

    def runTest(self) -> None:
        for ether_type in (ETHERTYPE_LOCAL, 0x0026, 0x8847, 0x88CC, 0x9100):
            frame = ethernet(B.mac, A.mac, ether_type, pattern(46))
            self.dropped(A.port, frame, Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_NONE, 0))
        frame = ethernet(B.mac, A.mac, ETHERTYPE_LOCAL, pattern(46))
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        self.dropped(A.port, ethernet(B.mac, B.mac, ETHERTYPE_LOCAL, pattern(46)), Reason.SOURCE_GUARD)


class SourceGuardOfHeaderStubs(NveTest):
    """A frame that ends inside its IP header has no address: it needs permission for none, as 0."""

    def runTest(self) -> None:
        stub4 = ethernet(B.mac, A.mac, ETHERTYPE_IPV4, b"\x45\0")
        stub6 = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, bytes(30))
        whole = ip6_frame(A, B)
        for stub in (stub4, stub6, whole[:47], A.frame_to(B)[:31]):
            # The longer frame before it must not lend it its address.
            self.passes(A.port, whole, (B.port, B.on_wire(whole)))
            self.dropped(A.port, stub, Reason.SOURCE_GUARD)


class SourceGuardOnEveryVap(NveTest):
    """The permission of one VAP is none for another."""

    def runTest(self) -> None:
        moved = A.frame_to(B)
        self.dropped(C.port, moved, Reason.SOURCE_GUARD)
        self.dropped(2, tagged(moved, 10), Reason.SOURCE_GUARD)
        self.passes(A.port, moved, (B.port, B.on_wire(moved)))


class MalformedArp(NveTest):
    """Every field of an ARP header that does not fit, a sender MAC that is not the frame's, and every short length."""

    def runTest(self) -> None:
        good = arp_reply(A, B)
        self.passes(A.port, good, (B.port, B.on_wire(good)))
        for at in (*range(14, 20), *range(22, 28)):
            wrong = bytearray(good)
            wrong[at] ^= 0x11
            self.dropped(A.port, bytes(wrong), Reason.MALFORMED_ARP)
        for length in range(16, 42):
            self.dropped(A.port, good[:length], Reason.MALFORMED_ARP)
        for length in range(42, 60):
            self.passes(A.port, good[:length], (B.port, B.on_wire(good[:length])))


class GroupSource(NveTest):
    """A group address as source, even if somebody has permitted it; from a tunnel, too."""

    def runTest(self) -> None:
        for source in (BROADCAST, b"\x01\0\x5e\0\0\1", b"\x33\x33\0\0\0\1"):
            frame = ethernet(B.mac, source, ETHERTYPE_LOCAL, pattern(46))
            self.dropped(A.port, frame, Reason.SOURCE_GUARD)
            group = Host(RED, source, A.ip, A.ip6, A.port, A.vlan, A.interface)
            self.insert(group.guard(IP_NONE, 0))
            self.dropped(A.port, frame, Reason.SOURCE_ADDRESS)
            self.dropped(256, self.world.peer1.packet(frame).encode(), Reason.SOURCE_ADDRESS)


class ReservedDestinations(NveTest):
    """01:80:C2:00:00:00 to 0F stay on the link, from VAPs and from tunnels; their neighbours are ordinary groups."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0))
        peer1, peer2 = self.world.peers
        for last in range(16):
            frame = ethernet(b"\x01\x80\xc2\0\0" + bytes([last]), A.mac, ETHERTYPE_LOCAL, pattern(46))
            self.dropped(A.port, frame, Reason.RESERVED_ADDRESS)
            self.dropped(256, peer1.packet(frame).encode(), Reason.RESERVED_ADDRESS)
        for address in ("0180c2000010", "0180c2000100", "0180c3000000", "0380c2000000"):
            frame = ethernet(bytes.fromhex(address), A.mac, ETHERTYPE_LOCAL, pattern(46))
            self.floods(A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame)))


class NetworkOfTheVap(NveTest):
    """The same host address in two VNs: each VAP reaches its own."""

    def runTest(self) -> None:
        twin = Host(BLUE, B.mac, B.ip, B.ip6, D.port, D.vlan, D.interface)
        self.insert(*twin.bridge_entries())
        red = A.frame_to(B)
        blue = ip4_frame(B.mac, C.mac, C.ip, B.ip)
        self.passes(A.port, red, (2, tagged(red, 10)))
        self.passes(C.port, blue, (2, tagged(blue, 20)))
