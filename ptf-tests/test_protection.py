# SPDX-License-Identifier: Apache-2.0
"""Into a tunnel: SA, sequence number, encapsulation. There is no unprotected way out."""

from __future__ import annotations

import random
import threading
from collections import Counter

from harness.base import IN_FLIGHT, NveTest
from harness.batch import Batch
from harness.schema import entry
from harness.session import FORWARD
from harness.world import BLUE, IP_NONE, LEVEL_CONFIDENTIALITY, RED, A, B, C, derived, to_tunnel
from nvo3ref.flow import FIRST_PORT, source_port
from nvo3ref.frames import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    SCTP,
    TCP,
    UDP,
    ethernet,
    ip4,
    ip4_frame,
    ipv4,
    ipv6,
    mac,
    pattern,
)
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LEVELS
from nvo3ref.tunnel import OVERHEAD_IPV4, SUITE_ASCON_AEAD128


class _Sends(NveTest):
    def sends(self) -> None:
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))

    def refuses(self, reason: Reason, closed: Reason | None = None, number_used: bool = False) -> None:
        """number_used: the refusal comes after the SA was taken, and a number with it."""
        self.dropped(A.port, A.frame_to(self.world.far1), reason, closed)
        self.world.peer1.tx_sequence += number_used


class NoTunnelRoute(_Sends):
    """A tunnel without a way to its peer."""

    def runTest(self) -> None:
        self.delete(self.world.peer1.route())
        self.refuses(Reason.NO_TUNNEL_ROUTE)
        self.insert(self.world.peer1.route())
        self.delete(self.world.peer1.member())
        self.refuses(Reason.NO_UNDERLAY_MEMBER)
        self.insert(self.world.peer1.member())
        self.sends()


class TunnelUnknown(_Sends):
    """A tunnel that does not exist, or not on the port that its route names."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.delete(peer.tunnel())
        self.refuses(Reason.TUNNEL_UNKNOWN)
        self.insert(peer.tunnel())
        self.modify(peer.member(port=257))
        self.refuses(Reason.TUNNEL_UNKNOWN)
        self.modify(peer.member())
        self.sends()


class NoAdjacency(_Sends):
    """A hop that has no addresses at this port: that of the member for a frame from a VAP, that of the tunnel for a
    replica and for what the agent sends. No number is used."""

    def runTest(self) -> None:
        peer, frame = self.world.peer1, A.frame_to(self.world.far1)
        self.modify(peer.member(hop=77))
        self.refuses(Reason.NO_ADJACENCY)
        other = entry("adjacency", {"egress_port": 256, "hop": 77}, "towards", source_mac=mac(77), next_hop_mac=mac(78))
        self.insert(other)
        self.passes(A.port, frame, (256, peer.sent(frame, eth_dst=mac(78), eth_src=mac(77))))
        fields = {"operation": FORWARD, "egress_port": 256, "interface": peer.interface, "vni": RED, "level": 1}
        self.exchange(outputs=[(256, peer.sent(frame))], packet_outs=[(fields, frame)])
        self.delete(peer.adjacency())
        self.exchange(drops=Reason.NO_ADJACENCY, packet_outs=[(fields, frame)])
        self.modify(peer.member(hop=0), peer.tunnel(hop=77))
        self.passes(A.port, frame, (256, peer.sent(frame, eth_dst=mac(78), eth_src=mac(77))))


class RerouteToAnotherPort(_Sends):
    """The same tunnel over another port: other outer addresses, same key, the numbers go on."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.sends()
        moved = peer.adjacency(port=257, source_mac=b"\2\0\0\0\x57\1", next_hop_mac=b"\2\0\0\0\x57\2")
        self.insert(peer.tunnel(port=257), moved)
        self.modify(peer.member(port=257))
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (257, peer.sent(frame, eth_dst=b"\2\0\0\0\x57\2", eth_src=b"\2\0\0\0\x57\1")))


class TunnelMtu(_Sends):
    """An outer packet as large as the underlay carries passes, one byte more does not, and uses up no number."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for mtu in (OVERHEAD_IPV4 + 60, 1280, 1500):
            self.modify(peer.tunnel(underlay_mtu=mtu))
            frame = A.frame_to(self.world.far1, mtu - OVERHEAD_IPV4)
            self.passes(A.port, frame, (256, peer.sent(frame)))
            for more in (1, 2, 50):
                self.dropped(A.port, A.frame_to(self.world.far1, mtu - OVERHEAD_IPV4 + more), Reason.TUNNEL_MTU)
            self.passes(A.port, frame, (256, peer.sent(frame)))
        self.modify(peer.tunnel(underlay_mtu=0))
        self.dropped(A.port, frame, Reason.TUNNEL_MTU)


class NoAssociationNoPacket(_Sends):
    """Without an SA, or with one of another level only, nothing leaves: no fallback, no number used."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.delete(peer.sa_tx())
        for _ in range(3):
            self.refuses(Reason.TX_NO_SA)
        for level in (0, 2, 255):
            self.insert(peer.sa_tx(level=level))
            self.refuses(Reason.TX_NO_SA)
        self.insert(peer.sa_tx())
        self.sends()


class LevelOfTheNetwork(_Sends):
    """A VN that demands a higher level never uses the SA of a lower one, nor a low SA under its own level."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.modify(A.vap(level=LEVEL_CONFIDENTIALITY))
        self.refuses(Reason.TX_NO_SA)
        self.insert(peer.sa_tx(LEVEL_CONFIDENTIALITY))
        self.refuses(Reason.TX_SUITE_TOO_WEAK, number_used=True)
        self.modify(peer.sa_tx(LEVEL_CONFIDENTIALITY, LEVEL_CONFIDENTIALITY))
        self.refuses(Reason.TX_SA_LEVEL, number_used=True)  # no entry makes confidentiality of integrity
        self.modify(peer.sa_tx(LEVEL_CONFIDENTIALITY, LEVEL_CONFIDENTIALITY, suite=SUITE_ASCON_AEAD128))
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, peer.sent(frame, suite=SUITE_ASCON_AEAD128)))
        self.modify(A.vap())
        self.sends()


class LevelOfTheSuiteWhenSending(_Sends):
    """An SA that claims more than its suite gives sends nothing."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for level in (LEVELS[self.suite] + 1, 3, 255):
            self.modify(peer.sa_tx(sa_level=level))
            self.refuses(Reason.TX_SA_LEVEL, number_used=True)
        self.modify(peer.sa_tx())
        self.sends()


class SuiteUnsupported(_Sends):
    """An SA of a suite that the program does not have sends nothing."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for suite in (3, 4, 255):
            self.modify(peer.sa_tx(suite=suite))
            self.refuses(Reason.TX_SUITE_UNSUPPORTED, number_used=True)
        self.modify(peer.sa_tx(sa_level=0, suite=0))
        self.refuses(Reason.TX_SUITE_TOO_WEAK, number_used=True)
        self.modify(peer.sa_tx())
        self.sends()


class AssociationOfAnotherIncarnation(_Sends):
    """A key that was derived for another incarnation of this switch is never used for sending."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for value in (derived("other"), bytes(16)):
            self.modify(peer.sa_tx(incarnation=value))
            self.refuses(Reason.TX_SA_INCARNATION, number_used=True)
        self.modify(peer.sa_tx())
        self.sends()
        self.session.set_incarnation(derived("next incarnation"))
        self.refuses(Reason.TX_SA_INCARNATION, number_used=True)


class IncarnationMissing(_Sends):
    """Entry without register, register without entry."""

    def runTest(self) -> None:
        for value in (0, derived("other")):
            self.session.set_default(entry("incarnation", {}, "set_incarnation", incarnation=value))
            self.refuses(Reason.TX_INCARNATION, closed=Reason.TX_INCARNATION)
        self.session.set_incarnation(self.world.incarnation)
        self.sends()


class LeaseAbsent(_Sends):
    """Without a lease nothing is sent."""

    def runTest(self) -> None:
        self.session.set_default(entry("lease", {}, "no_lease"))
        self.refuses(Reason.TX_LEASE_ABSENT, closed=Reason.TX_LEASE_ABSENT)
        self.session.set_lease()
        self.sends()


class RekeyingKeepsTheNumbers(_Sends):
    """Another key, SPI and phase: the counter of the tunnel goes on."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for generation in range(1, 6):
            key, spi = derived("generation", generation), generation << 8 | (generation & 1) << 31
            self.modify(peer.sa_tx(key=key, spi=spi))
            for _ in range(3):
                frame = A.frame_to(self.world.far1, 60 + generation)
                self.passes(A.port, frame, (256, peer.sent(frame, key=key, spi=spi)))
        # Taken away and put back, the SA does not begin anew either.
        self.delete(peer.sa_tx())
        self.insert(peer.sa_tx())
        self.sends()
        self.assertEqual(self.session.last_sequence(peer.interface), peer.tx_sequence)


class RekeyingUnderTraffic(_Sends):
    """The SA changes while frames are on their way: each leaves whole under the old or the new key, the numbers in a
    row, the change at one place, none lost."""

    recordable = False

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1, 300)
        old = {"key": peer.tx_key, "spi": peer.tx_spi}
        for generation in range(20):
            new = {"key": derived("rekey", generation), "spi": 1000 + generation}
            writer = threading.Thread(target=self.modify, args=(peer.sa_tx(**new),))
            first = peer.tx_sequence + 1
            writer.start()
            observed = self.session.run([(A.port, frame)] * IN_FLIGHT, [], Counter(), None)
            writer.join()
            self.assertEqual(observed.drops, Counter())
            self.assertEqual(len(observed.outputs), IN_FLIGHT)
            changed = False
            for sequence, output in enumerate(observed.outputs, start=first):
                changed = changed or output == (256, peer.sent(frame, sequence=sequence, **new))
                expected = peer.sent(frame, sequence=sequence, **(new if changed else old))
                self.assertEqual(output, (256, expected))
            peer.tx_sequence += IN_FLIGHT
            old = new


class NumbersOfTunnelsAreApart(_Sends):
    """Bursts into two tunnels, from two VNs: each tunnel counts for itself, without gap or repetition."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        chooser = random.Random(64)
        with Batch(self) as batch:
            for step in range(320):
                if chooser.random() < 0.5:
                    frame = A.frame_to(self.world.far2, 60, seed=step)
                    batch.passes(A.port, frame, (257, peer2.sent(frame)))
                elif chooser.random() < 0.5:
                    frame = C.frame_to(self.world.far_blue, 60, seed=step)
                    batch.passes(C.port, frame, (256, peer1.sent(frame, BLUE)))
                else:
                    frame = A.frame_to(self.world.far1, 60, seed=step)
                    batch.passes(A.port, frame, (256, peer1.sent(frame)))
        self.assertEqual(self.session.last_sequence(peer1.interface), peer1.tx_sequence)
        self.assertEqual(self.session.last_sequence(peer2.interface), peer2.tx_sequence)


class TwoLevelsShareTheNumbers(_Sends):
    """Two SAs of one tunnel, under different keys, count together."""

    def runTest(self) -> None:
        peer = self.world.peer1
        key = derived("level 0")
        self.insert(peer.sa_tx(level=0, key=key, spi=77))
        self.modify(C.vap(level=0))
        for step in range(6):
            frame = C.frame_to(self.world.far_blue, 60 + step)
            self.passes(C.port, frame, (256, peer.sent(frame, BLUE, key=key, spi=77)))
            self.sends()


class ExtremesOfOuterFields(_Sends):
    """Largest and smallest VNI, SPI and addresses."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.insert(to_tunnel(0xFFFFFF, self.world.far1.mac, peer.interface))
        self.modify(A.vap(vni=0xFFFFFF))
        for spi, source, destination in ((0xFFFFFFFF, "255.255.255.254", "0.0.0.1"), (0, "0.0.0.1", "255.255.255.254")):
            self.modify(peer.sa_tx(spi=spi), peer.tunnel(source=ip4(source), destination=ip4(destination)))
            frame = A.frame_to(self.world.far1)
            self.passes(
                A.port,
                frame,
                (256, peer.sent(frame, 0xFFFFFF, spi=spi, source=ip4(source), destination=ip4(destination))),
            )


class SourcePortWithoutKey(_Sends):
    """Constant: nothing of the tenant's flows shows."""

    def runTest(self) -> None:
        for seed in range(4):
            frame = A.frame_to(self.world.far1, 60, seed)
            self.passes(A.port, frame, (256, self.world.peer1.sent(frame, udp_source=FIRST_PORT)))


class SourcePortOfCopies(_Sends):
    """Every copy of a flooded frame belongs to the flow of the frame."""

    def runTest(self) -> None:
        key = derived("entropy of copies")
        self.modify(entry("flow_entropy", {}, "keyed", key=key))
        for peer in self.world.peers:
            peer.entropy = key
        ports = set()
        for number in range(4):
            broadcast = ip4_frame(b"\xff" * 6, A.mac, A.ip, ip4(f"10.0.137.{200 + number}"), 60, number)
            copies = [(peer.port, peer.sent(broadcast)) for peer in self.world.peers]
            self.floods(A.port, broadcast, (B.port, B.on_wire(broadcast)), *copies)
            ports.add(source_port(key, broadcast))
        self.assertGreater(len(ports), 1)


class SourcePortOfFlows(_Sends):
    """A keyed hash of the inner flow: TCP, UDP and SCTP by ports, everything else by addresses; IPv6 by its flow
    label where it has one."""

    def runTest(self) -> None:
        key = derived("entropy")
        self.modify(entry("flow_entropy", {}, "keyed", key=key))
        peer, far = self.world.peer1, self.world.far1
        peer.entropy = key
        self.insert(A.guard(IP_NONE, 0), *peer.members())
        frames = [
            ip4_frame(far.mac, A.mac, A.ip, far.ip, length, seed) for length in (46, 47, 48, 60) for seed in range(3)
        ]
        for protocol in (0, 1, TCP, UDP, 50, SCTP, 255):
            for options, fragment in ((b"", 0x4000), (b"", 0), (b"", 0x2000), (b"", 0x0005), (b"\x94\x04\0\0", 0x4000)):
                packet = ipv4(A.ip, far.ip, pattern(24, protocol), protocol, fragment=fragment, options=options)
                frames.append(ethernet(far.mac, A.mac, ETHERTYPE_IPV4, packet))
        for next_header in (TCP, UDP, 58, 59):
            for label in (0, 1, 2, 4, 8, 16, 32, 0xABCDE, 0xFFFFF):
                packet = ipv6(A.ip6, far.ip6, pattern(40, next_header), next_header, label=label)
                frames.append(ethernet(far.mac, A.mac, ETHERTYPE_IPV6, packet))
        frames += [ethernet(far.mac, A.mac, ETHERTYPE_LOCAL, pattern(length, length)) for length in (2, 30, 46, 100)]
        whole6 = ethernet(far.mac, A.mac, ETHERTYPE_IPV6, ipv6(A.ip6, far.ip6, pattern(40), 59))
        frames += [whole6[:length] for length in (62, 63, 64, 65)]
        with Batch(self) as batch:
            for frame in frames:
                batch.passes(A.port, frame, (256, peer.sent(frame, ecn=0)))
        ports = {source_port(key, frame) for frame in frames}
        self.assertGreater(len(ports), 25)
        self.assertTrue(all(FIRST_PORT <= port <= 65535 for port in ports))


class SourcePortFollowsTheKey(_Sends):
    """Another key, another spreading; the same flow keeps its port."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.insert(*peer.members())
        seen = set()
        for number in range(6):
            peer.entropy = derived("entropy", number)
            self.modify(entry("flow_entropy", {}, "keyed", key=peer.entropy))
            for length in (60, 300):
                frame = A.frame_to(self.world.far1, length)
                self.passes(A.port, frame, (256, peer.sent(frame)))
            seen.add(source_port(peer.entropy, A.frame_to(self.world.far1)))
        self.assertGreater(len(seen), 3)
        self.modify(entry("flow_entropy", {}, "keyed", key=0))
        peer.entropy = bytes(16)
        self.sends()
