# SPDX-License-Identifier: Apache-2.0
"""Runs PTF test classes as pytest items, once for every target, in the same process."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ptf
import pytest

from harness import switches
from harness.base import NveTest
from harness.ports import DataPlane
from harness.ptf_platform import open_dataplane
from harness.session import Session, activate, pipeline_directory
from harness.trace import Recorder

TARGETS = pytest.StashKey[list[str]]()
MISSING = pytest.StashKey[list[str]]()

_running: dict[str, tuple[Session, DataPlane]] = {}
_extra: dict[int, DataPlane] = {}


def choose_targets(option: str) -> tuple[list[str], list[str]]:
    """(targets to run on, why others are left out). A target that was asked for by name must be there."""
    if option != "all-available":
        return [option], []
    return switches.available()


def use(target: str) -> Session:
    """The session of that target, started when first needed."""
    if target not in _running:
        _running[target] = _open(target)
    session, dataplane = _running[target]
    ptf.dataplane_instance = dataplane
    activate(session)
    return session


def _open(target: str) -> tuple[Session, DataPlane]:
    session = Session(target, pipeline_directory())
    # PTF would take the root logger for itself; under pytest it is pytest's.
    ptf.open_logfile = lambda _: None
    return session, open_dataplane(session)


@contextmanager
def extra_session(target: str) -> Iterator[Session]:
    """Another switch process beside the one of the tests; use it inside `active`."""
    session, dataplane = _open(target)
    _extra[id(session)] = dataplane
    try:
        yield session
    finally:
        del _extra[id(session)]
        dataplane.kill()
        session.close()


@contextmanager
def active(session: Session) -> Iterator[None]:
    """Inside, PTF's data plane is that of an extra session."""
    previous = ptf.dataplane_instance
    ptf.dataplane_instance = _extra[id(session)]
    try:
        yield
    finally:
        ptf.dataplane_instance = previous


def close_all() -> None:
    for session, dataplane in _running.values():
        dataplane.kill()
        session.close()
    _running.clear()


class PtfItem(pytest.Item):
    """One PTF test class on one target."""

    def __init__(self, *, test_class: type[NveTest], target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.test_class = test_class
        self.target = target
        self.add_marker(pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning"))

    def runtest(self) -> None:
        session = use(self.target)
        recording = self.config.getoption("--record-traces") and self.test_class.recordable
        recorder = session.recorder = Recorder(session) if recording else None
        outcome = _Outcome()
        self.test_class("runTest").run(outcome)
        session.recorder = None
        outcome.raise_first()
        if recorder is not None:
            recorder.save(self.path.stem, self.test_class.__name__)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, f"{self.test_class.__name__} on {self.target}"


class _Outcome(unittest.TestResult):
    """Keeps exceptions as they are, so that pytest shows them as its own."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[BaseException] = []
        self.skip_reason: str | None = None

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.raised.append(err[1])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.raised.append(err[1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.raised.append(AssertionError(f"{subtest}: {err[1]}"))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.skip_reason = reason

    def raise_first(self) -> None:
        if self.raised:
            raise self.raised[0]
        if self.skip_reason is not None:
            pytest.skip(self.skip_reason)


def items_of(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """The items of a PTF class; None for anything else."""
    if not (isinstance(obj, type) and issubclass(obj, NveTest)):
        return None
    if not hasattr(obj, "runTest") or obj.__module__ != collector.obj.__name__:  # type: ignore[attr-defined]
        return []
    return [
        PtfItem.from_parent(collector, name=f"{name}[{target}]", test_class=obj, target=target)
        for target in collector.config.stash[TARGETS]
    ]
