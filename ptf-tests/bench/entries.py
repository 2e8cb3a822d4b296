# SPDX-License-Identifier: Apache-2.0
"""Table entries written per second over P4Runtime, and the memory of a switch with 10,000 SAs, on each target.

    PYTHONPATH=ptf-tests python ptf-tests/bench/entries.py [--target embedded|bmv2]

One client, one Write after another, 100 updates in each, entries of `sa_rx` (the widest action data of the program),
then of `bridge`. Each target gets a switch process of its own; the ratio is of one run on one machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.p4runtime import P4Runtime
from harness.schema import Entry, Schema, entry, update
from harness.session import FOREVER
from harness.switches import Switch, available
from harness.world import derived

PROGRAM = Path(__file__).resolve().parents[2] / "p4src" / "nvo3sec_p4"
UPDATES_PER_WRITE = 100
COUNTS = (1_000, 10_000)
INCARNATION = derived("bench", "incarnation")


def sa_rx(number: int) -> Entry:
    return entry(
        "sa_rx",
        {"peer": number, "spi": 0x10000 + number},
        "accept",
        suite=1,
        level=1,
        kind=1,
        key=derived("bench", number),
        min_coverage=0xFFFF,
        pair=number & 0xFFF,
        tag=number,
        generation=1,
        not_after=FOREVER,
        incarnation=INCARNATION,
        link=0,
        vlan=0,
    )


def bridge(number: int) -> Entry:
    return entry(
        "bridge", {"vni": 5001, "mac": 0x020000000000 + number, "from_underlay": 0}, "to_vap", port=1, interface=1
    )


def resident_kib(pid: int) -> int:
    """Memory of the process that is in RAM, in KiB (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status has no VmRSS")


def write_seconds(runtime: P4Runtime, schema: Schema, entries: list[Entry]) -> float:
    batches = [
        [update("INSERT", table_entry=schema.table_entry(one)) for one in entries[at : at + UPDATES_PER_WRITE]]
        for at in range(0, len(entries), UPDATES_PER_WRITE)
    ]
    start = time.perf_counter()
    for batch in batches:
        runtime.write(batch)
    return time.perf_counter() - start


def measure(target: str) -> dict[str, float]:
    """Rates in entries a second by table and count, memory in KiB."""
    schema = Schema(PROGRAM / "nve.p4info.txtpb")
    figures: dict[str, float] = {}
    for count in COUNTS:
        switch = Switch(target)
        try:
            runtime = P4Runtime(switch.p4runtime_path)
            runtime.push_pipeline("VERIFY_AND_COMMIT", schema.p4info, (PROGRAM / "nve.json").read_bytes())
            before = resident_kib(switch.pid)
            for name, make in (("sa_rx", sa_rx), ("bridge", bridge)):
                figures[f"{name} {count}"] = count / write_seconds(runtime, schema, [make(n) for n in range(count)])
                if name == "sa_rx":
                    figures[f"KiB for {count} SAs"] = resident_kib(switch.pid) - before
            figures[f"KiB in all, {count}"] = resident_kib(switch.pid)
            runtime.close()
        finally:
            switch.stop()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found, missing = available()
    parser.add_argument("--target", choices=found, action="append", help="default: all that are installed")
    targets = parser.parse_args().target or found
    for line in missing:
        print(line)
    results = {target: measure(target) for target in targets}
    print(f"{'':24}" + "".join(f"{target:>14}" for target in targets) + ("       ratio" if len(targets) == 2 else ""))
    for name in results[targets[0]]:
        values = [results[target][name] for target in targets]
        ratio = f"{values[0] / values[1]:12.2f}" if len(values) == 2 and values[1] else ""
        print(f"{name:24}" + "".join(f"{value:14,.0f}" for value in values) + ratio)
    return 0


if __name__ == "__main__":
    sys.exit(main())
