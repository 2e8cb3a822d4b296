# SPDX-License-Identifier: Apache-2.0
"""The key service with a store under it: what is durable before what, restarts, membership, and turns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from key_world import LIFE, SUITE, World, make_domain, nves
from nvo3sec.domain.keys.derivation import KeyContext, hkdf_info
from nvo3sec.domain.keys.sa import Held, ReceiverUp, SaState, SenderUp, Turn, Used
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.keys.spi import LAST_GENERATION
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Level
from nvo3sec.errors import DerivationError
from nvo3sec.nva.keys import service as keys_module
from nvo3sec.nva.keys.epochs import Epochs
from nvo3sec.nva.keys.generations import TRUSTED_LEAD, Generations
from nvo3sec.nva.keys.service import GENERATION_ZERO_S
from nvo3sec.nva.store import DropEpoch, MemoryStore, PutEpoch, SetGeneration, StoreUnavailable
from nvo3sec.nva.store.records import Stored


def started(count: int = 3, **life) -> World:
    world = World(nves(count), **life)
    world.start(MemoryStore(b"h" * 16))
    world.settle(world.register(*nves(count)))
    world.assert_traffic()
    return world


def rotate(world: World, tunnels=None) -> None:
    world.keys.rotate(world.keys.directions if tunnels is None else tunnels, world.now)
    world.settle()


def begun_anew(store: MemoryStore) -> MemoryStore:
    """The same store in its second term: without what was secret in its first."""
    load, first = store.load, 2 << 20

    def loaded() -> Stored:
        stored = load()
        epochs = tuple(one for one in stored.epochs if one[0] >= first)
        return replace(stored, term=2, epochs=epochs, last_epoch=max(stored.last_epoch, first))

    store.load = loaded
    return store


class TestDurability:
    def test_epoch_and_marks_are_stored_before_a_key_leaves(self):
        world = started()  # every key that leaves is checked by the world
        first = world.store.commits[0]
        assert [type(change) for change in first].count(PutEpoch) == 1
        assert {change.receiver for c in world.store.commits for change in c if isinstance(change, SetGeneration)}

    def test_a_store_that_fails_hands_out_nothing(self):
        world = World(nves(2))
        world.start(MemoryStore(b"h" * 16))
        world.register("nve0", "nve1")
        world.store.fail = StoreUnavailable("no space left")
        for _ in range(2):
            for name in nves(2):
                with pytest.raises(StoreUnavailable):
                    world.keys.for_nve(name, world.now)
        world.store.fail = None
        world.settle(nves(2))
        world.assert_traffic()

    def test_what_was_stored_before_is_still_handed_out_while_nothing_is_new(self):
        world = started()
        world.store.fail = StoreUnavailable("no space left")
        world.settle(nves(3))
        world.assert_traffic()

    def test_a_rotation_of_many_keys_costs_few_commits(self):
        world = started(12)
        before = len(world.store.commits)
        world.after(2)
        rotate(world)
        assert (
            len({sa.epoch for d in world.keys.directions.values() for sa in d.sas if sa.planned_at == world.now}) == 1
        )
        assert len(world.store.commits) == before + 1

    def test_keys_replaced_one_by_one_cost_hardly_any(self):
        world = started(6)
        before = len(world.store.commits)
        world.after(2 * 3600)
        assert all(d.last_planned_at > 4000 for d in world.keys.directions.values()), "all were replaced, twice"
        assert len(world.store.commits) - before < 30

    def test_an_epoch_is_destroyed_with_its_last_key(self):
        world = started()
        (old,) = world.store.epochs
        world.after(2)
        rotate(world)
        assert set(world.store.epochs) == {old, old + 1}
        world.after(LIFE.grace_s + 2)
        assert set(world.store.epochs) == {old + 1}
        assert any(isinstance(change, DropEpoch) for change in world.store.commits[-1])
        with pytest.raises(DerivationError, match=f"epoch {old}"):
            world.keys._epochs.key(old)

    def test_though_nobody_fetches(self):
        world = started()
        (old,) = world.store.epochs
        world.after(2)
        rotate(world)
        world.up.clear()
        world.after(LIFE.grace_s + 2)
        assert set(world.store.epochs) == {old + 1}

    def test_epochs_turn_over_with_age(self):
        world = started()
        first = set(world.store.epochs)
        world.after(2 * 3600)
        assert not first & set(world.store.epochs)

    def test_rotations_between_which_no_key_is_made_cost_no_epoch(self):
        world = started()
        world.after(2)
        for name in nves(3):
            world.leave(name)
        for _ in range(100):
            rotate(world)
        world.settle(world.register(*nves(3)))
        assert set(world.ledger.of_epoch) == {1, 2}


class TestRestart:
    def test_nothing_is_replaced_because_of_it(self):
        world = started(4)
        world.after(100)
        before = world.sending()
        store = world.store.store
        for _ in range(3):
            world.start(store)
            world.settle(world.register(*nves(4)))
            world.after(60)
            assert world.sending() == before
            world.assert_traffic()

    def test_what_is_inherited_is_replaced_in_time_spread_by_jitter(self):
        world = started(6)
        world.start(world.store.store)
        world.settle(world.register(*nves(6)))
        directions = world.keys.directions.values()
        assert all(d.current.inherited for d in directions)
        soft = [d.current.soft_at for d in directions]
        assert all(world.now + 3600 - 300 - 1 <= at <= world.now + 3600 for at in soft)
        assert max(soft) - min(soft) > 100
        world.after(3600)
        world.assert_traffic()
        assert not any(d.current.inherited for d in world.keys.directions.values())

    def test_a_half_done_rotation_is_undone(self):
        world = started(2)
        world.after(2)
        before = world.sending()
        world.keys.rotate(world.keys.directions, world.now)
        for name in nves(2):
            world.fetch(name, says=False)  # both receive under the new keys and nobody sends with them
        assert world.sending() == before
        assert all(len(by_spi) == 2 for s in world.switches.values() for by_spi in s.receive.values())
        world.start(world.store.store)
        world.settle(world.register(*nves(2)))
        world.after(LIFE.grace_s + 1)
        assert world.sending() == before
        assert all(len(by_spi) == 1 for s in world.switches.values() for by_spi in s.receive.values())
        world.assert_traffic()

    def test_the_epoch_goes_on_and_generations_go_on_above(self):
        world = started(2)
        epochs, marks = dict(world.store.epochs), dict(world.store.marks)
        world.start(world.store.store)
        world.boot("nve0")
        world.settle(world.register(*nves(2)))
        world.after(LIFE.grace_s + 1)
        assert world.store.epochs == epochs
        assert all(sa.generation > marks[d.tunnel.receiver] for d in world.keys.directions.values() for sa in d.sas)

    @pytest.mark.parametrize("elsewhere_s", [3600, -5000], ids=["it is old", "the clock went back"])
    def test_an_old_epoch_does_not_go_on(self, elsewhere_s):
        world = started(2)
        epochs = set(world.store.epochs)
        world.wall += elsewhere_s
        world.start(world.store.store)
        world.boot("nve0")
        world.settle(world.register(*nves(2)))
        assert not epochs & set(world.store.epochs)

    def test_epochs_from_which_nothing_can_be_derived_any_more_end(self):
        world = started(2)
        world.after(2)
        rotate(world)
        assert len(world.store.epochs) == 2, "old keys still drain"
        newest = max(world.store.epochs)
        world.start(world.store.store)
        world.keys.tick(world.now)
        assert set(world.store.epochs) == {newest}
        world.settle(world.register(*nves(2)))
        world.assert_traffic()

    def test_generations_go_on_without_any_clock(self):
        world = World(nves(2))
        world.wall = 0.0
        world.start(MemoryStore(b"h" * 16))
        for _ in range(5):
            world.settle(world.register(*nves(2)))
            world.boot("nve1")
            world.start(world.store.store)  # the ledger sees to it

    def test_generations_of_a_new_term_are_above_whatever_the_lost_one_gave_out(self):
        world = started(2)
        lost = max(sa.generation for d in world.keys.directions.values() for sa in d.sas)
        fresh = World(nves(2))
        fresh.wall -= 86400 * 100
        store = MemoryStore(b"h" * 16)
        store.load = lambda: replace(MemoryStore(b"h" * 16).load(), term=2)
        fresh.start(store)
        fresh.settle(fresh.register(*nves(2)))
        assert all(sa.generation > lost for d in fresh.keys.directions.values() for sa in d.sas)

    def test_a_new_term_replaces_every_key_that_it_finds(self):
        world = started()
        before, store = world.sending(), begun_anew(world.store.store)
        world.start(store)
        world.settle(world.register("nve0", "nve1"))
        world.assert_traffic()  # with what was found, until its successor is confirmed
        world.settle(world.register("nve2"))
        world.assert_traffic()
        world.after(LIFE.grace_s + 4)
        world.assert_traffic()
        now = world.sending()
        assert now.keys() == before.keys()
        assert not {tunnel for tunnel in now if now[tunnel] == before[tunnel]}
        assert not [sa for d in world.keys.directions.values() for sa in d.sas if sa.inherited]
        world.start(store)
        world.settle(world.register(*nves(3)))
        world.after(LIFE.grace_s + 4)
        assert world.sending() == now, "keys of this term are replaced when they are due, and no earlier"

    def test_a_new_term_that_restarts_before_all_are_replaced_goes_on(self):
        world = started()
        before, store = world.sending(), begun_anew(world.store.store)
        for _ in range(2):
            world.start(store)
            world.register(*nves(3))  # nobody has fetched anything yet
        world.settle(nves(3))
        world.after(LIFE.grace_s + 4)
        world.assert_traffic()
        now = world.sending()
        assert not {tunnel for tunnel in now if now[tunnel] == before[tunnel]}

    def test_epochs_of_a_new_term_are_numbered_above(self):
        world = World(nves(2))
        store = MemoryStore(b"h" * 16)
        store.load = lambda: replace(MemoryStore(b"h" * 16).load(), last_epoch=2 << 20)
        world.start(store)
        assert world.keys._epochs.current == (2 << 20) + 1


class TestNames:
    def test_spis_of_an_address_pair_differ_whatever_is_drawn(self):
        """Two levels between the same switches: their keys are looked up by source and SPI alone."""
        world = World(nves(2))
        strong = replace(world.domain.vns[0], name="red", vni=2, level=Level.CONFIDENTIALITY)
        red = replace(world.domain.nves[0].vaps[0], vlan=9, vn="red")
        both = tuple(replace(nve, vaps=(*nve.vaps, red)) for nve in world.domain.nves)
        world.domain = replace(world.domain, vns=(*world.domain.vns, strong), nves=both)
        world.membership = Membership(world.domain)
        world.start(MemoryStore(b"h" * 16))
        drawn = itertools.cycle([5, 6])  # an SPI, then jitter: always the same SPI, unless that is taken
        world.keys._random_bytes = lambda length: next(drawn).to_bytes(length, "big")
        world.settle(world.register(*nves(2)))
        world.assert_traffic()
        by_pair: dict[tuple[str, str], list[int]] = {}
        for tunnel, spi in world.sending().items():
            by_pair.setdefault((tunnel.sender, tunnel.receiver), []).append(spi)
        assert all(sorted(spis) == [5, 6] for spis in by_pair.values())


class TestEpochs:
    def test_a_secret_that_is_not_stored_is_of_no_use(self):
        epochs = Epochs(bytes, MemoryStore(b"h" * 16).load(), now=0.0, wall=0.0, life_s=10.0)
        with pytest.raises(DerivationError, match="not stored"):
            epochs.key(epochs.add_key())
        epochs.stored()
        assert epochs.key(epochs.current)

    def test_what_was_never_stored_is_not_dropped_from_the_store(self):
        epochs = Epochs(bytes, MemoryStore(b"h" * 16).load(), now=0.0, wall=0.0, life_s=10.0)
        first = epochs.add_key()
        epochs.begin(1.0, 1.0)
        epochs.drop_key(first)
        assert [change.number for change in epochs.changes] == [first + 1]

    def test_the_last_generations_are_reserved_and_no_more(self):
        generations = Generations([("nve0", LAST_GENERATION - 2)])
        assert generations.next("nve0", 0) == LAST_GENERATION - 1
        assert generations.changes == (SetGeneration("nve0", LAST_GENERATION),)


class TestReceiverThatLies:
    def test_an_impossible_generation_is_not_believed(self):
        world = started(2)
        tunnel = Tunnel("nve0", "nve1", world.domain.vns[0].level)
        world.switches["nve1"].receive[tunnel] = {5: (2**32 - 1, Secret(b"k" * 16), world.now + 60)}
        world.start(world.store.store)
        world.settle(world.register(*nves(2)))
        world.after(4000)
        world.assert_traffic()

    def test_a_possible_one_is(self):
        world = World(nves(2))
        world.start(MemoryStore(b"h" * 16))
        tunnel = Tunnel("nve0", "nve1", world.domain.vns[0].level)
        assert not world.keys.judge("nve1", world.switches["nve1"].incarnation, 70_000)
        world.keys.feed(tunnel, ReceiverUp(world.switches["nve1"].incarnation, (Held(5, 70_000, 60.0),)), world.now)
        world.settle(world.register("nve0"))
        assert world.keys.directions[tunnel].planned.generation > 70_000

    @pytest.mark.parametrize("step", [TRUSTED_LEAD, TRUSTED_LEAD - 1, 2 * TRUSTED_LEAD, 1 << 31])
    def test_one_that_climbs_gets_nowhere(self, step):
        """However it steps, and in however many messages: it is believed as far as wall time goes, and no further."""
        world = started(3)
        highest = int(world.wall) - GENERATION_ZERO_S + TRUSTED_LEAD
        for said in range(step, LAST_GENERATION, step):
            world.keys.judge("nve1", world.switches["nve1"].incarnation, min(said, LAST_GENERATION))
        world.keys.judge("nve1", world.switches["nve1"].incarnation, LAST_GENERATION)
        world.leave("nve1")
        world.settle(world.register("nve1"))
        for _ in range(3):
            before = world.sending()
            world.keys.rotate(world.keys.directions, world.now)
            world.settle()
            world.after(20)
            after = world.sending()
            assert all(before[tunnel] != after[tunnel] for tunnel in before), "everybody gets new keys"
        assert all(sa.generation <= highest + 1000 for d in world.keys.directions.values() for sa in d.sas)
        assert world.store.marks["nve1"] <= highest + 10_000
        world.assert_traffic()

    def test_a_key_that_lives_for_ever_does_not(self):
        world = World(nves(2))
        world.start(MemoryStore(b"h" * 16))
        tunnel = Tunnel("nve0", "nve1", world.domain.vns[0].level)
        world.keys.feed(tunnel, ReceiverUp(world.switches["nve1"].incarnation, (Held(5, 7, 3e8),)), world.now)
        world.keys.feed(tunnel, SenderUp(world.switches["nve0"].incarnation, Held(5, 0, 3e8)), world.now)
        (sa,) = world.keys.directions[tunnel].sas
        assert sa.hard_at == world.now + LIFE.key_hard_s


class TestNoneLeft:
    """A store whose mark of a receiver stands at the end, from before marks were judged."""

    def spent(self) -> World:
        world = started(3)
        store = world.store.store
        store.commit([SetGeneration("nve1", LAST_GENERATION)])
        for name in nves(3):
            world.boot(name)
        world.start(store)
        world.settle(world.register(*nves(3)))
        return world

    def test_nobody_else_is_hurt(self):
        world = self.spent()
        world.after(20)
        world.assert_traffic(["nve0", "nve2"])
        for receiver in ("nve0", "nve2"):
            tunnel = Tunnel("nve1", receiver, world.domain.vns[0].level)
            assert world.keys.directions[tunnel].is_established, "what it sends is under the others' generations"
        assert set(world.keys.starved) == {"nve1"}

    def test_an_operator_begins_anew(self):
        world = self.spent()
        epoch = world.keys.epoch
        world.reset_mark("nve1")
        world.after(5)
        world.assert_traffic()
        assert not world.keys.starved
        tunnels = [t for t in world.keys.directions if t.receiver == "nve1"]
        assert all(sa.epoch > epoch for t in tunnels for sa in world.keys.directions[t].sas)
        assert world.store.marks["nve1"] < LAST_GENERATION // 2
        world.start(world.store.store)
        world.settle(world.register(*nves(3)))
        world.assert_traffic()

    def test_the_old_incarnation_gets_no_key_any_more(self):
        world = started(3)
        old = world.switches["nve1"].incarnation
        world.leave("nve1")
        world.keys.reset_mark("nve1", old, world.now)
        assert world.keys.judge("nve1", old, 0)
        assert world.keys.judge("nve1", old, 5)
        assert not world.keys.judge("nve1", b"n" * 16, 0)

    def test_one_that_is_not_known_is_asked_for_another(self):
        world = started(3)
        world.start(world.store.store)
        world.keys.reset_mark("nve1", b"", world.now)
        assert world.keys.judge("nve1", world.switches["nve1"].incarnation, 5)
        assert world.keys.judge("nve1", world.switches["nve1"].incarnation, 0)
        assert not world.keys.judge("nve1", b"n" * 16, 0)


class TestLostStore:
    """Database and keys are gone; the switches are as they were, and the new store is of the first term again."""

    def lost(self, *, restarts: int, hold: bool) -> World:
        world = started(3)
        for _ in range(restarts):
            world.start(world.store.store)
            world.settle(world.register(*nves(3)))
            world.keys.rotate(world.keys.directions, world.now)
            world.settle()
            world.after(20)
        if not hold:
            for switch in world.switches.values():
                switch.receive, switch.send = {}, {}
        world.start(MemoryStore(b"n" * 16))
        return world

    @pytest.mark.parametrize("hold", [True, False], ids=["keys are held", "keys have ended"])
    def test_keys_begin_above_what_the_rings_have_seen(self, hold):
        """Each restart skips 4,096 generations, and a rotation takes a second: the rings are ahead of wall time."""
        world = self.lost(restarts=5, hold=hold)
        before = {name: switch.incarnation for name, switch in world.switches.items()}
        world.settle(world.register(*nves(3)))
        for _ in range(4):
            world.keys.rotate(world.keys.directions, world.now)
            world.settle()
            world.after(20)  # each key is installed into a ring that has seen nothing newer: `fetch` asserts it
        world.assert_traffic()
        assert before == {name: switch.incarnation for name, switch in world.switches.items()}

    def test_rings_that_are_too_far_ahead_are_made_anew(self):
        world = started(3)
        store = MemoryStore(b"m" * 16)
        store.commit([SetGeneration("nve1", 3 * TRUSTED_LEAD)])
        world.start(store)
        world.settle(world.register(*nves(3)))
        world.keys.rotate(world.keys.directions, world.now)
        world.settle()
        world.after(20)
        before = world.switches["nve1"].incarnation
        world.start(MemoryStore(b"n" * 16))
        world.settle(world.register(*nves(3)))
        world.after(20)
        assert world.switches["nve1"].incarnation != before
        world.assert_traffic()


class TestConfined:
    def test_a_direction_that_breaks_is_the_only_one(self, monkeypatch):
        world = started(3)
        broken = Tunnel("nve0", "nve1", world.domain.vns[0].level)
        real = keys_module.step

        def step(direction, event, now):
            if direction.tunnel == broken:
                raise ZeroDivisionError("of nobody's making")
            return real(direction, event, now)

        monkeypatch.setattr(keys_module, "step", step)
        before = world.sending()
        world.keys.rotate(world.keys.directions, world.now)
        world.settle()
        world.after(20)
        after = world.sending()
        assert [tunnel for tunnel in before if before[tunnel] == after[tunnel]] == [broken]
        assert world.keys._confinement.counts["keys"] > 0
        monkeypatch.setattr(keys_module, "step", real)
        world.keys.rotate([broken], world.now)
        world.settle()
        world.after(40)
        assert world.sending()[broken] != before[broken], "it goes on when it can"

    def test_a_key_that_cannot_be_derived_is_not_told_and_the_others_are(self, monkeypatch):
        world = started(3)
        broken = Tunnel("nve0", "nve1", world.domain.vns[0].level)
        real = world.keys._door._key

        def key(direction, sa):
            if direction.tunnel == broken:
                raise DerivationError("its epoch is gone")
            return real(direction, sa)

        monkeypatch.setattr(world.keys._door, "_key", key)
        receive, send = world.keys.for_nve("nve1", world.now)
        assert {sa.peer for sa in receive} == {"nve2"}
        assert {sa.peer for sa in send} == {"nve0", "nve2"}


class TestReconfigure:
    def without(self, world: World, name: str) -> Membership:
        return Membership(world.domain, [name])

    def test_a_revoked_nve_is_cut_off_at_once_and_nobody_else_notices(self):
        world = started(4)
        world.after(10)
        before = world.sending()
        world.keys.reconfigure(world.domain, self.without(world, "nve3"), world.now)
        assert world.changed.keys() == set(nves(4))
        world.settle()
        assert world.keys.for_nve("nve3", world.now) == ((), ())
        for name in nves(3):
            switch = world.switches[name]
            assert not any("nve3" in (t.sender, t.receiver) for t in (*switch.receive, *switch.send))
        assert {t: spi for t, spi in before.items() if "nve3" not in (t.sender, t.receiver)} == world.sending()
        world.assert_traffic(nves(3))

    def test_later_keys_have_no_secret_in_common_with_what_it_held(self):
        world = started(3)
        held = {key for by_spi in world.switches["nve2"].receive.values() for _, key, _ in by_spi.values()}
        (epoch,) = (number for number, keys in world.ledger.of_epoch.items() if held & keys)
        world.keys.reconfigure(world.domain, self.without(world, "nve2"), world.now)
        world.settle()
        world.boot("nve0")
        world.settle(world.register("nve0"))
        world.after(10)
        assert epoch not in world.store.epochs
        assert not held & world.ledger.of_epoch[world.keys._epochs.current]

    def test_nothing_ended_no_new_epoch(self):
        world = started(3)
        current = world.keys._epochs.current
        world.keys.reconfigure(world.domain, world.membership, world.now)
        assert not world.changed
        assert world.keys._epochs.current == current

    def test_new_directions_begin_between_nves_that_are_there(self):
        world = World(nves(3))
        whole, world.membership = world.membership, Membership(world.domain, ["nve2"])
        world.start(MemoryStore(b"h" * 16))
        world.settle(world.register(*nves(2)))
        before = world.sending()
        world.keys.reconfigure(world.domain, whole, world.now)
        world.settle()
        world.settle(world.register("nve2"))
        world.assert_traffic(nves(3))
        assert before.items() <= world.sending().items()
        grown = make_domain(nves(4))
        world.domain, world.membership = grown, Membership(grown)
        world.switches["nve3"] = replace(world.switches["nve0"], incarnation=b"n" * 16, receive={}, send={})
        world.keys.reconfigure(grown, world.membership, world.now)
        world.settle()
        world.settle(world.register("nve3"))
        world.assert_traffic(nves(4))

    def test_an_nve_that_comes_back_while_connected_is_served(self):
        world = started(3)
        world.keys.reconfigure(world.domain, self.without(world, "nve2"), world.now)
        world.settle()
        world.keys.reconfigure(world.domain, world.membership, world.now)
        world.settle()
        world.assert_traffic()

    def test_another_outer_address_means_other_keys(self):
        world = started(3)
        before = world.sending()
        moved = tuple(
            replace(nve, address=world.domain.nve_by_name["nve0"].address + 99) if nve.name == "nve0" else nve
            for nve in world.domain.nves
        )
        world.domain = replace(world.domain, nves=moved)
        world.keys.reconfigure(world.domain, world.membership, world.now)
        world.settle()
        world.assert_traffic()
        for tunnel, spi in world.sending().items():
            assert (spi == before[tunnel]) == ("nve0" not in (tunnel.sender, tunnel.receiver))

    def test_a_second_address_at_both_ends_means_other_keys_between_them(self):
        world = started(3)
        before = world.sending()

        def reconfigured(*names: str) -> None:
            nves = tuple(
                replace(nve, other_address=IPv6Address(0x2001_0DB8 << 96 | number) if nve.name in names else None)
                for number, nve in enumerate(world.domain.nves, 1)
            )
            world.domain = replace(world.domain, nves=nves)
            world.keys.reconfigure(world.domain, world.membership, world.now)
            world.settle()
            world.assert_traffic()

        reconfigured("nve0")
        assert world.sending() == before, "no tunnel leads there"
        reconfigured("nve0", "nve1")
        for tunnel, spi in world.sending().items():
            assert (spi == before[tunnel]) == ({tunnel.sender, tunnel.receiver} != {"nve0", "nve1"})

    def test_new_limits_count_from_then_on(self):
        world = started(2)
        life = replace(LIFE, grace_s=50.0, rotations_at_once=2)
        world.domain = replace(world.domain, lifetimes=life)
        world.keys.reconfigure(world.domain, world.membership, world.now)
        world.settle()
        world.after(2)
        rotate(world)
        world.after(40)
        assert all(len(d.sas) == 2 for d in world.keys.directions.values())
        world.after(12)
        assert all(len(d.sas) == 1 for d in world.keys.directions.values())

    def test_a_message_about_a_direction_that_is_gone_is_nothing(self):
        world = started(2)
        gone = world.keys.tunnels_of("nve1")[0]
        world.keys.reconfigure(world.domain, self.without(world, "nve1"), world.now)
        world.changed.clear()
        world.keys.feed(gone, Used(1, 1, 1), world.now)
        assert not world.changed


class TestTurns:
    def taken(self, world: World) -> int:
        return sum(d.turn is Turn.TAKEN for d in world.keys.directions.values())

    def test_first_keys_are_not_held_up(self):
        started(5, rotations_at_once=1)

    def test_so_many_at_once_and_all_in_the_end(self):
        world = started(5, rotations_at_once=3)
        world.after(2)
        before = world.sending()
        world.keys.rotate(world.keys.directions, world.now)
        assert self.taken(world) == 3
        while world.changed:
            world.fetch(min(world.changed))
            assert self.taken(world) <= 3
        assert self.taken(world) == 0
        assert all(spi != before[tunnel] for tunnel, spi in world.sending().items())

    def test_one_that_does_not_answer_holds_its_place_until_the_deadline_and_keeps_its_old_key(self):
        world = started(3, rotations_at_once=2)
        world.after(2)
        before = world.sending()
        world.up.discard("nve2")  # connected, and silent
        rotate(world)
        world.after(200)
        world.assert_traffic()
        for tunnel, spi in world.sending().items():
            assert (spi == before[tunnel]) == ("nve2" in (tunnel.sender, tunnel.receiver))
        assert self.taken(world) == 0

    def test_an_absent_nve_holds_no_place(self):
        world = started(4, rotations_at_once=1)
        world.after(2)
        before = world.sending()
        world.leave("nve3")
        rotate(world)
        assert {t for t, spi in world.sending().items() if spi == before[t]} == {
            t for t in before if "nve3" in (t.sender, t.receiver)
        }
        world.settle(world.register("nve3"))
        assert not [t for t, spi in world.sending().items() if spi == before[t]], "and then it rotates too"

    def test_a_key_made_after_the_operator_asked_is_new_enough(self):
        world = started(4, rotations_at_once=1)
        world.after(2)
        world.keys.rotate(world.keys.directions, world.now)  # and nobody fetches: one has the turn
        (first,) = (t for t, d in world.keys.directions.items() if d.turn is Turn.TAKEN)
        others = sorted(set(nves(4)) - {first.sender, first.receiver})
        world.now += 2
        for name in others:
            world.leave(name)
            world.boot(name)
        world.up -= {first.sender, first.receiver}
        world.settle(world.register(*others))
        at = world.now
        assert world.keys.directions[first].turn is Turn.TAKEN
        world.up |= {first.sender, first.receiver}
        world.settle(nves(4))
        world.after(100)
        world.assert_traffic()
        assert world.keys._turns.waiting == 0
        assert world.keys.directions[Tunnel(*others, SUITE)].last_planned_at == at

    def test_a_direction_that_is_gone_leaves_its_place(self):
        world = started(4, rotations_at_once=1)
        world.after(2)
        before = world.sending()
        world.keys.rotate(world.keys.directions, world.now)  # and nobody fetches: one has the turn
        (gone,) = (t for t, d in world.keys.directions.items() if d.turn is Turn.TAKEN)
        world.membership = Membership(world.domain, [gone.sender])
        world.keys.reconfigure(world.domain, world.membership, world.now)
        world.settle()
        assert world.keys._turns.taken == 0
        assert all(spi != before[t] for t, spi in world.sending().items() if gone.sender not in (t.sender, t.receiver))

    def test_a_used_up_key_ends_without_waiting(self):
        world = started(3, rotations_at_once=1)
        tunnel = min(world.keys.directions)
        spi = world.keys.directions[tunnel].current.spi
        world.keys.feed(tunnel, Used(spi, 1000, 1_000_000), world.now)
        assert not world.changed, "not twice in a second"
        world.keys.feed(tunnel, Used(spi, 1100, 0), world.now)
        assert world.changed == {tunnel.sender: {tunnel}}
        world.settle()
        assert tunnel not in world.switches[tunnel.sender].send
        world.after(2)
        world.assert_traffic()


steps = st.one_of(
    st.tuples(st.just("fetch"), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 3)),
    st.tuples(st.just("register"), st.integers(0, 3)),
    st.tuples(st.just("boot"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 6, 31, 3300, 3700])),
    st.tuples(st.just("rotate"), st.integers(0, 3)),
    st.tuples(st.just("revoke"), st.integers(0, 3)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=30), st.integers(1, 3))
def test_whatever_happens(story, places):
    """No generation and no key twice, nothing before it is stored, never more turns than places, and it ends well."""
    world = World(nves(4), rotations_at_once=places)
    world.start(MemoryStore(b"h" * 16))
    for what, number in story:
        name = f"nve{number}"
        match what:
            case "fetch" if name in world.up:
                world.fetch(name)
            case "leave":
                world.leave(name)
            case "register":
                world.register(name)
            case "boot":
                world.leave(name)
                world.boot(name)
            case "wait":
                world.now += number
                world.wall += number
                world.keys.tick(world.now)
            case "rotate":
                world.keys.rotate(world.keys.tunnels_of(name), world.now)
            case "revoke":
                world.membership = Membership(world.domain, [name])
                world.keys.reconfigure(world.domain, world.membership, world.now)
            case "restart":
                world.start(world.store.store)
        turns = [d for d in world.keys.directions.values() if d.turn is Turn.TAKEN]
        assert len(turns) == world.keys._turns.taken <= places
        living = {sa.epoch for d in world.keys.directions.values() for sa in d.sas if not sa.inherited}
        assert set(world.keys._epochs._keys) == living | {world.keys._epochs.current}
    world.now += 4000
    world.keys.tick(world.now)
    world.settle(world.register(*nves(4)))
    world.after(60)
    world.assert_traffic({nve for t in world.keys.directions for nve in (t.sender, t.receiver)})
    assert all(sa.state is SaState.SENDING for d in world.keys.directions.values() for sa in d.sas)


def test_keys_are_what_the_derivation_says():
    world = started(3)
    for context, key in world.ledger.by_generation.values():
        assert isinstance(context, KeyContext)
        (epoch,) = (number for number, keys in world.ledger.of_epoch.items() if key in keys)
        assert key == world.keys._epochs.key(epoch).expand(hkdf_info(context))
