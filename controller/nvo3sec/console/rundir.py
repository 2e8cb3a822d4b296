# SPDX-License-Identifier: Apache-2.0
"""The run directory of a controller."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nvo3sec.errors import OperatorError

ENVIRONMENT = "NVO3SEC_RUN_DIR"
SOCKET = "controller.sock"


def default_run_directory() -> Path:
    """NVO3SEC_RUN_DIR, or nvo3sec in the user's runtime directory, or /run/nvo3sec. Raises OperatorError."""
    if os.environ.get(ENVIRONMENT):
        return Path(os.environ[ENVIRONMENT])
    if os.environ.get("XDG_RUNTIME_DIR"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "nvo3sec"
    if os.geteuid() == 0:
        return Path("/run/nvo3sec")
    raise OperatorError(f"which run directory? Use --run-dir, or set {ENVIRONMENT} or XDG_RUNTIME_DIR")


def socket_path(run_directory: Path) -> Path:
    """The controller's socket."""
    return run_directory / SOCKET


def prepare_run_directory(path: Path) -> None:
    """Make the directory, for its owner alone. Raises OperatorError if it is somebody else's, or open to others."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OperatorError(f"{path} is not a directory of yours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise OperatorError(f"{path} is open to others; its mode must be 0700")
