# SPDX-License-Identifier: Apache-2.0
"""Programs that are compiled on one host and run on another one that has no compiler."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from engine_support import compiler_that
from p4softswitch import cli
from p4softswitch.bmv2json import load_program
from p4softswitch.codegen import translate
from p4softswitch.engine import prebuilt
from p4softswitch.engine.artifact import Artifact, Recipe
from p4softswitch.engine.compiler import CompilerError
from p4softswitch.engine.engine import EngineConfig, load
from p4softswitch.engine.safepath import UnsafePath
from p4softswitch.engine_api import EngineError
from server_command import end, running
from server_harness import PROGRAMS, TIMEOUT, Controller, Program, engine_missing

pytestmark = pytest.mark.skipif(engine_missing() is not None, reason=str(engine_missing()))

SOURCE = PROGRAMS / "with_arrays.json"
OTHER = PROGRAMS / "without_arrays.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command makes."""
    directory = tmp_path_factory.mktemp("elsewhere") / "programs"
    done = subprocess.run(
        [sys.executable, "-m", "p4softswitch.cli", "--compile", str(SOURCE), "--output", str(directory)],
        capture_output=True, text=True, timeout=TIMEOUT * 10, check=False, umask=0o027,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = directory.iterdir()
    assert done.stdout == f"{file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    return file


@pytest.fixture
def programs(made: Path, tmp_path: Path) -> Path:
    """A directory of a test's own with it, as a package would bring it."""
    directory = tmp_path / "programs"
    directory.mkdir(mode=0o755)
    (directory / made.name).write_bytes(made.read_bytes())
    (directory / made.name).chmod(0o644)
    return directory


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a host that has none: nothing is on PATH, and home is a place without a cache."""
    (tmp_path / "home").mkdir()
    for name in ("CC", "P4SOFTSWITCH_CC", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return dict(os.environ)


class TestHostWithoutCompiler:
    def test_runs_it(self, tmp_path: Path, programs: Path, no_compiler: dict[str, str], program: Program) -> None:
        """From the command line and by a push; nothing is written."""
        options = ["--program-dir", str(programs)]
        with (
            running(tmp_path, [*options, str(SOURCE)], ["--cpu-port", "510"], environment=no_compiler) as process,
            Controller(f"unix:{tmp_path / 'p4rt'}") as controller,
        ):
            controller.arbitrate()
            controller.push(program)
            status, _, error = end(process)
        assert (status, error) == (0, "")
        assert not list((tmp_path / "home").iterdir())

    def test_does_not_run_another_one(self, tmp_path: Path, programs: Path, no_compiler: dict[str, str]) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "p4softswitch.cli", "--program-dir", str(programs), str(OTHER)],
            env=no_compiler, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"{programs} has no " in done.stderr
        assert "`p4softswitch --compile PROGRAM.json --output DIR`" in done.stderr

    def test_from_the_directories_of_the_system(
        self, programs: Path, no_compiler: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prebuilt, "system_directories", lambda: (programs.parent / "none", programs))
        load(SOURCE.read_bytes(), config=EngineConfig()).stop()
        assert not list((programs.parent / "home").iterdir())

    def test_without_it_nothing_can_run(self, no_compiler: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """So that the tests above show something."""
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(CompilerError, match="no C compiler"):
            load(SOURCE.read_bytes(), config=EngineConfig())


class TestChecks:
    """As with the cache: what somebody else can have put there does not run."""

    def load(self, programs: Path) -> None:
        load(SOURCE.read_bytes(), config=EngineConfig(programs=programs)).stop()

    def test_where_nothing_is_wrong(self, programs: Path) -> None:
        """Others may read it, and packages that are the same may share a file."""
        (file,) = programs.iterdir()
        os.link(file, programs.parent / "second")
        self.load(programs)

    @pytest.mark.parametrize("name", ["file", "directory", "above"])
    def test_what_others_can_write(self, programs: Path, name: str) -> None:
        (file,) = programs.iterdir()
        which = {"file": file, "directory": programs, "above": programs.parent}[name]
        which.chmod(0o775)
        with pytest.raises(UnsafePath, match=rf"{which} can be written by others \(mode 0775\): `chmod go-w {which}`"):
            self.load(programs)
        assert stat.S_IMODE(which.stat().st_mode) == 0o775

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize("name", ["file", "directory", "above"])
    def test_of_somebody_else(self, programs: Path, name: str) -> None:
        (file,) = programs.iterdir()
        os.chown({"file": file, "directory": programs, "above": programs.parent}[name], 65534, 65534)
        with pytest.raises(UnsafePath, match="belongs to user 65534"):
            self.load(programs)

    @pytest.mark.parametrize("which", ["file", "directory"])
    def test_a_link(self, programs: Path, which: str) -> None:
        (file,) = programs.iterdir()
        linked = file if which == "file" else programs
        linked.rename(programs.parent / "real")
        linked.symlink_to(programs.parent / "real")
        with pytest.raises(UnsafePath, match=f"{linked} is (not a regular file|a symbolic link)"):
            self.load(programs)

    def test_a_directory_of_the_system_that_others_can_write(
        self, programs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """It is of no matter as long as there is no program of the name; then nothing is taken instead."""
        monkeypatch.setattr(prebuilt, "system_directories", lambda: (programs,))
        programs.chmod(0o777)
        with pytest.raises(UnsafePath, match="can be written by others"):
            load(SOURCE.read_bytes(), config=EngineConfig(cache=tmp_path / "cache"))
        load(OTHER.read_bytes(), config=EngineConfig(cache=tmp_path / "cache")).stop()

    def test_a_damaged_one_stays_and_does_not_run(self, programs: Path) -> None:
        (file,) = programs.iterdir()
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(EngineError, match=f"{file} is damaged: its end is missing"):
            self.load(programs)
        assert file.exists()

    def test_another_program_under_the_name(self, programs: Path) -> None:
        (file,) = programs.iterdir()
        whole = Artifact.unpack(file.read_bytes())
        other = Recipe.of(translate(load_program(OTHER.read_bytes())).source)
        file.write_bytes(Artifact(other, whole.compiler, whole.library).pack())
        with pytest.raises(EngineError, match=f"{file} is another program than its name says"):
            self.load(programs)

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError, match=f"cannot be read from {tmp_path}/none: No such file or directory"):
            self.load(tmp_path / "none")


class TestCompile:
    def test_what_is_in_it(self, made: Path) -> None:
        """The manifest says what decides what the program does; it is in the name as well."""
        whole = Artifact.unpack(made.read_bytes())
        assert whole.recipe == Recipe.of(translate(load_program(SOURCE.read_bytes())).source)
        assert whole.recipe.name() == made.name
        assert whole.library.startswith(b"\x7fELF")
        for changed in ("source", "runtime", "architecture"):
            values = {**vars(whole.recipe), changed: "another"}
            assert Recipe(**values).name() != made.name
        assert Recipe(**{**vars(whole.recipe), "abi": 0}).name() != made.name
        assert Recipe(**{**vars(whole.recipe), "flags": ()}).name() != made.name

    def test_not_for_the_processor_of_this_machine_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        named = compiler_that(monkeypatch, tmp_path, "")
        monkeypatch.setenv("P4SOFTSWITCH_CC", f"{named} -O3 -march=native")
        with pytest.raises(CompilerError, match="-march=native compiles for the processor of this machine"):
            prebuilt.compile_into("int one;", tmp_path / "made")
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--compile"], "--compile needs a BMv2 JSON file, and --output"),
            (["--compile", str(SOURCE)], "--compile needs a BMv2 JSON file, and --output"),
            (["--output", "made", str(SOURCE)], "--output is for --compile only"),
            (["--cache-dir", "a", "--program-dir", "b", "--no-p4"], "--cache-dir and --program-dir"),
            (["--compile", "/no/such/program.json", "--output", "/no/such"], "No such file"),
        ],
    )
    def test_command_lines_that_are_refused(
        self, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        try:
            status: int | str | None = cli.main(arguments)
        except SystemExit as exit_:
            status = exit_.code
        assert status == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("p4softswitch: ")
        assert said in line

    def test_what_is_no_program(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "bad.json").write_text("{}")
        assert cli.main(["--compile", str(tmp_path / "bad.json"), "--output", str(tmp_path / "made")]) == 1
        assert "p4softswitch: " in capsys.readouterr().err
        assert not (tmp_path / "made").exists()
