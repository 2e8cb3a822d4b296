# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of peer contributions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "identity"))
sys.path.insert(0, str(Path(__file__).parent))

from peer_world import PeerWorld  # found through the line above


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PeerWorld:
    """An authority and two NVEs with certificates."""
    return PeerWorld(tmp_path_factory.mktemp("peers"))
