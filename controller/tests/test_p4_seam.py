# SPDX-License-Identifier: Apache-2.0
"""The shared controls of the data plane know their architecture by the names of `arch.p4` and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from places import DATA, P4SRC

OTHER = DATA / "psa"
SHARED = sorted([*P4SRC.glob("common/*.p4"), *P4SRC.glob("crypto/*.p4")])
V1MODEL = re.compile(
    r"standard_metadata|mark_to_drop|\bdirect_(?:meter|counter)\b|\bregister<|\bMeterType\b|\bCounterType\b|\bcounter\("
    r"|\btruncate\(|\bverify_checksum\b|\bupdate_checksum\b|#include\s*[\"<][^\">]*v1model"
)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.relative_to(P4SRC).as_posix())
def test_nothing_of_v1model_is_in_it(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not V1MODEL.findall(text)


@pytest.mark.skipif(shutil.which("p4test") is None, reason="no p4test on PATH")
def test_another_architecture_takes_it():
    """p4c's front end: types, calls, tables, and what an architecture has to bring. (Its middle takes minutes to unroll
    the ciphers' loops.)"""
    command = ["p4test", "--validate", "--std", "p4-16", "-I", str(OTHER), "-I", str(P4SRC), str(OTHER / "nve.p4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_applied_there_as_a_whole():
    """Or the test above would have seen less than there is."""
    controls = {
        name for path in SHARED for name in re.findall(r"^control (\w+)\(", path.read_text(), flags=re.MULTILINE)
    }
    used = set()
    for path in [*SHARED, OTHER / "nve.p4"]:
        used |= set(re.findall(r"^\s+(\w+)\(\w*\) \w+;", path.read_text(), flags=re.MULTILINE))
    assert controls <= used
