# SPDX-License-Identifier: Apache-2.0
"""Finds the checks of the P4 sources, and builds one program in which each of them can be switched off by its number.

Kinds, all found mechanically:

    drop      a statement that sets a drop reason, left out
    verify    a verify() of the parser, left out
    operand   one operand of a compound condition, left out (if, verify, and the condition of ?:)
    guard     "if no drop reason yet" in front of a stage, always true
    hit       "if the table had an entry", always true
    boundary  a comparison that includes its limit where it did not, or the other way round

Compiling takes longer than testing, so all mutants are in one program: `meta.mutant` is a constant that the parser
assigns first of all, and that is written into p4c's output afterwards. Number 0 is the program as it is.
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
_GUARD = "meta.drop_reason == drop_reason_t.NONE"
_HIT = re.compile(r"\b(\w+)\.apply\(\)\.hit")
# Not the angle brackets of types, not shifts.
_RELATION = re.compile(r"(?<![<>=!])(<=|>=|<|>)(?![<>=])")
_TYPE = re.compile(r"\bbit<\w+>")

# What the parser assigns; nothing else in the program has this value.
PLACEHOLDER = 0xBEEF
_METADATA = ("common/metadata.p4", "struct metadata_t {", "struct metadata_t {\n    bit<16> mutant;")
_ASSIGNED = ("v1model/parser.p4", "state start {", f"state start {{\n        meta.mutant = {PLACEHOLDER};")


@dataclass(frozen=True)
class Edit:
    """One replacement in one file."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """A program without one check: a number of the program that holds them all, or a program of its own (edits)."""

    name: str
    number: int = 0
    edits: tuple[Edit, ...] = ()
    # Drop reasons and words that lead to the tests that should notice.
    hints: tuple[str, ...] = ()
    # What the failing test must say (a regular expression), for mutants that must be noticed in a certain way.
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

    def edit(self, file: str, old: str, new: str) -> Edit:
        """Replaces a text that stands in the file exactly once; ValueError if it does not."""
        text = self.texts[file]
        if text.count(old) != 1:
            raise ValueError(f"in {file} this stands {text.count(old)} times: {old}")
        at = text.index(old)
        return Edit(file, at, at + len(old), new)

    def edited(self, edits: tuple[Edit, ...]) -> dict[str, str]:
        """The text of all files after edits that do not overlap."""
        found = {}
        for file, text in self.texts.items():
            for edit in sorted((one for one in edits if one.file == file), key=lambda one: -one.start):
                text = text[: edit.start] + edit.text + text[edit.end :]
            found[file] = text
        return found


class AllInOne:
    """The program that holds every mechanical mutant. Names (file, kind, what is left out) know no line numbers."""

    def __init__(self, sources: Sources) -> None:
        self.mutants: list[Mutant] = []
        self._sources = sources
        self._seen: Counter[str] = Counter()
        self._reasons = self._reason_of_error()
        found = [sources.edit(*_METADATA), sources.edit(*_ASSIGNED)]
        for file in sources.texts:
            if file.startswith("crypto/"):
                continue  # it knows no metadata, so that nothing can be switched off there: semantic.py has its mutants
            self._stem = Path(file).stem
            found += self._edits(file)
        self.edits = tuple(found)

    def _reason_of_error(self) -> dict[str, str]:
        """Parser error to drop reason, as ParserVerdict maps them."""
        verdicts = [pair for file in self._sources.texts for pair in _ERROR_VERDICT.findall(self._sources.plain(file))]
        return dict(verdicts)

    def _off(self, kind: str, what: str, hints: tuple[str, ...]) -> str:
        """A new mutant; the expression that is true in it alone."""
        name = f"{self._stem} {kind} {' '.join(what.split())}"
        self._seen[name] += 1
        if self._seen[name] > 1:
            name += f" ({self._seen[name]})"
        self.mutants.append(Mutant(name, len(self.mutants) + 1, hints=hints))
        return f"(meta.mutant == {len(self.mutants)})"

    def _edits(self, file: str) -> Iterator[Edit]:
        text = self._sources.plain(file)
        for found in _DROP.finditer(text):
            reason = found.group(1)
            if reason != "NONE":
                off = self._off("drop", reason, (reason,))
                yield Edit(
                    file, *found.span(), f"meta.drop_reason = {off} ? meta.drop_reason : drop_reason_t.{reason};"
                )
        for start, end in _brackets(text, r"\bverify\("):
            condition, error = text[start:end].rsplit(",", 1)
            hints = (self._reasons[error.strip().removeprefix("error.")],)
            off = self._off("verify", condition, hints)
            yield Edit(file, start, start + len(condition), f"{self._expression(condition, hints)} || {off}")
        for start, end in _brackets(text, r"\bif \("):
            yield from self._condition(file, text, start, end, _reasons_behind(text, end))
        for found in re.finditer(r"(?<![=!<>])= ([^=;?][^;?]*?)\s*\?", text):
            yield from self._condition(file, text, _balanced(text, *found.span(1)), found.end(1), ())

    def _condition(self, file: str, text: str, start: int, end: int, hints: tuple[str, ...]) -> Iterator[Edit]:
        before = text[start:end]
        if before == _GUARD:
            following = text[end + 1 : end + 200].split("(")[0].strip(" {\n")
            after = f"{before} || {self._off('guard', following, hints)}"
        else:
            after = self._expression(before, hints)
        if after != before:
            yield Edit(file, start, end, after)

    def _expression(self, text: str, hints: tuple[str, ...]) -> str:
        text = text.strip()
        if text[0] == "(" and _close(text, 0) == len(text) - 1:
            return f"({self._expression(text[1:-1], hints)})"
        operator, parts = _split(text)
        if operator is None:
            return self._leaf(text, hints)
        pieces = []
        for part in parts:
            off = self._off("operand", part, hints)
            neutral = f"|| {off}" if operator == "&&" else f"&& !{off}"
            pieces.append(f"({self._expression(part, hints)} {neutral})")
        return f"({f' {operator} '.join(pieces)})"

    def _leaf(self, text: str, hints: tuple[str, ...]) -> str:
        hit = _HIT.search(text)
        if hit is not None:
            return f"({text} || {self._off('hit', hit.group(1), (*hints, hit.group(1)))})"
        relation = _RELATION.search(_TYPE.sub(lambda found: "_" * len(found.group()), text))
        if relation is None:
            return text
        left, right = text[: relation.start()], text[relation.end() :]
        off = self._off("boundary", text, hints)
        if relation.group() in ("<", ">"):
            return f"({text} || ({off} && {left} == {right}))"
        return f"({left} {relation.group()[0]} {right} || ({left} == {right} && !{off}))"


def _close(text: str, opening: int) -> int:
    """Index of the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    raise ValueError("a bracket is not closed")


def _brackets(text: str, beginning: str) -> Iterator[tuple[int, int]]:
    """What stands between the bracket that the pattern ends in and the one that closes it."""
    for found in re.finditer(beginning, text):
        yield found.end(), _close(text, found.end() - 1)


def _balanced(text: str, start: int, end: int) -> int:
    """Where the condition in front of a ? begins: behind the last bracket that is open there."""
    depth = 0
    for at in range(end - 1, start - 1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if depth < 0:
            return at + 1
    return start


def _reasons_behind(text: str, start: int) -> tuple[str, ...]:
    """The drop reasons of the block that follows, the nearest first."""
    opening = text.find("{", start)
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return tuple(dict.fromkeys(_DROP.findall(text[opening:at])))
    return ()


def _split(text: str) -> tuple[str | None, list[str]]:
    """At the weakest operator outside brackets: || before &&."""
    for operator in ("||", "&&"):
        depth, first, parts = 0, 0, []
        for at, character in enumerate(text):
            depth += (character == "(") - (character == ")")
            if depth == 0 and text.startswith(operator, at):
                parts.append(text[first:at].strip())
                first = at + 2
        if parts:
            return operator, [*parts, text[first:].strip()]
    return None, []
