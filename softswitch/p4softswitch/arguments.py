# SPDX-License-Identifier: Apache-2.0
"""Command lines: what is wrong with one is said in one line, and the exit status is 1, as BMv2's is."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's, but for what it says and how the process ends when an argument is wrong."""

    speaker: ClassVar[str] = "p4softswitch"
    """Who says it. The same for all parsers of a command, whatever they are called in its help."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.speaker}: {message}", file=sys.stderr)
        sys.exit(1)
