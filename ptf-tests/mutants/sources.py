# SPDX-License-Identifier: Apache-2.0
"""Finds the checks of the P4 sources and makes, for each, the program without it.

Kinds, all found mechanically:

    drop      a statement that sets a drop reason, left out
    verify    a verify() of the parser, left out
    operand   one operand of a compound condition, left out (if, verify, and the condition of ?:)
    guard     "if no drop reason yet" in front of a stage, always true
    hit       "if the table had an entry", always true
    boundary  a comparison that includes its limit where it did not, or the other way round
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DROP = re.compile(r"meta\.drop_reason = drop_reason_t\.(\w+);")
_ERROR_VERDICT = re.compile(r"parser_error == error\.(\w+)\) \{\s*meta\.drop_reason = drop_reason_t\.(\w+);")
_GUARD = re.compile(r"if \((meta\.drop_reason == drop_reason_t\.NONE)\)")
_HIT = re.compile(r"\b(\w+)\.apply\(\)\.hit")
# Not the angle brackets of types, not shifts.
_RELATION = re.compile(r"(?<![<>=!])(<=|>=|<|>)(?![<>=])")
_TYPE = re.compile(r"\bbit<\w+>")
_OTHER_SIDE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


@dataclass(frozen=True)
class Edit:
    """One replacement in one file."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """A program without one of its checks. hints: drop reasons and words that lead to the tests that should notice."""

    name: str
    edits: tuple[Edit, ...]
    hints: tuple[str, ...] = ()
    # What the failing test must say, for mutants that must be noticed in a certain way.
    expected: str = ""


@dataclass
class Sources:
    """The P4 files under one folder."""

    root: Path
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = {str(path.relative_to(self.root)): path.read_text() for path in sorted(self.root.rglob("*.p4"))}

    def plain(self, file: str) -> str:
        """Without comments; offsets stay."""
        return _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), self.texts[file])

    def written(self, mutant: Mutant | None, target: Path) -> None:
        """The program with the edits of a mutant."""
        for file, text in self.texts.items():
            edits = sorted(
                (one for one in (mutant.edits if mutant else ()) if one.file == file), key=lambda e: -e.start
            )
            for edit in edits:
                text = text[: edit.start] + edit.text + text[edit.end :]
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).write_text(text)

    def reason_of_error(self) -> dict[str, str]:
        """Parser error to drop reason, as ParserVerdict maps them."""
        return {error: reason for file in self.texts for error, reason in _ERROR_VERDICT.findall(self.plain(file))} | {
            "PacketTooShort": "TRUNCATED"
        }


def enumerate_mutants(sources: Sources) -> list[Mutant]:
    """All mechanical mutants. Names do not depend on line numbers: file, kind, and what is left out."""
    seen: Counter[str] = Counter()
    found = []
    for file in sources.texts:
        for mutant in _of_file(sources, file):
            seen[mutant.name] += 1
            count = seen[mutant.name]
            name = mutant.name if count == 1 else f"{mutant.name} ({count})"
            found.append(Mutant(name, mutant.edits, mutant.hints, mutant.expected))
    return found


def _of_file(sources: Sources, file: str) -> Iterator[Mutant]:
    text = sources.plain(file)
    stem = Path(file).stem
    for found in _DROP.finditer(text):
        if found.group(1) != "NONE":
            yield _mutant(stem, "drop", found.group(1), file, *found.span(), "", (found.group(1),))
    reasons = sources.reason_of_error()
    for start, end, arguments in _calls(text, "verify"):
        condition, error = arguments.rsplit(",", 1)
        reason = reasons[error.strip().removeprefix("error.")]
        yield _mutant(stem, "verify", _one_line(condition), file, start, text.index(";", end) + 1, "", (reason,))
    for start, end, hints in _conditions(text, reasons):
        yield from _operands(text, start, end, file, hints)
        yield from _boundaries(text, start, end, file, hints)
    for found in _GUARD.finditer(text):
        following = text[found.end() : found.end() + 200].split("(")[0].strip(" {\n")
        yield _mutant(stem, "guard", following, file, *found.span(1), "true", _reasons_behind(text, found.end()))
    for found in _HIT.finditer(text):
        yield _mutant(stem, "hit", found.group(1), file, *found.span(), f"({found.group()} || true)", (found.group(1),))


def _mutant(
    stem: str, kind: str, what: str, file: str, start: int, end: int, text: str, hints: tuple[str, ...]
) -> Mutant:
    return Mutant(f"{stem} {kind} {what}", (Edit(file, start, end, text),), hints)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _close(text: str, opening: int) -> int:
    """Index of the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    raise ValueError("a bracket is not closed")


def _calls(text: str, function: str) -> Iterator[tuple[int, int, str]]:
    for found in re.finditer(rf"\b{function}\(", text):
        end = _close(text, found.end() - 1)
        yield found.start(), end, text[found.end() : end]


def _conditions(text: str, reasons: dict[str, str]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(start, end, hints) of every condition in the text."""
    for found in re.finditer(r"\bif \(", text):
        end = _close(text, found.end() - 1)
        yield found.end(), end, _reasons_behind(text, end)
    for start, end, arguments in _calls(text, "verify"):
        condition, error = arguments.rsplit(",", 1)
        first = start + len("verify(")
        yield first, first + len(condition), (reasons[error.strip().removeprefix("error.")],)
        del end
    for found in re.finditer(r"(?<![=!<>])= ([^=;?][^;?]*?)\s*\?", text):
        yield found.start(1), found.end(1), ()


def _reasons_behind(text: str, start: int) -> tuple[str, ...]:
    """The drop reasons of the block that follows, the nearest first."""
    opening = text.find("{", start)
    if opening < 0:
        return ()
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return tuple(dict.fromkeys(_DROP.findall(text[opening:at])))
    return ()


def _operands(text: str, start: int, end: int, file: str, hints: tuple[str, ...]) -> Iterator[Mutant]:
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    if text[start] == "(" and _close(text, start) == end - 1:
        yield from _operands(text, start + 1, end - 1, file, hints)
        return
    operator, parts = _split(text, start, end)
    if operator is None:
        return
    for index, (first, last) in enumerate(parts):
        rest = [text[a:b].strip() for at, (a, b) in enumerate(parts) if at != index]
        yield _mutant(Path(file).stem, "operand", _one_line(text[first:last]), file, start, end,
                      "(" + f" {operator} ".join(rest) + ")", hints)  # fmt: skip
        yield from _operands(text, first, last, file, hints)


def _split(text: str, start: int, end: int) -> tuple[str | None, list[tuple[int, int]]]:
    """At the weakest operator outside brackets: || before &&."""
    for operator in ("||", "&&"):
        depth, at, first, parts = 0, start, start, []
        while at < end:
            depth += (text[at] == "(") - (text[at] == ")")
            if depth == 0 and text.startswith(operator, at):
                parts.append((first, at))
                at += 2
                first = at
            else:
                at += 1
        if parts:
            return operator, [*parts, (first, end)]
    return None, []


def _boundaries(text: str, start: int, end: int, file: str, hints: tuple[str, ...]) -> Iterator[Mutant]:
    condition = _TYPE.sub(lambda found: "_" * len(found.group()), text[start:end])
    for found in _RELATION.finditer(condition):
        around = _one_line(_operand_around(text[start:end], *found.span()))
        yield _mutant(Path(file).stem, "boundary", around, file, start + found.start(), start + found.end(),
                      _OTHER_SIDE[found.group()], hints)  # fmt: skip


def _operand_around(condition: str, start: int, end: int) -> str:
    """The comparison alone."""
    before = re.split(r"&&|\|\|", condition[:start])[-1].lstrip(" (\n")
    after = re.split(r"&&|\|\|", condition[end:])[0]
    return before + condition[start:end] + after
