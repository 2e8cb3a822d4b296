# SPDX-License-Identifier: Apache-2.0
"""Runs PTF test classes as pytest items, once for every target, in the same process."""

from __future__ import annotations

import unittest
from typing import Any

import ptf
import pytest

from harness import switches
from harness.base import NveTest
from harness.ports import DataPlane
from harness.ptf_platform import configure
from harness.session import Session, activate, pipeline_directory

TARGETS = pytest.StashKey[list[str]]()
MISSING = pytest.StashKey[list[str]]()

_running: dict[str, tuple[Session, DataPlane]] = {}


def choose_targets(option: str) -> tuple[list[str], list[str]]:
    """(targets to run on, why others are left out). A target that was asked for by name must be there."""
    if option != "all-available":
        return [option], []
    return switches.available()


def use(target: str) -> Session:
    """The session of that target, started when first needed."""
    if target not in _running:
        session = Session(target, pipeline_directory())
        config: dict[str, Any] = {"platform": "grpc", "log_dir": None, "log_file": None}
        configure(session, config)
        ptf.config.update(config)
        # PTF would take the root logger for itself; under pytest it is pytest's.
        ptf.open_logfile = lambda _: None
        dataplane = DataPlane(config)
        for (device, port), path in config["port_map"].items():
            dataplane.port_add(path, device, port)
        _running[target] = session, dataplane
    session, dataplane = _running[target]
    ptf.dataplane_instance = dataplane
    activate(session)
    return session


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
        use(self.target)
        outcome = _Outcome()
        self.test_class("runTest").run(outcome)
        outcome.raise_first()

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, f"{self.test_class.__name__} on {self.target}"


class _Outcome(unittest.TestResult):
    """Keeps exceptions as they are, so that pytest shows them as its own."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[BaseException] = []
        self.skip_reason: str | None = None

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.raised.append(err[1])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.raised.append(err[1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.raised.append(AssertionError(f"{subtest}: {err[1]}"))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
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
    return [PtfItem.from_parent(collector, name=f"{name}[{target}]", test_class=obj, target=target)
            for target in collector.config.stash[TARGETS]]
