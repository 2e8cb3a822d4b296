# SPDX-License-Identifier: Apache-2.0
"""What a run of the tests says of itself: why tests were skipped, once for each reason, and how long all take."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

CONFTEST = ROOT / "conftest.py"

SKIPPING = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_skips(number):
    pytest.skip("no such thing")

@pytest.mark.skipif(True, reason="no such thing")
def test_is_skipped():
    pass
"""


@pytest.fixture
def conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("root_conftest", CONFTEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(directory: Path, *arguments: str, temporary: Path | None = None) -> str:
    """What it prints. temporary: for files that come and go."""
    shutil.copy(CONFTEST, directory / "conftest.py")
    (directory / "pytest.ini").write_text("[pytest]\ntestpaths = tests\naddopts = -ra\n")
    command = [sys.executable, "-m", "pytest", *arguments]
    environment = os.environ | ({} if temporary is None else {"TMPDIR": str(temporary)})
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if temporary is None else done.stdout + done.stderr


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for name in ("one", "two"):
        (tmp_path / "tests" / f"test_{name}.py").write_text(SKIPPING)
    (tmp_path / "tests" / "test_three.py").write_text(
        "import pytest\ndef test_fails():\n    assert 0, 'so it is'\ndef test_other():\n    pytest.skip('another')\n"
    )
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_one_line_for_each_reason_and_the_rest_as_ever(tests: Path, workers: str) -> None:
    lines = run(tests, "-n", workers).splitlines()
    assert lines.count("8 skipped: no such thing") == 1
    assert lines.count("1 skipped: another") == 1
    assert not any(line.startswith("SKIPPED") for line in lines)
    assert sum(line.startswith("FAILED tests/test_three.py::test_fails") for line in lines) == 1


def test_whoever_does_not_ask_for_reasons_gets_none(tests: Path) -> None:
    assert "no such thing" not in run(tests, "-rf")


def test_a_whole_run_is_measured_and_the_next_one_says_so(tests: Path) -> None:
    (tests / "tests" / "test_three.py").unlink()
    first = run(tests)
    assert "all tests: about" in first
    assert "all tests: the last time 8 of them took " in run(tests)
    assert "all tests" not in run(tests, "tests/test_one.py"), "not for a part"
    assert "all tests" not in run(tests, "-k", "skips")
    assert "the last time 8 of them" in run(tests), "a part is not taken for the whole"


def test_a_place_that_is_too_long_for_sockets_is_refused(tests: Path) -> None:
    """At once, and not by tests that fail far from the reason."""
    deep = tests / ("d" * 41)
    deep.mkdir()
    said = run(tests, "-n", "2", temporary=deep)
    assert f"tests make UNIX sockets beneath {deep}, whose paths have at most 107 bytes" in said
    assert "KeyError" not in said
    assert "skipped" not in said


def test_how_long(conftest: ModuleType) -> None:
    assert conftest.how_long([903.6, 2013]) == "all tests: the last time 2013 of them took 15 min 4 s here"


def test_what_is_begun_first_and_what_stays_together_is_there(conftest: ModuleType) -> None:
    """Both are told by their names: a test that was moved would be spread as any other, without a word."""
    for path, *names in (one.rstrip("[").split("::") for one in (*conftest.LONGEST, *conftest.SHARE_PROCESSES)):
        found = list(CONFTEST.parent.glob(f"{path}*"))
        assert found, path
        assert all(names[-1] in file.read_text(encoding="utf-8") for file in found if names), names


def test_what_takes_longest_is_begun_first(tests: Path, conftest: ModuleType) -> None:
    path, *_, name = conftest.LONGEST[0].rstrip("[").split("::")
    begun = tests / path
    begun.parent.mkdir(parents=True)
    begun.write_text(
        "import pytest\nclass TestWhole:\n    @pytest.mark.parametrize('one', [1])\n"
        f"    def {name}(self, one):\n        pass\n"
    )
    ids = [line for line in run(tests, "--collect-only", "-q", "tests", "bmv2-lab").splitlines() if "::" in line]
    assert len(ids) > 1
    assert ids[0].startswith(conftest.LONGEST[0])
