# SPDX-License-Identifier: Apache-2.0
"""Programs in the older form of the JSON do what they do in the form of today, on both switches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_bmv2 import Bmv2, simple_switch
from engine_older import older
from engine_scenarios import PROGRAMS, SCENARIOS, Scenario, apply
from engine_support import load_bytes
from p4softswitch.bmv2json import load_program
from p4softswitch.bmv2json.expr import Bin, Const, FieldRef
from p4softswitch.bmv2json.program import Assign

WINDOW = 12
"""Packets in flight: BMv2 drops silently what does not fit into a port's queue of 64."""


def converted(scenario: Scenario) -> bytes:
    return json.dumps(older(json.loads(scenario.json.read_bytes()))[0]).encode()


def test_everything_older_occurs() -> None:
    found: set[str] = set()
    for make in SCENARIOS.values():
        found |= set(older(json.loads(make(seed=1, count=1).json.read_bytes()))[1])
    assert found >= {"actions by name", "modify_field", "copy_header", "drop", "add_to_field", "add", "bit_xor"}


_PRIMITIVES = {
    "add": "+", "subtract": "-", "bit_and": "&", "bit_or": "|", "bit_xor": "^", "shift_left": "<<", "shift_right": ">>",
    "add_to_field": "+", "subtract_from_field": "-",
}  # fmt: skip


@pytest.mark.parametrize(("primitive", "op"), _PRIMITIVES.items())
def test_primitives(primitive: str, op: str) -> None:
    """Each is the assignment of an expression."""
    program = json.loads((PROGRAMS / "router.json").read_bytes())
    field = {"type": "field", "value": ["ethernet", "dst"]}
    parameters = [field, field, {"type": "hexstr", "value": "0x3"}]
    if primitive.endswith("_field"):
        del parameters[1]
    program["actions"][0]["primitives"] = [{"op": primitive, "parameters": parameters}]
    action = next(iter(load_program(json.dumps(program).encode()).actions.values()))
    (assign,) = action.primitives
    assert isinstance(assign, Assign)
    assert isinstance(assign.target, FieldRef)
    assert assign.value == Bin(op, assign.target, Const(3))


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_as_today(name: str) -> None:
    scenario = SCENARIOS[name](seed=5, count=300)
    today, before = load_bytes(scenario.json.read_bytes()), load_bytes(converted(scenario))
    for engine in (today, before):
        apply(engine, scenario.setup)
        engine.set_clock(0)
    for port, packet in scenario.packets:
        assert before.process(port, packet) == today.process(port, packet)


@pytest.mark.skipif(simple_switch() is None, reason="simple_switch_grpc is not on PATH")
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_as_bmv2(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name](seed=5, count=120)
    document = tmp_path / "program.json"
    document.write_bytes(converted(scenario))
    engine = load_bytes(document.read_bytes())
    apply(engine, scenario.setup)
    with Bmv2(document, scenario.p4info) as bmv2:
        bmv2.apply(scenario.setup)
        for start in range(0, len(scenario.packets), WINDOW):
            window = scenario.packets[start : start + WINDOW]
            ours = [output for port, packet in window for output in engine.process(port, packet)]
            for port, packet in window:
                bmv2.send(port, packet)
            assert sorted(bmv2.collect(len(ours))) == sorted(ours), f"packets {start} to {start + WINDOW}"
