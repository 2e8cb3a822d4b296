# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`((?:controller|ptf-tests|bmv2-lab|softswitch)/[\w/.-]+\.py(?:::\w+)*)`", THREATS)))
ATTACKS = sorted(
    {
        name
        for names in re.findall(r"drill ((?:`[\w-]+`(?:, )?)+)", THREATS)
        for name in re.findall(r"`([\w-]+)`", names)
    }
)


def names_in(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node.body for node in body if isinstance(node, kinds)}


@pytest.mark.parametrize("reference", TESTS)
def test_a_test_that_is_named_exists(reference):
    path, *names = reference.split("::")
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    for name in names:
        assert name in names_in(body), f"{path} has no {name}"
        body = names_in(body)[name]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_is_named_exists(name):
    text = "".join(path.read_text() for path in (ROOT / "bmv2-lab" / "nvo3lab" / "drill").glob("*.py"))
    assert f'"{name}"' in text or re.search(rf'_attack\(\s*"{re.escape(name.removeprefix("control-"))}"', text)


def test_there_is_a_row_for_each_requirement():
    rows = re.findall(r"^\| (\d+[ab]?)(?: to (\d+))?[: ]", THREATS, flags=re.MULTILINE)
    named = set()
    for first, last in rows:
        named |= {first} if not last else {str(n) for n in range(int(first), int(last) + 1)}
    assert named >= {str(n) for n in range(1, 19)} | {"7a", "7b"}


@pytest.mark.parametrize("document", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md", ROOT / "LIMITATIONS.md"])
def test_files_that_are_named_exist(document):
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:docs|controller|p4src|ptf-tests|bmv2-lab|softswitch)/[\w/.-]+\.\w+)", text):
        assert (ROOT / name).exists(), f"{document.name} names {name}"
