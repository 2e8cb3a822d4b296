# SPDX-License-Identifier: Apache-2.0
"""The agent's port: what is punted and how much of it, and what packet-outs can and cannot do."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import Entry, entry
from harness.session import FORWARD, REPORT_STATE, SET_INCARNATION, STATE, UNKNOWN_DESTINATION
from harness.world import BLUE, IP_NONE, RED, A, B, C, Host, derived, host
from nvo3ref.frames import ETHERTYPE_LOCAL, ethernet, pattern
from nvo3ref.reasons import Reason
from nvo3ref.receiver import LONGEST_FRAME, SHORTEST_FRAME

NOBODY = host(99, RED)
PUNT_BYTES = 128


def punt_meter(local: Host) -> Entry:
    return entry("punt_meter", {"interface": local.interface}, "police_punt")


class UnknownDestinationIsPunted(NveTest):
    """To the agent and to nobody else, with everything that it needs to know; tagged VAPs without their tag."""

    def runTest(self) -> None:
        self.insert(punt_meter(A), punt_meter(B))
        frame = A.frame_to(NOBODY)
        self.punted(
            A.port,
            frame,
            frame,
            reason=UNKNOWN_DESTINATION,
            ingress_port=A.port,
            interface=A.interface,
            vni=RED,
            frame_length=60,
            agreement=1,
            sequence=0,
        )
        frame = B.frame_to(NOBODY)
        self.punted(
            B.port,
            B.on_wire(frame),
            frame,
            reason=UNKNOWN_DESTINATION,
            ingress_port=B.port,
            interface=B.interface,
            vni=RED,
            frame_length=60,
        )


class PuntIsTruncated(NveTest):
    """At most 128 bytes of the frame; the length before that is told."""

    def runTest(self) -> None:
        self.insert(punt_meter(A), A.guard(IP_NONE, 0))
        for length in (16, 17, 60, 126, 127, 128, 129, 130, 144, 500, 1514, LONGEST_FRAME):
            frame = ethernet(NOBODY.mac, A.mac, ETHERTYPE_LOCAL, pattern(length - 14, length))
            self.punted(A.port, frame, frame[:PUNT_BYTES], frame_length=length)


class PuntForbidden(NveTest):
    """Without a meter nothing is punted."""

    def runTest(self) -> None:
        frame = A.frame_to(NOBODY)
        self.dropped(A.port, frame, Reason.PUNT_FORBIDDEN)
        self.insert(punt_meter(A))
        self.punted(A.port, frame, frame)
        self.delete(punt_meter(A))
        self.dropped(A.port, frame, Reason.PUNT_FORBIDDEN)


class PuntRate(NveTest):
    """One VAP that has used up its share of the agent; the others still have theirs, and its bridged frames pass."""

    def runTest(self) -> None:
        self.insert(punt_meter(A), punt_meter(B))
        self.set_meter(punt_meter(A), rate=0, burst=2)
        frame = A.frame_to(NOBODY)
        for _ in range(2):
            self.punted(A.port, frame, frame)
        for _ in range(3):
            self.dropped(A.port, frame, Reason.PUNT_RATE)
        other = B.frame_to(NOBODY)
        self.punted(B.port, B.on_wire(other), other)
        self.passes(A.port, A.frame_to(B), (B.port, B.on_wire(A.frame_to(B))))
        self.set_meter(punt_meter(A), rate=1_000_000, burst=1_000_000)
        self.punted(A.port, frame, frame)


class PuntWhileTunnelsAreClosed(NveTest):
    """The agent learns of unknown destinations without lease and incarnation; the packet-in says that they disagree."""

    def runTest(self) -> None:
        self.insert(punt_meter(A))
        self.session.set_default(entry("incarnation", {}, "no_incarnation"))
        frame = A.frame_to(NOBODY)
        self.exchange([(A.port, frame)], packet_ins=[({"agreement": 0}, frame)], closed=Reason.TX_INCARNATION)


class _PacketOut(NveTest):
    def out(self, frame: bytes, **fields: int) -> tuple[dict[str, int], bytes]:
        return {"operation": FORWARD, **fields}, frame


class PacketOutToVap(_PacketOut):
    """The agent sends to one VAP, under its tag; every length."""

    def runTest(self) -> None:
        for length in (SHORTEST_FRAME, 17, 42, 60, 61, 1514, LONGEST_FRAME):
            frame = ethernet(B.mac, self.world.far1.mac, ETHERTYPE_LOCAL, pattern(length - 14))
            self.exchange(
                packet_outs=[self.out(frame, egress_port=B.port, interface=B.interface)],
                outputs=[(B.port, B.on_wire(frame))],
            )
            self.exchange(
                packet_outs=[self.out(frame, egress_port=A.port, interface=A.interface)], outputs=[(A.port, frame)]
            )


class PacketOutToTunnel(_PacketOut):
    """Into a tunnel it is protected like any other frame; without an SA of that level, or any SA, it is not sent."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1)
        fields = {"egress_port": 256, "interface": peer.interface, "vni": BLUE, "level": 1}
        self.exchange(packet_outs=[self.out(frame, **fields)], outputs=[(256, peer.sent(frame, BLUE))])
        peer.entropy = derived("entropy of packet-outs")
        self.modify(entry("flow_entropy", {}, "keyed", key=peer.entropy))
        for length in (60, 300):  # another flow: another source port
            longer = A.frame_to(self.world.far1, length)
            self.exchange(packet_outs=[self.out(longer, **fields)], outputs=[(256, peer.sent(longer, BLUE))])
        self.exchange(packet_outs=[self.out(frame, **{**fields, "level": 0})], drops=Reason.TX_NO_SA)
        self.exchange(packet_outs=[self.out(frame, **{**fields, "level": 2})], drops=Reason.TX_NO_SA)
        self.exchange(packet_outs=[self.out(frame, **{**fields, "interface": 0xFDFF})], drops=Reason.TUNNEL_UNKNOWN)
        self.session.set_default(entry("incarnation", {}, "no_incarnation"))
        self.exchange(
            packet_outs=[self.out(frame, **fields)], drops=Reason.TX_INCARNATION, closed=Reason.TX_INCARNATION
        )


class PacketOutNowhere(_PacketOut):
    """No interface, unknown interfaces, ports of the other class, the CPU port itself, the drop port."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        tunnel = self.world.peer1.interface
        cases = (
            ({"egress_port": A.port, "interface": 0}, Reason.TX_INTERFACE),
            ({"egress_port": A.port, "interface": 4711}, Reason.VAP_EGRESS_UNKNOWN),
            ({"egress_port": C.port, "interface": A.interface}, Reason.VAP_EGRESS_UNKNOWN),
            ({"egress_port": 256, "interface": A.interface}, Reason.TX_PORT_CLASS),
            ({"egress_port": A.port, "interface": tunnel, "level": 1}, Reason.TX_PORT_CLASS),
            ({"egress_port": 257, "interface": tunnel, "level": 1}, Reason.TUNNEL_UNKNOWN),
            ({"egress_port": 510, "interface": A.interface}, Reason.TX_PORT_CLASS),
            ({"egress_port": 510, "interface": tunnel, "level": 1}, Reason.TUNNEL_UNKNOWN),
            ({"egress_port": 511, "interface": A.interface}, Reason.EGRESS_PORT),
            *(
                ({"egress_port": 1 << bit | A.port, "interface": A.interface}, Reason.EGRESS_PORT)
                for bit in range(9, 16)
            ),
        )
        for fields, reason in cases:
            self.exchange(packet_outs=[self.out(frame, **fields)], drops=reason, message=str(fields))


class PacketOutUnknownOperation(_PacketOut):
    """Any operation that there is none of."""

    def runTest(self) -> None:
        for operation in (0, 5, 6, 127, 255):
            self.exchange(
                packet_outs=[({"operation": operation, "egress_port": 1, "interface": 1}, A.frame_to(B))],
                drops=Reason.PACKET_OUT_OPERATION,
            )


class PacketOutLengths(_PacketOut):
    """Frames of the agent are held to the same limits."""

    def runTest(self) -> None:
        frame = ethernet(A.mac, B.mac, ETHERTYPE_LOCAL, pattern(LONGEST_FRAME + 100))
        fields = {"egress_port": A.port, "interface": A.interface}
        for length in (0, 1, 11, 12, 15):
            self.exchange(packet_outs=[self.out(frame[:length], **fields)], drops=Reason.FRAME_TOO_SHORT)
        for length in (LONGEST_FRAME + 1, LONGEST_FRAME + 17):
            self.exchange(packet_outs=[self.out(frame[:length], **fields)], drops=Reason.FRAME_TOO_LONG)


class SetIncarnationTooShort(_PacketOut):
    """Fewer than 16 bytes change neither register."""

    def runTest(self) -> None:
        for length in range(16):
            self.exchange(packet_outs=[({"operation": SET_INCARNATION}, derived("x")[:length])], drops=Reason.TRUNCATED)
        self.assertEqual(self.session.ask(REPORT_STATE)["agreement"], 3)
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))


class StateReports(_PacketOut):
    """The answer says whether both registers agree, and the last number of the tunnel asked about, and nothing else
    comes."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1)
        self.assertEqual(self.session.last_sequence(peer.interface), 0)
        for count in (1, 2, 3):
            self.passes(A.port, frame, (256, peer.sent(frame)))
            self.assertEqual(self.session.last_sequence(peer.interface), count)
        self.assertEqual(self.session.last_sequence(self.world.peer2.interface), 0)
        for payload in (b"", bytes(16), pattern(300)):
            self.exchange(
                packet_outs=[({"operation": REPORT_STATE, "interface": peer.interface}, payload)],
                packet_ins=[
                    (
                        {
                            "reason": STATE,
                            "agreement": 3,
                            "interface": peer.interface,
                            "sequence": 3,
                            "frame_length": 0,
                            "ingress_port": 510,
                        },
                        b"",
                    )
                ],
            )
        other = derived("other")
        self.assertEqual(self.session.ask(SET_INCARNATION, payload=other + b"more")["agreement"], 0)
        self.session.set_default(entry("incarnation", {}, "set_incarnation", incarnation=other))
        self.assertEqual(self.session.ask(REPORT_STATE)["agreement"], 3)


class PuntedFrameKeepsNothingOfEarlierOnes(NveTest):
    """Headers of longer frames before it do not show in a short packet-in."""

    def runTest(self) -> None:
        self.insert(punt_meter(A), A.guard(IP_NONE, 0))
        long = ethernet(B.mac, A.mac, ETHERTYPE_LOCAL, b"\xee" * 1500)
        short = ethernet(NOBODY.mac, A.mac, ETHERTYPE_LOCAL, b"\x11\x22\x33")
        for _ in range(3):
            self.passes(A.port, long, (B.port, B.on_wire(long)))
            self.punted(A.port, short, short, frame_length=17)
