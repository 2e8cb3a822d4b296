# SPDX-License-Identifier: Apache-2.0
"""pytest plugin of the mutant runs: packet tests only, those first that speak of the check, and a result as a file.

NVE_MUTANT_HINTS holds words, separated by commas; NVE_MUTANT_RESULT names the file.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import collect
from harness.collect import PtfItem

# Thousands of packets, and rarely about one check.
_LATE = ("test_lengths", "test_bitflips", "test_replay")
_result: dict[str, Any] = {"status": "broken", "test": "", "message": "no test ran", "failed": []}


def _rank(item: PtfItem, hints: list[str]) -> tuple[int, int]:
    """Small is early: hints in the name or text of the class, then in its module, then the quick ones."""
    module = sys.modules[item.test_class.__module__]
    text = inspect.getsource(item.test_class)
    in_module = inspect.getsource(module)
    late = int(any(name in item.path.name for name in _LATE))
    for number, hint in enumerate(hints):
        if f"Reason.{hint}" in text or (hint and not hint.isupper() and hint in item.test_class.__name__):
            return number, late
    if any(hint and hint in text for hint in hints):
        return 100, late
    if any(hint and (hint in in_module or hint in item.path.name) for hint in hints):
        return 200, late
    return 300, late


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    hints = [hint for hint in os.environ.get("NVE_MUTANT_HINTS", "").split(",") if hint]
    packet_tests = [item for item in items if isinstance(item, PtfItem)]
    config.hook.pytest_deselected(items=[item for item in items if not isinstance(item, PtfItem)])
    items[:] = sorted(packet_tests, key=lambda item: _rank(item, hints))


def pytest_collection_finish(session: pytest.Session) -> None:
    """A program that does not even load says nothing about tests."""
    try:
        for target in session.config.stash[collect.TARGETS]:
            collect.use(target)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
        _result["message"] = f"{type(error).__name__}: {error}"
        pytest.exit("the mutated program does not start", returncode=3)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        if not _result["failed"]:
            crash = getattr(report.longrepr, "reprcrash", None)
            _result.update(status="killed", test=report.nodeid, message=str(getattr(crash, "message", report.longrepr)))
        _result["failed"].append(report.nodeid)


def pytest_sessionfinish(exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK:
        _result.update(status="survived", message="")


def pytest_unconfigure(config: pytest.Config) -> None:
    del config
    Path(os.environ["NVE_MUTANT_RESULT"]).write_text(json.dumps(_result))
