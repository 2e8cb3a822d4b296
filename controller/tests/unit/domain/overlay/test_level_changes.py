# SPDX-License-Identifier: Apache-2.0
"""The steps of a change: a sender is never below what a receiver demands, nor without the keys of what it may send."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.overlay.level_changes import LevelChange, begun, described, following, kept_levels, steady
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Level, Suite, TunnelLevel

DOMAIN = replace(load_domain(example_path()), tunnels=())
WEAK, STRONG = Level
levels = st.integers(1, 5)
"""More than there are: nothing depends on how many."""


@given(levels, st.lists(st.tuples(levels, st.booleans()), max_size=12), levels)
def test_no_sender_is_ever_below_a_receiver(first, told, last):
    """Whatever is wanted in between, and whether or not there are keys."""
    change, keys = steady(first), {first}
    for wanted, has_keys in [*told, *((last, True) for _ in range(4))]:
        keys = kept_levels(change, wanted)
        if has_keys:
            after = following(change, wanted, has_keys=True)
            assert after.sends in keys, "it is sent with keys that there were before"
        else:
            after = following(change, wanted, has_keys=False)
            assert after.sends == change.sends
        # Who has not heard of the step meets who has.
        may_send = {change.sends, after.sends, after.was}
        may_demand = {change.demands, after.demands}
        assert min(may_send) >= max(may_demand)
        assert may_send <= keys | kept_levels(after, wanted)
        assert {after.was, after.sends} <= kept_levels(after, wanted)
        change = after
    assert change == steady(last)


@pytest.mark.parametrize(("first", "last"), list(itertools.permutations(range(1, 4), 2)))
def test_a_way_has_two_steps_and_an_end(first, last):
    change = steady(first)
    steps = []
    while (after := following(change, last, has_keys=True)) != change:
        steps.append(after)
        change = after
    raised = [LevelChange(first, last, first), steady(last)]
    lowered = [LevelChange(first, first, last), LevelChange(first, last, last), steady(last)]
    assert steps == (raised if last > first else lowered)


def test_there_are_keys_of_a_lower_level_only_when_receivers_take_it():
    assert kept_levels(steady(STRONG), WEAK) == {STRONG}
    assert kept_levels(LevelChange(STRONG, STRONG, WEAK), WEAK) == {WEAK, STRONG}
    assert kept_levels(steady(WEAK), STRONG) == {WEAK, STRONG}


def with_levels(vns=(), tunnels=()):
    given_vns = dict(vns)
    vns = tuple(replace(vn, level=given_vns.get(vn.name, vn.level)) for vn in DOMAIN.vns)
    return replace(DOMAIN, vns=vns, tunnels=tuple(TunnelLevel(ends, level) for ends, level in tunnels))


PAIR = ("leaf1", "leaf3")


class TestBegun:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            (with_levels(), with_levels(), {}),
            (with_levels(), with_levels({"blue": STRONG}), {("blue",): steady(WEAK)}),
            (with_levels({"blue": STRONG}), with_levels(), {("blue",): steady(STRONG)}),
            (with_levels(), with_levels(tunnels={PAIR: STRONG}.items()), {PAIR: steady(WEAK)}),
            (with_levels(tunnels={PAIR: STRONG}.items()), with_levels(), {PAIR: steady(STRONG)}),
            (with_levels(), with_levels(tunnels={PAIR: WEAK}.items()), {}),
        ],
    )
    def test_what_differs_begins(self, old, new, expected):
        assert begun(old, new, {}) == expected

    def test_what_is_under_way_goes_on(self):
        change = LevelChange(WEAK, STRONG, WEAK)
        strong = with_levels({"blue": STRONG})
        assert begun(strong, with_levels(), {("blue",): change}) == {("blue",): change}
        assert begun(strong, strong, {("blue",): change}) == {("blue",): change}
        # Also when it has come where it is to be: who has not confirmed is to be known.
        assert begun(strong, strong, {("blue",): steady(STRONG)}) == {("blue",): steady(STRONG)}

    def test_what_comes_or_goes_has_no_change(self):
        old, new = with_levels(), with_levels({"blue": STRONG})
        without = replace(old, vns=tuple(vn for vn in old.vns if vn.name != "blue"))
        assert begun(without, new, {}) == {}
        assert begun(new, without, {("blue",): steady(WEAK)}) == {}
        alone = replace(old, nves=tuple(nve for nve in old.nves if nve.name != "leaf3"))
        strict = with_levels(tunnels={PAIR: STRONG}.items())
        assert begun(alone, strict, {}) == {}
        assert begun(strict, alone, {PAIR: steady(STRONG)}) == {}

    def test_names(self):
        assert [described(one) for one in (("blue",), PAIR)] == ["vn blue", "tunnel leaf1 - leaf3"]


class TestMembership:
    """What follows from a change, and from both of a VN and a pair."""

    BLUE = DOMAIN.vn_by_name["blue"]

    def test_without_a_change(self):
        domain = with_levels(tunnels={PAIR: STRONG}.items())
        membership = Membership(domain)
        assert membership.sent_in(self.BLUE) is WEAK
        assert membership.sent_between(*PAIR) is membership.sent_between(*PAIR[::-1]) is STRONG
        assert membership.demanded_between(*PAIR, self.BLUE) is STRONG
        assert membership.levels_between(*PAIR, self.BLUE) == {STRONG}
        assert membership.levels_between("leaf1", "leaf2", self.BLUE) == {WEAK}

    def test_a_vn_under_way(self):
        domain = with_levels({"blue": STRONG})
        blue = domain.vn_by_name["blue"]
        membership = Membership(domain, (), {("blue",): LevelChange(WEAK, STRONG, WEAK)})
        assert (membership.sent_in(blue), membership.demanded_between(*PAIR, blue)) == (STRONG, WEAK)
        assert membership.levels_between(*PAIR, blue) == {WEAK, STRONG}
        suites = {one.suite for one in membership.tunnels() if {one.sender, one.receiver} == {"leaf1", "leaf2"}}
        assert suites == set(Suite)

    @given(*(st.sampled_from(Level) for _ in range(8)))
    def test_both_under_way(self, a, b, c, d, e, f, vn_level, pair_level):
        """What may be sent has keys, and is no less than what is demanded, as far as that holds for each by itself."""
        of_vn, of_pair = LevelChange(a, b, min(a, b, c)), LevelChange(d, e, min(d, e, f))
        domain = with_levels({"blue": vn_level}, {PAIR: pair_level}.items())
        blue = domain.vn_by_name["blue"]
        membership = Membership(domain, (), {("blue",): of_vn, PAIR: of_pair})
        demanded = membership.demanded_between(*PAIR, blue)
        for by_vn, by_pair in itertools.product((of_vn.was, of_vn.sends), (of_pair.was, of_pair.sends)):
            assert max(by_vn, by_pair) in membership.levels_between(*PAIR[::-1], blue)
            assert max(by_vn, by_pair) >= demanded
        assert max(membership.sent_in(blue), membership.sent_between(*PAIR)) >= demanded


@pytest.mark.parametrize(
    "changes", [{}, {("blue",): LevelChange(WEAK, STRONG, WEAK)}, {("leaf1", "leaf2"): LevelChange(WEAK, STRONG, WEAK)}]
)
def test_tunnels_are_those_of_every_vn_and_pair(changes):
    """Put together for all at once, they are what each VN says of each pair."""
    membership = Membership(DOMAIN, changes=changes)
    assert membership.tunnels() == {
        Tunnel(sender, receiver, level.suite)
        for vn in DOMAIN.vns
        for sender, receiver in itertools.permutations(membership.members(vn.name), 2)
        for level in membership.levels_between(sender, receiver, vn)
    }
