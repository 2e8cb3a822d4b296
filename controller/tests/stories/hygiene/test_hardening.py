# SPDX-License-Identifier: Apache-2.0
"""Processes that have keys leave no core, by whatever signal they end."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nvo3sec.errors import OperatorError
from nvo3sec.system import hardening
from overlay_world import Overlay, until

PR_GET_DUMPABLE = 3

HARDENED = "from nvo3sec.system.hardening import keep_memory_private\nkeep_memory_private()\n"
DIE = "os.kill(os.getpid(), signal.SIGABRT)\n"
LEAVES_CORES = """
import os, resource, signal
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
"""


def ended(code: str, directory: Path) -> int:
    """How a program ends that may leave a core if it does not prevent it: its wait status."""
    process = subprocess.Popen([sys.executable, "-c", LEAVES_CORES + code], cwd=directory)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return status


class TestFunction:
    def test_it_is_what_it_says(self, tmp_path):
        dumpable = "import ctypes, sys\nsys.exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
        assert os.waitstatus_to_exitcode(ended(HARDENED + dumpable, tmp_path)) == 0
        assert os.waitstatus_to_exitcode(ended(dumpable, tmp_path)) == ctypes.CDLL(None).prctl(PR_GET_DUMPABLE) == 1
        limit = "import sys\nsys.exit(resource.getrlimit(resource.RLIMIT_CORE) != (0, 0))"
        assert os.waitstatus_to_exitcode(ended(HARDENED + limit, tmp_path)) == 0

    def test_no_core(self, tmp_path):
        status = ended(HARDENED + DIE, tmp_path)
        assert os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
        assert list(tmp_path.iterdir()) == []

    def test_there_would_be_one(self, tmp_path):
        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            pytest.skip("this machine allows no cores")
        status = ended(DIE, tmp_path)
        assert os.WTERMSIG(status) == signal.SIGABRT
        if not os.WCOREDUMP(status):
            pytest.skip("this machine writes no cores")

    def test_a_system_that_refuses_is_no_place_for_keys(self, monkeypatch):
        class Refusing:
            def prctl(self, *_arguments):
                ctypes.set_errno(1)
                return -1

        monkeypatch.setattr(hardening.resource, "setrlimit", lambda *_arguments: None)
        monkeypatch.setattr(hardening.ctypes, "CDLL", lambda *_arguments, **_options: Refusing())
        with pytest.raises(OperatorError, match="core files: Operation not permitted"):
            hardening.keep_memory_private()


@pytest.mark.parametrize("name", ["nva", "leaf1"])
def test_processes_do_it_before_anything_else(identities, start_switch, name):
    world = Overlay(identities, start_switch)
    line = "NVA running" if name == "nva" else "agent running"

    async def run() -> None:
        await until(lambda: line in world.log(name))

    try:
        world.start(name)
        asyncio.run(run())
        process = world.processes.pop(name)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        core = next(text for text in limits.splitlines() if text.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0, "root's, whoever runs it: not dumpable"
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGABRT
        assert os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
    finally:
        world.end()
