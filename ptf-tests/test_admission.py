# SPDX-License-Identifier: Apache-2.0
"""Who may send here, and under which key: everything that is decided before the cryptography, and what comes right
after it."""

from __future__ import annotations

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import entry
from harness.session import SET_INCARNATION
from harness.world import (
    BLUE,
    KIND_CONTROL,
    KIND_GROUP,
    KIND_LINK,
    KIND_LINK_GROUP,
    LEVEL_CONFIDENTIALITY,
    LOCAL,
    PEERS,
    RED,
    A,
    B,
    C,
    Peer,
    derived,
    permit,
    to_vap,
)
from nvo3ref.frames import ETHERTYPE_CTAG, ETHERTYPE_LOCAL, ETHERTYPE_STAG, ethernet, ip4, pattern, tagged
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LEVELS
from nvo3ref.tunnel import SUITE_ASCON_AEAD128, TunnelPacket


class _Admission(NveTest):
    """One peer, one frame."""

    def good(self, peer: Peer | None = None, **changes: object) -> TunnelPacket:
        return (peer or self.world.peer1).packet(self.world.far1.frame_to(B), **changes)

    def accepted(self, packet: TunnelPacket | None = None, port: int = 256) -> None:
        packet = packet or self.good()
        self.passes(port, packet.encode(), (B.port, B.on_wire(packet.inner)))

    def refused(self, packet: TunnelPacket, reason: Reason, closed: Reason | None = None) -> None:
        self.dropped(256, packet.encode(), reason, closed)


class UnauthorizedNve(_Admission):
    """Wrong source, wrong destination, both swapped, and a peer whose authorization is withdrawn."""

    def runTest(self) -> None:
        good = self.good()
        strange = ip4("192.0.2.77")
        self.refused(good.but(source=strange), Reason.UNAUTHORIZED_NVE)
        self.refused(good.but(destination=strange), Reason.UNAUTHORIZED_NVE)
        self.refused(good.but(source=good.destination, destination=good.source), Reason.UNAUTHORIZED_NVE)
        self.refused(good.but(source=LOCAL), Reason.UNAUTHORIZED_NVE)
        for address in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"):  # noqa: S104 - a source, not a socket
            self.refused(good.but(source=ip4(address)), Reason.UNAUTHORIZED_NVE)
        self.delete(self.world.peer1.permit())
        self.refused(good, Reason.UNAUTHORIZED_NVE)
        self.insert(self.world.peer1.permit())
        self.accepted(good)


class UnauthorizedBeforeLease(_Admission):
    """The packet filter comes first: strangers learn nothing of the lease, and peers fail for the right reason."""

    def runTest(self) -> None:
        self.session.set_default(entry("lease", {}, "no_lease"))
        good = self.good()
        self.refused(good.but(source=ip4("192.0.2.77")), Reason.UNAUTHORIZED_NVE, closed=Reason.TX_LEASE_ABSENT)
        self.refused(good, Reason.LEASE_ABSENT, closed=Reason.TX_LEASE_ABSENT)


class LeaseAbsent(_Admission):
    """Without a lease no tunnel carries anything in, whatever its key."""

    def runTest(self) -> None:
        good = self.good()
        self.session.set_default(entry("lease", {}, "no_lease"))
        self.refused(good, Reason.LEASE_ABSENT, closed=Reason.TX_LEASE_ABSENT)
        self.session.set_lease()
        self.accepted(good)


class NoAssociation(_Admission):
    """An SPI of nobody, of another pair, with the other phase; and the right one before and after its time."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        good = self.good()
        for spi in (0, 1, peer.rx_spi ^ 1, peer.rx_spi ^ 0x80000000, other.rx_spi, 0xFFFFFFFF):
            self.refused(good.but(spi=spi), Reason.NO_SA)
        self.delete(peer.sa_rx())
        self.refused(good, Reason.NO_SA)
        self.insert(peer.sa_rx())
        self.accepted(good)


class KeysOfOneTunnelOpenNoOther(_Admission):
    """A packet that is redirected or re-sourced meets no key, or another key."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        good = self.good()
        self.refused(good.but(source=other.address), Reason.NO_SA)
        self.refused(good.but(source=other.address, spi=other.rx_spi), Reason.BAD_ICV)
        self.refused(good.but(key=other.rx_key), Reason.BAD_ICV)
        self.refused(good.but(key=peer.tx_key), Reason.BAD_ICV)
        elsewhere = peer.local[:-1] + b"\x09"
        self.insert(permit(peer.address, elsewhere, peer=self.session.fresh("peer", PEERS), tag=peer.tag))
        self.refused(good.but(destination=elsewhere), Reason.NO_SA)
        self.accepted(good)


class ReflectedPacket(_Admission):
    """What this switch has sent comes back to it, as it is and with addresses swapped."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1)
        sent = peer.sent(frame)
        self.passes(A.port, frame, (256, sent))
        self.dropped(256, sent, Reason.UNDERLAY_MAC)
        reflected = peer.packet(frame, sequence=peer.tx_sequence, key=peer.tx_key, spi=peer.tx_spi)
        reflected = reflected.but(source=LOCAL, destination=peer.address)
        self.refused(reflected, Reason.UNAUTHORIZED_NVE)
        self.refused(reflected.but(source=peer.address, destination=LOCAL), Reason.NO_SA)
        self.refused(reflected.but(source=peer.address, destination=LOCAL, spi=peer.rx_spi), Reason.BAD_ICV)


class SuiteMismatch(_Admission):
    """The suite on the wire is the one of the SA, no other."""

    def runTest(self) -> None:
        good = self.good()
        for suite in (0, SUITE_ASCON_AEAD128, 3, 0x81, 255):
            self.refused(good.but(suite=suite), Reason.SUITE_MISMATCH)
        self.accepted(good)


class SuiteUnsupported(_Admission):
    """An SA of a suite that the program does not have lets nothing in, not even what agrees with it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        good = self.good()
        for suite in (0, 3, 4, 255):
            self.modify(peer.sa_rx(suite=suite))
            self.refused(good.but(suite=suite), Reason.SUITE_UNSUPPORTED)
            self.refused(good, Reason.SUITE_MISMATCH)
        self.modify(peer.sa_rx())
        self.accepted(good)


class LevelOfTheSuite(_Admission):
    """An SA that claims more than its suite gives lets nothing in: no entry makes confidentiality of integrity, or of
    confidentiality what there is not."""

    def runTest(self) -> None:
        peer = self.world.peer1
        good = self.good()
        for level in (LEVELS[self.suite] + 1, 3, 255):
            self.modify(peer.sa_rx(level=level))
            self.refused(good, Reason.SA_LEVEL)
        self.modify(peer.sa_rx())
        self.accepted(good)


class FullCoverage(_Admission):
    """An SA of full coverage takes nothing less, and nothing more, though the MAC over it be right."""

    def runTest(self) -> None:
        good = self.good()
        for coverage in (0, 1, 15, 16, 32, 48, 59, 61, 64, 0xFFF0, 0xFFFF):
            self.refused(good.but(coverage=coverage), Reason.COVERAGE)
        self.accepted(good)


class PartialCoverage(_Admission):
    """A smaller minimum: multiples of 16 from there on, or the whole frame. What is not covered may change on the
    way."""

    def runTest(self) -> None:
        self.modify(self.world.peer1.sa_rx(min_coverage=32))
        inner = self.world.far1.frame_to(B, 100)
        for coverage in (32, 48, 64, 80, 96, 100):
            self.accepted(self.world.peer1.packet(inner, coverage=coverage))
        for coverage in (0, 1, 15, 16, 31, 33, 47, 99, 101, 112, 0xFFF0, 0xFFFF):
            self.refused(self.world.peer1.packet(inner, coverage=coverage), Reason.COVERAGE)
        covered = self.world.peer1.packet(inner, coverage=64)
        option = covered.option()
        self.accepted(covered.but(inner=inner[:64] + pattern(36), icv=option[20:]))
        for changed in (inner[:63] + pattern(37, 3), pattern(16) + inner[16:]):
            self.refused(
                self.world.peer1.packet(inner, coverage=64).but(inner=changed, icv=option[20:]), Reason.BAD_ICV
            )
        # The inner length is authenticated all the same.
        longer = self.world.peer1.packet(inner, coverage=64)
        self.refused(longer.but(inner=inner + pattern(16), icv=longer.option()[20:]), Reason.BAD_ICV)


class PartialCoverageWithoutMinimum(_Admission):
    """Even a minimum of nothing covers the addresses and the type."""

    def runTest(self) -> None:
        self.modify(self.world.peer1.sa_rx(min_coverage=0))
        inner = self.world.far1.frame_to(B, 100)
        for coverage in range(16):
            self.refused(self.world.peer1.packet(inner, coverage=coverage), Reason.COVERAGE)
        self.accepted(self.world.peer1.packet(inner, coverage=16))


class MinimumAboveFrame(_Admission):
    """A short frame under a minimum that it cannot reach is covered whole, or refused."""

    def runTest(self) -> None:
        self.modify(self.world.peer1.sa_rx(min_coverage=128))
        inner = self.world.far1.frame_to(B, 100)
        self.refused(self.world.peer1.packet(inner, coverage=96), Reason.COVERAGE)
        self.accepted(self.world.peer1.packet(inner))


class PeerOfTheSa(_Admission):
    """Two pairs of addresses under one peer number: the key of one verifies what is re-sourced as the other, and the
    tag of the pair refuses it, before window and cryptography."""

    def runTest(self) -> None:
        peer = self.world.peer1
        good = self.good()
        twin = peer.address[:-1] + b"\x4e"
        self.insert(permit(twin, peer.local, peer=peer.number, tag=derived("twin")[:4]))
        self.refused(good.but(source=twin), Reason.SA_PEER)
        self.refused(good.but(source=twin, icv=bytes(16)), Reason.SA_PEER)
        self.accepted(good)
        self.refused(good.but(source=twin), Reason.SA_PEER)
        for bit in range(32):
            wrong = int.from_bytes(peer.tag, "big") ^ 1 << bit
            self.modify(peer.sa_rx(tag=wrong))
            self.refused(self.good(), Reason.SA_PEER)
        self.modify(peer.sa_rx())
        self.accepted()


class PeerThatThereIsNot(_Admission):
    """Peer numbers end where the register of penalties does: a higher one would be in penalty with another peer."""

    def runTest(self) -> None:
        peer = self.world.peer1
        twin, number = ip4("192.0.2.79"), 0x8000 | peer.number
        sa = entry("sa_rx", {"peer": number, "spi": peer.rx_spi}, "accept", **dict(peer.sa_rx().params))
        self.insert(permit(twin, LOCAL, peer=number, tag=peer.tag), sa)
        self.set_meter(peer.meter(), rate=0, burst=1)
        self.set_meter(peer.floor(), rate=0, burst=1)
        for packet in (self.good(), self.good().but(icv=bytes(16))):
            self.refused(packet.but(source=twin), Reason.SA_PEER)
        for _ in range(3):
            self.accepted()


class KindOfTheSa(_Admission):
    """An SA for other outer headers opens no tunnel; kinds without behaviour open nothing."""

    def runTest(self) -> None:
        peer = self.world.peer1
        good = self.good()
        for kind in (0, KIND_GROUP, KIND_LINK, KIND_LINK_GROUP, KIND_CONTROL, 6, 255):
            self.modify(peer.sa_rx(kind=kind))
            self.refused(good, Reason.SA_KIND)
        for pair in (1 << 12 | peer.pair, 1 << 13 | peer.pair, (1 << 14) - 1):
            self.modify(peer.sa_rx(pair=pair))  # of a half that this kind has no rings in
            self.refused(good, Reason.SA_KIND)
        self.modify(peer.sa_rx())
        self.accepted(good)


class _Penalty(_Admission):
    def forged(self) -> TunnelPacket:
        """What whoever has copied one packet can make: a known SPI, a sequence that is still to come."""
        return self.good().but(icv=bytes(16))


class PeerMeterMissing(_Penalty):
    """Without a meter the first failure begins a penalty; without a floor nothing is verified in one. Before that,
    nothing asks for either."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.delete(peer.meter(), peer.floor())
        self.accepted()
        self.refused(self.forged(), Reason.BAD_ICV)
        good = self.good()
        self.refused(good, Reason.PEER_METER_MISSING)
        self.refused(self.forged(), Reason.PEER_METER_MISSING)
        self.insert(peer.floor())
        self.accepted(good)
        self.refused(self.forged(), Reason.BAD_ICV)


class PeerRate(_Penalty):
    """A peer in penalty is held to its floor, by whatever port its packets come in; the other one is not. What the
    floor refused has moved no window."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        self.set_meter(peer.meter(), rate=0, burst=2)
        self.set_meter(peer.floor(), rate=0, burst=2)
        for _ in range(2):
            self.refused(self.forged(), Reason.BAD_ICV)
            self.accepted()
        self.refused(self.forged(), Reason.BAD_ICV)
        self.accepted()
        self.refused(self.forged(), Reason.BAD_ICV)
        third = self.good()
        self.refused(third, Reason.PEER_RATE)
        elsewhere = third.but(eth_dst=other.packet(b"").eth_dst)
        self.dropped(257, elsewhere.encode(), Reason.PEER_RATE)
        self.accepted(self.good(other, eth_dst=other.packet(b"").eth_dst), port=257)
        self.set_meter(peer.floor(), rate=1_000_000, burst=1_000_000)
        self.accepted(third)


class OnlyFailuresAreCharged(_Penalty):
    """Neither what verifies nor what is refused before cryptography drains the meter of a peer."""

    def runTest(self) -> None:
        peer = self.world.peer1
        seen = self.good()
        self.accepted(seen)
        self.set_meter(peer.meter(), rate=0, burst=1)
        self.set_meter(peer.floor(), rate=0, burst=1)
        for _ in range(3):
            self.refused(seen, Reason.REPLAYED)
            self.refused(seen.but(spi=9), Reason.NO_SA)
            self.refused(seen.but(sequence=0), Reason.REPLAY_TOO_LATE)
            self.refused(seen.but(coverage=16), Reason.COVERAGE)
            self.accepted()
        # One failure is free, the second begins a penalty, in which one more packet is verified.
        for _ in range(2):
            self.refused(self.forged(), Reason.BAD_ICV)
        self.accepted()
        self.refused(self.good(), Reason.PEER_RATE)


class FloodOffThePath(_Penalty):
    """Somebody has copied one packet and sends it with sequences to come, ten for each honest one. As long as the floor
    lets both be verified, nothing honest is lost; beyond it, what is left of the floor is shared in order of arrival.
    The other peer never notices."""

    ATTACK = 10

    def flood(self, honest: int, verified: int) -> int:
        """Each honest packet behind ten forged ones, and then one of the other peer, while the floor has room for
        `verified`; returns how many of the honest passed."""
        batch = Batch(self)
        other = self.world.peer2
        passed = 0
        for number in range(honest * (self.ATTACK + 1)):
            is_honest = number % (self.ATTACK + 1) == self.ATTACK
            packet = self.good() if is_honest else self.forged()
            if number >= verified:
                batch.dropped(256, packet.encode(), Reason.PEER_RATE)
            elif is_honest:
                batch.passes(256, packet.encode(), (B.port, B.on_wire(packet.inner)))
                passed += 1
            else:
                batch.dropped(256, packet.encode(), Reason.BAD_ICV)
            if is_honest:
                elsewhere = self.good(other, eth_dst=other.packet(b"").eth_dst)
                batch.passes(257, elsewhere.encode(), (B.port, B.on_wire(elsewhere.inner)))
        batch.send()
        return passed

    def runTest(self) -> None:
        peer = self.world.peer1
        self.set_meter(peer.meter(), rate=0, burst=1)
        self.refused(self.forged(), Reason.BAD_ICV)
        # Sixteen times what is honest is what an agent gives, once it has measured that.
        self.set_meter(peer.floor(), rate=0, burst=16 * 100)
        self.assertEqual(self.flood(100, verified=100 * (self.ATTACK + 1)), 100)
        # A few alone: without a failure, the penalty would end.
        packets = 10 * (self.ATTACK + 1)
        self.set_meter(peer.floor(), rate=0, burst=packets // 2)
        self.assertEqual(self.flood(10, verified=packets // 2), 10 // 2)


class BadIcv(_Admission):
    """A zero ICV, that of another packet, that of another key. The packet that it was made of still passes
    afterwards."""

    def runTest(self) -> None:
        good = self.good()
        other = self.good(vni=BLUE)
        for icv in (bytes(16), b"\xff" * 16, other.option()[20:], good.option()[20:][::-1]):
            self.refused(good.but(icv=icv), Reason.BAD_ICV)
        self.refused(good.but(key=derived("stolen", "not")), Reason.BAD_ICV)
        self.accepted(good)


class VnUnauthorized(_Admission):
    """A rightly keyed packet for a VN that its sender does not serve (requirement 14)."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        inner = self.world.far_blue.frame_to(C)
        self.passes(256, peer.packet(inner, BLUE).encode(), (C.port, inner))
        foreign = other.packet(inner, BLUE)
        self.dropped(257, foreign.encode(), Reason.VN_UNAUTHORIZED)
        # The packet was genuine: it has used up its number.
        self.dropped(257, foreign.encode(), Reason.REPLAYED)
        for vni in (0, RED - 1, RED ^ 0x800000, 0xFFFFFF):
            self.dropped(257, other.packet(inner, vni).encode(), Reason.VN_UNAUTHORIZED)
        self.insert(other.authorization(BLUE))
        self.passes(257, other.packet(inner, BLUE).encode(), (C.port, inner))


class WrongVniOnTheWire(_Admission):
    """Changing the VNI of another's packet needs its key."""

    def runTest(self) -> None:
        good = self.good()
        self.refused(good.but(vni=BLUE, icv=good.option()[20:]), Reason.BAD_ICV)
        self.accepted(good)


class VnSuite(_Admission):
    """The VN demands a higher level than that of the SA."""

    def runTest(self) -> None:
        peer = self.world.peer1
        self.modify(peer.authorization(RED, level=LEVEL_CONFIDENTIALITY))
        self.refused(self.good(), Reason.VN_SUITE)
        inner = self.world.far_blue.frame_to(C)
        self.passes(256, peer.packet(inner, BLUE).encode(), (C.port, inner))
        self.modify(peer.authorization(RED))
        self.accepted()


class InnerVlan(_Admission):
    """No tag inside a tunnel, of either kind, whatever stands behind it."""

    def runTest(self) -> None:
        inner = self.world.far1.frame_to(B)
        for vlan in (0, 1, B.vlan, 4095):
            for tpid in (ETHERTYPE_CTAG, ETHERTYPE_STAG):
                self.refused(self.world.peer1.packet(tagged(inner, vlan, tpid)), Reason.INNER_VLAN)
        short = ethernet(B.mac, self.world.far1.mac, ETHERTYPE_CTAG, b"\0\x0a")
        self.refused(self.world.peer1.packet(short), Reason.INNER_VLAN)
        self.accepted(self.world.peer1.packet(ethernet(B.mac, self.world.far1.mac, ETHERTYPE_LOCAL, pattern(46))))


class IncarnationEntryWrong(_Admission):
    """The entry differs from the register, or is not there; nothing passes until a whole new incarnation is set."""

    def runTest(self) -> None:
        closed = Reason.TX_INCARNATION
        good = self.good()
        for value in (derived("other"), bytes(16), self.world.incarnation[:15] + b"\0"):
            self.session.set_default(entry("incarnation", {}, "set_incarnation", incarnation=value))
            self.refused(good, Reason.INCARNATION, closed)
        self.session.set_default(entry("incarnation", {}, "no_incarnation"))
        self.refused(good, Reason.INCARNATION, closed)
        self.session.set_default(entry("incarnation", {}, "set_incarnation", incarnation=self.world.incarnation))
        self.accepted(good)


class IncarnationRegisterWrong(_Admission):
    """The registers hold another value, or zero under an entry of zero."""

    def runTest(self) -> None:
        good = self.good()
        for value in (derived("other"), bytes(16)):
            self.assertEqual(self.session.ask(SET_INCARNATION, payload=value)["agreement"], 0)
            self.refused(good, Reason.INCARNATION, Reason.TX_INCARNATION)
        self.session.set_default(entry("incarnation", {}, "set_incarnation", incarnation=0))
        self.assertEqual(self.session.ask(SET_INCARNATION, payload=bytes(16))["agreement"], 0)
        self.refused(good, Reason.INCARNATION, Reason.TX_INCARNATION)
        self.session.set_incarnation(self.world.incarnation)
        self.accepted(good)


class IncarnationBeforeAuthorization(_Admission):
    """While the incarnation is wrong, nobody's packet reaches a table of tunnels, malformed ones aside."""

    def runTest(self) -> None:
        self.session.set_default(entry("incarnation", {}, "no_incarnation"))
        good = self.good()
        self.refused(good.but(source=ip4("192.0.2.77")), Reason.INCARNATION, Reason.TX_INCARNATION)
        self.refused(good.but(flags=1), Reason.OPTION_FLAGS, Reason.TX_INCARNATION)
        self.assertEqual(self.direct_counter(self.world.peer1.sa_rx())[0], 0)


class AssociationOfAnotherIncarnation(_Admission):
    """An SA that was derived for another incarnation of this switch."""

    def runTest(self) -> None:
        peer = self.world.peer1
        good = self.good()
        for value in (derived("other"), bytes(16)):
            self.modify(peer.sa_rx(incarnation=value))
            self.refused(good, Reason.SA_INCARNATION)
        self.modify(peer.sa_rx())
        self.accepted(good)
        later = self.good()
        self.session.set_incarnation(derived("next incarnation"))
        self.refused(later, Reason.SA_INCARNATION)


class UnknownDestinationFromTunnel(_Admission):
    """A verified frame to nobody here: dropped, never punted, so that a peer cannot drive the agent."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = self.world.far1.frame_to(C)  # C is of another VN
        self.refused(peer.packet(frame), Reason.UNKNOWN_DESTINATION)
        self.insert(*to_vap(RED, C.mac, port=A.port, interface=A.interface))
        self.passes(256, peer.packet(frame).encode(), (A.port, frame))


class TunnelToTunnel(_Admission):
    """A frame from one peer to a host behind another, or behind itself: unknown, or refused if an entry knows it."""

    def runTest(self) -> None:
        peer = self.world.peer1
        for target, behind in ((self.world.far2, self.world.peer2), (self.world.far1, peer)):
            frame = self.world.far1.frame_to(target)
            self.refused(peer.packet(frame), Reason.UNKNOWN_DESTINATION)
            key = {"vni": RED, "mac": target.mac, "from_underlay": 1}
            self.insert(entry("bridge", key, "to_tunnel", interface=behind.interface))
            self.refused(peer.packet(frame), Reason.TUNNEL_TO_TUNNEL)
