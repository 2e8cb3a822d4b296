# SPDX-License-Identifier: Apache-2.0
"""Limits that do not ask the time: the caller passes it in, seconds of a monotonic clock."""

from __future__ import annotations

from nvo3sec.domain.overlay.model import Rate


class TokenBucket:
    """`rate.per_second` on average, `rate.burst` at once. Starts full."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Use one token, if there is one."""
        elapsed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._tokens = min(float(self._rate.burst), self._tokens + elapsed * self._rate.per_second)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
