# SPDX-License-Identifier: Apache-2.0
"""How operators find a lab that is up, and never another one in its place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from nvo3lab import cli, rundir
from nvo3lab.processes import preflight
from nvo3lab.rundir import Found, RunDirectory

from .conftest import lab_process
from .processes import Finished, finished


@pytest.fixture
def operators(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operators' directory of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_directory))
    return short_directory / "nvo3sec"


@contextmanager
def lab_in(base: Path, name: str = "lab") -> Iterator[Found]:
    """A lab, as far as operators look: its run directory, its lock, and a socket of its controller."""
    run = RunDirectory.claim(name, base)
    try:
        run.controller.mkdir(mode=0o700)
        (run.controller / "controller.sock").touch()
        with rundir.found_by_operators(run.path) as found:
            yield found
    finally:
        run.clean()


def links(directory: Path) -> dict[str, str]:
    return {place.name: os.readlink(place) for place in directory.iterdir()}


class TestLinks:
    @pytest.mark.parametrize("first_ends_first", [True, False])
    def test_a_second_of_the_same_name(self, operators: Path, short_directory: Path, first_ends_first: bool) -> None:
        places = [short_directory / "a", short_directory / "b"]
        first, second = ExitStack(), ExitStack()
        assert first.enter_context(lab_in(places[0])) == Found(operators / "lab")
        assert second.enter_context(lab_in(places[1])) == Found(operators / "lab.2", ("lab",))
        both = {"lab": str(places[0] / "lab"), "lab.2": str(places[1] / "lab")}
        assert links(operators) == both
        if first_ends_first:
            first.close()
            assert links(operators) == {"lab.2": both["lab.2"]}
            second.close()
        else:
            second.close()
            assert links(operators) == {"lab": both["lab"]}
            first.close()
        assert links(operators) == {}

    def test_what_a_killed_lab_left(self, operators: Path, short_directory: Path) -> None:
        killed = RunDirectory.claim("lab", short_directory / "a")
        with rundir.found_by_operators(killed.path) as found:
            assert found.link == operators / "lab"
            killed.release()  # as the end of a process does
            with lab_in(short_directory / "b") as other:
                assert other == Found(operators / "lab")
                assert links(operators) == {"lab": str(short_directory / "b" / "lab")}
        with lab_in(short_directory / "a") as again:
            assert again == Found(operators / "lab")

    def test_one_that_leads_nowhere(self, operators: Path, short_directory: Path) -> None:
        operators.mkdir(mode=0o700)
        (operators / "lab").symlink_to(short_directory / "gone")
        with lab_in(short_directory / "b") as found:
            assert found == Found(operators / "lab")

    def test_what_is_no_labs_stays(self, operators: Path, short_directory: Path) -> None:
        operators.mkdir(mode=0o700)
        (short_directory / "elsewhere").mkdir(mode=0o700)
        (operators / "lab").symlink_to(short_directory / "elsewhere")
        (operators / "lab.2").mkdir()
        with lab_in(short_directory / "b") as found:
            assert found == Found(operators / "lab.3")
        assert {place.name for place in operators.iterdir()} == {"lab", "lab.2"}

    def test_the_names_of_processes_are_theirs(self, operators: Path, short_directory: Path) -> None:
        """An NVA that is started later would put its socket into the lab's directory."""
        with lab_in(short_directory / "b", "nva") as found:
            assert found == Found(operators / "nva.2")

    def test_an_nva_that_runs_here_is_named(self, operators: Path, short_directory: Path) -> None:
        (operators / "nva").mkdir(mode=0o700, parents=True)
        operators.chmod(0o700)
        with lab_in(short_directory / "b") as found:
            assert found == Found(operators / "lab"), "it runs no more"
        (operators / "nva" / "controller.sock").touch()
        with lab_in(short_directory / "b") as found:
            assert found == Found(operators / "lab", ("nva",))

    def test_a_directory_open_to_others_gets_none(self, operators: Path, short_directory: Path) -> None:
        operators.mkdir()
        operators.chmod(0o755)
        with lab_in(short_directory / "b") as found:
            assert found == Found(None)


def nvo3sec(*arguments: str) -> Finished:
    return finished([preflight.executable("nvo3sec"), *arguments])


def test_what_to_try_elsewhere_is_about_this_lab() -> None:
    assert cli.elsewhere("two", " --run-dir a", "NVO3LAB_RUN=b ") == (
        "another terminal: nvo3sec status --run-dir a, NVO3LAB_RUN=b nvo3sec lab ping red1 red2 --name two,"
        " NVO3LAB_RUN=b nvo3sec drill --name two"
    )
    assert cli.elsewhere("lab", "", "").endswith("nvo3sec status, nvo3sec lab ping red1 red2, nvo3sec drill")


def test_two_labs_of_one_name(operators: Path, short_directory: Path) -> None:
    """Each is up, with processes of its own; a command that does not say which is refused, and with one it is asked."""
    bases = [short_directory / "a", short_directory / "b"]
    with lab_process(bases[0], "--wires", "unix") as (first, _):
        assert nvo3sec("status", "--wait", "60").returncode == 0
        with lab_process(bases[1], "--wires", "unix") as (second, _):
            assert links(operators).keys() == {"lab", "lab.2"}
            for words in (("status",), ("nve", "attachments"), ("keys", "revoke", "leaf3", "--yes")):
                done = nvo3sec(*words)
                assert done.returncode == 1
                assert "several run here; say which: " in done.stderr
                assert all(f"--run-dir {base / 'lab'}/" in done.stderr for base in bases)
            assert nvo3sec("status", "--run-dir", str(bases[1] / "lab")).returncode == 0
            second.send_signal(signal.SIGINT)
            said = second.finish().stderr
        assert "besides lab; commands ask which is meant, so give --run-dir" in said
        assert (
            f"another terminal: nvo3sec status --run-dir {bases[1] / 'lab'}, NVO3LAB_RUN={bases[1]} nvo3sec lab" in said
        )
        assert links(operators) == {"lab": str(bases[0] / "lab")}
        assert nvo3sec("status").returncode == 0
        first.send_signal(signal.SIGINT)
        assert "another terminal: nvo3sec status, " in first.finish().stderr
    assert links(operators) == {}
