# SPDX-License-Identifier: Apache-2.0
"""What a pipeline push does to the pipeline, the entries, the registers and the packets, for each action."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from finsy.proto import p4i, p4r
from p4softswitch.server import P4Error, PortSpec, Switch, SwitchOptions
from server_fake_engine import CPU_PORT, FakeEngine
from server_harness import (
    DEVICE_ID,
    TIMEOUT,
    Controller,
    Insert,
    Modify,
    Program,
    Push,
    Target,
    fake_switch,
    update,
    without_constant_table,
)

Get = p4r.GetForwardingPipelineConfigRequest
MAC = b"\x02\x00\x00\x00\x00\x01"
FRAME = MAC + b"\x02\x00\x00\x00\x00\x02" + b"\x08\x00" + bytes(range(50))


@pytest.fixture
def switch(fresh_target: Target) -> Target:
    return fresh_target


@pytest.fixture
def new(switch: Target) -> Iterator[Controller]:
    """The primary of a switch without a pipeline."""
    with switch.controller() as controller:
        controller.arbitrate()
        yield controller


def fails(ctl: Controller, program: Program | None, action: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        ctl.push(program, action)
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    assert caught.value.details()
    return code


def entry(program: Program, **rest: Any) -> Any:
    return program.forward(MAC, program.action("to_cpu"), **rest)


def forward_entries(ctl: Controller, program: Program) -> list[Any]:
    found = ctl.read(table_entry=p4r.TableEntry(table_id=program.id("forward")))
    return [e.table_entry for e in found]


def group(number: int) -> Any:
    group = p4r.MulticastGroupEntry(multicast_group_id=number, replicas=[p4r.Replica(egress_port=CPU_PORT, instance=1)])
    return p4r.PacketReplicationEngineEntry(multicast_group_entry=group)


def seen(ctl: Controller) -> int:
    """Let a packet-out come back as packet-in: how many packets have passed since the registers were reset."""
    packet = p4r.PacketOut(payload=FRAME)
    packet.metadata.add(metadata_id=1, value=CPU_PORT.to_bytes(2, "big"))
    ctl.send(packet=packet)
    return int.from_bytes(ctl.packet_in().metadata[2].value, "big")


class TestBeforeTheFirstPush:
    def test_nothing_is_there(self, new: Controller) -> None:
        precondition = grpc.StatusCode.FAILED_PRECONDITION
        assert new.read_code(table_entry=p4r.TableEntry()) is precondition
        for call in (new.write, new.get_config):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is precondition

    def test_commit_has_nothing_to_commit(self, new: Controller) -> None:
        assert fails(new, None, Push.COMMIT) is grpc.StatusCode.UNKNOWN
        assert new.get_config() == p4r.ForwardingPipelineConfig()

    def test_unspecified(self, new: Controller, program: Program) -> None:
        assert fails(new, program, Push.UNSPECIFIED) is grpc.StatusCode.INVALID_ARGUMENT

    def test_other_device(self, new: Controller, program: Program) -> None:
        new.device_id, new.election_id = 99, None
        assert fails(new, program, Push.VERIFY_AND_COMMIT) is grpc.StatusCode.UNKNOWN


class TestConfig:
    def test_response_types(self, new: Controller, program: Program) -> None:
        new.push(program, cookie=0xDEADBEEF00000000)
        config, cookie = program.config(0xDEADBEEF00000000), p4r.ForwardingPipelineConfig()
        cookie.cookie.cookie = 0xDEADBEEF00000000
        assert new.get_config(Get.ALL) == config
        assert new.get_config(Get.COOKIE_ONLY) == cookie
        only_p4info = p4r.ForwardingPipelineConfig(p4info=program.p4info, cookie=cookie.cookie)
        assert new.get_config(Get.P4INFO_AND_COOKIE) == only_p4info
        only_json = p4r.ForwardingPipelineConfig(p4_device_config=program.device_config, cookie=cookie.cookie)
        assert new.get_config(Get.DEVICE_CONFIG_AND_COOKIE) == only_json

    def test_no_cookie_and_cookie_zero(self, new: Controller, program: Program) -> None:
        new.push(program)
        assert not new.get_config(Get.COOKIE_ONLY).HasField("cookie")
        new.push(program, cookie=0)
        assert new.get_config(Get.COOKIE_ONLY).HasField("cookie")

    def test_unknown_response_type(self, new: Controller, program: Program) -> None:
        new.push(program)
        with pytest.raises(grpc.RpcError) as caught:
            new.get_config(77)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestVerify:
    def test_changes_nothing(self, new: Controller, program: Program, plain_program: Program) -> None:
        new.push(program, cookie=1)
        new.write(update(Insert, table_entry=entry(program)))
        first = seen(new)
        new.push(plain_program, Push.VERIFY, cookie=2)
        assert new.get_config() == program.config(1)
        assert forward_entries(new, program) == [entry(program)]
        assert seen(new) == first + 1

    def test_before_the_first_push(self, new: Controller, program: Program) -> None:
        new.push(program, Push.VERIFY)
        assert new.get_config() == p4r.ForwardingPipelineConfig()


class TestVerifyAndCommit:
    def test_starts_anew(self, new: Controller, program: Program) -> None:
        new.push(program)
        default = program.entry(
            "nothing_to_match", {}, program.action("note", b"\1", b"\1", b"\1"), is_default_action=True
        )
        count = p4r.CounterEntry(
            counter_id=program.id("both_counter"), index=p4r.Index(index=1), data=p4r.CounterData(packet_count=5)
        )
        rates = p4r.MeterEntry(
            meter_id=program.id("port_meter"),
            index=p4r.Index(index=1),
            config=p4r.MeterConfig(cir=1, cburst=1, pir=1, pburst=1),
        )
        new.write(
            update(Insert, table_entry=entry(program)),
            update(Modify, table_entry=default),
            update(Modify, counter_entry=count),
            update(Modify, meter_entry=rates),
            update(Insert, packet_replication_engine_entry=group(1)),
        )
        assert [seen(new), seen(new)] == [1, 2]
        new.push(program)
        assert forward_entries(new, program) == []
        default.ClearField("action")
        no_action = program.action("NoAction")
        assert new.read(table_entry=default)[0].table_entry.action == no_action
        assert new.read(counter_entry=count)[0].counter_entry.data.packet_count == 0
        rates.ClearField("config")
        assert not new.read(meter_entry=rates)[0].meter_entry.HasField("config")
        assert new.read(packet_replication_engine_entry=group(0)) == []
        assert seen(new) == 1

    def test_another_program(self, new: Controller, program: Program, plain_program: Program) -> None:
        new.push(program, cookie=1)
        assert seen(new) == 1
        new.push(plain_program, cookie=2)
        assert new.get_config() == plain_program.config(2)
        assert new.read(counter_entry=p4r.CounterEntry()) == []
        assert seen(new) == 1


class TestSaveAndCommit:
    def test_entries_go_to_the_new_one_and_packets_through_the_old_one(
        self, new: Controller, program: Program, plain_program: Program
    ) -> None:
        new.push(program, cookie=1)
        new.write(update(Insert, table_entry=entry(program)))
        assert [seen(new), seen(new)] == [1, 2]
        new.push(plain_program, Push.VERIFY_AND_SAVE, cookie=2)
        assert new.get_config() == plain_program.config(2)
        assert forward_entries(new, plain_program) == []
        assert seen(new) == 3
        other = plain_program.forward(b"\x09", plain_program.action("to_cpu"))
        new.write(update(Insert, table_entry=other))
        new.push(None, Push.COMMIT)
        assert new.get_config() == plain_program.config(2)
        assert forward_entries(new, plain_program) == [other]
        assert seen(new) == 1

    def test_nothing_else_until_commit(self, new: Controller, program: Program) -> None:
        new.push(program, Push.VERIFY_AND_SAVE)
        for action in (Push.VERIFY_AND_SAVE, Push.VERIFY_AND_COMMIT):
            assert fails(new, program, action) is grpc.StatusCode.UNKNOWN
        new.push(program, Push.VERIFY)
        new.push(None, Push.COMMIT)
        assert fails(new, None, Push.COMMIT) is grpc.StatusCode.UNKNOWN
        new.push(program)

    def test_as_first_push(self, new: Controller, program: Program) -> None:
        new.push(program, Push.VERIFY_AND_SAVE)
        new.write(update(Insert, table_entry=entry(program)))
        new.push(None, Push.COMMIT)
        assert forward_entries(new, program) == [entry(program)]
        assert seen(new) == 1


class TestReconcile:
    def test_keeps_entries_and_nothing_else(self, new: Controller, plain_program: Program) -> None:
        program = without_constant_table(plain_program)
        new.push(program, cookie=1)
        kept = entry(program, metadata=b"note", controller_metadata=7)
        full = program.forward(b"\x09", program.action("to_cpu"))
        full.meter_config.CopyFrom(p4r.MeterConfig(cir=1, cburst=2, pir=3, pburst=4))
        full.counter_data.packet_count = 5
        acl = program.entry(
            "acl", {3: {"range": {"low": b"\x01", "high": b"\x02"}}}, program.action("drop"), priority=3
        )
        default = program.entry(
            "nothing_to_match", {}, program.action("note", b"\1", b"\1", b"\1"), is_default_action=True
        )
        new.write(
            update(Insert, table_entry=kept),
            update(Insert, table_entry=full),
            update(Insert, table_entry=acl),
            update(Modify, table_entry=default),
            update(Insert, packet_replication_engine_entry=group(1)),
        )
        assert [seen(new), seen(new)] == [1, 2]
        new.push(program, Push.RECONCILE_AND_COMMIT, cookie=2)
        assert new.get_config(Get.COOKIE_ONLY).cookie.cookie == 2
        wanted = p4r.TableEntry(table_id=program.id("forward"))
        wanted.meter_config.SetInParent()
        wanted.counter_data.SetInParent()
        found = {e.table_entry.match[0].exact.value: e.table_entry for e in new.read(table_entry=wanted)}
        assert set(found) == {MAC, b"\x09"}
        assert (found[MAC].metadata, found[MAC].controller_metadata) == (b"note", 7)
        assert not found[b"\x09"].HasField("meter_config")
        assert found[b"\x09"].counter_data.packet_count == 0
        read = p4r.TableEntry(table_id=program.id("acl"))
        assert [e.table_entry for e in new.read(table_entry=read)] == [acl]
        default.ClearField("action")
        assert new.read(table_entry=default)[0].table_entry.action == program.action("NoAction")
        assert new.read(packet_replication_engine_entry=group(0)) == []
        assert seen(new) == 1

    @pytest.mark.parametrize("name", ["with_arrays", "without_arrays"])
    def test_refused_and_then_committed(self, new: Controller, name: str) -> None:
        """Cells of counters and meters and constant entries cannot be inserted, so a program with any is refused.

        It is saved all the same: until COMMIT the old one runs, then the new one with the entries and fresh registers.
        """
        program = Program.load(name)
        new.push(program, cookie=1)
        new.write(update(Insert, table_entry=entry(program)))
        assert [seen(new), seen(new)] == [1, 2]
        assert fails(new, program, Push.RECONCILE_AND_COMMIT) is grpc.StatusCode.UNKNOWN
        assert seen(new) == 3
        assert fails(new, program, Push.VERIFY_AND_COMMIT) is grpc.StatusCode.UNKNOWN
        new.push(None, Push.COMMIT)
        assert forward_entries(new, program) == [entry(program)]
        assert seen(new) == 1

    def test_as_first_push(self, new: Controller, switch: Target, program: Program) -> None:
        if switch.name == "bmv2":
            pytest.skip("BMv2 reads the state of a pipeline that is not there")
        new.push(program, Push.RECONCILE_AND_COMMIT)
        assert seen(new) == 1


def damaged(program: Program, change: Any) -> Program:
    """The program after `change` was applied to its p4info and its JSON."""
    p4info = p4i.P4Info()
    p4info.CopyFrom(program.p4info)
    config = json.loads(program.device_config)
    change(p4info, config)
    return Program(p4info, json.dumps(config).encode())


def _table(config: Any, name: str) -> Any:
    return next(t for p in config["pipelines"] for t in p["tables"] if t["name"] == f"TestIngress.{name}")


def _other_type(p4info: Any, config: Any) -> None:
    p4info.tables[0].match_fields[0].match_type = p4i.MatchField.TERNARY


def _other_width(p4info: Any, config: Any) -> None:
    p4info.tables[0].match_fields[0].bitwidth = 32


def _more_fields(p4info: Any, config: Any) -> None:
    p4info.tables[0].match_fields.add(id=9, name="x", bitwidth=8, match_type=p4i.MatchField.EXACT)


def _unknown_table(p4info: Any, config: Any) -> None:
    _table(config, "forward")["name"] = "TestIngress.backward"


def _unknown_action(p4info: Any, config: Any) -> None:
    _table(config, "forward")["actions"][0] = "TestIngress.other"


def _other_parameter(p4info: Any, config: Any) -> None:
    next(a for a in p4info.actions if a.preamble.alias == "set_port").params[0].bitwidth = 16


def _other_size(p4info: Any, config: Any) -> None:
    p4info.tables[0].size = 17


def _other_counter(p4info: Any, config: Any) -> None:
    p4info.counters[0].size += 1


def _other_meter(p4info: Any, config: Any) -> None:
    p4info.meters[0].preamble.name = "elsewhere"


def _no_direct_counter(p4info: Any, config: Any) -> None:
    _table(config, "forward")["with_counters"] = False


def _two_ids(p4info: Any, config: Any) -> None:
    p4info.tables[1].preamble.id = p4info.tables[0].preamble.id


def _wrong_kind_of_id(p4info: Any, config: Any) -> None:
    p4info.tables[0].preamble.id = 0x01000001


def _bad_match_type(p4info: Any, config: Any) -> None:
    p4info.tables[0].match_fields[0].match_type = 1


def _dangling_action(p4info: Any, config: Any) -> None:
    p4info.tables[0].action_refs.add(id=0x01FFFFFF)


def _dangling_direct(p4info: Any, config: Any) -> None:
    p4info.tables[0].direct_resource_ids.append(0x13FFFFFF)


def _bad_unit(p4info: Any, config: Any) -> None:
    p4info.counters[0].spec.unit = 0


def _wide(p4info: Any, config: Any) -> None:
    p4info.tables[0].match_fields[0].bitwidth = 2**31 - 1


def _profile(p4info: Any, config: Any) -> None:
    p4info.action_profiles.add().preamble.name = "a profile"


def _no_pipelines(p4info: Any, config: Any) -> None:
    del config["pipelines"]


def _strange_key(p4info: Any, config: Any) -> None:
    _table(config, "forward")["key"] = [7]


@pytest.fixture(params=["fake", "engine"])
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    """The primary of our switch, where BMv2 would break."""
    from server_harness import missing, start

    reason = missing(request.param)
    if reason is not None:
        pytest.skip(reason)
    with start(request.param, tmp_path) as target, target.controller() as controller:
        controller.arbitrate()
        yield controller


class TestRefusedPrograms:
    def unchanged(self, ctl: Controller, program: Program) -> None:
        assert ctl.get_config() == program.config(1)
        assert forward_entries(ctl, program) == [entry(program)]
        ctl.push(program, Push.VERIFY)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"pipelines": 1}',
            b"[" * 100000,
            b'{"pipelines": [{"tables": [{}]}]}',
        ],
        ids=lambda data: data[:20].decode(errors="replace"),
    )
    def test_not_a_program(self, ours: Controller, program: Program, data: bytes) -> None:
        ours.push(program, cookie=1)
        ours.write(update(Insert, table_entry=entry(program)))
        first = seen(ours)
        bad = Program(program.p4info, data)
        for action in (Push.VERIFY, Push.VERIFY_AND_SAVE, Push.RECONCILE_AND_COMMIT):
            assert fails(ours, bad, action) is grpc.StatusCode.UNKNOWN
        if data:  # an empty config adopts the running program, see below
            assert fails(ours, bad, Push.VERIFY_AND_COMMIT) is grpc.StatusCode.UNKNOWN
        self.unchanged(ours, program)
        assert seen(ours) == first + 1

    @pytest.mark.parametrize(
        "change",
        [
            _other_type, _other_width, _more_fields, _unknown_table, _unknown_action, _other_parameter, _other_size,
            _other_counter, _other_meter, _no_direct_counter, _two_ids, _wrong_kind_of_id, _bad_match_type,
            _dangling_action, _dangling_direct, _bad_unit, _wide, _profile, _no_pipelines, _strange_key,
        ],
    )  # fmt: skip
    def test_mismatch(self, fake: Target, program: Program, change: Any) -> None:
        with fake.controller() as ctl:
            ctl.arbitrate()
            ctl.push(program, cookie=1)
            ctl.write(update(Insert, table_entry=entry(program)))
            bad = damaged(program, change)
            for action in (Push.VERIFY, Push.VERIFY_AND_SAVE, Push.VERIFY_AND_COMMIT, Push.RECONCILE_AND_COMMIT):
                assert fails(ctl, bad, action) is grpc.StatusCode.UNKNOWN
            self.unchanged(ctl, program)

    def test_unsupported_construct_is_named(self, ours: Controller, program: Program, plain_program: Program) -> None:
        ours.push(program, cookie=1)
        ours.write(update(Insert, table_entry=entry(program)))

        def add_construct(p4info: Any, config: Any) -> None:
            config["pipelines"].append(
                {
                    "name": "unsupported",
                    "id": 9,
                    "init_table": None,
                    "tables": [],
                    "action_profiles": [],
                    "conditionals": [],
                }
            )
            action = next(a for a in config["actions"] if a["name"] == "TestIngress.drop")
            action["primitives"].append({"op": "a_construct_that_nobody_knows", "parameters": []})

        with pytest.raises(grpc.RpcError, match=r"unsupported|a_construct_that_nobody_knows"):
            ours.push(damaged(plain_program, add_construct))
        self.unchanged(ours, program)

    def test_empty_config_adopts_the_running_program(self, ours: Controller, program: Program) -> None:
        ours.push(program)
        ours.write(update(Insert, table_entry=entry(program)))
        first = seen(ours)
        ours.push_config(p4r.ForwardingPipelineConfig(p4info=program.p4info), Push.VERIFY_AND_COMMIT)
        assert forward_entries(ours, program) == [entry(program)]
        assert seen(ours) == first + 1


class TestPorts:
    """What happens to the ports, seen in the engine in memory. The interface is one that is everywhere."""

    SPECS = (PortSpec(1, interface="lo"), PortSpec(2, local_path="/a", peer_path="/b"))
    ATTACHED: ClassVar[dict[int, tuple[str, ...]]] = {1: ("lo",), 2: ("/a", "/b"), CPU_PORT: ()}

    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Target]:
        options = SwitchOptions(
            grpc_address=f"unix:{tmp_path / 's'}",
            device_id=DEVICE_ID,
            cpu_port=CPU_PORT,
            ports=self.SPECS,
            shared=("lo",),
        )
        with fake_switch(tmp_path, options) as target:
            yield target

    @pytest.fixture
    def ctl(self, target: Target) -> Iterator[Controller]:
        with target.controller() as controller:
            controller.arbitrate()
            yield controller

    def test_same_program_keeps_them_open(self, target: Target, ctl: Controller, program: Program) -> None:
        ctl.push(program)
        ctl.push(program)
        (engine,) = target.engines
        assert engine.attached == self.ATTACHED
        assert engine.running

    def test_another_program_takes_them_over(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program
    ) -> None:
        ctl.push(program)
        ctl.push(plain_program, Push.VERIFY_AND_SAVE)
        old, new = target.engines
        assert (old.attached, new.attached) == (self.ATTACHED, {})
        ctl.push(None, Push.COMMIT)
        assert (old.attached, new.attached) == ({}, self.ATTACHED)
        assert (old.stopped, new.running) == (True, True)

    @pytest.mark.parametrize("fault", ["fail_start", "fail_attach"])
    def test_back_to_the_old_one_if_the_new_one_cannot_start(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program, fault: str
    ) -> None:
        ctl.push(program, cookie=1)
        ctl.write(update(Insert, table_entry=entry(program)))
        ctl.push(plain_program, Push.VERIFY_AND_SAVE, cookie=2)
        old, new = target.engines
        setattr(new, fault, True)
        assert fails(ctl, None, Push.COMMIT) is grpc.StatusCode.UNKNOWN
        assert (old.attached, new.attached) == (self.ATTACHED, {})
        assert old.running
        setattr(new, fault, False)
        ctl.push(None, Push.COMMIT)
        assert (old.attached, new.attached) == ({}, self.ATTACHED)

    def test_what_is_open_moves_and_stays_open(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program
    ) -> None:
        ctl.push(program)
        (old,) = target.engines
        opened = dict(old.opened)
        assert opened.keys() == {spec.port for spec in self.SPECS}
        ctl.push(plain_program)
        assert (old.opened, target.engines[1].opened) == ({}, opened)

    def test_what_is_open_goes_back_if_one_cannot_be_taken(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program
    ) -> None:
        """The last port fails: those before it are with the old engine again, open as they were."""
        ctl.push(program)
        ctl.push(plain_program, Push.VERIFY_AND_SAVE)
        old, new = target.engines
        opened = dict(old.opened)
        new.fail_open[self.SPECS[-1].port] = errno.ENOMEM
        assert fails(ctl, None, Push.COMMIT) is grpc.StatusCode.UNKNOWN
        assert (old.opened, old.attached) == (opened, self.ATTACHED)
        assert (new.opened, new.attached) == ({}, {})
        assert old.running
        new.fail_open.clear()
        ctl.push(None, Push.COMMIT)
        assert new.opened == opened

    @pytest.mark.parametrize("error", [errno.EPERM, errno.EADDRINUSE])
    def test_the_first_program_needs_what_is_there(
        self, target: Target, ctl: Controller, program: Program, error: int
    ) -> None:
        """An interface may be missing; one that cannot be opened is an error, and the next push tries again."""
        ctl.push(program, Push.VERIFY_AND_SAVE)
        (engine,) = target.engines
        engine.fail_open[self.SPECS[-1].port] = error
        assert fails(ctl, None, Push.COMMIT) is grpc.StatusCode.UNKNOWN
        assert (engine.opened, engine.attached) == ({}, {})
        engine.fail_open.clear()
        ctl.push(None, Push.COMMIT)
        assert engine.opened.keys() == {spec.port for spec in self.SPECS}

    def test_a_program_of_the_command_line_that_gets_no_ports_ends(self, tmp_path: Path, program: Program) -> None:
        """Also its threads, which run by then."""
        engines: list[FakeEngine] = []

        def load(data: bytes) -> FakeEngine:
            engines.append(FakeEngine(data))
            engines[0].fail_open[2] = errno.EPERM
            return engines[0]

        options = SwitchOptions(grpc_address=f"unix:{tmp_path / 's'}", ports=self.SPECS, shared=("lo",))
        with Switch(load, options) as switch, pytest.raises(P4Error):
            switch.start(program.device_config)
        (engine,) = engines
        assert (engine.running, engine.stopped, engine.attached) == (False, True, {})

    def test_counts_go_on_across_programs(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program
    ) -> None:
        port = self.SPECS[0].port
        for pushed in (program, plain_program, program):
            ctl.push(pushed)
            engine = target.engines[-1]
            engine.counts[port]["packets_in"] += 5
            engine.missed[77] = 2
        with grpc.insecure_channel(target.address) as channel:
            told = json.loads(channel.unary_unary("/p4softswitch.v1.Statistics/Get")(b"", timeout=TIMEOUT))
        assert told["ports"][str(port)]["packets_in"] == 15
        assert told["ports"]["77"] == {"interface": "", "no_port": 6}

    def test_failed_commit_stops_the_new_engine(
        self, target: Target, ctl: Controller, program: Program, plain_program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ctl.push(program, cookie=1)
        monkeypatch.setattr(FakeEngine, "start", lambda engine: engine.missing)
        assert fails(ctl, plain_program, Push.VERIFY_AND_COMMIT) is grpc.StatusCode.UNKNOWN
        old, new = target.engines
        assert (old.attached, new.attached) == (self.ATTACHED, {})
        assert new.stopped
        assert ctl.get_config() == program.config(1)

    def test_verify_stops_its_engine(self, target: Target, ctl: Controller, program: Program) -> None:
        ctl.push(program, Push.VERIFY)
        assert [e.stopped for e in target.engines] == [True]


class TestProgramFromTheCommandLine:
    def test_runs_and_waits_for_a_p4info(self, tmp_path: Path, program: Program) -> None:
        options = SwitchOptions(grpc_address=f"unix:{tmp_path / 's'}", device_id=DEVICE_ID, cpu_port=CPU_PORT)
        with fake_switch(tmp_path, options, program.device_config) as target, target.controller() as ctl:
            assert target.engines[0].running
            ctl.arbitrate()
            assert ctl.read_code(table_entry=p4r.TableEntry()) is grpc.StatusCode.FAILED_PRECONDITION
            ctl.push_config(p4r.ForwardingPipelineConfig(p4info=program.p4info), Push.VERIFY_AND_COMMIT)
            assert len(target.engines) == 1
            ctl.write(update(Insert, table_entry=entry(program)))
            assert seen(ctl) == 1

    def test_no_swap(self, tmp_path: Path, program: Program, plain_program: Program) -> None:
        options = SwitchOptions(grpc_address=f"unix:{tmp_path / 's'}", device_id=DEVICE_ID, swap=False)
        with fake_switch(tmp_path, options, program.device_config) as target, target.controller() as ctl:
            ctl.arbitrate()
            assert fails(ctl, plain_program, Push.VERIFY_AND_COMMIT) is grpc.StatusCode.UNKNOWN
            assert target.engines[0].running
