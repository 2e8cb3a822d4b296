# SPDX-License-Identifier: Apache-2.0
"""The life of SAs: single stories, and a machine that plays both switches and restarts things at random."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nvo3sec.domain.keys.sa import (
    Direction,
    Dropped,
    Expired,
    Held,
    KeyLimits,
    Late,
    NeedKey,
    NeedTurn,
    Planned,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    Rotate,
    SaState,
    SenderDown,
    SenderRead,
    SenderUp,
    Switched,
    Tick,
    Turn,
    TurnGiven,
    Used,
    UsedUp,
    next_deadline,
    step,
)
from nvo3sec.domain.keys.spi import phase_of
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Suite

TUNNEL = Tunnel("leaf1", "leaf2", Suite.CHASKEY12)
A, B = b"a" * 16, b"b" * 16
GRACE, CONFIRM, ROLLOUT, SOFT, HARD = 5.0, 10.0, 15.0, 100.0, 120.0
LIMITS = KeyLimits(SOFT, HARD, 0.0, GRACE, CONFIRM, ROLLOUT, 100, 10_000, 200, 20_000)


class Story:
    """Drives one direction and answers its wish for keys."""

    def __init__(self, answer: bool = True, turns: bool = True) -> None:
        self.direction = Direction(TUNNEL, LIMITS)
        self.now = 1000.0
        self.effects: list[object] = []
        self.generation = 0
        self.answer = answer
        self.turns = turns

    def __call__(self, *events: object) -> Story:
        for event in events:
            self.direction, effects = step(self.direction, event, self.now)
            self.effects += effects
            for effect in effects:
                if isinstance(effect, NeedKey) and self.answer:
                    self.generation += 1
                    spi = effect.phase << 31 | self.generation
                    self(Planned(spi, self.generation, self.now + SOFT, self.now + HARD, 1))
                if isinstance(effect, NeedTurn) and self.turns:
                    self(TurnGiven())
        return self

    def after(self, seconds: float) -> Story:
        self.now += seconds
        return self(Tick())

    def states(self) -> list[tuple[int, str]]:
        return sorted((sa.generation, sa.state.value) for sa in self.direction.sas)

    def of(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def confirm(self) -> Story:
        self(ReceiverRead(frozenset(sa.spi for sa in self.direction.sas)))
        current = self.direction.current
        return self(SenderRead(current.spi if current else None))


def up() -> Story:
    return Story()(SenderUp(A), ReceiverUp(B))


def established() -> Story:
    return up().confirm()


class TestFirstKey:
    def test_nothing_before_both_ends_are_there(self):
        assert Story()(SenderUp(A)).of(NeedKey) == []
        assert Story()(ReceiverUp(B)).of(NeedKey) == []

    def test_receive_before_send(self):
        story = up()
        assert story.states() == [(1, "planned")]
        assert story.direction.current is None
        story(SenderRead(None))
        assert story.direction.current is None
        story(ReceiverRead(frozenset({1})))
        assert story.states() == [(1, "sending")]
        assert not story.direction.is_established
        story(SenderRead(1))
        assert story.direction.is_established

    def test_a_late_receiver_is_reported_once(self):
        story = up().after(CONFIRM + 1).after(1)
        assert story.of(Late) == [Late(1, "receiver")]

    def test_a_late_sender_is_reported_once(self):
        story = up()(ReceiverRead(frozenset({1}))).after(CONFIRM + 1).after(1)
        assert story.of(Late) == [Late(1, "sender")]

    def test_a_confirmed_sender_that_leaves_is_not_late(self):
        story = established().after(CONFIRM + 1)
        assert story.of(Late) == []


class TestRotation:
    def test_make_before_break(self):
        story = established().after(2)(Rotate())
        assert story.states() == [(1, "sending"), (2, "planned")]
        assert phase_of(story.direction.planned.spi) != phase_of(story.direction.current.spi)
        story(ReceiverRead(frozenset(sa.spi for sa in story.direction.sas)))
        assert story.states() == [(1, "draining"), (2, "sending")]
        story.after(GRACE * 10)
        assert story.states() == [(1, "draining"), (2, "sending")], "the sender has not confirmed"
        story(SenderRead(story.direction.current.spi)).after(GRACE - 1)
        assert story.states() == [(1, "draining"), (2, "sending")]
        story.after(1)
        assert story.states() == [(2, "sending")]

    def test_by_age(self):
        story = established().after(SOFT - 1)
        assert story.states() == [(1, "sending")]
        assert story.after(1).states() == [(1, "sending"), (2, "planned")]

    def test_not_more_than_one_a_second(self):
        story = established()(Rotate())
        assert story.states() == [(1, "sending")]
        assert story.after(1).states() == [(1, "sending"), (2, "planned")]

    def test_a_ring_in_use_is_not_reused(self):
        story = established().after(2)(Rotate()).confirm().after(2)(Rotate())
        assert story.states() == [(1, "draining"), (2, "sending")]
        assert story.after(GRACE).states() == [(2, "sending"), (3, "planned")]

    def test_no_rotation_without_the_receiver(self):
        story = established()(ReceiverDown()).after(SOFT + 1)
        assert story.states() == [(1, "sending")]

    def test_no_answer_means_the_old_key_until_its_hard_limit(self):
        story = established().after(SOFT)
        assert story.states() == [(1, "sending"), (2, "planned")]
        story.after(HARD - SOFT - 1)
        assert story.direction.current.generation == 1
        story.after(1)
        assert story.direction.current is None
        assert [e.spi for e in story.of(Expired)] == [1]

    def test_a_sender_told_late_is_not_late_yet(self):
        story = up().after(CONFIRM + 1)(ReceiverRead(frozenset({1})))
        assert story.of(Late) == [Late(1, "receiver")]
        assert story.after(CONFIRM).of(Late) == [Late(1, "receiver"), Late(1, "sender")]


class TestTurns:
    """A rotation waits for its turn; a first key does not."""

    def test_a_first_key_needs_none(self):
        story = Story(turns=False)(SenderUp(A), ReceiverUp(B))
        assert story.states() == [(1, "planned")]
        assert story.of(NeedTurn) == []

    def test_asks_once_and_rotates_when_it_is_given(self):
        story = Story(turns=False)(SenderUp(A), ReceiverUp(B)).confirm().after(SOFT).after(1)
        assert story.of(NeedTurn) == [NeedTurn(1000.0 + SOFT)]
        assert story.states() == [(1, "sending")]
        story(TurnGiven())
        assert story.states() == [(1, "sending"), (2, "planned")]
        assert story.direction.turn is Turn.TAKEN

    def test_is_over_when_both_ends_have_confirmed(self):
        story = established().after(SOFT)
        story(ReceiverRead(frozenset(sa.spi for sa in story.direction.sas)))
        assert story.direction.turn is Turn.TAKEN
        assert story.confirm().direction.turn is Turn.NONE

    def test_is_over_at_the_deadline_and_what_was_begun_may_still_end_well(self):
        story = established().after(SOFT).after(ROLLOUT - 1)
        assert story.direction.turn is Turn.TAKEN
        assert story.of(Late) == [Late(0x80000002, "receiver")]
        assert story.after(1).direction.turn is Turn.NONE
        assert story.confirm().states() == [(1, "draining"), (2, "sending")]
        assert len(story.of(Late)) == 1

    def test_a_turn_that_comes_too_late_is_given_back(self):
        story = Story(turns=False)(SenderUp(A), ReceiverUp(B)).confirm().after(SOFT)(ReceiverDown(), TurnGiven())
        assert story.direction.turn is Turn.NONE
        assert story.states() == [(1, "sending")]
        story(ReceiverUp(B))
        assert len(story.of(NeedTurn)) == 2, "it asks again"

    def test_a_key_that_ends_while_it_waits_makes_its_successor_a_first_key(self):
        story = Story(turns=False)(SenderUp(A), ReceiverUp(B)).confirm().after(SOFT).after(HARD - SOFT)
        assert story.states() == [(2, "planned")]
        assert story(TurnGiven()).direction.turn is Turn.NONE

    def test_an_operator_waits_since_he_asked(self):
        story = Story(turns=False)(SenderUp(A), ReceiverUp(B)).confirm().after(2)(Rotate())
        assert story.of(NeedTurn) == [NeedTurn(1002.0)]


class TestUse:
    """What was sent with a key limits it as age does."""

    @pytest.mark.parametrize("used", [(100, 0), (0, 10_000)])
    def test_soft(self, used):
        story = established().after(2)(Used(1, 99, 9_999))
        assert story.states() == [(1, "sending")]
        story(Used(1, *used))
        assert story.states() == [(1, "sending"), (2, "planned")]
        story(Used(1, *used)).confirm().after(GRACE)(Used(2, 1, 1))
        assert story.states() == [(2, "sending")], "and not a second time because of the same key"
        assert story.after(5).states() == [(2, "sending")]

    @pytest.mark.parametrize("used", [(200, 0), (0, 20_000)])
    def test_hard(self, used):
        assert established().after(2)(Used(1, 199, 19_999)).direction.current is not None
        story = established().after(2)(Used(1, *used))
        assert story.of(UsedUp) == [UsedUp(1)]
        assert story.direction.current is None, "the sender stops, whether or not there is another key"
        assert story.states() == [(1, "draining"), (2, "planned")]
        assert story.of(NeedTurn) == [], "and nobody is waited for"
        story(Used(1, *used))
        assert story.of(UsedUp) == [UsedUp(1)]
        assert story.after(GRACE).states() == [(2, "planned")]

    @pytest.mark.parametrize("used", [(200, 0), (0, 20_000)])
    def test_at_most_hard_is_soft_for_as_long_as_a_rotation_takes(self, used):
        story = established().after(2)(Used(1, *used, at_most=True))
        assert story.states() == [(1, "sending"), (2, "planned")]
        assert story.of(UsedUp) == []
        story.after(LIMITS.rollout_s - 0.5)(Used(1, *used, at_most=True))
        assert story.of(UsedUp) == []
        story.after(0.5)(Used(1, *used, at_most=True))
        assert story.of(UsedUp) == [UsedUp(1)]
        assert story.direction.current is None

    def test_hard_in_the_middle_of_a_rotation(self):
        story = established().after(2)(Rotate())(Used(1, 200, 0))
        assert story.states() == [(1, "draining"), (2, "planned")]
        assert story.confirm().states() == [(1, "draining"), (2, "sending")]

    def test_a_sender_that_goes_on_with_an_old_key_is_not_heard(self):
        story = established().after(2)(Rotate())
        story(ReceiverRead(frozenset(sa.spi for sa in story.direction.sas)))
        assert story.states() == [(1, "draining"), (2, "sending")]
        story(Used(1, 200, 0))
        assert story.of(UsedUp) == [UsedUp(1)]
        assert story.after(GRACE).states() == [(2, "sending")]

    def test_no_limit_no_end(self):
        limits = replace(LIMITS, soft_packets=None, soft_bytes=None, hard_packets=None, hard_bytes=None)
        assert not limits.is_worn(2**64, 2**64)
        assert not limits.is_used_up(2**64, 2**64)

    @pytest.mark.parametrize("spi", [2, 0x80000002])
    def test_of_a_key_that_is_not_in_use_says_nothing(self, spi):
        story = established().after(2)(Rotate())(Used(spi, 200, 0))
        assert story.states() == [(1, "sending"), (2, "planned")]
        assert story.of(UsedUp) == []


class TestIncarnation:
    @pytest.mark.parametrize("event", [SenderUp(b"c" * 16), ReceiverUp(b"c" * 16)])
    def test_a_new_one_ends_every_key_at_once(self, event):
        story = established().after(2)(Rotate()).confirm()
        before = {sa.spi for sa in story.direction.sas}
        story.after(2)(event)
        assert story.of(Dropped)
        assert not before & {sa.spi for sa in story.direction.sas}
        assert story.states() == [(3, "planned")]

    def test_the_same_one_keeps_them(self):
        story = established()(SenderUp(A, Held(1, 0, 50.0)), ReceiverUp(B, (Held(1, 1, 50.0),)))
        assert story.states() == [(1, "sending")]
        assert story.of(Dropped) == []

    def test_a_key_asked_for_before_is_not_taken_after(self):
        story = Story(answer=False)(SenderUp(A), ReceiverUp(B))
        assert story.direction.waiting
        story.now += 2
        gone = story.direction.receiver._replace(present=False)
        story.direction = story.direction._replace(receiver=gone)
        story(SenderUp(b"c" * 16), Planned(5, 5, story.now + 1, story.now + 2, 1))
        assert story.direction.sas == ()


class TestInheritance:
    SENDER = SenderUp(A, Held(0x80000009, 0, 60.0))
    RECEIVER = ReceiverUp(B, (Held(0x80000009, 9, 60.0), Held(0x00000008, 8, 60.0)))

    @pytest.mark.parametrize("order", [(SENDER, RECEIVER), (RECEIVER, SENDER)], ids=["sender first", "receiver first"])
    def test_traffic_goes_on_until_new_keys_are_there(self, order):
        story = Story()
        story.generation = 20
        story(*order)
        assert story.direction.current.spi == 0x80000009
        assert story.direction.current.generation == 9
        assert {sa.spi for sa in story.direction.sas} >= {0x80000009}
        story.after(GRACE)
        assert [sa.spi for sa in story.direction.sas] == [0x80000009], "what nobody sends with drains"
        story.after(60 - (HARD - SOFT) - GRACE - 1)
        assert story.direction.planned is None, "it is not older than it is"
        story.after(1)
        assert phase_of(story.direction.planned.spi) == 0
        story.confirm().after(GRACE)
        assert story.states() == [(21, "sending")]

    @pytest.mark.parametrize(
        "order",
        [(SENDER, SenderDown(), RECEIVER, SENDER), (RECEIVER, ReceiverDown(), SENDER, RECEIVER)],
        ids=["sender first", "receiver first"],
    )
    def test_one_that_goes_again_before_the_other_has_come(self, order):
        story = Story()
        for event in order:
            story(event)
            current = story.direction.current
            assert current is None or current.spi == 0x80000009, "the sender is never told to send with another"
            assert current is not None or isinstance(event, ReceiverUp | ReceiverDown)
        assert story.of(NeedKey) == []

    @pytest.mark.parametrize("order", [(SENDER, RECEIVER), (RECEIVER, SENDER)], ids=["sender first", "receiver first"])
    def test_jitter_brings_the_replacement_forward(self, order):
        story = Story()(*(replace(event, jitter_s=7.0) for event in order))
        assert story.after(60 - (HARD - SOFT) - 8).direction.planned is None
        assert story.after(1).direction.planned is not None

    def test_one_near_its_end_is_replaced_at_once(self):
        story = Story()(SenderUp(A, Held(9, 0, 5.0)), ReceiverUp(B, (Held(9, 9, 5.0),)))
        assert story.direction.current.spi == 9
        assert story.direction.planned is not None

    def test_a_sending_half_alone_is_worth_nothing(self):
        story = Story()(self.SENDER, ReceiverUp(B))
        assert 0x80000009 not in {sa.spi for sa in story.direction.sas}

    def test_a_sender_keeps_its_key_while_the_receiver_is_silent(self):
        story = Story()(self.SENDER)
        assert story.direction.current.spi == 0x80000009

    def test_the_switch_limit_still_counts(self):
        story = Story()(self.SENDER).after(60)
        assert story.direction.sas == ()


class Machine(RuleBasedStateMachine):
    """Two switches, an NVA between them, and bad luck. The invariants are the promises of the design."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = Direction(TUNNEL, LIMITS)
        self.now = 0.0
        self.generation = 0
        self.boots = 0
        self.incarnations = {"sender": b"", "receiver": b""}
        self.receives: set[int] = set()
        self.sends: int | None = None
        self.told_to_send: set[int] = set()
        self.read_by_receiver: set[int] = set()
        self.issued: set[tuple[int, int]] = set()
        self.made_for: dict[int, tuple[bytes, bytes]] = {}
        self.hard_at: dict[int, float] = {}
        self.turn_asked = False
        self.turn_given = False
        self.used: dict[int, int] = {}
        self.used_up: set[int] = set()

    def feed(self, event: object) -> None:
        self.direction, effects = step(self.direction, event, self.now)
        for effect in effects:
            if isinstance(effect, Switched):
                assert effect.spi in self.read_by_receiver, "the receiver had not confirmed"
                self.told_to_send.add(effect.spi)
            if isinstance(effect, NeedTurn):
                assert effect.due_at <= self.now
                self.turn_asked = True
            if isinstance(effect, UsedUp):
                assert self.used[effect.spi] >= LIMITS.hard_packets
                self.used_up.add(effect.spi)
            if isinstance(effect, NeedKey):
                assert self.direction.current is None or self.turn_given, "it was not its turn"
                self.generation += 1
                spi = effect.phase << 31 | self.generation
                assert (spi, self.generation) not in self.issued
                self.issued.add((spi, self.generation))
                self.made_for[spi] = (self.incarnations["sender"], self.incarnations["receiver"])
                self.hard_at[spi] = self.now + HARD
                self.feed(Planned(spi, self.generation, self.now + SOFT, self.now + HARD, 1))
        if self.direction.turn is not Turn.TAKEN:
            self.turn_given = False

    def boot(self) -> bytes:
        self.boots += 1
        return self.boots.to_bytes(16, "big")

    @initialize()
    def start(self):
        for end in ("sender", "receiver"):
            self.incarnations[end] = self.boot()
        self.feed(SenderUp(self.incarnations["sender"]))
        self.feed(ReceiverUp(self.incarnations["receiver"]))

    def give_turn(self):
        self.turn_given = True
        self.feed(TurnGiven())
        self.turn_given = self.direction.turn is Turn.TAKEN

    @precondition(lambda self: self.turn_asked)
    @rule()
    def turn_is_given(self):
        self.turn_asked = False
        self.give_turn()

    @precondition(lambda self: self.sends is not None)
    @rule(packets=st.sampled_from([1, 50, 100, 200]))
    def sender_sends(self, packets):
        self.used[self.sends] = self.used.get(self.sends, 0) + packets
        self.feed(Used(self.sends, self.used[self.sends], 0))

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 6.0, 20.0, 99.0]))
    def time_goes_by(self, seconds):
        self.now += seconds
        self.feed(Tick())

    @rule()
    def tick_at_the_deadline(self):
        at = next_deadline(self.direction, self.now)
        before = self.now + (1e6 if at is None else (at - self.now) * 0.999)
        assert step(self.direction, Tick(), before)[0] == self.direction, "nothing is due before it"
        if at is not None:
            assert at > self.now
            self.now = at
            self.feed(Tick())

    @precondition(lambda self: self.direction.receiver.present)
    @rule()
    def receiver_reconciles(self):
        self.receives = {sa.spi for sa in self.direction.sas}
        self.read_by_receiver |= self.receives
        self.feed(ReceiverRead(frozenset(self.receives)))

    @precondition(lambda self: self.direction.sender.present)
    @rule()
    def sender_reconciles(self):
        current = self.direction.current
        self.sends = current.spi if current else None
        self.feed(SenderRead(self.sends))

    @rule()
    def operator_rotates(self):
        self.feed(Rotate())

    @precondition(lambda self: self.direction.receiver.present and self.direction.sender.present)
    @rule(both=st.booleans(), seconds=st.sampled_from([1.0, 2.0, 6.0]))
    def rotation_gets_on(self, both, seconds):
        """Long undisturbed sequences are rare among random ones; this is most of one."""
        self.feed(Rotate())
        self.now += seconds
        self.feed(Tick())
        self.give_turn()
        self.receiver_reconciles()
        if both:
            self.sender_reconciles()

    @rule(fresh=st.sampled_from([False, False, True]))
    def receiver_registers(self, fresh):
        if fresh:
            self.incarnations["receiver"] = self.boot()
            self.receives = set()
        held = tuple(Held(spi, spi & 0x7FFFFFFF, 50.0) for spi in sorted(self.receives))
        self.feed(ReceiverUp(self.incarnations["receiver"], held))

    @rule(fresh=st.sampled_from([False, False, True]))
    def sender_registers(self, fresh):
        if fresh:
            self.incarnations["sender"] = self.boot()
            self.sends = None
        held = None if self.sends is None else Held(self.sends, 0, 50.0)
        self.feed(SenderUp(self.incarnations["sender"], held))

    @rule()
    def receiver_leaves(self):
        self.feed(ReceiverDown())

    @invariant()
    def one_key_of_each_phase(self):
        phases = [sa.phase for sa in self.direction.sas]
        assert len(phases) == len(set(phases))

    @invariant()
    def one_key_to_send_with(self):
        assert sum(sa.state is SaState.SENDING for sa in self.direction.sas) <= 1
        assert sum(sa.state is SaState.PLANNED for sa in self.direction.sas) <= 1

    @invariant()
    def keys_belong_to_the_incarnations(self):
        for sa in self.direction.sas:
            assert self.made_for[sa.spi] == (self.incarnations["sender"], self.incarnations["receiver"])

    @invariant()
    def what_is_sent_can_be_received(self):
        current = self.direction.current
        if current is not None:
            assert current.spi in self.told_to_send

    @invariant()
    def what_is_used_up_is_never_sent_with_again(self):
        current = self.direction.current
        assert current is None or self.used.get(current.spi, 0) < LIMITS.hard_packets

    @invariant()
    def a_turn_is_held_only_for_a_key_that_is_not_confirmed(self):
        d = self.direction
        if d.turn is Turn.TAKEN:
            newest = d.planned or d.current
            assert newest is not None
            assert not newest.confirmed
            assert self.now < newest.planned_at + ROLLOUT

    @invariant()
    def nothing_outlives_its_hard_limit(self):
        assert all(sa.hard_at > self.now for sa in self.direction.sas)

    @invariant()
    def a_key_with_which_the_sender_sends_is_still_received(self):
        if self.sends is None or not self.direction.sender.present:
            return
        fits = self.made_for[self.sends] == (self.incarnations["sender"], self.incarnations["receiver"])
        if fits and self.sends not in {sa.spi for sa in self.direction.sas} | self.used_up:
            assert self.now >= self.hard_at[self.sends], "only its own hard limit may take it away"


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
