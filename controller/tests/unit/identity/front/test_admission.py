# SPDX-License-Identifier: Apache-2.0
"""Who is let in by the front, with connections as numbers and time as a number."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.errors import OperatorError
from nvo3sec.identity.front.admission import Admission, Decision, FrontLimits, Refusal
from nvo3sec.identity.front.crowd import source_path

OPEN = Rate(1_000_000, 1_000_000)


def limited(**limits: object) -> FrontLimits:
    """Limits without one of rates, unless it is given."""
    return FrontLimits(**{"rate": OPEN, "newcomer_rate": OPEN, **limits})  # type: ignore[arg-type]


def admission_of(**limits: object) -> Admission:
    return Admission(limited(**limits), random.Random(3))


class TestLimits:
    def test_per_source(self):
        admission = admission_of(per_source=2, unfinished_per_source=2)
        for number in (1, 2):
            assert admission.enter(number, ("a",), 0).refusal is None
            admission.finish(number)
        assert admission.enter(3, ("a",), 0).refusal is Refusal.PER_SOURCE
        assert admission.enter(4, ("b",), 0).refusal is None
        admission.leave(1)
        assert admission.enter(5, ("a",), 0).refusal is None

    def test_unfinished_of_a_source(self):
        """One of its own goes: the new one or one that was there. Who shares an address is not locked out for good."""
        admission = admission_of(unfinished_per_source=2)
        newest = Counter[bool]()
        for number in range(1000):
            decision = admission.enter(number, ("a",), 0)
            for other, why in decision.displaced:
                assert why is Refusal.UNFINISHED_PER_SOURCE
                assert other < number
            newest[decision.refusal is None] += number >= 2
            assert decision.refusal in (None, Refusal.UNFINISHED_PER_SOURCE)
            assert admission.unfinished == min(number + 1, 2)
        assert 500 < newest[True] < 800, "two times in three it is one that was there"
        for number in list(admission._where):
            admission.finish(number)
        assert admission.enter(2000, ("a",), 0) == Decision(None)

    def test_total(self):
        admission = admission_of(total=1)
        assert admission.enter(1, ("a",), 0).refusal is None
        admission.finish(1)
        assert admission.enter(2, ("b",), 0).refusal is Refusal.TOTAL

    def test_rate_of_an_address(self):
        admission = admission_of(newcomer_rate=Rate(1, 2))
        results = [admission.enter(number, ("a",), 0.0).refusal for number in range(3)]
        assert results == [None, None, Refusal.RATE]
        assert admission.enter(4, ("b",), 0.0).refusal is None
        assert admission.enter(5, ("a",), 1.0).refusal is None

    def test_rate_of_a_known_address(self):
        admission = admission_of(newcomer_rate=Rate(1, 1), rate=Rate(1, 3))
        results = [admission.enter(number, ("a",), 0.0, known=True).refusal for number in range(4)]
        assert results == [None, None, None, Refusal.RATE]


class TestPrefixes:
    """IPv6: whole addresses, with limits of their /64, /56 and /48."""

    def agents(self, count: int, prefix: str = "2001:db8:0:1::") -> list[str]:
        return [f"{prefix}{number:x}" for number in range(1, count + 1)]

    def test_the_defaults(self):
        limits = FrontLimits()
        assert (limits.per_64, limits.per_56, limits.per_48) == (256, 1024, 4096)

    def test_a_management_subnet_of_200_agents(self):
        """All of one /64, started within a few seconds, as newcomers and once more as those who are known."""
        for known in (False, True):
            admission = Admission(FrontLimits(), random.Random(3))
            for number, address in enumerate(self.agents(200)):
                assert admission.enter(number, source_path(address), number / 50, known=known) == Decision(None)
                admission.finish(number)
            assert admission.open == 200

    @pytest.mark.parametrize(
        ("limit", "other"),
        [("per_64", "2001:db8:0:2::1"), ("per_56", "2001:db8:0:100::1"), ("per_48", "2001:db8:1::1")],
    )
    def test_each_has_its_limit(self, limit: str, other: str):
        admission = admission_of(**{limit: 5})
        numbers = itertools.count()
        for address in self.agents(5):
            number = next(numbers)
            assert admission.enter(number, source_path(address), 0).refusal is None
            admission.finish(number)
        for known in (False, True):
            assert admission.enter(99, source_path("2001:db8:0:1::99"), 0, known=known).refusal is Refusal.PER_PREFIX
        assert admission.enter(next(numbers), source_path(other), 0).refusal is None

    def test_a_neighbor_without_a_certificate(self):
        """It takes all the places of its /64, again and again, from ever new addresses: 100 agents of it go on."""
        admission = Admission(FrontLimits(), random.Random(3))
        numbers = itertools.count(1000)
        agents = self.agents(100)
        for number, address in enumerate(agents):
            admission.enter(number, source_path(address), 0.0, known=True)
            admission.finish(number)
        inside = set[int]()
        for step in range(2000):
            now = step / 1000
            number = next(numbers)
            decision = admission.enter(number, source_path(f"2001:db8:0:1:bad::{step:x}"), now)
            inside -= {gone for gone, _ in decision.displaced}
            assert all(gone >= 1000 for gone, _ in decision.displaced)
            inside |= {number} - ({number} if decision.refusal else set())
        assert admission.open == 256
        # They lose their connections, and are back at the first try, all of them.
        for number in range(100):
            admission.leave(number)
        for number, address in enumerate(agents):
            decision = admission.enter(number, source_path(address), 3.0, known=True)
            assert decision.refusal is None
            admission.finish(number)
        assert all(number in admission._where for number in range(100))

    def test_a_flood_of_one_customer_leaves_others_their_rate(self):
        admission = Admission(FrontLimits(), random.Random(3))
        refused = Counter[object]()
        for step in range(20_000):  # 10,000 a second, all over a /48
            subnet, host = step % 256, step
            address = f"2001:db8:0:{subnet:x}::{host:x}"
            decision = admission.enter(step, source_path(address), step / 10_000)
            refused[decision.refusal] += 1
            if step % 1000 == 999:
                number = 100_000 + step
                newcomer = source_path(f"2001:db8:{1 + step:x}::1")
                assert admission.enter(number, newcomer, step / 10_000).refusal is None
                admission.leave(number)
        assert refused[Refusal.RATE] > 10_000


class TestFairness:
    def test_a_newcomer_takes_a_place_from_who_holds_the_most(self):
        admission = admission_of(unfinished=4, unfinished_per_source=4)
        numbers = itertools.count()
        for _ in range(40):
            admission.enter(next(numbers), ("flood",), 0)
        for number in (1000, 1001):
            decision = admission.enter(number, ("neighbor" + str(number),), 0)
            assert decision.refusal is None
            assert all(gone < 1000 for gone, _ in decision.displaced)
        assert admission.unfinished <= 4

    def test_the_flood_takes_none_from_others(self):
        admission = admission_of(unfinished=6, unfinished_per_source=4)
        admission.enter(1, ("a",), 0)
        admission.enter(2, ("b",), 0)
        for number in range(10, 500):
            admission.enter(number, ("flood",), 0)
            assert {1, 2} <= set(admission._where)

    def test_among_equals_it_is_chance(self):
        """All places are taken by addresses with one connection each: a newcomer is let in, and one at random goes."""
        admission = admission_of(unfinished=100)
        numbers = itertools.count()
        while admission.unfinished < 100:
            number = next(numbers)
            admission.enter(number, (f"a{number}",), 0)
        stayed = 0
        for _ in range(300):
            number = next(numbers)
            decision = admission.enter(number, (f"a{number}",), 0)
            stayed += decision.refusal is None
            assert admission.unfinished <= 100
        assert stayed > 280

    def test_early(self):
        """Dropped before the places have run out: then there is always one for who comes next."""
        admission = admission_of(unfinished=100)
        dropped = []
        for number in range(1000):
            decision = admission.enter(number, (f"a{number}",), 0)
            if decision != Decision(None):
                dropped.append(admission.unfinished)
        assert 50 <= dropped[0] < 75
        assert admission.unfinished <= 100

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(("enter", "known", "begin", "finish", "leave"))),
            max_size=200,
        )
    )
    def test_the_books_are_right(self, events: list[tuple[str, str]]):
        limits = limited(
            total=12, per_source=6, unfinished=5, unfinished_per_source=3, handshakes=3, reserve=3, spare=OPEN
        )
        admission, numbers = Admission(limits, random.Random(5)), itertools.count()
        inside: dict[int, tuple[str, str]] = {}  # number: source, and waiting, begun, known or finished

        def pool(kind: str) -> list[str]:
            return [owner for owner, is_now in inside.values() if is_now == kind]

        for source, event in events:
            mine = [number for number, (owner, _) in inside.items() if owner == source]
            if event in ("enter", "known"):
                number = next(numbers)
                inside[number] = (source, "known" if event == "known" else "waiting")
                decision = admission.enter(number, (source,), 0, known=event == "known")
                for gone, why in decision.displaced:
                    loser, state = inside[gone]
                    assert state != "finished"
                    assert state != "known" or event == "known", "strangers take nothing of the reserve"
                    if why is Refusal.DISPLACED:
                        held = pool(state)
                        assert held.count(loser) == max(map(held.count, "abc")), "it is of who holds the most"
                    else:
                        assert loser == source
                    del inside[gone]
                if decision.refusal is not None:
                    del inside[number]
            elif mine and event == "begin":
                waiting = [number for number in mine if inside[number][1] == "waiting"]
                if waiting:
                    inside[waiting[0]] = (source, "begun")
                    gone = admission.begin_handshake(waiting[0])
                    if gone is not None:
                        assert inside[gone][1] == "begun"
                        del inside[gone]
            elif mine and event == "finish":
                admission.finish(mine[0])
                inside[mine[0]] = (source, "finished")
            elif mine:
                admission.leave(mine[0])
                admission.leave(mine[0])
                del inside[mine[0]]
            assert set(admission._where) == set(inside)
            assert admission.open == len(inside) <= limits.total
            assert admission.unfinished == len(inside) - len(pool("finished"))
            assert len(pool("waiting")) <= limits.unfinished
            assert len(pool("begun")) <= limits.handshakes
            assert len(pool("known")) <= limits.reserve
            unfinished = [owner for owner, state in inside.values() if state != "finished"]
            assert all(unfinished.count(owner) <= limits.unfinished_per_source for owner in "abc")
            owners = [owner for owner, _ in inside.values()]
            assert all(owners.count(owner) <= limits.per_source for owner in "abc")


class TestReserve:
    def test_strangers_take_none_of_it(self):
        admission = admission_of(total=40, unfinished=40, handshakes=40)
        for number in range(1000):
            admission.enter(number, (f"attacker{number}",), 0)
            admission.begin_handshake(number)
        assert admission.open == 30, "a quarter is kept"
        for number in range(1000, 1010):
            assert admission.enter(number, (f"agent{number}",), 0, known=True) == Decision(None)
        # And more than that: unfinished ones of strangers make room.
        decision = admission.enter(2000, ("agent",), 0, known=True)
        assert decision.refusal is None
        assert len(decision.displaced) == 1

    def test_it_is_shared_fairly(self):
        """Who was authenticated once and floods now loses its own places first."""
        admission = admission_of(reserve=8)
        admission.enter(1, ("agent",), 0, known=True)
        for number in range(10, 500):
            admission.enter(number, ("insider",), 0, known=True)
            assert 1 in admission._where
        assert len(admission._reserved) == 8


class TestMemory:
    def test_it_is_bounded(self):
        admission = admission_of(sources_remembered=10)
        for number in range(1000):
            admission.enter(number, source_path(f"2001:db8:{number:x}::1"), 0)
            admission.leave(number)
        assert len(admission._rates) == 10
        assert len(admission._prefix_rates) == 10
        assert not admission._open
        assert not admission._waiting._members

    def test_a_flood_does_not_push_out_what_is_known(self):
        admission = admission_of(sources_remembered=10, rate=Rate(1, 1))
        assert admission.enter(1, ("agent",), 0, known=True).refusal is None
        for number in range(10, 1000):
            admission.enter(number, (f"a{number}",), 0)
        assert admission.enter(2, ("agent",), 0, known=True).refusal is Refusal.RATE


class TestTotal:
    def test_a_newcomer_gets_in_while_nobodies_hold_every_place(self):
        admission = admission_of(total=8, unfinished=80, unfinished_per_source=4)
        for number in range(80):
            admission.enter(number, (f"attacker{number % 2}",), 0.0)
        assert admission.open == 6
        decision = admission.enter(800, ("newcomer",), 0.0)
        assert decision.refusal is None
        assert [why for _, why in decision.displaced] == [Refusal.DISPLACED]

    def test_those_who_are_authenticated_are_not_displaced(self):
        admission = admission_of(total=2)
        for number in range(2):
            admission.enter(number, ("good",), 0.0)
            admission.finish(number)
        assert admission.enter(2, ("newcomer",), 0.0) == Decision(Refusal.TOTAL)

    def test_fewer_than_configured_leave_room_for_everybody(self):
        limits = FrontLimits().within(256)
        assert (limits.total, limits.unfinished, limits.handshakes, limits.reserve) == (256, 128, 64, 64)
        assert FrontLimits().within(1).unfinished == 1


class TestNewcomers:
    """What docs/control-plane.md states: the chance of a newcomer's try beside attackers who do what they can.

    Each attacking address opens a connection as soon as it may. With `hello` they send a ClientHello
    and wait for the turn of their handshake, and then say nothing; else they say nothing at all. A newcomer's
    ClientHello comes after 0.1 s, and its handshake takes as long.
    """

    ROUND_TRIP_S = 0.1
    STEP_S = 0.003

    def chance(self, addresses: int, hello: bool, seconds: float = 15.0) -> float:
        rng = random.Random(11)
        limits = FrontLimits()
        admission = Admission(limits, rng)
        numbers = itertools.count()
        state: dict[int, tuple[str, float]] = {}  # number: "silent", "queued", "handshaking" since when
        newcomers = set[int]()
        tries = successes = 0
        # From a steady state on: the burst of each address is spent.
        for address in range(addresses):
            admission._bucket(admission._rates, f"a{address}", limits.newcomer_rate).tokens = rng.random()
        step = 0
        while step * self.STEP_S < seconds:
            step += 1
            now = step * self.STEP_S
            arrivals = [f"a{address}" for address in range(addresses) if rng.random() < 0.02]
            if step % 10 == 0:
                arrivals.append(f"new{step}")
            rng.shuffle(arrivals)
            for source in arrivals:
                number = next(numbers)
                is_new = source.startswith("new")
                tries += is_new and now > 5
                decision = admission.enter(number, (source,), now)
                for gone, _ in decision.displaced:
                    state.pop(gone, None)
                    newcomers.discard(gone)
                if decision.refusal is None:
                    state[number] = ("queued" if hello and not is_new else "silent", now)
                    if is_new:
                        newcomers.add(number)
            queued = [number for number, (what, _) in state.items() if what == "queued"]
            if queued:
                turn = rng.choice(queued)
                state[turn] = ("handshaking", now)
                victim = admission.begin_handshake(turn)
                if victim is not None:
                    del state[victim]
                    newcomers.discard(victim)
            for number, (what, since) in list(state.items()):
                age = now - since
                if number in newcomers and what == "silent" and age > self.ROUND_TRIP_S:
                    state[number] = ("queued", now)
                elif number in newcomers and what == "handshaking" and age > self.ROUND_TRIP_S:
                    successes += now > 5
                    admission.leave(number)
                    del state[number]
                    newcomers.discard(number)
                elif (what == "silent" and age > limits.hello_s) or age > limits.handshake_s:
                    admission.leave(number)
                    del state[number]
                    newcomers.discard(number)
        return successes / tries

    @pytest.mark.parametrize(
        ("addresses", "hello", "least"),
        [(300, False, 0.95), (300, True, 0.8), (1000, False, 0.85), (1000, True, 0.2)],
    )
    def test_the_chance_of_a_try(self, addresses: int, hello: bool, least: float):
        assert self.chance(addresses, hello) >= least


class TestWords:
    def test_what_an_operator_writes(self):
        changed = FrontLimits().changed(["per-source=2000", "rate=500/1000", "hello-s=1.5", "per-64=512"])
        assert (changed.per_source, changed.rate, changed.hello_s) == (2000, Rate(500, 1000), 1.5)
        assert changed.per_64 == 512
        assert changed.total == FrontLimits().total

    @pytest.mark.parametrize("word", ["", "total", "total=0", "total=x", "rate=5", "rate=0/5", "hello-s=nan", "x=1"])
    def test_what_is_none(self, word: str):
        with pytest.raises(OperatorError, match="limit"):
            FrontLimits().changed([word])
