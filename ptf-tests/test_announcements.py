# SPDX-License-Identifier: Apache-2.0
"""Who shares addresses with others and announces one: the frame is flooded as ever, and the agent has a copy."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import ANNOUNCEMENT, REFUSED_ANNOUNCEMENT
from harness.switches import CPU_PORT
from harness.world import BLUE, IP_NONE, IP_V4, RED, A, B, Host
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    VRRP,
    VRRP_GROUP,
    VRRP_GROUP_IPV6,
    VRRP_MAC,
    VRRP_MAC_IPV6,
    arp,
    arp_request,
    ethernet,
    ip4,
    ipv4,
    ipv6,
    padded,
    pattern,
    vrrp,
)
from nvo3ref.reasons import Reason
from test_neighbor_discovery import advertisement, solicitation
from test_rogue_services import permit_service

AGENT_INTERFACE = 0xFFFF
ALL_NODES, ALL_NODES_MAC = bytes.fromhex("ff02" + 13 * "00" + "01"), bytes.fromhex("333300000001")
PUNT_BYTES = 128


def punt_meter(local: Host) -> Entry:
    return entry("punt_meter", {"interface": local.interface}, "police_punt")


def gratuitous(sender: Host, operation: int = 1, dst: bytes = BROADCAST) -> bytes:
    body = arp(operation, sender.mac, sender.ip, bytes(6), sender.ip)
    return ethernet(dst, sender.mac, ETHERTYPE_ARP, body)


def unsolicited(sender: Host, **changes: object) -> bytes:
    frame = advertisement(sender, sender, **({"dst_ip": ALL_NODES, "flags": 0x20000000} | changes))
    return ALL_NODES_MAC + frame[6:]


def vrrp_ipv4(sender: Host, dst_mac: bytes = VRRP_MAC, **changes: object) -> bytes:
    fields = {
        "src": sender.ip,
        "dst": VRRP_GROUP,
        "payload": vrrp(3, sender.ip),
        "protocol": VRRP,
        "ttl": 255,
    } | changes
    return ethernet(dst_mac, sender.mac, ETHERTYPE_IPV4, ipv4(**fields))  # type: ignore[arg-type]


def vrrp_ipv6(sender: Host, dst_mac: bytes = VRRP_MAC_IPV6, **changes: object) -> bytes:
    fields = {
        "src": sender.ip6,
        "dst": VRRP_GROUP_IPV6,
        "payload": vrrp(3, sender.ip6),
        "next_header": VRRP,
        "hop_limit": 255,
    } | changes
    return ethernet(dst_mac, sender.mac, ETHERTYPE_IPV6, ipv6(**fields))  # type: ignore[arg-type]


class _Announcements(NveTest):
    """Host a shares its addresses with others, host b does not; the agent hears announcements in RED."""

    def setUp(self) -> None:
        super().setUp()
        self.told = self.session.fresh("group", 0x7F00)
        self.modify(*A.guard_entries("permit_announcer"))
        self.insert(punt_meter(A), punt_meter(B))
        self.insert(self.announcement(RED), groups={self.told: self.replicas()})

    def announcement(self, vni: int) -> Entry:
        return entry("announcement", {"vni": vni}, "tell", group=self.told)

    def replicas(self, *instead: tuple[int, int]) -> list[tuple[int, int]]:
        red = self.world.replicas()[self.world.groups["red"]]
        return [*red, *(instead or ((CPU_PORT, AGENT_INTERFACE),))]

    def copies(self, sender: Host, frame: bytes) -> list[tuple[int, bytes]]:
        """What comes out where `frame` is flooded from a or b."""
        peer1, peer2 = self.world.peers
        other = B if sender == A else A
        return [(other.port, other.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))]

    def is_told(self, sender: Host, frame: bytes, **fields: int) -> None:
        self.exchange(
            [(sender.port, sender.on_wire(frame))],
            self.copies(sender, frame),
            packet_ins=[({"reason": ANNOUNCEMENT, "frame_length": len(frame), **fields}, frame[:PUNT_BYTES])],
        )

    def is_flooded_only(self, sender: Host, frame: bytes) -> None:
        self.floods(sender.port, sender.on_wire(frame), *self.copies(sender, frame))


class GratuitousArpIsTold(_Announcements):
    """Request and reply, padded and not; untagged, and without the tag of its VAP."""

    def runTest(self) -> None:
        for operation in (1, 2):
            for length in (42, 46, 60, 64):
                frame = padded(gratuitous(A, operation), length)
                self.is_told(
                    A,
                    frame,
                    ingress_port=A.port,
                    interface=A.interface,
                    vni=RED,
                    agreement=1,
                    sequence=0,
                )
        self.modify(*B.guard_entries("permit_announcer"))
        self.is_told(B, gratuitous(B), ingress_port=B.port, interface=B.interface, vni=RED)


class UnsolicitedAdvertisementIsTold(_Announcements):
    """To all nodes, with and without its link-layer option."""

    def runTest(self) -> None:
        self.is_told(A, unsolicited(A), interface=A.interface, vni=RED)
        self.is_told(A, unsolicited(A, options=b""), interface=A.interface)


class VrrpIsTold(_Announcements):
    """Both families, the shortest and longer ones: the destination lies in a block or in a tail."""

    def runTest(self) -> None:
        for frame in (vrrp_ipv4(A), padded(vrrp_ipv4(A)), vrrp_ipv4(A, payload=vrrp(2, A.ip, B.ip) + bytes(8))):
            self.is_told(A, frame, interface=A.interface, vni=RED)
        for length in range(34, 52):
            payload = vrrp(3, A.ip)[:8] + bytes(20)
            self.is_told(A, vrrp_ipv4(A, payload=payload[: max(8, length - 34)]))
        for addresses in ((A.ip6,), (A.ip6, B.ip6), tuple(pattern(16, seed) for seed in range(9))):
            self.is_told(A, vrrp_ipv6(A, payload=vrrp(3, *addresses)), interface=A.interface, vni=RED)


class EveryBitOfTheGroupCounts(_Announcements):
    """Another destination, TTL or protocol is no advertisement of VRRP."""

    def runTest(self) -> None:
        for bit in range(32):
            group = (int.from_bytes(VRRP_GROUP, "big") ^ 1 << bit).to_bytes(4, "big")
            self.is_flooded_only(A, vrrp_ipv4(A, dst=group))
        self.is_flooded_only(A, padded(vrrp_ipv4(A, dst=ip4("224.0.0.19"))))
        self.is_flooded_only(A, padded(vrrp_ipv4(A, dst=ip4("224.1.0.18"))))
        for bit in range(128):
            group = (int.from_bytes(VRRP_GROUP_IPV6, "big") ^ 1 << bit).to_bytes(16, "big")
            self.is_flooded_only(A, vrrp_ipv6(A, dst=group))
        for protocol in (0, 17, 113, 240):
            self.is_flooded_only(A, vrrp_ipv4(A, protocol=protocol))
        for protocol in (17, 113, 240):
            self.is_flooded_only(A, vrrp_ipv6(A, next_header=protocol))
        for ttl in (0, 1, 127, 254):
            self.is_flooded_only(A, vrrp_ipv4(A, ttl=ttl))
            self.is_flooded_only(A, vrrp_ipv6(A, hop_limit=ttl))
        self.is_flooded_only(A, vrrp_ipv4(A, options=bytes(4)))


class OtherFramesAreNotTold(_Announcements):
    """Broadcast, probes and questions are what they were; what goes to one host is bridged."""

    def runTest(self) -> None:
        self.is_flooded_only(A, ethernet(BROADCAST, A.mac, ETHERTYPE_IPV4, ipv4(A.ip, b"\xff" * 4, pattern(40))))
        self.is_flooded_only(A, ethernet(ALL_NODES_MAC, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, ALL_NODES, pattern(40))))
        self.is_flooded_only(A, arp_request(A.mac, bytes(4), A.ip))
        self.is_flooded_only(A, solicitation(A, A.ip6, src_ip=bytes(16)))
        self.is_flooded_only(A, solicitation(A, B.ip6, options=b""))
        for operation in (0, 3, 8, 0x0101):
            self.is_flooded_only(A, gratuitous(A, operation))
        self.is_flooded_only(A, ethernet(BROADCAST, A.mac, ETHERTYPE_ARP, arp(2, A.mac, A.ip, bytes(6), B.ip)))
        one_host = (gratuitous(A, dst=B.mac), advertisement(A, B), vrrp_ipv4(A, dst_mac=B.mac))
        for frame in (*one_host, vrrp_ipv6(A, dst_mac=B.mac)):
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))
        question = arp_request(A.mac, A.ip, B.ip)
        self.insert(entry("neighbor", {"vni": RED, "ip": B.ip}, "answer", mac=B.mac))
        reply = ethernet(A.mac, B.mac, ETHERTYPE_ARP, arp(2, B.mac, B.ip, A.mac, A.ip))
        self.passes(A.port, question, (A.port, reply))


class ShortFramesKeepNothing(_Announcements):
    """What of a header is not there is not read out of the frame before; and the type decides what the bytes are."""

    def runTest(self) -> None:
        self.insert(A.guard(IP_V4, 0, "permit_announcer"), A.guard(IP_NONE, 0, "permit_announcer"))
        for _ in range(2):
            whole = vrrp_ipv4(A)
            self.is_told(A, whole)
            # Ends in front of its destination; its first bytes behind the type would complete the group of `whole`.
            self.is_flooded_only(A, whole[:16] + VRRP_GROUP[2:] + bytes(6))
            self.is_told(A, vrrp_ipv6(A))
            for length in (48, 52, 60, 63):
                self.is_flooded_only(A, vrrp_ipv6(A)[:length])
        for frame in (vrrp_ipv4(A), padded(vrrp_ipv4(A)), vrrp_ipv6(A)):
            self.is_flooded_only(A, frame[:12] + ETHERTYPE_LOCAL.to_bytes(2, "big") + frame[14:])


class ToldByService(_Announcements):
    """Bit 0 of the services is what an announcer is; a router or a server alone is none."""

    def runTest(self) -> None:
        for services in (1, 6, 7, 0):
            self.modify(*permit_service(A, services))
            for frame in (gratuitous(A), unsolicited(A), vrrp_ipv4(A), vrrp_ipv6(A)):
                if services & 1:
                    self.is_told(A, frame)
                else:
                    self.is_flooded_only(A, frame)


class OthersAreNotTold(_Announcements):
    """Who shares no address, spoofers, and what comes out of a tunnel: nothing of it is an announcement for the agent.
    Of what spoofers say it has a hint, which is another thing (`test_moves.py`)."""

    def runTest(self) -> None:
        for frame in (gratuitous(B), unsolicited(B), vrrp_ipv4(B), vrrp_ipv6(B)):
            self.is_flooded_only(B, frame)
        for frame in (vrrp_ipv4(B), vrrp_ipv6(B)):
            self.dropped(A.port, frame, Reason.SOURCE_GUARD)
            self.dropped(A.port, frame[:6] + A.mac + frame[12:], Reason.SOURCE_GUARD)
        others = (arp_request(A.mac, B.ip, B.ip), unsolicited(B, options=b""))
        for frame in (gratuitous(B), unsolicited(B), *(one[:6] + A.mac + one[12:] for one in others)):
            hint = ({"reason": REFUSED_ANNOUNCEMENT}, frame)
            self.exchange([(A.port, frame)], drops=Reason.SOURCE_GUARD, packet_ins=[hint])
        far = self.world.far1
        for frame in (gratuitous(far), unsolicited(far), vrrp_ipv4(far), vrrp_ipv6(far), gratuitous(A)):
            outputs = [(A.port, frame), (B.port, B.on_wire(frame))]
            self.passes(256, self.world.peer1.packet(frame).encode(), *outputs)


class NobodyListens(_Announcements):
    """Without an entry for the VN, or without a replication list, nothing is told."""

    def runTest(self) -> None:
        self.delete(self.announcement(RED))
        self.insert(self.announcement(BLUE))
        self.is_flooded_only(A, gratuitous(A))
        self.insert(self.announcement(RED))
        self.is_told(A, gratuitous(A))
        self.delete(self.world.flood_entry(RED, 0, "red"))
        self.dropped(A.port, gratuitous(A), Reason.NO_FLOOD_GROUP)


class AnnouncementsAreMetered(_Announcements):
    """By the meter of what the VAP punts. Over it, and without one, they are flooded all the same, and counted."""

    def not_told(self, frame: bytes) -> None:
        self.exchange([(A.port, frame)], self.copies(A, frame), Reason.ANNOUNCEMENT_NOT_TOLD)

    def runTest(self) -> None:
        self.modify(*B.guard_entries("permit_announcer"))
        self.set_meter(punt_meter(A), rate=0, burst=2)
        for frame in (gratuitous(A), vrrp_ipv4(A)):
            self.is_told(A, frame)
        for frame in (gratuitous(A), unsolicited(A), vrrp_ipv4(A), vrrp_ipv6(A)):
            self.not_told(frame)
        self.dropped(A.port, A.frame_to(self.world.far_blue), Reason.PUNT_RATE)
        self.is_told(B, gratuitous(B))
        self.set_meter(punt_meter(A), rate=1_000_000, burst=1_000_000)
        self.is_told(A, gratuitous(A))
        self.delete(punt_meter(A))
        self.not_told(gratuitous(A))


class AnnouncementsWhileTunnelsAreClosed(_Announcements):
    """They reach the agent, and the VAPs."""

    def runTest(self) -> None:
        self.session.set_default(entry("incarnation", {}, "no_incarnation"))
        frame = gratuitous(A)
        self.exchange(
            [(A.port, frame)],
            [(B.port, B.on_wire(frame))],
            [Reason.TX_INCARNATION, Reason.TX_INCARNATION],
            packet_ins=[({"reason": ANNOUNCEMENT, "agreement": 0}, frame)],
            closed=Reason.TX_INCARNATION,
        )


class ReplicaOfTheAgent(_Announcements):
    """It is one only of an announcement, with its own number, at the agent's port."""

    def runTest(self) -> None:
        frame = gratuitous(A)
        self.set_group(self.told, self.replicas((3, AGENT_INTERFACE)))
        self.exchange([(A.port, frame)], self.copies(A, frame), Reason.TX_PORT_CLASS)
        self.set_group(self.told, self.replicas((256, AGENT_INTERFACE), (CPU_PORT, 0x8000 | 0x7000)))
        drops = [Reason.TUNNEL_UNKNOWN, Reason.TUNNEL_UNKNOWN]
        self.exchange([(A.port, frame)], self.copies(A, frame), drops)
        self.set_group(self.told, self.replicas((CPU_PORT, 0x7000)))
        self.exchange([(A.port, frame)], self.copies(A, frame), Reason.TX_PORT_CLASS)
        self.set_group(self.world.groups["red"], self.replicas())
        frame = ethernet(BROADCAST, A.mac, ETHERTYPE_IPV4, ipv4(A.ip, b"\xff" * 4, pattern(40)))
        self.exchange([(A.port, frame)], self.copies(A, frame), Reason.TUNNEL_UNKNOWN)
