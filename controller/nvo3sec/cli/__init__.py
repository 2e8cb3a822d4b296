# SPDX-License-Identifier: Apache-2.0
"""The command `nvo3sec`. Only here does an error become an exit status: 2 for a wrong domain file or usage, else 1;
4 or 141 where all was done, and the result could not be written."""

from __future__ import annotations

import importlib
import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Entry point. Ctrl-C ends the command silently also while it is being imported, which takes a moment."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where whoever started it has Ctrl-C ignored
        signal.signal(signal.SIGINT, _end)
    command = importlib.import_module("nvo3sec.cli.main")
    command.mount()
    signal.signal(signal.SIGINT, before)
    command.main()


def _end(_number: int, _frame: FrameType | None) -> None:
    # No exception: what is half imported would make another one of it.
    os._exit(_INTERRUPTED)
