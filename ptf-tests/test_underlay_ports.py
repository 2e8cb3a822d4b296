# SPDX-License-Identifier: Apache-2.0
"""An NVE with two uplinks: what comes from a peer may come in by either, and what goes to it go out by either. Peer,
association, window, meters and authorization know nothing of ports; of a port is its MAC address, and are its hops."""

from __future__ import annotations

from harness.base import NveTest
from harness.batch import Batch
from harness.schema import entry
from harness.session import PORT_MAC
from harness.world import BUCKETS, RED, A, B, derived
from nvo3ref.flow import bucket, source_port
from nvo3ref.frames import BROADCAST, arp_request, ip4_frame, padded
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import TunnelPacket

PORTS = (256, 257)


class _Uplinks(NveTest):
    def arriving(self, port: int, inner: bytes, **changes: object) -> TunnelPacket:
        """Of the first peer, addressed to `port`."""
        return self.world.peer1.packet(inner, eth_dst=PORT_MAC[port], **changes)


class ReceivedByEitherPort(_Uplinks):
    """One window, one association and its counter, one authorization for both ports."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = self.world.far1.frame_to(B)
        for number in range(6):
            port = PORTS[number % 2]
            self.passes(port, self.arriving(port, frame).encode(), (B.port, B.on_wire(frame)))
        self.assertEqual(self.direct_counter(peer.sa_rx())[0], 6)
        self.assertEqual(self.direct_counter(peer.authorization(RED))[0], 6)
        flooded = padded(arp_request(self.world.far1.mac, self.world.far1.ip, self.world.far1.ip))
        self.passes(257, self.arriving(257, flooded).encode(), (A.port, flooded), (B.port, B.on_wire(flooded)))
        # Seen on one port, it is seen; one that overtook it on the other is not in its way.
        early, late = self.arriving(257, frame), self.arriving(256, frame)
        self.passes(256, late.encode(), (B.port, B.on_wire(frame)))
        self.passes(257, early.encode(), (B.port, B.on_wire(frame)))
        for port in PORTS:
            again = early.but(eth_dst=PORT_MAC[port])
            self.dropped(port, again.encode(), Reason.REPLAYED)
        # A packet for the one port has not come to the other.
        self.dropped(257, self.arriving(256, frame).encode(), Reason.UNDERLAY_MAC)


class PenaltyOnEitherPort(_Uplinks):
    """Failures are charged to the peer by whichever port they come, and its floor is one for both: nobody is verified
    twice as much by having two ports, nor held to less."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = self.world.far1.frame_to(B)
        self.set_meter(peer.meter(), rate=0, burst=2)
        self.set_meter(peer.floor(), rate=0, burst=2)
        for port in (256, 257):
            self.dropped(port, self.arriving(port, frame, icv=bytes(16)).encode(), Reason.BAD_ICV)
            self.passes(port, self.arriving(port, frame).encode(), (B.port, B.on_wire(frame)))
        self.dropped(257, self.arriving(257, frame, icv=bytes(16)).encode(), Reason.BAD_ICV)
        for port in (256, 257):
            self.passes(port, self.arriving(port, frame).encode(), (B.port, B.on_wire(frame)))
        for port in (256, 257):
            self.dropped(port, self.arriving(port, frame).encode(), Reason.PEER_RATE)


class SentByEitherPort(_Uplinks):
    """A tunnel goes out of the port that its group names, under that port's address, and its sequence goes on."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, peer.sent(frame)))
        self.modify(peer.member(port=257))
        self.dropped(A.port, frame, Reason.TUNNEL_UNKNOWN)
        self.insert(peer.tunnel(port=257))
        self.dropped(A.port, frame, Reason.NO_ADJACENCY)
        self.insert(peer.adjacency(port=257, source_mac=PORT_MAC[257]))
        for _ in range(2):
            self.passes(A.port, frame, (257, peer.sent(frame, eth_src=PORT_MAC[257])))
        # Replicas go where the list says, by either port.
        flooded = padded(arp_request(A.mac, A.ip, A.ip))
        self.assertEqual(flooded[:6], BROADCAST)
        red = self.world.groups["red"]
        others = [one for one in self.world.replicas()[red] if one[1] != peer.interface]
        for port in (257, 256):
            self.set_group(red, [*others, (port, peer.interface)])
            self.floods(
                A.port,
                flooded,
                (B.port, B.on_wire(flooded)),
                (port, peer.sent(flooded, eth_src=PORT_MAC[port])),
                (257, self.world.peer2.sent(flooded)),
            )
        self.modify(peer.member())
        self.passes(A.port, frame, (256, peer.sent(frame)))


class FlowsOverBothPorts(_Uplinks):
    """64 buckets, half of them at each port: a flow takes the way of its bucket, by a slice of its hash that says
    nothing of its source port. When a port fails, its buckets go to the other: no other flow moves, and neither
    sequence nor key knows of it."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.world.peer1
        self.peer.entropy = derived("ways")
        self.modify(entry("flow_entropy", {}, "keyed", key=self.peer.entropy))
        self.insert(self.peer.tunnel(port=257), self.peer.adjacency(port=257, source_mac=PORT_MAC[257]))
        self.insert(*self.peer.members())
        self.modify(*(self.peer.member(port=257, bucket=bucket) for bucket in range(1, BUCKETS, 2)))
        self.ways = {bucket: PORTS[bucket % 2] for bucket in range(BUCKETS)}

    def frames(self) -> list[bytes]:
        far = self.world.far1
        return [ip4_frame(far.mac, A.mac, A.ip, far.ip, 60, number) for number in range(300)]

    def all_take_their_ways(self) -> None:
        # One port after the other: which of two takes a number first is nobody's promise.
        for port in PORTS:
            with Batch(self) as batch:
                for frame in self.frames():
                    if port == self.ways[bucket(self.peer.entropy, frame)]:
                        batch.passes(A.port, frame, (port, self.peer.sent(frame, eth_src=PORT_MAC[port])))

    def runTest(self) -> None:
        used = {bucket(self.peer.entropy, frame) for frame in self.frames()}
        self.assertGreater(len(used), 50)
        # Of each port's flows the low bits of the source ports are as many as of all: the next tier spreads them on.
        for port in PORTS:
            of_port = [one for one in self.frames() if self.ways[bucket(self.peer.entropy, one)] == port]
            self.assertEqual({source_port(self.peer.entropy, frame) % 8 for frame in of_port}, set(range(8)))
        self.all_take_their_ways()
        self.modify(*(self.peer.member(port=256, bucket=one) for one in range(1, BUCKETS, 2)))
        self.ways = dict.fromkeys(range(BUCKETS), 256)
        self.all_take_their_ways()
        self.assertEqual(self.peer.tx_sequence, 600)


class BucketWithoutMember(FlowsOverBothPorts):
    """What falls into a bucket that nobody has is dropped for that; the flows of other buckets pass."""

    def runTest(self) -> None:
        empty = bucket(self.peer.entropy, self.frames()[0])
        self.delete(self.peer.member(bucket=empty))
        self.ways[empty] = 0
        self.all_take_their_ways()
        lost = [frame for frame in self.frames() if bucket(self.peer.entropy, frame) == empty]
        with Batch(self) as batch:
            for frame in lost:
                batch.dropped(A.port, frame, Reason.NO_UNDERLAY_MEMBER)
