# SPDX-License-Identifier: Apache-2.0
"""What is said beside results, on standard error: errors and questions. All of it begins in the same way."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import typer
from rich.console import Console

from nvo3sec.errors import OperatorError
from nvo3sec.system.plain import plain

PREFIX = "nvo3sec: "


def aside(text: str) -> None:
    """A line, or several. Where standard error takes none it is not said, and nothing else changes."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:
            print(text, file=sys.stderr)


def error(*lines: str) -> None:
    """Why the command did not do what it was asked to: each in one line, whatever is in it."""
    aside("\n".join(PREFIX + plain(line) for line in lines))


def to_stderr(*parts: Any) -> None:
    """What is said before a question: standard output is for the result. Raises OperatorError if it cannot be."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    try:
        for part in parts:
            console.print(part)
    except (OSError, SystemExit):  # rich ends the process where the other end of a pipe is closed
        raise OperatorError("nothing was done: what there is to decide could not be shown") from None


def confirm(question: str, *, yes: bool, nothing: str = "nothing was done") -> None:
    """Ask before something that cannot be taken back. Raises OperatorError unless the answer is yes."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():  # None: closed
        raise OperatorError(f"{nothing}: there is nobody to ask; use --yes")
    try:
        agreed = typer.confirm(plain(question), err=True)
    except OSError as error:
        raise OperatorError(f"{nothing}: the question could not be shown: {error.strerror}") from None
    if not agreed:
        raise OperatorError(nothing)


def counted(number: int, one: str, several: str = "") -> str:
    """`1 VN`, `2 VNs`; `several`: the plural, if it is not made with an s."""
    return f"{number} {one if number == 1 else several or one + 's'}"
