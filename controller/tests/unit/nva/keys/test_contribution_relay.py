# SPDX-License-Identifier: Apache-2.0
"""The NVA's relay alone: what it takes from whom, and what it tells whom."""

from __future__ import annotations

import dataclasses

import pytest
from nvo3sec.domain.keys.contribution import ContributionRefused, End, Fault, KeyName, Pair, PeerProof
from nvo3sec.domain.keys.contribution.peers import HALVES_LIMIT
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.nva.keys import contribution_relay as peering
from nvo3sec.nva.keys.contribution_relay import PeerRelay, PlannedPair
from peer_world import DOMAIN, EPOCH, INCARNATIONS, PeerWorld

THERE = Tunnel("leaf1", "leaf2", Suite.CHASKEY12)
NAME_AT_SENDER = KeyName("leaf2", Suite.CHASKEY12, 7, End.SENDER)
NAME_AT_RECEIVER = KeyName("leaf1", Suite.CHASKEY12, 7, End.RECEIVER)


@pytest.fixture
def clock() -> list[float]:
    """What time it is (seconds)."""
    return [0.0]


@pytest.fixture
def relay(clock) -> PeerRelay:
    """leaf1 and leaf2 share a VN, leaf3 is alone; all are registered and have heard of the epoch."""
    made = PeerRelay(DOMAIN, lambda: clock[0])
    made.set_epoch(EPOCH)
    for name, peers in (("leaf1", ["leaf2"]), ("leaf2", ["leaf1"]), ("leaf3", [])):
        made.joined(name, INCARNATIONS[name], peers, [THERE])
        made.fetch(name)
    return made


def fault(what, *arguments) -> Fault | None:
    try:
        what(*arguments)
    except ContributionRefused as error:
        return error.fault
    return None


class TestPublishing:
    def test_is_told_to_those_who_share_a_vn_once(self, relay, world: PeerWorld):
        one = world.contribution("leaf1")
        assert relay.publish("leaf1", [one], ["leaf2"]) == {"leaf2"}
        update = relay.fetch("leaf2")
        assert update.epoch == EPOCH
        assert [(it.peer, it.incarnation, it.epoch) for it in update.contributions] == [
            ("leaf1", INCARNATIONS["leaf1"], EPOCH)
        ]
        assert update.contributions[0].contribution == one
        assert relay.fetch("leaf2") is None
        assert relay.fetch("leaf3") is None
        assert relay.publish("leaf1", [one], ["leaf2"]) == set(), "no news"

    def test_what_was_replaced_before_it_was_fetched_is_not_told(self, relay, world, clock):
        for number in range(1, 200):
            clock[0] += peering.PUBLISH_EVERY_S
            relay.publish("leaf1", [world.contribution("leaf1", expiry=int(world.now()) + number)], ["leaf2"])
        assert len(relay.fetch("leaf2").contributions) == 1
        assert not relay._news["leaf2"].contributions

    def test_a_surplus_is_refused_and_the_last_of_it_taken_later(self, relay, world, clock):
        made = [world.contribution("leaf1", expiry=int(world.now()) + number) for number in range(1, 60)]
        refused = [fault(relay.publish, "leaf1", [one], ["leaf2"]) for one in made]
        at_once = int(peering.PUBLISHED_AT_ONCE)
        assert refused == [None] * at_once + [Fault.LIMIT] * (len(made) - at_once)
        assert [one.contribution for one in relay.fetch("leaf2").contributions] == [made[at_once - 1]]
        assert relay.publish("leaf2", [world.contribution("leaf2")], ["leaf1"]) == {"leaf1"}, "nobody else waits"
        assert relay.surplus() == {}
        clock[0] += peering.PUBLISH_EVERY_S
        assert relay.surplus() == {"leaf1": (made[-1],)}
        relay.publish("leaf1", [made[-1]], ["leaf2"])
        assert [one.contribution for one in relay.fetch("leaf2").contributions] == [made[-1]]

    def test_what_is_of_no_use_is_not_relayed(self, relay, world):
        """Of another epoch, and no key is planned with it; when it is of use it is told."""
        old, other, new = (world.contribution("leaf1", epoch=epoch) for epoch in (EPOCH - 1, EPOCH + 1, EPOCH))
        relay.publish("leaf1", [old, other, new], ["leaf2"])
        assert [one.contribution for one in relay.fetch("leaf2").contributions] == [new]
        relay.set_epoch(EPOCH + 1)
        assert [one.contribution for one in relay.fetch("leaf2").contributions] == [other]

    def test_another_domain(self, relay, world):
        assert fault(relay.publish, "leaf1", [world.contribution("leaf1", domain="other.example")], []) is Fault.DOMAIN

    def test_a_proof_that_changes(self, relay):
        relay.plan(THERE, 7, PlannedPair(b"one", b"two"))
        relay.prove("leaf1", PeerProof(NAME_AT_SENDER, b"p" * 32))
        assert fault(relay.prove, "leaf1", PeerProof(NAME_AT_SENDER, b"q" * 32)) is Fault.CONFIRMATION
        assert [one.proof for one in relay.fetch("leaf2").proofs] == [b"p" * 32]

    def test_what_a_key_needs_is_told_although_its_agent_began_anew(self, relay, world):
        first, second = (world.contribution("leaf1", expiry=int(world.now()) + n) for n in (1, 2))
        relay.publish("leaf1", [first], ["leaf2"])
        relay.plan(THERE, 7, PlannedPair(first.name, b"two"))
        relay.joined("leaf1", INCARNATIONS["leaf1"], ["leaf2"], [THERE])
        relay.publish("leaf1", [second], ["leaf2"])
        assert {one.contribution.name for one in relay.fetch("leaf2").contributions} == {first.name, second.name}
        assert not relay.can_mix("leaf1", THERE, 7)
        relay.joined("leaf2", INCARNATIONS["leaf2"], ["leaf1"], [THERE])
        assert len(relay.fetch("leaf2").contributions) == 2, "and is told again"
        relay.forget(THERE, 7)
        relay.joined("leaf2", INCARNATIONS["leaf2"], ["leaf1"], [THERE])
        assert [one.contribution.name for one in relay.fetch("leaf2").contributions] == [second.name]

    def test_what_is_not_ones_own(self, relay, world):
        assert fault(relay.publish, "leaf1", [world.contribution("leaf2")], ["leaf2"]) is Fault.DEVICE
        old = world.contribution("leaf1", incarnation=b"\x77" * 16)
        assert fault(relay.publish, "leaf1", [old], ["leaf2"]) is Fault.INCARNATION
        foreign = world.contribution("leaf1", device="nvo3://other.example/nve/leaf1")
        assert fault(relay.publish, "leaf1", [foreign], ["leaf2"]) is Fault.DEVICE
        assert relay.fetch("leaf2") is None

    def test_too_much(self, relay, world):
        many = [world.contribution("leaf1", expiry=int(world.now()) + n) for n in range(1, HALVES_LIMIT + 2)]
        assert fault(relay.publish, "leaf1", many, ["leaf2"]) is Fault.LIMIT
        long = dataclasses.replace(many[0], signature=bytes(5000))
        assert fault(relay.publish, "leaf1", [long], ["leaf2"]) is Fault.SIZE
        garbage = dataclasses.replace(many[0], statement=b"garbage")
        assert fault(relay.publish, "leaf1", [garbage], ["leaf2"]) is Fault.MALFORMED
        assert relay.fetch("leaf2") is None

    def test_without_a_registration(self, relay, world):
        assert fault(relay.publish, "leaf9", [], []) is Fault.INCARNATION
        relay.removed("leaf1")
        assert fault(relay.publish, "leaf1", [world.contribution("leaf1")], ["leaf2"]) is Fault.INCARNATION

    def test_who_is_removed_is_told_nothing_and_nothing_is_told_of_it(self, relay, world):
        relay.publish("leaf1", [world.contribution("leaf1")], ["leaf2"])
        relay.removed("leaf1")
        assert relay.fetch("leaf2").contributions == ()
        relay.publish("leaf2", [world.contribution("leaf2")], ["leaf1"])
        assert relay.fetch("leaf1") is None

    def test_who_comes_later_hears_of_those_before(self, relay, world):
        relay.publish("leaf1", [world.contribution("leaf1")], ["leaf2"])
        assert relay.meets("leaf3", ["leaf1"])
        assert [one.peer for one in relay.fetch("leaf3").contributions] == ["leaf1"]
        assert not relay.meets("leaf3", ["leaf1"]), "that is no news"

    def test_much_comes_in_parts(self, relay, world, monkeypatch):
        monkeypatch.setattr(peering, "CONTRIBUTIONS_AT_ONCE", 1)
        two = [world.contribution("leaf1", expiry=int(world.now()) + n) for n in (1, 2)]
        relay.publish("leaf1", two, ["leaf2"])
        assert [len(relay.fetch("leaf2").contributions) for _ in two] == [1, 1]
        assert relay.fetch("leaf2") is None

    def test_a_new_epoch_is_told_to_all(self, relay):
        assert relay.set_epoch(EPOCH + 1) == {"leaf1", "leaf2", "leaf3"}
        assert relay.fetch("leaf3").epoch == EPOCH + 1
        assert relay.set_epoch(EPOCH + 1) == set()

    def test_nothing_is_asked_for_while_the_nva_makes_the_keys_alone(self, relay, world):
        relay.is_asking = False
        relay.set_epoch(EPOCH + 1)
        assert relay.fetch("leaf1") is None
        relay.is_asking = True
        assert relay.fetch("leaf1").epoch == EPOCH + 1


class TestPairs:
    def test_of_the_epoch_that_is_asked_for(self, relay, world):
        assert relay.pair(THERE, EPOCH) is None
        one, two = world.contribution("leaf1"), world.contribution("leaf2")
        relay.publish("leaf1", [one], ["leaf2"])
        assert relay.pair(THERE, EPOCH) is None
        relay.publish("leaf2", [two], ["leaf1"])
        assert relay.pair(THERE, EPOCH) == PlannedPair(one.name, two.name)
        assert relay.pair(THERE, EPOCH + 1) is None

    def test_of_what_was_said_in_this_session(self, relay, world):
        for name, other in (("leaf1", "leaf2"), ("leaf2", "leaf1")):
            relay.publish(name, [world.contribution(name)], [other])
        relay.joined("leaf1", INCARNATIONS["leaf1"], ["leaf2"], [THERE])
        assert relay.pair(THERE, EPOCH) is None, "the agent may have begun anew"

    def test_each_end_is_told_from_its_side(self, relay):
        relay.plan(THERE, 7, PlannedPair(b"one", b"two"))
        assert relay.pair_of("leaf1", THERE, 7) == Pair(b"one", b"two")
        assert relay.pair_of("leaf2", THERE, 7) == Pair(b"two", b"one")
        relay.forget(THERE, 7)
        assert relay.pair_of("leaf1", THERE, 7) is None


class TestProofs:
    @pytest.fixture
    def planned(self, relay) -> PeerRelay:
        relay.plan(THERE, 7, PlannedPair(b"one", b"two"))
        return relay

    def test_go_to_the_other_end_under_its_name(self, planned):
        assert planned.prove("leaf2", PeerProof(NAME_AT_RECEIVER, b"r" * 32)) == {"leaf1"}
        assert planned.fetch("leaf1").proofs == (PeerProof(NAME_AT_SENDER, b"r" * 32),)
        assert planned.fetch("leaf1") is None
        assert planned.has_proved(THERE, 7, End.RECEIVER)
        assert not planned.has_proved(THERE, 7, End.SENDER)

    def test_of_a_key_that_there_is_not(self, planned):
        for name in (
            KeyName("leaf1", Suite.CHASKEY12, 8, End.RECEIVER),
            KeyName("leaf3", Suite.CHASKEY12, 7, End.RECEIVER),
            KeyName("leaf1", Suite.ASCON_AEAD128, 7, End.RECEIVER),
            KeyName("leaf1", Suite.CHASKEY12, 7, End.SENDER),
        ):
            assert planned.prove("leaf2", PeerProof(name, b"r" * 32)) == set()
        assert planned.prove("leaf3", PeerProof(NAME_AT_RECEIVER, b"r" * 32)) == set(), "nor of somebody else's"
        assert not planned._proofs

    def test_size(self, planned):
        assert fault(planned.prove, "leaf2", PeerProof(NAME_AT_RECEIVER, b"r" * 31)) is Fault.SIZE

    def test_a_receivers_outlives_its_agent_and_a_senders_does_not(self, planned):
        planned.prove("leaf2", PeerProof(NAME_AT_RECEIVER, b"r" * 32))
        planned.prove("leaf1", PeerProof(NAME_AT_SENDER, b"s" * 32))
        for name in ("leaf1", "leaf2"):
            planned.joined(name, INCARNATIONS[name], [], [THERE])
        assert planned.has_proved(THERE, 7, End.RECEIVER)
        assert not planned.has_proved(THERE, 7, End.SENDER)
        assert planned.fetch("leaf1").proofs == (PeerProof(NAME_AT_SENDER, b"r" * 32),), "and is told again"

    def test_go_with_their_key(self, planned):
        planned.prove("leaf2", PeerProof(NAME_AT_RECEIVER, b"r" * 32))
        planned.forget(THERE, 7)
        assert not planned._proofs
        assert not planned._pairs
        assert planned.fetch("leaf1").proofs == ()
