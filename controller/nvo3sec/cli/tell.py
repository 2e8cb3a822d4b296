# SPDX-License-Identifier: Apache-2.0
"""What is said beside results, on standard error: errors and questions. All of it begins in the same way."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

from nvo3sec.errors import OperatorError
from nvo3sec.plain import plain

PREFIX = "nvo3sec: "


def error(text: str) -> None:
    """Why the command did not do what it was asked to, in one line, or in one line each."""
    print("\n".join(PREFIX + plain(line) for line in text.split("\n")), file=sys.stderr)


def to_stderr(*parts: Any) -> None:
    """What is said before a question: standard output is for the result."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for part in parts:
        console.print(part)


def confirm(question: str, *, yes: bool, nothing: str = "nothing was done") -> None:
    """Ask before something that cannot be taken back. Raises OperatorError unless the answer is yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise OperatorError(f"{nothing}: there is nobody to ask; use --yes")
    if not typer.confirm(plain(question), err=True):
        raise OperatorError(nothing)


def counted(number: int, one: str, several: str = "") -> str:
    """`1 VN`, `2 VNs`; `several`: the plural, if it is not made with an s."""
    return f"{number} {one if number == 1 else several or one + 's'}"
