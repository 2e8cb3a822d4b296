# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: places, and the order of those who wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.keys.turns import Turns
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Suite


def tunnel(number: int) -> Tunnel:
    return Tunnel(f"leaf{number}", "leaf0", Suite.CHASKEY12)


def order(turns: Turns) -> list[tuple[int, float | None]]:
    found = []
    while (picked := turns.pick()) is not None:
        found.append((int(picked[0].sender[4:]), picked[1]))
    return found


class TestOrder:
    def test_the_longest_due_first(self):
        turns = Turns(1)
        for number, due in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 10.0)):
            turns.ask(tunnel(number), due)
        assert order(turns) == [(2, None), (4, None), (3, None), (1, None)]

    def test_what_is_wanted_in_the_order_of_asking(self):
        turns = Turns(1)
        turns.want([tunnel(3), tunnel(1)], 5.0)
        turns.want([tunnel(2), tunnel(3)], 6.0)
        assert order(turns) == [(3, 6.0), (1, 5.0), (2, 6.0)]

    def test_neither_kind_waits_for_all_of_the_other(self):
        turns = Turns(1)
        turns.want(map(tunnel, (1, 2, 3)), 5.0)
        for number in (4, 5, 6):
            turns.ask(tunnel(number), 1.0)
        assert [number for number, _ in order(turns)] == [4, 1, 5, 2, 6, 3]


class TestPlaces:
    def test_nobody_is_picked_without_a_place(self):
        turns = Turns(2)
        turns.want(map(tunnel, (1, 2, 3)), 5.0)
        turns.take(tunnel(8))
        turns.take(tunnel(9))
        assert turns.pick() is None
        turns.leave(tunnel(8))
        assert turns.pick() == (tunnel(1), 5.0)

    def test_one_that_leaves_without_a_place_frees_none(self):
        turns = Turns(1)
        turns.take(tunnel(1))
        turns.leave(tunnel(2))
        assert turns.taken == 1

    def test_there_must_be_one(self):
        with pytest.raises(ValueError, match="nothing would ever rotate"):
            Turns(0)

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.floats(0, 9))), st.integers(1, 3))
    def test_nobody_is_forgotten(self, waiting, places):
        turns = Turns(places)
        for is_due, number, at in waiting:
            if is_due:
                turns.ask(tunnel(number), at)
            else:
                turns.want([tunnel(number)], at)
        found = set()
        while (picked := turns.pick()) is not None:
            turns.take(picked[0])
            assert turns.taken <= places
            found.add(picked[0])
            turns.leave(picked[0])
        assert found == {tunnel(number) for _, number, _ in waiting}
        assert turns.waiting == 0
