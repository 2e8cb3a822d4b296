# SPDX-License-Identifier: Apache-2.0
"""Property tests: the state after any sequence of writes equals a model's, and no message of any shape takes the server
down.

The model is written from the specification and from BMv2's answers, without looking at the server; BMv2 is held against
it too.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from server_harness import TIMEOUT, Controller, Delete, Insert, Modify, Program, Push, Target, update

PROGRAM = Program.load("with_arrays")
OK, INVALID = rpc_code.OK, rpc_code.INVALID_ARGUMENT
SETTINGS = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# -----------------------------------------------------------------------------------------------------------------
# model


@dataclass
class Model:
    """Entries, default actions, counters and groups as the specification has them, for the part of the program used
    here."""

    full: int
    forward: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    acl: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)
    default: tuple[Any, ...] | None = None
    counts: dict[int, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(range(4), (0, 0)))
    groups: dict[int, frozenset[tuple[int, int]]] = field(default_factory=dict)

    def _write(self, store: dict[Any, Any], size: int | None, kind: int, key: Any, value: Any) -> int:
        if kind == Insert:
            if key in store:
                return rpc_code.ALREADY_EXISTS
            if size is not None and len(store) >= size:
                return self.full
        elif key not in store:
            return rpc_code.NOT_FOUND
        if kind == Delete:
            del store[key]
        else:
            store[key] = value
        return OK


class Step:
    """One update: what is sent, and what it does to the model."""

    def message(self) -> Any:
        raise NotImplementedError

    def apply(self, model: Model) -> int:
        raise NotImplementedError


@dataclass(frozen=True)
class Forward(Step):
    kind: int
    mac: int
    action: tuple[Any, ...]
    zeros: int
    metadata: bytes

    def message(self) -> Any:
        value = bytes(self.zeros) + self.mac.to_bytes(2, "big")
        action = PROGRAM.action(*self.action)
        return update(self.kind, table_entry=PROGRAM.forward(value, action, metadata=self.metadata))

    def apply(self, model: Model) -> int:
        # What is wrong with the action is seen before the entry is looked for, but a deletion does not look at it.
        if self.kind != Delete and self.action[0] == "drop":
            return INVALID
        if self.kind != Delete and self.action[0] == "miss":
            return rpc_code.PERMISSION_DENIED
        if self.kind != Delete and self.action[0] == "set_port" and int.from_bytes(self.action[1], "big") > 511:
            return INVALID
        return model._write(model.forward, 16, self.kind, self.mac, (self.action, self.metadata))


@dataclass(frozen=True)
class Acl(Step):
    kind: int
    value: int
    mask: int
    port: int | None
    low: int
    high: int
    priority: int

    def message(self) -> Any:
        match: dict[int, dict[str, Any]] = {
            1: {"ternary": {"value": self.value.to_bytes(2, "big"), "mask": self.mask.to_bytes(2, "big")}},
            3: {"range": {"low": self.low.to_bytes(1, "big"), "high": self.high.to_bytes(2, "big")}},
        }
        if self.port is not None:
            match[2] = {"optional": {"value": self.port.to_bytes(2, "big")}}
        return update(
            self.kind, table_entry=PROGRAM.entry("acl", match, PROGRAM.action("drop"), priority=self.priority)
        )

    def apply(self, model: Model) -> int:
        if not self.mask or self.value & ~self.mask or self.low > self.high or not self.priority:
            return INVALID
        if self.port is not None and self.port > 511:
            return INVALID
        key = (self.value, self.mask, self.port, self.low, self.high, self.priority)
        return model._write(model.acl, 8, self.kind, key, ())


@dataclass(frozen=True)
class Default(Step):
    kind: int
    vlan: int | None

    def message(self) -> Any:
        action = None if self.vlan is None else PROGRAM.action("note", self.vlan.to_bytes(2, "big"), b"\1", b"\1")
        return update(self.kind, table_entry=PROGRAM.entry("nothing_to_match", {}, action, is_default_action=True))

    def apply(self, model: Model) -> int:
        if self.kind != Modify or (self.vlan is not None and self.vlan > 0xFFF):
            return INVALID
        model.default = None if self.vlan is None else (self.vlan,)
        return OK


@dataclass(frozen=True)
class Count(Step):
    kind: int
    index: int
    packets: int
    octets: int

    def message(self) -> Any:
        data = p4r.CounterData(packet_count=self.packets, byte_count=self.octets)
        counter = PROGRAM.id("both_counter")
        entry = p4r.CounterEntry(counter_id=counter, index=p4r.Index(index=self.index), data=data)
        return update(self.kind, counter_entry=entry)

    def apply(self, model: Model) -> int:
        if self.index < 0 or self.kind == Insert:
            return INVALID
        if self.index > 3:
            return rpc_code.UNKNOWN
        model.counts[self.index] = (self.packets, self.octets) if self.kind == Modify else (0, 0)
        return OK


@dataclass(frozen=True)
class Group(Step):
    kind: int
    number: int
    replicas: tuple[tuple[int, int], ...]

    def message(self) -> Any:
        entry = p4r.MulticastGroupEntry(multicast_group_id=self.number)
        for port, instance in self.replicas:
            entry.replicas.add(egress_port=port, instance=instance)
        group = p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)
        return update(self.kind, packet_replication_engine_entry=group)

    def apply(self, model: Model) -> int:
        if not self.number:
            return INVALID
        if self.number >= 1 << 15:
            return rpc_code.OUT_OF_RANGE
        if (self.kind == Insert) == (self.number in model.groups):
            return rpc_code.ALREADY_EXISTS if self.kind == Insert else rpc_code.NOT_FOUND
        if self.kind != Delete and len(set(self.replicas)) != len(self.replicas):
            return INVALID
        return model._write(model.groups, None, self.kind, self.number, frozenset(self.replicas))


KINDS = st.sampled_from([Insert, Insert, Modify, Delete])
ACTIONS = st.sampled_from(
    [("to_cpu",), ("set_port", b"\x01"), ("set_port", b"\x00\x07"), ("set_port", b"\x02\x00"), ("flood", b"\x05"),
     ("drop",), ("miss",)]
)  # fmt: skip
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Forward, KINDS, st.integers(0, 20), ACTIONS, st.integers(0, 8), st.binary(max_size=2)),
    st.builds(
        Acl, KINDS, st.sampled_from([0, 1, 0x0800]), st.sampled_from([0, 1, 0xFF00, 0xFFFF]),
        st.sampled_from([None, 0, 511, 512]), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2),
    ),
    st.builds(Default, st.sampled_from([Insert, Modify, Modify, Delete]), st.sampled_from([None, 0, 0xFFF, 0x1000])),
    st.builds(Count, KINDS, st.integers(-1, 4), st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1)),
    st.builds(
        Group, KINDS, st.sampled_from([0, 1, 2, 32767, 32768, 2**32 - 1]),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4).map(tuple),
    ),
)  # fmt: skip


def number(value: bytes) -> int:
    assert value == (value.lstrip(b"\0") or b"\0"), "not canonical"
    return int.from_bytes(value, "big")


def observe(ctl: Controller) -> Model:
    """The state of the switch, read back."""
    found = Model(0)
    for entity in ctl.read(table_entry=p4r.TableEntry()):
        entry = entity.table_entry
        fields = {match.field_id: match for match in entry.match}
        if entry.table_id == PROGRAM.id("forward"):
            alias = {a.preamble.id: a.preamble.alias for a in PROGRAM.p4info.actions}[entry.action.action.action_id]
            action = (alias, *[number(p.value) for p in entry.action.action.params])
            found.forward[number(fields[1].exact.value)] = (action, entry.metadata)
        elif entry.table_id == PROGRAM.id("acl"):
            port = number(fields[2].optional.value) if 2 in fields else None
            ternary, span = fields[1].ternary, fields[3].range
            key = (
                number(ternary.value),
                number(ternary.mask),
                port,
                number(span.low),
                number(span.high),
                entry.priority,
            )
            found.acl[key] = ()
    default = PROGRAM.entry("nothing_to_match", {}, is_default_action=True)
    action = ctl.read(table_entry=default)[0].table_entry.action.action
    found.default = (number(action.params[0].value),) if action.params else None
    for entity in ctl.read(counter_entry=p4r.CounterEntry(counter_id=PROGRAM.id("both_counter"))):
        cell = entity.counter_entry
        found.counts[cell.index.index] = (cell.data.packet_count, cell.data.byte_count)
    everything = p4r.PacketReplicationEngineEntry(multicast_group_entry=p4r.MulticastGroupEntry())
    for entity in ctl.read(packet_replication_engine_entry=everything):
        group = entity.packet_replication_engine_entry.multicast_group_entry
        found.groups[group.multicast_group_id] = frozenset((r.egress_port, r.instance) for r in group.replicas)
    return found


def expected(model: Model) -> Model:
    """The model in the form in which it is read back."""
    forward = {
        mac: ((action[0], *[int.from_bytes(p, "big") for p in action[1:]]), metadata)
        for mac, (action, metadata) in model.forward.items()
    }
    return Model(0, forward, model.acl, model.default, model.counts, model.groups)


@pytest.fixture(scope="module")
def primary(target: Target) -> Iterator[Controller]:
    with target.controller(election_id=2**100) as controller:
        controller.arbitrate()
        controller.push(PROGRAM)
        yield controller


@SETTINGS
@given(batches=st.lists(st.lists(STEPS, min_size=1, max_size=6), max_size=12))
def test_state_equals_model(target: Target, primary: Controller, batches: list[list[Step]]) -> None:
    primary.push(PROGRAM)
    model = Model(rpc_code.UNKNOWN if target.name == "bmv2" else rpc_code.RESOURCE_EXHAUSTED)
    for batch in batches:
        codes = primary.codes(*[step.message() for step in batch])
        assert codes == [step.apply(model) for step in batch]
    assert observe(primary) == expected(model)


# ------------------------------------------------------------------------------------------------------- random
# messages

IDS = sorted(
    {
        item.preamble.id
        for kind in ("tables", "actions", "counters", "direct_counters", "meters", "direct_meters", "registers")
        for item in getattr(PROGRAM.p4info, kind)
    }
)
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def _scalar(descriptor: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = descriptor.type
    if kind == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=9)
    if kind == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=3)
    if kind == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from([v.number for v in descriptor.enum_type.values]) | st.integers(-3, 99)
    if kind in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return st.floats(width=32)
    low, high = _INTEGERS[kind]
    pool = [value for value in (*IDS, low, high, -1, 511, 512, 32768) if low <= value <= high]
    return st.integers(0, 9) | st.sampled_from(pool) | st.integers(low, high)


def fill(draw: Any, message: Any, depth: int) -> Any:
    """Set some fields of a message, and of the messages in it."""
    descriptor: Descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Any":
        return message
    for item in descriptor.fields:
        if not draw(st.integers(0, 2)):
            continue
        if item.type == FieldDescriptor.TYPE_MESSAGE:
            if depth == 0 or item.message_type.GetOptions().map_entry:
                continue
            if item.is_repeated:
                for _ in range(draw(st.integers(1, 3))):
                    fill(draw, getattr(message, item.name).add(), depth - 1)
            else:
                getattr(message, item.name).SetInParent()
                fill(draw, getattr(message, item.name), depth - 1)
        elif item.is_repeated:
            getattr(message, item.name).extend(draw(st.lists(_scalar(item), max_size=2)))
        else:
            setattr(message, item.name, draw(_scalar(item)))
    return message


@st.composite
def messages(draw: Any, kind: Any, depth: int = 5) -> Any:
    return fill(draw, kind(), depth)


def ours(target: Target) -> None:
    if target.name == "bmv2":
        pytest.skip("BMv2 does not survive every message")


def code_of(call: Any, request: Any) -> grpc.StatusCode:
    try:
        response = call(request, timeout=TIMEOUT)
        if hasattr(response, "__next__"):
            for _ in response:
                pass
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return grpc.StatusCode.OK


def assert_consistent(ctl: Controller) -> None:
    """Every entry that can be read can be written back: nothing was half written."""
    for entity in ctl.read(table_entry=p4r.TableEntry()):
        if entity.table_entry.table_id != PROGRAM.id("fixed"):
            assert ctl.codes(p4r.Update(type=Insert, entity=entity)) == [rpc_code.ALREADY_EXISTS]
            assert ctl.codes(p4r.Update(type=Modify, entity=entity)) == [OK]
    for kind in ("multicast_group_entry", "clone_session_entry"):
        wanted = p4r.PacketReplicationEngineEntry()
        getattr(wanted, kind).SetInParent()
        for entity in ctl.read(packet_replication_engine_entry=wanted):
            assert ctl.codes(p4r.Update(type=Modify, entity=entity)) == [OK]


def fatal(code: grpc.StatusCode) -> bool:
    return code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@SETTINGS
@given(updates=st.lists(messages(p4r.Update), max_size=8))
def test_random_writes(target: Target, primary: Controller, updates: list[Any]) -> None:
    ours(target)
    codes = primary.codes(*updates)
    assert not [code for code in codes if code == rpc_code.INTERNAL]
    assert_consistent(primary)


@SETTINGS
@given(entities=st.lists(messages(p4r.Entity), max_size=4))
def test_random_reads(target: Target, primary: Controller, entities: list[Any]) -> None:
    ours(target)
    for entity in entities:
        request = p4r.ReadRequest(device_id=primary.device_id, entities=[entity])
        assert not fatal(code_of(primary.stub.Read, request))


@SETTINGS
@example(request=Push(action=Push.RECONCILE_AND_COMMIT), own=True)
@given(request=messages(Push, 6), own=st.booleans())
def test_random_pushes(target: Target, primary: Controller, request: Any, own: bool) -> None:
    ours(target)
    request.device_id = primary.device_id
    request.election_id.CopyFrom(primary._number())
    request.ClearField("role")
    request.ClearField("role_id")
    if own:
        request.config.p4_device_config = PROGRAM.device_config
    code = code_of(primary.stub.SetForwardingPipelineConfig, request)
    assert not fatal(code)
    if request.action == Push.RECONCILE_AND_COMMIT:
        # One that is refused because of what is in the tables leaves the new program saved.
        with contextlib.suppress(grpc.RpcError):
            primary.push(None, Push.COMMIT)
        primary.push(PROGRAM)
    elif code is grpc.StatusCode.OK:
        if request.action == Push.VERIFY_AND_SAVE:
            primary.push(None, Push.COMMIT)
        primary.push(PROGRAM)
    assert_consistent(primary)


@SETTINGS
@given(message=st.one_of(*[messages(kind) for kind in (p4r.WriteRequest, p4r.ReadRequest)]))
def test_random_requests(target: Target, primary: Controller, message: Any) -> None:
    ours(target)
    call = primary.stub.Write if isinstance(message, p4r.WriteRequest) else primary.stub.Read
    assert not fatal(code_of(call, message))
    config = p4r.GetForwardingPipelineConfigRequest(device_id=primary.device_id)
    assert code_of(primary.stub.GetForwardingPipelineConfig, config) is grpc.StatusCode.OK


_ELECTION_IDS = itertools.count(1)


@SETTINGS
@given(stream=st.lists(messages(p4r.StreamMessageRequest), max_size=5), arbitrated=st.booleans())
def test_random_streams(target: Target, primary: Controller, stream: list[Any], arbitrated: bool) -> None:
    ours(target)
    with target.controller(election_id=next(_ELECTION_IDS)) as controller:
        if arbitrated:
            controller.arbitrate()
        else:
            controller.open()
        for message in stream:
            if message.WhichOneof("update") == "arbitration":
                message.arbitration.election_id.high = 0  # never above the primary of this test
            controller._out.put(message)
        controller.end()
        last: Any = controller.receive()
        while isinstance(last, p4r.StreamMessageResponse):
            last = controller.receive()
        assert last is None or not fatal(last.code())
    # The primary still is.
    primary.write()
