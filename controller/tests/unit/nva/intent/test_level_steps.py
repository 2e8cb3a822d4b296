# SPDX-License-Identifier: Apache-2.0
"""Who is waited for when a level changes, for how long, and what becomes of who does not follow."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.messages.session import ReadBack, Registration
from nvo3sec.domain.overlay.level_changes import LevelChange
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Level, Suite, TunnelLevel
from nvo3sec.nva.intent import level_steps
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.store import MemoryStore

WEAK, STRONG = Level
BASE = replace(DOMAIN, tunnels=())
BLUE = ("blue",)
NAMES = ("leaf1", "leaf2", "leaf3")
LEASE_S, GRACE_S = BASE.lifetimes.lease_s, BASE.lifetimes.grace_s


def raised(level: Level = STRONG):
    return replace(BASE, vns=tuple(replace(vn, level=level) if vn.name == "blue" else vn for vn in BASE.vns))


class Followers(Agents):
    """Agents that hold leases and say what their switches have, but for those that hang."""

    async def begin(self, *names: str) -> None:
        await self.join(*(names or NAMES))
        await self.follow()
        self.leases()
        self.after(0)

    async def follow(self, *, sending: frozenset[Suite] = frozenset(Suite)) -> None:
        """Everybody does as told, and says so. sending: suites of the keys that they send with."""
        await self.settle()
        for name, session in self.sessions.items():
            keys = self.keys[name]
            receive = tuple((sa.peer, sa.suite, sa.spi) for sa in keys.receive)
            send = tuple((sa.peer, sa.suite, sa.spi) for sa in keys.send if sa.suite in sending)
            await session.read_back(ReadBack(INCARNATIONS[name], receive, send, self.views[name].version))

    def leases(self, *names: str) -> dict[str, float]:
        sessions = {name: self.sessions[name] for name in names or self.sessions}
        return {name: session._handler.renew_lease(session).duration_s for name, session in sessions.items()}

    async def step(self, seconds: float = 0.5) -> LevelChange | None:
        await self.follow()
        self.after(seconds)
        return self.change

    @property
    def change(self) -> LevelChange | None:
        return self.nva.state.intent.level_changes.get(BLUE)

    @property
    def waits_for(self) -> tuple[str, ...]:
        (one,) = self.nva.administration.level_changes()
        return one.waits_for


def run(story):
    asyncio.run(story())


def test_each_step_waits_for_everybody():
    async def story():
        agents = Followers(BASE)
        await agents.begin()
        agents.nva.administration.configure(raised())
        agents.after(0.5)
        assert agents.change == LevelChange(WEAK, WEAK, WEAK)
        assert "a key of" in agents.waits_for[0]
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        for _ in range(4):
            agents.after(GRACE_S)
            assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        assert agents.waits_for == NAMES
        assert {agents.nva.state.membership.levels_between("leaf1", "leaf2", raised().vn_by_name["blue"])} == {
            frozenset(Level)
        }
        assert await agents.step(0) == LevelChange(WEAK, STRONG, WEAK)
        agents.after(GRACE_S - 0.1)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK), "frames may be on their way"
        agents.after(0.2)
        assert agents.change == LevelChange(STRONG, STRONG, STRONG)
        assert agents.waits_for == NAMES
        assert await agents.step() is None
        assert not agents.nva.administration.level_changes()
        assert {view.peers[0].vnis[0][1] for view in agents.views.values()} == {STRONG}

    run(story)


def test_what_is_told_of_a_change():
    async def story():
        patient = replace(BASE.lifetimes, lease_s=2 * DEADLINE_S)
        agents = Followers(replace(BASE, lifetimes=patient))
        await agents.begin()
        agents.nva.administration.configure(replace(raised(), lifetimes=patient))
        agents.after(0.5)
        (one,) = agents.nva.administration.level_changes()
        assert (one.subject, one.wanted, one.late) == ("vn blue", STRONG, False)
        agents.after(DEADLINE_S)
        (one,) = agents.nva.administration.level_changes()
        assert one.late

    run(story)


def test_keys_that_are_left_stay_until_the_others_are_used():
    """A sender that has its view and not yet the key of the lower level goes on with the higher one."""

    async def story():
        agents = Followers(raised())
        await agents.begin()
        agents.nva.administration.configure(BASE)
        assert await agents.step() == LevelChange(STRONG, STRONG, WEAK)
        for _ in range(3):
            await agents.step()
        assert agents.change == LevelChange(STRONG, WEAK, WEAK)
        for _ in range(3):
            await agents.follow(sending=frozenset({STRONG.suite}))
            agents.after(GRACE_S)
        assert agents.change == LevelChange(STRONG, WEAK, WEAK)
        await agents.step(GRACE_S)
        assert await agents.step() is None

    run(story)


def test_one_that_hangs_gets_no_lease_and_the_others_go_on():
    async def story():
        agents = Followers(BASE)
        await agents.begin()
        agents.nva.administration.configure(raised())
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        hung = agents.sessions.pop("leaf2")
        await agents.step()
        await agents.step(GRACE_S)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        assert hung._handler.renew_lease(hung).duration_s == LEASE_S, "it has time to confirm"
        await agents.step(DEADLINE_S)
        assert hung._handler.renew_lease(hung).duration_s == 0
        assert agents.change == LevelChange(WEAK, STRONG, WEAK), "its last lease runs"
        (one,) = agents.nva.administration.level_changes()
        assert (one.waits_for, one.late) == (("leaf2",), True)
        await agents.step(LEASE_S)
        await agents.step(GRACE_S)
        assert await agents.step() == LevelChange(STRONG, STRONG, STRONG)
        # It is remembered that it has not followed, and it has no lease before it has.
        await agents.step(3 * LEASE_S)
        assert agents.change == LevelChange(STRONG, STRONG, STRONG)
        assert hung._handler.renew_lease(hung).duration_s == 0
        assert any("leaf2: its lease is withheld" in one for one in agents.nva.administration.alarms())
        agents.sessions["leaf2"] = hung
        assert await agents.step() is None
        assert agents.leases("leaf2") == {"leaf2": LEASE_S}

    run(story)


def test_one_that_hangs_has_no_lease_from_the_next_process_either():
    async def story():
        store = MemoryStore(b"h" * 16)
        agents = Followers(BASE, store)
        await agents.begin()
        agents.nva.administration.configure(raised())
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        next_one = Followers(raised(), store)
        await next_one.begin("leaf1", "leaf3")
        hung = next_one.nva.agents.open_session("leaf2")
        await hung.register(Registration(INCARNATIONS["leaf2"]))
        hung._handler.renew_lease(hung)
        assert next_one.change == LevelChange(WEAK, STRONG, WEAK)
        await next_one.step(DEADLINE_S + 2 * LEASE_S)
        assert hung._handler.renew_lease(hung).duration_s == 0
        await next_one.step(LEASE_S)
        await next_one.step(GRACE_S)
        assert next_one.change == LevelChange(STRONG, STRONG, STRONG)

    run(story)


def test_one_that_is_gone_is_waited_for_as_long_as_its_lease():
    async def story():
        agents = Followers(BASE)
        await agents.begin()
        await agents.sessions.pop("leaf2").close()
        agents.nva.administration.configure(raised())
        for _ in range(4):
            await agents.step()
        assert agents.change == LevelChange(WEAK, WEAK, WEAK)
        assert "leaf2" in agents.waits_for[0]
        await agents.step(LEASE_S)
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        await agents.step()
        await agents.step(GRACE_S)
        assert await agents.step() is None

    run(story)


def test_keys_that_never_come_are_not_waited_for_for_ever(monkeypatch):
    async def story():
        agents = Followers(BASE)
        await agents.begin()
        agents.nva.administration.configure(raised())
        agents.nva.state.keys.directions[Tunnel("leaf1", "leaf2", STRONG.suite)]
        monkeypatch.setattr(level_steps, "_is_there", lambda tunnel, around, both: tunnel.sender != "leaf1")
        await agents.step(LEASE_S - 1)
        assert agents.change == LevelChange(WEAK, WEAK, WEAK)
        assert agents.waits_for == ("a key of leaf1 to leaf2",)
        await agents.step(2)
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        # And what was sent before ends all the same.
        await agents.step()
        await agents.step(GRACE_S)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        await agents.step(LEASE_S)
        assert await agents.step() is None

    run(story)


def test_another_target_has_another_time_for_its_keys():
    async def story():
        agents = Followers(BASE)
        await agents.begin()
        agents.nva.administration.configure(raised())
        agents.after(LEASE_S - 1)
        agents.nva.administration.configure(raised(WEAK))
        agents.nva.administration.configure(raised())
        agents.after(2)
        assert agents.change == LevelChange(WEAK, WEAK, WEAK)
        agents.nva.administration.configure(replace(raised(), tunnels=(TunnelLevel(("leaf2", "leaf3"), STRONG),)))
        agents.after(LEASE_S - 1)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK), "another subject's does not prolong it"

    run(story)


def test_looking_for_keys_goes_on_where_it_was(monkeypatch):
    """However many directions there are, one look takes some of them, and none is left out."""
    monkeypatch.setattr(level_steps, "LOOKED_AT_ONCE", 2)
    looked: list[Tunnel] = []
    missing: set[Tunnel] = set()

    def is_there(tunnel, around, both):
        looked.append(tunnel)
        return tunnel not in missing

    async def story():
        agents = Followers(BASE)
        await agents.begin()
        missing.add(Tunnel("leaf2", "leaf1", STRONG.suite))
        monkeypatch.setattr(level_steps, "_is_there", is_there)
        agents.nva.administration.configure(raised())
        for _ in range(5):
            agents.after(0.1)
        assert agents.change == LevelChange(WEAK, WEAK, WEAK)
        missing.clear()
        for _ in range(5):
            agents.after(0.1)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        assert {(one.sender, one.receiver) for one in looked} == {(a, b) for a in NAMES for b in NAMES if a != b}

    run(story)


def test_one_look_takes_so_many_directions_of_all_changes_together(monkeypatch):
    """A look is in the way of everything else that the NVA does."""
    monkeypatch.setattr(level_steps, "LOOKED_AT_ONCE", 4)
    looked: list[Tunnel] = []

    def is_there(tunnel, around, both):
        looked.append(tunnel)
        return True

    async def story():
        agents = Followers(BASE)
        await agents.begin()
        monkeypatch.setattr(level_steps, "_is_there", is_there)
        both = tuple(replace(vn, level=STRONG) for vn in BASE.vns)
        agents.nva.administration.configure(replace(raised(), vns=both))
        for _ in range(40):
            looked.clear()
            agents.after(0.1)
            assert len(looked) <= 4
        assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        assert agents.nva.state.intent.level_changes[("red",)] == LevelChange(WEAK, STRONG, WEAK)

    run(story)


def test_a_step_of_another_change_begins_no_grace_anew():
    """Two VNs go up, one a little later: the steps of the one are no news of the other."""

    async def story():
        agents = Followers(BASE)
        await agents.begin()
        agents.nva.administration.configure(raised())
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        await agents.step(0)  # confirmed: from here on the grace of blue
        both = replace(raised(), vns=tuple(replace(vn, level=STRONG) for vn in BASE.vns))
        agents.nva.administration.configure(both)
        await agents.step(GRACE_S / 2)
        assert agents.nva.state.intent.level_changes[("red",)] == LevelChange(WEAK, STRONG, WEAK)
        assert agents.change == LevelChange(WEAK, STRONG, WEAK)
        agents.after(GRACE_S / 2 + 0.1)
        assert agents.change == LevelChange(STRONG, STRONG, STRONG)

    run(story)


def test_what_was_read_back_before_there_was_a_view_confirms_nothing():
    """After a restart of the NVA an agent says what its switch holds before it has had a view from this process."""

    async def story():
        store = MemoryStore(b"h" * 16)
        agents = Followers(BASE, store)
        await agents.begin()
        agents.nva.administration.configure(raised())
        assert await agents.step() == LevelChange(WEAK, STRONG, WEAK)
        steps = Followers(raised(), store).nva.state._levels
        owed = {nve for owing in steps._owed.values() for nve in owing}
        assert owed == set(NAMES)
        for name in NAMES:
            steps.confirmed(name, 0)
        assert {nve for owing in steps._owed.values() for nve in owing} == owed
        for name in NAMES:
            steps.confirmed(name, 1)
        assert not any(steps._owed.values())

    run(story)


@pytest.mark.parametrize("nves", [("leaf1",), ()])
def test_a_vn_of_nobody_changes_at_once(nves):
    async def story():
        few = tuple(
            nve if nve.name in nves else replace(nve, vaps=tuple(vap for vap in nve.vaps if vap.vn != "blue"))
            for nve in BASE.nves
        )
        agents = Followers(replace(BASE, nves=few, tenant_systems=(), reservations=(), shared_addresses=()))
        await agents.begin()
        domain = agents.nva.administration.domain
        agents.nva.administration.configure(replace(domain, vns=raised().vns))
        for _ in range(3):
            await agents.step()
            await agents.step(GRACE_S)
        assert agents.change is None

    run(story)
