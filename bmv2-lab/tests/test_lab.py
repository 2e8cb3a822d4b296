# SPDX-License-Identifier: Apache-2.0
"""A lab comes up, works, and leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from nvo3lab import rundir, traffic
from nvo3lab.drill.run import ATTACKS
from nvo3lab.errors import GuardianGone, LabError, PreflightError
from nvo3lab.lab import Closing, Lab, Options
from nvo3lab.processes import audit, preflight
from nvo3lab.processes.guarded import GUARDIAN
from nvo3lab.topology import reference
from nvo3lab.wires import linux, pcap
from nvo3ref import protection

from .conftest import lab_process
from .namespaces import Held, held_by
from .processes import Finished, Running, finished, tree, wait_gone

SUITE = {"integrity": "1", "confidentiality": "2"}
"""Level → the suite that gives it, in a report."""
FAMILIES = {"red": {"IPv6"}, "blue": {"IPv4", "IPv6"}}
"""VN → what its tunnels are over: leaf3, which has no IPv6, serves blue alone."""


def families(observation: dict[str, Any]) -> dict[str, set[str]]:
    """VN → over what packets of it were seen."""
    return {vn["vn"]: {family for family, suites in vn["families"].items() if suites} for vn in observation["vns"]}


def wires(wiring: preflight.Wiring) -> str:
    return "auto" if wiring.kernel else "unix"


def interrupted(command: tuple[str, ...], base: Path, stage: str, number: signal.Signals) -> Finished:
    """A command of the lab that gets a signal as soon as a file is there."""
    running = Running([preflight.executable("nvo3sec"), *command], os.environ | {"NVO3LAB_RUN": str(base)})
    running.until(lambda: next(base.glob(stage), None))
    running.send_signal(number)
    return running.finish()


class TestClosing:
    def test_who_is_killed_since_its_end_takes_long_is_not_at_fault(self) -> None:
        statuses = {"leaf1": -signal.SIGKILL, "leaf2": 0, "nva": -signal.SIGTERM}
        assert Closing(statuses=statuses, killed={"leaf1"}).faults() == []
        assert Closing(statuses=statuses).faults() == ["leaf1 ended with status -9"]
        assert Closing(statuses={"leaf1": 1}, killed={"leaf1"}).faults() == ["leaf1 ended with status 1"]

    @pytest.mark.parametrize("before", [True, False])
    def test_the_end_of_the_guardian_is_told_once(self, before: bool) -> None:
        async def run() -> None:
            said: list[str] = []
            lab = Lab(Options(), said.append)
            if before:
                lab._on_end(GUARDIAN, -signal.SIGKILL)
            for _ in range(2):
                lab._problem(GuardianGone("the lab's guardian has ended by itself: killed by SIGKILL"))
            assert len(lab.closing.faults()) == 1
            assert len(said) == (0 if before else 1)

        asyncio.run(run())


class TestUpAndDown:
    def test_tenants_talk_and_nothing_is_left(self, short_directory: Path, wiring: preflight.Wiring) -> None:
        captures = short_directory / "captures"
        stack = ExitStack()

        async def run() -> tuple[list[int], Held]:
            lab = Lab(Options(wires=wires(wiring), base=short_directory / "run", captures=captures))
            try:
                view = await lab.up()
                found = await traffic.run(view, lambda _text: None)
                assert found.faults == []
                assert found.pairs == found.resolved == 12
                assert found.levels == {"red": "integrity", "blue": "confidentiality"}
                assert {(each["source"], each["destination"]) for each in found.transfers} == {
                    ("red1", "red2"),
                    ("blue1", "blue2"),
                    ("blue1", "blue3"),
                }
                assert stat.S_IMODE(lab.run_directory.path.stat().st_mode) == 0o700
                lab.audit_switches()
                everything = tree(rundir.load_state("lab", short_directory / "run")["guardian"])
                assert set(lab.pids.values()) < set(everything)
                held = stack.enter_context(held_by(everything))
                assert len(held) >= (len(view.topology.hosts) if wiring.kernel else 0)
                return everything, held
            finally:
                closing = await lab.down()
                assert closing.faults() == []
                assert all(link["frames"] > 100 for link in closing.observation["links"])
                assert all(vn["suites"].keys() == {SUITE[vn["level"]]} for vn in closing.observation["vns"])
                assert families(closing.observation) == FAMILIES

        with stack:
            everything, held = asyncio.run(run())
            wait_gone(everything)
            assert held.left() == []
        assert not (short_directory / "run").exists()
        names = {path.stem for path in captures.iterdir()}
        assert {"underlay-leaf1", "red1", "blue3", "trunk-leaf2-2"} <= names
        underlay = pcap.read_frames(captures / "underlay-leaf1.pcap")
        assert len(underlay) > 100
        assert all(isinstance(protection.parse(frame), protection.Protected) for frame in underlay)

    def test_one_lab_of_a_name(self, short_directory: Path) -> None:
        first = rundir.RunDirectory.claim("lab", short_directory / "run")
        with pytest.raises(LabError, match="is running"):
            rundir.RunDirectory.claim("lab", short_directory / "run")
        rundir.RunDirectory.claim("other", short_directory / "run").release()
        (first.path / "left behind").touch()
        first.release()
        again = rundir.RunDirectory.claim("lab", short_directory / "run")
        assert not (again.path / "left behind").exists()
        again.release()

    def test_a_file_in_the_place_of_the_run_directories_is_refused(self, short_directory: Path) -> None:
        base = short_directory / "run"
        base.touch(mode=0o600)
        with pytest.raises(LabError, match="run must be a directory of this user's with mode 0700"):
            rundir.RunDirectory.claim("lab", base)
        with pytest.raises(LabError, match="inner: Not a directory"):
            rundir.RunDirectory.claim("lab", base / "inner")

    def test_an_empty_name_of_a_place_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NVO3LAB_RUN", raising=False)
        told = rundir.base_directory()
        monkeypatch.setenv("NVO3LAB_RUN", "")
        assert rundir.base_directory() == told != Path()

    @pytest.mark.parametrize("mode", [0o755, 0o770])
    def test_a_run_directory_open_to_others_is_refused(self, short_directory: Path, mode: int) -> None:
        base = short_directory / "run"
        base.mkdir()
        base.chmod(mode)
        with pytest.raises(LabError, match="0700"):
            rundir.RunDirectory.claim("lab", base)


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_a_signal_leaves_nothing(self, short_directory: Path, number: signal.Signals) -> None:
        with lab_process(short_directory / "run") as (process, state):
            everything = [process.pid, *tree(state["guardian"])]
            assert len(everything) > 10
            with held_by(everything) as held:
                process.send_signal(number)
                done = process.finish()
                assert done.returncode == (0 if number != signal.SIGKILL else -signal.SIGKILL)
                if number != signal.SIGKILL:
                    assert "violations" in done.stdout
                wait_gone(everything)
                assert held.left() == []
        assert not (short_directory / "run").exists()

    def test_a_dead_lab_is_not_looked_for_among_strangers(self, short_directory: Path) -> None:
        """Whatever has the ids of its processes by now: here this test."""

        def lab(*words: str) -> Finished:
            return finished([preflight.executable("nvo3sec"), "lab", *words], environment)

        environment = os.environ | {"NVO3LAB_RUN": str(short_directory), "SHELL": "/bin/true"}
        with lab_process(short_directory) as (process, state):
            shown = lab("ps", "-o", "json")
            assert shown.returncode == 0
            assert all(row["alive"] for row in json.loads(shown.stdout).values())
            everything = [process.pid, *tree(state["guardian"])]
            process.send_signal(signal.SIGSTOP)  # so that neither sees the other die
            os.kill(state["guardian"], signal.SIGKILL)
            process.send_signal(signal.SIGKILL)
            process.finish()
            wait_gone(everything)
        file = short_directory / "lab" / "lab.json"
        for pids in (state["pids"], dict.fromkeys(state["pids"], os.getpid())):
            file.write_text(json.dumps(state | {"kernel": True, "pids": pids}))
            shown = lab("ps")
            assert shown.returncode == 1
            assert shown.stdout.count("gone") == len(pids)
            assert "running" not in shown.stdout
            for words, said in (
                (("shell", "red1"), "red1 of the lab named lab is gone; "),
                (("ping", "red1", "red2"), ""),
            ):
                done = lab(*words)
                assert (done.returncode, done.stdout) == (1, "")
                assert done.stderr.startswith(
                    f"nvo3sec: {said or 'the lab named lab: it is gone, or does not answer: '}"
                )

    @pytest.mark.parametrize(
        ("stage", "number"),
        [
            (".lock", signal.SIGINT),
            ("/log/underlay.log", signal.SIGINT),
            ("/log/leaf1.log", signal.SIGTERM),
            ("/log/nva.log", signal.SIGINT),
        ],
    )
    def test_before_it_is_up_the_status_is_that_of_the_signal(
        self, short_directory: Path, stage: str, number: signal.Signals
    ) -> None:
        base = short_directory / "run"
        done = interrupted(("lab", "up", "-o", "json"), base, f"lab*{stage}", number)
        assert done.returncode == 128 + number, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert report["held"] is False
        assert report["faults"] == [f"ended by {number.name} before it was up"]
        assert not base.exists()

    def test_a_whole_run_before_its_first_attack(self, short_directory: Path) -> None:
        base = short_directory / "run"
        done = interrupted(("lab", "run"), base, "run*/log/underlay.log", signal.SIGINT)
        assert done.returncode == 130, done.stderr + done.stdout
        assert "ended by SIGINT before it was through" in done.stdout
        assert "Traceback" not in done.stderr
        assert "Attack drill" not in done.stdout
        assert not base.exists()

    def test_a_switch_that_dies_ends_the_lab(self, short_directory: Path) -> None:
        with lab_process(short_directory) as (process, state):
            os.kill(state["pids"]["leaf2"], signal.SIGKILL)
            done = process.finish()
            assert done.returncode == 1
            assert "leaf2 has ended by itself" in done.stderr
            wait_gone(state["pids"].values())

    def test_a_switch_that_does_not_start_is_told_with_its_log(
        self, short_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = short_directory / "p4softswitch"
        broken.write_text("#!/bin/sh\necho out of order >&2\nexit 7\n")
        broken.chmod(0o700)
        monkeypatch.setattr(preflight, "switch_executable", lambda _target: str(broken))

        async def run() -> None:
            lab = Lab(Options(wires="unix", base=short_directory / "run"))
            try:
                with pytest.raises(LabError, match=r"leaf\d ended with status 7\n.*out of order"):
                    await lab.up()
            finally:
                await lab.down()

        asyncio.run(run())
        assert [path.name for path in short_directory.iterdir()] == ["p4softswitch"]

    def test_a_compiler_that_makes_nothing_ends_the_lab(self, short_directory: Path) -> None:
        """As soon as a switch has refused the program: waiting would not help."""
        compiler = short_directory / "cc"
        compiler.write_text("#!/bin/sh\nexit 0\n")
        compiler.chmod(0o700)
        done = finished(
            [preflight.executable("nvo3sec"), "lab", "up", "--wires", "unix"],
            os.environ
            | {"NVO3LAB_RUN": str(short_directory / "run"), "P4SOFTSWITCH_CC": str(compiler)}
            | {"XDG_CACHE_HOME": str(short_directory / "cache")},
        )
        assert done.returncode == 1
        assert "has refused the program for good" in done.stderr
        assert f"{compiler} produced no output" in done.stderr
        assert "Traceback" not in done.stderr


class TestWhole:
    """What `nvo3sec lab run` says about a system that holds."""

    @pytest.mark.parametrize(("target", "wires"), [("embedded", "unix"), ("bmv2", "auto")])
    def test_run(self, short_directory: Path, target: str, wires: str) -> None:
        if target == "bmv2":
            if shutil.which("simple_switch_grpc") is None:
                pytest.skip("simple_switch_grpc is not on PATH")
            try:
                preflight.choose_wiring(wires, target)
            except PreflightError as error:
                pytest.skip(str(error).splitlines()[0])
        done = finished(
            [preflight.executable("nvo3sec"), "lab", "run", "--target", target, "--wires", wires, "-o", "json"],
            os.environ | {"NVO3LAB_RUN": str(short_directory / "run")},
        )
        assert done.returncode == 0, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert report["held"] is True
        assert report["faults"] == []
        assert {attack["name"] for attack in report["drill"]["attacks"]} == {attack.name for attack in ATTACKS}
        assert all(link["frames"] == link["protected"] > 100 for link in report["observation"]["links"])
        seen = {vn["vn"]: vn for vn in report["observation"]["vns"]}
        assert {name: vn["level"] for name, vn in seen.items()} == {"red": "integrity", "blue": "confidentiality"}
        assert seen["blue"]["suites"].keys() == {SUITE["confidentiality"]}
        assert seen["red"]["suites"][SUITE["integrity"]] > 100
        assert families(report["observation"]) == FAMILIES
        assert not (short_directory / "run").exists()

    def test_a_frame_without_protection_is_reported(self, short_directory: Path) -> None:
        """As root of leaf1's namespace, somebody sends one ARP request where only the switch should send.

        The switch keeps its interfaces closed: it has to be stopped, and one of them opened, before that is possible.
        """
        if not preflight.choose_wiring("auto", "embedded").kernel:
            pytest.skip("needs namespaces")
        code = (
            "import os, signal, socket, sys; from nvo3lab.wires import linux;"
            " from p4softswitch.server import host_stack;"
            " pid = int(sys.argv[1]); linux.enter_namespaces_of(pid); os.kill(pid, signal.SIGSTOP);"
            " assert host_stack.release('underlay0');"
            " s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('underlay0', 0));"
            " s.send(bytes.fromhex('ffffffffffff02aa000000010806') + bytes(46)); os.kill(pid, signal.SIGCONT)"
        )
        with lab_process(short_directory / "run") as (process, state):
            sent = finished(
                [sys.executable, "-c", code, str(state["pids"]["leaf1"])],
                os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            assert sent.returncode == 0, sent.stderr
            process.send_signal(signal.SIGINT)
            done = process.finish()
            assert done.returncode == 1
            assert "underlay link of leaf1: 1 frames that are not protected packets" in done.stdout
            assert "0x0806" in done.stdout


class TestWarnings:
    def test_frames_of_several_segments_are_told(self, short_directory: Path) -> None:
        """Of a tenant system whose kernel leaves checksums and the cutting to a card that it does not have.

        Its checksums are completed: a TCP SYN is answered.
        """
        if not preflight.choose_wiring("auto", "embedded").kernel:
            pytest.skip("needs namespaces")
        code = (
            "import ctypes, errno, fcntl, socket, struct, sys; from nvo3lab.wires import linux;"
            " linux.enter_namespaces_of(int(sys.argv[1])); s = socket.socket(); s.settimeout(60);"
            # ETHTOOL_STXCSUM, SSG, STSO, SGSO
            " values = [ctypes.create_string_buffer(struct.pack('=II', one, 1)) for one in (0x17, 0x19, 0x1f, 0x24)];"
            " names = [name for _, name in socket.if_nameindex() if name != 'lo'];"
            " [fcntl.ioctl(s, 0x8946, struct.pack('16sP', one.encode(), ctypes.addressof(value)))"
            " for one in names for value in values];"
            " assert s.connect_ex((sys.argv[2], 9)) == errno.ECONNREFUSED;"
            " u = socket.socket(type=socket.SOCK_DGRAM); u.setsockopt(17, 103, 500);"  # SOL_UDP, UDP_SEGMENT
            " u.sendto(bytes(1200), (sys.argv[2], 9)); sys.stdin.read()"
        )
        there = next(host for host in reference().hosts if host.name == "red2")
        with lab_process(short_directory / "run") as (process, state):
            sender = subprocess.Popen(
                [sys.executable, "-c", code, str(state["pids"]["red1"]), there.ip],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
            )
            with sender:
                said = process.until(lambda: process.complaint("several segments in one"))
            assert sender.returncode == 0
            assert "leaf1: port" in said
            assert "ethtool -K DEV tso off gso off" in said


class TestAudit:
    def test_a_listening_process_is_found(self) -> None:
        code = (
            "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
            " sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            found = audit.internet_sockets_of_tree(process.pid)
            assert found == [f"tcp 0100007F:{port:04X} listening"]
            assert process.stdin is not None
            process.stdin.close()

    def test_unix_sockets_do_not_count(self) -> None:
        code = "import socket, sys; s = socket.socketpair(); print(flush=True); sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert audit.internet_sockets_of_tree(process.pid) == []
            assert process.stdin is not None
            process.stdin.close()


def test_start_time_of_nobody_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert linux.start_time(process.pid) is None
    assert linux.start_time(os.getpid()) is not None
    assert time.monotonic() > 0
