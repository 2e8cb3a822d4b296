# SPDX-License-Identifier: Apache-2.0
"""Strict reception from the underlay: what is malformed is refused before any table of tunnels is asked, for its own
reason."""

from __future__ import annotations

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import entry
from harness.session import MISMATCHED_PORTS, PORT_MAC, UNCONFIGURED_PORTS
from harness.world import BLUE, A, B, vap
from nvo3ref.frames import ETHERTYPE_ARP, ETHERTYPE_STAG, mac, tagged
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import GENEVE_AT, ICV_AT, INNER_AT, OPTION_AT, UDP_AT, TunnelPacket


class _Outer(NveTest):
    """Each case: the packet that passes, then the same one with one thing wrong."""

    def good(self, **changes: object) -> TunnelPacket:
        return self.world.peer1.packet(self.world.far1.frame_to(B), **changes)

    def accepted(self, packet: TunnelPacket | None = None) -> None:
        packet = packet or self.good()
        self.passes(256, packet.encode(), (B.port, B.on_wire(packet.inner)))

    def refused(self, reason: Reason, **changes: object) -> None:
        """The changed packet is dropped; unchanged, under the same sequence number, it passes: no window has moved."""
        good = self.good()
        self.dropped(256, good.but(**changes).encode(), reason)
        self.accepted(good)


class NotIp(_Outer):
    """Other types, tagged frames among them: the underlay port carries no VLAN. Nobody here answers or hears them."""

    def runTest(self) -> None:
        for ether_type in (0, 0x0600, 0x0801, ETHERTYPE_ARP, ETHERTYPE_STAG, 0xFFFF):
            self.refused(Reason.UNDERLAY_CONTROL, ether_type=ether_type)
        good = self.good()
        self.dropped(256, tagged(good.encode(), 10), Reason.UNDERLAY_CONTROL)
        self.accepted(good)


class Ipv4VersionAndOptions(_Outer):
    """Version 4 and five words, nothing else; with real options, too."""

    def runTest(self) -> None:
        for version_ihl in (0x00, 0x40, 0x44, 0x46, 0x4F, 0x55, 0x65, 0xFF):
            self.refused(Reason.IPV4_OPTIONS, version_ihl=version_ihl)
        self.refused(Reason.IPV4_OPTIONS, version_ihl=0x46, ip_options=b"\x94\x04\0\0")
        self.refused(Reason.IPV4_OPTIONS, version_ihl=0x4F, ip_options=bytes(40))


class Ipv4Fragments(_Outer):
    """First, middle and last fragments. DF and the reserved bit are no fragmentation."""

    def runTest(self) -> None:
        for fragment in (0x2000, 0x6000, 0x0001, 0x0100, 0x1FFF, 0x3FFF, 0x4001):
            self.refused(Reason.IPV4_FRAGMENT, fragment=fragment)
        for fragment in (0, 0x4000, 0x8000):
            self.accepted(self.good().but(fragment=fragment))


class NotUdp(_Outer):
    """Other protocols."""

    def runTest(self) -> None:
        for protocol in (0, 1, 4, 6, 16, 18, 47, 50, 136, 255):
            self.refused(Reason.UNDERLAY_CONTROL, protocol=protocol)


class NotGeneve(_Outer):
    """Other UDP ports: neighbours of 6081, VXLAN, none."""

    def runTest(self) -> None:
        for port in (0, 6080, 6082, 4789, 0x17C1 ^ 0x8000, 65535):
            self.refused(Reason.UNDERLAY_CONTROL, udp_destination=port)


class UdpLengthMismatch(_Outer):
    """UDP and IP length contradict each other, sums that wrap around 16 bits among them."""

    def runTest(self) -> None:
        right = len(self.good().encode()) - UDP_AT
        for wrong in (0, 7, 8, right - 1, right + 1, right + 20, 0xFFFF):
            self.refused(Reason.UDP_LENGTH_MISMATCH, udp_length=wrong)
        for wrong in (0, 19, 20, right, right + 19, right + 21, right + 40, 0xFFFF):
            self.refused(Reason.UDP_LENGTH_MISMATCH, ip_length=wrong)
        self.refused(Reason.UDP_LENGTH_MISMATCH, udp_length=0xFFF0, ip_length=4)
        self.refused(Reason.UDP_LENGTH_MISMATCH, udp_length=0xFFEC, ip_length=0)


class LengthsTooSmallForHeaders(_Outer):
    """Lengths that agree with each other, but end inside the Geneve headers or before a whole frame."""

    def runTest(self) -> None:
        for udp_length in (0, 1, 7, 8, 15, 16, 51, 52, 53, 67):
            self.refused(Reason.FRAME_TOO_SHORT, udp_length=udp_length, ip_length=udp_length + 20)


class GeneveOptionsLength(_Outer):
    """Any other length of options: none, a part of ours, ours and another one."""

    def runTest(self) -> None:
        for words in range(64):
            if words != 9:
                self.refused(Reason.GENEVE_OPTIONS_LENGTH, option_words=words)


class ForeignAndRepeatedOptions(_Outer):
    """A second option, ours again or another's, critical or not: nobody authenticates it."""

    def runTest(self) -> None:
        good = self.good()
        for more in (
            good.option(),
            b"\x01\x02\x80\x00",
            b"\x01\x02\x01\x01" + bytes(4),
            b"\xff\xff\x00\x1e" + bytes(120),
        ):
            self.refused(Reason.GENEVE_OPTIONS_LENGTH, more_options=more, option_words=9 + len(more) // 4)
        # The same bytes under an unchanged length count as inner frame: the MAC refuses them.
        self.refused(Reason.BAD_ICV, more_options=b"\x01\x02\x01\x01" + bytes(4), coverage=68)


class UnknownOption(_Outer):
    """One option of the right length overall, that is not the protection option."""

    def runTest(self) -> None:
        for option_class in (0, 0x0101, 0xFF00, 0xFF02, 0xFFFF, 0x7F01):
            self.refused(Reason.OPTION_UNKNOWN, option_class=option_class)
        for option_type in (0, 0x01, 0x80, 0x82, 0xFF):
            self.refused(Reason.OPTION_UNKNOWN, option_type=option_type)
        for data_words in (*range(8), *range(9, 32)):
            self.refused(Reason.OPTION_UNKNOWN, data_words=data_words)


class OptionFlags(_Outer):
    """Flags are zero; a right MAC over other ones does not help."""

    def runTest(self) -> None:
        for flags in (1, 2, 0x40, 0x80, 0xFF):
            self.refused(Reason.OPTION_FLAGS, flags=flags)


class ReservedBitsAreAuthenticatedOnly(_Outer):
    """A sender may use reserved bits (RFC 8926: ignored on receipt); on the way they cannot change."""

    def runTest(self) -> None:
        for name, value in (("geneve_reserved1", 0x3F), ("geneve_reserved2", 0xA5), ("option_reserved", 5)):
            self.accepted(self.good(**{name: value}))
            good = self.good()
            self.refused(Reason.BAD_ICV, icv=good.option()[20:], **{name: value})


class GeneveVersion(_Outer):
    """Only version 0."""

    def runTest(self) -> None:
        for version in (1, 2, 3):
            self.refused(Reason.GENEVE_VERSION, version=version)


class GeneveControl(_Outer):
    """The O bit: control packets are not tenants' frames."""

    def runTest(self) -> None:
        self.refused(Reason.GENEVE_CONTROL, control=1)


class GeneveNotCritical(_Outer):
    """The C bit must be set when a critical option is there (RFC 8926 3.4)."""

    def runTest(self) -> None:
        self.refused(Reason.GENEVE_NOT_CRITICAL, critical=0)


class GeneveProtocol(_Outer):
    """Only Ethernet inside."""

    def runTest(self) -> None:
        for protocol in (0, 0x0800, 0x86DD, 0x6559, 0x6458, 0xFFFF):
            self.refused(Reason.GENEVE_PROTOCOL, geneve_protocol=protocol)


class UnderlayMac(_Outer):
    """Frames to other stations, broadcast and multicast among them, and to the MAC of another port of this switch."""

    def runTest(self) -> None:
        for address in (mac(0x5601), mac(0), b"\xff" * 6, b"\x01\0\x5e\0\0\1", bytes(6), PORT_MAC[257]):
            self.refused(Reason.UNDERLAY_MAC, eth_dst=address)


class Ipv4Checksum(_Outer):
    """Any wrong checksum, zero and the complement among them."""

    def runTest(self) -> None:
        right = int.from_bytes(self.good().encode()[24:26], "big")
        for wrong in (0, 0xFFFF, right ^ 1, right ^ 0x8000, ~right & 0xFFFF, right + 1):
            self.refused(Reason.IPV4_CHECKSUM, ip_checksum=wrong)


class UdpChecksumPresent(_Outer):
    """Over IPv4 it is zero."""

    def runTest(self) -> None:
        for present in (1, 0x8000, 0xFFFF):
            self.refused(Reason.UDP_CHECKSUM_PRESENT, udp_checksum=present)


class FreeOuterFields(_Outer):
    """What routers and senders may choose: source MAC, source port, DSCP, TTL, identification."""

    def runTest(self) -> None:
        for changes in (
            {"eth_src": mac(0x1234)},
            {"udp_source": 0},
            {"udp_source": 6081},
            {"dscp": 46},
            {"ttl": 0},
            {"ttl": 255},
            {"identification": 0xFFFF},
        ):
            self.accepted(self.good(**changes))


class TruncatedInEveryParserState(_Outer):
    """The last byte of every header missing, and the first one of the next: the shortest cuts inside each parser
    state."""

    def runTest(self) -> None:
        inner = self.world.far1.frame_to(B, 63)  # two blocks, then tails of 8, 4, 2 and 1 bytes
        ends = [14, UDP_AT, GENEVE_AT, OPTION_AT, INNER_AT, INNER_AT + 12]
        ends += [INNER_AT + length for length in (16, 32, 48, 56, 60, 62, 63)]
        good = self.world.peer1.packet(inner)
        with Batch(self) as batch:
            for end in ends:
                for length in (end - 1, end - 2):
                    batch.dropped(256, good.encode()[:length], Reason.TRUNCATED)
                for length in (end, end + 1):
                    if length < len(good.encode()):
                        batch.dropped(256, good.encode()[:length], Reason.TRUNCATED)
        self.accepted(good)


class MalformedBeforeTruncated(_Outer):
    """What a whole header says is judged although bytes behind it are missing."""

    def runTest(self) -> None:
        cases = (
            (14, "ether_type", 0x0801, Reason.UNDERLAY_CONTROL),
            (UDP_AT, "version_ihl", 0x46, Reason.IPV4_OPTIONS),
            (UDP_AT, "fragment", 0x2000, Reason.IPV4_FRAGMENT),
            (UDP_AT, "protocol", 47, Reason.UNDERLAY_CONTROL),
            (GENEVE_AT, "udp_destination", 4789, Reason.UNDERLAY_CONTROL),
            (OPTION_AT, "option_words", 10, Reason.GENEVE_OPTIONS_LENGTH),
        )
        for end, name, value, reason in cases:
            wrong = self.good().but(**{name: value}).encode()
            self.dropped(256, wrong[:end], reason)
            self.dropped(256, wrong[: end - 1], Reason.TRUNCATED)
            good = self.good()
            self.dropped(256, good.encode()[:end], Reason.TRUNCATED)
            self.accepted(good)


class PortUnconfigured(_Outer):
    """A port does nothing before it has a role, underlay or access."""

    def runTest(self) -> None:
        access, underlay = UNCONFIGURED_PORTS
        self.dropped(access, A.frame_to(B), Reason.PORT_UNCONFIGURED)
        good = self.good(eth_dst=PORT_MAC[underlay])
        self.dropped(underlay, good.encode(), Reason.PORT_UNCONFIGURED)
        moved = [
            vap(access, 0, interface=77, vni=BLUE),
            entry("port_role", {"port": access}, "access"),
            entry("port_role", {"port": underlay}, "underlay", mac=PORT_MAC[underlay]),
        ]
        self.insert(*moved)
        self.dropped(access, A.frame_to(B), Reason.SOURCE_GUARD)
        self.passes(underlay, good.encode(), (B.port, B.on_wire(good.inner)))


class PortRoleMismatch(_Outer):
    """The role contradicts the class of the port number: no packet gets by, whatever it looks like."""

    def runTest(self) -> None:
        access, underlay = MISMATCHED_PORTS
        good = self.good(eth_dst=PORT_MAC[underlay])
        self.dropped(access, A.frame_to(B), Reason.PORT_UNCONFIGURED)
        self.insert(
            entry("port_role", {"port": access}, "underlay", mac=PORT_MAC[underlay]),
            entry("port_role", {"port": underlay}, "access"),
            vap(underlay, 0, interface=A.interface, vni=A.vni),
        )
        for frame in (A.frame_to(B), good.encode()):
            self.dropped(access, frame, Reason.PORT_ROLE_MISMATCH)
        self.dropped(underlay, good.encode(), Reason.PORT_ROLE_MISMATCH)


class GeneveOfTenant(_Outer):
    """A tenant's own Geneve, even a stolen packet of a peer, is an ordinary frame on an access port."""

    def runTest(self) -> None:
        stolen = self.good()
        frame = A.frame_to(B, 200)[:12] + stolen.encode()[12:]
        self.dropped(A.port, frame, Reason.SOURCE_GUARD)
        self.insert(A.guard(1, self.world.peer1.address))
        self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        self.accepted(stolen)
        self.assertEqual(len(stolen.option()), ICV_AT + 16 - OPTION_AT)
