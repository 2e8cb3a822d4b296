# SPDX-License-Identifier: Apache-2.0
"""Text of others as people may be shown it: nothing of it steers a terminal, ends a line of a log, or hides.

What is not printable (control characters, escape sequences, line separators, marks that turn the direction of text
around, surrogates) is written as an escape, like \\x1b.
"""

from __future__ import annotations

import math
from typing import Any

BYTE_ORDER_MARK = "\ufeff"


def plain(text: str) -> str:
    """`text` as one line of printable characters."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def plain_lines(text: str) -> str:
    """The same for text of several lines, whose line feeds (and tabs) stay."""
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in text.split("\n"))


def plain_file(text: str) -> str:
    """The same for a whole file, whose CR LF at the ends of lines stay, and a byte order mark at its beginning."""
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    return mark + "\r\n".join(map(plain_lines, text.removeprefix(mark).split("\r\n")))


def plain_value(value: Any) -> Any:
    """A JSON value whose texts and names are plain. Numbers that JSON does not have become texts."""
    match value:
        case str():
            # Also members of enumerations of texts: what they print themselves as is not for us to know.
            return plain(str(value))
        case float() if not math.isfinite(value):
            return str(value)
        case list() | tuple():
            return [plain_value(one) for one in value]
        case dict():
            return {plain(name) if isinstance(name, str) else name: plain_value(one) for name, one in value.items()}
        case _:
            return value
