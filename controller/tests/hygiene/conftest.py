# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the searches for secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "secure"))

from overlay_world import Identities  # found through the line above


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    """An authority, and credentials of an NVA, three NVEs and an operator."""
    return Identities(tmp_path)
