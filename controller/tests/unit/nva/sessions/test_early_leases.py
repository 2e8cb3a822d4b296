# SPDX-License-Identifier: Apache-2.0
"""Leases that an NVA prolongs before it has loaded everything: whom it knows to be as it was told, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from domain_variants import NO_RED, without_nve
from nva_agents import DOMAIN, INCARNATIONS, Agents, certificate_of, hang
from nvo3sec.domain.messages.session import ReadBack, Registration, StoreMark
from nvo3sec.errors import AuthorizationError, HistoryDisputed
from nvo3sec.nva.sessions.early_leases import EARLY_LEASE_S, LOADING_S, EarlyLeases
from nvo3sec.nva.store import MemoryStore, Revocation, Revoke, Store, StoreRolledBack, open_store

LEAVES = ("leaf1", "leaf2", "leaf3")
LEASE_S = DOMAIN.lifetimes.lease_s


def nobody(_certificates):
    return []


class World:
    """A store with an NVA that runs on it, ends, and starts again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self._opened: list[Store] = []

    def open(self) -> Store:
        one = open_store(self.directory / "database" / "nva.sqlite", self.directory / "keys", DOMAIN.name)
        self._opened.append(one)
        return one

    def end(self) -> None:
        for one in self._opened:
            one.close()

    def runs(self, domain=DOMAIN) -> Agents:
        """An NVA whose start has come to its end, with all agents."""
        agents = Agents(domain, self.open(), file="text")
        asyncio.run(agents.join(*(nve.name for nve in domain.nves), certificates=True))
        agents.nva.tick()
        return agents

    def starts(self, shut_out=nobody):
        self.store = self.open()
        return EarlyLeases.begin(DOMAIN.name, self.store, shut_out, lambda: self.now)

    def gives(self, early: EarlyLeases, seen=()) -> list[str]:
        """Who gets time."""
        found = []
        for leaf in LEAVES:
            try:
                if early.renew(leaf, certificate_of(leaf), seen).duration_s:
                    found.append(leaf)
            except AuthorizationError:
                continue
        return found


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.end()


class TestGiven:
    def test_who_is_as_it_was_told_has_its_lease_prolonged(self, world):
        agents = world.runs()
        agents.nva.state.store.close()
        early = world.starts()
        assert world.gives(early) == list(LEAVES)
        grant = early.renew("leaf1", certificate_of("leaf1"), ())
        assert grant.early
        assert grant.duration_s == min(LEASE_S, EARLY_LEASE_S)
        assert early.vnis_of("leaf1") == {vn.vni for vn in agents.nva.state.membership.vns_of("leaf1")}
        assert early.vnis_of("leaf9") == frozenset()

    def test_never_longer_than_the_lease_of_the_domain(self, world):
        short = replace(DOMAIN, lifetimes=replace(DOMAIN.lifetimes, lease_s=7.5, lease_renew_s=2.5))
        agents = world.runs()
        agents.nva.administration.configure(short, "shorter")  # durable at once: not only with the next tick
        agents.nva.state.store.close()
        early = world.starts()
        assert early.renew("leaf1", certificate_of("leaf1"), ()).duration_s == 7.5

    def test_what_was_given_counts_when_everything_is_loaded(self, world):
        world.runs().nva.state.store.close()
        early = world.starts()
        assert world.gives(early)
        later = Agents(DOMAIN, world.store)
        later.now = world.now
        early.hand_over(later.nva.agents.granted_before)
        for leaf in LEAVES:
            assert later.nva.state.mappings.leases.get(leaf) == world.now + LEASE_S
            assert later.nva.state.held._granted[leaf] == world.now + LEASE_S
        assert world.gives(early) == [], "from now on the NVA itself decides"


class TestNotGiven:
    def test_a_start_that_did_not_come_to_its_end_gives_nothing_again(self, world):
        world.runs().nva.state.store.close()
        assert world.gives(world.starts()) == list(LEAVES)
        world.store.close()
        assert world.starts() == "the start before has not come to its end"
        Agents(DOMAIN, world.store)  # loaded, but it has not run
        world.store.close()
        assert isinstance(world.starts(), str)
        agents = Agents(DOMAIN, world.store)
        agents.nva.tick()
        world.store.close()
        assert world.gives(world.starts()) == list(LEAVES)

    def test_nothing_of_a_store_that_is_new_or_not_durable(self, world):
        assert isinstance(world.starts(), str)
        memory = MemoryStore(b"h" * 16)
        Agents(DOMAIN, memory).nva.tick()
        assert isinstance(EarlyLeases.begin(DOMAIN.name, memory, nobody), str)

    def test_not_for_one_that_was_revoked_or_suspended(self, world):
        agents = world.runs()
        agents.nva.administration.revoke("leaf3")
        agents.nva.administration.suspend(["leaf2"], "its certificate was revoked")
        asyncio.run(agents.settle())
        agents.after(LEASE_S + 1)  # they have let go of the others by then
        agents.nva.state.store.close()
        early = world.starts()
        assert world.gives(early) == ["leaf1"]
        for leaf in ("leaf2", "leaf3"):
            with pytest.raises(AuthorizationError, match="serves nothing"):
                early.check(leaf, certificate_of(leaf))

    def test_not_for_one_that_the_applied_file_has_no_more(self, world):
        agents = world.runs()
        agents.nva.administration.configure(without_nve(DOMAIN, "leaf3"), "without leaf3")
        agents.nva.state.store.close()
        early = world.starts()
        assert world.gives(early) == [], "all have to let go of it"
        with pytest.raises(AuthorizationError, match="serves nothing"):
            early.renew("leaf3", certificate_of("leaf3"), ())

    def test_not_for_one_that_has_not_let_go(self, world):
        agents = world.runs()
        hang(agents, "leaf3")
        agents.nva.administration.configure(NO_RED, "without red")
        asyncio.run(agents.settle())
        agents.nva.tick()
        agents.nva.state.store.close()
        early = world.starts()
        assert world.gives(early) == ["leaf2"], "who does not serve red has nothing to let go of"
        assert "has not confirmed" in early.withheld("leaf3", certificate_of("leaf3"))
        world.store.close()

    def test_again_once_all_have_let_go(self, world):
        agents = world.runs()
        agents.nva.administration.configure(NO_RED, "without red")
        asyncio.run(agents.settle())
        for leaf in LEAVES:
            confirmed = ReadBack(INCARNATIONS[leaf], (), (), agents.views[leaf].version)
            asyncio.run(agents.sessions[leaf].read_back(confirmed))
        agents.nva.tick()
        agents.nva.state.store.close()
        assert world.gives(world.starts()) == list(LEAVES)

    def test_not_for_the_peers_of_one_that_was_shut_out_while_they_hung(self, world):
        agents = world.runs()
        hang(agents, "leaf1")
        agents.nva.administration.revoke("leaf3")
        asyncio.run(agents.settle())
        agents.nva.tick()
        agents.nva.state.store.close()
        assert "leaf1" not in world.gives(world.starts())

    def test_nobody_gets_one_where_a_crash_came_between_revoking_and_telling(self, world):
        agents = world.runs()
        agents.nva.state.store.commit([Revoke(Revocation(f"nvo3://{DOMAIN.name}/nve/leaf3"))])
        agents.nva.state.store.close()
        assert world.starts() == "leaf3 were being shut out when the NVA ended"

    def test_nobody_gets_one_where_a_certificate_was_revoked_meanwhile(self, world):
        world.runs().nva.state.store.close()
        lists: list[str] = []
        early = world.starts(lambda known: [one.nve for one in known if one.nve in lists])
        assert world.gives(early) == list(LEAVES)
        lists.append("leaf3")
        assert world.gives(early) == [], "its peers have still to be told"
        assert "leaf3 are to be shut out" in early.withheld("leaf1", certificate_of("leaf1"))

    def test_not_with_another_certificate_than_last_time(self, world):
        world.runs().nva.state.store.close()
        early = world.starts()
        other = replace(certificate_of("leaf1"), serial="abc")
        assert early.renew("leaf1", other, ()).duration_s == 0
        assert early.renew("leaf1", replace(certificate_of("leaf1"), issuer="CN=another"), ()).duration_s == 0

    def test_not_for_one_whose_suspended_certificate_comes_back(self, world):
        agents = world.runs()
        agents.nva.administration.suspend(["leaf2"], "its certificate was revoked")
        fresh = replace(certificate_of("leaf2"), serial="abc")
        asyncio.run(agents.nva.agents.open_session("leaf2", fresh).register(Registration(INCARNATIONS["leaf2"])))
        asyncio.run(agents.settle())
        agents.nva.state.store.close()
        with pytest.raises(AuthorizationError, match="was suspended with this certificate"):
            world.starts().renew("leaf2", certificate_of("leaf2"), ())

    def test_not_for_ever(self, world):
        world.runs().nva.state.store.close()
        early = world.starts()
        world.now += LOADING_S
        assert world.gives(early) == []


class TestHistory:
    def test_a_store_that_went_back_gives_nothing(self, world):
        world.runs().nva.state.store.close()
        copies = {one: one.read_bytes() for one in (world.directory / "database").iterdir()}
        again = Agents(DOMAIN, world.open())
        again.nva.administration.revoke("leaf3")
        again.nva.state.store.close()
        for path in (world.directory / "database").iterdir():
            path.unlink()
        for path, content in copies.items():
            path.touch(mode=0o600)
            path.write_bytes(content)
        with pytest.raises(StoreRolledBack):
            world.starts()

    def test_who_remembers_another_history_gets_nothing(self, world):
        agents = world.runs()
        told = agents.nva.state.marks.of("leaf1")
        agents.nva.state.store.close()
        early = world.starts()
        assert early.renew("leaf1", certificate_of("leaf1"), [told]).duration_s
        assert early.mark_of("leaf1") == told
        assert early.known("leaf1", [told]) == (told,)
        strange = StoreMark(told.term, told.version, b"s" * 32)
        with pytest.raises(HistoryDisputed):
            early.renew("leaf1", certificate_of("leaf1"), [strange])
        assert world.store.version == early._now.version, "nothing is written before everything is loaded"

    def test_not_for_one_that_has_disputed_it(self, world):
        agents = world.runs()
        strange = StoreMark(1, 10**6, b"s" * 32)
        with pytest.raises(HistoryDisputed):
            asyncio.run(agents.sessions["leaf1"].renew_lease([strange]))
        agents.nva.state.store.close()
        assert world.gives(world.starts()) == ["leaf2", "leaf3"]
