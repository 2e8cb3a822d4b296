# SPDX-License-Identifier: Apache-2.0
"""Where things of the repository are that tests read or start."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "controller" / "tests" / "unit"
SUPPORT = ROOT / "controller" / "tests" / "support"
DATA = ROOT / "controller" / "tests" / "data"
P4SRC = ROOT / "p4src"
