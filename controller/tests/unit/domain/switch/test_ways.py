# SPDX-License-Identifier: Apache-2.0
"""Which flows take which way: as their weights say, and no flow moves that need not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.switch.ways import Way, live, number_sets, replica_way, shares, spread, way_set


def way(name: str, weight: int = 1, port: int = 256, *, is_live: bool = True) -> Way:
    return Way(name, port, 1, 2, weight, is_live)


names = st.text("abcdef0123", min_size=1, max_size=4)
some_ways = st.dictionaries(names, st.integers(1, 5), min_size=1, max_size=8).map(
    lambda weights: [way(name, weight) for name, weight in weights.items()]
)


def of(ways: list[Way], *dead: str) -> tuple[str, ...]:
    return tuple(one.name for one in spread([replace(one, is_live=one.name not in dead) for one in ways]))


class TestSpread:
    @given(some_ways)
    def test_as_even_as_it_can_be(self, ways):
        had = Counter(of(ways))
        total = sum(one.weight for one in ways)
        for one in ways:
            assert abs(had[one.name] - 64 * one.weight / total) < 2, had

    def test_neighboring_buckets_have_different_ways(self):
        """A hash that is a little uneven meets all ways alike."""
        assert of([way("a"), way("b")])[:4] == ("a", "b", "a", "b")

    @given(some_ways, st.data())
    def test_who_fails_loses_its_buckets_and_no_other_one_moves(self, ways, data):
        dead = data.draw(st.lists(st.sampled_from([one.name for one in ways]), unique=True, max_size=len(ways)))
        for number in range(len(dead)):
            before, after = of(ways, *dead[:number]), of(ways, *dead[: number + 1])
            if len(dead[: number + 1]) == len(ways):
                assert after == ()
                continue
            assert dead[number] not in after
            for was, now in zip(before, after, strict=True):
                assert was == now or was == dead[number]
        # Whoever comes back has what it had, in whatever order the others failed.
        assert of(ways, *dead) == of(ways[::-1], *dead[::-1])
        assert of(ways) == of(ways, "nobody")

    def test_the_buckets_of_one_that_fails_go_to_several(self):
        ways = [way("a"), way("b"), way("c"), way("d")]
        moved = Counter(now for was, now in zip(of(ways), of(ways, "d"), strict=True) if was == "d")
        assert moved.total() == 16
        assert set(moved) == {"a", "b", "c"}

    def test_weights_also_count_for_what_others_had(self):
        ways = [way("a", 8), way("b", 1), way("c", 55)]
        moved = Counter(now for was, now in zip(of(ways), of(ways, "c"), strict=True) if was == "c")
        assert moved["a"] > 3 * moved["b"]

    def test_of_which_nobody_knows_the_address(self):
        assert live([replace(way("a"), next_hop_mac=None), way("b")]) == (way("b"),)
        assert spread([replace(way("a"), next_hop_mac=None)]) == spread([]) == ()

    def test_shares_of_one(self):
        assert shares((("a", 7),)) == ("a",) * 64


class TestReplicas:
    def test_peers_are_spread_and_stay(self):
        ways = [way("a"), way("b", port=257)]
        chosen = {f"leaf{n}": replica_way(f"leaf{n}", ways) for n in range(100)}
        assert {one.port for one in chosen.values()} == {256, 257}
        for peer, was in chosen.items():
            now = replica_way(peer, [*ways, way("c", is_live=False)])
            assert now == was
            assert replica_way(peer, [way("a", is_live=False), ways[1]]) == ways[1]
        assert replica_way("leaf1", [way("a", is_live=False)]) is None


PEERS = [IPv4Address(f"192.0.2.{n}") for n in range(1, 9)]
ONE, OTHER = way_set([way("a")]), way_set([way("a"), way("b")])


class TestNumbers:
    def test_peers_with_the_same_ways_share(self):
        found = number_sets({PEERS[0]: ONE, PEERS[1]: OTHER, PEERS[2]: ONE}, {}, range(1, 10), ())
        assert found[PEERS[0]] == found[PEERS[2]] != found[PEERS[1]]

    def test_what_is_in_use_is_given_to_nothing_else(self):
        found = number_sets({PEERS[0]: ONE}, {PEERS[5]: 1}, range(1, 10), {2})
        assert found == {PEERS[0]: 3}

    def test_a_set_that_changes_for_all_keeps_its_number(self):
        known = dict.fromkeys(PEERS, 4)
        assert number_sets(dict.fromkeys(PEERS, OTHER), known, range(1, 10), {4}) == known

    def test_of_a_set_that_is_torn_most_keep_the_number(self):
        known = dict.fromkeys(PEERS, 4)
        found = number_sets(dict.fromkeys(PEERS, ONE) | {PEERS[0]: OTHER}, known, range(1, 10), {4})
        assert found == known | {PEERS[0]: 1}

    def test_two_sets_that_become_one(self):
        known = {PEERS[0]: 3, PEERS[1]: 5}
        found = number_sets({PEERS[0]: ONE, PEERS[1]: ONE}, known, range(1, 10), {3, 5})
        assert set(found.values()) in ({3}, {5})

    def test_there_are_not_enough(self):
        with pytest.raises(ValueError, match="all 1 numbers are in use"):
            number_sets({PEERS[0]: ONE, PEERS[1]: OTHER}, {}, range(1, 2), ())

    def test_none_of_another_range_is_kept(self):
        assert number_sets({PEERS[0]: ONE}, {PEERS[0]: 77}, range(1, 10), ()) == {PEERS[0]: 1}
