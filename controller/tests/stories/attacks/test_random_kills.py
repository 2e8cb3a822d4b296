# SPDX-License-Identifier: Apache-2.0
"""Processes killed at random moments: the short run. NVO3SEC_KILLS and NVO3SEC_KILLS_SEED ask for another one."""

from __future__ import annotations

import asyncio
import os

from random_kills import kill_at_random

KILLS = int(os.environ.get("NVO3SEC_KILLS", "6"))
SEED = int(os.environ.get("NVO3SEC_KILLS_SEED", "3"))


def test_nothing_wrong_passes_and_nothing_acknowledged_is_lost(tmp_path):
    done = asyncio.run(kill_at_random(tmp_path, KILLS, SEED, print))
    assert sum(done.killed.values()) == KILLS
    assert done.delivered > 0
    assert done.intruded > 0
