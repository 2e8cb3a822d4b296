# SPDX-License-Identifier: Apache-2.0
"""How often somebody comes under a name that has a session, and when that is an alarm."""

from __future__ import annotations

from nvo3sec.nva.sessions.takeovers import SEVERAL, WINDOW_S, Takeovers

A, B = "192.0.2.1", "192.0.2.9"


class Rivals:
    def __init__(self) -> None:
        self.now = 1000.0
        self.takeovers = Takeovers(lambda: self.now)

    def come(self, times: int, present: str = A, newcomer: str = B, *, refused: bool = True) -> list[str]:
        """Returns what was reported."""
        reports = [self.takeovers.note("leaf1", present, newcomer, refused=refused) for _ in range(times)]
        return [one.detail for one in reports if one is not None]

    def alarm(self) -> str | None:
        return self.takeovers.contested(["leaf1", "leaf2"]).get("leaf1")


class TestContested:
    def test_a_few_are_none(self):
        rivals = Rivals()
        assert not rivals.come(SEVERAL - 1)
        assert rivals.alarm() is None

    def test_several_are_named_with_where_they_come_from(self):
        rivals = Rivals()
        (report,) = rivals.come(SEVERAL)
        assert report == rivals.alarm()
        assert report == f"two agents use nve/leaf1: from {A} and from {B}; within 60 s 3 were refused, 0 took over"
        assert rivals.takeovers.contested(["leaf2"]) == {}, "whoever else is asked about"

    def test_both_behind_one_address(self):
        rivals = Rivals()
        rivals.come(SEVERAL, A, A)
        assert "two agents use nve/leaf1: all from 192.0.2.1;" in rivals.alarm()

    def test_takeovers_from_one_place_may_be_one_agent(self):
        rivals = Rivals()
        rivals.come(SEVERAL, A, A, refused=False)
        assert rivals.alarm().endswith("all from 192.0.2.1: two agents use that name, or one loses its connections")

    def test_it_is_over_by_itself(self):
        rivals = Rivals()
        rivals.come(SEVERAL)
        rivals.now += WINDOW_S
        assert rivals.alarm() is None
        assert not rivals.come(SEVERAL - 1)
        assert rivals.alarm() is None

    def test_while_it_goes_on_it_is_reported_once_a_window(self):
        rivals = Rivals()
        reported = 0
        for _ in range(100):
            reported += len(rivals.come(1))
            rivals.now += WINDOW_S / 20
        assert reported == 5
        assert rivals.alarm()

    def test_spread_out_they_are_none(self):
        rivals = Rivals()
        for _ in range(10):
            assert not rivals.come(1)
            rivals.now += WINDOW_S / (SEVERAL - 1)
        assert rivals.alarm() is None
