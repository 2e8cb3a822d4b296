# SPDX-License-Identifier: Apache-2.0
"""Commands around the compiled data plane."""

from __future__ import annotations

import typer

from nvo3sec.cli import tell
from nvo3sec.cli.operate import show
from nvo3sec.cli.options import Output, OutputOption

app = typer.Typer(help="The compiled data plane.", no_args_is_help=True)


@app.command("check")
def check(output: OutputOption = Output.TABLE) -> None:
    """Do sources, compiled program and generated names fit each other?"""
    from nvo3sec.program import build

    faults = build.check()
    held = "data plane: sources, outputs and generated names are those of the manifest"
    show({"held": not faults, "faults": faults}, output, *([] if faults else [held]))
    if faults:
        tell.error(*faults)
        raise typer.Exit(1)


@app.command("compile")
def compile_(output: OutputOption = Output.TABLE) -> None:
    """Compile the data plane with the p4c on PATH, and write outputs, manifest and generated names."""
    from nvo3sec.program import build

    version = build.compile_program()
    show({"p4c": version}, output, f"data plane compiled with p4c {version}")
