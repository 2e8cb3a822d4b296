# SPDX-License-Identifier: Apache-2.0
"""How tests are spread over processes when pytest-xdist runs several of them (`make test`, `pytest -n 2`)."""

from __future__ import annotations

from typing import Any

import pytest

MAKE_NAMESPACES = (
    "bmv2-lab/tests/test_drill.py",
    "bmv2-lab/tests/test_guardian.py",
    "bmv2-lab/tests/test_hosts.py",
    "bmv2-lab/tests/test_lab.py",
    "controller/tests/test_docs.py",
    "softswitch/tests/test_engine_ports.py",
)
"""They make network namespaces, and some compare those of the whole machine before and after."""
SHARE_SWITCHES = "softswitch/tests/test_server_"
"""Modules whose tests share switches: in two processes there would be two of each."""


def together(nodeid: str) -> str:
    """What runs in one process, one after the other, has the same name."""
    path = nodeid.partition("::")[0]
    if path in MAKE_NAMESPACES:
        return "network namespaces"
    return path if path.startswith(SHARE_SWITCHES) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Not by `xdist_group` marks: pytest-xdist 3.8 writes them where pytest 9 does not read them."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        """The largest group comes first, and what is on its own last."""

        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return Scheduling(config, log)
