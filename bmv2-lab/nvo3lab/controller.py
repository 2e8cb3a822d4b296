# SPDX-License-Identifier: Apache-2.0
"""The controller by its command lines: `nvo3sec controller run`, and `nvo3sec status` to ask it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from nvo3lab import preflight
from nvo3lab.errors import LabError

NAME = "controller"
#: On the first start of a machine three switches compile the program meanwhile.
_READY = 120.0
#: Seconds that one question waits for its answer, so that the end of the controller is noticed in between.
_PATIENCE = 3.0
_POLL = 0.1


def run_command(domain: Path, run_directory: Path) -> list[str]:
    """The command line of the controller of a domain."""
    nvo3sec = preflight.executable("nvo3sec")
    return [nvo3sec, "controller", "run", "--domain", str(domain), "--run-dir", str(run_directory)]


async def ask(run_directory: Path, *words: str) -> Any:
    """The JSON that a command of the controller's prints. Raises LabError with its last line of complaint."""
    process = await asyncio.create_subprocess_exec(
        preflight.executable("nvo3sec"), *words, "-o", "json", "--run-dir", str(run_directory),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ,
    )
    try:
        output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise LabError(f"nvo3sec {' '.join(words)}: {lines[-1] if lines else f'exit status {process.returncode}'}")
    return json.loads(output)


async def wait_ready(run_directory: Path, ended: asyncio.Future[int]) -> str | None:
    """None once every NVE is ready, else what is missing when the time is up or the controller has ended."""
    deadline = asyncio.get_running_loop().time() + _READY
    missing = "did not answer"
    while asyncio.get_running_loop().time() < deadline:
        if ended.done():
            return f"ended with status {ended.result()}"
        try:
            status = await ask(run_directory, "status", "--wait", f"{_PATIENCE:g}")
        except LabError as error:
            missing = str(error)
            await asyncio.sleep(_POLL)
            continue
        if status["ready"]:
            return None
        missing = "; ".join(status["not_ready"])
    return f"not ready within {_READY:g} s: {missing}"
