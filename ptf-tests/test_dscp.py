# SPDX-License-Identifier: Apache-2.0
"""The DSCP of the outer header (RFC 2983): what an entry says of it, for every kind of frame and every way into a
tunnel; and that the one that arrives never reaches a frame."""

from __future__ import annotations

from harness.base import NveTest, varied
from harness.schema import Entry, entry
from harness.session import FORWARD
from harness.world import IP_NONE, RED, A, B, Host
from nvo3ref.frames import (
    BROADCAST,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_LOCAL,
    arp_request,
    ethernet,
    ip4_frame,
    ipv6,
    pattern,
    tagged,
    udp,
)
from nvo3ref.tunnel import SUITE_ASCON_AEAD128

EF = 46
DSCPS = (0, 1, 2, 4, 8, 16, 32, EF, 63)
"""Each bit alone, none, all, and one that is in use."""
MARKS = (*((dscp, at & 3) for at, dscp in enumerate(DSCPS)), (EF, 0), (EF, 1), (EF, 2), (EF, 3), (0, 3), (63, 1))
"""(DSCP, ECN) of IP packets."""


def pipe(port: int, dscp: int) -> Entry:
    return entry("outer_dscp", {"port": port}, "pipe_dscp", dscp=dscp)


def copy(port: int, otherwise: int) -> Entry:
    return entry("outer_dscp", {"port": port}, "copy_dscp", otherwise=otherwise)


def ip_frames(source: Host, destination: Host, dscp: int, ecn: int) -> tuple[bytes, bytes]:
    """One of either family with these in its header, written down by hand: byte 1 of IPv4, bits 4 to 11 of IPv6."""
    four = ip4_frame(destination.mac, source.mac, source.ip, destination.ip, 60, tos=dscp << 2 | ecn)
    payload = udp(1000, 2000, pattern(18))
    six = ipv6(source.ip6, destination.ip6, payload, traffic_class=dscp << 2 | ecn, label=0xABCDE)
    return four, ethernet(destination.mac, source.mac, ETHERTYPE_IPV6, six)


def other_frames(source: Host, destination: Host) -> tuple[bytes, ...]:
    """What has no DSCP: ARP, and another type with ones where IP would have it."""
    ones = b"\xff" * 46
    return (
        arp_request(source.mac, source.ip, destination.ip, dst=destination.mac),
        ethernet(destination.mac, source.mac, ETHERTYPE_LOCAL, ones),
    )


class _Dscp(NveTest):
    def setUp(self) -> None:
        super().setUp()
        self.insert(A.guard(IP_NONE, 0), B.guard(IP_NONE, 0))

    def goes_out(self, frame: bytes, *, ecn: int, dscp: int) -> None:
        """From A to peer 1, under these in the outer header."""
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame, ecn=ecn, dscp=dscp)))


class DscpUnmarked(_Dscp):
    """Without an entry for the port 0 goes out, whatever the frame has and whatever other ports have."""

    def runTest(self) -> None:
        far = self.world.far1
        frames = [*ip_frames(A, far, 63, 0), *other_frames(A, far)]
        for frame in frames:
            self.goes_out(frame, ecn=0, dscp=0)
        self.insert(pipe(257, EF))
        for frame in frames:
            self.goes_out(frame, ecn=0, dscp=0)
        self.insert(pipe(256, EF))
        self.goes_out(frames[0], ecn=0, dscp=EF)
        self.delete(pipe(256, EF))
        self.goes_out(frames[0], ecn=0, dscp=0)


class DscpPipe(_Dscp):
    """Of every frame the same, none of what the frame has; ECN goes out beside it."""

    def runTest(self) -> None:
        far = self.world.far1
        self.insert(pipe(256, 0))
        for dscp in DSCPS:
            self.modify(pipe(256, dscp))
            for inner, ecn in ((0, 0), (EF, 1), (63, 2), (63 - dscp, 3)):
                for frame in ip_frames(A, far, inner, ecn):
                    self.goes_out(frame, ecn=ecn, dscp=dscp)
            for frame in other_frames(A, far):
                self.goes_out(frame, ecn=0, dscp=dscp)


class DscpCopy(_Dscp):
    """That of the frame, bit by bit; of frames that have none what the entry says. ECN goes out beside it."""

    def runTest(self) -> None:
        far = self.world.far1
        self.insert(copy(256, 0))
        for otherwise in (0, 21, 63):
            self.modify(copy(256, otherwise))
            for dscp, ecn in MARKS:
                for frame in ip_frames(A, far, dscp, ecn):
                    self.goes_out(frame, ecn=ecn, dscp=dscp)
            for frame in other_frames(A, far):
                self.goes_out(frame, ecn=0, dscp=otherwise)


class DscpOfTaggedFrames(_Dscp):
    """The tag of the VAP goes before the DSCP is read, and its priority is no DSCP."""

    def runTest(self) -> None:
        far = self.world.far1
        self.insert(copy(256, 9))
        for priority in (0, 5, 7):
            for frame in ip_frames(B, far, EF, 1):
                on_wire = tagged(frame, B.vlan, pcp=priority)
                self.passes(B.port, on_wire, (256, self.world.peer1.sent(frame, ecn=1, dscp=EF)))
            for frame in other_frames(B, far):
                on_wire = tagged(frame, B.vlan, pcp=priority)
                self.passes(B.port, on_wire, (256, self.world.peer1.sent(frame, dscp=9)))


class DscpOfStubs(_Dscp):
    """A frame that ends behind its type and two bytes has these, and no byte of the one before it."""

    def runTest(self) -> None:
        far = self.world.far1
        self.insert(copy(256, 9), A.guard(1, 0), A.guard(2, 0))
        for dscp in DSCPS:
            four = ethernet(far.mac, A.mac, ETHERTYPE_IPV4, bytes((0x45, dscp << 2 | 1)))
            self.goes_out(four, ecn=1, dscp=dscp)
            self.goes_out(ip_frames(A, far, 63 - dscp, 0)[0], ecn=0, dscp=63 - dscp)


class DscpOfReplicas(_Dscp):
    """Each copy has that of the port it leaves by."""

    def runTest(self) -> None:
        peer1, peer2 = self.world.peers
        everybody = Host(RED, BROADCAST, self.world.far1.ip, self.world.far1.ip6)
        self.insert(copy(256, 9))
        for entries, second in (((), 0), ((pipe(257, 33),), 33)):
            self.insert(*entries)
            marked = [(frame, 2, EF) for frame in ip_frames(A, everybody, EF, 2)]
            for frame, ecn, first in (*marked, (other_frames(A, everybody)[1], 0, 9)):
                self.floods(
                    A.port,
                    frame,
                    (B.port, B.on_wire(frame)),
                    (256, peer1.sent(frame, ecn=ecn, dscp=first)),
                    (257, peer2.sent(frame, ecn=ecn, dscp=second)),
                )


class DscpOfPacketOuts(_Dscp):
    """What the agent sends into a tunnel is marked like any other frame."""

    def runTest(self) -> None:
        peer, far = self.world.peer1, self.world.far1
        fields = {"operation": FORWARD, "egress_port": 256, "interface": peer.interface, "vni": RED, "level": 1}
        frames = [(frame, 3, EF) for frame in ip_frames(A, far, EF, 3)]
        frames += [(frame, 0, None) for frame in other_frames(A, far)]
        for model, otherwise in ((copy(256, 9), 9), (pipe(256, 21), 21)):
            self.insert(model)
            for frame, ecn, inner in frames:
                dscp = otherwise if inner is None or model.action == "pipe_dscp" else inner
                sent = peer.sent(frame, ecn=ecn, dscp=dscp)
                self.exchange(packet_outs=[(fields, frame)], outputs=[(256, sent)])
            self.delete(model)


class DscpOfTheUnderlay(_Dscp):
    """Whatever the outer header says when it arrives, and whatever the model: the frame leaves as it was sent."""

    def runTest(self) -> None:
        far = self.world.far1
        for model in (None, pipe(256, EF), copy(256, EF)):
            self.insert(*([] if model is None else [model]))
            for outer in DSCPS:
                for inner in (0, 63 - outer):
                    for frame in (*ip_frames(far, B, inner, 1), *other_frames(far, B)):
                        packet = self.world.peer1.packet(frame, dscp=outer)
                        self.passes(256, packet.encode(), (B.port, B.on_wire(frame)))
            if model is not None:
                self.delete(model)


# The same over IPv6; and those that read the frame also where it is encrypted, over both.
_TESTS: tuple[type[NveTest], ...] = (
    DscpUnmarked,
    DscpPipe,
    DscpCopy,
    DscpOfTaggedFrames,
    DscpOfStubs,
    DscpOfReplicas,
    DscpOfPacketOuts,
    DscpOfTheUnderlay,
)
globals().update(varied(_TESTS, "Ipv6", __name__, ipv6=True))
_OF_BOTH_SUITES: tuple[type[NveTest], ...] = (DscpPipe, DscpCopy, DscpOfStubs, DscpOfReplicas, DscpOfPacketOuts)
globals().update(varied(_OF_BOTH_SUITES, "Ascon", __name__, suite=SUITE_ASCON_AEAD128))
globals().update(varied(_OF_BOTH_SUITES, "Ipv6Ascon", __name__, ipv6=True, suite=SUITE_ASCON_AEAD128))
