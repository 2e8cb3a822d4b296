# SPDX-License-Identifier: Apache-2.0
"""The commands: what they refuse, with which exit status, and what they advise."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from nvo3lab.cli import prompt
from nvo3lab.errors import LabError, PreflightError, words_of
from nvo3lab.lab import _keep_captures
from nvo3lab.processes import preflight

from .processes import Finished, finished


def nvo3sec(base: Path, *arguments: str, **environment: str) -> Finished:
    return finished(
        [preflight.executable("nvo3sec"), *arguments], os.environ | {"NVO3LAB_RUN": str(base)} | environment
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("drill", "no-such-attack"),
        ("drill", "-o", "xml"),
        ("drill", "no-such-attack", "--name", "none"),
        ("lab", "run", "--target", "tofino"),
        ("lab", "run", "--wires", "copper"),
        ("lab", "up", "--name", "../elsewhere"),
        ("lab", "run", "--name", "lab/"),
        ("lab", "ps", "--name", "lab/"),
        ("lab", "ping", "red1", "red2", "--name", ""),
        ("lab", "shell", "red1", "--name", "lab/"),
        ("drill", "--name", "lab/"),
        ("lab", "ping", "red1"),
        ("lab", "fly"),
    ],
)
def test_bad_usage_is_exit_status_2(short_directory: Path, arguments: tuple[str, ...]) -> None:
    done = nvo3sec(short_directory, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr
    assert done.stderr.startswith("nvo3sec: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("drill", "--name", "none"),
        ("drill", "rotation", "--name", "none"),
        ("lab", "ps", "--name", "none"),
        ("lab", "ping", "red1", "red2", "--name", "none"),
        ("lab", "shell", "red1", "--name", "none"),
    ],
)
def test_no_such_lab_is_exit_status_1(short_directory: Path, arguments: tuple[str, ...]) -> None:
    """Also where an option comes behind an argument: it is not taken for another argument."""
    done = nvo3sec(short_directory, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nvo3sec: no lab named none is up; `nvo3sec lab up` starts one\n"


@pytest.mark.parametrize("command", ["up", "run"])
@pytest.mark.parametrize("place", ["{file}", "{file}/captures", "/proc/captures"])
def test_captures_that_cannot_be_left_are_said_before_anything_starts(
    short_directory: Path, command: str, place: str
) -> None:
    (short_directory / "file").touch()
    where = place.format(file=short_directory / "file")
    done = nvo3sec(short_directory / "run", "lab", command, "--captures", where)
    assert done.returncode == 1
    assert f"nvo3sec: no captures can be left in {where}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (short_directory / "run").exists()


def test_captures_that_cannot_be_left_in_the_end(tmp_path: Path) -> None:
    """A disk can be full by then."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "leaf1.pcap").touch()
    (tmp_path / "to" / "leaf1.pcap").mkdir(parents=True)
    with pytest.raises(LabError, match=f"not all captures are in {tmp_path / 'to'}: "):
        _keep_captures(tmp_path / "from", tmp_path / "to")


def test_drill_lists_its_attacks(short_directory: Path) -> None:
    done = nvo3sec(short_directory, "drill", "--list", COLUMNS="200")
    assert done.returncode == 0
    assert "cross-vn" in done.stdout
    assert "VN_UNAUTHORIZED" in done.stdout


class TestPreflight:
    def test_no_compiler_is_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        for variable in ("CC", "P4SOFTSWITCH_CC"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda _name: None)
        with pytest.raises(PreflightError, match=r"apt install gcc(.|\n)*nvo3sec\[zig\]"):
            preflight.check_compiler()

    def test_missing_bmv2_is_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(PreflightError, match="--target embedded"):
            preflight.switch_executable("bmv2")

    def test_programs_beside_the_interpreter_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        assert preflight.executable("p4softswitch") == str(Path(sys.executable).parent / "p4softswitch")

    def test_bmv2_needs_namespaces(self) -> None:
        with pytest.raises(PreflightError, match="datagram"):
            preflight.choose_wiring("unix", "bmv2")

    def test_what_is_not_allowed_is_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "_probe", lambda where, switch: "Operation not permitted")
        with pytest.raises(PreflightError, match="--wires unix"):
            preflight.choose_wiring("kernel", "embedded")
        chosen = preflight.choose_wiring("auto", "embedded")
        assert not chosen.kernel
        assert "Operation not permitted" in chosen.reason


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_shell_says_where_it_is(tmp_path: Path, shell: str):
    """Whatever the files say that it starts with; and once."""
    (tmp_path / ".bashrc").write_text("PS1='mine> '\n")
    ours, theirs = pty.openpty()
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "TERM": "dumb"} | prompt("red1")
    with subprocess.Popen(
        [shell], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        os.write(ours, b"echo in-$((40+2))\nexit\n")
        said = b""
        try:
            while part := os.read(ours, 4096):
                said += part
        except OSError:  # the other end has gone
            pass
        process.wait(60)
    os.close(ours)
    text = said.decode()
    assert "in-42" in text
    assert ("(red1) mine> " if shell == "bash" else "(red1) ") in text
    assert "(red1) (red1)" not in text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory: /x"),
        (TimeoutError(), "it took too long"),
        (LabError("no host named red9"), "no host named red9"),
        (KeyError("ping"), "KeyError: 'ping'"),
    ],
)
def test_errors_in_words(error: Exception, said: str):
    assert words_of(error) == said
