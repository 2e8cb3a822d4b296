# SPDX-License-Identifier: Apache-2.0
"""Results that cannot be written: what was done is not said to have been refused, what was refused stays refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from console_world import COUNTERS, EMPTY_STATUS, serving
from filled import filled
from nvo3sec.config import example_path
from nvo3sec.errors import OperatorError
from nvo3sec.operator.documents import AppliedFile, FileDifference, Rotated

ENDS = "from nvo3sec.cli import main; main()"
NO_SPACE = "nvo3sec: done, but the result could not be written: No space left on device\n"
NO_RESULT = NO_SPACE.replace("done, but ", "")
EXAMPLE = str(example_path())


@contextmanager
def full() -> Iterator[int]:
    """A file on a disk without room."""
    with open("/dev/full", "wb") as file:
        yield file.fileno()


@contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        yield theirs
    finally:
        os.close(theirs)


def command(*words: str, **how) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", ENDS, *words],
        **{"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE} | how,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in (done.stderr or "")
    return done


class Authority:
    """What an NVA answers, and what it was told to do."""

    def __init__(self, refused: tuple[str, ...] = (), ready: bool = True) -> None:
        self.applied: list[str] = []
        self.methods = {
            name: getattr(self, name)
            for name in ("status", "counters", "key_list", "rotate", "domain_show", "domain_diff", "domain_apply")
        }
        self._ready = ready
        found = {"changes": [{}], "lines": ["~ vn red"], "refused": list(refused), "base": "x", "total": 1}
        self._found = filled(FileDifference, found | {"nves": ["leaf1"]})

    async def status(self):
        return EMPTY_STATUS | {"ready": self._ready, "not_ready": [], "warnings": []}

    async def counters(self, nve):
        return COUNTERS

    async def key_list(self, nves, vn):
        return ()

    async def rotate(self, nves, vn):
        return Rotated(2)

    async def domain_show(self):
        return AppliedFile("lab.example", "x", Path(EXAMPLE).read_text())

    async def domain_diff(self, text):
        return self._found

    async def domain_apply(self, text, base):
        if self._found.refused:
            raise OperatorError("refused")
        self.applied.append(text)
        return self._found


DONE = [
    ("--version",),
    ("--help",),
    ("status",),
    ("status", "-o", "json"),
    ("counters",),
    ("keys", "list"),
    ("keys", "rotate"),
    ("domain", "show"),
    ("domain", "check", EXAMPLE),
    ("domain", "apply", EXAMPLE, "--yes"),
    ("domain", "apply", EXAMPLE, "--yes", "-o", "json"),
    ("drill", "--list"),
]


@pytest.fixture(scope="module")
def nva(tmp_path_factory) -> Iterator[Authority]:
    directory = tmp_path_factory.mktemp("written") / "run"
    authority = Authority()
    with serving(directory, authority.methods), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVO3SEC_RUN_DIR", str(directory))
        yield authority


@pytest.mark.parametrize("words", DONE)
class TestDone:
    def test_no_room(self, nva, words):
        nva.applied.clear()
        with full() as stdout:
            done = command(*words, stdout=stdout)
        assert (done.returncode, done.stderr) == (4, NO_SPACE)
        assert len(nva.applied) == ("apply" in words)

    def test_nobody_reads(self, nva, words):
        nva.applied.clear()
        with unread() as stdout:
            done = command(*words, stdout=stdout)
        assert (done.returncode, done.stderr) == (141, "")
        assert len(nva.applied) == ("apply" in words)


def test_closed_from_the_beginning(nva):
    shell = 'exec "$0" -c "$1" keys rotate >&-'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable, ENDS], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (4, NO_SPACE.replace("No space left on device", "Bad file descriptor"))


def test_an_encoding_without_the_letters(nva):
    done = command("drill", "--list", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


class TestRefused:
    """The status of the command says more than that nobody could be told."""

    def test_no_room(self, tmp_path):
        authority = Authority(refused=("a VNI that another VN has",), ready=False)
        run = ("--run-dir", str(tmp_path / "run"))
        with serving(tmp_path / "run", authority.methods), full() as stdout, unread() as pipe:
            done = command("domain", "apply", EXAMPLE, "--yes", *run, stdout=stdout)
            said = "nvo3sec: nothing was applied: a VNI that another VN has\n"
            assert (done.returncode, done.stderr) == (1, said + NO_RESULT)
            done = command("domain", "apply", EXAMPLE, "--yes", *run, stdout=pipe)
            assert (done.returncode, done.stderr) == (1, said)
            done = command("status", *run, stdout=stdout)
            assert (done.returncode, done.stderr) == (1, NO_RESULT)
            assert command("status", *run, stdout=pipe).returncode == 1
        assert authority.applied == []


class TestStandardError:
    """Where even errors cannot be told, the exit status still tells."""

    @pytest.mark.parametrize(
        ("words", "status"), [(("status", "--run-dir", "/nonexistent"), 1), (("nonsense",), 2), (("keys", "list"), 0)]
    )
    def test_cannot_be_written(self, nva, words, status):
        with full() as stderr, unread() as pipe:
            for where in (stderr, pipe):
                done = command(*words, stdout=subprocess.PIPE, stderr=where)
                assert done.returncode == status

    def test_a_question_that_nobody_sees_is_not_asked(self, nva):
        nva.applied.clear()
        ours, theirs = pty.openpty()
        os.write(ours, b"y\n")
        with full() as stderr, unread() as pipe:
            for where in (stderr, pipe):
                done = command("domain", "apply", EXAMPLE, stdin=theirs, stdout=subprocess.PIPE, stderr=where)
                assert (done.returncode, done.stdout) == (1, "")
        os.close(ours)
        os.close(theirs)
        assert nva.applied == []

    def test_what_was_made_is_not_said_to_have_failed(self, tmp_path):
        place = ("--dir", str(tmp_path / "pki"))
        assert command("pki", "init", "example.test", *place, stdout=subprocess.DEVNULL).returncode == 0
        with full() as stderr:
            done = command("pki", "issue", "nve", "leaf1", *place, stdout=subprocess.PIPE, stderr=stderr)
        assert done.returncode == 0
        assert Path(done.stdout.strip()).exists()
