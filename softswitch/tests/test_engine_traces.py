# SPDX-License-Identifier: Apache-2.0
"""Replays what BMv2 did: the test that a machine without BMv2 runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_scenarios import SCENARIOS, apply
from engine_support import load_program
from engine_traces import TRACES, decode


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.json")), ids=lambda p: p.stem)
def test_replay(path: Path) -> None:
    """Outputs packet by packet as multisets, counters at the end."""
    trace = json.loads(path.read_text())
    engine = load_program(trace["program"])
    apply(engine, [decode(step) for step in trace["setup"]])
    for number, exchange in enumerate(trace["exchanges"]):
        outputs = engine.process(exchange["port"], bytes.fromhex(exchange["packet"]))
        expected = [(port, bytes.fromhex(frame)) for port, frame in exchange["outputs"]]
        assert sorted(outputs) == expected, f"packet {number}"
    for name, cells in trace["counters"].items():
        ours = [engine.counter_read(name, i) for i in range(len(cells))]
        assert [[c.packets, c.bytes] for c in ours] == cells


def test_every_scenario_has_a_trace() -> None:
    assert {p.stem for p in TRACES.glob("*.json")} == set(SCENARIOS)
