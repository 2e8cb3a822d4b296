# SPDX-License-Identifier: Apache-2.0
"""Broadcast, multicast and their replicas: who gets a copy, who does not, and under which key."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import entry
from harness.world import BLUE, IP_NONE, RED, A, B, C, D, to_vap
from nvo3ref.frames import BROADCAST, ETHERTYPE_LOCAL, ethernet, pattern
from nvo3ref.reasons import Reason


def broadcast(source: bytes, length: int = 60, dst: bytes = BROADCAST) -> bytes:
    return ethernet(dst, source, ETHERTYPE_LOCAL, pattern(length - 14, length))


class _Flood(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.insert(*(one.guard(IP_NONE, 0) for one in (A, B, C, D)))


class FloodFromVap(_Flood):
    """Every VAP of the VN but the one it came from, and every tunnel under its own key and counter."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        for destination in (BROADCAST, b"\x01\0\x5e\1\2\3", b"\x33\x33\0\0\0\1"):
            for length in (60, 61, 300, 1514):
                frame = broadcast(A.mac, length, destination)
                self.floods(
                    A.port, frame, (B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))
                )
                frame = broadcast(B.mac, length, destination)
                self.floods(
                    B.port, B.on_wire(frame), (A.port, frame), (256, peer1.sent(frame)), (257, peer2.sent(frame))
                )


class FloodFromTunnel(_Flood):
    """To the VAPs of the VN, to no tunnel."""

    def runTest(self) -> None:
        for length in (60, 61, 1514):
            frame = broadcast(self.world.far1.mac, length)
            self.passes(256, self.world.peer1.packet(frame).encode(), (A.port, frame), (B.port, B.on_wire(frame)))
            frame = broadcast(self.world.far_blue.mac, length)
            self.passes(256, self.world.peer1.packet(frame, BLUE).encode(), (C.port, frame), (D.port, D.on_wire(frame)))


class SplitHorizon(_Flood):
    """Even a replication list that names tunnels sends nothing from a tunnel to a tunnel."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.set_group(self.world.groups["red_in"], self.world.replicas()[self.world.groups["red"]])
        frame = broadcast(self.world.far1.mac)
        self.exchange(
            [(256, peer1.packet(frame).encode())],
            [(A.port, frame), (B.port, B.on_wire(frame))],
            [Reason.SPLIT_HORIZON] * 2,
        )
        self.assertEqual(peer2.tx_sequence, 0)
        frame = broadcast(A.mac)  # the numbers of the tunnels are unused
        self.exchange(
            [(A.port, frame)],
            [(B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))],
        )


class NoFloodGroup(_Flood):
    """A VN without a replication list, and one that has a list for the other direction only."""

    def runTest(self) -> None:
        flood = self.world.flood_entry(RED, 0, "red")
        self.delete(flood)
        frame = broadcast(A.mac)
        self.dropped(A.port, frame, Reason.NO_FLOOD_GROUP)
        inward = broadcast(self.world.far1.mac)
        self.passes(256, self.world.peer1.packet(inward).encode(), (A.port, inward), (B.port, B.on_wire(inward)))
        self.delete(self.world.flood_entry(RED, 1, "red_in"))
        self.dropped(256, self.world.peer1.packet(inward).encode(), Reason.NO_FLOOD_GROUP)
        self.insert(flood)
        peer1, peer2 = self.world.peers
        self.exchange(
            [(A.port, frame)],
            [(B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))],
        )


class FloodWithOneTunnelClosed(_Flood):
    """A tunnel without a key loses its copy; the others do not notice."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.delete(peer1.sa_tx())
        frame = broadcast(A.mac)
        self.exchange(
            [(A.port, frame)],
            [(B.port, B.on_wire(frame)), (257, peer2.sent(frame))],
            Reason.TX_NO_SA,
        )
        self.insert(peer1.sa_tx())
        self.exchange(
            [(A.port, frame)],
            [(B.port, B.on_wire(frame)), (256, peer1.sent(frame)), (257, peer2.sent(frame))],
        )


class SourcePrunedUnicast(_Flood):
    """A frame to a host at the VAP that it came from does not go back, and is counted: it has reached nobody."""

    def runTest(self) -> None:
        self.dropped(A.port, A.frame_to(A), Reason.SOURCE_PRUNED)
        self.insert(*to_vap(RED, self.world.far_blue.mac, port=A.port, interface=A.interface))
        self.dropped(A.port, A.frame_to(self.world.far_blue), Reason.SOURCE_PRUNED)


class HairpinBetweenVapsOfOnePort(_Flood):
    """Two VAPs of one VN on the same port are two interfaces: frames go back out of the port, under the other tag."""

    def runTest(self) -> None:
        self.modify(D.vap(vni=RED))
        self.insert(*to_vap(RED, D.mac, port=2, interface=D.interface))
        frame = B.frame_to(D)
        self.passes(2, B.on_wire(frame), (2, D.on_wire(frame)))
        self.set_group(self.world.groups["red"], [(1, A.interface), (2, B.interface), (2, D.interface)])
        frame = broadcast(B.mac)
        self.exchange([(2, B.on_wire(frame))], [(A.port, frame), (2, D.on_wire(frame))])


class VapEgressUnknown(_Flood):
    """A VAP that does not exist on the port where the frame is to leave: unicast and replica."""

    def runTest(self) -> None:
        out = A.vap_entries()[1]
        self.delete(out)
        self.dropped(B.port, B.on_wire(B.frame_to(A)), Reason.VAP_EGRESS_UNKNOWN)
        self.insert(out)
        self.passes(B.port, B.on_wire(B.frame_to(A)), (A.port, B.frame_to(A)))
        self.modify(*A.bridge_entries(port=C.port))
        self.dropped(B.port, B.on_wire(B.frame_to(A)), Reason.VAP_EGRESS_UNKNOWN)


class InterfaceWithoutNumber(_Flood):
    """Interface 0 is none: as instance of a replica, in a bridge entry, and as replication list 0."""

    def runTest(self) -> None:
        self.modify(*A.bridge_entries(interface=0))
        self.dropped(B.port, B.on_wire(B.frame_to(A)), Reason.TX_INTERFACE)
        self.modify(entry("flood", {"vni": RED, "from_underlay": 0}, "replicate", group=0))
        self.dropped(B.port, B.on_wire(broadcast(B.mac)), Reason.TX_INTERFACE)


class DropPortIsCounted(_Flood):
    """An entry that names the traffic manager's drop port: the drop has a reason."""

    def runTest(self) -> None:
        self.modify(*A.bridge_entries(port=511))
        self.dropped(B.port, B.on_wire(B.frame_to(A)), Reason.EGRESS_PORT)
        self.modify(self.world.peer1.member(port=511))
        self.dropped(A.port, A.frame_to(self.world.far1), Reason.EGRESS_PORT)


class PortClass(_Flood):
    """A VAP on an underlay port or a tunnel on an access port: nothing leaves unprotected, and no ciphertext to
    tenants."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        self.insert(entry("vap_egress", {"port": 256, "interface": A.interface}, "untagged"))
        self.modify(*A.bridge_entries(port=256))
        self.dropped(B.port, B.on_wire(B.frame_to(A)), Reason.TX_PORT_CLASS)
        self.insert(peer1.tunnel(port=4), peer1.adjacency(port=4))
        self.modify(peer1.member(port=4))
        self.dropped(A.port, A.frame_to(self.world.far1), Reason.TX_PORT_CLASS)
        self.set_group(self.world.groups["red"], [(256, A.interface), (4, peer1.interface), (257, peer2.interface)])
        frame = broadcast(B.mac)
        self.exchange([(B.port, B.on_wire(frame))], [(257, peer2.sent(frame))], [Reason.TX_PORT_CLASS] * 2)


class ManyReplicas(_Flood):
    """Thirty VAPs of one VN on one port, each with its own copy."""

    def runTest(self) -> None:
        many = [(300 + vlan, vlan) for vlan in range(100, 130)]
        self.insert(
            *(entry("vap_egress", {"port": 4, "interface": interface}, "tagged", vlan=vlan) for interface, vlan in many)
        )
        self.set_group(self.world.groups["red"], [(4, interface) for interface, _ in many])
        frame = broadcast(A.mac, 1514)
        self.passes(
            A.port, frame, *((4, frame[:12] + b"\x81\0" + vlan.to_bytes(2, "big") + frame[12:]) for _, vlan in many)
        )
