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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from console_world import COUNTERS, EMPTY_STATUS, echo, is_it, serving
from filled import filled
from nvo3sec.cli.operate import Where
from nvo3sec.config import example_path
from nvo3sec.errors import NoController, OperatorError
from nvo3sec.operator.console import (
    AGENT,
    NVA,
    ask,
    base_directory,
    choose_run_directory,
    default_run_directory,
    prepare_run_directory,
    socket_path,
)
from nvo3sec.operator.console.server import ConsoleServer
from nvo3sec.operator.documents import FileDifference, Status
from nvo3sec.system import logs


class TestSocket:
    def test_question_and_answer(self, tmp_path):
        with serving(tmp_path / "run"):
            assert ask(tmp_path / "run", "echo", a=1, b=["x"]) == {"a": 1, "b": ["x"]}

    def test_who_asks_what_is_in_the_log(self, tmp_path, capsys):
        """With all of it, and a long text by its digest; what only looks is not."""
        logs.configure()
        try:
            with serving(tmp_path, {"map_evict": echo, "status": echo}):
                ask(tmp_path, "map_evict", mac="02:00:00:00:00:01", nve="leaf1")
                ask(tmp_path, "map_evict", mac="x" * 4000)
                ask(tmp_path, "status", wait_s=1)
        finally:
            structlog.reset_defaults()
        first, second = [line for line in capsys.readouterr().err.splitlines() if "operator asks" in line]
        assert "'mac': '02:00:00:00:00:01', 'nve': 'leaf1'" in first
        assert f"operator='user {os.getuid()}, process {os.getpid()}'" in first
        assert "method=map_evict" in first
        assert "(4000 characters, SHA-256 " in second
        assert "xxxx" not in second

    def test_only_for_its_owner(self, tmp_path):
        with serving(tmp_path / "run"):
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
            assert stat.S_IMODE(socket_path(tmp_path / "run").stat().st_mode) == 0o600
        assert not socket_path(tmp_path / "run").exists()

    def test_a_refusal_is_an_error(self, tmp_path):
        with serving(tmp_path / "run"), pytest.raises(OperatorError, match="not today"):
            ask(tmp_path / "run", "refuse")

    @pytest.mark.parametrize("asks", [True, False])
    @pytest.mark.parametrize("turns", range(12))
    def test_it_stops_at_every_moment_of_a_connection(self, tmp_path, monkeypatch, turns, asks):
        """Accepted and not yet served, asked, answered, being closed: a stop waits for it, and is not cancelled."""
        accepted, start_unix_server = asyncio.Event(), asyncio.start_unix_server

        def noticing(callback: Callable[..., Any], *args: Any, **options: Any) -> Any:
            def accept(*streams: Any) -> Any:
                accepted.set()
                return callback(*streams)

            return start_unix_server(accept, *args, **options)

        async def story() -> bytes:
            server = ConsoleServer(tmp_path, {"echo": echo})
            await server.start()
            reader, writer = await asyncio.open_unix_connection(str(socket_path(tmp_path)))
            if asks:
                writer.write(b'{"method": "echo"}\n')
            writer.write_eof()
            await accepted.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.stop()
            assert not [task for task in asyncio.all_tasks() if "ConsoleServer" in repr(task)]
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""  # it was closed before the question was read
            finally:
                writer.close()

        monkeypatch.setattr(asyncio, "start_unix_server", noticing)
        stops = b'{"error": {"kind": "OperatorError", "message": "this process stops"}}\n'
        assert asyncio.run(story()) in (b"", b'{"result": {}}\n', stops)

    def test_a_failure_tells_nothing_and_ends_nothing(self, tmp_path):
        with serving(tmp_path / "run"):
            with pytest.raises(OperatorError, match="internal error") as caught:
                ask(tmp_path / "run", "fail")
            assert "secret detail" not in str(caught.value)
            assert ask(tmp_path / "run", "echo") == {}

    def test_an_unknown_method_names_the_others(self, tmp_path):
        with (
            serving(tmp_path / "run"),
            pytest.raises(OperatorError, match=r"does not answer that.*: echo, fail, refuse"),
        ):
            ask(tmp_path / "run", "shutdown")

    @pytest.mark.parametrize(
        "line", [b"\n", b"[]\n", b"{}\n", b'{"method": 1}\n', b'{"method": "echo", "params": 3}\n']
    )
    def test_nonsense(self, tmp_path, line):
        import socket

        with serving(tmp_path / "run"), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(socket_path(tmp_path / "run")))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                assert "error" in json.loads(answers.readline())

    @pytest.mark.parametrize(
        ("method", "name", "value", "what"),
        [
            ("wait", "longest_s", True, "a finite number"),
            ("wait", "longest_s", "3", "a finite number"),
            ("wait", "longest_s", float("inf"), "a finite number"),
            ("wait", "longest_s", None, "a finite number"),
            ("place", "port", True, "a whole number"),
            ("place", "port", 1.0, "a whole number"),
            ("place", "dry", 1, "true or false"),
        ],
    )
    def test_a_number_is_one(self, tmp_path, method, name, value, what):
        async def wait(longest_s: float = 3.0) -> float:
            return longest_s

        async def place(port: int | None = None, dry: bool = False) -> list:
            return [port, dry]

        with serving(tmp_path / "run", {"wait": wait, "place": place}):
            with pytest.raises(OperatorError, match=f"^{name}: must be {what}$"):
                ask(tmp_path / "run", method, **{name: value})
            assert ask(tmp_path / "run", "wait", longest_s=2) == 2
            assert ask(tmp_path / "run", "place", port=None) == [None, False]

    def test_nobody_there(self, tmp_path):
        with pytest.raises(OperatorError, match="no NVA is running"):
            ask(tmp_path, "echo")
        with pytest.raises(OperatorError, match=r"no agent is running in .*/nve-leaf1 "):
            ask(tmp_path / "nve-leaf1", "echo")

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
    @pytest.mark.parametrize("was_there", [True, False])
    def test_what_was_made_for_a_process_goes_with_it(self, tmp_path, monkeypatch, was_there):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

        async def serve(place, kept=None):
            server = ConsoleServer(place, {})
            await server.start()
            if kept:
                (place / kept).touch()
            await server.stop()

        (tmp_path / "nvo3sec").mkdir(mode=0o700)
        for place in (tmp_path / "nvo3sec" / "nva", tmp_path / "elsewhere"):
            if was_there:
                place.mkdir(mode=0o700)
            asyncio.run(serve(place))
            assert place.exists() == (was_there and place.name == "elsewhere")
        kept = tmp_path / "nvo3sec" / "nve-leaf1"
        asyncio.run(serve(kept, "agent.json"))
        assert (kept / "agent.json").exists()

    def test_open_to_others(self, tmp_path):
        (tmp_path / "run").mkdir(mode=0o755)
        os.chmod(tmp_path / "run", 0o755)  # noqa: S103  # that is what is refused
        with pytest.raises(OperatorError, match="0700"):
            prepare_run_directory(tmp_path / "run")

    def test_not_a_directory(self, tmp_path):
        (tmp_path / "run").touch()
        with pytest.raises(OperatorError):
            prepare_run_directory(tmp_path / "run")

    def test_base_open_to_others(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        base_directory().mkdir()
        os.chmod(base_directory(), 0o755)  # noqa: S103  # that is what is refused
        with pytest.raises(OperatorError, match="0700"):
            prepare_run_directory(default_run_directory(NVA))

    def test_base_that_somebody_else_may_have_linked(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        base_directory().symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OperatorError, match="is a link"):
            prepare_run_directory(default_run_directory(NVA))
        with serving(tmp_path / "elsewhere" / NVA), pytest.raises(NoController):
            choose_run_directory(None)

    def test_each_process_has_its_own(self, monkeypatch):
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
        assert default_run_directory(NVA) == Path("/b/nvo3sec/nva")
        assert default_run_directory(AGENT + "leaf1") == Path("/b/nvo3sec/nve-leaf1")
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert default_run_directory(NVA) == Path("/run/nvo3sec/nva")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr("tempfile.gettempdir", lambda: "/t")
        assert default_run_directory(NVA) == Path("/t/nvo3sec-1000/nva")


class TestDiscovery:
    """`nvo3sec status` without a word about where."""

    @pytest.fixture
    def base(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.delenv("NVO3SEC_RUN_DIR", raising=False)
        return base_directory()

    def test_nobody(self, base):
        with pytest.raises(NoController, match=f"no NVA is running in {base}; use --run-dir, or --nva"):
            choose_run_directory(None)
        for only_here in ({"agents": True}, {"only_here": True}):
            with pytest.raises(NoController, match=f"no (agent|NVA) is running in {base}; use --run-dir$"):
                choose_run_directory(None, **only_here)

    def test_an_nva_and_an_agent_on_one_machine(self, base):
        nva, agent = default_run_directory(NVA), default_run_directory(AGENT + "leaf1")
        with serving(nva), serving(agent):
            assert choose_run_directory(None) == nva
            assert choose_run_directory(None, agents=True) == agent
            assert choose_run_directory(base) == nva, "a directory that holds several"
            assert choose_run_directory(agent) == agent
        assert base.stat().st_mode & 0o777 == 0o700

    def test_an_agent_alone_answers_what_it_can(self, base):
        with serving(default_run_directory(AGENT + "leaf1")):
            assert choose_run_directory(None) == default_run_directory(AGENT + "leaf1")

    def test_who_waits_waits_for_the_nva_and_not_for_its_agents(self, base):
        """Agents start sooner: the status of one would say that all is well, or that there are several."""
        asked, ready = threading.Event(), is_it(True)

        async def of_agent() -> Any:
            asked.set()
            return is_it(False)

        async def of_nva(wait_s: float) -> Any:
            return ready | {"nva": True}

        where = Where(base, None, None)
        with ThreadPoolExecutor() as pool, serving(default_run_directory(AGENT + "leaf1"), {"status": of_agent}):
            waiting = pool.submit(where.wait, 60.0)
            assert asked.wait(60)
            with serving(default_run_directory(AGENT + "leaf2"), {}), serving(base / NVA, {"wait": of_nva}):
                assert waiting.result(60).json == ready | {"nva": True}

    def test_who_waits_is_answered_by_an_agent_whose_nva_is_elsewhere(self, base):
        async def is_ready() -> Any:
            return is_it(True)

        async def is_not() -> Any:
            return is_it(False)

        agent = default_run_directory(AGENT + "leaf1")
        with serving(agent, {"status": is_ready}):
            assert Where(base, None, None).wait(60.0).json == is_it(True)
            prepare_run_directory(base / NVA)  # one ran here, and is to come back
            with pytest.raises(NoController, match="no NVA is running in"):
                Where(base, None, None).wait(0.01)
            (base / NVA).rmdir()
        with serving(agent, {"status": is_not}):
            assert Where(base, None, None).wait(0.01).json == is_it(False)

    def test_several(self, base):
        first, second = (default_run_directory(AGENT + name) for name in ("leaf1", "leaf2"))
        expected = f"several run here; say which: --run-dir {first}, --run-dir {second}$"
        with serving(first), serving(second), pytest.raises(OperatorError, match=expected):
            choose_run_directory(None, agents=True)

    def test_through_a_link(self, base, tmp_path):
        prepare_run_directory(base)
        (base / "lab").symlink_to(tmp_path / "lab")
        with pytest.raises(NoController):
            choose_run_directory(None)  # it is left over, and leads nowhere
        prepare_run_directory(tmp_path / "lab")
        with serving(tmp_path / "lab" / NVA), serving(tmp_path / "lab" / (AGENT + "leaf1")):
            assert choose_run_directory(None) == tmp_path / "lab" / NVA
            (tmp_path / "lab").chmod(0o755)
            with pytest.raises(NoController):
                choose_run_directory(None)

    def test_what_is_passed_over_is_said(self, base, tmp_path):
        nva = default_run_directory(NVA)
        with serving(nva):
            for place in (base, nva):
                place.chmod(0o755)
                said = f"in {base}; passed over: {place} is open to others; its mode must be 0700; use --run-dir"
                with pytest.raises(NoController, match=said):
                    choose_run_directory(None)
                with pytest.raises(NoController, match=said):
                    choose_run_directory(base)
                place.chmod(0o700)
            assert choose_run_directory(None) == nva
        base.rename(tmp_path / "elsewhere")
        base.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(NoController, match=f"passed over: {base} is a link; it must be a directory of yours"):
            choose_run_directory(None)
        base.unlink()
        base.write_text("")
        with pytest.raises(NoController, match=f"no NVA is running in {base}; use --run-dir"):
            choose_run_directory(None)

    def test_inner_ones_are_said_too(self, base, tmp_path):
        prepare_run_directory(base)
        prepare_run_directory(tmp_path / "lab")
        (base / "lab").symlink_to(tmp_path / "lab")
        (tmp_path / "lab" / "log").mkdir(mode=0o755)  # nothing runs in there
        with serving(tmp_path / "lab" / NVA):
            for place in (tmp_path / "lab" / NVA, tmp_path / "lab"):
                place.chmod(0o750)
                with pytest.raises(NoController, match=r"passed over: \S+ is open to others; ") as caught:
                    choose_run_directory(None)
                assert str(caught.value).count("passed over") == 1
                place.chmod(0o700)

    def test_a_wrong_one_names_those_that_are_there(self, base, tmp_path):
        nva = default_run_directory(NVA)
        with serving(nva):
            with pytest.raises(NoController, match=rf"no such run directory: /nonexistent \(there are: {nva}\)"):
                choose_run_directory(Path("/nonexistent"))
            (tmp_path / "empty").mkdir(mode=0o700)
            with pytest.raises(NoController, match=rf"in {tmp_path}/empty \(there are: {nva}\)"):
                choose_run_directory(tmp_path / "empty")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nvo3sec.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class TestCommands:
    def test_no_controller_is_status_1(self, tmp_path):
        result = run("status", "--run-dir", str(tmp_path))
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith("nvo3sec: no NVA is running")

    def test_usage_is_status_2(self):
        assert run("status", "--nonsense").returncode == 2
        assert run("controller", "run").returncode == 2

    @pytest.mark.parametrize("waits", [(), ("--wait", "5")])
    @pytest.mark.parametrize(
        ("missing", "warnings", "wanted"),
        [(["leaf1: no lease"], ["a list ends"], 1), ([], ["a list ends"], 3), ([], [], 0)],
    )
    def test_status_ends_as_what_it_says(self, tmp_path, missing, warnings, wanted, waits):
        async def status(wait_s=0.0):
            return EMPTY_STATUS | {"ready": not missing, "not_ready": missing, "warnings": warnings}

        with serving(tmp_path / "run", {"status": status, "wait": status}):
            for form in ("table", "json"):
                result = run("status", *waits, "--run-dir", str(tmp_path / "run"), "-o", form)
                late = "nvo3sec: not ready after 5 s: leaf1: no lease\n" if waits and missing else ""
                assert (result.returncode, result.stderr) == (wanted, late)
                assert all(said in result.stdout for said in (*missing, *warnings))

    def test_who_has_waited_in_vain_is_shown_what_there_is(self, tmp_path):
        async def status():
            return EMPTY_STATUS | {"ready": False, "not_ready": ["leaf1: no lease"], "warnings": ["a list ends"]}

        async def wait(wait_s):
            await asyncio.sleep(wait_s)
            raise OperatorError(f"not ready after {wait_s:g} s: leaf1: no lease")

        async def refused(wait_s):
            raise OperatorError("not today")

        with serving(tmp_path / "run", {"status": status, "wait": wait}):
            for form in ("table", "json"):
                result = run("status", "--wait", "1", "--run-dir", str(tmp_path / "run"), "-o", form)
                assert (result.returncode, result.stderr) == (1, "nvo3sec: not ready after 1 s: leaf1: no lease\n")
                assert "a list ends" in result.stdout
        with serving(tmp_path / "refuses", {"status": status, "wait": refused}):
            result = run("status", "--wait", "60", "--run-dir", str(tmp_path / "refuses"))
            assert (result.returncode, result.stdout, result.stderr) == (1, "", "nvo3sec: not today\n")

    def test_what_is_applied_is_said_to_be_although_it_is_not_ready_in_time(self, tmp_path):
        found = {"changes": [{}], "lines": ["~ vn red"], "base": "x", "nves": ["leaf1"], "total": 5, "unshown": 4}
        missing = [["leaf1: no lease"]]

        async def apply(text, base="x"):
            return filled(FileDifference, found)

        async def status(wait_s=0.0):
            if missing:
                return EMPTY_STATUS | {"ready": False, "not_ready": missing[0], "warnings": []}
            raise OperatorError("not today")

        methods = {"domain_diff": apply, "domain_apply": apply, "status": status, "wait": status}
        words = ("domain", "apply", str(example_path()), "--yes", "--wait", "5", "--run-dir", str(tmp_path / "run"))
        with serving(tmp_path / "run", methods):
            late = run(*words)
            missing.clear()
            refused = run(*words)
        done = "applied: 1 change and 4 routes that came or went with an NVE; touched: leaf1\n"
        assert late.stdout == refused.stdout == f"~ vn red\ntouches leaf1\n{done}"
        assert (late.returncode, refused.returncode) == (1, 1)
        assert late.stderr == "nvo3sec: the file is applied, and not ready after 5 s: leaf1: no lease\n"
        assert refused.stderr == "nvo3sec: the file is applied; whether all is ready is not known: not today\n"

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
            assert "port 1 (access1): 5 frames since the switch opened it came with several" in result.stdout
            assert "access2" not in result.stdout
            assert "several segments in one" in result.stdout.splitlines()[0], "what to do something about comes first"

    def test_counters_that_are_missing_come_first(self, tmp_path):
        async def counters(nve=None):
            return [*COUNTERS, {"nve": "leaf9", "unavailable": "it does not answer"}]

        with serving(tmp_path / "run", {"counters": counters}):
            result = run("counters", "--run-dir", str(tmp_path / "run"))
            assert result.returncode == 1
            assert result.stdout.startswith("leaf9: not available: it does not answer\nleaf1: port 1")

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
            return {"directions": len(nves) + len(vn or "")}

        with serving(tmp_path / "run", {"rotate": rotate}):
            result = run("keys", "rotate", "leaf1", "leaf2", "--vn", "red", "--run-dir", str(tmp_path / "run"))
            assert result.stdout == "new keys asked for in 5 directions\n"
            result = run("keys", "rotate", "leaf1", "--run-dir", str(tmp_path / "run"))
            assert result.stdout == "new keys asked for in 1 direction\n"

    def test_shell_without_its_environment_or_nve(self, tmp_path):
        async def status():
            one = {"nve": "leaf1", "p4runtime": "unix:/none", "device_id": 1}
            return filled(Status, EMPTY_STATUS | {"switches": [one]})

        with serving(tmp_path / "run", {"status": status}):
            result = run("shell", "leaf9", "--run-dir", str(tmp_path / "run"))
            assert result.returncode == 1
            assert "there are: leaf1" in result.stderr
