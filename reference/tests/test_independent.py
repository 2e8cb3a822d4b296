# SPDX-License-Identifier: Apache-2.0
"""The reference shares nothing with what is compared with it: not even a helper."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import nvo3ref
import pytest

SOURCES = sorted(Path(nvo3ref.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_imports_itself_and_the_standard_library(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in {"nvo3ref", *sys.stdlib_module_names}, name
