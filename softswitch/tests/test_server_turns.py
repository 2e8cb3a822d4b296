# SPDX-License-Identifier: Apache-2.0
"""What is long lets others in: reads in pages, large Writes in parts, entries that are carried over by a push."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from engine_scenarios import PROGRAMS, call, exact
from engine_support import load_bytes
from finsy.proto import p4r, rpc_code
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import EntryState, KeyPart
from p4softswitch.server import Device, P4Error, Ports
from p4softswitch.server.turns import Turns
from server_fake_engine import PAGE, FakeEngine
from server_harness import (
    DEVICE_ID,
    TIMEOUT,
    Controller,
    Delete,
    Insert,
    Modify,
    Program,
    Push,
    Target,
    update,
    without_constant_table,
)

MANY = 600
"""Entries: three responses."""


def mac(number: int) -> bytes:
    return b"\x02\x00\x00" + number.to_bytes(3, "big")


def inserted(program: Program, number: int, **rest: Any) -> Any:
    entry = program.forward(mac(number), program.action("set_port", b"\x01"), **rest)
    return update(Insert, table_entry=entry)


def numbers(responses: Any) -> list[int]:
    return [
        int.from_bytes(entity.table_entry.match[0].exact.value[-3:], "big")
        for response in responses
        for entity in response.entities
    ]


@pytest.fixture
def plain_program(plain_program: Program) -> Program:
    """One that can be reconciled."""
    return without_constant_table(plain_program)


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def device(engines: list[FakeEngine], plain_program: Program) -> Iterator[Device]:
    def load(data: bytes) -> FakeEngine:
        engines.append(FakeEngine(data))
        engines[-1]._tables["TestIngress.forward"].size = 4 * MANY
        return engines[-1]

    device = Device(DEVICE_ID, load, Ports(()), send_digest=lambda message: None)
    device.set_config(Push.VERIFY_AND_COMMIT, plain_program.config())
    yield device
    device.stop()


@pytest.fixture
def full(device: Device, plain_program: Program) -> Device:
    """MANY entries."""
    assert device.write([inserted(plain_program, n) for n in range(MANY)]) == [None] * MANY
    return device


def all_of(program: Program) -> list[Any]:
    return [p4r.Entity(table_entry=p4r.TableEntry(table_id=program.id("forward")))]


def does_not_wait(step: Any) -> None:
    """Run it in a thread of its own: it has to end, whatever is held up in this one."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "it waits for what is held up"
    assert not failed, failed


class TestTurns:
    def test_who_waits_comes_before_who_wants_it_back(self) -> None:
        turns, order = Turns(), []

        def other() -> None:
            with turns:
                order.append("other")

        thread = threading.Thread(target=other)
        with turns:
            thread.start()
            while not turns.waiting:
                thread.join(0.001)
        with turns:
            order.append("first")
        thread.join(TIMEOUT)
        assert order == ["other", "first"]

    def test_one_at_a_time(self) -> None:
        turns, inside, most = Turns(), [0], [0]

        def work() -> None:
            for _ in range(2000):
                with turns:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    inside[0] -= 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        assert most == [1]


class TestReads:
    def test_one_entry_is_looked_up(self, full: Device, engines: list[FakeEngine], plain_program: Program) -> None:
        """Nor is the table copied for the counter or the meter of one."""
        engines[0].pages_read = 0
        wanted = plain_program.forward(mac(7))
        [response] = full.read([p4r.Entity(table_entry=wanted)])
        assert numbers([response]) == [7]
        [response] = full.read([p4r.Entity(direct_counter_entry=p4r.DirectCounterEntry(table_entry=wanted))])
        assert len(response.entities) == 1
        [response] = full.read([p4r.Entity(direct_meter_entry=p4r.DirectMeterEntry(table_entry=wanted))])
        assert len(response.entities) == 1
        counter = p4r.DirectCounterEntry(table_entry=wanted)
        meter = p4r.DirectMeterEntry(table_entry=wanted)
        changes = [update(Modify, direct_counter_entry=counter), update(Modify, direct_meter_entry=meter)]
        assert full.write(changes) == [None, None]
        assert engines[0].pages_read == 0

    def test_all_entries_come_with_counter_and_meter(
        self, full: Device, engines: list[FakeEngine], plain_program: Program
    ) -> None:
        wanted = p4r.TableEntry(table_id=plain_program.id("forward"))
        wanted.meter_config.SetInParent()
        wanted.counter_data.SetInParent()
        engines[0].pages_read = 0
        found = [e.table_entry for r in full.read([p4r.Entity(table_entry=wanted)]) for e in r.entities]
        assert len(found) == MANY
        assert all(entry.HasField("counter_data") for entry in found)
        assert engines[0].pages_read == MANY // PAGE

    def test_responses_are_bounded(self, full: Device, plain_program: Program) -> None:
        responses = list(full.read(all_of(plain_program)))
        assert [len(response.entities) for response in responses] == [256, 256, 88]
        assert sorted(numbers(responses)) == list(range(MANY))

    def test_what_was_found_comes_before_an_error(self, full: Device, plain_program: Program) -> None:
        responses = full.read([*all_of(plain_program), p4r.Entity(extern_entry=p4r.ExternEntry())])
        assert len(numbers([next(responses) for _ in range(3)])) == MANY
        with pytest.raises(P4Error, match="Incorrect entity type"):
            next(responses)

    def test_a_write_does_not_wait_for_a_read(self, full: Device, plain_program: Program) -> None:
        """A client has one response and does not take the next."""
        responses = full.read(all_of(plain_program))
        found = [next(responses)]
        change = [
            update(Delete, table_entry=plain_program.forward(mac(MANY - 1))), inserted(plain_program, MANY),
            update(Modify, table_entry=plain_program.forward(mac(5), plain_program.action("to_cpu"))),
        ]  # fmt: skip
        does_not_wait(lambda: full.write(change))
        does_not_wait(lambda: full.write([inserted(plain_program, MANY + n) for n in range(1, 200)]))
        does_not_wait(lambda: list(full.read(all_of(plain_program))))
        found += responses
        # What was there throughout comes exactly once.
        assert sorted(n for n in numbers(found) if n < MANY - 1) == list(range(MANY - 1))

    def test_a_small_write_does_not_wait_for_the_entries_of_a_page(
        self, full: Device, engines: list[FakeEngine], plain_program: Program
    ) -> None:
        """Pages are turned into messages after the lock was given back."""
        gate, reached = threading.Event(), threading.Event()

        def halt(state: EntryState) -> None:
            reached.set()
            assert gate.wait(TIMEOUT)

        engines[0].on_entry = halt
        reader = threading.Thread(target=lambda: list(full.read(all_of(plain_program))))
        reader.start()
        assert reached.wait(TIMEOUT)
        try:
            does_not_wait(lambda: full.write([inserted(plain_program, MANY)]))
        finally:
            gate.set()
            reader.join(TIMEOUT)

    def test_a_push_in_between_ends_a_read(self, full: Device, plain_program: Program) -> None:
        """The rest would be of another program."""
        responses = full.read(all_of(plain_program))
        next(responses)
        full.set_config(Push.VERIFY_AND_COMMIT, plain_program.config())
        with pytest.raises(P4Error) as caught:
            list(responses)
        assert caught.value.code is grpc.StatusCode.ABORTED

    def test_notes_come_with_their_entries(self, device: Device, plain_program: Program) -> None:
        updates = [inserted(plain_program, n, metadata=b"m%d" % n if n % 2 else b"") for n in range(10)]
        assert device.write(updates) == [None] * 10
        found = [e.table_entry for r in device.read(all_of(plain_program)) for e in r.entities]
        assert {numbers_of(e): e.metadata for e in found} == {n: b"m%d" % n if n % 2 else b"" for n in range(10)}


def numbers_of(entry: Any) -> int:
    return int.from_bytes(entry.match[0].exact.value[-3:], "big")


class TestLargeWrites:
    def test_others_come_in_between(self, device: Device, engines: list[FakeEngine], plain_program: Program) -> None:
        """A small Write that waits while the first part is applied is done before the second one."""
        small = threading.Thread(target=lambda: device.write([inserted(plain_program, MANY)]))
        there: list[bool] = []

        def may_write() -> None:
            if not there:
                small.start()
                while not device._lock.waiting:
                    small.join(0.001)
            there.append(((KeyPart(mac(MANY)),), 0) in engines[0]._tables["TestIngress.forward"].entries)

        assert device.write([inserted(plain_program, n) for n in range(100)], may_write) == [None] * 100
        small.join(TIMEOUT)
        assert there == [False, True, True, True]

    def test_who_is_no_longer_primary_gets_no_further(self, device: Device, plain_program: Program) -> None:
        parts = iter([True, True, False])

        def may_write() -> None:
            if not next(parts):
                raise P4Error(grpc.StatusCode.PERMISSION_DENIED, "Not primary")

        results = device.write([inserted(plain_program, n) for n in range(100)], may_write)
        codes = [0 if error is None else error.number for error in results]
        done = codes.count(0)
        assert codes == [0] * done + [rpc_code.PERMISSION_DENIED] * (100 - done)
        assert sorted(numbers(device.read(all_of(plain_program)))) == list(range(done))
        assert 0 < done < 100

    def test_a_push_in_between_refuses_the_rest(
        self, device: Device, engines: list[FakeEngine], plain_program: Program
    ) -> None:
        """They were meant for another pipeline."""
        queue: list[threading.Thread] = []

        def push() -> None:
            device.set_config(Push.VERIFY_AND_COMMIT, plain_program.config())

        def may_write() -> None:
            if not queue:
                queue.append(threading.Thread(target=push))
                queue[0].start()
                while not device._lock.waiting:
                    queue[0].join(0.001)

        results = device.write([inserted(plain_program, n) for n in range(100)], may_write)
        queue[0].join(TIMEOUT)
        assert [error is None for error in results] == [True] * 32 + [False] * 68
        assert {error.number for error in results if error is not None} == {rpc_code.ABORTED}
        assert numbers(device.read(all_of(plain_program))) == []


class TestReconciliation:
    def test_what_is_written_meanwhile_is_there_afterwards(
        self, full: Device, engines: list[FakeEngine], plain_program: Program
    ) -> None:
        """Small Writes go on while the entries are copied, and none of them is lost, in whatever part of the table."""
        program, changed = plain_program, []

        def write(state: EntryState) -> None:
            n = len(changed)
            changed.append(n)
            if n % 40 == 0 and n < MANY // 2:
                other = program.action("set_port", b"\x02")
                updates = [
                    inserted(program, MANY + n), update(Delete, table_entry=program.forward(mac(n))),
                    update(Delete, table_entry=program.forward(mac(MANY - 1 - n))),
                    update(Modify, table_entry=program.forward(mac(n + 1), other)),
                    update(Modify, table_entry=program.forward(mac(MANY - 2 - n), other)),
                ]  # fmt: skip
                full.write(updates)

        engines[0].on_entry = write
        full.set_config(Push.RECONCILE_AND_COMMIT, program.config(5))
        assert len(engines) == 2
        before, after = (
            {(e.key, e.action) for page in pages(engine) for e in page} for engine in (engines[0], engines[1])
        )
        assert after == before
        assert len(changed) > MANY // 2

    def test_a_write_does_not_wait_for_the_old_engine_to_end(
        self, device: Device, engines: list[FakeEngine], plain_program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its threads may take their time."""
        stop = engines[0].stop

        def slowly() -> None:
            does_not_wait(lambda: device.write([inserted(plain_program, 1)]))
            stop()

        monkeypatch.setattr(engines[0], "stop", slowly)
        device.set_config(Push.RECONCILE_AND_COMMIT, plain_program.config())
        assert engines[0].stopped
        assert numbers(device.read(all_of(plain_program))) == [1]

    def test_a_failed_one_leaves_nothing_behind(
        self, full: Device, engines: list[FakeEngine], plain_program: Program
    ) -> None:
        def fail(state: EntryState) -> None:
            raise RuntimeError

        engines[0].on_entry = fail
        with pytest.raises(P4Error):
            full.set_config(Push.RECONCILE_AND_COMMIT, plain_program.config())
        engines[0].on_entry = lambda state: None
        assert full.write([inserted(plain_program, MANY)]) == [None]
        assert len(numbers(full.read(all_of(plain_program)))) == MANY + 1


def pages(engine: FakeEngine) -> Iterator[list[Any]]:
    start: int | None = 0
    engine.on_entry = lambda state: None
    while start is not None:
        page = engine.table_page("TestIngress.forward", start)
        yield [state.entry for state in page.entries]
        start = page.next


class TestCompiledPages:
    """The pages of the real engine."""

    TABLE = "IngressPipe.bridge"

    @pytest.fixture
    def engine(self) -> CompiledEngine:
        document = json.loads((PROGRAMS / "router.json").read_text())
        for pipeline in document["pipelines"]:
            for table in pipeline["tables"]:
                table["max_size"] = 4096
        return load_bytes(json.dumps(document).encode())

    def put(self, engine: CompiledEngine, number: int) -> None:
        engine.table_insert(self.TABLE, self.key(number), 0, call("IngressPipe.forward", (1, 9)))

    @staticmethod
    def key(number: int) -> tuple[KeyPart, ...]:
        return (exact(number, 48),)

    def test_changes_in_between(self, engine: CompiledEngine) -> None:
        for number in range(2000):
            self.put(engine, number)
        found: list[int] = []
        start: int | None = 0
        gone, new = [], 2000
        while start is not None:
            page = engine.table_page(self.TABLE, start)
            for number in range(len(found), len(found) + 200, 10):
                if number < 2000:
                    engine.table_delete(self.TABLE, self.key(number), 0)
                    gone.append(number)
            for _ in range(100):  # the table grows, and fills the holes
                self.put(engine, new)
                new += 1
            found += [int.from_bytes(state.entry.key[0].value, "big") for state in page.entries]
            start = page.next
        throughout = sorted(set(range(2000)) - set(gone))
        assert sorted(n for n in found if n in set(throughout)) == throughout
        assert len(found) == len(set(found))

    def test_one_entry(self, engine: CompiledEngine) -> None:
        for number in range(100):
            self.put(engine, number)
        assert engine.table_entry(self.TABLE, self.key(42), 0).entry.key == self.key(42)


def test_over_grpc(target: Target, plain_program: Program, election_id: int) -> None:
    """Several responses where BMv2 sends one: what a client collects of them is the same."""
    program = plain_program
    with target.controller(election_id=election_id) as controller:
        controller.arbitrate()
        controller.push(program)
        size = next(t.size for t in program.p4info.tables if t.preamble.name.endswith("forward"))
        macs = list(range(min(size, MANY)))
        assert set(controller.codes(*(inserted(program, n) for n in macs))) == {0}
        wanted = p4r.TableEntry(table_id=program.id("forward"))
        assert sorted(numbers_of(e.table_entry) for e in controller.read(table_entry=wanted)) == macs
        one = controller.read(table_entry=program.forward(mac(3)))
        assert [numbers_of(e.table_entry) for e in one] == [3]


def test_a_client_that_reads_slowly(fake: Target, plain_program: Program) -> None:
    """Its Read stands still on the server, and a Write is answered."""
    fake_size = 4 * MANY
    with fake.controller(election_id=1) as controller, Controller(fake.address) as other:
        controller.arbitrate()
        controller.push(plain_program)
        fake.engines[0]._tables["TestIngress.forward"].size = fake_size
        long = [inserted(plain_program, n, metadata=bytes(4000)) for n in range(fake_size)]
        for start in range(0, fake_size, 300):
            controller.write(*long[start : start + 300])
        request = p4r.ReadRequest(device_id=DEVICE_ID, entities=all_of(plain_program))
        responses = other.stub.Read(request, timeout=TIMEOUT)
        found = [next(responses)]
        controller.write(update(Delete, table_entry=plain_program.forward(mac(fake_size - 1))))
        found += responses
        assert len(numbers(found)) in (fake_size - 1, fake_size)
