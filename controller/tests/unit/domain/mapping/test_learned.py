# SPDX-License-Identifier: Apache-2.0
"""What agents learn: answers and pushes may overtake each other in any way, and the newest account wins."""

from __future__ import annotations

from ipaddress import ip_address as ip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvo3sec.domain.mapping import (
    Attach,
    Configured,
    Detach,
    LeaseRenewed,
    MappingSet,
    MappingState,
    Place,
    Scope,
    look_up,
    step,
)
from nvo3sec.domain.mapping.change_log import ChangeLog
from nvo3sec.domain.mapping.learned import LearnedMappings, Overtaken
from nvo3sec.domain.mapping.lookups import Wanted
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, MappingUpdate, Position, RemoteMapping
from nvo3sec.domain.switch.desired import Learned

VNI, MAC, OTHER = 10, 0x0200_0000_0001, 0x0200_0000_0002
HISTORY = b"h" * 16
QUERY = Lookup(VNI, mac=MAC)


def at(version: int) -> Position:
    return Position(HISTORY, version)


def found(nve: str, sequence: int, mac: int = MAC) -> LookupAnswer:
    return LookupAnswer(LookupResult.FOUND, 300.0, mac, nve, (ip("10.0.0.1"),), sequence)


def remote(nve: str, sequence: int, mac: int = MAC) -> RemoteMapping:
    return RemoteMapping(mac, nve, (ip("10.0.0.1"),), sequence)


UNKNOWN = LookupAnswer(LookupResult.UNKNOWN, 10.0)


def learned_from(*answers: LookupAnswer, own: str = "leaf1") -> LearnedMappings:
    mappings = LearnedMappings(own)
    mappings.apply(MappingUpdate(VNI, 5, at(5)))
    for answer in answers:
        mappings.answered(QUERY, mappings.asking(QUERY), answer, 0.0)
    return mappings


class TestPushes:
    def test_a_move_of_what_is_known(self):
        mappings = learned_from(found("leaf2", 5))
        applied = mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        assert applied.changed
        assert mappings.all == (Learned(VNI, MAC, "leaf3", (ip("10.0.0.1"),), 6),)

    def test_what_nobody_asked_for_is_not_kept_but_known_to_exist(self):
        mappings = learned_from()
        applied = mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        assert (applied.changed, len(mappings)) == (False, 0)
        assert applied.appeared == (Wanted(VNI, mac=MAC), Wanted(VNI, ip=ip("10.0.0.1")))

    def test_a_withdrawal(self):
        mappings = learned_from(found("leaf2", 5))
        assert mappings.apply(MappingUpdate(VNI, 5, at(6), (), ((MAC, 6),))).changed
        assert len(mappings) == 0

    def test_older_than_what_was_answered(self):
        mappings = learned_from(found("leaf3", 7))
        applied = mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf2", 6),), ()))
        assert not applied.changed
        assert not mappings.apply(MappingUpdate(VNI, 6, at(7), (), ((MAC, 6),))).changed
        assert mappings.all[0].nve == "leaf3"

    def test_to_this_nve_itself(self):
        mappings = learned_from(found("leaf2", 5))
        assert mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf1", 6),))).changed
        assert len(mappings) == 0, "its own entries decide"

    @pytest.mark.parametrize("update", [MappingUpdate(VNI, None, at(90)), MappingUpdate(VNI, 80, at(90))])
    def test_a_gap_puts_everything_in_doubt(self, update):
        mappings = learned_from(found("leaf2", 5))
        assert mappings.apply(update).ask_again == ((VNI, MAC),)
        assert len(mappings) == 1, "until the answer"
        assert mappings.positions == ((VNI, at(90)),)

    def test_versions_of_another_history_are_a_gap(self):
        mappings = learned_from(found("leaf2", 5))
        assert mappings.apply(MappingUpdate(VNI, 5, Position(b"x" * 16, 6))).ask_again == ((VNI, MAC),)

    def test_vns_that_are_served_no_more(self):
        mappings = learned_from(found("leaf2", 5))
        assert not mappings.keep_vns({VNI: "blue"})
        assert len(mappings) == 1
        assert not mappings.keep_vns({11: "red"})
        assert (len(mappings), mappings.positions, mappings.grown_old(1e9)) == (0, (), ())

    def test_a_number_that_another_vn_has_now(self):
        """An agent that hangs does not see that it was nobody's in between."""
        mappings = learned_from(found("leaf2", 5))
        assert not mappings.keep_vns({VNI: "blue"})
        number = mappings.asking(QUERY)
        assert mappings.keep_vns({VNI: "green"}) == {VNI}
        assert (len(mappings), mappings.positions) == (0, ())
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, number, found("leaf2", 5), 0.0)
        assert not mappings.keep_vns({VNI: "green"})


class TestAnswers:
    def test_overtaken_by_a_move(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, number, found("leaf2", 5), 0.0)
        assert len(mappings) == 0

    def test_overtaken_by_a_withdrawal(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (), ((MAC, 6),)))
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, number, found("leaf2", 5), 0.0)

    @pytest.mark.parametrize("query", [QUERY, Lookup(VNI, ip=ip("10.0.0.1"))])
    def test_a_negative_answer_overtaken_by_an_attach(self, query):
        mappings = learned_from()
        number = mappings.asking(query)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        with pytest.raises(Overtaken):
            mappings.answered(query, number, UNKNOWN, 0.0)
        number = mappings.asking(query)
        assert mappings.answered(query, number, UNKNOWN, 0.0) is None, "nothing changed while this one was under way"

    def test_at_least_as_new_as_the_push(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        assert mappings.answered(QUERY, number, found("leaf3", 6), 0.0).nve == "leaf3"

    def test_what_changed_meanwhile_is_remembered_for_as_long_as_somebody_asks(self):
        mappings = learned_from()
        first, number = mappings.asking(QUERY), mappings.asking(QUERY)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        mappings.unanswered(QUERY, first)
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, number, found("leaf2", 5), 0.0)
        assert not mappings._asking

    def test_what_changed_before_a_question_says_nothing_about_its_answer(self):
        mappings = learned_from()
        first = mappings.asking(QUERY)
        mappings.apply(MappingUpdate(VNI, 5, at(6), (remote("leaf3", 6),)))
        second = mappings.asking(QUERY)
        assert mappings.answered(QUERY, second, UNKNOWN, 0.0) is None
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, first, UNKNOWN, 0.0)

    def test_who_asks_without_end_remembers_no_more_than_since_its_oldest_question(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        for version in range(6, 1000):
            mappings.apply(MappingUpdate(VNI, version - 1, at(version), (remote("leaf3", version, mac=version),)))
            later = mappings.asking(QUERY)
            mappings.unanswered(QUERY, number)
            number = later
        assert len(mappings._asking[VNI].changes) <= 2

    def test_overtaken_by_a_gap(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        assert mappings.apply(MappingUpdate(VNI, None, at(90))).gap
        with pytest.raises(Overtaken):
            mappings.answered(QUERY, number, found("leaf2", 5), 0.0)
        number = mappings.asking(QUERY)
        assert mappings.answered(QUERY, number, found("leaf3", 60), 0.0).nve == "leaf3"

    def test_what_is_in_doubt_stays_so_until_it_was_asked_about(self):
        mappings = learned_from(found("leaf2", 5))
        mappings.apply(MappingUpdate(VNI, None, at(90)))
        assert mappings.grown_old(0.0) == ((VNI, MAC),), "whichever session comes to ask"
        mappings.answered(QUERY, mappings.asking(QUERY), found("leaf2", 5), 0.0)
        assert mappings.grown_old(0.0) == ()

    def test_what_was_learned_before_a_position_was_known_is_in_doubt_in_the_next_session(self):
        mappings = LearnedMappings("leaf1")
        mappings.answered(QUERY, mappings.asking(QUERY), found("leaf2", 5), 0.0)
        mappings.doubt_unplaced()
        assert mappings.grown_old(0.0) == ((VNI, MAC),)

    def test_age(self):
        mappings = learned_from(found("leaf2", 5))
        assert mappings.grown_old(299.0) == ()
        assert mappings.grown_old(300.0) == ((VNI, MAC),)

    def test_behind_this_nve(self):
        mappings = learned_from()
        number = mappings.asking(QUERY)
        assert mappings.answered(QUERY, number, found("leaf1", 5), 0.0) is None
        assert len(mappings) == 0


NVES = ("leaf1", "leaf2", "leaf3")
SCOPE = Scope({Place(nve, 1, 0): VNI for nve in NVES})


@given(st.lists(st.tuples(st.sampled_from("adquw"), st.integers(1, 2), st.sampled_from(NVES)), max_size=60))
def test_after_all_answers_and_pushes_nothing_that_is_known_is_wrong(script):
    """a: attach, d: detach, q: question leaves, w: oldest answer arrives, u: pushes arrive."""
    log = ChangeLog(HISTORY)
    state = MappingState()
    events = [Configured(SCOPE), *(LeaseRenewed(nve, 1e9) for nve in NVES)]
    mappings = LearnedMappings("leaf1")
    under_way: list[tuple[Lookup, int, LookupAnswer]] = []

    def happen(event) -> None:
        nonlocal state
        one = step(state, event, 0.0)
        state = one.state
        log.record(one.effects)

    def push() -> None:
        have = dict(mappings.positions).get(VNI)
        version = state.version(VNI)
        if have is None:
            mappings.apply(MappingUpdate(VNI, version, at(version)))
            return
        delta = log.increment(VNI, have, version)
        sets = [change.mapping for change in delta.changes if isinstance(change, MappingSet)]
        gone = [(change.mac, change.version) for change in delta.changes if not isinstance(change, MappingSet)]
        remotes = tuple(RemoteMapping(m.mac, m.place.nve, m.ips, m.sequence) for m in sets)
        mappings.apply(MappingUpdate(VNI, have.version, at(version), remotes, tuple(gone)))

    def arrive() -> None:
        query, number, answer = under_way.pop(0)
        try:
            mappings.answered(query, number, answer, 0.0)
        except Overtaken:
            return

    for event in events:
        happen(event)
    push()
    for what, number, nve in script:
        mac = 0x0200_0000_0000 + number
        match what:
            case "a":
                happen(Attach(nve, 1, 0, VNI, mac, (ip(f"10.0.0.{number}"),)))
            case "d":
                happen(Detach(nve, 1, 0, mac))
            case "q":
                query = Lookup(VNI, mac=mac)
                under_way.append((query, mappings.asking(query), look_up(state, "leaf1", query)))
            case "w" if under_way:
                arrive()
            case _:
                push()
    while under_way:
        arrive()
    push()
    for learned in mappings.all:
        truth = state.find((VNI, learned.mac))
        assert truth is not None
        assert (learned.nve, learned.ips, learned.sequence) == (truth.place.nve, truth.ips, truth.sequence)
        assert learned.nve != "leaf1"
