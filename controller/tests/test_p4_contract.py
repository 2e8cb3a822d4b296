# SPDX-License-Identifier: Apache-2.0
"""What the compiled program keeps: p4info only grows, registers are touched where they should be, keys are marked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from finsy.proto import p4i
from google.protobuf import text_format
from places import DATA, P4SRC

PROGRAM = json.loads((P4SRC / "nvo3sec_p4" / "nve.json").read_bytes())
P4INFO = text_format.Parse((P4SRC / "nvo3sec_p4" / "nve.p4info.txtpb").read_text(encoding="utf-8"), p4i.P4Info())
CONTRACT = DATA / "p4info.txt"

REGISTERS = {
    "incarnation_ingress": ({"switch_self.compare_register"}, {"switch_self"}),
    "incarnation_egress": ({"egress_self.compare_register"}, {"egress_self"}),
    "replay_slot": ({"window.look", "window.commit"}, {"window.commit"}),
    "replay_highest": ({"window.look", "window.commit"}, {"window.commit"}),
    "penalty_until": ({"secure_reception.look_at_penalty"}, {"secure_reception.begin_penalty"}),
    "sequence": ({"protect", "secure_sending.report_sequence"}, {"protect"}),
}
"""Of each: the actions that read it, and those that write it. The last part of a name, or of two, without numbers."""


def lines_of(p4info: p4i.P4Info) -> Iterator[str]:
    """Everything that a controller depends on. Actions that no table has are p4c's own business."""
    used = {reference.id for table in p4info.tables for reference in table.action_refs}
    names = {action.preamble.id: action.preamble.name for action in p4info.actions}
    for table in p4info.tables:
        place = f"table {table.preamble.name}"
        yield f"{place}: id {table.preamble.id}, size {table.size}"
        for field in table.match_fields:
            kind = p4i.MatchField.MatchType.Name(field.match_type)
            yield f"{place}: key {field.id} {field.name}, {field.bitwidth} bits, {kind}"
        for reference in table.action_refs:
            scope = p4i.ActionRef.Scope.Name(reference.scope)
            yield f"{place}: action {names[reference.id]}, {scope}"
        if table.const_default_action_id:
            yield f"{place}: default {names[table.const_default_action_id]}, constant"
        else:
            yield f"{place}: default {names[table.initial_default_action.action_id]}"
    for action in p4info.actions:
        if action.preamble.id in used:
            yield f"action {action.preamble.name}: id {action.preamble.id}"
            for param in action.params:
                marks = "".join(f", {mark}" for mark in param.annotations)
                yield f"action {action.preamble.name}: parameter {param.id} {param.name}, {param.bitwidth} bits{marks}"
    tables = {table.preamble.id: table.preamble.name for table in p4info.tables}
    for kind, found in (("counter", p4info.direct_counters), ("meter", p4info.direct_meters)):
        for one in found:
            unit = type(one.spec).Unit.Name(one.spec.unit)
            yield f"table {tables[one.direct_table_id]}: {kind} {one.preamble.name}, id {one.preamble.id}, {unit}"
    for counter in p4info.counters:
        yield f"counter {counter.preamble.name}: id {counter.preamble.id}, size {counter.size}"
    for register in p4info.registers:
        width = register.type_spec.bitstring.bit.bitwidth
        yield f"register {register.preamble.name}: id {register.preamble.id}, size {register.size}, {width} bits"
    for header in p4info.controller_packet_metadata:
        for metadata in header.metadata:
            yield f"{header.preamble.name}: field {metadata.id} {metadata.name}, {metadata.bitwidth} bits"
    for name, enum in sorted(p4info.type_info.serializable_enums.items()):
        for member in enum.members:
            yield f"enum {name}: {member.name} {int.from_bytes(member.value, 'big')}"


def test_p4info_only_grows():
    """Who has to break it says in a decision record what forced it."""
    promised = CONTRACT.read_text(encoding="utf-8").splitlines()
    there = list(lines_of(P4INFO))
    assert [line for line in promised if line not in there] == [], "p4info does not keep these any more"
    assert [line for line in there if line not in promised] == [], f"these are new: add them to {CONTRACT.name}"


def test_ids_are_given_once():
    """Next free and retired ids are said where ids are given, and are not in use."""
    text = (P4SRC / "common" / "ids.p4").read_text(encoding="utf-8")
    found = re.search(r"Next free: table (\d+), action (\d+)\.\s+\* Retired: action (\d+)", text)
    assert found is not None
    table, action, retired = map(int, found.groups())
    tables = [int(number) for number in re.findall(r"#define TABLE_\w+ (\d+)", text)]
    actions = [int(number) for number in re.findall(r"#define ACTION_\w+ (\d+)", text)]
    assert sorted(tables) == list(range(1, table))
    assert sorted([*actions, retired]) == list(range(1, action))
    assert {one.preamble.id & 0xFFFFFF for one in P4INFO.tables} == set(tables)


def _touching(operation: str) -> dict[str, set[str]]:
    """By register array: the actions with this operation. Actions that p4c made are named by their control."""
    found: dict[str, set[str]] = {}
    for action in PROGRAM["actions"]:
        for primitive in action["primitives"]:
            if primitive["op"] == operation:
                array = next(one["value"] for one in primitive["parameters"] if one["type"] == "register_array")
                name = re.sub(r"\d+(_\d+)?$", "", ".".join(action["name"].split(".")[-2:]))
                found.setdefault(array, set()).add(name)
    return found


def test_registers_are_touched_where_they_are_meant_to_be():
    reads, writes = _touching("register_read"), _touching("register_write")
    assert {array["name"] for array in PROGRAM["register_arrays"]} == set(REGISTERS)
    assert {name: (reads.get(name, set()), writes.get(name, set())) for name in REGISTERS} == REGISTERS


def test_no_cryptography_holds_a_register():
    """BMv2 holds the lock of a register array for the whole of an action."""
    for action in PROGRAM["actions"]:
        operations = {primitive["op"] for primitive in action["primitives"]}
        if operations & {"register_read", "register_write"}:
            text = json.dumps(action["primitives"])
            assert not re.search("chaskey|ascon", text), action["name"]
            for at, primitive in enumerate(action["primitives"]):  # no way back: a loop would be one
                if primitive["op"].startswith("_jump"):
                    assert int(primitive["parameters"][-1]["value"], 16) > at, action["name"]


def _fields(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("type") == "field":
            yield ".".join(value["value"])
        for part in value.values():
            yield from _fields(part)
    elif isinstance(value, list):
        for part in value:
            yield from _fields(part)


def test_a_sequence_number_belongs_to_its_key():
    """Which number a key meets follows from what the key was found by and from nothing else: one action, one field."""
    (table,) = (one for pipeline in PROGRAM["pipelines"] for one in pipeline["tables"] if one["name"] == "sa_tx")
    by_name = {part["name"]: ".".join(part["target"]) for part in table["key"]}
    (action,) = (one for one in PROGRAM["actions"] if one["name"] == "protect")
    assigned = {}
    for primitive in action["primitives"]:
        if primitive["op"] == "assign":
            target, value = primitive["parameters"]
            assigned[".".join(target["value"])] = set(_fields(value))
        elif primitive["op"].startswith("register"):
            array, index = (2, 1) if primitive["op"] == "register_read" else (1, 0)
            place = primitive["parameters"][array if primitive["op"] == "register_read" else 1]
            assert primitive["parameters"][index]["value"] == "sequence"
            assert assigned[".".join(place["value"])] == {by_name["interface"]}


def test_what_does_not_verify_is_wiped():
    """Addresses, type, blocks and tail, in one action: a suite that decrypts has written plaintext there by then."""
    (action,) = (one for one in PROGRAM["actions"] if one["name"].endswith(".wipe_frame"))
    zeroed = set()
    for primitive in action["primitives"]:
        if primitive["op"] == "assign" and _is_zero(primitive["parameters"][1]):
            target = primitive["parameters"][0]
            if target["type"] == "field":
                zeroed.add(target["value"][0])
            elif '"header_stack", "value": "block"' in json.dumps(target):
                zeroed.add(f"block word {target['value']['value']['right']}")
    assert zeroed == {
        "scalars",
        "addresses",
        "frame_type",
        *(f"block word {n}" for n in range(4)),
        "tail8",
        "tail4",
        "tail2",
        "tail1",
    }


def _is_zero(value: dict[str, Any]) -> bool:
    return value["type"] == "hexstr" and int(value["value"], 16) == 0


@pytest.mark.skipif(shutil.which("p4test") is None, reason="no p4test on PATH")
@pytest.mark.parametrize(("blocks", "fits"), [(575, True), (0xFFFC, False)])
def test_frames_longer_than_the_count_of_blocks_are_refused(blocks, fits):
    """Both ends would agree, and the rest of each frame be unprotected."""
    command = ["p4test", "--validate", "--std", "p4-16", f"-DFRAME_BLOCKS={blocks}", "-I", "v1model", "v1model/nve.p4"]
    done = subprocess.run(command, cwd=P4SRC, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is fits, done.stderr
    assert fits or "FRAME_BLOCKS needs a wider counter of blocks" in done.stderr


SOURCES = sorted(P4SRC.glob("*/*.p4"))
KEYS = re.compile(r"(@secret\s+(?:@id\(\d+\) )?(?:in )?)?(?:\bin )?\bkey128_t (\w+)")
STATE = re.compile(r"^ +(@secret )?bit<(?:32|64)> ([vkxy]\d);", re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(P4SRC).as_posix())
def test_keys_are_marked_as_secret(path):
    """And what is computed from them: the state of a cipher."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"typedef .*", "", text)
    names = [(mark, name) for mark, name in KEYS.findall(text)]
    if path.parent.name == "crypto":
        names += STATE.findall(text)
        assert names
    assert [name for mark, name in names if not mark] == []


def test_the_marks_reach_p4info():
    keys = {a.preamble.name: list(p.annotations) for a in P4INFO.actions for p in a.params if p.name == "key"}
    assert keys == {"accept": ["@secret"], "protect": ["@secret"], "keyed": ["@secret"]}
