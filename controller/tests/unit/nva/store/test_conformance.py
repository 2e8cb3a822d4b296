# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `Store` must do; add a new one to `MAKERS`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.mapping import ClaimKey, Hold, Place, PutClaim, PutHold, SetVersion
from nvo3sec.nva.store import (
    ChangeRefused,
    DropEpoch,
    DropGeneration,
    MemoryStore,
    PutEpoch,
    Revocation,
    Revoke,
    SetGeneration,
    StoreUnavailable,
)
from store_scenarios import COMMITS, NEW, OLD, SECRETS, contents, expected, open_at

MAKERS = {"memory": lambda _: MemoryStore(b"h" * 16), "sqlite": open_at}
DURABLE = {"memory": False, "sqlite": True}


@pytest.fixture(params=MAKERS)
def store(request, memory_path):
    made = MAKERS[request.param](memory_path)
    yield made
    made.close()


def filled(store):
    for commit in COMMITS[:3]:
        store.commit(commit)
    return store


REFUSED = {
    "a second owner of a MAC address": (PutClaim(replace(NEW, granted=(), sequence=2)),),
    "a version that sinks": (SetVersion(10, 0),),
    "a generation that sinks": (SetGeneration("leaf2", 6),),
    "an epoch again": (PutEpoch(1, SECRETS[1]),),
}


class TestStore:
    def test_every_commit(self, store):
        assert contents(store.load()) == expected()[0]
        for number, state in enumerate(expected()[1:], 1):
            assert store.commit(COMMITS[number - 1]) == number
            assert contents(store.load()) == state
            assert store.version == store.load().version == number

    def test_says_whether_it_is_durable(self, store, request):
        assert store.durable is DURABLE[request.node.callspec.params["store"]]

    @pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
    def test_contradictions_are_refused_whole(self, store, changes):
        before = filled(store).load()
        harmless = (SetVersion(77, 5), PutHold(Hold((78, 3), "leaf9", None, "leaf8")), PutEpoch(8, SECRETS[0]))
        with pytest.raises(ChangeRefused):
            store.commit((*harmless, *changes))
        assert store.load() == before
        assert store.version == before.version
        store.commit(harmless)
        assert store.load() != before

    def test_a_mac_address_changes_hands_in_one_commit(self, store):
        filled(store)
        frozen = replace(OLD, granted=None)
        store.commit((PutClaim(frozen), PutClaim(replace(NEW, granted=NEW.announced, sequence=2))))
        assert {claim.key: claim.granted for claim in store.load().claims}[OLD.key] is None

    def test_a_digest_that_no_other_history_has(self, store):
        seen = [store.digest]
        for commit in COMMITS:
            store.commit(commit)
            seen.append(store.digest)
        if not store.durable:
            assert set(seen) == {b""}
            return
        assert len(set(seen)) == len(COMMITS) + 1
        assert {len(digest) for digest in seen} == {32}

    def test_epochs_are_numbered_upwards_for_ever(self, store):
        store.commit((PutEpoch(3, SECRETS[0]), DropEpoch(3)))
        for number in (1, 3):
            with pytest.raises(ChangeRefused):
                store.commit((PutEpoch(number, SECRETS[0]),))
        assert store.load().last_epoch == 3

    def test_nothing_is_no_commit(self, store):
        assert store.commit(()) == 0

    def test_no_revocation_is_taken_back(self, store):
        one = Revocation("nvo3://lab.example/nve/leaf1", "1f")
        store.commit((Revoke(one),))
        store.commit((Revoke(one),))
        assert store.load().revocations == (one,)

    def test_closed(self, store):
        store.close()
        for call in (store.load, lambda: store.commit((SetVersion(1, 1),))):
            with pytest.raises(StoreUnavailable):
                call()


vnis = st.integers(1, 3)
changes = st.one_of(
    st.builds(SetVersion, vnis, st.integers(0, 6)),
    st.builds(
        lambda port, mac, granted, sequence: PutClaim(
            replace(OLD, key=ClaimKey(Place("leaf1", port, 0), mac), granted=granted, sequence=sequence)
        ),
        st.integers(1, 2),
        st.sampled_from((2, 4)),
        st.sampled_from((None, ())),
        st.integers(0, 5),
    ),
    st.builds(SetGeneration, st.sampled_from(("leaf1", "leaf2")), st.integers(1, 5)),
    st.builds(DropGeneration, st.sampled_from(("leaf1", "leaf2"))),
    st.builds(PutEpoch, st.integers(1, 4), st.just(Secret(b"s" * 32))),
    st.builds(DropEpoch, st.integers(1, 4)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(changes, max_size=4), max_size=8), reopened=st.sets(st.integers(0, 8)))
def test_sqlite_is_memory_that_lasts(memory_path, commits, reopened):
    directory = Path(tempfile.mkdtemp(dir=memory_path))
    memory, sqlite = MemoryStore(b"h" * 16), open_at(directory)
    for number, commit in enumerate(commits):
        outcomes = []
        for store in (memory, sqlite):
            try:
                outcomes.append(store.commit(commit))
            except ChangeRefused as refused:
                outcomes.append(str(refused))
        assert outcomes[0] == outcomes[1]
        if number in reopened:
            sqlite.close()
            sqlite = open_at(directory)
        assert contents(sqlite.load()) == contents(memory.load())
    sqlite.close()
