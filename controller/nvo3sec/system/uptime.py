# SPDX-License-Identifier: Apache-2.0
"""The clock by which leases, keys and waits are measured."""

from __future__ import annotations

import time


def uptime_s() -> float:
    """Seconds since the machine was booted, those included in which it was suspended (CLOCK_BOOTTIME).

    It never goes back. `time.monotonic` stands still in a suspended machine: what has ended for everybody else would go
    on there when it wakes up.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
