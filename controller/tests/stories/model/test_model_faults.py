# SPDX-License-Identifier: Apache-2.0
"""The model can fail: with a fault put into the product, or two where one alone does no harm, its observers see it.

Each story passes as it is, and ends in the violation of one invariant with the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from model_observer import (
    ACCEPTED_TWICE,
    FOREIGN,
    PAIR_TWICE,
    RETIRED,
    REVOKED,
    ROLLED_BACK,
    STOPPED,
    UNREVOKED,
    Violation,
)
from model_stories import (
    STORIES,
    alone,
    another_address,
    boot,
    clock_goes_back_and_keys_end,
    full_table,
    old_age,
    old_database,
    old_database_and_old_clock,
    old_machine,
    push,
    revocation,
    revocation_and_restart,
    rotation,
    shut_out_for_a_moment,
)
from model_switch import Switch
from nvo3sec.domain.keys.derivation import EpochKey, Party
from nvo3sec.domain.keys.sa import SaState, machine
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import NveView, StoreMark
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.nva.intent.intent import Intent
from nvo3sec.nva.keys import service as keys
from nvo3sec.nva.keys.generations import Generations
from nvo3sec.nva.sessions import history_marks as marks
from nvo3sec.nva.sessions.history_marks import Marks
from nvo3sec.nva.store.sqlite import opening
from nvo3sec.nve import bringup, plan, reconcile
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.nve.clock import LAST_US, ClockReading
from nvo3sec.nve.places import Places
from nvo3sec.p4runtime import Table

DAY_S = 86400.0
Patch = Callable[..., None]

# --- faults ---------------------------------------------------------------------------------------------------------


def no_incarnation_in_context(patch: pytest.MonkeyPatch) -> None:
    real = Party.__init__

    def init(self: Party, name: str, address: object, incarnation: bytes) -> None:
        real(self, name, address, incarnation)
        self.incarnation_field = b"\0\0"

    patch.setattr(Party, "__init__", init)


def keys_outlive_incarnations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "_is_new", lambda d, name, before, incarnation: not before.incarnation)


def incarnations_repeat(patch: pytest.MonkeyPatch) -> None:
    real = bringup._new_incarnation

    async def new(driver, random_bytes):
        return await real(driver, lambda length: (driver.client.name * 4).encode()[:length])

    patch.setattr(bringup, "_new_incarnation", new)


def registers_survive_a_push(patch: pytest.MonkeyPatch) -> None:
    real = Switch._clear_registers

    def clear(self: Switch) -> None:
        kept = getattr(self, "ingress_incarnation", 0), getattr(self, "egress_incarnation", 0)
        real(self)
        self.ingress_incarnation, self.egress_incarnation = kept

    patch.setattr(Switch, "_clear_registers", clear)


def window_forgets(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Switch, "_look", staticmethod(lambda ring, generation, sequence: ""))


def window_outlives_its_generation(patch: pytest.MonkeyPatch) -> None:
    real = Switch._look
    patch.setattr(Switch, "_look", staticmethod(lambda ring, _, sequence: real(ring, ring.generation, sequence)))


def sender_before_receiver(patch: pytest.MonkeyPatch) -> None:
    real = machine._switch_over

    def hasty(d: machine._Draft) -> None:
        before = d.receiver
        if d.planned is not None:
            d.receiver = before._replace(holds=(*(before.holds or ()), d.planned.spi))
        real(d)
        d.receiver = before

    patch.setattr(machine, "_switch_over", hasty)


def no_grace(patch: pytest.MonkeyPatch) -> None:
    real = keys.limits_of
    patch.setattr(keys, "limits_of", lambda life, suite: replace(real(life, suite), grace_s=0.0))


def old_keys_stay_in_receivers(patch: pytest.MonkeyPatch) -> None:
    real = plan.make_plan

    def keep(desired, actual, tables=plan.MANAGED_TABLES):
        made = real(desired, actual, tables)
        stages = tuple(
            tuple(u for u in stage if not (u.operation == "delete" and u.item.name().startswith(KEPT)))
            for stage in made.stages
        )
        return plan.Plan(stages, made.removed, made.altered)

    patch.setattr(reconcile, "make_plan", keep)


KEPT = (Table.SA_RX, Table.AUTHORIZED_NVE, Table.VN_INGRESS_AUTHORIZATION)


def drained_keys_stay(patch: pytest.MonkeyPatch) -> None:
    real = machine._drain

    def drain(d: machine._Draft) -> None:
        real(d)
        for sa in d.sas:
            if sa.state is SaState.DRAINING and sa.drain_until is not None:
                d.put(sa._replace(drain_until=sa.hard_at))

    patch.setattr(machine, "_drain", drain)


def revocation_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    def revoke(self: Intent, nve: str) -> None:
        self._revoked.add(self._identity(nve))
        self._take(self.domain)

    patch.setattr(Intent, "revoke", revoke)


def generations_are_not_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Generations, "changes", ())


def one_key_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EpochKey, "expand", lambda self, info: Secret(b"k" * 16))


def ends_are_never_reached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClockReading, "deadline_us", lambda self, at, duration_s: LAST_US)


def any_database_is_right(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(opening, "below", lambda floor, mark: None)


def agents_believe_any_nva(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AgentMemory, "see", lambda self, mark: None)
    patch.setattr(AgentMemory, "compare", lambda self, mark, known: None)


def marks_are_numbers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Marks, "of", lambda self, nve: StoreMark(self._term, self._store.version))


def nvas_serve_whom_they_do_not_know(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(marks, "not_in_history", lambda _seen, _now, _known: None)


def keys_follow_their_peer(patch: pytest.MonkeyPatch) -> None:
    def follow(self: Places, view: NveView) -> frozenset[str]:
        self._places = {peer.name: (view.address, peer.address, -1) for peer in view.peers}
        self.version = view.version
        return frozenset()

    patch.setattr(Places, "follow", follow)


def numbers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = reconcile.Reconciler.apply

    async def apply(self, wanted, tables=plan.MANAGED_TABLES):
        before = self._numbers
        outcome = await real(self, wanted, tables)
        if outcome.refused is not None:
            self._numbers = before
        return outcome

    patch.setattr(reconcile.Reconciler, "apply", apply)


def rings_are_not_asked(patch: pytest.MonkeyPatch) -> None:
    """What a store does not know any more, the switches do: without that, what is stored is all there is."""
    patch.setattr(keys.KeyService, "judge", lambda self, nve, incarnation, seen: "")


def nobody_is_known_without_a_tunnel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keys.KeyService, "arrived", lambda self, nve, incarnation: None)


def terms_begin_where_others_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keys, "TERM_LEAD", 0)


def what_goes_is_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Numbers, "with_all", lambda self, other: other)


CASES = [
    (shut_out_for_a_moment, [what_goes_is_forgotten_at_once], PAIR_TWICE),
    (old_database_and_old_clock, [terms_begin_where_others_ended, rings_are_not_asked], STOPPED),
    (another_address, [keys_follow_their_peer], PAIR_TWICE),
    (full_table, [numbers_are_forgotten], PAIR_TWICE),
    (alone, [nobody_is_known_without_a_tunnel], STOPPED),
    (boot, [no_incarnation_in_context, keys_outlive_incarnations], PAIR_TWICE),
    (push, [incarnations_repeat], PAIR_TWICE),
    (push, [registers_survive_a_push], PAIR_TWICE),
    (rotation, [window_forgets], ACCEPTED_TWICE),
    (boot, [window_outlives_its_generation], STOPPED),
    (rotation, [sender_before_receiver], STOPPED),
    (rotation, [no_grace], STOPPED),
    (rotation, [drained_keys_stay], RETIRED),
    (old_age, [ends_are_never_reached], RETIRED),
    (revocation, [old_keys_stay_in_receivers], REVOKED),
    (revocation_and_restart, [revocation_is_not_stored], UNREVOKED),
    (clock_goes_back_and_keys_end, [generations_are_not_stored, rings_are_not_asked], STOPPED),
    (rotation, [one_key_for_all], FOREIGN),
    (old_database, [any_database_is_right], ROLLED_BACK),
    (old_machine, [agents_believe_any_nva, nvas_serve_whom_they_do_not_know], REVOKED),
    (old_machine, [marks_are_numbers], REVOKED),
]


def story_name(value: object) -> str:
    if isinstance(value, list):
        return "+".join(fault.__name__ for fault in value)
    return getattr(value, "__name__", "")


@pytest.mark.parametrize(("story", "faults", "invariant"), CASES, ids=story_name)
def test_a_fault_is_seen(story, faults, invariant, make_world, monkeypatch):
    for fault in faults:
        fault(monkeypatch)
    with pytest.raises(Violation) as seen:
        story(make_world(only={invariant}))
    assert seen.value.name == invariant


@pytest.mark.parametrize("story", STORIES, ids=story_name)
def test_without_a_fault_nothing_is_seen(story, make_world):
    story(make_world())


@pytest.mark.parametrize("fault", [no_incarnation_in_context, keys_outlive_incarnations], ids=story_name)
def test_one_of_the_two_alone_repeats_no_pair(fault, make_world, monkeypatch):
    """Traffic may well stop, which is how it should fail."""
    fault(monkeypatch)
    boot(make_world(only={PAIR_TWICE, ACCEPTED_TWICE}))
