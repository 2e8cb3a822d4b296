# SPDX-License-Identifier: Apache-2.0
"""`nvo3sec shell`: an interactive P4Runtime client on a switch of a running controller, for looking around."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nvo3sec.cli.options import RunDirectory, YesOption
from nvo3sec.cli.tell import confirm, to_stderr
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.operator.console import ask, choose_run_directory
from nvo3sec.operator.documents import Status
from nvo3sec.operator.json_form import from_json
from nvo3sec.system.plain import plain

ENVIRONMENT = ".venv-shell"
"""p4runtime-shell needs an older protobuf than everything else, and so has an environment of its own."""


def find_shell() -> Path:
    """The python of the shell's environment: beside ours, or in the current directory. Raises OperatorError."""
    places = [Path(sys.prefix).parent / ENVIRONMENT, Path.cwd() / ENVIRONMENT]
    for place in places:
        python = place / "bin" / "python"
        if python.exists():
            return python
    raise OperatorError(f"there is no {ENVIRONMENT} with p4runtime-shell here; `make setup` makes it")


def shell(
    nve: Annotated[str, typer.Argument(help="The NVE whose switch to look at.")],
    run_dir: RunDirectory = None,
    yes: YesOption = False,
) -> None:
    """Open p4runtime-shell on a switch: it shows keys; it is not primary and cannot write. Asks first."""
    status = from_json(Status, ask(choose_run_directory(run_dir, only_here=True), "status"))
    switch = next((one for one in status.switches if one.nve == nve), None)
    if switch is None:
        raise no_such("NVE", nve, (one.nve for one in status.switches))
    python = find_shell()
    to_stderr(
        Text.assemble(
            ("This shell shows the keys of the tunnels of this switch.", "bold red"),
            " Whoever sees the screen can forge packets and read recorded ones. Rotate the keys afterwards:"
            f" nvo3sec keys rotate {plain(nve)}",
        )
    )
    confirm("Open it?", yes=yes)
    command = [
        str(python),
        "-m",
        "p4runtime_sh",
        "--grpc-addr",
        switch.p4runtime,
        "--device-id",
        str(switch.device_id),
        "--election-id",
        "0,1",
    ]
    os.execv(command[0], command)  # noqa: S606  # no shell, no arguments of strangers
