# SPDX-License-Identifier: Apache-2.0
"""Packets with two faults are refused for the first: no stage runs behind a refusal, and none overwrites its reason."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import entry
from harness.session import FORWARD, MISMATCHED_PORTS, UNCONFIGURED_PORTS
from harness.world import IP_NONE, RED, A, B, to_vap
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_LOCAL,
    arp,
    ethernet,
    ip4,
    mac,
    pattern,
    tagged,
)
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import SUITE_ASCON_AEAD128, SUITE_CHASKEY12, TunnelPacket

Fault = Callable[[TunnelPacket], TunnelPacket]

GROUP_SOURCE = b"\x03" + bytes(5)
RESERVED = bytes.fromhex("0180c2000003")
NOBODY = mac(0xDEAD)
USED_SEQUENCE = 1
DROP_PORT = 511


def _set(**changes: object) -> Fault:
    return lambda packet: packet.but(**changes)


def _inner(change: Callable[[bytes], bytes]) -> Fault:
    return lambda packet: packet.but(inner=change(packet.inner))


# In the order in which they are looked for. Those of one header field exclude each other and stand once.
UNDERLAY_FAULTS: tuple[tuple[Reason, Fault], ...] = (
    (Reason.IPV4_OPTIONS, _set(version_ihl=0x46)),
    (Reason.IPV4_FRAGMENT, _set(fragment=0x2000)),
    (Reason.UDP_LENGTH_MISMATCH, _set(udp_length=9)),
    (Reason.GENEVE_OPTIONS_LENGTH, _set(option_words=8)),
    (Reason.UNDERLAY_MAC, _set(eth_dst=NOBODY)),
    (Reason.IPV4_CHECKSUM, _set(ip_checksum=0xDEAD)),
    (Reason.UDP_CHECKSUM_PRESENT, _set(udp_checksum=1)),
    (Reason.GENEVE_VERSION, _set(version=1)),
    (Reason.GENEVE_CONTROL, _set(control=1)),
    (Reason.GENEVE_NOT_CRITICAL, _set(critical=0)),
    (Reason.GENEVE_PROTOCOL, _set(geneve_protocol=0x0800)),
    (Reason.OPTION_UNKNOWN, _set(option_type=0x82)),
    (Reason.OPTION_FLAGS, _set(flags=1)),
    (Reason.UNAUTHORIZED_NVE, _set(source=ip4("192.0.2.77"))),
    (Reason.NO_SA, _set(spi=0x7FFFFFFF)),
    (Reason.SUITE_MISMATCH, _set(suite=SUITE_ASCON_AEAD128)),
    (Reason.COVERAGE, _set(coverage=16)),
    (Reason.REPLAYED, _set(sequence=USED_SEQUENCE)),
    (Reason.BAD_ICV, _set(icv=bytes(16))),
    (Reason.VN_UNAUTHORIZED, _set(vni=RED ^ 0x800000)),
    (Reason.INNER_VLAN, _inner(lambda frame: tagged(frame, 7))),
    (Reason.ECN_NOT_CAPABLE, _set(ecn=3)),
    (Reason.SOURCE_ADDRESS, _inner(lambda frame: frame[:6] + GROUP_SOURCE + frame[12:])),
    (Reason.RESERVED_ADDRESS, _inner(lambda frame: RESERVED + frame[6:])),
    (Reason.UNKNOWN_DESTINATION, _inner(lambda frame: (frame[:6] if frame[0] & 1 else NOBODY) + frame[6:])),
)


class _Ordered(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.peer = self.world.peer1
        used = self.packet()
        self.assertEqual(used.sequence, USED_SEQUENCE)
        self.passes(256, used.encode(), (B.port, B.on_wire(used.inner)))

    def packet(self) -> TunnelPacket:
        return self.peer.packet(self.world.far1.frame_to(B))


class EveryPairOfFaults(_Ordered):
    """In packets from the underlay, each fault together with every later one."""

    def runTest(self) -> None:
        with Batch(self, "two faults") as batch:
            for (reason, first), (_, second) in combinations(UNDERLAY_FAULTS, 2):
                batch.dropped(256, first(second(self.packet())).encode(), reason)


class FaultsBehindEntries(_Ordered):
    """What the SA, the meter and the VN say comes in its place among the faults of packets."""

    def runTest(self) -> None:
        faults = dict(UNDERLAY_FAULTS)
        peer = self.peer

        def tried(reason: Reason, *later: Reason) -> None:
            self.dropped(256, self.packet().encode(), reason)
            for other in later:
                self.dropped(256, faults[other](self.packet()).encode(), reason)

        wrong = {"tag": 0, "kind": 0, "suite": 3}
        self.modify(peer.sa_rx(incarnation=bytes(16), not_after=0, **wrong))
        tried(Reason.SA_INCARNATION, Reason.SUITE_MISMATCH, Reason.COVERAGE, Reason.REPLAYED, Reason.BAD_ICV)
        self.modify(peer.sa_rx(not_after=0, **wrong))
        tried(Reason.SA_EXPIRED, Reason.SUITE_MISMATCH, Reason.COVERAGE, Reason.REPLAYED, Reason.BAD_ICV)
        self.modify(peer.sa_rx(**wrong))
        tried(Reason.SA_PEER, Reason.SUITE_MISMATCH, Reason.COVERAGE, Reason.REPLAYED, Reason.BAD_ICV)
        self.modify(peer.sa_rx(kind=0, suite=3))
        tried(Reason.SA_KIND, Reason.SUITE_MISMATCH, Reason.COVERAGE, Reason.REPLAYED, Reason.BAD_ICV)
        for unfit, reason in (({"suite": 3}, Reason.SUITE_UNSUPPORTED), ({"level": 2}, Reason.SA_LEVEL)):
            self.modify(peer.sa_rx(**unfit))
            for other in (Reason.COVERAGE, Reason.REPLAYED, Reason.BAD_ICV):
                packet = faults[other](self.packet()).but(suite=unfit.get("suite", SUITE_CHASKEY12))
                self.dropped(256, packet.encode(), reason)
        self.modify(peer.sa_rx())
        self.delete(peer.meter())
        self.dropped(256, faults[Reason.BAD_ICV](self.packet()).encode(), Reason.BAD_ICV)  # a penalty begins
        self.delete(peer.floor())
        tried(Reason.PEER_METER_MISSING, Reason.BAD_ICV, Reason.VN_UNAUTHORIZED)
        for earlier in (Reason.NO_SA, Reason.COVERAGE, Reason.REPLAYED):
            self.dropped(256, faults[earlier](self.packet()).encode(), earlier)
        self.insert(peer.meter(), peer.floor())
        self.modify(peer.authorization(RED, level=2))
        tried(Reason.VN_SUITE, Reason.INNER_VLAN, Reason.ECN_NOT_CAPABLE, Reason.SOURCE_ADDRESS)
        self.dropped(256, faults[Reason.BAD_ICV](self.packet()).encode(), Reason.BAD_ICV)


class FaultsOnAccessPorts(NveTest):
    """VAP, second tag, ARP, source guard, group source, reserved destination, unknown destination: in this order."""

    def runTest(self) -> None:
        good = A.frame_to(B)
        strange = good[:6] + NOBODY + good[12:]
        malformed = ethernet(BROADCAST, NOBODY, ETHERTYPE_ARP, arp(1, A.mac, A.ip, bytes(6), B.ip))
        reserved = RESERVED + good[6:]
        unknown = NOBODY + good[6:]
        local = ethernet(RESERVED, GROUP_SOURCE, ETHERTYPE_LOCAL, pattern(46))
        with Batch(self, "two faults") as batch:
            for late in (tagged(good, 1), strange, malformed, reserved, unknown, local):
                batch.dropped(A.port, tagged(late, 4000), Reason.VAP_UNKNOWN)
            for late in (strange, malformed, reserved, unknown, local):
                batch.dropped(B.port, tagged(tagged(late, 1), B.vlan), Reason.SECOND_TAG)
            batch.dropped(A.port, malformed, Reason.MALFORMED_ARP)
            for late in (reserved, unknown, local):
                batch.dropped(A.port, late[:6] + NOBODY + late[12:], Reason.SOURCE_GUARD)
            batch.dropped(A.port, local, Reason.SOURCE_GUARD)
        self.insert(
            entry(
                "source_guard",
                {"interface": A.interface, "mac": GROUP_SOURCE, "ip_kind": IP_NONE, "ip": 0},
                "permit_source",
            )
        )
        self.dropped(A.port, local, Reason.SOURCE_ADDRESS)
        self.dropped(A.port, NOBODY + local[6:], Reason.SOURCE_ADDRESS)
        self.dropped(A.port, reserved, Reason.RESERVED_ADDRESS)
        self.dropped(A.port, unknown, Reason.PUNT_FORBIDDEN)


class FaultsOnTheWayIntoATunnel(NveTest):
    """Lease, tunnel, MTU, next hop, SA, its incarnation, its limit, its level: in this order."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1)
        self.modify(peer.tunnel(underlay_mtu=0), peer.sa_tx(sa_level=0, incarnation=bytes(16), not_after=0, suite=0))
        self.delete(peer.adjacency())
        self.dropped(A.port, frame, Reason.TUNNEL_MTU)
        self.delete(peer.tunnel())
        self.dropped(A.port, frame, Reason.TUNNEL_UNKNOWN)
        self.session.set_default(entry("lease", {}, "no_lease"))
        self.dropped(A.port, frame, Reason.TX_LEASE_ABSENT, closed=Reason.TX_LEASE_ABSENT)
        self.session.set_lease()
        self.insert(peer.tunnel())
        self.dropped(A.port, frame, Reason.NO_ADJACENCY)
        self.insert(peer.adjacency())
        self.dropped(A.port, frame, Reason.TX_SA_INCARNATION)
        self.modify(peer.sa_tx(sa_level=0, not_after=0, suite=0))
        self.dropped(A.port, frame, Reason.TX_SA_EXPIRED)
        self.modify(peer.sa_tx(sa_level=0, suite=0))
        self.dropped(A.port, frame, Reason.TX_SUITE_TOO_WEAK)
        self.modify(peer.sa_tx())
        # Four packets met the SA: each has used up a number, none has left.
        peer.tx_sequence += 3
        self.passes(A.port, frame, (256, peer.sent(frame)))


class DropPortBehindAnotherReason(NveTest):
    """An entry that names the drop port, with a tunnel that is refused anyway: the first reason stays."""

    def runTest(self) -> None:
        peer = self.world.peer1
        odd = mac(0x0DD)
        self.insert(*to_vap(RED, odd, port=DROP_PORT, interface=peer.interface))
        self.delete(peer.route())
        self.dropped(A.port, odd + A.frame_to(B)[6:], Reason.NO_TUNNEL_ROUTE)
        self.dropped(256, peer.packet(odd + self.world.far1.frame_to(B)[6:]).encode(), Reason.TUNNEL_TO_TUNNEL)


class PacketOutFromTheAgentIsNoException(NveTest):
    """A packet-out that names the drop port or no interface is refused like everything else."""

    def runTest(self) -> None:
        frame = self.world.far1.frame_to(B)
        for fields, reason in (
            ({"egress_port": DROP_PORT, "interface": B.interface}, Reason.EGRESS_PORT),
            ({"egress_port": B.port, "interface": 0}, Reason.TX_INTERFACE),
            ({"egress_port": 256, "interface": B.interface}, Reason.TX_PORT_CLASS),
            ({"egress_port": B.port, "interface": self.world.peer1.interface}, Reason.TX_PORT_CLASS),
        ):
            self.exchange(drops=reason, packet_outs=[({"operation": FORWARD} | fields, frame)])


class FaultsOfThePortComeBehindThoseOfTheParser(NveTest):
    """A frame that the parser refuses has no port role either, but is refused for what the parser found."""

    def runTest(self) -> None:
        with Batch(self, "too short, on a port without its role") as batch:
            for port in (*UNCONFIGURED_PORTS, *MISMATCHED_PORTS):
                reason = Reason.TRUNCATED if port >= 256 else Reason.FRAME_TOO_SHORT
                for length in (1, 13):
                    batch.dropped(port, bytes(length), reason)


class PacketOutOf64KiB(NveTest):
    """Its length has more than 16 bits: it is too long, not as long as the rest modulo 2^16."""

    def runTest(self) -> None:
        outlet = {"operation": FORWARD, "egress_port": B.port, "interface": B.interface}
        frame = self.world.far1.frame_to(B)
        self.exchange(outputs=[(B.port, B.on_wire(frame))], packet_outs=[(outlet, frame)])
        for length in (65536, 65536 + len(frame), 65536 + 1500):
            self.exchange(drops=Reason.FRAME_TOO_LONG, packet_outs=[(outlet, frame + bytes(length - len(frame)))])
