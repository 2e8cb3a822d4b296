# SPDX-License-Identifier: Apache-2.0
"""Compiles the programs of tests and benchmark with p4c-bm2-ss, which has to be on the path, and strips what depends on
paths.

Run it after a change of a .p4 file and commit what it writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def strip(node: Any) -> Any:
    """The JSON without source positions."""
    if isinstance(node, dict):
        return {key: strip(value) for key, value in node.items() if key not in ("source_info", "program")}
    if isinstance(node, list):
        return [strip(item) for item in node]
    return node


def main() -> None:
    for source in sorted([*HERE.glob("*.p4"), *(HERE.parents[2] / "bench").glob("*.p4")]):
        output, p4info = source.with_suffix(".json"), source.with_suffix(".p4info.txtpb")
        subprocess.run(
            ["p4c-bm2-ss", "--p4runtime-files", p4info.name, "-o", output.name, source.name],
            cwd=source.parent,
            check=True,
        )
        output.write_text(json.dumps(strip(json.loads(output.read_text())), indent=1) + "\n")
        sys.stdout.write(f"{output.name}\n")


if __name__ == "__main__":
    main()
