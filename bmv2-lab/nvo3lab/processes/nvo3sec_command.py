# SPDX-License-Identifier: Apache-2.0
"""Commands of the controller's: run them, ask them, wait for them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nvo3lab.errors import LabError
from nvo3lab.processes import preflight

NAME = "controller"
_READY = 120.0
"""On the first start of a machine three switches compile the program meanwhile."""
_PATIENCE = 3.0
"""Seconds that one question waits for its answer, so that the end of the controller is noticed in between."""
_POLL = 0.1
_STATUS_TOLD = (1, 3)
"""How `nvo3sec status` ends besides 0, with a status on standard output: not ready, and ready with something that ends
soon."""


def run_command(domain: Path, run_directory: Path) -> list[str]:
    """The command line of the controller of a domain."""
    nvo3sec = preflight.executable("nvo3sec")
    return [nvo3sec, "controller", "run", "--domain", str(domain), "--run-dir", str(run_directory)]


async def ask(run_directory: Path, *words: str) -> Any:
    """The JSON that a command prints about a process of this machine. Raises LabError."""
    return await ask_at(("--run-dir", str(run_directory)), *words)


async def ask_at(where: tuple[str, ...], *words: str, inside: int | None = None, temporary: Path | None = None) -> Any:
    """The JSON that a command prints. Raises LabError with its last line of complaint."""
    return json.loads(await run(*words, "-o", "json", *where, inside=inside, temporary=temporary))


async def run(*words: str, inside: int | None = None, temporary: Path | None = None) -> str:
    """What a command of `nvo3sec` prints. It ends with this process.

    Args:
        inside: a process in whose network namespace it runs; in that of this process unless told.
        temporary: where it makes its temporary files.

    Raises:
        LabError: it failed; with its last line of complaint.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "nvo3lab.wires.inside", str(os.getpid()), str(inside or 0)),
        preflight.executable("nvo3sec"),
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the lab, which ends it
    )
    try:
        output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode and not (words[0] == "status" and process.returncode in _STATUS_TOLD and output):
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise LabError(f"nvo3sec {' '.join(words)}: {lines[-1] if lines else f'exit status {process.returncode}'}")
    return output.decode()


async def wait_ready(run_directory: Path, ended: asyncio.Future[int]) -> str | None:
    """None once every NVE is ready, else what is missing when the time is up or the controller has ended."""
    return await wait_until_ready(lambda *words: ask(run_directory, *words), {NAME: ended})


async def wait_until_ready(
    question: Callable[..., Awaitable[Any]],
    ended: dict[str, asyncio.Future[int]],
    hopeless: Callable[[], str | None] = lambda: None,
) -> str | None:
    """As wait_ready, of several processes that are asked through one of them.

    hopeless: what cannot become ready any more, so that there is nothing to wait for.
    """
    deadline = asyncio.get_running_loop().time() + _READY
    missing = "did not answer"
    while asyncio.get_running_loop().time() < deadline:
        for name, future in ended.items():
            if future.done():
                return f"{name} ended with status {future.result()}"
        if (lost := hopeless()) is not None:
            return lost
        try:
            status = await question("status", "--wait", f"{_PATIENCE:g}")
        except LabError as error:
            missing = str(error)
            await asyncio.sleep(_POLL)
            continue
        if status["ready"]:
            return None
        missing = "; ".join(status["not_ready"])
    return f"not ready within {_READY:g} s: {missing}"
