# SPDX-License-Identifier: Apache-2.0
"""Who counts as one, and who is drawn from a crowd."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.identity.front.crowd import SAMPLE, Crowd, prefix_bits, source_path


class TestSources:
    def test_what_counts_as_one(self):
        assert source_path("192.0.2.1") == ("192.0.2.1",)
        assert source_path("::ffff:192.0.2.1") == ("192.0.2.1",)
        assert source_path("somewhere") == ("somewhere",)
        assert source_path("2001:db8:1:2ff::1") == (
            "2001:db8:1::/48",
            "2001:db8:1:200::/56",
            "2001:db8:1:2ff::/64",
            "2001:db8:1:2ff::1",
        )

    def test_two_spellings_are_one(self):
        assert source_path("2001:DB8:0:0::0:1") == source_path("2001:db8::1")
        assert source_path("fe80::1%eth0") == source_path("fe80::1%eth1") != source_path("fe80::2%eth0")

    @pytest.mark.parametrize(
        ("element", "bits"),
        [("2001:db8::/48", 48), ("::/64", 64), ("2001:db8::1", None), ("a/b", None), ("x/12", None)],
    )
    def test_prefixes(self, element: str, bits: int | None):
        assert prefix_bits(element) == bits


class TestHeaviest:
    def crowd(self, *sources: str) -> Crowd:
        crowd = Crowd(random.Random(1))
        for number, source in enumerate(sources):
            crowd.add(number, source_path(source))
        return crowd

    def test_of_few_exactly(self):
        crowd = self.crowd("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.2")
        assert {crowd.heaviest() for _ in range(100)} == {1, 3}
        assert {crowd.lightest() for _ in range(100)} == {0, 2}
        assert {crowd.anyone() for _ in range(100)} == {0, 1, 2, 3}

    def test_a_prefix_weighs_by_its_share(self):
        """Four neighbors in a /64 are not as heavy as one address with two; eight of them and one are."""
        pair = ["192.0.2.1", "192.0.2.1"]
        crowd = self.crowd(*pair, *(f"2001:db8::{number}" for number in range(1, 5)))
        assert {crowd.heaviest() for _ in range(100)} == {0, 1}
        crowd = self.crowd(*pair, *(f"2001:db8::{number}" for number in range(1, 10)))
        assert all(crowd.heaviest() not in (0, 1) for _ in range(100))

    def test_many_subnets_of_one_customer_weigh_too(self):
        flood = [f"2001:db8:1:{subnet:x}::1" for subnet in range(160)]
        crowd = self.crowd(*flood, "2001:db8:2::1", "192.0.2.1")
        gone = Counter(number >= 160 for number in (crowd.heaviest() for _ in range(2000)))
        assert gone[True] == 0

    def test_within(self):
        crowd = self.crowd("192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::2")
        assert {crowd.heaviest("2001:db8::/64") for _ in range(50)} == {2, 3}
        assert crowd.heaviest("192.0.2.1") == 0
        assert crowd.heaviest("192.0.2.9") is None

    def test_nobody(self):
        crowd = self.crowd()
        assert crowd.heaviest() is crowd.lightest() is crowd.anyone() is None
        assert not crowd

    def test_a_light_one_among_many_is_spared(self):
        """It is drawn only if no other of the sample is heavier."""
        crowd = self.crowd(*(f"192.0.2.{number % 250}" for number in range(500)), "198.51.100.1")
        assert all(crowd.heaviest() != 500 for _ in range(5000))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, SAMPLE), st.sampled_from(("a", "b", "2001:db8::1", "2001:db8::2")))))
    def test_the_books_are_right(self, events: list[tuple[int, str]]):
        crowd, inside = Crowd(random.Random(2)), dict[int, str]()
        for number, source in events:
            assert crowd.discard(number) == (inside.pop(number, None) is not None)
            if source != "b":
                crowd.add(number, source_path(source))
                inside[number] = source
            assert set(crowd) == set(inside)
            assert len(crowd) == len(inside)
            for one in set(inside.values()):
                assert crowd.count(one) == list(inside.values()).count(one)
            assert crowd.count("2001:db8::/48") == sum(one.startswith("2001") for one in inside.values())
        for number in list(inside):
            crowd.discard(number)
        assert not crowd._members
