# SPDX-License-Identifier: Apache-2.0
"""Commands whose answers the lab reads: a status counts also where it says that something is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nvo3lab.errors import LabError
from nvo3lab.processes import nvo3sec_command as controller
from nvo3sec.errors import OperatorError
from nvo3sec.operator.console.server import ConsoleServer


def ask(directory: Path, methods: dict[str, Callable[..., Awaitable[Any]]], *words: str) -> Any:
    async def run() -> Any:
        server = ConsoleServer(directory, methods)
        await server.start()
        try:
            return await controller.ask(directory, *words)
        finally:
            await server.stop()

    return asyncio.run(run())


@pytest.mark.parametrize(("missing", "warnings"), [([], []), ([], ["a list ends"]), (["leaf1: no lease"], [])])
def test_a_status_counts_however_the_command_ends(
    short_directory: Path, missing: list[str], warnings: list[str]
) -> None:
    said = {"domain": "lab.example", "switches": [], "keys": [], "reports": []}
    said |= {"ready": not missing, "not_ready": missing, "warnings": warnings}

    async def status() -> Any:
        return said

    assert ask(short_directory / "run", {"status": status}, "status") == said


def test_what_failed_is_an_error(short_directory: Path) -> None:
    async def status() -> Any:
        raise OperatorError("not today")

    async def rotate(nves: list[str], vn: str | None) -> Any:
        raise OperatorError("no such NVE")

    with pytest.raises(LabError, match="not today"):
        ask(short_directory / "run", {"status": status}, "status")
    with pytest.raises(LabError, match="no such NVE"):
        ask(short_directory / "run", {"rotate": rotate}, "keys", "rotate")
