# SPDX-License-Identifier: Apache-2.0
"""The packet tests of one mutant: those first that speak of the check, until one fails."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import unittest
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from harness import collect
from harness.base import NveTest

# Thousands of packets, and rarely about one check.
_UNRELATED = 300
_LATE = ("test_lengths", "test_bitflips", "test_replay")


@dataclass
class Outcome:
    """started: the switch took the program. failed: names of the tests that failed; message: what the first said."""

    started: bool = False
    message: str = ""
    failed: list[str] = field(default_factory=list)


class _Result(unittest.TestResult):
    """Keeps the text of the first thing that went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def _note(self, error: Any) -> None:
        self.first = self.first or f"{error[0].__name__}: {error[1]}"

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._note(err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._note(err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(err)


@functools.cache
def discover(folder: Path) -> tuple[type[NveTest], ...]:
    """All classes of packet tests, as the test runners find them."""
    found = []
    for path in sorted(folder.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        found += [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, NveTest)
                  and hasattr(one, "runTest") and one.__module__ == module.__name__]  # fmt: skip
    return tuple(found)


@functools.cache
def _texts(test: type[NveTest]) -> tuple[str, str]:
    module = inspect.getsource(sys.modules[test.__module__])
    # One that was made of another, for another suite, stands nowhere.
    written = next(
        one for one in test.__mro__ if f"class {one.__name__}(" in inspect.getsource(sys.modules[one.__module__])
    )
    return inspect.getsource(written), module


def _rank(test: type[NveTest], hints: Sequence[str]) -> tuple[int, bool]:
    """Small is early: a hint in the class, then in its module, then the quick ones."""
    late = test.__module__ in _LATE
    # mypy takes the __hash__ of its instances for that of the class.
    text, in_module = _texts(test)  # type: ignore[arg-type]
    for number, hint in enumerate(hints):
        if f"Reason.{hint}" in text or (not hint.isupper() and hint in test.__name__):
            return number, late
    if any(hint in text for hint in hints):
        return 100, late
    if any(hint in in_module or hint in test.__module__ for hint in hints):
        return 200, late
    return _UNRELATED, late


class Extent(Enum):
    """Which tests a program meets."""

    ALL = "all, whatever fails"
    UNTIL_ONE_FAILS = "all, but none behind the first that fails"
    ABOUT_IT = "those that the hints lead to, but none behind the first that fails"


def run(
    folder: Path, pipeline: Path, target: str, hints: Sequence[str], left_out: Sequence[str], extent: Extent
) -> Outcome:
    """On a switch of its own that runs the program in `pipeline`."""
    outcome = Outcome()
    os.environ["NVE_PIPELINE"] = str(pipeline)
    tests = sorted((one for one in discover(folder) if name_of(one) not in left_out), key=lambda one: _rank(one, hints))
    if extent is Extent.ABOUT_IT:
        tests = [one for one in tests if _rank(one, hints)[0] < _UNRELATED]
    try:
        collect.use(target)
        outcome.started = True
        for test in tests:
            result = _Result()
            collect.use(target)
            test("runTest").run(result)
            if result.first:
                outcome.message = outcome.message or result.first
                outcome.failed.append(name_of(test))
                if extent is not Extent.ALL:
                    break
    except Exception as error:  # noqa: BLE001 - whatever keeps the switch from starting is the outcome
        outcome.message = f"{type(error).__name__}: {error}"
    finally:
        collect.close_all()
    return outcome


def name_of(test: type[NveTest]) -> str:
    return f"{test.__module__}.{test.__name__}"
