# SPDX-License-Identifier: Apache-2.0
"""Nothing that a lab started outlives it, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nvo3lab.errors import LabError, ProcessError
from nvo3lab.processes import guarded as guarded_module
from nvo3lab.processes import preflight
from nvo3lab.processes.guarded import Guarded
from nvo3lab.rundir import RunDirectory
from nvo3lab.wires import linux

from .conftest import _BOUND, guardian, lab_process
from .namespaces import held_by
from .processes import SILENCE, tree, wait_gone

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ignoring', flush=True);"
    " time.sleep(600)",
]
SLOW = [
    sys.executable,
    "-c",
    """
import os, signal, time
def end(*_):
    while time.process_time() < 1.5:
        pass
    os._exit(3)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
""",
]
"""Is busy with its end, and for longer than one that does nothing is waited for."""
CARELESS = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True); time.sleep(600)",
]
"""Starts a process of its own and ends at SIGTERM without caring for it."""


def wait_children(pid: int, count: int) -> list[int]:
    deadline = time.monotonic() + SILENCE
    while len(found := linux.descendants(pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


async def wait_log(path: Path, text: str) -> None:
    """Until a process has written it."""
    async with asyncio.timeout(SILENCE):
        while text not in path.read_text():
            await asyncio.sleep(0.02)


class TestGuardian:
    def test_stop_ends_processes_and_tells_their_status(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                await guarded.start("sleeper", SLEEPER, short_directory / "log")
                pid = await guarded.start("stays", SLEEPER, short_directory / "log")
                assert await guarded.stop("sleeper") == {"sleeper": -signal.SIGTERM}
                assert await guarded.processes() == {"stays": pid}

        asyncio.run(run())

    def test_kill_is_a_kill_and_the_name_is_free_again(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                first = await guarded.start("stubborn", STUBBORN, short_directory / "log")
                await guarded.kill("stubborn")
                assert linux.start_time(first) is None
                assert await guarded.processes() == {}
                second = await guarded.start("stubborn", SLEEPER, short_directory / "log")
                assert await guarded.processes() == {"stubborn": second}
                with pytest.raises(ProcessError, match="nobody"):
                    await guarded.kill("nobody")

        asyncio.run(run())

    def test_end_leaves_nothing(self, short_directory: Path) -> None:
        async def run() -> list[int]:
            async with guardian(short_directory) as guarded:
                for name, argv in (("sleeper", SLEEPER), ("careless", CARELESS)):
                    await guarded.start(name, argv, short_directory / "log")
                return wait_children(guarded.pid, 3)

        wait_gone(asyncio.run(run()))
        assert not (short_directory / "run").exists()

    def test_a_process_that_ignores_sigterm_is_killed(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                await guarded.start("stubborn", STUBBORN, short_directory / "log")
                await wait_log(short_directory / "log", "ignoring")
                assert await guarded.stop("stubborn") == {"stubborn": -signal.SIGKILL}
                assert list(guarded.killed) == ["stubborn"]

        asyncio.run(run())

    def test_one_that_gets_on_with_its_end_is_waited_for(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                await guarded.start("slow", SLOW, short_directory / "log")
                await wait_log(short_directory / "log", "ready")
                answer = await guarded._call("stop", {"names": ["slow"], "grace": 0.3})
                assert answer == {"statuses": {"slow": 3}, "killed": {}}

        asyncio.run(run())

    def test_who_waits_for_one_that_is_stopped_is_told_what_to_do(
        self, short_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guarded_module, "_PATIENCE", 0.05)

        async def run() -> None:
            said: asyncio.Queue[str] = asyncio.Queue()
            async with guardian(short_directory) as guarded:
                guarded._say = said.put_nowait
                await guarded.start("sleeper", SLEEPER, short_directory / "log")
                while not said.empty():
                    said.get_nowait()
                os.kill(guarded.pid, signal.SIGSTOP)
                stopping = asyncio.create_task(guarded.stop("sleeper"))
                text = await asyncio.wait_for(said.get(), SILENCE)
                assert text.startswith("waiting for the end of sleeper: ")
                assert f"`kill -CONT {guarded.pid}`" in text
                os.kill(guarded.pid, signal.SIGCONT)
                assert await stopping == {"sleeper": -signal.SIGTERM}

        asyncio.run(run())

    def test_an_end_of_its_own_is_reported(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
                guarded._on_end = lambda name, status: ended.set_result((name, status))
                await guarded.start("short", [sys.executable, "-c", "raise SystemExit(3)"], short_directory / "log")
                assert await asyncio.wait_for(ended, SILENCE) == ("short", 3)

        asyncio.run(run())

    def test_its_own_end_is_reported_and_fails_whoever_waits(self, short_directory: Path) -> None:
        async def run() -> None:
            (short_directory / "run").mkdir(mode=0o700)
            ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
            guarded = await Guarded.launch(
                short_directory / "run", False, lambda name, status: ended.set_result((name, status))
            )
            await guarded.start("stubborn", STUBBORN, short_directory / "log")
            stopping = asyncio.create_task(guarded.stop("stubborn"))
            await asyncio.sleep(0)  # the question is sent
            os.kill(guarded.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessError):  # it may have been faster
                await asyncio.wait_for(stopping, SILENCE)
            assert await asyncio.wait_for(ended, SILENCE) == ("guardian", -signal.SIGKILL)
            with pytest.raises(ProcessError, match=r"guardian.*killed by SIGKILL"):
                await guarded.processes()
            with pytest.raises(LabError, match=r"guardian.*killed by SIGKILL"):
                await guarded.end()

        asyncio.run(run())

    def test_temporary_files_are_in_the_run_directory(self, short_directory: Path) -> None:
        """So that what a killed process leaves there goes with it."""
        code = "import tempfile; print(tempfile.mkdtemp(), flush=True)"

        async def run() -> None:
            async with guardian(short_directory) as guarded:
                ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                guarded._on_end = lambda _name, status: ended.set_result(status)
                await guarded.start("short", [sys.executable, "-c", code], short_directory / "log")
                assert await asyncio.wait_for(ended, SILENCE) == 0

        asyncio.run(run())
        left = Path((short_directory / "log").read_text().strip())
        assert left.parent == short_directory / "run" / "tmp"
        assert not left.exists()

    def test_an_unknown_program_is_an_error(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                with pytest.raises(Exception, match=r"^No such file or directory: "):
                    await guarded.start("none", ["/nonexistent/program"], short_directory / "log")

        asyncio.run(run())


CRASHING_LAB = """
import asyncio, sys
from pathlib import Path
from nvo3lab.processes.guarded import Guarded
async def main():
    run, kernel, user = Path(sys.argv[1]), sys.argv[2] == "1", sys.argv[3] == "1"
    guarded = await Guarded.launch(run, user, lambda name, status: None)
    if kernel:
        for name in ("x", "y"):
            await guarded.namespace(name)
        await guarded.plumb({"namespaces": ["x", "y"], "links": [[
            {"namespace": "x", "interface": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1500},
            {"namespace": "y", "interface": "eth0", "mac": "02:00:00:00:00:02", "mtu": 1500}]]})
    for index, name in enumerate(("x", "y")):
        code = "import time; time.sleep(600)"
        await guarded.start(name, [sys.executable, "-c", code], run / name, name if kernel else None)
    print(guarded.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
"""A lab in small: a guardian, a namespace where possible, processes; then it waits to be killed."""


class TestCrash:
    @pytest.mark.parametrize("victim", ["lab", "guardian", "both"])
    def test_kill_leaves_nothing(self, short_directory: Path, wiring: preflight.Wiring, victim: str) -> None:
        run = short_directory / "run"
        run.mkdir(mode=0o700)
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                CRASHING_LAB,
                str(run),
                "1" if wiring.kernel else "0",
                "1" if wiring.user_namespace else "0",
            ],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ) as lab:
            assert lab.stdout is not None
            guardian_pid = int(lab.stdout.readline())
            children = wait_children(guardian_pid, 2)
            with held_by(tree(guardian_pid)) as held:
                assert len(held) == (2 if wiring.kernel else 0) + wiring.user_namespace
                if victim in ("guardian", "both"):
                    os.kill(guardian_pid, signal.SIGKILL)
                if victim in ("lab", "both"):
                    lab.kill()
                else:
                    wait_gone(children)
                    lab.kill()
                wait_gone([guardian_pid, *children])
                assert held.left() == []
        if victim == "lab":
            assert not run.exists()


@contextlib.contextmanager
def starting(base: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`nvo3sec lab up`, from the first moment on."""
    command = [sys.executable, "-c", _BOUND, str(os.getpid()), preflight.executable("nvo3sec"), "lab", "up"]
    with subprocess.Popen(
        command, env=os.environ | {"NVO3LAB_RUN": str(base)}, text=True, stdout=subprocess.PIPE, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SILENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def guardian_of(process: subprocess.Popen[str]) -> int:
    """Waits until a lab has its guardian."""
    found: list[int] = []

    def there() -> bool:
        for child in linux.children(process.pid):
            with contextlib.suppress(OSError):
                if b"nvo3lab.processes.guardian" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(child)
        return bool(found)

    wait_until(there, process)
    return found[0]


def private_keys(base: Path) -> list[Path]:
    """Files below `base` with a private key in them."""
    found = []
    for path in base.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or a socket
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                found.append(path)
    return found


def assert_nothing_is_left(base: Path) -> None:
    """Nor is anything in the way of the next lab, whatever its name."""
    assert private_keys(base) == []
    RunDirectory.claim("next", base).clean()
    assert not base.exists()


class TestKilledLab:
    """A lab of which a process is killed ends, says which one it was, and leaves no keys on the disk."""

    @pytest.mark.parametrize("victim", ["guardian", "underlay", "red1", "nva"])
    def test_the_victim_is_named(self, short_directory: Path, victim: str) -> None:
        base = short_directory / "run"
        with lab_process(base) as (process, state):
            assert private_keys(base)
            os.kill(state["guardian"] if victim == "guardian" else state["pids"][victim], signal.SIGKILL)
            ended = process.finish()
            assert ended.returncode == 1
            who = "the guardian of the lab" if victim == "guardian" else victim
            assert f"{who} has ended by itself: killed by SIGKILL" in ended.stderr
            assert "going down" not in ended.stderr
            assert (ended.stderr + ended.stdout).count("SIGKILL") == 1
            wait_gone([state["guardian"], *state["pids"].values()])
        assert not base.exists()

    @pytest.mark.parametrize("made", ["log", "pki", "log/nva.log"])
    @pytest.mark.parametrize("victim", ["lab", "guardian"])
    def test_while_it_comes_up(self, short_directory: Path, victim: str, made: str) -> None:
        base = short_directory / "run"
        with starting(base, stderr=subprocess.PIPE) as process:
            wait_until((base / "lab" / made).exists, process)
            if victim == "guardian":
                os.kill(guardian_of(process), signal.SIGKILL)
                _output, progress = process.communicate(timeout=SILENCE)
                assert process.returncode == 1
                assert "guardian" in progress
                assert "killed by SIGKILL" in progress
            else:
                everything = linux.descendants(process.pid)
                process.kill()
                wait_gone(everything)
        assert_nothing_is_left(base)

    def test_lab_and_guardian_at_once(self, short_directory: Path) -> None:
        """Nobody is left who could clean up; the next lab does, of whatever name."""
        base = short_directory / "run"
        with starting(base, stderr=subprocess.PIPE) as process:
            wait_until((base / "lab" / "credentials").exists, process)
            first, everything = guardian_of(process), linux.descendants(process.pid)
            os.kill(process.pid, signal.SIGSTOP)  # so that neither sees the other die
            os.kill(first, signal.SIGKILL)
            process.kill()
            wait_gone(everything)
        assert private_keys(base)
        RunDirectory.claim("next", base).clean()
        assert not base.exists()

    def test_a_pipe_without_a_reader(self, short_directory: Path) -> None:
        base = short_directory / "run"
        with starting(base, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert "wires" in process.stderr.readline()
            process.stderr.close()
            assert process.wait(SILENCE) not in (0, -signal.SIGKILL)
        assert_nothing_is_left(base)

    def test_a_terminal_that_is_closed(self, short_directory: Path) -> None:
        """The kernel sends SIGHUP, and nothing can be written any more."""
        base = short_directory / "run"
        code = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(2, termios.TIOCSCTTY, 0);"
            " os.execv(sys.argv[1], sys.argv[1:])"
        )
        master, terminal = os.openpty()
        command = [sys.executable, "-c", code, preflight.executable("nvo3sec"), "lab", "up"]
        with subprocess.Popen(
            command,
            env=os.environ | {"NVO3LAB_RUN": str(base)},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            try:
                said = b""
                while b"run directory" not in said:
                    said += os.read(master, 4096)
                everything = linux.descendants(process.pid)
                os.close(master)
                assert process.wait(SILENCE) not in (0, -signal.SIGHUP)
                wait_gone(everything)
            finally:
                process.kill()
        assert_nothing_is_left(base)


class TestAbandoned:
    def test_only_what_nobody_holds_is_removed(self, short_directory: Path) -> None:
        base = short_directory / "run"
        running = RunDirectory.claim("running", base)
        dead = RunDirectory.claim("dead", base)
        dead.release()
        (base / "something else").mkdir()
        RunDirectory.claim("next", base).clean()
        assert {path.name for path in base.iterdir()} == {"running", "running.lock", "something else"}
        (running.path / "log" / "left").touch()
        running.clean()

    def test_a_process_of_a_guardian_holds_the_lock(self, short_directory: Path) -> None:
        """As long as it lives, nobody takes the directory from under it, and nobody else's lab removes it."""
        base = short_directory / "run"

        async def run() -> None:
            claimed = RunDirectory.claim("lab", base)
            guarded = await Guarded.launch(claimed.path, False, lambda _name, _status: None, (claimed.lock,))
            pid = await guarded.start("stays", SLEEPER, claimed.log("stays"))
            os.kill(pid, signal.SIGSTOP)  # the kernel's own kill reaches it all the same
            held = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
            assert str(base / "lab.lock") in held
            claimed.release()
            with pytest.raises(LabError, match="is running"):
                RunDirectory.claim("lab", base)
            os.kill(guarded.pid, signal.SIGKILL)
            with pytest.raises(LabError):
                await guarded.end()
            wait_gone([pid])

        asyncio.run(run())
        assert_nothing_is_left(base)


def test_a_command_of_the_lab_ends_with_it(short_directory: Path) -> None:
    """One that made keys would go on after the guardian has removed the run directory."""
    code = (
        "import subprocess, sys, os; child = subprocess.Popen([sys.executable, '-P', '-m', 'nvo3lab.wires.inside',"
        " str(os.getpid()), '0', sys.executable, '-c', 'print(flush=True); import time; time.sleep(600)'],"
        " stdout=subprocess.PIPE); child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert linux.start_time(child) is not None
        parent.kill()
    wait_gone([child])
