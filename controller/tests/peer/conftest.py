# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of peer contributions."""

from __future__ import annotations

import pytest
from peer_world import PeerWorld


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PeerWorld:
    """An authority and two NVEs with certificates."""
    return PeerWorld(tmp_path_factory.mktemp("peers"))
