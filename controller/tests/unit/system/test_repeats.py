# SPDX-License-Identifier: Apache-2.0
"""What goes wrong again and again in the same words."""

from __future__ import annotations

from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.messages.session import Report
from nvo3sec.nva.keys.contributions import ContributionExchange
from nvo3sec.system.repeats import AGAIN_S, KEPT, Repeats


def test_told_once_and_with_its_number_when_it_comes_back():
    repeats = Repeats()
    told = [repeats.again("it failed", now) for now in (0.0, 1.0, AGAIN_S, 2 * AGAIN_S - 1, 3 * AGAIN_S)]
    assert told == ["", None, None, None, " (again, 5 times in all)"]
    assert repeats.again("something else", 0.0) == ""


def test_it_does_not_grow():
    repeats = Repeats()
    for number in range(10 * KEPT):
        assert repeats.again(str(number), 0.0) == ""
    assert len(repeats._known) == KEPT
    assert repeats.again(str(10 * KEPT - 1), 0.0) is None


def test_what_an_nva_refuses_of_contributions():
    noted: list[tuple[str, str]] = []
    domain = load_domain(example_path())
    contributing = ContributionExchange(domain, {}, lambda: 0.0, lambda nve, one: noted.append((nve, one.detail)))
    for nve in ("leaf1", "leaf1", "leaf2", "leaf1"):
        contributing.tell(nve, Report("peer-contribution-refused", "too many"))
    assert noted == [("leaf1", "too many"), ("leaf2", "too many")]
