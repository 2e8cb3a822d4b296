# SPDX-License-Identifier: Apache-2.0
"""The command `nvo3sec`. Only here does an error become an exit status: 2 for a wrong domain file or usage, else 1;
4 or 141 where all was done, and the result could not be written."""

from nvo3sec.cli.main import app, main

__all__ = ["app", "main"]
