# SPDX-License-Identifier: Apache-2.0
"""Compile the test program with the p4c on PATH; what comes out is committed, so that the tests need no p4c."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VARIANTS = {"with_arrays": [], "without_arrays": ["-DWITHOUT_ARRAYS"]}
# REUSE-IgnoreStart
_LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"
# REUSE-IgnoreEnd


def _strip(value: Any) -> Any:
    """Without what depends on where the source lies."""
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if key not in ("source_info", "program")}
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return value


def compile_variant(name: str, directory: Path) -> tuple[str, str]:
    """JSON and p4info of a variant, as they are committed; `directory` takes p4c's output."""
    output, p4info = directory / f"{name}.json", directory / f"{name}.p4info.txtpb"
    flags = ["--Wdisable=unused", *VARIANTS[name], "-o", str(output), "--p4runtime-files", str(p4info)]
    subprocess.run(
        ["p4c-bm2-ss", *flags, "server_test.p4"],
        cwd=HERE,
        check=True,
    )
    program = json.dumps(_strip(json.loads(output.read_text())), indent=1) + "\n"
    return program, _LICENCE + p4info.read_text()


def main() -> int:
    """Write all variants beside this file."""
    import tempfile

    for name in VARIANTS:
        with tempfile.TemporaryDirectory() as directory:
            program, p4info = compile_variant(name, Path(directory))
        (HERE / f"{name}.json").write_text(program)
        (HERE / f"{name}.p4info.txtpb").write_text(p4info)
    return 0


if __name__ == "__main__":
    sys.exit(main())
