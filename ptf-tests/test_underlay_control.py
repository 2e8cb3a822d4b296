# SPDX-License-Identifier: Apache-2.0
"""What is in clear on an underlay port: heard, answered and sent by kind, and never a tenant's frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import Entry, entry
from harness.session import CONTROL_IN, CONTROL_OUT, PORT_MAC
from harness.world import A, B, mapped
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    checksum,
    ethernet,
    ip4,
    ipv4,
    ipv6,
    mac,
    padded,
    pattern,
)
from nvo3ref.reasons import Reason

PORT, OTHER_PORT = 256, 257
OWN_MAC = PORT_MAC[PORT]
OWN, OWN6 = ip4("198.51.100.2"), bytes.fromhex("20010db8000100000000000000000002")
ROUTER, ROUTER6 = ip4("198.51.100.1"), bytes.fromhex("20010db8000100000000000000000001")
ROUTER_MAC = mac(0x7007)
NOT_OWN, NOT_OWN6 = ip4("198.51.100.3"), OWN6[:-1] + b"\x03"
ALL_NODES, ALL_NODES_MAC = bytes.fromhex("ff02" + 13 * "00" + "01"), bytes.fromhex("333300000001")
SOLICITED_MAC = bytes.fromhex("3333ff") + OWN6[-3:]
SOLICITED = bytes.fromhex("ff0200000000000000000001ff") + OWN6[-3:]
LLDP_MAC, ETHERTYPE_LLDP = bytes.fromhex("0180c200000e"), 0x88CC
ARP, ND, BFD, BGP, ICMP, OTHER = range(1, 7)
KINDS = {"ARP": ARP, "ND": ND, "BFD": BFD, "BGP": BGP, "ICMP": ICMP, "OTHER": OTHER}
RS, RA, NS, NA, REDIRECT = range(133, 138)


def arp_packet(operation: int, sender_mac: bytes, sender: bytes, target: bytes, target_mac: bytes = bytes(6)) -> bytes:
    return struct.pack(">HHHH", 1, 0x0800, 0x0604, operation) + sender_mac + sender + target_mac + target


def who_has(target: bytes, destination: bytes = BROADCAST) -> bytes:
    return padded(ethernet(destination, ROUTER_MAC, ETHERTYPE_ARP, arp_packet(1, ROUTER_MAC, ROUTER, target)))


def is_at(source_mac: bytes, sender: bytes, destination: bytes, target: bytes) -> bytes:
    return padded(
        ethernet(destination, source_mac, ETHERTYPE_ARP, arp_packet(2, source_mac, sender, target, destination))
    )


def icmpv6(source: bytes, destination: bytes, kind: int, body: bytes, hop_limit: int = 255, code: int = 0) -> bytes:
    message = bytes([kind, code, 0, 0]) + body
    total = checksum(source + destination + struct.pack(">II", len(message), 58) + message)
    return ipv6(source, destination, message[:2] + struct.pack(">H", total) + message[4:], 58, hop_limit=hop_limit)


def nd(
    kind: int,
    target: bytes = OWN6,
    *,
    flags: int = 0,
    option: bytes = b"",
    to: bytes = SOLICITED_MAC,
    source: bytes = ROUTER6,
    destination: bytes = SOLICITED,
    source_mac: bytes = ROUTER_MAC,
    **changes: int,
) -> bytes:
    packet = icmpv6(source, destination, kind, struct.pack(">I", flags) + target + option, **changes)
    return ethernet(to, source_mac, ETHERTYPE_IPV6, packet)


SOLICITED_ANSWER = {
    "flags": 0x60000000,
    "to": ROUTER_MAC,
    "source": OWN6,
    "destination": ROUTER6,
    "source_mac": OWN_MAC,
}
"""What an answer to the router has beside its option."""


def link_layer(kind: int, address: bytes) -> bytes:
    return bytes([kind, 1]) + address


def datagram(source_port: int, destination_port: int, length: int = 24) -> bytes:
    return struct.pack(">HHHH", source_port, destination_port, 8 + length, 0) + pattern(length)


class _Control(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.own_entries = [self.own(OWN), self.own(OWN6)]
        self.meters = [self.meter(kind) for kind in KINDS.values()]

    @staticmethod
    def own(address: bytes, port: int = PORT, own_mac: bytes = OWN_MAC) -> Entry:
        return entry("own_address", {"port": port, "address": mapped(address)}, "own", mac=own_mac)

    @staticmethod
    def meter(kind: int, port: int = PORT) -> Entry:
        return entry("underlay_punt_meter", {"port": port, "kind": kind}, "hear")

    def heard(self, frame: bytes, port: int = PORT) -> None:
        fields = {"reason": CONTROL_IN, "ingress_port": port, "interface": 0, "frame_length": len(frame)}
        self.punted(port, frame, frame, **fields)

    def answered(self, frame: bytes, answer: bytes, port: int = PORT) -> None:
        self.passes(port, frame, (port, answer))
        self.assertLessEqual(len(answer), len(frame))

    def ignored(self, frame: bytes, reason: Reason = Reason.UNDERLAY_CONTROL, port: int = PORT) -> None:
        self.dropped(port, frame, reason)

    @staticmethod
    def in_clear() -> Iterator[tuple[int, bytes]]:
        """By kind: what a router says to this NVE, and to all."""
        yield ARP, is_at(ROUTER_MAC, ROUTER, OWN_MAC, OWN)
        yield ND, nd(NA, ROUTER6, to=OWN_MAC, destination=OWN6, option=link_layer(2, ROUTER_MAC))
        yield ND, nd(NA, ROUTER6, to=ALL_NODES_MAC, destination=ALL_NODES, option=link_layer(2, ROUTER_MAC))
        yield ND, nd(RA, bytes(16), to=ALL_NODES_MAC, destination=ALL_NODES, source=b"\xfe\x80" + bytes(13) + b"\x01")
        for port, hops in ((3784, 255), (4784, 255), (4784, 60)):  # that of several hops may come from far
            yield BFD, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, datagram(50000, port), ttl=hops))
            packet = ipv6(ROUTER6, OWN6, datagram(50000, port), hop_limit=hops)
            yield BFD, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV6, packet)
        for ports in ((179, 40000), (40000, 179)):
            segment = struct.pack(">HH", *ports) + pattern(30)
            yield BGP, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, segment, 6))
            yield BGP, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV6, ipv6(ROUTER6, OWN6, segment, 6))
        yield ICMP, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, b"\x08\0" + pattern(200), 1))
        for kind in (128, RS - 1, REDIRECT + 1, 143):
            yield ICMP, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV6, icmpv6(ROUTER6, OWN6, kind, pattern(40), 64))
        with_option = ipv4(ROUTER, OWN, b"\x08\0" + pattern(30), 1, options=b"\x94\x04\0\0")
        yield ICMP, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, with_option)
        yield (
            OTHER,
            ethernet(LLDP_MAC, ROUTER_MAC, ETHERTYPE_LLDP, pattern(60)),
        )  # behind one of ICMP that is stale here
        yield OTHER, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, pattern(40), 89))
        yield OTHER, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, datagram(53, 53)))
        # BFD of one hop that has come from further away is none.
        yield OTHER, ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV4, ipv4(ROUTER, OWN, datagram(50000, 3784), ttl=254))


class NothingIsHeardWithoutEntries(_Control):
    """A port whose next hops are configured: whatever comes in clear, nobody hears it, and nobody answers."""

    def runTest(self) -> None:
        for _, frame in self.in_clear():
            self.ignored(frame)
        self.ignored(who_has(OWN))
        self.ignored(nd(NS, option=link_layer(1, ROUTER_MAC)))
        # A meter alone lets hear what says itself to all, and answers nothing; own addresses alone not even that.
        self.insert(*self.meters)
        self.ignored(who_has(OWN))
        self.delete(*self.meters)
        self.insert(*self.own_entries)
        for _, frame in self.in_clear():
            self.ignored(frame)
        self.ignored(who_has(OWN))


class EachKindIsHeardByItself(_Control):
    """At its own port, for its own addresses, under the meter of its kind and port; the others' go on."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        frames = list(self.in_clear())
        self.assertEqual({kind for kind, _ in frames}, set(KINDS.values()))
        for _, frame in frames:
            self.heard(frame)
            self.ignored(frame.replace(OWN_MAC, PORT_MAC[OTHER_PORT]), port=OTHER_PORT)
        for kind in KINDS.values():
            self.delete(self.meter(kind))
            for other, frame in frames:
                if other == kind:
                    self.ignored(frame)
                else:
                    self.heard(frame)
            self.insert(self.meter(kind))


class OnlyForOwnAddresses(_Control):
    """What is for another address, another MAC address, or comes from a group, is heard by nobody."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        for kind, frame in self.in_clear():
            if frame[0] & 1 == 0:
                for_other = frame.replace(OWN6, NOT_OWN6).replace(OWN, NOT_OWN)
                is_ipv4 = frame[12:14] == b"\x08\x00"
                self.ignored(with_checksum(for_other) if is_ipv4 else for_other)
                self.ignored(mac(0xBAD) + frame[6:], Reason.UNDERLAY_MAC)
                if kind not in (ARP, ND):
                    self.ignored(BROADCAST + frame[6:])
            if kind != ARP:
                self.ignored(frame[:6] + b"\x03" + frame[7:])
        damaged = bytearray(next(frame for kind, frame in self.in_clear() if kind == BFD))
        damaged[24] ^= 1
        self.ignored(bytes(damaged), Reason.IPV4_CHECKSUM)


def with_checksum(frame: bytes) -> bytes:
    head = frame[14:24] + b"\0\0" + frame[26 : 14 + 4 * (frame[14] & 15)]
    return frame[:24] + struct.pack(">H", checksum(head)) + frame[26:]


class QuestionsAreAnsweredHere(_Control):
    """ARP and neighbor solicitations for an own address: in place, no longer than the question, within a meter."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        for destination in (BROADCAST, OWN_MAC):
            answer = padded(
                ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_ARP, arp_packet(2, OWN_MAC, OWN, ROUTER, ROUTER_MAC))
            )
            self.answered(who_has(OWN, destination), answer)
        self.ignored(who_has(NOT_OWN))
        full = nd(NA, option=link_layer(2, OWN_MAC), **SOLICITED_ANSWER)
        self.answered(nd(NS, option=link_layer(1, ROUTER_MAC)), full)
        self.answered(nd(NS, option=link_layer(1, ROUTER_MAC), to=OWN_MAC, destination=OWN6), full)
        # Without an option, as a router asks whether a known neighbor is there (RFC 4861 7.2.4).
        self.answered(nd(NS, to=OWN_MAC, destination=OWN6), nd(NA, **SOLICITED_ANSWER))
        self.ignored(nd(NS))  # to a group: the answer would be longer
        self.ignored(nd(NS, NOT_OWN6, option=link_layer(1, ROUTER_MAC)))
        self.ignored(nd(NS, option=link_layer(1, ROUTER_MAC) * 2))
        for wrong in ({"hop_limit": 254}, {"code": 1}):
            self.ignored(nd(NS, option=link_layer(1, ROUTER_MAC), **wrong))
        # A probe for an own address has nobody to be answered: the agent hears of it.
        self.heard(nd(NS, source=bytes(16)))
        for kind in (RS, REDIRECT):
            self.ignored(nd(kind, to=OWN_MAC, destination=OWN6))
        lying = bytearray(who_has(OWN))
        lying[22] ^= 4  # not the sender that the frame has
        self.ignored(bytes(lying))


class QuestionsThatAreNotWellFormed(_Control):
    """They are not answered, and heard by nobody: nothing but Ethernet and IPv4 in ARP, and RFC 4861 7.1.1."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        question = who_has(OWN)
        for place in (14, 15, 16, 17, 18, 19):  # types and lengths
            self.ignored(question[:place] + bytes([question[place] ^ 2]) + question[place + 1 :])
        option = link_layer(1, ROUTER_MAC)
        to_own = {"to": OWN_MAC, "destination": OWN6}
        for wrong in (
            nd(NS, option=link_layer(2, ROUTER_MAC)),
            nd(NS, option=b"\x01\x02" + ROUTER_MAC),
            nd(NS, option=option, to=OWN_MAC, destination=NOT_OWN6),
            nd(NS, to=OWN_MAC, destination=NOT_OWN6),
            nd(NS, option=option, destination=OWN6),
            nd(NS, option=option, source=ALL_NODES),
            nd(NS, option=option) + bytes(1),
            nd(NS, **to_own) + bytes(2),
            nd(NS, source=bytes(16), option=option),  # whoever has no address yet has no option
            nd(NS, source=bytes(16), **to_own),  # and asks all
        ):
            self.ignored(wrong)
        for short in (nd(NS, option=option)[:-1], nd(NS, **to_own)[:-8]):
            self.ignored(short, Reason.TRUNCATED)
        self.passes(PORT, nd(NS, option=option), (PORT, nd(NA, option=link_layer(2, OWN_MAC), **SOLICITED_ANSWER)))


class NoAddressOfOneFamilyIsOfTheOther(_Control):
    """A packet of IPv6 with an IPv4 address as a table has it is nobody's: no own one (RFC 4291 2.5.5.2)."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        as_ipv6 = bytes(10) + b"\xff\xff" + OWN
        segment = struct.pack(">HH", 179, 40000) + pattern(30)
        self.ignored(ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_IPV6, ipv6(ROUTER6, as_ipv6, segment, 6)))
        self.ignored(nd(NS, as_ipv6, option=link_layer(1, ROUTER_MAC)))
        self.ignored(nd(NS, as_ipv6, to=OWN_MAC, destination=as_ipv6))
        sent = ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV6, ipv6(as_ipv6, ROUTER6, segment, 6))
        packet_out = {"operation": CONTROL_OUT, "egress_port": PORT}, sent
        self.exchange(drops=Reason.UNDERLAY_CONTROL_SENT, packet_outs=[packet_out])


class QuestionsOverTheMeter(_Control):
    """Answers cost the meter of their kind and port, and nothing else's."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        self.set_meter(self.meter(ARP), rate=0, burst=3)
        answer = padded(ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_ARP, arp_packet(2, OWN_MAC, OWN, ROUTER, ROUTER_MAC)))
        for _ in range(3):
            self.answered(who_has(OWN), answer)
        for _ in range(3):
            self.ignored(who_has(OWN), Reason.UNDERLAY_CONTROL_RATE)
        self.heard(next(frame for kind, frame in self.in_clear() if kind == BFD))
        frame = self.world.far1.frame_to(B)
        self.passes(PORT, self.world.peer1.packet(frame).encode(), (B.port, B.on_wire(frame)))


class ControlIsNoTenantsFrame(_Control):
    """Whatever stands in it: a tenant's MAC address, its address, a question for it. A tenant's frame is no control."""

    def runTest(self) -> None:
        self.insert(*self.own_entries, *self.meters)
        to_tenant = ethernet(A.mac, self.world.far1.mac, ETHERTYPE_IPV4, ipv4(self.world.far1.ip, A.ip, pattern(30), 1))
        self.ignored(to_tenant, Reason.UNDERLAY_MAC)
        self.ignored(BROADCAST + to_tenant[6:])
        self.ignored(padded(ethernet(BROADCAST, ROUTER_MAC, ETHERTYPE_ARP, arp_packet(1, ROUTER_MAC, ROUTER, A.ip))))
        self.ignored(ethernet(OWN_MAC, ROUTER_MAC, ETHERTYPE_LOCAL, pattern(40)))
        from_tenant = ethernet(B.mac, A.mac, ETHERTYPE_IPV4, ipv4(A.ip, OWN, datagram(50000, 3784), ttl=255))
        self.passes(A.port, from_tenant, (B.port, B.on_wire(from_tenant)))


class _Sent(_Control):
    def sends(self, frame: bytes, port: int = PORT) -> None:
        self.exchange(outputs=[(port, frame)], packet_outs=[({"operation": CONTROL_OUT, "egress_port": port}, frame)])

    def refuses(self, frame: bytes, port: int = PORT, reason: Reason = Reason.UNDERLAY_CONTROL_SENT) -> None:
        self.exchange(drops=reason, packet_outs=[({"operation": CONTROL_OUT, "egress_port": port}, frame)])

    @staticmethod
    def said() -> Iterator[bytes]:
        """What an agent says: each kind, from own addresses."""
        yield padded(ethernet(BROADCAST, OWN_MAC, ETHERTYPE_ARP, arp_packet(1, OWN_MAC, OWN, ROUTER)))
        yield is_at(OWN_MAC, OWN, ROUTER_MAC, ROUTER)
        own = {"source": OWN6, "source_mac": OWN_MAC}
        yield nd(NS, ROUTER6, to=ALL_NODES_MAC, destination=ROUTER6, option=link_layer(1, OWN_MAC), **own)
        yield nd(NA, OWN6, to=ALL_NODES_MAC, destination=ALL_NODES, option=link_layer(2, OWN_MAC), **own)
        question = icmpv6(OWN6, ALL_NODES[:-1] + b"\x02", RS, bytes(4) + link_layer(1, OWN_MAC))
        yield ethernet(ALL_NODES_MAC[:-1] + b"\x02", OWN_MAC, ETHERTYPE_IPV6, question)
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, datagram(50000, 3784), ttl=255))
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV6, ipv6(OWN6, ROUTER6, datagram(50000, 4784), hop_limit=60))
        segment = struct.pack(">HH", 40000, 179) + pattern(900)
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, segment, 6))
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, b"\0\0" + pattern(60), 1))
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV6, icmpv6(OWN6, ROUTER6, 129, pattern(40), 64))
        with_option = ipv4(OWN, ROUTER, b"\0\0" + pattern(30), 1, options=b"\x94\x04\0\0")
        yield ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, with_option)


class AgentSpeaksByKind(_Sent):
    """From own addresses of that port alone, in each kind; without them not a word."""

    def runTest(self) -> None:
        for frame in self.said():
            self.refuses(frame)
        self.insert(*self.own_entries)
        for frame in self.said():
            self.sends(frame)
            self.refuses(frame, OTHER_PORT)
            self.refuses(frame[:6] + mac(0xBAD) + frame[12:])
            for_other = frame.replace(OWN6, NOT_OWN6).replace(OWN, NOT_OWN)
            for source in (OWN_MAC, bytes(6)):  # with no MAC address, which is what nobody's address has
                from_it = for_other.replace(OWN_MAC, source)
                self.refuses(with_checksum(from_it) if frame[12:14] == b"\x08\0" else from_it)
        self.insert(self.own(OWN, OTHER_PORT, PORT_MAC[OTHER_PORT]))
        self.sends(
            padded(
                ethernet(
                    BROADCAST,
                    PORT_MAC[OTHER_PORT],
                    ETHERTYPE_ARP,
                    arp_packet(1, PORT_MAC[OTHER_PORT], OWN, ROUTER),
                )
            ),
            OTHER_PORT,
        )


class AgentSpeaksNothingElse(_Sent):
    """No tunnel's packet, whoever has protected it, no other protocol, no router's word, no tenant's frame; and nothing
    of all this out of an access port, to the agent itself or into the void."""

    def runTest(self) -> None:
        self.insert(*self.own_entries)
        packets = [
            self.world.peer1.packet(
                self.world.far1.frame_to(B), source=OWN, eth_src=OWN_MAC, eth_dst=ROUTER_MAC
            ).encode(),
            self.world.peer1.packet(A.frame_to(B), source=OWN6, destination=ROUTER6, eth_src=OWN_MAC).encode(),
            ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, datagram(53, 53), ttl=255)),
            ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, datagram(50000, 3784), ttl=254)),
            ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, struct.pack(">HH", 1, 2) + pattern(20), 6)),
            ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, pattern(40), 47)),
            ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_LLDP, pattern(40)),
            A.frame_to(B),
        ]
        own = {"source": OWN6, "source_mac": OWN_MAC, "destination": ALL_NODES, "to": ALL_NODES_MAC}
        packets += [nd(kind, **own) for kind in (RA, REDIRECT)]
        packets += [nd(NA, hop_limit=254, **own), nd(NA, code=1, **own)]
        for packet in packets:
            self.refuses(packet)
        empty = ethernet(ROUTER_MAC, OWN_MAC, ETHERTYPE_IPV4, ipv4(OWN, ROUTER, datagram(6081, 6081)))
        self.refuses(empty, reason=Reason.GENEVE_OPTIONS_LENGTH)
        good = next(self.said())
        for port in (A.port, 510, 511, 0x8000 | PORT):
            self.refuses(good, port)
        self.insert(self.own(OWN, A.port))
        self.refuses(good, A.port, Reason.TX_PORT_CLASS)
        self.sends(good)


class ManyFramesInClear(_Control):
    """They are nobody's, among packets that are: every protected one passes, and nothing of the others shows in it."""

    def runTest(self) -> None:
        peer, frame = self.world.peer1, self.world.far1.frame_to(B)
        with Batch(self) as batch:
            for _, clear in self.in_clear():
                batch.dropped(PORT, clear, Reason.UNDERLAY_CONTROL)
                batch.passes(PORT, peer.packet(frame).encode(), (B.port, B.on_wire(frame)))
