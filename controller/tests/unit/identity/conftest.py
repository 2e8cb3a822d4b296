# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of identities."""

from __future__ import annotations

from pathlib import Path

import pytest
from identity_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An authority with its devices."""
    return World(tmp_path)
