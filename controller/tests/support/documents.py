# SPDX-License-Identifier: Apache-2.0
"""The documents of the repository, all its `.md` files, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

SHOWN = {".ci", ".github"}


def _tree(folder: Path) -> Iterator[Path]:
    """The files of the repository, and nothing of what is made in it."""
    for one in sorted(folder.iterdir()):
        if one.is_dir() and (not one.name.startswith(".") or one.name in SHOWN):
            if one.name not in {"__pycache__", "build", "run"} and not one.name.endswith(".egg-info"):
                yield from _tree(one)
        elif one.is_file() and one.suffix not in {".log", ".pcap"}:
            yield one


FILES = list(_tree(ROOT))
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose_of(document: Path) -> str:
    """Without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans_of(document: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", prose_of(document))


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its beginning."""

    line: int
    mark: str
    text: str


def blocks_of(document: Path) -> list[Block]:
    found: list[Block] = []
    begun: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```") and begun is None:
            begun, lines = (number, line.removeprefix("```").partition(" ")[2]), []
        elif line.startswith("```") and begun is not None:
            found.append(Block(*begun, "\n".join(lines)))
            begun = None
        else:
            lines.append(line)
    assert begun is None, f"{document.name}: the block of line {begun} has no end"
    return found
