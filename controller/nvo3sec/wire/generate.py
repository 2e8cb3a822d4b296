# SPDX-License-Identifier: Apache-2.0
"""Writes `nva_pb2.py` and `nva_pb2.pyi` from `nva.proto`: `python -m nvo3sec.wire.generate`.

The version of grpcio-tools decides which runtimes of protobuf take the result: a runtime refuses code of a newer one.
So it is pinned, in pyproject.toml, to one that all of protobuf 6.33 and later takes. A test compares.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("nva.proto")
TARGETS = (SOURCE.with_name("nva_pb2.py"), SOURCE.with_name("nva_pb2.pyi"))
# REUSE-IgnoreStart
HEADER = "# SPDX-License-Identifier: Apache-2.0\n"
# REUSE-IgnoreEnd


def current() -> dict[Path, str]:
    """The text of every target. Needs grpcio-tools; raises CalledProcessError if the source is wrong."""
    root = SOURCE.parents[2]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={root}"]
        command += [f"--python_out={directory}", f"--pyi_out={directory}", str(SOURCE.relative_to(root))]
        subprocess.run(command, check=True, cwd=root)  # noqa: S603  # the project's own file, no shell
        made = Path(directory) / SOURCE.parent.relative_to(root)
        return {path: HEADER + (made / path.name).read_text(encoding="utf-8") for path in TARGETS}


def main() -> None:
    """Write the targets."""
    for path, text in current().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
