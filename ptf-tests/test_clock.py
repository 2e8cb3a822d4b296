# SPDX-License-Identifier: Apache-2.0
"""Lease and hard limits run out by the switch's own clock, with nobody there to enforce it."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import entry
from harness.session import FOREVER
from harness.world import A, B
from nvo3ref.reasons import Reason

PENALTY_US = 10_000_000  # of the program
SOON = 2_000_000  # microseconds: the exchanges that have to come before take milliseconds


class _Clock(NveTest):
    recordable = False

    def receives(self, reason: Reason | None = None, closed: Reason | None = None) -> None:
        frame = self.world.far1.frame_to(B)
        packet = self.world.peer1.packet(frame).encode()
        if reason is None:
            self.passes(256, packet, (B.port, B.on_wire(frame)))
        else:
            self.dropped(256, packet, reason, closed)

    def sends(self, reason: Reason | None = None, closed: Reason | None = None) -> None:
        frame = A.frame_to(self.world.far1)
        if reason is None:
            self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))
        else:
            self.dropped(A.port, frame, reason, closed)

    def sends_nothing_but_counts(self, reason: Reason, closed: Reason | None = None) -> None:
        """Refused after the SA was taken: the number is used up, which harms nobody."""
        self.sends(reason, closed)
        self.world.peer1.tx_sequence += 1


class LeaseRunsOut(_Clock):
    """Both directions close, and open again when the lease is renewed."""

    def runTest(self) -> None:
        end = self.session.clock() + SOON
        self.session.set_lease(end)
        self.receives()
        self.sends()
        self.session.wait_for_clock(end)
        for _ in range(3):
            self.receives(Reason.LEASE_EXPIRED, Reason.TX_LEASE_EXPIRED)
            self.sends(Reason.TX_LEASE_EXPIRED, Reason.TX_LEASE_EXPIRED)
        self.session.set_lease(self.session.clock() + 60_000_000)
        self.receives()
        self.sends()


class LeaseOfThePast(_Clock):
    """A lease that ended before it was written, at the epoch of the clock among others."""

    def runTest(self) -> None:
        for end in (0, 1, self.session.clock()):
            self.session.set_lease(end)
            self.receives(Reason.LEASE_EXPIRED, Reason.TX_LEASE_EXPIRED)
            self.sends(Reason.TX_LEASE_EXPIRED, Reason.TX_LEASE_EXPIRED)
        self.session.set_lease(FOREVER)
        self.receives()


class LeaseKeepsLocalTraffic(_Clock):
    """Without a lease the tenants of this switch still reach each other: only tunnels close."""

    def runTest(self) -> None:
        self.session.set_default(entry("lease", {}, "no_lease"))
        frame = A.frame_to(B)
        self.exchange([(A.port, frame)], [(B.port, B.on_wire(frame))], closed=Reason.TX_LEASE_ABSENT)


class HardLimitOfReceivingKey(_Clock):
    """The key opens nothing after its hard limit, and its packet does not move the window."""

    def runTest(self) -> None:
        peer = self.world.peer1
        end = self.session.clock() + SOON
        self.modify(peer.sa_rx(not_after=end))
        self.receives()
        self.session.wait_for_clock(end)
        frame = self.world.far1.frame_to(B)
        late = peer.packet(frame).encode()
        for _ in range(3):
            self.dropped(256, late, Reason.SA_EXPIRED)
        self.modify(peer.sa_rx(not_after=FOREVER))
        self.passes(256, late, (B.port, B.on_wire(frame)))


class HardLimitOfSendingKey(_Clock):
    """Nothing is sent under a key after its hard limit."""

    def runTest(self) -> None:
        peer = self.world.peer1
        end = self.session.clock() + SOON
        self.modify(peer.sa_tx(not_after=end))
        self.sends()
        self.session.wait_for_clock(end)
        for _ in range(3):
            self.sends_nothing_but_counts(Reason.TX_SA_EXPIRED)
        self.modify(peer.sa_tx())
        self.sends()


class OneKeyExpiresOthersStay(_Clock):
    """A hard limit concerns one key: other tunnels and the other direction go on."""

    def runTest(self) -> None:
        peer, other = self.world.peers
        self.modify(peer.sa_rx(not_after=1))
        self.receives(Reason.SA_EXPIRED)
        self.sends()
        frame = self.world.far2.frame_to(B)
        self.passes(257, other.packet(frame).encode(), (B.port, B.on_wire(frame)))


class PenaltyEnds(_Clock):
    """Some time after its last failure a peer is trusted again."""

    def runTest(self) -> None:
        peer = self.world.peer1
        frame = self.world.far1.frame_to(B)
        self.delete(peer.meter(), peer.floor())
        self.dropped(256, peer.packet(frame, icv=bytes(16)).encode(), Reason.BAD_ICV)
        end = self.session.clock() + PENALTY_US
        good = peer.packet(frame).encode()
        self.dropped(256, good, Reason.PEER_METER_MISSING)
        self.session.wait_for_clock(end)
        self.passes(256, good, (B.port, B.on_wire(frame)))


class ClockMovesForward(_Clock):
    """Reports carry the switch clock; it never goes back and moves with real time."""

    def runTest(self) -> None:
        moments = [self.session.clock() for _ in range(20)]
        self.assertEqual(moments, sorted(moments))
        self.assertLess(moments[0], moments[-1])
        self.session.wait_for_clock(moments[-1] + 20_000)
