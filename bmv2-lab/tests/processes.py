# SPDX-License-Identifier: Apache-2.0
"""Commands under test, whose limit is for silence: a busy machine takes its time, but what works says so."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TypeVar

from nvo3lab.wires import linux

T = TypeVar("T")

SILENCE = 180.0
"""Seconds without any sign of progress after which something hangs. Nothing waits for them to pass, unless it fails."""
_POLL = 0.05
_TAIL = 20


@dataclass(frozen=True)
class Finished:
    """A command that has ended, with all that it said."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A command, whose output is read as it comes."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, silence: float = SILENCE
    ) -> None:
        self._command = command
        self._silence = silence
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._spoke = time.monotonic()
        self._said: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [
            threading.Thread(target=self._read, args=(stream, self._said[name]), daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], said: list[str]) -> None:
        with stream:
            for line in stream:
                said.append(line)
                self._spoke = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def until(self, condition: Callable[[], T | None]) -> T:
        """What the condition returns as soon as it is something. Fails if the command ends or is silent too long."""
        self._spoke = time.monotonic()
        while (found := condition()) is None:
            if self.returncode is not None:
                done = self.finish()
                raise AssertionError(f"{self._name()} ended with {done.returncode}: {done.stdout}{done.stderr}")
            self._check()
            time.sleep(_POLL)
        return found

    def finish(self) -> Finished:
        """Wait until it has ended and whoever shares its output too. Fails if it is silent too long."""
        self._spoke = time.monotonic()
        for reader in self._readers:
            while reader.is_alive():
                reader.join(_POLL)
                self._check()
        while self.returncode is None:
            self._check()
            time.sleep(_POLL)
        return Finished(self._process.wait(), "".join(self._said["stdout"]), "".join(self._said["stderr"]))

    def complaint(self, text: str) -> str | None:
        """A line of what it has said on standard error so far, with this text in it."""
        return next((line for line in list(self._said["stderr"]) if text in line), None)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _check(self) -> None:
        if time.monotonic() - self._spoke > self._silence:
            self.kill()  # so that the test fails instead of waiting for ever
            tail = "".join([*self._said["stdout"][-_TAIL:], *self._said["stderr"][-_TAIL:]])
            raise AssertionError(f"{self._name()} has said nothing for {self._silence:g} s; at last: {tail}")

    def _name(self) -> str:
        return " ".join(self._command)


def finished(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end."""
    return Running(command, environment).finish()


def wait_gone(pids: Iterable[int], silence: float = SILENCE) -> None:
    """Wait until processes have ended. Fails if none of them does so for too long."""
    left = set(pids)
    progress = time.monotonic()
    while left:
        gone = {pid for pid in left if linux.start_time(pid) is None}
        if gone:
            progress = time.monotonic()
            left -= gone
        else:
            assert time.monotonic() - progress < silence, f"still there: {sorted(left)}"
            time.sleep(_POLL)


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    return [pid, *linux.descendants(pid)]
