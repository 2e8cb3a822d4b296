# SPDX-License-Identifier: Apache-2.0
"""Running a compiler so that it can be ended: with all that it starts, from another thread, at once."""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class Interrupted(Exception):
    """The command was ended because the process is to stop."""


class Interrupt:
    """Ends commands that run, in whatever thread, and keeps others from beginning. Once set, it stays set."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """Readable as soon as it is set."""
        return self._event

    def __bool__(self) -> bool:
        return bool(_ready([self._event], 0.0))

    def __del__(self) -> None:
        os.close(self._event)


@dataclass(frozen=True)
class Result:
    """status: as of subprocess; negative for a signal."""

    status: int
    output: str
    error: str


def _ready(descriptors: Sequence[int], timeout_s: float) -> list[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0, int(timeout_s * 1000)))]


def run(
    command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float, interrupt: Interrupt | None = None
) -> Result:
    """Run a program to its end, with nothing to read, in a process group of its own.

    It has no signals blocked, whatever this thread has. Raises OSError where it cannot be run, TimeoutError, and
    Interrupted; in the latter two its whole group is killed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        child = os.posix_spawn(
            command[0],
            list(command),
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, error.fileno(), 2),
            ],
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGHUP, signal.SIGINT],
        )
        status = _await(child, timeout_s, interrupt, Path(command[0]).name)
        return Result(os.waitstatus_to_exitcode(status), _text(output), _text(error))


def _await(child: int, timeout_s: float, interrupt: Interrupt | None, name: str) -> int:
    ending = os.pidfd_open(child)
    deadline = time.monotonic() + timeout_s
    watched = [ending] if interrupt is None else [interrupt.fileno(), ending]
    try:
        while True:
            ready = _ready(watched, deadline - time.monotonic())
            if interrupt is not None and interrupt.fileno() in ready:
                raise Interrupted(f"{name} was ended")
            if ending in ready:
                return os.waitpid(child, 0)[1]
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{name} has not ended within {timeout_s:.0f} s")
    except BaseException:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(ending)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
