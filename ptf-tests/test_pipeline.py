# SPDX-License-Identifier: Apache-2.0
"""Pipeline pushes of every kind, under traffic. Whoever pushes what: no number of a key is used twice, and nothing
passes a tunnel until the agent has set a new incarnation and installed keys that were derived for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import ptf
from harness.base import IN_FLIGHT, NveTest
from harness.own_switch import own_switch
from harness.p4runtime import WriteRefused
from harness.ports import DEVICE, DataPlane
from harness.session import REPORT_STATE, Session
from harness.world import A, B, World, derived
from nvo3ref.reasons import Reason
from nvo3ref.tunnel import SEQUENCE_AT, SPI_AT

FRAMES = 400


class _Push(NveTest):
    """Each test on a switch of its own."""

    world_installed = False
    recordable = False

    def install(self, session: Session, context: str) -> None:
        """A new world, as an agent sets it up after a pipeline load. Keys of another context are other keys."""
        self.world = World(session, f"{type(self).__name__} {context}")
        session.set_incarnation(self.world.incarnation)
        session.set_lease()
        self.insert(*self.world.entries(), groups=self.world.replicas())

    def both_ways(self) -> None:
        frame = A.frame_to(self.world.far1)
        self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))
        frame = self.world.far1.frame_to(B)
        self.passes(256, self.world.peer1.packet(frame).encode(), (B.port, B.on_wire(frame)))

    def push_under_traffic(self, session: Session, push: Callable[[], None], then_ask: bool = True) -> list[bytes]:
        """What came out of the tunnel while a sender did not stop because of the push.

        On BMv2 the sender rests during the push. Its data-plane service holds a lock while it hands a packet in,
        which waits for the push, and wants the same lock for sending one out, for which the push waits: under traffic
        a push never ends. (Ports on interfaces do not know that lock.)

        then_ask: not after a refused push, which BMv2's server does not survive (the switch below it does).
        """
        before: list[bytes] = []
        if session.target == "bmv2":
            self._send(session, IN_FLIGHT)
            while len(before) < IN_FLIGHT:
                before += self._drain()
            push()
            self._send(session, IN_FLIGHT)
        else:
            half = threading.Event()
            sender = threading.Thread(target=self._send, args=(session, FRAMES, half))
            sender.start()
            half.wait(60)
            push()
            sender.join(60)
            self.assertFalse(sender.is_alive())
        # Every answer of the agent's port lies behind what was sent before: the pipeline is empty now.
        if then_ask:
            session.ask(REPORT_STATE)
        return before + self._drain()

    def _send(self, session: Session, count: int, half: threading.Event | None = None) -> None:
        frame = A.frame_to(self.world.far1)
        for number in range(count):
            session.stream.send(A.port, frame)
            if half is not None and number == count // 2:
                half.set()

    def _drain(self) -> list[bytes]:
        found = []
        while isinstance(
            result := ptf.dataplane_instance.poll(device_number=DEVICE, timeout=0.2), DataPlane.PollSuccess
        ):
            self.assertIn(result.port, (256,), "only the tunnel of the test may carry anything")
            found.append(bytes(result.packet))
        return found

    def assert_never_twice(self, packets: list[bytes]) -> None:
        """(SPI, sequence) names (key, sequence): each SPI of these tests belongs to one key."""
        used = [packet[SPI_AT : SPI_AT + 4] + packet[SEQUENCE_AT : SEQUENCE_AT + 8] for packet in packets]
        self.assertEqual(len(used), len(set(used)))

    def drops_of(self, session: Session, port: int, frame: bytes) -> set[Reason]:
        """Sends a frame that must not pass; the reasons that were counted."""
        before = session.drops()
        session.stream.send(port, frame)
        session.ask(REPORT_STATE)
        while (after := session.drops()) == before:
            self.assertTrue(session.switch.is_alive())
        self.assertEqual(self._drain(), [])
        return set(after - before)

    def stays_closed(self, session: Session, sends: set[Reason], receives: set[Reason]) -> None:
        peer = self.world.peer1
        self.assertEqual(session.ask(REPORT_STATE)["agreement"], 0)
        for _ in range(3):
            self.assertEqual(self.drops_of(session, A.port, A.frame_to(self.world.far1)), sends)
            packet = peer.packet(self.world.far1.frame_to(B))
            self.assertEqual(self.drops_of(session, 256, packet.encode()), receives)

    def begins_anew(self, session: Session, sent_before: list[bytes]) -> None:
        """With a new incarnation, new keys and everything installed again, traffic flows, under numbers from 1."""
        session.install()
        session.forget_drops()
        self.forget_entries()
        self.install(session, "after")
        self.both_ways()
        frame = A.frame_to(self.world.far1)
        self.assert_never_twice([*sent_before, self.world.peer1.sent(frame)])


class VerifyAndCommit(_Push):
    """Takes all entries: nothing has even a port."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            self.both_ways()
            sent = self.push_under_traffic(session, lambda: session.push("VERIFY_AND_COMMIT"))
            self.assert_never_twice(sent)
            self.stays_closed(session, {Reason.PORT_UNCONFIGURED}, {Reason.PORT_UNCONFIGURED})
            self.begins_anew(session, sent)


class VerifyAndSaveThenCommit(_Push):
    """Saving alone changes nothing; the commit does what the other push does."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            session.push("VERIFY_AND_SAVE")
            self.both_ways()
            sent = self.push_under_traffic(session, lambda: session.push("COMMIT"))
            self.assert_never_twice(sent)
            state = session.ask(REPORT_STATE)
            self.assertEqual(state["agreement"], 0)
            self.closed_whatever_is_left(session)

    def closed_whatever_is_left(self, session: Session) -> None:
        """Entries may have been kept or not; the registers decide."""
        closed = {Reason.PORT_UNCONFIGURED, Reason.TX_INCARNATION, Reason.INCARNATION}
        for _ in range(3):
            self.assertLessEqual(self.drops_of(session, A.port, A.frame_to(self.world.far1)), closed)
            packet = self.world.peer1.packet(self.world.far1.frame_to(B))
            self.assertLessEqual(self.drops_of(session, 256, packet.encode()), closed)


class ReconcileAndCommit(VerifyAndSaveThenCommit):
    """Done or refused: if entries stay, registers do not agree with them, and old numbers never meet old keys again."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            self.both_ways()
            outcome: list[str] = []

            def push() -> None:
                try:
                    session.push("RECONCILE_AND_COMMIT")
                    outcome.append("done")
                except grpc.RpcError as error:
                    outcome.append(error.code().name)

            sent = self.push_under_traffic(session, push)
            self.assert_never_twice(sent)
            print(f"RECONCILE_AND_COMMIT on {session.target}: {outcome[0]}")
            if session.ask(REPORT_STATE)["agreement"] == 3:
                # Refused without a trace: the switch goes on where it was, with the next number.
                self.assertNotEqual(outcome, ["done"])
                frame = A.frame_to(self.world.far1)
                self.world.peer1.tx_sequence = int.from_bytes(sent[-1][SEQUENCE_AT : SEQUENCE_AT + 8], "big")
                self.passes(A.port, frame, (256, self.world.peer1.sent(frame)))
            else:
                self.closed_whatever_is_left(session)
                self.old_keys_stay_dead(session)

    def old_keys_stay_dead(self, session: Session) -> None:
        """The agent sets the registers anew, but installs no new keys: those of the old incarnation do not work."""
        closed = {
            Reason.PORT_UNCONFIGURED,
            Reason.TX_SA_INCARNATION,
            Reason.SA_INCARNATION,
            Reason.LEASE_ABSENT,
            Reason.UNAUTHORIZED_NVE,
            Reason.TX_LEASE_ABSENT,
        }
        try:
            session.set_incarnation(derived("drawn after the push"))
        except WriteRefused as refusal:
            self.assertIn("NOT_FOUND", refusal.codes)  # the sentinels' own entries went with the rest
        self.assertLessEqual(self.drops_of(session, A.port, A.frame_to(self.world.far1)), closed)
        packet = self.world.peer1.packet(self.world.far1.frame_to(B))
        self.assertLessEqual(self.drops_of(session, 256, packet.encode()), closed)


class CommitAfterReconcile(ReconcileAndCommit):
    """Where reconciling is refused, BMv2 then takes a COMMIT, keeps every entry and resets every register: keys are
    still there, numbers would begin anew. The registers of the incarnation stand against it."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            self.both_ways()
            clock = session.ask(REPORT_STATE)["timestamp"]
            codes: list[str] = []

            def push() -> None:
                for action in ("RECONCILE_AND_COMMIT", "COMMIT"):
                    try:
                        session.push(action)
                        codes.append("OK")
                    except grpc.RpcError as error:
                        codes.append(error.code().name)

            sent = self.push_under_traffic(session, push)
            self.assert_never_twice(sent)
            print(f"RECONCILE_AND_COMMIT, COMMIT on {session.target}: {codes}")
            self.assertIn("OK", codes, "neither was taken: this test is about what happens when one is")
            state = session.ask(REPORT_STATE)
            self.assertEqual(state["agreement"], 0)
            # Entries that were kept have their limits in this clock: it counts from the start of the process.
            self.assertGreater(state["timestamp"], clock)
            self.closed_whatever_is_left(session)
            self.old_keys_stay_dead(session)


class RefusedPush(_Push):
    """Half a program, or none: refused. Whatever state that leaves, no number comes twice."""

    def runTest(self) -> None:
        for broken in (self.session.device_config[:-1000], b"not a program"):
            with own_switch(self) as session:
                self.install(session, "before")
                self.both_ways()
                codes: list[str] = []

                def push(session: Session = session, broken: bytes = broken, codes: list[str] = codes) -> None:
                    try:
                        session.push("VERIFY_AND_COMMIT", broken)
                        codes.append("OK")
                    except grpc.RpcError as error:
                        codes.append(error.code().name)

                sent = self.push_under_traffic(session, push, then_ask=False)
                self.assertNotEqual(codes, ["OK"], f"{broken!r} was taken")
                self.assert_never_twice(sent)
                self.assertTrue(session.switch.is_alive())


class CommitWithoutSave(_Push):
    """There is nothing to commit."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            with self.assertRaises(grpc.RpcError):
                session.push("COMMIT")


class RestartOfTheSwitch(_Push):
    """A new process knows neither incarnation nor keys; packets recorded from the one before open nothing in it."""

    def runTest(self) -> None:
        with own_switch(self) as session:
            self.install(session, "before")
            recorded = self.world.peer1.packet(self.world.far1.frame_to(B)).encode()
            self.passes(256, recorded, (B.port, B.on_wire(self.world.far1.frame_to(B))))
        with own_switch(self) as session:
            self.assertEqual(session.ask(REPORT_STATE)["agreement"], 0)
            self.install(session, "after")
            self.dropped(256, recorded, Reason.BAD_ICV)
            self.both_ways()
