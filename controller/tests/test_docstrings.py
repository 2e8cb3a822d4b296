# SPDX-License-Identifier: Apache-2.0
"""What docstrings name is there: the modules of a package that lists them, and what stands between backticks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documents import FILES, ROOT, name_of

TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES if path.suffix == ".py"}

# --- lists of modules ------------------------------------------------------------------------------------------------


def listed_in(docstring: str) -> list[str]:
    """Names at the beginning of lines, from two spaces on what each is: `front  limits before TLS`."""
    lines = re.findall(r"^ *(\w+(?:, \w+)*)(?: {2,})\S", docstring, flags=re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


def modules_of(package: Path) -> set[str]:
    """Modules and packages in its folder."""
    modules = {path.stem for path in FILES if path.parent == package and path.suffix == ".py"}
    return modules - {"__init__"} | {path.parent.name for path in PACKAGES if path.parent.parent == package}


PRODUCT = {"nvo3sec", "p4softswitch", "nvo3lab", "nvo3ref"}
PACKAGES = [path for path in TREES if path.name == "__init__.py" and path.relative_to(ROOT).parts[1] in PRODUCT]
LISTS = {path: found for path in PACKAGES if (found := listed_in(ast.get_docstring(TREES[path]) or ""))}


def test_there_are_lists():
    assert len(PACKAGES) > 30
    assert len(LISTS) >= 3


@pytest.mark.parametrize("path", LISTS, ids=name_of)
def test_a_package_lists_what_is_in_its_folder(path):
    """All of it, once, and nothing else."""
    assert sorted(LISTS[path]) == sorted(modules_of(path.parent))
