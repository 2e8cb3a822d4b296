# SPDX-License-Identifier: Apache-2.0
"""What docstrings name is there: the modules of a package that lists them, and what stands between backticks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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


# --- names -----------------------------------------------------------------------------------------------------------


def statements_of(tree: ast.Module) -> list[ast.Constant]:
    """Docstrings, and what is said of constants and members."""
    alone = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return [one for one in alone if isinstance(one, ast.Constant) and isinstance(one.value, str)]


STATEMENTS = {path: found for path, tree in TREES.items() if (found := statements_of(tree))}
SAID = {id(one) for found in STATEMENTS.values() for one in found}
OTHERS = {"core_pattern": "Linux", "max_dgram_qlen": "Linux", "xdist_group": "pytest-xdist"}
"""Names of other programs, which no source uses."""


def names_of(tree: ast.Module) -> Iterator[str]:
    """What code names, and words of its texts: without docstrings and comments."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield from re.findall(r"\w+", f"{name} {other or ''}")
            case ast.Constant(value=str(text)) if id(node) not in SAID:
                yield from re.findall(r"\w+", text)


KNOWN = {
    *(word for tree in TREES.values() for word in names_of(tree)),
    *(word for path in FILES for part in path.relative_to(ROOT).parts for word in re.findall(r"\w+", part)),
    *(
        word
        for path in FILES
        if path.suffix not in {".py", ".md", ".json", ".jsonl"}
        for word in re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace"))
    ),
}


@pytest.mark.parametrize("path", STATEMENTS, ids=name_of)
def test_names_in_docstrings_exist(path):
    """Whatever stands between backticks. Capitals within something longer are for the reader to fill in; `_s` can be
    the end of a name."""
    for statement in STATEMENTS[path]:
        for span in re.findall(r"`([^`\n]+)`", str(statement.value)):
            for name in re.findall(r"(?<!\w)[^\W\d]\w*", span):
                if name not in OTHERS and not (name.isupper() and name != span):
                    is_known = name in KNOWN or (name[0] == "_" and any(one.endswith(name) for one in KNOWN))
                    assert is_known, f"{name_of(path)}: nothing is named {name} (`{span}`)"
