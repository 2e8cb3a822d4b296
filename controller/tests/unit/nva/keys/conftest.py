# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that are about peer contributions."""

from __future__ import annotations

from peer_world import world

__all__ = ["world"]
