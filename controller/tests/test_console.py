# SPDX-License-Identifier: Apache-2.0
"""The operator's socket and the commands that use it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nvo3sec.console import ConsoleServer, ask, default_run_directory, prepare_run_directory, socket_path
from nvo3sec.errors import OperatorError


async def echo(**params) -> dict:
    return params


async def refuse(**params) -> None:
    raise OperatorError("not today")


async def fail(**params) -> None:
    raise RuntimeError("a secret detail")


METHODS = {"echo": echo, "refuse": refuse, "fail": fail}


@contextmanager
def serving(directory: Path, methods=METHODS) -> Iterator[None]:
    """A server in a thread of its own, as the clients are synchronous."""
    started, stop = threading.Event(), None
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        server = ConsoleServer(directory, methods)
        await server.start()
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


class TestSocket:
    def test_question_and_answer(self, tmp_path):
        with serving(tmp_path / "run"):
            assert ask(tmp_path / "run", "echo", a=1, b=["x"]) == {"a": 1, "b": ["x"]}

    def test_only_for_its_owner(self, tmp_path):
        with serving(tmp_path / "run"):
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
            assert stat.S_IMODE(socket_path(tmp_path / "run").stat().st_mode) == 0o600
        assert not socket_path(tmp_path / "run").exists()

    def test_a_refusal_is_an_error(self, tmp_path):
        with serving(tmp_path / "run"), pytest.raises(OperatorError, match="not today"):
            ask(tmp_path / "run", "refuse")

    def test_a_failure_tells_nothing_and_ends_nothing(self, tmp_path):
        with serving(tmp_path / "run"):
            with pytest.raises(OperatorError, match="internal error") as caught:
                ask(tmp_path / "run", "fail")
            assert "secret detail" not in str(caught.value)
            assert ask(tmp_path / "run", "echo") == {}

    def test_an_unknown_method_names_the_others(self, tmp_path):
        with serving(tmp_path / "run"), pytest.raises(OperatorError, match="echo, fail, refuse"):
            ask(tmp_path / "run", "shutdown")

    @pytest.mark.parametrize(
        "line", [b"\n", b"[]\n", b"{}\n", b'{"method": 1}\n', b'{"method": "echo", "params": 3}\n']
    )
    def test_nonsense(self, tmp_path, line):
        import socket

        with serving(tmp_path / "run"), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(socket_path(tmp_path / "run")))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                assert "error" in json.loads(answers.readline())

    def test_nobody_there(self, tmp_path):
        with pytest.raises(OperatorError, match="no controller is running"):
            ask(tmp_path, "echo")

    def test_one_controller_in_a_directory(self, tmp_path):
        async def second() -> None:
            with pytest.raises(OperatorError, match="already"):
                await ConsoleServer(tmp_path / "run", {}).start()

        with serving(tmp_path / "run"):
            asyncio.run(second())
            assert ask(tmp_path / "run", "echo") == {}

    def test_a_socket_that_was_left_over_is_replaced(self, tmp_path):
        import socket

        prepare_run_directory(tmp_path / "run")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(socket_path(tmp_path / "run")))
        with serving(tmp_path / "run"):
            assert ask(tmp_path / "run", "echo") == {}


class TestRunDirectory:
    def test_open_to_others(self, tmp_path):
        (tmp_path / "run").mkdir(mode=0o755)
        os.chmod(tmp_path / "run", 0o755)  # noqa: S103  # that is what is refused
        with pytest.raises(OperatorError, match="0700"):
            prepare_run_directory(tmp_path / "run")

    def test_not_a_directory(self, tmp_path):
        (tmp_path / "run").touch()
        with pytest.raises(OperatorError):
            prepare_run_directory(tmp_path / "run")

    def test_where(self, monkeypatch):
        monkeypatch.setenv("NVO3SEC_RUN_DIR", "/a")
        assert default_run_directory() == Path("/a")
        monkeypatch.delenv("NVO3SEC_RUN_DIR")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
        assert default_run_directory() == Path("/b/nvo3sec")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


COUNTERS = [
    {
        "nve": "leaf1",
        "drops": {"ingress": {"BAD_ICV": {"packets": 3, "bytes": 300}}, "egress": {}},
        "sa_rx": [{"source": "192.0.2.2", "destination": "192.0.2.1", "spi": "80000001", "packets": 1, "bytes": 2}],
        "sa_tx": [],
        "vap": [],
        "vn": [],
        "last_sequence": {"leaf2": 7},
        "switch": {
            "engine": {"packets_in": 9},
            "ports": {
                "1": {"interface": "access1", "checksum_unfinished": 5, "beyond_mtu": 0},
                "2": {"interface": "access2", "checksum_unfinished": 0, "beyond_mtu": 0},
            },
        },
    }
]


class TestCommands:
    def test_no_controller_is_status_1(self, tmp_path):
        result = run("status", "--run-dir", str(tmp_path))
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith("nvo3sec: no controller is running")

    def test_usage_is_status_2(self):
        assert run("status", "--nonsense").returncode == 2
        assert run("controller", "run").returncode == 2

    def test_counters(self, tmp_path):
        async def counters(nve=None):
            return COUNTERS

        with serving(tmp_path / "run", {"counters": counters}):
            result = run("counters", "--run-dir", str(tmp_path / "run"), "-o", "json")
            assert (result.returncode, json.loads(result.stdout)) == (0, COUNTERS)
            result = run("counters", "--run-dir", str(tmp_path / "run"))
            assert "BAD_ICV" in result.stdout
            assert "80000001" in result.stdout
            assert "to leaf2: 7" in result.stdout
            assert "leaf1: port 1 (access1): 5 frames came with an unfinished checksum" in result.stdout
            assert "access2" not in result.stdout

    def test_dry_run_says_would(self, tmp_path):
        asked = []

        async def reconcile(nve=None, dry_run=False):
            asked.append((nve, dry_run))
            return {"leaf1": ["insert port_role[port=1] -> access()"], "leaf2": []}

        with serving(tmp_path / "run", {"reconcile": reconcile}):
            result = run("reconcile", "--dry-run", "--run-dir", str(tmp_path / "run"))
            assert "leaf1: would insert port_role[port=1]" in result.stdout
            assert "leaf2: nothing to do" in result.stdout
        assert asked == [(None, True)]

    def test_rotate(self, tmp_path):
        async def rotate(nves, vn):
            return {"directions": len(nves) + len(vn)}

        with serving(tmp_path / "run", {"rotate": rotate}):
            result = run("keys", "rotate", "leaf1", "leaf2", "--vn", "red", "--run-dir", str(tmp_path / "run"))
            assert result.stdout == "new keys asked for in 5 directions\n"

    def test_shell_without_its_environment_or_nve(self, tmp_path):
        async def status():
            return {"switches": [{"nve": "leaf1", "p4runtime": "unix:/none", "device_id": 1}]}

        with serving(tmp_path / "run", {"status": status}):
            result = run("shell", "leaf9", "--run-dir", str(tmp_path / "run"))
            assert result.returncode == 1
            assert "there are: leaf1" in result.stderr
