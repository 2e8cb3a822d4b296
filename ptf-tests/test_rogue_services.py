# SPDX-License-Identifier: Apache-2.0
"""What only routers may send, and only servers and relays of DHCP: from tenant systems that are none, and from one that
is."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import Entry, entry
from harness.world import IP_ARP, IP_NONE, IP_V4, IP_V6, A, B, Host
from nvo3ref.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, UDP, ethernet, ipv4, ipv6, pattern, udp
from nvo3ref.reasons import Reason
from test_neighbor_discovery import REDIRECT, ROUTER_ADVERTISEMENT, link_layer, message

ANNOUNCER, ROUTER, DHCP_SERVER = 1, 2, 4
FIRST, LATER = 0x2000, 0x0001
SERVER, CLIENT, SERVER6, CLIENT6 = 67, 68, 547, 546


def permit_service(host: Host, services: int) -> list[Entry]:
    """Instead of the permissions that it has."""
    return [
        entry(
            "source_guard",
            {"interface": host.interface, "mac": host.mac, "ip_kind": kind, "ip": address},
            "permit_service",
            services=services,
        )
        for kind, address in ((IP_V4, host.ip), (IP_V6, host.ip6), (IP_ARP, host.ip))
    ]


def ip4(payload: bytes, protocol: int = UDP, **changes: object) -> bytes:
    packet = ipv4(A.ip, B.ip, payload, protocol, **changes)  # type: ignore[arg-type]
    return ethernet(B.mac, A.mac, ETHERTYPE_IPV4, packet)


def ip6(payload: bytes, next_header: int = UDP, hop_limit: int = 64) -> bytes:
    return ethernet(B.mac, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, B.ip6, payload, next_header, hop_limit=hop_limit))


def of_a_server() -> Iterator[bytes]:
    """What servers and relays send: of their port, or to that of the clients, which take an answer from any port."""
    for source, destination in ((SERVER, CLIENT), (SERVER, SERVER), (SERVER, 4011), (5000, CLIENT)):
        datagram = udp(source, destination, pattern(244))
        yield ip4(datagram)
        yield ip4(datagram[:24], fragment=FIRST)
        yield ip4(datagram[:8], fragment=FIRST)
        for words in range(1, 11):
            yield ip4(datagram, options=b"\x01" * 4 * words)
            yield ip4(datagram[:8], options=b"\x01" * 4 * words, fragment=FIRST)
    for source, destination in ((SERVER6, CLIENT6), (SERVER6, SERVER6), (5000, CLIENT6)):
        datagram = udp(source, destination, pattern(60))
        yield ip6(datagram)
        yield ip6(datagram[:8])
        for kind, header in extension_headers():
            yield ip6(bytes((UDP,)) + header[1:] + datagram, kind)


def extension_headers() -> Iterator[tuple[int, bytes]]:
    """(kind, header) of all lengths up to 120 bytes. The next header is for the caller to write."""
    for kind in (0, 43, 60):
        for more in range(15):
            yield kind, bytes((0, more)) + bytes(6 + 8 * more)
    for more in (0, 2, 4, 10):
        yield 51, bytes((0, more)) + bytes(6 + 4 * more)
    yield 44, bytes((0, 0, 0, 1, 0, 0, 0, 9))  # the first fragment
    yield 44, bytes((0, 0, 0, 0, 0, 0, 0, 9))  # the only one (RFC 6946)


class RogueServer(NveTest):
    """DHCP and DHCPv6, in every form in which a client or a relay would take it; from a stated server it passes."""

    def runTest(self) -> None:
        with Batch(self, "a host") as batch:
            for frame in of_a_server():
                batch.dropped(A.port, frame, Reason.ROGUE_SERVER)
        # To be another kind of system is not to be this one.
        self.modify(*permit_service(A, ANNOUNCER | ROUTER))
        with Batch(self, "a router") as batch:
            for frame in of_a_server():
                batch.dropped(A.port, frame, Reason.ROGUE_SERVER)
        self.modify(*permit_service(A, DHCP_SERVER))
        with Batch(self, "a server") as batch:
            for frame in of_a_server():
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
        spoofed = ethernet(B.mac, A.mac, ETHERTYPE_IPV4, ipv4(B.ip, B.ip, udp(5000, 5000, b"")))
        self.dropped(A.port, spoofed, Reason.SOURCE_GUARD)


class OtherDatagrams(NveTest):
    """Clients, other ports, other protocols, and what stands elsewhere in a packet."""

    def runTest(self) -> None:
        bodies = [
            udp(source, destination, pattern(60))
            for source, destination in (
                (CLIENT, SERVER),
                (CLIENT6, SERVER6),
                (66, 69),
                (545, 548),
                (SERVER << 8, CLIENT << 8),
                (5000, 53),
            )
        ]
        server = udp(SERVER, CLIENT, pattern(60))
        server6 = udp(SERVER6, CLIENT6, pattern(60))
        with Batch(self) as batch:
            for frame in (
                *(ip4(body) for body in bodies),
                *(ip6(body) for body in bodies),
                *(ip4(body, options=bytes((1,)) * 8) for body in bodies),
                *(ip4(server, protocol) for protocol in (6, 132, 136)),
                *(ip6(server6, protocol) for protocol in (6, 132, 136)),
                ip4(server6),
                ip6(server),
                ip4(server, fragment=LATER),
                ip6(bytes((UDP, 0, 0, 9, 0, 0, 0, 9)) + server6, 44),
                ip6(bytes((6, 0)) + bytes(6) + server6, 60),
                ip4(udp(1, 2, b"")[:4] + server),
            ):
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))


def of_a_router() -> Iterator[bytes]:
    """ICMP redirects (RFC 792) and router advertisements (RFC 1256, RFC 4861)."""
    for kind in (5, 9):
        body = bytes((kind, 1, 0, 0)) + pattern(60)
        yield ip4(body, ICMP)
        yield ip4(body[:8], ICMP, fragment=FIRST)
        for words in range(1, 11):
            yield ip4(body, ICMP, options=b"\x01" * 4 * words)
    for kind in (ROUTER_ADVERTISEMENT, REDIRECT):
        body = message(A.ip6, B.ip6, kind, bytes(16), link_layer(1, A.mac) + b"\x19\x03" + bytes(22))
        yield ethernet(B.mac, A.mac, ETHERTYPE_IPV6, body)


class RogueRouterOfAnyKind(NveTest):
    """From a host, and from a server of DHCP; from a stated router they pass."""

    def runTest(self) -> None:
        for services in (None, ANNOUNCER | DHCP_SERVER):
            if services is not None:
                self.modify(*permit_service(A, services))
            with Batch(self, f"services {services}") as batch:
                for frame in of_a_router():
                    batch.dropped(A.port, frame, Reason.ROGUE_ROUTER)
        # Nor does an address that is not its own make one of it.
        spoofed = message(B.ip6, B.ip6, ROUTER_ADVERTISEMENT, bytes(16))
        self.dropped(A.port, ethernet(B.mac, A.mac, ETHERTYPE_IPV6, spoofed), Reason.ROGUE_ROUTER)
        self.modify(*permit_service(A, ROUTER))
        with Batch(self, "a router") as batch:
            for frame in of_a_router():
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
        self.dropped(A.port, ethernet(B.mac, A.mac, ETHERTYPE_IPV6, spoofed), Reason.ROGUE_ROUTER)


class OtherIcmpv4(NveTest):
    """Echo, errors and the rest are anybody's; a later fragment has no type."""

    def runTest(self) -> None:
        with Batch(self) as batch:
            for kind in (0, 3, 4, 6, 8, 10, 11, 12, 13, 133, 134, 137, 255):
                for words in (0, 3):
                    frame = ip4(bytes((kind, 0, 0, 0)) + pattern(40), ICMP, options=b"\x01" * 4 * words)
                    batch.passes(A.port, frame, (B.port, B.on_wire(frame)))
            for frame in (
                ip4(bytes((5, 0, 0, 0)) + pattern(40), ICMP, fragment=LATER),
                ip4(bytes((5, 0, 0, 0)) + pattern(40), 2),
                ip4(bytes((134, 0, 0, 0)) + pattern(40), 58),
                ip6(bytes((5, 0, 0, 0)) + pattern(40), ICMP),
            ):
                batch.passes(A.port, frame, (B.port, B.on_wire(frame)))


class AnnouncerByService(NveTest):
    """A service is no permission for other addresses, nor for other types."""

    def runTest(self) -> None:
        self.modify(*permit_service(A, 0xFF))
        self.dropped(A.port, ethernet(B.mac, A.mac, 0x88B5, pattern(46)), Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_NONE, 0))
        self.dropped(A.port, ethernet(B.mac, A.mac, 0x8035, pattern(46)), Reason.HIDDEN_PROTOCOL)
