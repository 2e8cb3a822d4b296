# SPDX-License-Identifier: Apache-2.0
"""How tests are spread over processes when pytest-xdist runs several of them (`make test`, `pytest -n 3`), what a run
says of itself: how long it will take, and why tests were skipped, and where what tests start is found by commands."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

SHARE_PROCESSES = ("bmv2-lab/tests/test_drill.py", "softswitch/tests/test_server_")
"""Modules, by the beginning of their path, whose tests share a lab or switches: in two processes there would be two of
each."""

LONGEST = (
    "bmv2-lab/tests/test_lab.py::TestWhole::test_run[",
    "controller/tests/stories/processes/test_takeovers.py::test_a_second_agent_of_one_name[",
)
"""Tests, by the beginning of their ids, that take a minute and more: begun first, since at the end all would wait for
one."""

LAST_RUN = "nvo3sec/last_whole_run"
"""In pytest's cache: seconds and number of tests of the last run of all tests on this machine."""
USUAL = "15 to 20 minutes on two cores"

TEMPORARY_BYTES = 40
"""Longest path of the temporary directory: beneath it stand directories of run, process and test, and a socket."""

_STARTED = pytest.StashKey[float]()
_RUNTIME = pytest.StashKey[Path]()


def together(nodeid: str) -> str:
    """What runs in one process, one after the other, has the same name."""
    path = nodeid.partition("::")[0]
    return path if path.startswith(SHARE_PROCESSES) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Not by `xdist_group` marks: pytest-xdist 3.8 writes them where pytest 9 does not read them."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        """The largest group comes first, and what is on its own last."""

        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    place = str(config.option.basetemp or tempfile.gettempdir())
    if len(place) > TEMPORARY_BYTES and not hasattr(config, "workerinput"):
        raise pytest.UsageError(
            f"tests make UNIX sockets beneath {place}, whose paths have at most 107 bytes: it has {len(place)} of them,"
            f" and {TEMPORARY_BYTES} is the most; set TMPDIR to a shorter one"
        )
    config.stash[_STARTED] = time.monotonic()
    # What tests start is found by the commands of tests, and those of whoever runs the tests find what is theirs.
    config.stash[_RUNTIME] = Path(tempfile.mkdtemp(prefix="nvo3-"))  # short, for UNIX sockets
    os.environ["XDG_RUNTIME_DIR"] = str(config.stash[_RUNTIME])
    for told in ("NVO3SEC_RUN_DIR", "NVO3SEC_NVA", "NVO3SEC_CREDENTIALS"):
        os.environ.pop(told, None)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _RUNTIME in config.stash:
        shutil.rmtree(config.stash[_RUNTIME], ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not _is_whole(config):
        return []
    return [how_long(config.cache.get(LAST_RUN, None) if config.cache is not None else None)]


def how_long(last: Any) -> str:
    """last: (seconds, number of tests), or None if all tests were never run here."""
    if last is None:
        return f"all tests: about {USUAL}; the line of dots ends with what is done, in percent"
    seconds, tests = last
    minutes, rest = divmod(round(seconds), 60)
    return f"all tests: the last time {tests} of them took {minutes} min {rest} s here"


def _is_whole(config: pytest.Config) -> bool:
    """Whether all tests were asked for."""
    chosen = config.option.keyword or config.option.markexpr or config.option.collectonly or config.option.deselect
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen and not config.option.lf


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Remembers how long all tests took. Says why tests were skipped, one line for each reason; pytest itself says the
    rest, but would repeat a reason for each place in the code."""
    stats = terminalreporter.stats
    ended = exitstatus == pytest.ExitCode.OK or (
        exitstatus == pytest.ExitCode.TESTS_FAILED and not config.option.maxfail
    )
    if _is_whole(config) and ended and config.cache is not None:
        tests = sum(len(stats.get(outcome, ())) for outcome in ("passed", "failed", "skipped"))
        config.cache.set(LAST_RUN, [time.monotonic() - config.stash[_STARTED], tests])
    if "s" not in terminalreporter.reportchars or not stats.get("skipped") or terminalreporter.no_summary:
        return
    terminalreporter.reportchars = terminalreporter.reportchars.replace("s", "")
    terminalreporter.write_sep("=", "skipped")
    for line in skips([report.longrepr for report in stats["skipped"]]):
        terminalreporter.write_line(line)


def skips(skipped: list[tuple[str, int, str]]) -> list[str]:
    """One line for each reason, the most frequent first. skipped: (path, line, "Skipped: reason") of each test."""
    places = defaultdict(list)
    for path, line, reason in skipped:
        places[reason.removeprefix("Skipped: ")].append((path, line))
    return [
        f"{len(found)} skipped: {reason}"
        for reason, found in sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
