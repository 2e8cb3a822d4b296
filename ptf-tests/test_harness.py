# SPDX-License-Identifier: Apache-2.0
"""The harness notices what it is there for: a test built on it can fail."""

from __future__ import annotations

from harness.base import NveTest
from harness.schema import entry, update
from harness.world import BLUE, RED, A, B, C
from nvo3ref.reasons import Reason


class _Notices(NveTest):
    recordable = False  # what is exchanged here is not what is expected

    def setUp(self) -> None:
        super().setUp()
        # Drops are awaited here that never come.
        self.addCleanup(setattr, self.session, "drop_seconds", self.session.drop_seconds)
        self.session.drop_seconds = 0.1


class NoticesOutputs(_Notices):
    """Too many, too few, on another port, with another byte, twice."""

    def runTest(self) -> None:
        frame = A.frame_to(B)
        right = (B.port, B.on_wire(frame))
        wrong = ([], [right, right], [(C.port, right[1])], [(B.port, right[1][:-1] + b"\xff")], [(B.port, frame)])
        for outputs in wrong:
            with self.assertRaises(AssertionError):
                self.exchange([(A.port, frame)], outputs)
        self.exchange([(A.port, frame)], [right])


class NoticesPacketIns(_Notices):
    """One that nobody expected, another field, another payload."""

    def runTest(self) -> None:
        self.insert(entry("punt_meter", {"interface": A.interface}, "police_punt"))
        frame = A.frame_to(C)
        wrong = ([], [({}, frame[:-1])], [({"vni": BLUE}, frame)], [({}, frame), ({}, frame)])
        for packet_ins in wrong:
            with self.assertRaises(AssertionError):
                self.exchange([(A.port, frame)], packet_ins=packet_ins)
        self.exchange([(A.port, frame)], packet_ins=[({"vni": RED}, frame)])


class NoticesDrops(_Notices):
    """A drop that nobody expected, another reason, one drop more or less."""

    def runTest(self) -> None:
        spoofed = B.frame_to(A)
        for drops in (None, Reason.VAP_UNKNOWN, [Reason.SOURCE_GUARD] * 2):
            with self.assertRaises(AssertionError):
                self.exchange([(A.port, spoofed)], drops=drops)
        self.exchange([(A.port, spoofed)] * 2, drops={Reason.SOURCE_GUARD: 2})


class NoticesEntriesLeftBehind(_Notices):
    """What a test writes past its base class, and leaves."""

    def runTest(self) -> None:
        smuggled = self.session.schema.table_entry(C.guard(0, 0))
        self.session.write([update("INSERT", table_entry=smuggled)])
        with self.assertRaisesRegex(AssertionError, "left entries behind"):
            self._take_away()
        self.session.write([update("DELETE", table_entry=smuggled)])
        self.forget_entries()


class NoticesClosedTunnels(_Notices):
    """Tunnels that are closed for another reason than the one named."""

    def runTest(self) -> None:
        self.session.set_default(entry("lease", {}, "no_lease"))
        with self.assertRaises(AssertionError):
            self.exchange([], closed=Reason.TX_LEASE_EXPIRED)
        self.exchange([], closed=Reason.TX_LEASE_ABSENT)
