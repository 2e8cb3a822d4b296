# SPDX-License-Identifier: Apache-2.0
"""How an operator asks a running controller: a UNIX socket in its run directory, one JSON object a line.

    -> {"method": "status", "params": {}}
    <- {"result": ...}    or    {"error": {"kind": "OperatorError", "message": "..."}}

The directory has mode 0700: who may enter it may operate the controller.
"""

from __future__ import annotations

from nvo3sec.operator.console.client import ask
from nvo3sec.operator.console.rundir import (
    AGENT,
    CONTROLLER,
    NVA,
    base_directory,
    choose_run_directory,
    default_run_directory,
    has_been_an_nva,
    prepare_run_directory,
    socket_path,
)

__all__ = [
    "AGENT",
    "CONTROLLER",
    "NVA",
    "ask",
    "base_directory",
    "choose_run_directory",
    "default_run_directory",
    "has_been_an_nva",
    "prepare_run_directory",
    "socket_path",
]
