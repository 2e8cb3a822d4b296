# SPDX-License-Identifier: Apache-2.0
"""The reference shares nothing with what is compared with it: not even a helper."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import nvo3ref
import pytest

SOURCES = sorted(Path(nvo3ref.__file__).parent.rglob("*.py"))


ROOT = Path(__file__).resolve().parents[2]
OF_PACKET_TESTS = {"flow", "frames", "reasons", "receiver", "tunnel", "window"}
OF_THE_LAB = {"protection", "tenant_frames"}


def used_of_it(folder: Path) -> set[str]:
    """The modules of nvo3ref that the sources in a folder import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nvo3ref":
                module = (node.module or "").partition(".")[2]
                found |= {module} if module else {one.name for one in node.names}
    return found


def test_neither_reader_uses_what_is_the_others():
    """As README.md tells."""
    assert {path.stem for path in SOURCES} == {"__init__", "ascon", "chaskey"} | OF_PACKET_TESTS | OF_THE_LAB
    assert used_of_it(ROOT / "ptf-tests") - {"ascon", "chaskey"} == OF_PACKET_TESTS
    assert used_of_it(ROOT / "bmv2-lab") - {"ascon", "chaskey"} == OF_THE_LAB


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_imports_itself_and_the_standard_library(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in {"nvo3ref", *sys.stdlib_module_names}, name
