# SPDX-License-Identifier: Apache-2.0
"""The controller by its command lines: `nvo3sec controller run`, `nvo3sec status`, `nvo3sec counters`."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from nvo3lab import preflight
from nvo3lab.errors import LabError
from nvo3lab.topology import Topology

NAME = "controller"
_READY = 90.0
_POLL = 0.2


def run_command(domain: Path, run_directory: Path) -> list[str]:
    return [preflight.executable("nvo3sec"), "controller", "run", "--domain", str(domain), "--socket",
            str(run_directory / "control" / "controller.sock")]


async def ask(run_directory: Path, *words: str) -> Any:
    """The JSON that a command of the controller's prints. Raises LabError with its last line of complaint."""
    process = await asyncio.create_subprocess_exec(
        preflight.executable("nvo3sec"), *words, "-o", "json", "--socket",
        str(run_directory / "control" / "controller.sock"), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=os.environ,
    )
    output, complaint = await process.communicate()
    if process.returncode != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise LabError(f"nvo3sec {' '.join(words)}: {lines[-1] if lines else f'exit status {process.returncode}'}")
    return json.loads(output)


async def wait_ready(run_directory: Path, topology: Topology, ended: asyncio.Future[int]) -> str | None:
    """None once every NVE is ready, else what is missing when the time is up or the controller has ended."""
    deadline = asyncio.get_running_loop().time() + _READY
    missing = "did not answer"
    while asyncio.get_running_loop().time() < deadline:
        if ended.done():
            return f"ended with status {ended.result()}"
        try:
            missing = _missing(await ask(run_directory, "status"), topology)
        except LabError as error:
            missing = str(error)
        if not missing:
            return None
        await asyncio.sleep(_POLL)
    return f"not ready within {_READY:g} s: {missing}"


def _missing(status: dict[str, Any], topology: Topology) -> str:
    ready = {nve["name"] for nve in status["nves"] if nve["ready"]}
    return ", ".join(leaf.name for leaf in topology.leaves if leaf.name not in ready)
