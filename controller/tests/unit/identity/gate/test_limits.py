# SPDX-License-Identifier: Apache-2.0
"""Token buckets and places, with time as a number."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.gate.limits import NEVER_S, Bucket, Buckets, Places


class TestBucket:
    def test_burst_then_rate(self):
        bucket = Bucket.full(Rate(10, 3), 0.0)
        assert [bucket.take(0.0) for _ in range(3)] == [0.0] * 3
        assert bucket.take(0.0) == 0.1
        assert bucket.take(0.1) == 0.0
        assert bucket.take(0.1) > 0

    @settings(deadline=None)
    @given(st.integers(1, 1000), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=200))
    def test_never_more_than_rate_and_burst(self, per_second: int, burst: int, steps: list[float]):
        bucket, now, taken = Bucket.full(Rate(per_second, burst), 0.0), 0.0, 0
        for step in steps:
            now += step
            taken += not bucket.take(now)
            assert taken <= burst + now * per_second + 1e-6

    @settings(deadline=None)
    @given(st.integers(1, 1000), st.integers(1, 50), st.integers(1, 100))
    def test_who_waits_as_long_as_told_gets_in(self, per_second: int, burst: int, calls: int):
        bucket, now = Bucket.full(Rate(per_second, burst), 0.0), 0.0
        for _ in range(calls):
            wait = bucket.take(now)
            if wait:
                now += wait
                assert bucket.take(now) == 0.0

    def test_a_rate_of_zero_gives_its_burst_and_nothing_else(self):
        bucket = Bucket.full(Rate(0, 1), 0.0)
        assert bucket.take(0.0) == 0.0
        assert bucket.take(1e9) == NEVER_S

    def test_a_clock_that_goes_back_gives_nothing(self):
        bucket = Bucket.full(Rate(1, 1), 100.0)
        assert bucket.take(100.0) == 0.0
        assert bucket.take(0.0) == 1.0
        assert bucket.take(100.5) == 0.5


class TestBuckets:
    def test_one_identity_does_not_use_another_ones_tokens(self):
        buckets, rate = Buckets(), Rate(1, 1)
        assert buckets.take("nve/leaf1", "m", rate, 0.0) == 0.0
        assert buckets.take("nve/leaf1", "m", rate, 0.0) > 0
        assert buckets.take("nve/leaf2", "m", rate, 0.0) == 0.0
        assert buckets.take("nve/leaf1", "n", rate, 0.0) == 0.0

    def test_memory_is_bounded(self):
        buckets = Buckets(keys_limit=10)
        for number in range(1000):
            buckets.take(f"nve/leaf{number}", "m", Rate(1, 1), 0.0)
        assert len(buckets) == 10


class TestPlaces:
    def test_as_many_as_there_are(self):
        places = Places()
        assert [places.enter("a", "m", 2) for _ in range(3)] == [True, True, False]
        assert places.enter("b", "m", 2)
        places.leave("a", "m")
        assert places.enter("a", "m", 2)
        for _ in range(2):
            places.leave("a", "m")
        assert places.taken("a", "m") == 0
        assert places.taken("b", "m") == 1
