# SPDX-License-Identifier: Apache-2.0
"""ARP suppression: requests are answered from the neighbor table, in place, and never leave the switch."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import UNKNOWN_NEIGHBOR
from harness.world import BLUE, IP_ARP, RED, A, B, C, Host
from nvo3ref.frames import BROADCAST, arp, arp_request, ethernet, pattern
from nvo3ref.reasons import Reason


def neighbor(vni: int, ip: bytes, mac: bytes) -> Entry:
    return entry("neighbor", {"vni": vni, "ip": ip}, "answer", mac=mac)


def answer(asker: Host, target_ip: bytes, target_mac: bytes, padding: bytes = b"") -> bytes:
    return ethernet(asker.mac, target_mac, 0x0806, arp(2, target_mac, target_ip, asker.mac, asker.ip)) + padding


class AnswerEveryLength(NveTest):
    """Unpadded requests of 42 bytes, padded ones of every length: the padding comes back as it was."""

    def runTest(self) -> None:
        target = self.world.far1
        self.insert(neighbor(RED, target.ip, target.mac))
        for length in (*range(42, 80), 100, 128, 500, 1514):
            padding = pattern(length - 42, length)
            request = arp_request(A.mac, A.ip, target.ip) + padding
            self.passes(A.port, request, (A.port, answer(A, target.ip, target.mac, padding)))


class AnswerUnderTheTagOfTheVap(NveTest):
    """A tagged VAP gets its answer tagged, priority dropped."""

    def runTest(self) -> None:
        self.insert(neighbor(RED, A.ip, A.mac))
        request = arp_request(B.mac, B.ip, A.ip)
        for length in (42, 60):
            padding = bytes(length - 42)
            self.passes(B.port, B.on_wire(request + padding), (B.port, B.on_wire(answer(B, A.ip, A.mac, padding))))


class UnicastRequestReachesItsTarget(NveTest):
    """A poll whether a known neighbor is still there (RFC 1122 2.3.2.1) is for the neighbor to answer, behind a VAP or
    behind a peer, whatever the table says."""

    def runTest(self) -> None:
        far, peer = self.world.far1, self.world.peer1
        self.insert(neighbor(RED, B.ip, C.mac), neighbor(RED, far.ip, C.mac))
        for padding in (b"", bytes(18)):
            poll = arp_request(A.mac, A.ip, B.ip, dst=B.mac) + padding
            self.passes(A.port, poll, (B.port, B.on_wire(poll)))
            poll = arp_request(A.mac, A.ip, far.ip, dst=far.mac) + padding
            self.passes(A.port, poll, (256, peer.sent(poll)))
        self.dropped(A.port, arp_request(A.mac, B.ip, B.ip, dst=B.mac), Reason.SOURCE_GUARD)


class AnswerOfTheOwnNetwork(NveTest):
    """The same address in two VNs has two owners."""

    def runTest(self) -> None:
        shared = self.world.far1.ip
        self.insert(neighbor(RED, shared, B.mac), neighbor(BLUE, shared, C.mac))
        self.passes(A.port, arp_request(A.mac, A.ip, shared), (A.port, answer(A, shared, B.mac)))
        self.passes(C.port, arp_request(C.mac, C.ip, shared), (C.port, answer(C, shared, C.mac)))


class UnknownNeighborIsPunted(NveTest):
    """An unknown target goes to the agent, whole, and to nobody else; once known it is answered."""

    def runTest(self) -> None:
        request = arp_request(A.mac, A.ip, self.world.far1.ip)
        self.dropped(A.port, request, Reason.PUNT_FORBIDDEN)
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        self.punted(
            A.port,
            request,
            request,
            reason=UNKNOWN_NEIGHBOR,
            ingress_port=A.port,
            interface=A.interface,
            vni=RED,
            frame_length=42,
            agreement=1,
            sequence=0,
        )
        self.insert(neighbor(RED, self.world.far1.ip, self.world.far1.mac))
        self.passes(A.port, request, (A.port, answer(A, self.world.far1.ip, self.world.far1.mac)))


class QuestionsAreNeitherBridgedNorFlooded(NveTest):
    """An answer needs no entry for who asked, and a punt no replication list: neither goes any other way."""

    def runTest(self) -> None:
        target = self.world.far1
        self.insert(
            neighbor(RED, target.ip, target.mac), entry("punt_meter", {"interface": A.interface}, "police_punt")
        )
        self.delete(*A.bridge_entries(), self.world.flood_entry(RED, 0, "red"))
        self.passes(A.port, arp_request(A.mac, A.ip, target.ip), (A.port, answer(A, target.ip, target.mac)))
        question = arp_request(A.mac, A.ip, self.world.far2.ip)
        self.punted(A.port, question, question, reason=UNKNOWN_NEIGHBOR)


class SpoofedRequestIsNotAnswered(NveTest):
    """The source guard comes first: nobody asks in another's name."""

    def runTest(self) -> None:
        self.insert(neighbor(RED, self.world.far1.ip, self.world.far1.mac))
        self.dropped(A.port, arp_request(A.mac, B.ip, self.world.far1.ip), Reason.SOURCE_GUARD)
        self.dropped(A.port, arp_request(B.mac, B.ip, self.world.far1.ip), Reason.SOURCE_GUARD)


class GratuitousArpIsFlooded(NveTest):
    """Sender and target address equal: an announcement, which is no question."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.insert(neighbor(RED, A.ip, B.mac))
        frame = arp_request(A.mac, A.ip, A.ip)
        self.floods(A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame)))


class ProbeForDuplicates(NveTest):
    """A probe (sender address 0, RFC 5227) speaks for the address it asks about: guarded as that, and flooded, not
    answered."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.insert(neighbor(RED, A.ip, B.mac), neighbor(RED, B.ip, B.mac))
        probe = arp_request(A.mac, bytes(4), A.ip)
        for frame in (probe, probe + bytes(18)):
            self.floods(A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame)))
        self.dropped(A.port, arp_request(A.mac, bytes(4), B.ip), Reason.SOURCE_GUARD)
        self.insert(A.guard(IP_ARP, 0))
        self.dropped(A.port, arp_request(A.mac, bytes(4), B.ip), Reason.SOURCE_GUARD)


class RepliesAreBridged(NveTest):
    """Replies are no questions; other operations neither."""

    def runTest(self) -> None:
        self.insert(neighbor(RED, B.ip, C.mac))
        for operation in (0, 2, 3, 8, 0x0101):
            frame = ethernet(B.mac, A.mac, 0x0806, arp(operation, A.mac, A.ip, B.mac, B.ip))
            self.passes(A.port, frame, (B.port, B.on_wire(frame)))


class RequestsFromTunnelsAreFlooded(NveTest):
    """Suppression is the work of the switch where the asker is; a question that comes out of a tunnel reaches the
    VAPs."""

    def runTest(self) -> None:
        far = self.world.far1
        self.insert(neighbor(RED, B.ip, C.mac))
        frame = ethernet(BROADCAST, far.mac, 0x0806, arp(1, far.mac, far.ip, bytes(6), B.ip))
        self.passes(256, self.world.peer1.packet(frame).encode(), (A.port, frame), (B.port, B.on_wire(frame)))
