# SPDX-License-Identifier: Apache-2.0
"""pytest's door to the packet tests: PTF's classes, each once for every target."""

from __future__ import annotations

import pytest
from harness import collect, switches


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("packet tests")
    group.addoption(
        "--target",
        default="all-available",
        choices=[*switches.EXECUTABLES, "all-available"],
        help="switch under the packet tests (default: all that are installed)",
    )
    group.addoption(
        "--sanitized-packets",
        type=int,
        default=6000,
        help="so many packets through the embedded switch built with sanitizers (default 6000)",
    )
    group.addoption(
        "--record-traces",
        action="store_true",
        help="write what BMv2 does in each test to ptf-tests/traces/ (with --target bmv2)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[collect.TARGETS], config.stash[collect.MISSING] = collect.choose_targets(config.getoption("--target"))


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"packet tests on: {', '.join(config.stash[collect.TARGETS])}", *config.stash[collect.MISSING]]


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    return collect.items_of(collector, name, obj)


def pytest_unconfigure(config: pytest.Config) -> None:
    collect.close_all()
