# SPDX-License-Identifier: Apache-2.0
"""Tables that never break a value: an SPI or a MAC address in two pieces can be neither read nor copied.

Columns in which nothing stands are left out. Where a table is wider than the terminal, headings and columns of prose
are wrapped between words; where that is not enough, or makes columns of single words, every row becomes a paragraph of
names and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
"""Blanks between columns, and between a value and the next name."""
INDENT = 2
HEADING_LINES, PROSE_LINES = 2, 3
"""In so many a heading, or a cell of prose, is still read as one."""


class Listing:
    """A table without lines. right: the columns of numbers. prose: those that may be wrapped between words.

    none: what is said instead of a table without rows, like `No keys`.
    """

    def __init__(
        self, title: str, columns: Iterable[str], right: Iterable[str] = (), prose: Iterable[str] = (), none: str = ""
    ) -> None:
        self.title = title
        self._none = none
        self._columns = tuple(columns)
        self._right = frozenset(right)
        self._prose = frozenset(prose)
        self._rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: str | Text) -> None:
        """A row; cells that are missing at its end are empty."""
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        self._rows.append((*texts, *(Text() for _ in self._columns[len(texts) :])))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._rows and self._none:
            yield from _whole([Text(self._none)])
            return
        yield from _whole(Text(line, style="italic") for line in self.title.split("\n"))
        used = [index for index in range(len(self._columns)) if not self._rows or any(row[index] for row in self._rows)]
        names = tuple(self._columns[index] for index in used)
        rows = [tuple(row[index] for index in used) for row in self._rows]
        widths = self._widths(names, rows, options.max_width)
        if widths is None or self._is_mangled(console, names, rows, widths):
            yield from _whole(self._paragraphs(console, options.max_width))
        else:
            yield from _whole(self._lines(console, names, rows, widths))

    def _widths(self, names: Sequence[str], rows: Sequence[Sequence[Text]], available: int) -> list[int] | None:
        """Of each column; None if not even the longest words have room."""
        headers = [Text(name) for name in names]
        columns = list(zip(headers, *rows, strict=True))
        natural = [max(cell.cell_len for cell in column) for column in columns]
        least = [
            max(_longest_word(cell) if name in self._prose or cell is column[0] else cell.cell_len for cell in column)
            for name, column in zip(names, columns, strict=True)
        ]
        room = available - GAP * (len(columns) - 1) - sum(least)
        if room < 0:
            return None
        widths = list(least)
        for index in sorted(range(len(columns)), key=lambda index: names[index] not in self._prose):
            widths[index] += min(room, natural[index] - least[index])
            room -= widths[index] - least[index]
        return widths

    @staticmethod
    def _is_mangled(
        console: Console, names: Sequence[str], rows: Sequence[Sequence[Text]], widths: Sequence[int]
    ) -> bool:
        """Whether headings or prose are cut into so many lines that a table is no help."""

        def is_cut(cells: Iterable[Text], lines: int) -> bool:
            return any(len(cell.wrap(console, width)) > lines for cell, width in zip(cells, widths, strict=True))

        return is_cut(map(Text, names), HEADING_LINES) or any(is_cut(row, PROSE_LINES) for row in rows)

    def _lines(
        self, console: Console, names: Sequence[str], rows: Sequence[Sequence[Text]], widths: list[int]
    ) -> Iterable[Text]:
        yield from self._row(console, names, [Text(name, style="bold") for name in names], widths)
        for row in rows:
            yield from self._row(console, names, row, widths)

    def _row(self, console: Console, names: Sequence[str], cells: Iterable[Text], widths: list[int]) -> Iterable[Text]:
        wrapped = [list(cell.wrap(console, width)) or [Text()] for cell, width in zip(cells, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            line = Text()
            for name, lines, width in zip(names, wrapped, widths, strict=True):
                part = lines[number].copy() if number < len(lines) else Text()
                part.rstrip()
                blanks = " " * (width - part.cell_len)
                line.append(blanks if name in self._right else "").append_text(part)
                line.append("" if name in self._right else blanks).append(" " * GAP)
            line.rstrip()
            yield line

    def _paragraphs(self, console: Console, available: int) -> Iterable[Text]:
        for row in self._rows:
            line = Text()
            for name, cell in zip(self._columns, row, strict=True):
                if not cell.cell_len:
                    continue
                part = Text.assemble((f"{name} " if name else "", "bold"), cell)
                if line.cell_len and line.cell_len + GAP + part.cell_len > available:
                    yield line
                    line = Text(" " * INDENT)
                elif line.cell_len:
                    line.append(" " * GAP)
                room = available - 2 * INDENT
                if part.cell_len > room >= _longest_word(part) and len(cell.plain.split()) > 1:
                    *before, part = part.wrap(console, room)
                    for piece in before:
                        yield line.append_text(piece)
                        line = Text(" " * 2 * INDENT)
                line.append_text(part)
            yield line


def _whole(lines: Iterable[Text]) -> Iterable[Text]:
    """Lines that are longer than the terminal are the terminal's to wrap: copied, they are one line.

    For that they have to be printed with `soft_wrap`, else rich cuts them off.
    """
    for line in lines:
        line.no_wrap, line.overflow = True, "ignore"
        yield line


def _longest_word(cell: Text) -> int:
    return max((Text(word).cell_len for word in cell.plain.split()), default=0)
