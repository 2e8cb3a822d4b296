# SPDX-License-Identifier: Apache-2.0
"""Versioned increments, and the persistent map below them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror import followed
from nvo3sec.domain.mapping import MappingEntry, MappingSet, MappingWithdrawn, Place
from nvo3sec.domain.mapping.change_log import ChangeLog, Increment, Position
from nvo3sec.domain.overlay.persistent import PersistentMap

HISTORY = b"h" * 16


class Vn:
    """VNs that change, and the log of it."""

    def __init__(self, **bounds) -> None:
        self.log = ChangeLog(HISTORY, **bounds)
        self.mappings: dict[int, dict[int, MappingEntry]] = {}
        self.version: dict[int, int] = {}

    def set(self, mac: int, nve: str = "a", vni: int = 10) -> None:
        version = self._next(vni)
        entry = MappingEntry(vni, mac, (), Place(nve, 1, 0), version)
        self.mappings.setdefault(vni, {})[mac] = entry
        self.log.record([MappingSet(version, entry)])

    def drop(self, mac: int, vni: int = 10) -> None:
        self.mappings.setdefault(vni, {}).pop(mac, None)
        self.log.record([MappingWithdrawn(vni, self._next(vni), mac)])

    def _next(self, vni: int) -> int:
        self.version[vni] = self.version.get(vni, 100) + 1
        return self.version[vni]

    def since(self, version: int, vni: int = 10, history: bytes = HISTORY) -> Increment | None:
        return self.log.increment(vni, Position(history, version), self.version.get(vni, 100))


class TestChangeLog:
    def test_nothing_new(self):
        vn = Vn()
        vn.set(2)
        assert vn.since(101) == Increment(10, 101, 101, ())

    def test_difference_with_the_last_of_each(self):
        vn = Vn()
        for mac in (2, 4, 2):
            vn.set(mac)
        vn.drop(4)
        delta = vn.since(101)
        assert isinstance(delta, Increment)
        assert [change.version for change in delta.changes] == [103, 104]
        assert (delta.base, delta.version) == (101, 104)

    @pytest.mark.parametrize(("version", "history"), [(101, b"x" * 16), (999, HISTORY), (0, HISTORY)])
    def test_nothing_leads_there_from_what_is_not_usable(self, version, history):
        vn = Vn()
        for mac in (2, 4):
            vn.set(mac)
        assert vn.since(version, history=history) is None

    def test_forgotten(self):
        vn = Vn(per_vn=2)
        for mac in (2, 4, 6):
            vn.set(mac)
        assert vn.since(100) is None
        assert vn.since(101) is not None

    def test_after_a_restart_only_the_newest_version_is_known(self):
        vn = Vn()
        vn.set(2)
        vn.log = ChangeLog(HISTORY)
        assert vn.since(101) == Increment(10, 101, 101, ())
        assert vn.since(100) is None

    def test_bounded_in_all(self):
        vn = Vn(per_vn=3, in_all=5)
        for vni in range(1, 50):
            for mac in (2, 4, 6, 8):
                vn.set(mac, vni=vni)
                assert len(vn.log) <= 5
        assert vn.since(103, vni=49) is not None
        assert vn.since(103, vni=1) is None

    def test_a_gap_is_an_error(self):
        vn = Vn()
        vn.set(2)
        vn.version[10] += 1
        with pytest.raises(ValueError, match="does not follow"):
            vn.set(4)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 3), st.booleans()), max_size=60),
    st.integers(1, 5),
    st.integers(1, 8),
)
def test_who_follows_is_never_wrong(steps, per_vn, in_all):
    vn = Vn(per_vn=per_vn, in_all=in_all)
    have: dict[int, dict] = {vni: {} for vni in (1, 2, 3)}
    at = dict.fromkeys(have, 100)
    for is_set, mac, vni, looks in steps:
        vn.set(mac, vni=vni) if is_set else vn.drop(mac, vni=vni)
        if looks:
            everything = vn.mappings.get(vni, {}).values()
            have[vni] = followed(have[vni], vn.since(at[vni], vni=vni), everything)
            at[vni] = vn.version.get(vni, 100)
            assert have[vni] == vn.mappings.get(vni, {})


class Colliding:
    """Many of them have the same hash."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3 << 40

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.number == other.number


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers()), max_size=2000),
    st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=50),
    st.booleans(),
)
def test_a_persistent_map_made_at_once_is_one_made_step_by_step(items, steps, colliding):
    of = Colliding if colliding else int
    items = [(of(number), value) for number, value in items]
    made, stepped = PersistentMap.of(items), PersistentMap()
    for key, value in items:
        stepped = stepped.set(key, value)
    assert made == stepped
    assert len(made) == len(stepped) == len(dict(items))
    assert all(made[key] == stepped[key] for key, _ in items)
    for is_set, number in steps:  # and it goes on like one
        key = of(number)
        made = made.set(key, number) if is_set else made.delete(key)
        stepped = stepped.set(key, number) if is_set else stepped.delete(key)
        assert made.get(key) == stepped.get(key)
        assert len(made) == len(stepped)
    assert made == stepped
    for key in list(made):
        made = made.delete(key)
    assert made._root == {}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=400), st.booleans())
def test_a_persistent_map_is_a_dict_that_never_changes(steps, colliding):
    of = Colliding if colliding else int
    model: dict = {}
    current: PersistentMap = PersistentMap()
    history = []
    for is_set, number in steps:
        key = of(number)
        history.append((current, dict(model)))
        if is_set:
            model[key] = len(history)
            current = current.set(key, len(history))
        else:
            model.pop(key, None)
            current = current.delete(key)
        assert len(current) == len(model)
        assert (key in current) == is_set
    for older, was in history[::17]:
        assert dict(older.items()) == was
    assert set(current) == set(model)
    assert sorted(current.values()) == sorted(model.values())
    for key in list(current):
        current = current.delete(key)
    assert current == PersistentMap()
    assert current._root == {}
