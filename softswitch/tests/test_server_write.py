# SPDX-License-Identifier: Apache-2.0
"""Write and Read of table entries: what is admitted, what is refused with which code, and that a refusal changes
nothing."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_code
from server_harness import Controller, Delete, Insert, Modify, Program, Target, details, update

INVALID = rpc_code.INVALID_ARGUMENT
MAC = b"\x02\x00\x00\x00\x00\x01"


def entries(ctl: Controller, program: Program, table: str, **rest: Any) -> list[Any]:
    found = ctl.read(table_entry=p4r.TableEntry(table_id=program.id(table), **rest))
    return [entity.table_entry for entity in found]


def acl(program: Program, match: dict[int, dict[str, Any]], action: Any = None, priority: int = 10, **rest: Any) -> Any:
    return program.entry("acl", match, action or program.action("drop"), priority=priority, **rest)


class TestLifeOfAnEntry:
    def test_insert_read_modify_delete(self, ctl: Controller, program: Program) -> None:
        assert entries(ctl, program, "forward") == []
        entry = program.forward(MAC, program.action("set_port", b"\x05"))
        ctl.write(update(Insert, table_entry=entry))
        assert entries(ctl, program, "forward") == [entry]
        entry.action.CopyFrom(program.action("flood", b"\x01\x00"))
        ctl.write(update(Modify, table_entry=entry))
        assert entries(ctl, program, "forward") == [entry]
        ctl.write(update(Delete, table_entry=program.forward(MAC)))
        assert entries(ctl, program, "forward") == []

    def test_existing_and_missing(self, ctl: Controller, program: Program) -> None:
        entry = program.forward(MAC, program.action("to_cpu"))
        assert ctl.code(Modify, table_entry=entry) == rpc_code.NOT_FOUND
        assert ctl.code(Delete, table_entry=entry) == rpc_code.NOT_FOUND
        assert ctl.code(Insert, table_entry=entry) == rpc_code.OK
        other = program.forward(MAC, program.action("set_port", b"\x01"))
        assert ctl.code(Insert, table_entry=other) == rpc_code.ALREADY_EXISTS
        assert entries(ctl, program, "forward") == [entry]

    def test_metadata_comes_back(self, ctl: Controller, program: Program) -> None:
        entry = program.forward(MAC, program.action("to_cpu"), controller_metadata=7, metadata=b"note")
        ctl.write(update(Insert, table_entry=entry))
        assert entries(ctl, program, "forward") == [entry]
        entry.metadata = b""
        entry.controller_metadata = 0
        ctl.write(update(Modify, table_entry=entry))
        assert entries(ctl, program, "forward") == [entry]

    def test_full_table(self, ctl: Controller, program: Program, target: Target) -> None:
        updates = [
            update(Insert, table_entry=program.forward(bytes([number]), program.action("to_cpu")))
            for number in range(1, 18)
        ]
        full = rpc_code.UNKNOWN if target.name == "bmv2" else rpc_code.RESOURCE_EXHAUSTED
        assert ctl.codes(*updates) == [rpc_code.OK] * 16 + [full]
        assert len(entries(ctl, program, "forward")) == 16
        assert ctl.code(Delete, table_entry=program.forward(b"\x01")) == rpc_code.OK
        assert ctl.codes(updates[16]) == [rpc_code.OK]

    def test_same_key_other_priority_is_another_entry(self, ctl: Controller, program: Program) -> None:
        low, high = (acl(program, {1: {"ternary": {"value": b"\x08", "mask": b"\xff"}}}, priority=p) for p in (1, 2))
        assert ctl.codes(update(Insert, table_entry=low), update(Insert, table_entry=high)) == [0, 0]
        assert sorted(e.priority for e in entries(ctl, program, "acl")) == [1, 2]
        ctl.write(update(Delete, table_entry=low))
        assert entries(ctl, program, "acl") == [high]


class TestErrors:
    def test_one_error_per_update(self, ctl: Controller, program: Program) -> None:
        good = program.forward(MAC, program.action("to_cpu"))
        with pytest.raises(grpc.RpcError) as caught:
            ctl.write(
                update(Insert, table_entry=good),
                update(Insert, table_entry=good),
                update(Insert, table_entry=p4r.TableEntry(table_id=1)),
                update(Insert, table_entry=program.forward(b"\x09", program.action("to_cpu"))),
            )
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        assert caught.value.details() == ""
        status = details(caught.value)
        assert status.code == rpc_code.UNKNOWN
        errors = [p4r.Error() for _ in status.details]
        assert all(detail.Unpack(error) for detail, error in zip(status.details, errors, strict=True))
        assert [e.canonical_code for e in errors] == [0, rpc_code.ALREADY_EXISTS, INVALID, 0]
        assert errors[1].space == "ALL-sswitch-p4org"
        assert errors[1].message
        assert errors[0] == p4r.Error()
        assert len(entries(ctl, program, "forward")) == 2

    def test_atomic_modes(self, ctl: Controller, program: Program) -> None:
        entry = update(Insert, table_entry=program.forward(MAC, program.action("to_cpu")))
        for mode in (p4r.WriteRequest.ROLLBACK_ON_ERROR, p4r.WriteRequest.DATAPLANE_ATOMIC):
            with pytest.raises(grpc.RpcError) as caught:
                ctl.write(entry, atomicity=mode)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert entries(ctl, program, "forward") == []

    def test_kinds_of_entities(self, ctl: Controller, program: Program) -> None:
        assert ctl.codes(
            update(Insert),
            update(Insert, extern_entry=p4r.ExternEntry()),
            update(Insert, value_set_entry=p4r.ValueSetEntry()),
            update(Modify, register_entry=p4r.RegisterEntry()),
            update(Insert, packet_replication_engine_entry=p4r.PacketReplicationEngineEntry()),
            update(Insert, digest_entry=p4r.DigestEntry(digest_id=1)),
        ) == [rpc_code.UNKNOWN, *[rpc_code.UNIMPLEMENTED] * 3, INVALID, rpc_code.NOT_FOUND]
        register = program.p4info.registers[0].preamble.id
        code = grpc.StatusCode.UNIMPLEMENTED
        assert ctl.read_code(register_entry=p4r.RegisterEntry(register_id=register)) is code
        assert ctl.read_code(value_set_entry=p4r.ValueSetEntry()) is code
        assert ctl.read_code(extern_entry=p4r.ExternEntry()) is grpc.StatusCode.UNKNOWN
        assert ctl.read_code(digest_entry=p4r.DigestEntry(digest_id=1)) is grpc.StatusCode.NOT_FOUND

    def test_update_type(self, ctl: Controller, program: Program) -> None:
        entry = program.forward(MAC, program.action("to_cpu"))
        assert ctl.code(p4r.Update.UNSPECIFIED, table_entry=entry) == INVALID

    @pytest.mark.parametrize("table_id", [1, 0, 0x02FFFFFF, 0x01000001, 0xFFFFFFFF])
    def test_table_id(self, ctl: Controller, program: Program, table_id: int) -> None:
        entry = program.forward(MAC, program.action("to_cpu"))
        entry.table_id = table_id
        assert [ctl.code(kind, table_entry=entry) for kind in (Insert, Modify, Delete)] == [INVALID] * 3

    def test_wrong_device(self, ctl: Controller, program: Program) -> None:
        election_id, ctl.election_id, ctl.device_id = ctl.election_id, None, 99
        try:
            with pytest.raises(grpc.RpcError) as caught:
                ctl.write()
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert ctl.read_code(table_entry=p4r.TableEntry()) is grpc.StatusCode.FAILED_PRECONDITION
        finally:
            ctl.election_id, ctl.device_id = election_id, 1

    def test_nothing_to_do(self, ctl: Controller) -> None:
        ctl.write()


class TestKeys:
    def insert(
        self, ctl: Controller, program: Program, table: str, match: dict[int, dict[str, Any]], **rest: Any
    ) -> int:
        return ctl.code(Insert, table_entry=program.entry(table, match, program.action("NoAction"), **rest))

    def test_bytestrings(self, ctl: Controller, program: Program) -> None:
        action = program.action("to_cpu")
        long, zeros = program.forward(bytes(9) + MAC, action), program.forward(bytes(5), action)
        assert ctl.codes(update(Insert, table_entry=long), update(Insert, table_entry=zeros)) == [0, 0]
        # Whatever was sent, the canonical form comes back.
        assert {e.match[0].exact.value for e in entries(ctl, program, "forward")} == {MAC, b"\0"}
        assert ctl.code(Insert, table_entry=program.forward(b"\0", action)) == rpc_code.ALREADY_EXISTS
        assert ctl.code(Insert, table_entry=program.forward(b"\x01" + MAC, action)) == INVALID

    def test_width_in_bits(self, ctl: Controller, program: Program) -> None:
        ok: dict[int, dict[str, Any]] = {
            1: {"lpm": {"value": b"\x80\0\0\0\0\0", "prefix_len": 1}},
            2: {"exact": {"value": b"\x0f\xff"}},
        }
        assert self.insert(ctl, program, "route", ok) == 0
        ok[2] = {"exact": {"value": b"\x10\x00"}}
        assert self.insert(ctl, program, "route", ok) == INVALID

    def test_empty_bytestring(self, ctl: Controller, program: Program, target: Target) -> None:
        code = ctl.code(Insert, table_entry=program.forward(b"", program.action("to_cpu")))
        assert code == (rpc_code.OK if target.name == "bmv2" else INVALID)

    def test_missing_unknown_twice(self, ctl: Controller, program: Program) -> None:
        exact = {"exact": {"value": b"\x01"}}
        assert self.insert(ctl, program, "route", {}) == INVALID
        assert self.insert(ctl, program, "route", {3: exact}) == INVALID
        assert self.insert(ctl, program, "route", {2: exact, 3: exact}) == INVALID
        assert self.insert(ctl, program, "route", {1: exact, 2: exact}) == INVALID
        entry = program.entry("route", {2: exact}, program.action("NoAction"))
        entry.match.add(field_id=2).exact.value = b"\x02"
        assert ctl.code(Insert, table_entry=entry) == INVALID
        entry.match.add(field_id=2).exact.value = b"\x02"
        assert ctl.code(Insert, table_entry=entry) == INVALID
        assert self.insert(ctl, program, "route", {2: {}}) == INVALID
        assert entries(ctl, program, "route") == []

    @pytest.mark.parametrize(
        ("value", "length", "code"),
        [
            (b"\xc0\0\0\0\0\0", 2, 0),
            (MAC, 48, 0),
            (b"\0", 7, 0),
            (b"\xc0\0\0\0\0\0", 1, INVALID),
            (MAC, 47, INVALID),
            (b"\0", 0, INVALID),
            (b"\0", -1, INVALID),
            (b"\0", 49, INVALID),
        ],
    )
    def test_prefix(self, ctl: Controller, program: Program, value: bytes, length: int, code: int) -> None:
        match: dict[int, dict[str, Any]] = {
            1: {"lpm": {"value": value, "prefix_len": length}},
            2: {"exact": {"value": b"\x01"}},
        }
        assert self.insert(ctl, program, "route", match) == code
        found = entries(ctl, program, "route")
        assert [(e.match[0].lpm.value, e.match[0].lpm.prefix_len) for e in found] == ([] if code else [(value, length)])

    @pytest.mark.parametrize(
        ("value", "length", "code"),
        [
            (b"\0", 4, 0),
            (b"\x08\x00", 4, INVALID),
            (b"\x08\x00", 8, 0),
            (b"\x08\x08", 12, INVALID),
            (b"\x08\x10", 12, 0),
        ],
    )
    def test_prefix_of_twelve_bits(
        self, ctl: Controller, program: Program, value: bytes, length: int, code: int
    ) -> None:
        """BMv2's server counts the zeros behind a prefix from whole bytes and so refuses some that are right."""
        match: dict[int, dict[str, Any]] = {1: {"lpm": {"value": value, "prefix_len": length}}}
        assert self.insert(ctl, program, "narrow", match) == code

    def test_wildcards_are_left_out(self, ctl: Controller, program: Program) -> None:
        assert self.insert(ctl, program, "route", {2: {"exact": {"value": b"\x01"}}}) == 0
        assert [m.field_id for m in entries(ctl, program, "route")[0].match] == [2]
        ctl.write(update(Insert, table_entry=acl(program, {})))
        assert [list(e.match) for e in entries(ctl, program, "acl")] == [[]]

    @pytest.mark.parametrize(
        ("match", "code"),
        [
            ({1: {"ternary": {"value": b"\x08\x00", "mask": b"\xff\x00"}}}, 0),
            ({1: {"ternary": {"value": b"\0", "mask": b"\x01"}}}, 0),
            ({1: {"ternary": {"value": b"\0", "mask": b"\0"}}}, INVALID),
            ({1: {"ternary": {"value": b"\x01", "mask": b"\x02"}}}, INVALID),
            ({1: {"ternary": {"value": b"\x01", "mask": b"\x01\xff\xff"}}}, INVALID),
            ({1: {"exact": {"value": b"\x01"}}}, INVALID),
            ({2: {"optional": {"value": b"\x01\xff"}}}, 0),
            ({2: {"optional": {"value": b"\0"}}}, 0),
            ({2: {"optional": {"value": b"\x02\x00"}}}, INVALID),
            ({3: {"range": {"low": b"\x01", "high": b"\x02"}}}, 0),
            ({3: {"range": {"low": b"\x02", "high": b"\x02"}}}, 0),
            ({3: {"range": {"low": b"\x02", "high": b"\x01"}}}, INVALID),
            ({3: {"range": {"low": b"\x02", "high": b"\x01\x00"}}}, 0),
            ({3: {"range": {"low": b"\0\0", "high": b"\xff\xff"}}}, INVALID),
            ({3: {"range": {"low": b"\0", "high": b"\xff\xff"}}}, 0),
            ({3: {"range": {"low": b"\0", "high": b"\x01\x00\x00"}}}, INVALID),
        ],
    )
    def test_ternary_optional_range(self, ctl: Controller, program: Program, match: Any, code: int) -> None:
        entry = acl(program, match)
        assert ctl.code(Insert, table_entry=entry) == code
        found = entries(ctl, program, "acl")
        if code == 0 and match != {3: {"range": {"low": b"\0", "high": b"\xff\xff"}}}:
            assert found == [entry]
        else:
            assert len(found) == (code == 0)

    def test_priority(self, ctl: Controller, program: Program, target: Target) -> None:
        assert ctl.code(Insert, table_entry=acl(program, {}, priority=0)) == INVALID
        assert ctl.code(Insert, table_entry=program.forward(MAC, program.action("to_cpu"), priority=1)) == INVALID
        for priority in (1, 2**31 - 1):
            assert ctl.code(Insert, table_entry=acl(program, {}, priority=priority)) == 0
        assert sorted(e.priority for e in entries(ctl, program, "acl")) == [1, 2**31 - 1]
        if target.name != "bmv2":
            assert ctl.code(Insert, table_entry=acl(program, {}, priority=-1)) == INVALID
            assert ctl.code(Insert, table_entry=program.forward(MAC, program.action("to_cpu"), priority=-1)) == INVALID


class TestActions:
    def test_parameters(self, ctl: Controller, program: Program) -> None:
        match = {1: {"ternary": {"value": b"\x01", "mask": b"\x01"}}}

        def insert(*params: bytes) -> int:
            return ctl.code(Insert, table_entry=acl(program, match, program.action("note", *params)))

        assert insert(b"\x01", b"\x02") == INVALID
        assert insert(b"\x01", b"\x02", b"\x01", b"\x01") == INVALID
        assert insert(b"\x10\x00", b"\x02", b"\x01") == INVALID
        assert insert(b"\x01", b"\x02", b"\x02") == INVALID
        entry = acl(program, match, program.action("note", b"\x01", b"\x02", b"\x01"))
        entry.action.action.params[0].param_id = 9
        assert ctl.code(Insert, table_entry=entry) == INVALID
        assert entries(ctl, program, "acl") == []
        assert insert(b"\x00\x0f\xff", b"\0\0", b"\x01") == 0
        found = entries(ctl, program, "acl")[0].action.action
        assert [(p.param_id, p.value) for p in found.params] == [(1, b"\x0f\xff"), (2, b"\0"), (3, b"\x01")]

    def test_order_of_parameters_does_not_matter(self, ctl: Controller, program: Program) -> None:
        entry = acl(program, {}, program.action("note", b"\x01", b"\x02", b"\x01"))
        params = list(entry.action.action.params)
        del entry.action.action.params[:]
        entry.action.action.params.extend(reversed(params))
        ctl.write(update(Insert, table_entry=entry))
        assert [p.value for p in entries(ctl, program, "acl")[0].action.action.params] == [b"\x01", b"\x02", b"\x01"]

    def test_parameter_twice(self, ctl: Controller, program: Program, target: Target) -> None:
        if target.name == "bmv2":
            pytest.skip("BMv2 leaves the missing parameter uninitialised")
        entry = acl(program, {}, program.action("note", b"\x01", b"\x02", b"\x01"))
        entry.action.action.params[2].param_id = 1
        assert ctl.code(Insert, table_entry=entry) == INVALID

    def test_which_action(self, ctl: Controller, program: Program) -> None:
        assert ctl.code(Insert, table_entry=program.forward(MAC)) == INVALID
        assert ctl.code(Insert, table_entry=program.forward(MAC, p4r.TableAction())) == INVALID
        assert ctl.code(Insert, table_entry=program.forward(MAC, program.action("drop"))) == INVALID
        indirect = p4r.TableAction(action_profile_member_id=1)
        assert ctl.code(Insert, table_entry=program.forward(MAC, indirect)) == INVALID
        unknown = program.action("to_cpu")
        unknown.action.action_id = 0x01FFFFFF
        assert ctl.code(Insert, table_entry=program.forward(MAC, unknown)) == INVALID
        unknown.action.action_id = program.id("forward")
        assert ctl.code(Insert, table_entry=program.forward(MAC, unknown)) == INVALID
        assert ctl.code(Modify, table_entry=program.forward(MAC)) == INVALID
        assert entries(ctl, program, "forward") == []

    def test_scope(self, ctl: Controller, program: Program) -> None:
        denied = rpc_code.PERMISSION_DENIED
        assert ctl.code(Insert, table_entry=acl(program, {}, program.action("only_default"))) == denied
        assert ctl.code(Insert, table_entry=acl(program, {}, program.action("only_entry"))) == 0
        default = program.entry("acl", {}, program.action("only_entry"), is_default_action=True)
        assert ctl.code(Modify, table_entry=default) == denied
        assert ctl.code(Insert, table_entry=program.forward(MAC, program.action("miss"))) == denied


class TestDefaultEntry:
    def default(self, program: Program, table: str, action: Any = None, **rest: Any) -> Any:
        return program.entry(table, {}, action, is_default_action=True, **rest)

    def test_set_and_reset(self, ctl: Controller, program: Program) -> None:
        original = self.default(program, "nothing_to_match", program.action("NoAction"))
        read = self.default(program, "nothing_to_match")
        assert [e.table_entry for e in ctl.read(table_entry=read)] == [original]
        changed = self.default(
            program, "nothing_to_match", program.action("note", b"\x01", b"\x02", b"\x01"), metadata=b"m"
        )
        ctl.write(update(Modify, table_entry=changed))
        assert [e.table_entry for e in ctl.read(table_entry=read)] == [changed]
        ctl.write(update(Modify, table_entry=self.default(program, "nothing_to_match")))
        assert [e.table_entry for e in ctl.read(table_entry=read)] == [original]

    def test_only_modify(self, ctl: Controller, program: Program) -> None:
        entry = self.default(program, "nothing_to_match", program.action("NoAction"))
        assert [ctl.code(kind, table_entry=entry) for kind in (Insert, Delete)] == [INVALID, INVALID]
        entry.priority = 1
        assert ctl.code(Modify, table_entry=entry) == INVALID
        entry = self.default(program, "forward", program.action("miss"))
        entry.match.add(field_id=1).exact.value = MAC
        assert ctl.code(Modify, table_entry=entry) == INVALID

    def test_constant_default(self, ctl: Controller, program: Program) -> None:
        for action in (program.action("NoAction"), program.action("note", b"\1", b"\1", b"\1"), None):
            entry = self.default(program, "fixed", action)
            assert ctl.code(Modify, table_entry=entry) == rpc_code.PERMISSION_DENIED

    def test_wildcard(self, ctl: Controller, program: Program) -> None:
        found = ctl.read(table_entry=p4r.TableEntry(is_default_action=True))
        assert {e.table_entry.table_id for e in found} == {t.preamble.id for t in program.p4info.tables}
        assert all(e.table_entry.is_default_action for e in found)

    def test_table_without_key(self, ctl: Controller, program: Program) -> None:
        assert entries(ctl, program, "nothing_to_match") == []


class TestConstantTable:
    def test_can_be_read_only(self, ctl: Controller, program: Program) -> None:
        found = entries(ctl, program, "fixed")
        note = program.action("note", b"\x07", b"\x08", b"\x01")
        key = {1: {"exact": {"value": b"\x12\x34"}}}
        assert program.entry("fixed", key, note) in found
        assert len(found) == 2
        entry = program.entry("fixed", key, program.action("NoAction"))
        codes = [ctl.code(kind, table_entry=entry) for kind in (Insert, Modify, Delete)]
        assert codes == [rpc_code.UNKNOWN, rpc_code.NOT_FOUND, rpc_code.NOT_FOUND]
        other = program.entry("fixed", {1: {"exact": {"value": b"\x99"}}}, note)
        codes = [ctl.code(kind, table_entry=other) for kind in (Insert, Modify, Delete)]
        assert codes == [rpc_code.UNKNOWN, rpc_code.NOT_FOUND, rpc_code.NOT_FOUND]
        assert entries(ctl, program, "fixed") == found


class TestIdleTimeout:
    def test_refused(self, ctl: Controller, program: Program) -> None:
        action = program.action("to_cpu")
        for nanoseconds in (1, -1):
            entry = program.forward(MAC, action, idle_timeout_ns=nanoseconds)
            assert ctl.code(Insert, table_entry=entry) == INVALID
        entry = program.forward(MAC, action, time_since_last_hit=p4r.TableEntry.IdleTimeout())
        assert ctl.code(Insert, table_entry=entry) == INVALID
        read = p4r.TableEntry(table_id=program.id("forward"), time_since_last_hit=p4r.TableEntry.IdleTimeout())
        assert ctl.read_code(table_entry=read) is grpc.StatusCode.INVALID_ARGUMENT


class TestRead:
    def test_one_entry(self, ctl: Controller, program: Program) -> None:
        one, other = (program.forward(bytes([n]), program.action("to_cpu")) for n in (1, 2))
        ctl.write(update(Insert, table_entry=one), update(Insert, table_entry=other))
        found = ctl.read(table_entry=program.forward(b"\x01"))
        assert [e.table_entry for e in found] == [one]
        assert ctl.read(table_entry=program.forward(b"\x03")) == []

    def test_all_tables(self, ctl: Controller, program: Program) -> None:
        ctl.write(
            update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))),
            update(Insert, table_entry=acl(program, {})),
        )
        found = [e.table_entry.table_id for e in ctl.read(table_entry=p4r.TableEntry())]
        assert sorted(found) == sorted([program.id("forward"), program.id("acl"), *[program.id("fixed")] * 2])

    def test_several_entities(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        wanted = p4r.Entity(table_entry=p4r.TableEntry(table_id=program.id("forward")))
        request = p4r.ReadRequest(device_id=ctl.device_id, entities=[wanted, wanted])
        assert [len(r.entities) for r in ctl.stub.Read(request)] == [2]

    def test_nothing(self, ctl: Controller) -> None:
        assert [list(r.entities) for r in ctl.stub.Read(p4r.ReadRequest(device_id=ctl.device_id))] == [[]]

    def test_errors(self, ctl: Controller, program: Program) -> None:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        assert ctl.read_code(table_entry=p4r.TableEntry(table_id=1)) is invalid
        assert ctl.read_code(table_entry=program.entry("forward", {9: {"exact": {"value": b"\1"}}})) is invalid
        request = p4r.ReadRequest(device_id=ctl.device_id, entities=[p4r.Entity()])
        with pytest.raises(grpc.RpcError) as caught:
            list(ctl.stub.Read(request))
        assert caught.value.code() is grpc.StatusCode.UNKNOWN

    def test_what_was_found_before_an_error(self, ctl: Controller, program: Program) -> None:
        ctl.write(update(Insert, table_entry=program.forward(MAC, program.action("to_cpu"))))
        good = p4r.Entity(table_entry=p4r.TableEntry(table_id=program.id("forward")))
        request = p4r.ReadRequest(device_id=ctl.device_id, entities=[good, p4r.Entity()])
        responses = ctl.stub.Read(request)
        assert len(next(responses).entities) == 1
        with pytest.raises(grpc.RpcError):
            next(responses)
