# SPDX-License-Identifier: Apache-2.0
"""Who is let in by the front, with connections as numbers and time as a number."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.model import Rate
from nvo3sec.errors import OperatorError
from nvo3sec.identity.admission import Admission, Decision, FrontLimits, Refusal, source_key

OPEN = Rate(1_000_000, 1_000_000)


class TestLimits:
    def test_per_source(self):
        admission = Admission(FrontLimits(per_source=2, unfinished_per_source=2, rate=OPEN))
        assert admission.enter(1, "a", 0).refusal is None
        assert admission.enter(2, "a", 0).refusal is None
        assert admission.enter(3, "a", 0).refusal is Refusal.PER_SOURCE
        assert admission.enter(4, "b", 0).refusal is None
        admission.leave(1)
        assert admission.enter(5, "a", 0).refusal is None

    def test_unfinished_of_a_source(self):
        admission = Admission(FrontLimits(unfinished_per_source=1, rate=OPEN))
        assert admission.enter(1, "a", 0).refusal is None
        assert admission.enter(2, "a", 0).refusal is Refusal.UNFINISHED_PER_SOURCE
        admission.finish(1)
        assert admission.enter(3, "a", 0).refusal is None

    def test_total(self):
        admission = Admission(FrontLimits(total=1, rate=OPEN))
        assert admission.enter(1, "a", 0).refusal is None
        assert admission.enter(2, "b", 0).refusal is Refusal.TOTAL

    def test_rate_of_a_source(self):
        admission = Admission(FrontLimits(rate=Rate(1, 2)))
        results = [admission.enter(number, "a", 0.0).refusal for number in range(3)]
        assert results == [None, None, Refusal.RATE]
        assert admission.enter(4, "b", 0.0).refusal is None
        assert admission.enter(5, "a", 1.0).refusal is None


class TestFairness:
    def test_a_newcomer_takes_a_place_from_who_holds_the_most(self):
        admission = Admission(FrontLimits(unfinished=4, unfinished_per_source=4, rate=OPEN))
        for number in range(4):
            assert admission.enter(number, "flood", 0).refusal is None
        decision = admission.enter(10, "neighbor", 0)
        assert decision.refusal is None
        assert decision.displace == 0
        admission.leave(0)
        assert admission.unfinished == 4

    def test_the_flood_takes_none_from_others(self):
        admission = Admission(FrontLimits(unfinished=4, unfinished_per_source=4, rate=OPEN))
        for number, source in enumerate(("a", "b", "flood", "flood")):
            admission.enter(number, source, 0)
        assert admission.enter(10, "flood", 0).refusal is Refusal.UNFINISHED

    def test_nobody_is_displaced_for_an_equal(self):
        admission = Admission(FrontLimits(unfinished=2, unfinished_per_source=2, rate=OPEN))
        admission.enter(1, "a", 0)
        admission.enter(2, "b", 0)
        assert admission.enter(3, "c", 0).refusal is Refusal.UNFINISHED

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("enter", "finish", "leave"))), max_size=200))
    def test_the_books_are_right(self, events: list[tuple[str, str]]):
        limits = FrontLimits(total=12, per_source=6, unfinished=5, unfinished_per_source=3, rate=OPEN)
        admission, numbers = Admission(limits), itertools.count()
        inside: dict[int, tuple[str, bool]] = {}
        for source, event in events:
            mine = [number for number, (owner, _) in inside.items() if owner == source]
            if event == "enter":
                number = next(numbers)
                decision = admission.enter(number, source, 0)
                if decision.displace is not None:
                    assert decision.refusal is None
                    loser, finished = inside[decision.displace]
                    assert not finished
                    held = [owner for owner, done in inside.values() if not done]
                    assert held.count(loser) == max(map(held.count, "abc")), "it is of who holds the most"
                    admission.leave(decision.displace)
                    del inside[decision.displace]
                if decision.refusal is None:
                    inside[number] = (source, False)
            elif mine and event == "finish":
                admission.finish(mine[0])
                inside[mine[0]] = (source, True)
            elif mine:
                admission.leave(mine[0])
                del inside[mine[0]]
            assert admission.open == len(inside) <= limits.total
            unfinished = [owner for owner, finished in inside.values() if not finished]
            assert admission.unfinished == len(unfinished) <= limits.unfinished
            assert all(unfinished.count(owner) <= limits.unfinished_per_source for owner in "abc")


class TestSources:
    def test_what_counts_as_one(self):
        assert source_key("192.0.2.1") == "192.0.2.1"
        assert source_key("::ffff:192.0.2.1") == "192.0.2.1"
        assert source_key("2001:db8::1") == source_key("2001:db8::ffff") != source_key("2001:db8:0:1::1")
        assert source_key("fe80::1%eth0") == source_key("fe80::2%eth0")
        assert source_key("somewhere") == "somewhere"

    def test_memory_is_bounded(self):
        admission = Admission(FrontLimits(sources_remembered=10))
        for number in range(1000):
            admission.enter(number, f"s{number}", 0)
            if number in admission._where:
                admission.leave(number)
        assert len(admission._rates) == 10
        assert not admission._sources
        assert not any(admission._by_unfinished)


class TestTotal:
    def test_a_newcomer_gets_in_while_nobodies_hold_every_place(self):
        limits = FrontLimits(total=8, unfinished=8, unfinished_per_source=4, rate=OPEN)
        admission = Admission(limits)
        for number in range(8):
            assert admission.enter(number, f"attacker{number % 2}", 0.0).refusal is None
        decision = admission.enter(8, "newcomer", 0.0)
        assert decision.refusal is None
        assert decision.displace == 0

    def test_those_who_are_known_are_not_displaced(self):
        admission = Admission(FrontLimits(total=2, rate=OPEN))
        for number in range(2):
            admission.enter(number, "good", 0.0)
            admission.finish(number)
        assert admission.enter(2, "newcomer", 0.0) == Decision(Refusal.TOTAL)


class TestWords:
    def test_what_an_operator_writes(self):
        changed = FrontLimits().changed(["per-source=2000", "rate=500/1000", "hello-s=1.5"])
        assert (changed.per_source, changed.rate, changed.hello_s) == (2000, Rate(500, 1000), 1.5)
        assert changed.total == FrontLimits().total

    @pytest.mark.parametrize("word", ["", "total", "total=0", "total=x", "rate=5", "rate=0/5", "hello-s=nan", "x=1"])
    def test_what_is_none(self, word: str):
        with pytest.raises(OperatorError, match="limit"):
            FrontLimits().changed([word])
