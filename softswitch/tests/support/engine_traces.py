# SPDX-License-Identifier: Apache-2.0
"""Traces of BMv2: what it did with the scenarios, packet by packet, in files that are replayed without it.

usage, with simple_switch_grpc on the path: python softswitch/tests/support/engine_traces.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from engine_bmv2 import Bmv2, simple_switch
from engine_scenarios import SCENARIOS, Clone, Default, Group, Insert, Meter, Scenario, Setup, apply
from engine_support import load_program
from p4softswitch.engine_api import ActionCall, KeyPart, MeterRates

TRACES = Path(__file__).parent / "traces"
PACKETS = 200
SEED = 42
_KINDS: dict[str, type[Any]] = {k.__name__: k for k in (Insert, Default, Group, Clone, Meter)}


def encode(value: Any) -> Any:
    """Dataclasses and bytes as JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [encode(v) for v in value]
    if is_dataclass(value):
        found = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, **found} if type(value) in _KINDS.values() else found
    return value


def _optional(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)


def decode(step: dict[str, Any]) -> Setup:
    values = dict(step)
    kind = values.pop("kind")
    if "action" in values:
        action = values["action"]
        values["action"] = ActionCall(action["name"], tuple(bytes.fromhex(p) for p in action["params"]))
    if "key" in values:
        values["key"] = tuple(
            KeyPart(bytes.fromhex(p["value"]), _optional(p["mask"]), p["prefix_len"]) for p in values["key"]
        )
    if values.get("meter") is not None and kind == "Insert":
        values["meter"] = MeterRates(**values["meter"])
    if "replicas" in values:
        values["replicas"] = tuple(tuple(r) for r in values["replicas"])
    result: Setup = _KINDS[kind](**values)
    return result


def record(name: str, scenario: Scenario) -> dict[str, Any]:
    """Runs one packet at a time, and the engine beside it, to know for how many outputs to wait."""
    engine = load_program(name)
    apply(engine, scenario.setup)
    exchanges = []
    with Bmv2(scenario.json, scenario.p4info) as bmv2:
        bmv2.apply(scenario.setup)
        for port, packet in scenario.packets:
            expected = len(engine.process(port, packet))
            bmv2.send(port, packet)
            outputs = sorted(bmv2.collect(expected, linger_s=0.02))
            exchanges.append({"port": port, "packet": packet.hex(), "outputs": encode(outputs)})
        counters = {c: [[v.packets, v.bytes] for v in bmv2.counter(c)] for c in scenario.counters}
    version = subprocess.run(
        [simple_switch() or "", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "target": f"simple_switch_grpc {version}",
        "program": name,
        "setup": [encode(step) for step in scenario.setup],
        "exchanges": exchanges,
        "counters": counters,
    }


def main() -> None:
    TRACES.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        trace = record(name, scenario(SEED, PACKETS))
        (TRACES / f"{name}.json").write_text(json.dumps(trace, indent=0) + "\n")
        sys.stdout.write(f"{name}: {len(trace['exchanges'])} packets, {trace['target']}\n")


if __name__ == "__main__":
    main()
