# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON that p4c writes for BMv2 into dataclasses; refuses by name what the engine does not implement."""

from __future__ import annotations

from p4softswitch.bmv2json.loader import load_program
from p4softswitch.bmv2json.program import Program

__all__ = ["Program", "load_program"]
