# SPDX-License-Identifier: Apache-2.0
"""What the command `p4softswitch` does when it is told to stop while it compiles, and when its log file was moved."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from engine_support import script
from p4softswitch.logfile import LogFile
from p4softswitch.signals import stop_on_signals
from server_command import end, running
from server_harness import PROGRAMS, TIMEOUT, Controller, Program, engine_missing

pytestmark = pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))

COMMAND = [sys.executable, "-m", "p4softswitch.cli"]


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """An environment with a compiler that never ends, nor does what it starts; all of it holds the pipe `alive`.

    It says on the pipe which signals it has blocked as soon as it works.
    """
    for name in ("alive", "never"):
        os.mkfifo(tmp_path / name)
    work = f"exec 9> {tmp_path}/alive; grep SigBlk /proc/self/status >&9; cat {tmp_path}/never & cat {tmp_path}/never"
    compiler = script(tmp_path / "cc", f'[ "$1" = --version ] && exit 0\n{work}')
    return {**os.environ, "P4SOFTSWITCH_CC": str(compiler)}


def work_places(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").glob("build-*"))


@pytest.fixture(autouse=True)
def hangup_is_heard() -> Iterator[None]:
    """Also where these tests are run under nohup(1): who is started inherits that it ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class TestStopWhileCompiling:
    """The process ends at once, the compiler and what it has started with it, and leaves nothing."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_at_the_start(self, tmp_path: Path, slow: dict[str, str], number: signal.Signals) -> None:
        command = [*COMMAND, "--cache-dir", str(tmp_path / "cache"), str(PROGRAMS / "with_arrays.json")]
        command += ["--", "--grpc-server-addr", f"unix:{tmp_path / 'p4rt'}"]
        with subprocess.Popen(command, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            with (tmp_path / "alive").open() as alive:
                assert alive.readline().split() == ["SigBlk:", "0" * 16]
                assert len(work_places(tmp_path)) == 1
                process.send_signal(number)
                assert alive.read() == "", "as soon as the last one of them is gone"
            assert process.communicate(timeout=TIMEOUT) == ("", "")
        assert process.returncode == 0
        assert not work_places(tmp_path)

    def test_during_a_push(self, tmp_path: Path, slow: dict[str, str], program: Program) -> None:
        def push() -> None:
            with (
                Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
                contextlib.suppress(grpc.RpcError),
            ):
                controller.arbitrate()
                controller.push(program)

        with running(tmp_path, ["--no-p4", "--cache-dir", str(tmp_path / "cache")], environment=slow) as process:
            pushing = threading.Thread(target=push)
            pushing.start()
            with (tmp_path / "alive").open() as alive:
                assert alive.readline().split() == ["SigBlk:", "0" * 16]
                status, _, _ = end(process)
                assert alive.read() == ""
            pushing.join()
        assert status == 0
        assert not work_places(tmp_path)

    def test_while_compiling_for_others(self, tmp_path: Path, slow: dict[str, str]) -> None:
        command = [*COMMAND, "--compile", str(PROGRAMS / "with_arrays.json"), "--output", str(tmp_path / "made")]
        slow["TMPDIR"] = str(tmp_path / "temporary")
        (tmp_path / "temporary").mkdir()
        with subprocess.Popen(command, env=slow, stderr=subprocess.PIPE, text=True) as process:
            with (tmp_path / "alive").open() as alive:
                alive.readline()
                process.send_signal(signal.SIGTERM)
                assert alive.read() == ""
            _, error = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 1
        assert error == "p4softswitch: the switch was told to stop while the program was being compiled\n"
        assert not list((tmp_path / "made").iterdir())
        assert not list((tmp_path / "temporary").iterdir())


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """As nohup(1) starts a command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_full_disk_has_no_room_for_is_no_reason_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    file = LogFile("/dev/full")
    for done in (file.reopen, file.close):
        file.handle(logging.makeLogRecord({"msg": "too much"}))
        assert "No space left on device" in capsys.readouterr().err
        done()


def test_whatever_fails_the_next_signal_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError

    done = threading.Event()
    with stop_on_signals(fail) as stop:
        stop.also(fail)
        stop.also(done.set)
        hearing = next(thread for thread in threading.enumerate() if thread.name == "signals")
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.pthread_kill(hearing.ident or 0, number)
        assert done.wait(TIMEOUT)
        assert stop.is_told
    assert [record.getMessage() for record in caplog.records] == [
        "SIGHUP was not done with",
        "SIGTERM was not done with",
    ]


def until_it_has(path: Path, text: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, path


class TestHangup:
    @pytest.mark.parametrize("start", [contextlib.nullcontext, hangups_ignored])
    def test_opens_the_log_file_anew(
        self, tmp_path: Path, start: type[contextlib.AbstractContextManager[None]]
    ) -> None:
        """As logrotate does it: the old one is moved, the process is told, and goes on in a new one."""
        log, moved = tmp_path / "log", tmp_path / "log.1"
        with start(), running(tmp_path, ["--no-p4", "-L", "info", "--log-file", str(log)]) as process:
            for _ in range(2):
                log.replace(moved)
                process.send_signal(signal.SIGHUP)
                until_it_has(log, "log file opened anew")
            assert moved.read_text().count("opened anew") == 1
            status, _, error = end(process)
        assert (status, error) == (0, "")

    def test_a_log_file_that_cannot_be_opened_anew(self, tmp_path: Path) -> None:
        """The switch goes on, and says so where it can."""
        (tmp_path / "logs").mkdir()
        log, moved = tmp_path / "logs" / "log", tmp_path / "moved" / "log"
        with running(tmp_path, ["--no-p4", "--log-file", str(log)]) as process:
            (tmp_path / "logs").rename(tmp_path / "moved")
            process.send_signal(signal.SIGHUP)
            until_it_has(moved, f"[ERROR] p4softswitch.logfile: {log} cannot be opened anew: No such file or directory")
            with Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
                controller.arbitrate()
            status, _, error = end(process)
        assert (status, error) == (0, "")

    def test_on_a_full_disk(self, tmp_path: Path) -> None:
        """What cannot be written is lost. The switch hears what it is told, and its end is a good one."""
        with running(tmp_path, ["--no-p4", "-L", "info", "--log-file", "/dev/full"]) as process:
            process.send_signal(signal.SIGHUP)  # is taken before SIGTERM, whose number is greater
            status, _, error = end(process)
        assert status == 0
        assert "No space left on device" in error
        assert "p4softswitch: " not in error

    def test_without_a_log_file_it_is_the_end(self, tmp_path: Path) -> None:
        """The terminal is gone: the switch stops in good order, its socket with it."""
        with running(tmp_path, ["--no-p4"]) as process:
            assert (tmp_path / "p4rt").exists()
            status, _, error = end(process, signal.SIGHUP)
        assert (status, error) == (0, "")
        assert not (tmp_path / "p4rt").exists()

    def test_that_is_ignored_from_the_start(self, tmp_path: Path) -> None:
        with hangups_ignored(), running(tmp_path, ["--no-p4"]) as process:
            process.send_signal(signal.SIGHUP)
            with Controller(f"unix:{tmp_path / 'p4rt'}") as controller:
                controller.arbitrate()
            status, _, error = end(process)
        assert (status, error) == (0, "")
