# SPDX-License-Identifier: Apache-2.0
"""Neighbor discovery (RFC 4861): answered from the table, and guarded where tenants' frames come in."""

from __future__ import annotations

import struct

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import UNKNOWN_NEIGHBOR
from harness.world import BLUE, IP_V6, RED, A, B, C, Host
from nvo3ref.frames import ETHERTYPE_IPV6, checksum, ethernet, ipv6, pattern
from nvo3ref.reasons import Reason

ICMPV6 = 58
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT, REDIRECT = range(133, 138)
SOURCE_LINK_LAYER, TARGET_LINK_LAYER = 1, 2
SOLICITED_OVERRIDE = 0x60000000
UNKNOWN_OPTION = b"\x0e\x01" + pattern(6)  # a nonce (RFC 3971 5.3.2)
LONG_OPTION = b"\x0c\x21" + pattern(262)  # a signature (RFC 3971 5.2); looks like an option of another system inside


def link_layer(kind: int, mac: bytes) -> bytes:
    return bytes([kind, 1]) + mac


def message(
    src_ip: bytes,
    dst_ip: bytes,
    kind: int,
    target: bytes,
    options: bytes = b"",
    flags: int = 0,
    hop_limit: int = 255,
    code: int = 0,
) -> bytes:
    """An IPv6 packet with a right ICMPv6 checksum (RFC 8200 8.1)."""
    body = struct.pack(">BBHI", kind, code, 0, flags) + target + options
    pseudo = src_ip + dst_ip + struct.pack(">II", len(body), ICMPV6)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    packet = ipv6(src_ip, dst_ip, body, ICMPV6)
    return packet[:7] + bytes([hop_limit]) + packet[8:]


def solicited_node(ip: bytes) -> tuple[bytes, bytes]:
    """(IPv6 group, its MAC address) of an address (RFC 4291 2.7.1, RFC 2464 7)."""
    return bytes.fromhex("ff0200000000000000000001ff") + ip[13:], b"\x33\x33\xff" + ip[13:]


def solicitation(asker: Host, target: bytes, **changes: object) -> bytes:
    group, group_mac = solicited_node(target)
    options = link_layer(SOURCE_LINK_LAYER, asker.mac)
    fields = {
        "src_ip": asker.ip6,
        "dst_ip": group,
        "kind": SOLICITATION,
        "target": target,
        "options": options,
    } | changes
    return ethernet(group_mac, asker.mac, ETHERTYPE_IPV6, message(**fields))  # type: ignore[arg-type]


def advertisement(owner: Host, to: Host, **changes: object) -> bytes:
    options = link_layer(TARGET_LINK_LAYER, owner.mac)
    fields = {
        "src_ip": owner.ip6,
        "dst_ip": to.ip6,
        "kind": ADVERTISEMENT,
        "target": owner.ip6,
        "options": options,
        "flags": SOLICITED_OVERRIDE,
    } | changes
    return ethernet(to.mac, owner.mac, ETHERTYPE_IPV6, message(**fields))  # type: ignore[arg-type]


def answer(asker: Host, target: bytes, target_mac: bytes) -> bytes:
    """What the owner of the address would have sent."""
    packet = message(
        target, asker.ip6, ADVERTISEMENT, target, link_layer(TARGET_LINK_LAYER, target_mac), SOLICITED_OVERRIDE
    )
    return ethernet(asker.mac, target_mac, ETHERTYPE_IPV6, packet)


def neighbor(vni: int, ip: bytes, mac: bytes) -> Entry:
    return entry("neighbor_ipv6", {"vni": vni, "ip": ip}, "answer_ipv6", mac=mac)


class _Discovery(NveTest):
    def floods_to_all(self, frame: bytes) -> None:
        peer1, peer2 = self.world.peers
        self.floods(A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame)))


class SolicitationIsAnswered(_Discovery):
    """In place, with a right checksum, on tagged and untagged VAPs; for addresses that make every carry."""

    def runTest(self) -> None:
        targets = [
            self.world.far1.ip6,
            bytes(15) + b"\1",
            b"\xff" * 16,
            b"\xfe\x80" + bytes(13) + b"\x42",
            bytes.fromhex("20010db8ffffffffffffffffffffff01"),
            pattern(16, 3),
        ]
        for number, target in enumerate(targets):
            owner = bytes([2, 0xFF, 0xFF, number, 0xFF, 0xFE])
            self.insert(neighbor(RED, target, owner))
            self.passes(A.port, solicitation(A, target), (A.port, answer(A, target, owner)))
            self.passes(B.port, B.on_wire(solicitation(B, target)), (B.port, B.on_wire(answer(B, target, owner))))


class SolicitationOfTheOwnNetwork(_Discovery):
    """The same address in two VNs has two owners."""

    def runTest(self) -> None:
        shared = self.world.far1.ip6
        self.insert(neighbor(RED, shared, B.mac), neighbor(BLUE, shared, C.mac))
        self.passes(A.port, solicitation(A, shared), (A.port, answer(A, shared, B.mac)))
        self.passes(C.port, solicitation(C, shared), (C.port, answer(C, shared, C.mac)))


class UnknownTargetIsPunted(_Discovery):
    """To the agent and to nobody else; once known it is answered."""

    def runTest(self) -> None:
        target = self.world.far1
        question = solicitation(A, target.ip6)
        self.dropped(A.port, question, Reason.PUNT_FORBIDDEN)
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        self.punted(
            A.port, question, question, reason=UNKNOWN_NEIGHBOR, vni=RED, interface=A.interface, frame_length=86
        )
        self.insert(neighbor(RED, target.ip6, target.mac))
        self.passes(A.port, question, (A.port, answer(A, target.ip6, target.mac)))


class SpoofedSolicitation(_Discovery):
    """The source guard comes first, for IPv6 and MAC address."""

    def runTest(self) -> None:
        target = self.world.far1
        self.insert(neighbor(RED, target.ip6, target.mac))
        self.dropped(A.port, solicitation(A, target.ip6, src_ip=B.ip6), Reason.SOURCE_GUARD)
        self.dropped(A.port, solicitation(B, target.ip6), Reason.SOURCE_GUARD)


class BareSolicitationIsFlooded(_Discovery):
    """Without the option (78 bytes) there is no room for an answer: the owner gives it."""

    def runTest(self) -> None:
        target = self.world.far1
        self.insert(neighbor(RED, target.ip6, target.mac))
        self.floods_to_all(solicitation(A, target.ip6, options=b""))


class UnicastSolicitationReachesItsTarget(_Discovery):
    """A probe whether a known neighbor is still there is for the neighbor to answer."""

    def runTest(self) -> None:
        self.insert(neighbor(RED, B.ip6, C.mac))
        for options in (b"", link_layer(SOURCE_LINK_LAYER, A.mac)):
            probe = B.mac + solicitation(A, B.ip6, dst_ip=B.ip6, options=options)[6:]
            self.passes(A.port, probe, (B.port, B.on_wire(probe)))


class DuplicateAddressDetection(_Discovery):
    """From the unspecified address: guarded as the address that it asks about, and flooded, so that an owner can
    object."""

    def runTest(self) -> None:
        self.insert(neighbor(RED, A.ip6, B.mac), neighbor(RED, B.ip6, B.mac))
        nonce = b"\x0e\x01" + pattern(6)
        for options in (b"", nonce):
            self.floods_to_all(solicitation(A, A.ip6, src_ip=bytes(16), options=options))
            self.dropped(A.port, solicitation(A, B.ip6, src_ip=bytes(16), options=options), Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_V6, B.ip6))
        self.floods_to_all(solicitation(A, B.ip6, src_ip=bytes(16), options=b""))


class AdvertisementPasses(_Discovery):
    """With and without its option, solicited and not."""

    def runTest(self) -> None:
        for changes in ({}, {"options": b""}, {"flags": 0}, {"flags": 0x20000000}):
            frame = advertisement(A, B, **changes)
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))


class UnknownOptionsArePassedOver(_Discovery):
    """RFC 4861 4.6: wherever they stand, and however long they are. What is known among them counts as ever."""

    def runTest(self) -> None:
        target = self.world.far1.ip6
        self.insert(neighbor(RED, target, B.mac))
        own, foreign = link_layer(SOURCE_LINK_LAYER, A.mac), link_layer(SOURCE_LINK_LAYER, B.mac)
        self.passes(A.port, solicitation(A, target, options=UNKNOWN_OPTION), (A.port, answer(A, target, B.mac)))
        inside = b"\x0d\x02" + pattern(6) + foreign  # that is no option, but the second half of one
        for options in (
            own + own,
            own + UNKNOWN_OPTION,
            UNKNOWN_OPTION + own,
            inside + own,
            own + inside,
            LONG_OPTION + own,
            UNKNOWN_OPTION * 9 + own + LONG_OPTION,
        ):
            # Longer than what is answered in place: the owner answers.
            self.floods_to_all(solicitation(A, target, options=options))
        own, foreign = link_layer(TARGET_LINK_LAYER, A.mac), link_layer(TARGET_LINK_LAYER, B.mac)
        for options in (own, UNKNOWN_OPTION + own, LONG_OPTION + own + UNKNOWN_OPTION, UNKNOWN_OPTION):
            frame = advertisement(A, B, options=options)
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        for options in (UNKNOWN_OPTION + foreign, LONG_OPTION + own + foreign, LONG_OPTION + b"\x02\x02" + A.mac):
            self.dropped(A.port, advertisement(A, B, options=options), Reason.MALFORMED_ND)


class AdvertisementFromAnotherAddress(_Discovery):
    """RFC 4861 7.2.4: an interface answers from any address that it has. Both must be permitted there, for that MAC
    address; permission as a source is none as a target, and the other way round."""

    def target(self, host: Host, mac: bytes, ip: bytes) -> Entry:
        return entry("target_guard", {"interface": host.interface, "mac": mac, "ip": ip}, "permit_target")

    def runTest(self) -> None:
        own, other = A.ip6, b"\xfe\x80" + bytes(13) + b"\x17"
        frame = advertisement(A, B, src_ip=other, target=own)
        self.dropped(A.port, frame, Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_V6, other))
        self.dropped(A.port, frame, Reason.MALFORMED_ND)
        self.insert(self.target(B, A.mac, own), self.target(A, B.mac, own), self.target(A, A.mac, B.ip6))
        self.dropped(A.port, frame, Reason.MALFORMED_ND)
        permitted = self.target(A, A.mac, own)
        self.insert(permitted)
        for options in (link_layer(TARGET_LINK_LAYER, A.mac), b"", UNKNOWN_OPTION):
            frame = advertisement(A, B, src_ip=other, target=own, options=options)
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        self.dropped(A.port, advertisement(A, B, src_ip=B.ip6, target=own), Reason.SOURCE_GUARD)
        foreign = link_layer(TARGET_LINK_LAYER, B.mac)
        self.dropped(A.port, advertisement(A, B, src_ip=other, target=own, options=foreign), Reason.MALFORMED_ND)
        # The unspecified address is no address of an interface (RFC 4861 4.4), not even where it may be a source.
        self.insert(A.guard(IP_V6, 0))
        self.dropped(A.port, advertisement(A, B, src_ip=bytes(16), target=own), Reason.MALFORMED_ND)
        self.delete(permitted)
        self.dropped(A.port, advertisement(A, B, src_ip=other, target=own), Reason.MALFORMED_ND)


class LinkLocalSolicitationIsFlooded(_Discovery):
    """Nobody has to state an address of this link: its owner is asked, the agent is not. One that is stated is answered
    as any other."""

    def runTest(self) -> None:
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        target = b"\xfe\x80" + bytes(6) + pattern(8)
        question = solicitation(A, target)
        self.floods_to_all(question)
        self.insert(neighbor(RED, target, B.mac))
        self.passes(A.port, question, (A.port, answer(A, target, B.mac)))
        for near in (b"\xfe\x80" + bytes(5) + b"\1" + pattern(8), b"\xfe\x81" + target[2:], b"\xfe\xc0" + target[2:]):
            question = solicitation(A, near)
            self.punted(A.port, question, question, reason=UNKNOWN_NEIGHBOR)


class AdvertisementOfAnothersAddress(_Discovery):
    """Neighbor cache poisoning: another's target, another's link-layer address, another's source."""

    def runTest(self) -> None:
        self.dropped(A.port, advertisement(A, B, target=self.world.far1.ip6), Reason.MALFORMED_ND)
        self.dropped(A.port, advertisement(A, B, target=self.world.far1.ip6, options=b""), Reason.MALFORMED_ND)
        self.dropped(A.port, advertisement(A, B, options=link_layer(TARGET_LINK_LAYER, C.mac)), Reason.MALFORMED_ND)
        self.dropped(
            A.port, advertisement(A, B, src_ip=self.world.far1.ip6, target=self.world.far1.ip6), Reason.SOURCE_GUARD
        )
        # Even a permission for that address is none to give it away to a third MAC address.
        self.insert(A.guard(IP_V6, self.world.far1.ip6))
        for last in range(6):
            other = bytearray(A.mac)
            other[last] ^= 1
            self.dropped(
                A.port, advertisement(A, B, options=link_layer(TARGET_LINK_LAYER, bytes(other))), Reason.MALFORMED_ND
            )


class AdvertisementTargetEveryBit(_Discovery):
    """One bit of the target differs from the source address."""

    def runTest(self) -> None:
        for bit in range(128):
            target = (int.from_bytes(A.ip6, "big") ^ 1 << bit).to_bytes(16, "big")
            options = b"" if bit % 2 else link_layer(TARGET_LINK_LAYER, A.mac)
            self.dropped(A.port, advertisement(A, B, target=target, options=options), Reason.MALFORMED_ND)


class SolicitationWithWrongOption(_Discovery):
    """Another's link-layer address in a solicitation poisons the neighbor caches of those who answer."""

    def runTest(self) -> None:
        target = self.world.far1.ip6
        self.insert(neighbor(RED, target, B.mac))
        for options in (
            link_layer(SOURCE_LINK_LAYER, B.mac),
            link_layer(TARGET_LINK_LAYER, A.mac),
            b"\x01\x02" + A.mac,
            b"\x01\x00" + A.mac,
        ):
            self.dropped(A.port, solicitation(A, target, options=options), Reason.MALFORMED_ND)


class DiscoveryWithMoreOrLess(_Discovery):
    """Options of another system among others, cut messages, padding behind: nothing of which it could not be said what
    it claims."""

    def runTest(self) -> None:
        own = link_layer(SOURCE_LINK_LAYER, A.mac)
        target = self.world.far1.ip6
        self.insert(neighbor(RED, target, B.mac))
        for options in (
            own + link_layer(SOURCE_LINK_LAYER, B.mac),
            own + link_layer(TARGET_LINK_LAYER, A.mac),
            UNKNOWN_OPTION + link_layer(SOURCE_LINK_LAYER, B.mac),
            b"\x0e\x02" + bytes(6) + UNKNOWN_OPTION + link_layer(SOURCE_LINK_LAYER, B.mac),
            b"\x0e\x02" + bytes(6),
            own + b"\x0e\x03" + bytes(14),
            own + b"\x0e\x00" + bytes(6),
            own[:4],
            b"\0" * 16,
            own + bytes(1),
        ):
            self.dropped(A.port, solicitation(A, target, options=options), Reason.MALFORMED_ND)
        for frame in (solicitation(A, target), solicitation(A, target, options=b""), advertisement(A, B)):
            for extra in (1, 2, 8, 16):
                self.dropped(A.port, frame + bytes(extra), Reason.MALFORMED_ND)
            for cut in (1, 2, 7, 9):
                self.dropped(A.port, frame[:-cut], Reason.MALFORMED_ND)


class DiscoveryWithWrongHopLimitOrCode(_Discovery):
    """RFC 4861 7.1: a hop limit of 255 proves that it was sent on this link; the code is zero."""

    def runTest(self) -> None:
        target = self.world.far1.ip6
        for hop_limit in (0, 1, 64, 254):
            self.dropped(A.port, solicitation(A, target, hop_limit=hop_limit), Reason.MALFORMED_ND)
            self.dropped(A.port, advertisement(A, B, hop_limit=hop_limit), Reason.MALFORMED_ND)
        for code in (1, 128, 255):
            self.dropped(A.port, solicitation(A, target, code=code), Reason.MALFORMED_ND)
            self.dropped(A.port, advertisement(A, B, code=code), Reason.MALFORMED_ND)


class RogueRouter(_Discovery):
    """Router advertisements and redirects of tenants, in any form."""

    def runTest(self) -> None:
        all_nodes = bytes.fromhex("ff020000000000000000000000000001")
        for kind in (ROUTER_ADVERTISEMENT, REDIRECT):
            for changes in ({}, {"options": b""}, {"hop_limit": 64}, {"code": 1}, {"dst_ip": all_nodes}):
                fields = {
                    "src_ip": A.ip6,
                    "dst_ip": B.ip6,
                    "kind": kind,
                    "target": bytes(16),
                    "options": link_layer(SOURCE_LINK_LAYER, A.mac),
                } | changes
                packet = message(**fields)  # type: ignore[arg-type]
                self.dropped(A.port, ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet), Reason.ROGUE_ROUTER)


class RouterSolicitation(_Discovery):
    """It passes bare, or with the link-layer address of its sender: a router keeps what the option says (RFC 4861
    6.2.6)."""

    def frame(self, options: bytes = b"", **changes: int) -> bytes:
        packet = message(A.ip6, B.ip6, ROUTER_SOLICITATION, b"", options, **changes)
        return ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet)

    def runTest(self) -> None:
        own = link_layer(SOURCE_LINK_LAYER, A.mac)
        for frame in (self.frame(), self.frame() + bytes(2), self.frame() + bytes(8), self.frame(own)):
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        for options in (UNKNOWN_OPTION, UNKNOWN_OPTION + own, own + LONG_OPTION, LONG_OPTION + own + own):
            frame = self.frame(options)
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        for options in (
            link_layer(SOURCE_LINK_LAYER, B.mac),
            link_layer(TARGET_LINK_LAYER, A.mac),
            own + link_layer(SOURCE_LINK_LAYER, B.mac),
            LONG_OPTION + link_layer(SOURCE_LINK_LAYER, B.mac),
            LONG_OPTION[:-8],
            own[:4],
            b"\x01\x02" + A.mac,
            b"\x0e\x00" + bytes(6),
        ):
            self.dropped(A.port, self.frame(options), Reason.MALFORMED_ND)
        for frame in (self.frame(own) + bytes(2), self.frame(own)[:-2]):
            self.dropped(A.port, frame, Reason.MALFORMED_ND)
        for changes in ({"hop_limit": 254}, {"hop_limit": 1}, {"code": 1}):
            self.dropped(A.port, self.frame(own, **changes), Reason.MALFORMED_ND)
        for bit in range(8 * 64, 8 * 70):
            changed = bytearray(self.frame(own))
            changed[bit // 8] ^= 0x80 >> bit % 8
            self.dropped(A.port, bytes(changed), Reason.MALFORMED_ND)


class DiscoveryBehindExtensionHeaders(_Discovery):
    """RFC 7113: an extension header must not hide a message. Other packets may have extension headers."""

    def runTest(self) -> None:
        hidden = advertisement(A, B, target=self.world.far1.ip6)[54:]
        for header in (0, 43, 44, 51, 60):
            packet = ipv6(A.ip6, B.ip6, bytes([ICMPV6, 0]) + bytes(6) + hidden, header)
            frame = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet)
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))  # hop limit 64: no host takes it for discovery
            self.dropped(A.port, frame[:21] + b"\xff" + frame[22:], Reason.MALFORMED_ND)


class OtherIcmpIsFree(_Discovery):
    """Echo and errors are no neighbor discovery, whatever their hop limit."""

    def runTest(self) -> None:
        for kind in (1, 2, 3, 128, 129, 130, 143):
            for hop_limit in (1, 64, 255):
                packet = message(A.ip6, B.ip6, kind, bytes(16), hop_limit=hop_limit)
                frame = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet)
                self.passes(A.port, frame, (B.port, B.on_wire(frame)))


class PortsLikeDiscovery(_Discovery):
    """What stands where ICMPv6 has its type is no type of it in another protocol: the ports of UDP, TCP and SCTP, whose
    first byte is that of each message."""

    def runTest(self) -> None:
        for protocol in (6, 17, 132):
            for kind in range(ROUTER_SOLICITATION, REDIRECT + 1):
                for hop_limit in (64, 255):
                    payload = struct.pack(">BBH", kind, 0, 4789) + pattern(28, kind)
                    packet = ipv6(A.ip6, B.ip6, payload, protocol, hop_limit=hop_limit)
                    frame = ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet)
                    self.passes(A.port, frame, (B.port, B.on_wire(frame)))


class DiscoveryFromTunnels(_Discovery):
    """It was guarded where it came in: out of a tunnel it is flooded and bridged like any frame."""

    def runTest(self) -> None:
        far, peer = self.world.far1, self.world.peer1
        self.insert(neighbor(RED, B.ip6, C.mac))
        question = solicitation(far, B.ip6)
        self.passes(256, peer.packet(question).encode(), (A.port, question), (B.port, B.on_wire(question)))
        reply = advertisement(far, B)
        self.passes(256, peer.packet(reply).encode(), (B.port, B.on_wire(reply)))
