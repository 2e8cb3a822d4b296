# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of NVA and agents as processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from overlay_world import Identities


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    """An authority, and credentials of an NVA, three NVEs and an operator."""
    return Identities(tmp_path)
