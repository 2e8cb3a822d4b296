# SPDX-License-Identifier: Apache-2.0
"""How long a peer is not read from, by what it sent and what was refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.front.allowance import HOLD_LIMIT_S, Allowance, Allowances


class TestBytes:
    def test_burst_then_rate(self):
        allowance = Allowance(Rate(1000, 5000), 0.0)
        assert allowance.took(5000, 0.0) == 0
        assert allowance.took(500, 0.0) == 0.5
        assert allowance.took(0, 0.5) == 0
        assert allowance.took(2000, 1.0) == 1.5

    @given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 10)), max_size=50))
    def test_never_more_than_rate_and_burst_for_long(self, steps: list[tuple[int, float]]):
        """Who obeys gets at most what there is, and one more piece of what was on its way."""
        allowance, now, taken, largest = Allowance(Rate(1000, 5000), 0.0), 0.0, 0, 0
        for size, idle in steps:
            now += idle
            if allowance.took(0, now):
                continue
            allowance.took(size, now)
            taken, largest = taken + size, max(largest, size)
        assert taken <= 5000 + 1000 * now + largest + 1


class TestBlame:
    def test_adds_up_and_has_an_end(self):
        allowance = Allowance(Rate(1000, 5000), 0.0)
        assert allowance.blame(0.5, 10.0) == 0.5
        assert allowance.blame(0.5, 10.0) == 1.0
        assert allowance.took(1, 10.9) > 0
        for _ in range(100):
            held = allowance.blame(0.5, 10.9)
        assert held == HOLD_LIMIT_S
        assert allowance.took(0, 10.9 + HOLD_LIMIT_S) == 0


class TestNames:
    def test_more_connections_are_not_more(self):
        allowances = Allowances(Rate(1, 10), 2)
        assert allowances.of("leaf1", 0.0).took(10, 0.0) == 0
        assert allowances.of("leaf1", 0.0).took(1, 0.0) == 1
        assert allowances.of("leaf2", 0.0).took(1, 0.0) == 0

    def test_memory_is_bounded(self):
        allowances = Allowances(Rate(1, 10), 2)
        first = allowances.of("leaf1", 0.0)
        for number in range(2, 4):
            allowances.of(f"leaf{number}", 0.0)
        assert allowances.of("leaf1", 0.0) is not first
