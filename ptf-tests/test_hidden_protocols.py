# SPDX-License-Identifier: Apache-2.0
"""Frames of a form behind which something could hide that the guards would stop."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base import NveTest
from harness.batch import Batch
from harness.world import IP_NONE, A, B
from nvo3ref.frames import ETHERTYPE_IPV6, ETHERTYPE_LOCAL, TCP, UDP, arp, ethernet, ipv6, pattern, udp
from nvo3ref.reasons import Reason
from test_neighbor_discovery import (
    ADVERTISEMENT,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    SOLICITATION,
    advertisement,
    message,
)

HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTHENTICATION, ICMPV6, NONE, DESTINATION = 0, 43, 44, 50, 51, 58, 59, 60
POISON = arp(2, A.mac, B.ip, B.mac, B.ip)


def snap(oui: str, ether_type: int, control: int = 3, sap: int = 0xAA, payload: bytes = POISON) -> bytes:
    """IEEE 802.3 with LLC and SNAP (RFC 1042)."""
    body = bytes((sap, sap, control)) + bytes.fromhex(oui) + ether_type.to_bytes(2, "big") + payload
    return ethernet(B.mac, A.mac, len(body), body)


def disguised() -> Iterator[bytes]:
    for oui in ("000000", "0000f8"):
        for ether_type in (0x0800, 0x0804, 0x0806, 0x0808, 0x08FF, 0x86DD, 0x8035, 0x8100, 0x88A8):
            yield snap(oui, ether_type)
            yield snap(oui, ether_type, control=0x13)
            yield snap(oui, ether_type, sap=0xAB)
    yield snap("000000", 0x0806, payload=b"")
    for sap in (0x06, 0x07, 0x98, 0x99):
        for size in (3, 46, 1500):
            yield ethernet(B.mac, A.mac, size, bytes((sap, sap, 3)) + pattern(size - 3))
    for size in (0, 1501, 0x05FF):  # no length of a frame, but no type either
        yield ethernet(B.mac, A.mac, size, bytes.fromhex("aaaa030000000806") + POISON)
    for ether_type in (
        0x0804,
        0x0808,
        0x1000,
        0x10FF,
        0x6558,
        0x8035,
        0x88E7,
        0x893F,
        0x9100,
        0x9200,
        0x9300,
    ):
        yield ethernet(B.mac, A.mac, ether_type, POISON)
        yield ethernet(B.mac, A.mac, ether_type, b"\x08\x06")


class ProtocolsInDisguise(NveTest):
    """ARP and IP in LLC, in SNAP, behind tags of other kinds; RARP. Also where other types are permitted."""

    def runTest(self) -> None:
        with Batch(self, "not permitted") as batch:
            for frame in disguised():
                batch.dropped(A.port, frame, Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_NONE, 0))
        with Batch(self, "permitted") as batch:
            for frame in disguised():
                batch.dropped(A.port, frame, Reason.HIDDEN_PROTOCOL)


class OtherTypesThatArePermitted(NveTest):
    """Spanning tree, IS-IS, other SNAP protocols, MPLS, PPPoE, and what is near those that are refused."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_NONE, 0))
        frames = [ethernet(B.mac, A.mac, size, bytes.fromhex("424203") + pattern(43)) for size in (3, 46)]
        frames += [ethernet(B.mac, A.mac, 46, bytes.fromhex(head) + pattern(40)) for head in ("fefe03", "0498", "aa06")]
        frames += [
            snap("00000c", 0x2000),  # Cisco's discovery
            snap("080007", 0x809B),
            snap("000000", 0x80F3),
            snap("0000f8", 0x80F3),
            snap("000001", 0x0806),
            snap("000000", 0x0906),
            snap("000000", 0x0806, control=0xE3),  # no data, but a test of the link
            ethernet(B.mac, A.mac, 5, bytes.fromhex("aaaa030000")),
        ]
        frames += [
            ethernet(B.mac, A.mac, kind, pattern(46))
            for kind in (0x0600, 0x0803, 0x0805, 0x0807, 0x0FFF, 0x1100, 0x8036, 0x8847, 0x8864, 0x88CC, 0x9000, 0x9101)
        ]
        frames.append(ethernet(B.mac, A.mac, ETHERTYPE_LOCAL, b"\xaa\xaa\x03\0\0\0\x08\x06" + POISON))
        with Batch(self) as batch:
            for frame in frames:
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))


def ip6(payload: bytes, next_header: int, hop_limit: int = 255) -> bytes:
    return ethernet(B.mac, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, B.ip6, payload, next_header, hop_limit=hop_limit))


def behind(upper: int, *kinds: tuple[int, int]) -> tuple[bytes, int]:
    """(headers, first next header): extension headers (kind, length field) in front of `upper`."""
    found, following = b"", upper
    for kind, length in reversed(kinds):
        size = 4 * (length + 2) if kind == AUTHENTICATION else 8 if kind == FRAGMENT else 8 * (length + 1)
        found = bytes((following, 0 if kind == FRAGMENT else length)) + bytes(size - 2) + found
        following = kind
    return found, following


CHAINS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((HOP_BY_HOP, 0),),
    ((DESTINATION, 1),),
    ((DESTINATION, 9),),
    ((ROUTING, 2),),
    ((AUTHENTICATION, 4),),
    ((FRAGMENT, 0),),
    ((HOP_BY_HOP, 0), (FRAGMENT, 0)),
    ((HOP_BY_HOP, 0), (DESTINATION, 0), (ROUTING, 2), (FRAGMENT, 0), (AUTHENTICATION, 4), (DESTINATION, 1)),
    ((DESTINATION, 0),) * 20,
)


class DiscoveryBehindAnyChain(NveTest):
    """RFC 6980, RFC 7113: of all kinds, behind all chains, if hosts would take it for discovery."""

    def runTest(self) -> None:
        kinds = (ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT, REDIRECT)
        with Batch(self, "hidden") as batch:
            for chain in CHAINS:
                headers, first = behind(ICMPV6, *chain)
                for kind in kinds:
                    hidden = message(A.ip6, B.ip6, kind, A.ip6)[40:]
                    batch.dropped(A.port, ip6(headers + hidden, first), Reason.MALFORMED_ND)
                    batch.dropped(A.port, ip6(headers + hidden[:8], first), Reason.MALFORMED_ND)
                    frame = ip6(headers + hidden, first, hop_limit=254)
                    batch.passes(A.port, frame, (B.port, B.on_wire(frame)))


class ChainsWithoutDiscovery(NveTest):
    """Whatever else is behind extension headers, and with any hop limit, passes if its source does."""

    def runTest(self) -> None:
        reports = bytes((143, 0, 0, 0)) + pattern(24)  # multicast listeners (RFC 3810)
        bodies = {
            ICMPV6: reports,
            UDP: udp(5000, 5001, pattern(20)),
            TCP: pattern(24),
            ESP: pattern(24),
            NONE: b"",
            253: pattern(3),
        }
        with Batch(self) as batch:
            for chain in CHAINS:
                for upper, body in bodies.items():
                    headers, first = behind(upper, *chain)
                    for hop_limit in (1, 255):
                        frame = ip6(headers + body, first, hop_limit)
                        batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
            # Later fragments have no header to look at.
            for upper in (ICMPV6, UDP, DESTINATION):
                frame = ip6(bytes((upper, 0, 0, 9, 0, 0, 0, 1)) + bytes((134,)) * 40, FRAGMENT)
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
        headers, first = behind(ICMPV6, (HOP_BY_HOP, 0))
        packet = ipv6(B.ip6, B.ip6, headers + reports, first, hop_limit=1)
        self.dropped(A.port, ethernet(B.mac, A.mac, ETHERTYPE_IPV6, packet), Reason.SOURCE_GUARD)


class ChainsWithoutAnEnd(NveTest):
    """The upper layer is not in the packet, or in the first fragment (RFC 7112): what it will be cannot be known."""

    def runTest(self) -> None:
        with Batch(self) as batch:
            for chain in CHAINS:
                for upper, body in ((ICMPV6, bytes((134, 0, 0, 0)) + bytes(12)), (UDP, udp(547, 546, bytes(8)))):
                    headers, first = behind(upper, *chain)
                    for shown in (0, 1, 7):
                        for hop_limit in (64, 255):
                            frame = ip6(headers + body[:shown], first, hop_limit)
                            batch.dropped(A.port, frame, Reason.HIDDEN_PROTOCOL)
                    for cut in range(1, len(headers), 8):
                        batch.dropped(A.port, ip6(headers[:-cut], first), Reason.HIDDEN_PROTOCOL)
            # An authentication header whose length is no multiple of eight bytes: hosts do not agree where it ends.
            odd = bytes((ICMPV6, 3)) + bytes(18) + bytes((134, 0, 0, 0)) + bytes(20)
            batch.dropped(A.port, ip6(odd, AUTHENTICATION), Reason.HIDDEN_PROTOCOL)
            for kind in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION):
                batch.dropped(A.port, ip6(b"", kind), Reason.HIDDEN_PROTOCOL)
        whole = advertisement(A, B)
        self.passes(A.port, whole, (B.port, B.on_wire(whole)))
