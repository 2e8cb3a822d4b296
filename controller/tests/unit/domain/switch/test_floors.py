# SPDX-License-Identifier: Apache-2.0
"""How much of a peer in penalty is verified."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.domain.switch.floors import BURST_S, HALF_LIFE_S, HEADROOM, VerifiedRate, floor_rate

CONFIGURED = Rate(100, 50)
RATES = st.builds(Rate, st.integers(1, 10**6), st.integers(1, 10**6))


def learned(*steps: tuple[int, bool], every_s: float = 5.0) -> float:
    rate = VerifiedRate()
    for number, (packets, attacked) in enumerate(steps):
        rate.learn(packets, every_s, number * every_s, attacked=attacked)
    return rate.packets_per_s


class TestVerifiedRate:
    def test_the_most_of_late(self):
        assert learned((500, False)) == 100
        assert learned((500, False), (1000, False)) == 200
        assert learned((1000, False), (0, False)) == pytest.approx(200 * 0.5 ** (5 / HALF_LIFE_S))

    def test_half_of_it_is_forgotten_in_a_half_life(self):
        steps = [(1000, False), *[(0, False)] * int(HALF_LIFE_S / 5)]
        assert learned(*steps) == pytest.approx(100)

    def test_an_attack_that_suppresses_the_rate_lowers_nothing(self):
        """However long it lasts."""
        assert learned((1000, False), *[(10, True)] * 1000) == 200

    def test_what_is_verified_in_an_attack_is_honest_too(self):
        assert learned((1000, False), (2000, True)) == 400

    def test_it_is_forgotten_again_after_the_attack(self):
        assert learned((1000, False), *[(10, True)] * 100, (10, False)) == pytest.approx(200 * 0.5 ** (5 / HALF_LIFE_S))


class TestFloorRate:
    @pytest.mark.parametrize(
        ("measured", "budget", "rate"),
        [
            (0.0, 10**6, 100),  # what is configured
            (3.0, 10**6, 100),
            (100.0, 10**6, 2048),  # sixteen times, up to the next power of two
            (128.0, 10**6, 2048),
            (128.1, 10**6, 4096),
            (128.1, 3000, 3000),  # what the switch can verify
            (128.1, 10, 100),  # and what is configured in any case
        ],
    )
    def test_between_what_is_configured_and_what_can_be_verified(self, measured, budget, rate):
        assert floor_rate(CONFIGURED, measured, budget).per_second == rate

    @given(RATES, st.floats(0, 10**6), st.integers(1, 10**7))
    def test_bounds(self, configured, measured, budget):
        found = floor_rate(configured, measured, budget)
        assert found.per_second >= configured.per_second
        assert found.burst >= configured.burst
        assert found.per_second <= max(configured.per_second, budget)
        assert found.per_second >= min(int(HEADROOM * measured), budget)
        assert found.burst >= int(found.per_second * BURST_S)


def lost(floor: Rate, honest: int, forged: int, seconds: int = 20) -> float:
    """The part of the honest packets that is lost, in no step with the forged ones, while the floor is asked."""
    chance = random.Random(1)
    bucket = TokenBucket(floor, 0.0)
    packets = [(chance.uniform(0, seconds), number < honest * seconds) for number in range((honest + forged) * seconds)]
    passed = sum(bucket.take(at) and is_honest for at, is_honest in sorted(packets))
    return 1 - passed / (honest * seconds)


class TestAttack:
    """Somebody off the path has copied one packet, and sends forged ones at ten times the rate of the honest ones."""

    def test_nothing_is_lost_where_both_can_be_verified(self):
        measured = learned((1000, False))
        assert lost(floor_rate(CONFIGURED, measured, 10**6), 200, 2000) == 0

    def test_without_a_measurement_most_was(self):
        assert lost(CONFIGURED, 200, 2000) > 0.9

    @pytest.mark.parametrize("budget", [550, 1100, 1650])
    def test_beyond_that_what_can_be_verified_is_shared(self, budget):
        """As the documents say: 1 - floor / (own + forged)."""
        found = lost(floor_rate(CONFIGURED, 200.0, budget), 200, 2000)
        assert found == pytest.approx(1 - budget / 2200, abs=0.05)
