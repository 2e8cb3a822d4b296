# SPDX-License-Identifier: Apache-2.0
"""Standard output and standard error that take nothing: a full disk, a pipe that nobody reads, a closed descriptor.

A command that has changed something must not end as if it had been refused because nobody could be told. So no write
of a result fails: the first error is kept, the command goes on to its end, and both decide how the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import Any

from nvo3sec.cli import tell
from nvo3sec.cli.operate import READY_WITH_WARNINGS

UNWRITTEN = 4
"""Exit status: the command did what it should, and its result could not be written."""
NOBODY_READS = 141
"""The same where the reader of a pipe is gone: what shells say of a process that SIGPIPE has ended."""
_DONE = (0, READY_WITH_WARNINGS)
_STDOUT, _STDERR, _CLOSED = 1, 2, -1


class _Descriptor(io.RawIOBase):
    """A file descriptor that takes everything. `failure`: why it did not, the first time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any, /) -> int:
        if self.failure is None:
            try:
                return self._written(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def _written(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # whoever shares it has made it so
                select.select([], [self._number], [])


class Results:
    """Standard output of this process: `sys.stdout` from now on."""

    def __init__(self) -> None:
        before = sys.stdout
        # None: it was closed when the process began. By now its number could be anybody's.
        self._descriptor = _Descriptor(_CLOSED if before is None else _STDOUT)
        sys.stdout = self._text = io.TextIOWrapper(
            io.BufferedWriter(self._descriptor),
            encoding="utf-8" if before is None else before.encoding,
            # A letter that the encoding lacks is no reason to lose the rest.
            errors="backslashreplace" if before is None or before.errors == "strict" else before.errors,
            line_buffering=before is not None and bool(before.line_buffering),
        )

    def ended(self, status: int) -> int:
        """The exit status of the process whose command ended with `status`; says what there is to say.

        One that was refused, or found that something does not hold, stays so: that is more than a lost result.
        """
        self._text.flush()
        failure, done = self._descriptor.failure, status in _DONE
        if failure is not None and failure.errno != errno.EPIPE:
            tell.error(f"{'done, but ' if done else ''}the result could not be written: {failure.strerror}")
        _forget_what_cannot_be_told()
        if failure is None or not done:
            return status
        return NOBODY_READS if failure.errno == errno.EPIPE else UNWRITTEN


def _forget_what_cannot_be_told() -> None:
    """What standard error does not take would have the interpreter end with a status of its own."""
    with contextlib.suppress(OSError):
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
