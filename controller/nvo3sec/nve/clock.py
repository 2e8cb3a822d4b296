# SPDX-License-Identifier: Apache-2.0
"""The switch's clock as the agent knows it. Limits in the pipeline are written in its microseconds."""

from __future__ import annotations

from dataclasses import dataclass

LAST_US = (1 << 48) - 1


@dataclass(frozen=True)
class ClockReading:
    """The switch said `switch_us` at some moment between `asked_at` and `answered_at` (seconds, monotonic, local)."""

    switch_us: int
    asked_at: float
    answered_at: float

    def earliest_us(self, at: float) -> int:
        """The switch's clock at local time `at`, or a little before it: what ends then never ends too late."""
        return max(0, self.switch_us + int((at - self.answered_at) * 1e6))

    def latest_us(self, at: float) -> int:
        """The switch's clock at local time `at`, or a little after it."""
        return max(0, self.switch_us + int((at - self.asked_at) * 1e6))

    def deadline_us(self, at: float, duration_s: float) -> int:
        """`duration_s` after local time `at`, as a limit for the pipeline."""
        return min(LAST_US, self.earliest_us(at) + max(0, int(duration_s * 1e6)))

    def remaining_s(self, not_after_us: int, at: float) -> float:
        """Seconds from local time `at` to a limit in the pipeline; negative if it has passed."""
        return (not_after_us - self.latest_us(at)) / 1e6
