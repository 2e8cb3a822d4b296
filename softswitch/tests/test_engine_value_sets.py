# SPDX-License-Identifier: Apache-2.0
"""Parser value sets are empty, on both switches: a transition of one is never taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_bmv2 import Bmv2, simple_switch
from engine_scenarios import SCENARIOS, Scenario, apply
from engine_support import load_bytes


@pytest.fixture
def scenario() -> Scenario:
    return SCENARIOS["router"](seed=8, count=60)


@pytest.fixture
def document(scenario: Scenario) -> bytes:
    """The router, whose parser would stop at once for what is in the set."""
    program: Any = json.loads(scenario.json.read_bytes())
    state = next(s for s in program["parsers"][0]["parse_states"] if len(s["transition_key"]) == 1)
    program["parse_vsets"] = [{"name": "odd", "id": 0, "compressed_bitwidth": 16, "max_size": 4}]
    state["transitions"].insert(0, {"type": "parse_vset", "value": "odd", "mask": None, "next_state": None})
    return json.dumps(program).encode()


def test_never_taken(scenario: Scenario, document: bytes) -> None:
    plain, with_set = load_bytes(scenario.json.read_bytes()), load_bytes(document)
    for engine in (plain, with_set):
        apply(engine, scenario.setup)
    for port, packet in scenario.packets:
        assert with_set.process(port, packet) == plain.process(port, packet)


@pytest.mark.skipif(simple_switch() is None, reason="simple_switch_grpc is not on PATH")
def test_as_bmv2(scenario: Scenario, document: bytes, tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    path.write_bytes(document)
    engine = load_bytes(document)
    apply(engine, scenario.setup)
    with Bmv2(path, scenario.p4info) as bmv2:
        bmv2.apply(scenario.setup)
        for port, packet in scenario.packets:
            ours = engine.process(port, packet)
            bmv2.send(port, packet)
            assert sorted(bmv2.collect(len(ours))) == sorted(ours)
