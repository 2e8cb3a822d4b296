# SPDX-License-Identifier: Apache-2.0
"""A level changes, and no frame is lost, and none is below what its receiver demands: whatever happens meanwhile.

With a fault in the product, or two where one alone does no harm, the observers see it.
"""

from __future__ import annotations

import pytest
from level_stories import (
    LEVEL_STORIES,
    a_pair,
    a_vn,
    away,
    both,
    full,
    under_way,
    with_a_crash,
    with_another_file_at_the_start,
)
from model_observer import BELOW, STOPPED, Violation
from nvo3sec.domain.overlay import membership
from nvo3sec.domain.overlay.level_changes import begun, steady
from nvo3sec.domain.switch import desired
from nvo3sec.nva import state
from nvo3sec.nva.intent import intent, level_steps
from nvo3sec.nva.intent.level_steps import LevelSteps


def at_once(patch: pytest.MonkeyPatch) -> None:
    """Everybody is told of the new level in one."""
    patch.setattr(level_steps, "following", lambda change, wanted, has_keys: steady(wanted))


def receivers_first(patch: pytest.MonkeyPatch) -> None:
    real = level_steps.following

    def following(change, wanted, *, has_keys):
        if change.demands < wanted:
            return change._replace(demands=wanted)
        return real(change, wanted, has_keys=has_keys)

    patch.setattr(level_steps, "following", following)


def senders_first(patch: pytest.MonkeyPatch) -> None:
    """Also where a level is lowered."""
    real = level_steps.following

    def following(change, wanted, *, has_keys):
        if change.sends != wanted and has_keys:
            return change._replace(was=change.sends, sends=wanted)
        return real(change, wanted, has_keys=has_keys)

    patch.setattr(level_steps, "following", following)
    patch.setattr(membership, "kept_levels", lambda change, wanted: frozenset({*change, wanted}))


def nobody_confirms(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LevelSteps, "_awaited", lambda self, subject, around: [])


def who_is_away_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(level_steps.Surroundings, "may_speak", lambda self, nve: nve in self.connected)


def keys_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LevelSteps, "_lacks", lambda self, subject, change, level, around: False)


def nobody_has_a_deadline(patch: pytest.MonkeyPatch) -> None:
    real = LevelSteps.due

    def due(self, changes, around):
        for step in self._steps.values():
            step.keys_until = around.now + 1e9
        return real(self, changes, around)

    patch.setattr(LevelSteps, "due", due)


def old_keys_end_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "kept_levels", lambda change, wanted: frozenset({change.sends, wanted}))


def nothing_is_under_way_any_more(patch: pytest.MonkeyPatch) -> None:
    """When frames of the last sender are still on their way."""
    real = LevelSteps._after

    def after(self, subject, change, wanted, around):
        step = self._steps[subject]
        if step.confirmed_at is not None:
            step.confirmed_at -= around.domain.lifetimes.grace_s
        return real(self, subject, change, wanted, around)

    patch.setattr(LevelSteps, "_after", after)


def changes_are_not_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LevelSteps, "written", lambda self, changes: ())


def what_ran_before_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intent, "begun", lambda old, new, changes: begun(old if old != new else new, new, changes))
    real = state.Intent.__init__
    patch.setattr(
        state.Intent, "__init__", lambda self, domain, store, stored, before: real(self, domain, store, stored, domain)
    )


def only_keys_of_just_that_level(patch: pytest.MonkeyPatch) -> None:
    real = desired._sending

    def sending(view, send):
        return (one for one in real(view, send) if one[0] == one[1].suite.level or False)

    patch.setattr(desired, "_sending", sending)


def no_key_before_its_vn(patch: pytest.MonkeyPatch) -> None:
    real = desired._sending

    def sending(view, send):
        levels = {vn.vni: vn.level for vn in view.vns}
        used = {peer.name: {levels[vni] for vni, _ in peer.vnis} for peer in view.peers}
        return (one for one in real(view, send) if one[0] in used[one[1].peer])

    patch.setattr(desired, "_sending", sending)


CASES = [
    (a_vn, [at_once], STOPPED),
    (a_pair, [at_once], STOPPED),
    (a_vn, [receivers_first], STOPPED),
    (a_vn, [receivers_first], BELOW),
    (a_vn, [senders_first], STOPPED),
    (a_vn, [nobody_confirms], STOPPED),
    (a_vn, [keys_are_not_waited_for], STOPPED),
    (a_vn, [old_keys_end_at_once], STOPPED),
    (a_pair, [old_keys_end_at_once], STOPPED),
    (under_way, [nothing_is_under_way_any_more], STOPPED),
    (away, [who_is_away_is_not_asked], STOPPED),
    (with_a_crash, [changes_are_not_stored], STOPPED),
    (with_another_file_at_the_start, [what_ran_before_is_not_asked], STOPPED),
    (both, [only_keys_of_just_that_level], STOPPED),
]


def name(value: object) -> str:
    return "+".join(one.__name__ for one in value) if isinstance(value, list) else getattr(value, "__name__", "")


@pytest.mark.parametrize("story", LEVEL_STORIES, ids=name)
def test_no_frame_is_lost_or_low(story, make_world):
    story(make_world())


@pytest.mark.parametrize(("story", "faults", "invariant"), CASES, ids=name)
def test_a_fault_is_seen(story, faults, invariant, make_world, monkeypatch):
    for fault in faults:
        fault(monkeypatch)
    with pytest.raises(Violation) as seen:
        story(make_world(only={invariant}))
    assert seen.value.name == invariant


STUCK = [
    (a_vn, no_key_before_its_vn),
    (full, nobody_has_a_deadline),
]


@pytest.mark.parametrize(("story", "fault"), STUCK, ids=name)
def test_a_change_that_is_stuck_is_seen(story, fault, make_world, monkeypatch):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        story(make_world())
