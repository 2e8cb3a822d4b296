# SPDX-License-Identifier: Apache-2.0
"""IPv6: a hundred devices of one management subnet, and a neighbor without a certificate that has all its addresses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from places import SUPPORT

ALONE = ["unshare", "--map-root-user", "--net"]

SCRIPT = SUPPORT / "one_subnet.py"


def test_a_neighbor_that_floods_shuts_nobody_out(tmp_path):
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces for this user")
    done = subprocess.run(
        [*ALONE, sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["open_at_once"] == 100
    assert sum(found["first"]) < 100 * 10, "newcomers of the subnet get in between the neighbor's connections"
    assert sum(found["again"]) <= 105, "those who are known get in at once, all"
    assert sum(found["refused"].values()) > 1000
