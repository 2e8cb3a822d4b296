# SPDX-License-Identifier: Apache-2.0
"""What tests start is not found by the commands of whoever runs them, and their commands do not find what is theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nvo3lab.rundir import operators_directory
from nvo3sec.operator.console.rundir import base_directory
from places import ROOT

CONFTEST = ROOT / "conftest.py"

ASKING = """
import os
import pathlib

def test_where():
    place = pathlib.Path(os.environ["XDG_RUNTIME_DIR"])
    (place / "left").touch()
    assert place.stat().st_mode & 0o777 == 0o700
    assert not [name for name in os.environ if name.startswith("NVO3SEC_")]
    pathlib.Path("told").write_text(str(place))
"""


def test_here() -> None:
    place = Path(os.environ["XDG_RUNTIME_DIR"])
    assert place.name.startswith("nvo3-")
    assert operators_directory() == base_directory() == place / "nvo3sec"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_by_somebody_with_an_nva_and_a_lab(tmp_path: Path, workers: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "test_where.py").write_text(ASKING)
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    mine = {
        "XDG_RUNTIME_DIR": str(theirs),
        "NVO3SEC_RUN_DIR": str(theirs / "nva"),
        "NVO3SEC_NVA": "nva1.nva.x:7443",
        "NVO3SEC_CREDENTIALS": str(theirs),
    }
    command = [sys.executable, "-m", "pytest", "-n", workers, "test_where.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | mine, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout
    told = Path((tmp_path / "told").read_text())
    assert told != theirs
    assert not told.exists(), "nothing is left"
    assert list(theirs.iterdir()) == []
