# SPDX-License-Identifier: Apache-2.0
"""The forms that the glossary tells are in the rooms that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
HEAD = r"^\| form \| type \| room \|.*\n\|.*\n"
FORMS = [
    tuple(cell.strip() for cell in row.strip("|").split("|"))[:3]
    for table in re.split(HEAD, GLOSSARY, flags=re.MULTILINE)[1:]
    for row in table.partition("\n\n")[0].splitlines()
]


def room_of(name: str) -> Path:
    """A folder of `controller/nvo3sec`, or of the repository."""
    for path in (ROOT / "controller" / "nvo3sec" / name, ROOT / name):
        if path.is_dir():
            return path
    raise AssertionError(f"there is no room {name}")


def test_there_are_forms():
    assert len(re.findall(HEAD, GLOSSARY, flags=re.MULTILINE)) == 5
    assert len(FORMS) > 30


@pytest.mark.parametrize(("form", "kind", "rooms"), FORMS, ids=[form for form, _, _ in FORMS])
def test_a_form_is_in_a_room_that_it_is_said_to_be_in(form, kind, rooms):
    """Its classes too; what stands in brackets behind a room is a folder or a module of it."""
    named = re.findall(r"`([\w/-]+)`(?: \((\w+)\))?", rooms)
    assert named
    files = [path for name, _ in named for path in room_of(name).rglob("*.py")]
    for part in (part for _, part in named if part):
        assert any(path.stem == part or path.parent.name == part for path in files), f"{rooms} has no {part}"
    classes = {name for path in files for name in re.findall(r"^class (\w+)", path.read_text(), flags=re.MULTILINE)}
    assert {name for name in re.findall(r"`([A-Z]\w+)[`.]", kind)} - classes == set()
