# SPDX-License-Identifier: Apache-2.0
"""The same program, entries and packets through the engine and through BMv2.

Where simple_switch_grpc is not installed, `test_engine_traces` replays what it did when the traces were recorded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_bmv2 import Bmv2, simple_switch
from engine_random import random_packets, random_program
from engine_scenarios import SCENARIOS, apply
from engine_support import load_bytes

pytestmark = pytest.mark.skipif(simple_switch() is None, reason="simple_switch_grpc is not on PATH")

WINDOW = 12
"""Packets in flight: BMv2 drops silently what does not fit into a port's queue of 64."""


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_scenario(name: str) -> None:
    """Outputs as multisets, window by window, and all indexed counters at the end."""
    scenario = SCENARIOS[name](seed=11, count=600)
    engine = load_bytes(scenario.json.read_bytes())
    apply(engine, scenario.setup)
    with Bmv2(scenario.json, scenario.p4info) as bmv2:
        bmv2.apply(scenario.setup)
        for start in range(0, len(scenario.packets), WINDOW):
            window = scenario.packets[start : start + WINDOW]
            ours = [output for port, packet in window for output in engine.process(port, packet)]
            for port, packet in window:
                bmv2.send(port, packet)
            assert sorted(bmv2.collect(len(ours))) == sorted(ours), f"packets {start} to {start + WINDOW}"
        for counter in scenario.counters:
            ours_counted = [engine.counter_read(counter, i) for i in range(engine.counter_size(counter))]
            assert bmv2.counter(counter) == ours_counted


@pytest.mark.parametrize("seed", range(3))
def test_random_expressions(seed: int, tmp_path: Path) -> None:
    """That the evaluator in Python, against which the engine is tested, is BMv2's."""
    program = random_program(seed)
    document = tmp_path / "program.json"
    document.write_bytes(program.json_bytes)
    with Bmv2(document) as bmv2:
        for packet in random_packets(program, seed, 20):
            bmv2.send(1, packet)
            assert bmv2.collect(1, linger_s=0) == [(2, program.expected(packet))]
