# SPDX-License-Identifier: Apache-2.0
"""Nothing that a lab started outlives it, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nvo3lab import linux, preflight
from nvo3lab.errors import ProcessError

from .conftest import guardian, network_namespaces, wait_gone

BOUND = 20.0
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
#: Starts a process of its own and ends at SIGTERM without caring for it.
CARELESS = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True); time.sleep(600)",
]


def wait_children(pid: int, count: int) -> list[int]:
    deadline = time.monotonic() + BOUND
    while len(found := linux.descendants(pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


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
                await asyncio.sleep(0.3)  # it has to have installed its handler; too early only makes the test easier
                status = await guarded.stop("stubborn")
                assert status["stubborn"] in (-signal.SIGKILL, -signal.SIGTERM)

        asyncio.run(run())

    def test_an_end_of_its_own_is_reported(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
                guarded._on_end = lambda name, status: ended.set_result((name, status))
                await guarded.start("short", [sys.executable, "-c", "raise SystemExit(3)"], short_directory / "log")
                assert await asyncio.wait_for(ended, BOUND) == ("short", 3)

        asyncio.run(run())

    def test_an_unknown_program_is_an_error(self, short_directory: Path) -> None:
        async def run() -> None:
            async with guardian(short_directory) as guarded:
                with pytest.raises(Exception, match="FileNotFoundError"):
                    await guarded.start("none", ["/nonexistent/program"], short_directory / "log")

        asyncio.run(run())


#: A lab in small: a guardian, a namespace where possible, processes; then it waits to be killed.
CRASHING_LAB = """
import asyncio, sys
from pathlib import Path
from nvo3lab.guarded import Guarded
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


class TestCrash:
    @pytest.mark.parametrize("victim", ["lab", "guardian", "both"])
    def test_kill_leaves_nothing(self, short_directory: Path, wiring: preflight.Wiring, victim: str) -> None:
        run = short_directory / "run"
        run.mkdir(mode=0o700)
        namespaces = network_namespaces()
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
            assert len(network_namespaces() - namespaces) == (2 if wiring.kernel else 0) + wiring.user_namespace
            if victim in ("guardian", "both"):
                os.kill(guardian_pid, signal.SIGKILL)
            if victim in ("lab", "both"):
                lab.kill()
            else:
                wait_gone(children)
                lab.kill()
        wait_gone([guardian_pid, *children])
        assert network_namespaces() <= namespaces
        if victim == "lab":
            assert not run.exists()
