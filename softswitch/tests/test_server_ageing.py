# SPDX-License-Identifier: Apache-2.0
"""Idle timeouts: who is told of what when, and what reads say."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from engine_scenarios import PROGRAMS, call, exact, ternary
from engine_support import load_program
from finsy.proto import p4i, p4r, rpc_code
from google.protobuf import text_format
from p4softswitch.engine_api import ProfileRef
from p4softswitch.server import Device, Ports
from p4softswitch.server.ageing import SHORTEST_NS, Ageing, _Timeout
from p4softswitch.server.schema import read_p4info
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, TIMEOUT, Controller, Delete, Insert, Modify, Program, Push, Target, update

MAC = b"\x02\x00\x00\x00\x00\x01"
OTHER = b"\x02\x00\x00\x00\x00\x02"
FRAME = MAC + OTHER + b"\x08\x00" + bytes(50)
MS = 1_000_000
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def ageing_program() -> Program:
    text = (PROGRAMS / "ageing.p4info.txtpb").read_text()
    return Program(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / "ageing.json").read_bytes())


@pytest.fixture
def pushed(target: Target, ageing_program: Program) -> Iterator[Controller]:
    with target.controller(election_id=2000 + next(_NUMBERS)) as controller:
        assert controller.arbitrate().status.code == 0
        controller.push(ageing_program)
        yield controller


def forward(program: Program, mac: bytes, port: int | None = 7, **rest: Any) -> Any:
    action = None if port is None else program.action("send", bytes([port]))
    return program.forward(mac, action, **rest)


class TestOverTheStream:
    def test_notification(self, pushed: Controller, ageing_program: Program) -> None:
        """The entry by its key, with what its controller wrote to it; not the one without a timeout; and again."""
        pushed.write(
            update(Insert, table_entry=forward(ageing_program, OTHER)),
            update(
                Insert,
                table_entry=forward(ageing_program, MAC, idle_timeout_ns=300 * MS, controller_metadata=5),
            ),
        )
        for _ in range(2):
            message = pushed.receive()
            assert message.WhichOneof("update") == "idle_timeout_notification"
            assert message.idle_timeout_notification.timestamp > 0
            (entry,) = message.idle_timeout_notification.table_entry
            wanted = forward(ageing_program, MAC, None, idle_timeout_ns=300 * MS, controller_metadata=5)
            assert entry == wanted

    def test_reading(self, pushed: Controller, ageing_program: Program) -> None:
        pushed.write(update(Insert, table_entry=forward(ageing_program, MAC, idle_timeout_ns=10**13)))
        request = p4r.TableEntry(table_id=ageing_program.id("forward"))
        (entry,) = [e.table_entry for e in pushed.read(table_entry=request)]
        assert entry == forward(ageing_program, MAC, idle_timeout_ns=10**13)
        request.time_since_last_hit.SetInParent()
        (entry,) = [e.table_entry for e in pushed.read(table_entry=request)]
        assert entry.HasField("time_since_last_hit")
        assert 0 <= entry.time_since_last_hit.elapsed_ns < 10**13
        pushed.write(update(Modify, table_entry=forward(ageing_program, MAC)))
        (entry,) = [e.table_entry for e in pushed.read(table_entry=p4r.TableEntry(table_id=request.table_id))]
        assert entry == forward(ageing_program, MAC)
        pushed.write(update(Delete, table_entry=forward(ageing_program, MAC, None)))
        assert pushed.read_code(table_entry=request) is grpc.StatusCode.OK

    def test_what_is_refused(self, pushed: Controller, ageing_program: Program) -> None:
        negative = forward(ageing_program, MAC, idle_timeout_ns=-1)
        assert pushed.code(Insert, table_entry=negative) == rpc_code.INVALID_ARGUMENT
        written = forward(ageing_program, MAC)
        written.time_since_last_hit.elapsed_ns = 1
        assert pushed.code(Insert, table_entry=written) == rpc_code.INVALID_ARGUMENT


class TestWhichPipeline:
    """Only the one that runs tells of its entries."""

    @pytest.fixture
    def told(self) -> queue.SimpleQueue[Any]:
        return queue.SimpleQueue()

    @pytest.fixture
    def device(self, told: queue.SimpleQueue[Any], ageing_program: Program) -> Iterator[Device]:
        device = Device(DEVICE_ID, FakeEngine, Ports(()), send_digest=told.put)
        device.set_config(Push.VERIFY_AND_COMMIT, ageing_program.config())
        yield device
        device.stop()

    @staticmethod
    def age(device: Device, program: Program, mac: bytes) -> None:
        entry = forward(program, mac, idle_timeout_ns=SHORTEST_NS)
        assert device.write([update(Insert, table_entry=entry)]) == [None]

    @staticmethod
    def next_told(told: queue.SimpleQueue[Any]) -> bytes:
        (entry,) = told.get(timeout=TIMEOUT).idle_timeout_notification.table_entry
        value: bytes = entry.match[0].exact.value
        return value

    def test_saved(self, device: Device, told: queue.SimpleQueue[Any], ageing_program: Program) -> None:
        device.set_config(Push.VERIFY_AND_SAVE, ageing_program.config())
        self.age(device, ageing_program, MAC)
        assert device._saved is not None
        assert device._saved.pipeline is not None
        ageing = device._saved.pipeline._ageing
        assert ageing.expire(time.monotonic_ns() + 10**15) == []
        assert ageing._thread is None
        device.set_config(Push.COMMIT, p4r.ForwardingPipelineConfig())
        assert self.next_told(told) == MAC

    def test_reconciled(
        self, device: Device, told: queue.SimpleQueue[Any], ageing_program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is carried over goes on, and no thread runs before the swap."""
        self.age(device, ageing_program, MAC)
        seen: list[Any] = []
        swap = Device._switch_to

        def swapped(self: Device, loaded: Any) -> None:
            seen.append((len(loaded.pipeline._ageing._timeouts), loaded.pipeline._ageing._thread))
            swap(self, loaded)

        monkeypatch.setattr(Device, "_switch_to", swapped)
        device.set_config(Push.RECONCILE_AND_COMMIT, ageing_program.config())
        assert seen == [(1, None)]
        while not told.empty():  # of before
            told.get()
        assert self.next_told(told) == MAC

    @pytest.mark.parametrize("data", [None, b""], ids=["pushed again", "adopted"])
    def test_in_place(
        self, device: Device, told: queue.SimpleQueue[Any], ageing_program: Program, data: bytes | None
    ) -> None:
        config = ageing_program.config()
        if data is not None:
            config.p4_device_config = data
        device.set_config(Push.VERIFY_AND_COMMIT, config)
        self.age(device, ageing_program, OTHER)
        assert self.next_told(told) == OTHER


class TestTime:
    """With the time of the test's own."""

    def test_hits_put_it_off(self, ageing_program: Program) -> None:
        engine = load_program("ageing")
        ageing = Ageing(read_p4info(ageing_program.p4info), engine, lambda message: None)
        table = next(t for t in read_p4info(ageing_program.p4info).tables.values() if t.name == "Pipe.forward")
        key = ((exact(int.from_bytes(MAC, "big"), 48),), 0)

        def keys(now: int) -> list[bytes]:
            return [e.match[0].exact.value for n in ageing.expire(now) for e in n.table_entry]

        ageing.start(now=0)
        engine.set_clock(0)
        engine.table_insert(table.name, *key, call("Pipe.send", (1, 9)))
        ageing.set(table, key, p4r.TableEntry(idle_timeout_ns=500 * MS), now=0)
        engine.set_clock(400_000)
        assert engine.process(1, FRAME) != []
        engine.set_clock(500_000)
        assert keys(500 * MS) == []  # hit after 400 ms
        engine.set_clock(899_999)
        assert keys(899 * MS) == []
        engine.set_clock(900_000)
        assert keys(900 * MS) == [MAC]
        assert keys(901 * MS) == []
        engine.set_clock(1_400_000)
        assert keys(1400 * MS) == [MAC]  # still idle
        ageing.set(table, key, p4r.TableEntry(idle_timeout_ns=1), now=1400 * MS)
        assert keys(1401 * MS) == [MAC]
        assert keys(1401 * MS + SHORTEST_NS - 1) == []
        assert keys(1401 * MS + SHORTEST_NS) == [MAC]
        engine.table_delete(table.name, *key)
        assert keys(3000 * MS) == []
        ageing.set(table, key, p4r.TableEntry(idle_timeout_ns=1), now=3000 * MS)
        ageing.forget(table, key)
        assert keys(4000 * MS) == []
        ageing.close()

    def test_it_begins_when_packets_come(self, ageing_program: Program) -> None:
        """Before that nothing is told of, and no time passes."""
        engine = load_program("ageing")
        schema = read_p4info(ageing_program.p4info)
        ageing = Ageing(schema, engine, lambda message: None)
        table = next(t for t in schema.tables.values() if t.name == "Pipe.forward")
        engine.set_clock(0)
        keys = [((exact(number, 48),), 0) for number in (1, 2, 3)]
        for key in keys:
            engine.table_insert(table.name, *key, call("Pipe.send", (1, 9)))
            ageing.set(table, key, p4r.TableEntry(idle_timeout_ns=500 * MS), now=0)
        ageing.forget(table, keys[1])
        ageing.set(table, keys[2], p4r.TableEntry(), now=0)
        assert ageing.expire(10**15) == []
        engine.set_clock(7_000_000)
        ageing.start(now=7000 * MS)
        engine.set_clock(7_499_999)
        assert ageing.expire(7499 * MS) == []
        engine.set_clock(7_500_000)
        (notification,) = ageing.expire(7500 * MS)
        assert [e.match[0].exact.value for e in notification.table_entry] == [b"\x01"]

    def test_it_ends_with_the_pipeline(self, ageing_program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also between the look at an entry and the word to the controller."""
        sent: list[Any] = []
        ageing = Ageing(read_p4info(ageing_program.p4info), load_program("ageing"), sent.append)

        def expire(_now: int) -> list[Any]:
            ageing.close()
            return [p4r.IdleTimeoutNotification(timestamp=1)]

        monkeypatch.setattr(ageing, "expire", expire)
        ageing._look_at(
            _Timeout(0, next(iter(read_p4info(ageing_program.p4info).tables.values())), ((), 0), 1, 0, b""), 0
        )
        ageing._run()
        assert sent == []

    def test_entries_that_change_leave_nothing(self, ageing_program: Program) -> None:
        schema = read_p4info(ageing_program.p4info)
        ageing = Ageing(schema, load_program("ageing"), lambda message: None)
        table = next(t for t in schema.tables.values() if t.name == "Pipe.forward")
        ageing.start(now=0)
        for number in range(10_000):
            ageing.set(table, ((exact(number % 7, 48),), 0), p4r.TableEntry(idle_timeout_ns=10**15), now=0)
        assert len(ageing._due) < 3000

    def test_every_kind_of_table(self) -> None:
        """The time of the hit stands beside keys, parameters, members and the default action."""
        engine = load_program("ageing")
        engine.set_clock(1000)
        assert engine.process(1, FRAME) == [(3, FRAME[:12] + b"\x11\x11" + FRAME[14:])]
        source = (ternary(int.from_bytes(OTHER, "big"), (1 << 48) - 1, 48),)
        engine.table_insert("Pipe.learned", source, 5, call("Pipe.retype", (0x2222, 16)))
        engine.profile_members_set("Pipe.members", [4], call("Pipe.retype", (0x3333, 16)))
        engine.table_insert("Pipe.referring", (exact(0x800, 16),), 0, ProfileRef(4))
        engine.table_set_default("Pipe.forward", call("Pipe.send", (9, 9)))
        engine.set_clock(5000)
        assert engine.table_entry("Pipe.learned", source, 5).idle_us == 4000
        assert engine.process(1, FRAME) == [(9, FRAME[:12] + b"\x22\x22" + FRAME[14:])]
        engine.set_clock(5500)
        assert engine.table_entry("Pipe.learned", source, 5).idle_us == 500
        assert engine.table_entry("Pipe.referring", (exact(0x800, 16),), 0).idle_us == 500
        assert engine.table_entries("Pipe.learned")[0].action == call("Pipe.retype", (0x2222, 16))
        assert engine.table_entries("Pipe.referring")[0].action == ProfileRef(4)
        assert engine.table_get_default("Pipe.forward") == call("Pipe.send", (9, 9))
