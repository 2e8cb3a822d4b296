# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of identities."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from identity_world import World  # found through the line above


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An authority with its devices."""
    return World(tmp_path)
