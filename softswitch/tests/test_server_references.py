# SPDX-License-Identifier: Apache-2.0
"""Entries that refer to members and groups: written in one step, and carried over by a push while writes go on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from engine_scenarios import PROGRAMS, exact
from engine_support import load_program
from finsy.proto import p4i, p4r, rpc_code
from google.protobuf import text_format
from p4softswitch.engine_api import CounterValue, ProfileRef
from p4softswitch.server import Device, P4Error, Ports
from p4softswitch.server.pipeline import Pipeline
from p4softswitch.server.reconciliation import Reconciliation
from p4softswitch.server.replication import Limits
from p4softswitch.server.schema import read_p4info
from server_fake_engine import FakeEngine
from server_harness import DEVICE_ID, Delete, Insert, Modify, Program, Push, update

KINDS = ("action_profile_member", "action_profile_group", "table_entry")


def read_program(name: str) -> Program:
    text = (PROGRAMS / f"{name}.p4info.txtpb").read_text()
    return Program(text_format.Parse(text, p4i.P4Info()), (PROGRAMS / f"{name}.json").read_bytes())


@pytest.fixture(scope="module")
def profiles() -> Program:
    return read_program("profiles")


@pytest.fixture
def device(profiles: Program) -> Iterator[Device]:
    device = Device(DEVICE_ID, FakeEngine, Ports(()), send_digest=lambda message: None)
    device.set_config(Push.VERIFY_AND_COMMIT, profiles.config())
    yield device
    device.stop()


class Writer:
    """Inserts, changes and deletes at random, in both ways to use an action profile; some of it is refused."""

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._rng = random.Random(seed)
        self._profile = next(p.preamble.id for p in program.p4info.action_profiles if p.preamble.alias == "selector")

    def send(self) -> Any:
        return self._program.action("send", bytes([self._rng.randrange(1, 200)])).action

    def member(self, number: int) -> Any:
        return p4r.ActionProfileMember(action_profile_id=self._profile, member_id=number, action=self.send())

    def group(self, number: int) -> Any:
        message = p4r.ActionProfileGroup(action_profile_id=self._profile, group_id=number)
        message.max_size = self._rng.choice((0, 9))
        for item in self._rng.sample(range(1, 9), self._rng.randrange(3)):
            message.members.add(member_id=item, weight=self._rng.randrange(1, 4))
        return message

    def entry(self, number: int) -> Any:
        kind, action = self._rng.randrange(3), p4r.TableAction()
        if kind == 0:
            action.action_profile_member_id = self._rng.randrange(1, 9)
        elif kind == 1:
            action.action_profile_group_id = self._rng.randrange(1, 5)
        else:
            item = action.action_profile_action_set.action_profile_actions.add(weight=self._rng.randrange(1, 4))
            item.action.CopyFrom(self.send())
        return self._program.entry("balance", {1: {"exact": {"value": bytes([number])}}}, action)

    def clear(self) -> list[Any]:
        """Everything goes: the way that is used may be the other one from now on."""
        return [
            *(update(Delete, table_entry=self.entry(n)) for n in range(1, 40)),
            *(update(Delete, action_profile_group=self.group(n)) for n in range(1, 5)),
            *(update(Delete, action_profile_member=self.member(n)) for n in range(1, 9)),
        ]

    def updates(self) -> list[Any]:
        rng = self._rng
        if not rng.randrange(60):
            return self.clear()
        kind = rng.choice((Insert, Insert, Modify, Delete))
        place = rng.randrange(8)
        if place < 2:
            return [update(kind, action_profile_member=self.member(rng.randrange(1, 9)))]
        if place < 4:
            return [update(kind, action_profile_group=self.group(rng.randrange(1, 5)))]
        return [update(kind, table_entry=self.entry(rng.randrange(1, 40)))]


def state(pipeline: Pipeline) -> dict[str, list[str]]:
    """What a Read gives, whatever the order."""
    found = {}
    for kind in KINDS:
        entity = p4r.Entity()
        getattr(entity, kind).SetInParent()
        found[kind] = sorted(str(e) for e in pipeline.read([entity], nullcontext))
    return found


def running(device: Device) -> Pipeline:
    assert device._running is not None
    assert device._running.pipeline is not None
    return device._running.pipeline


class TestReconciliation:
    @pytest.mark.parametrize("seed", range(8))
    def test_what_is_written_meanwhile(
        self, device: Device, profiles: Program, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Writes come in everywhere; what is there at the end is there afterwards, and nothing else."""
        writer, old = Writer(profiles, seed), running(device)
        read, replace = Pipeline.forwarding_state, Reconciliation._replace

        def write(count: int) -> None:
            for _ in range(count):
                updates = writer.updates()
                for at in range(0, len(updates), 16):  # small ones: large ones wait for their turn, here for ever
                    device.write(updates[at : at + 16])

        def interleaved(self: Pipeline, hold: Any) -> Iterator[Any]:
            for entity in read(self, hold):
                yield entity
                write(4)

        def after_writes(self: Reconciliation, *rest: Any) -> None:
            if not self._is_last:
                write(30)  # it finds a later state than that of which it was told
            replace(self, *rest)
            if not self._is_last:
                write(30)

        write(300)
        monkeypatch.setattr(Pipeline, "forwarding_state", interleaved)
        monkeypatch.setattr(Reconciliation, "_replace", after_writes)
        device.set_config(Push.RECONCILE_AND_COMMIT, profiles.config())
        assert running(device) is not old
        assert state(running(device)) == state(old)

    def test_what_the_new_program_cannot_take(self, device: Device, profiles: Program) -> None:
        """It is refused for it, at once, with the rest of it saved."""
        writer = Writer(profiles, 0)
        group = writer.group(1)
        del group.members[:]
        group.max_size = 9
        device.write([update(Insert, action_profile_member=writer.member(n)) for n in (1, 2)])
        assert device.write([update(Insert, action_profile_group=group)]) == [None]
        smaller = profiles.config()
        for profile in smaller.p4info.action_profiles:
            profile.max_group_size = min(profile.max_group_size, 4)
        with pytest.raises(P4Error, match="max_size of a group is 0 to 4"):
            device.set_config(Push.RECONCILE_AND_COMMIT, smaller)
        device.set_config(Push.COMMIT, smaller)
        found = state(running(device))
        assert [len(found[kind]) for kind in KINDS] == [2, 0, 0]


class TestOneStep:
    """An entry of a compiled program is there with what it refers to, its counter, and its time."""

    def test_counter_and_reference(self, profiles: Program) -> None:
        engine = load_program("profiles")
        pipeline = Pipeline(read_p4info(profiles.p4info), engine, Limits(), lambda message: None)
        writer = Writer(profiles, 1)
        entry = writer.entry(7)
        entry.action.action_profile_member_id = 3
        entry.counter_data.packet_count = 40
        key = (exact(7, 48),)
        results = pipeline.write(
            [
                update(Insert, action_profile_member=writer.member(3)),
                update(Insert, table_entry=entry),
            ]
        )
        assert results == [None, None]
        found = engine.table_entry("Pipe.balance", key, 0)
        assert found.entry.action == ProfileRef(0)
        assert found.count == CounterValue(40, 0)
        assert [s.count for s in engine.table_page("Pipe.balance").entries] == [found.count]
        entry.counter_data.packet_count = 50
        entry.action.action_profile_member_id = 4
        refused, taken = pipeline.write(
            [update(Modify, table_entry=entry), update(Modify, table_entry=with_member_three(entry))]
        )
        assert refused is not None
        assert refused.number == rpc_code.INVALID_ARGUMENT
        assert taken is None
        assert engine.table_entry("Pipe.balance", key, 0).count == CounterValue(50, 0)

    def test_the_time_is_that_of_the_entry(self) -> None:
        """In an exact read as in a page, for new entries as for changed ones."""
        engine = load_program("ageing")
        key = (exact(0x800, 16),)
        engine.set_clock(1000)
        engine.table_insert("Pipe.referring", key, 0, ProfileRef(1))
        engine.set_clock(4000)
        assert engine.table_entry("Pipe.referring", key, 0).idle_us == 3000
        assert [s.idle_us for s in engine.table_page("Pipe.referring").entries] == [3000]
        engine.table_modify("Pipe.referring", key, 0, ProfileRef(2, group=True))
        engine.set_clock(4001)
        found = engine.table_entry("Pipe.referring", key, 0)
        assert found.idle_us == 1
        assert found.entry.action == ProfileRef(2, group=True)


def with_member_three(entry: Any) -> Any:
    """The entry, with the member that there is."""
    changed = p4r.TableEntry()
    changed.CopyFrom(entry)
    changed.action.action_profile_member_id = 3
    return changed
