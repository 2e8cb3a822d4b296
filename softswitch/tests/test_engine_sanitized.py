# SPDX-License-Identifier: Apache-2.0
"""The generated code and the runtime under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
PACKETS = 1500


def _libraries() -> str | None:
    """The sanitizers' run-time libraries, which have to be there before Python starts."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    found = []
    for name in ("libasan.so", "libubsan.so"):
        path = subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        if not Path(path).is_absolute():
            return None
        found.append(path)
    return ":".join(found)


@pytest.mark.skipif(_libraries() is None, reason="gcc's sanitizers are not installed")
def test_random_and_damaged_packets() -> None:
    """Nothing is read or written out of bounds, whatever arrives."""
    environment = {
        **os.environ,
        "LD_PRELOAD": _libraries() or "",
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has until it ends
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "P4SOFTSWITCH_CC": "gcc",
    }
    script = Path(__file__).parent / "support" / "engine_fuzz.py"
    result = subprocess.run(
        [sys.executable, str(script), str(PACKETS), *FLAGS, "--"],
        env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr[-6000:]
