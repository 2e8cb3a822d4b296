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
    typer.Option("--run-dir", envvar="NVO3SEC_RUN_DIR", help="Run directory of the controller.", show_default=False),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]
