# SPDX-License-Identifier: Apache-2.0
"""Action profiles of the engine by themselves: handles, what is missing, the older form of the JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine_scenarios import PROGRAMS, call, exact
from engine_support import load_bytes, load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import ActionCall, EngineError, NoSuchEntry, ProfileRef, TableEntry

DST, SRC = 0x020000000001, 0x020000000002
FRAME = DST.to_bytes(6, "big") + SRC.to_bytes(6, "big") + b"\x08\x00" + bytes(26) + b"\x01" + b"rest"
HIT = FRAME[:40] + b"\x41" + FRAME[41:]
SELECTOR, BALANCE = "Pipe.selector", "Pipe.balance"


def send(port: int) -> ActionCall:
    return call("Pipe.send", (port, 9))


@pytest.fixture
def engine() -> CompiledEngine:
    return load_program("profiles")


def test_what_is_missing_is_no_action(engine: CompiledEngine) -> None:
    """A handle that nothing stands for, a group without members, one whose member is gone: egress_spec stays 0."""
    engine.table_insert(BALANCE, [exact(DST, 48)], 0, ProfileRef(7))
    assert engine.process(1, FRAME) == [(0, FRAME)]
    engine.profile_members_set(SELECTOR, [7], send(5))
    assert engine.process(1, FRAME) == [(5, HIT)]
    engine.profile_group_set(SELECTOR, 3, [])
    engine.table_modify(BALANCE, [exact(DST, 48)], 0, ProfileRef(3, group=True))
    assert engine.process(1, FRAME) == [(0, FRAME)]
    engine.profile_group_set(SELECTOR, 3, [7])
    assert engine.process(1, FRAME) == [(5, HIT)]
    engine.profile_member_delete(SELECTOR, 7)
    assert engine.process(1, FRAME) == [(0, FRAME)]
    engine.profile_group_delete(SELECTOR, 3)
    assert engine.process(1, FRAME) == [(0, FRAME)]
    assert engine.table_entries(BALANCE) == [TableEntry((exact(DST, 48),), 0, ProfileRef(3, group=True))]


def test_every_member_is_met(engine: CompiledEngine) -> None:
    handles = [0, 1, 15, 16, 40, 1000, 65535]
    for handle in handles:
        engine.profile_members_set(SELECTOR, [handle], send(handle % 500))
    engine.profile_group_set(SELECTOR, 65535, handles)
    engine.table_insert(BALANCE, [exact(DST, 48)], 0, ProfileRef(65535, group=True))
    frames = [FRAME[:14] + bytes([n]) + FRAME[15:] for n in range(200)]
    assert {engine.process(1, frame)[0][0] for frame in frames} == {handle % 500 for handle in handles}
    engine.profile_members_set(SELECTOR, handles, send(9))
    assert {engine.process(1, frame)[0][0] for frame in frames} == {9}


def test_what_is_refused(engine: CompiledEngine) -> None:
    for wrong in (-1, 65536):
        with pytest.raises(EngineError, match="handles"):
            engine.profile_members_set(SELECTOR, [wrong], send(1))
        with pytest.raises(EngineError, match="handles"):
            engine.profile_group_set(SELECTOR, 0, [wrong])
    with pytest.raises(EngineError, match="no action profile"):
        engine.profile_members_set("none", [0], send(1))
    with pytest.raises(EngineError, match=r"no action Pipe\.mark"):
        engine.profile_members_set(SELECTOR, [0], call("Pipe.mark", (1, 8)))
    with pytest.raises(EngineError, match="9 bits"):
        engine.profile_members_set(SELECTOR, [0], ActionCall("Pipe.send", (b"\xff\xff",)))
    for delete in (engine.profile_member_delete, engine.profile_group_delete):
        with pytest.raises(NoSuchEntry):
            delete(SELECTOR, 65535)
    with pytest.raises(EngineError, match="member or group"):
        engine.table_insert(BALANCE, [exact(DST, 48)], 0, send(1))


def test_a_reset_forgets_them(engine: CompiledEngine) -> None:
    engine.profile_members_set(SELECTOR, [0], send(5))
    engine.profile_group_set(SELECTOR, 0, [0])
    engine.reset_state(keep_entries=True)
    engine.profile_member_delete(SELECTOR, 0)
    engine.profile_members_set(SELECTOR, [0], send(5))
    engine.reset_state(keep_entries=False)
    for delete in (engine.profile_member_delete, engine.profile_group_delete):
        with pytest.raises(NoSuchEntry):
            delete(SELECTOR, 0)


def test_profiles_within_tables() -> None:
    """The older form: the profile is the table's own."""
    program: Any = json.loads((PROGRAMS / "profiles.json").read_text())
    (pipeline,) = [p for p in program["pipelines"] if p["name"] == "ingress"]
    by_name = {p["name"]: p for p in pipeline.pop("action_profiles")}
    for table in pipeline["tables"]:
        if table["type"] != "simple":
            profile = by_name[table.pop("action_profile")]
            table["act_prof_name"] = f"{profile['name']} of {table['name']}"
            if "selector" in profile:
                table["selector"] = profile["selector"]
    engine = load_bytes(json.dumps(program).encode())
    name = f"{SELECTOR} of {BALANCE}"
    engine.profile_members_set(name, [0, 1], send(5))
    engine.profile_group_set(name, 0, [0, 1])
    engine.table_insert(BALANCE, [exact(DST, 48)], 0, ProfileRef(0, group=True))
    assert engine.process(1, FRAME) == [(5, HIT)]
