# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """Form of what is printed."""

    TABLE = "table"
    JSON = "json"


RunDirectory = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        envvar="NVO3SEC_RUN_DIR",
        help="Run directory of the process to run or to ask, or one that holds those of several.",
        show_default=False,
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]
NvaOption = Annotated[
    str | None,
    typer.Option(
        "--nva",
        envvar="NVO3SEC_NVA",
        help="Ask this NVA over mutual TLS: nva1.nva.DOMAIN:PORT or nva1.nva.DOMAIN=HOST:PORT.",
        show_default=False,
    ),
]
OperatorCredentials = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        envvar="NVO3SEC_CREDENTIALS",
        help="With --nva: directory with device.pem, anchors.pem, revoked.pem of an operator.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
