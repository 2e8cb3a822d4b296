# SPDX-License-Identifier: Apache-2.0
"""Commands that ask a running controller."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nvo3sec.cli import render
from nvo3sec.cli.options import Output, OutputOption, RunDirectory
from nvo3sec.console import ask, default_run_directory
from nvo3sec.errors import NoController

APPEAR_S = 0.05
PIPE_WIDTH = 200
"""Columns where there is no terminal: nothing is folded in a log."""


def _ask(run_dir: Path | None, method: str, **params: Any) -> Any:
    return ask(run_dir or default_run_directory(), method, **params)


def _show(result: Any, output: Output, *tables: Any) -> None:
    if output is Output.JSON:
        print(json.dumps(result, indent=1))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    for table in tables:
        console.print(table)


def status(
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
    wait: Annotated[
        float, typer.Option(help="Wait up to this many seconds for a controller, and until everything is ready.")
    ] = 0.0,
) -> None:
    """Switches and keys: what is expected, what is there, and how long it lasts."""
    deadline = time.monotonic() + wait
    while True:
        left = deadline - time.monotonic()
        try:
            result = _ask(run_dir, "wait", wait_s=left) if left > 0 else _ask(run_dir, "status")
            break
        except NoController:
            if left <= 0:
                raise
            time.sleep(APPEAR_S)  # it may just be starting
    _show(result, output, *render.status(result))


def counters(
    nve: Annotated[str | None, typer.Argument(help="One NVE; all if none is named.", show_default=False)] = None,
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Drops by reason, and traffic of SAs, VAPs and VNs."""
    result = _ask(run_dir, "counters", nve=nve)
    _show(result, output, *render.counters(result))


def reconcile(
    nve: Annotated[str | None, typer.Argument(help="One NVE; all if none is named.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")] = False,
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read the switches, and make them what they should be."""
    result = _ask(run_dir, "reconcile", nve=nve, dry_run=dry_run)
    _show(result, output, *render.updates(result, dry_run=dry_run))


def rotate(
    nves: Annotated[list[str] | None, typer.Argument(help="One NVE, or several to rotate between.")] = None,
    run_dir: RunDirectory = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """New tunnel keys, make before break: for all tunnels, those of one NVE, or those between several."""
    result = _ask(run_dir, "rotate", nves=list(nves or ()))
    _show(result, output, f"new keys asked for in {result['directions']} directions")
