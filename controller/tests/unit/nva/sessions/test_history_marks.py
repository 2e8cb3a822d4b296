# SPDX-License-Identifier: Apache-2.0
"""A store that was put back together with its keys: who remembers what was lost is not deceived, and says so."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from dataclasses import replace

import pytest
from domain_variants import without
from nva_agents import DOMAIN, INCARNATIONS, Agents
from nvo3sec.domain.mapping import SetVersion
from nvo3sec.domain.messages.history import not_in_history
from nvo3sec.domain.messages.session import Registration, StoreMark, Welcome
from nvo3sec.errors import HistoryDisputed, NvaGoneBack, OperatorError
from nvo3sec.nva.sessions.history_marks import INTERVAL_S, KEPT
from nvo3sec.nva.store import Point, StoreError, open_store
from nvo3sec.nve import AgentMemory
from nvo3sec.transport import methods
from nvo3sec.wire import checks, up

LEAVES = ("leaf1", "leaf2", "leaf3")
ONE, OTHER = StoreMark(1, 7, b"1" * 32), StoreMark(1, 7, b"2" * 32)


class World:
    """An NVA over a store on the disk, and what its agents remember."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.memories = {name: self.memory(name) for name in LEAVES}
        self.numbers = itertools.count()
        self.store = self.agents = None
        self.start()

    def memory(self, name) -> AgentMemory:
        (self.directory / name).mkdir(exist_ok=True)
        return AgentMemory(name, self.directory / name / "agent.json")

    def start(self, **options) -> None:
        self.stop()
        self.store = open_store(self.directory / "db" / "nva.sqlite", self.directory / "keys", DOMAIN.name, **options)
        self.agents = Agents(store=self.store)

    @property
    def nva(self):
        return self.agents.nva

    def stop(self) -> None:
        if self.store is not None:
            self.store.close()

    def copy(self, to) -> None:
        self.stop()
        for part in ("db", "keys"):
            shutil.copytree(self.directory / part, self.directory / f"{to}-{part}")
        self.start()

    def put_back(self, name) -> None:
        self.stop()
        for part in ("db", "keys"):
            shutil.rmtree(self.directory / part)
            shutil.copytree(self.directory / f"{name}-{part}", self.directory / part)

    def grow(self, commits=50) -> None:
        for _ in range(commits):
            self.store.commit((SetVersion(999, next(self.numbers)),))

    async def welcome(self, name) -> Welcome:
        """What an NVA says to who comes, whether it serves him or not."""
        memory = self.memories[name]
        session = self.nva.agents.open_session(name)
        return Welcome(bytes(16), session.mark, session.known(memory.marks))

    async def come(self, name) -> None:
        """As the transport does it, but that the agent is asked only if the NVA has nothing against it."""
        memory = self.memories[name]
        welcome = await self.welcome(name)
        await self.agents.join(name, registration=Registration(INCARNATIONS[name], seen=memory.marks))
        memory.compare(welcome.mark, welcome.known)
        memory.see(welcome.mark)

    async def renew(self, name) -> None:
        memory = self.memories[name]
        memory.see((await self.agents.sessions[name].renew_lease(memory.marks)).mark)

    async def live(self, *names, rounds=2) -> None:
        """Renewals, and time for the NVA between them."""
        for _ in range(rounds):
            self.agents.after(INTERVAL_S)
            for name in names:
                await self.renew(name)


@pytest.fixture
def world(tmp_path):
    one = World(tmp_path)
    yield one
    one.stop()


async def lost(world) -> None:
    """A copy is made, leaf3 is revoked, everybody hears of it; then the copy is put back and grows."""
    for name in LEAVES:
        await world.come(name)
    await world.live(*LEAVES)
    world.copy("old")
    for name in LEAVES:
        await world.come(name)
    world.nva.administration.revoke("leaf3")
    await world.live("leaf1", "leaf2")
    world.put_back("old")
    world.start()
    assert world.nva.administration.excluded == {}, "the NVA cannot know it"
    world.grow()


def run(coroutine) -> None:
    asyncio.run(coroutine)


class TestAnOldStore:
    def test_the_nva_notices_it_says_so_and_does_not_serve(self, world):
        async def check():
            await lost(world)
            remembered = world.memories["leaf2"].mark
            assert remembered.is_before(StoreMark(1, world.store.version)), "numbers say nothing"
            for _ in range(2):
                with pytest.raises(HistoryDisputed, match="no such version in its history"):
                    await world.come("leaf2")
            assert world.nva.administration.registered == ()
            assert set(world.nva.state.marks.disputes) == {"leaf2"}
            reports = [(one.nve, one.report.event) for one in world.nva.state.reports]
            assert ("leaf2", "store-disputed") in reports
            said = world.nva.state.marks.disputes
            world.start()
            assert world.nva.state.marks.disputes == said, "also after a restart"

        run(check())

    def test_the_agent_notices_it_by_itself(self, world):
        async def check():
            await lost(world)
            memory, welcome = world.memories["leaf2"], await world.welcome("leaf2")
            before = memory.mark
            with pytest.raises(NvaGoneBack, match="has gone back"):
                memory.compare(welcome.mark, welcome.known)
            later = StoreMark(1, world.store.version, world.store.digest)
            with pytest.raises(NvaGoneBack, match="has gone back"):
                memory.compare(later, (later,))
            assert memory.mark == world.memory("leaf2").mark == before, "nothing of it is remembered"

        run(check())

    def test_in_the_middle_of_a_session(self, world):
        """The agent's own account of what it remembers is compared with each renewal."""

        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            with pytest.raises(HistoryDisputed):
                await world.agents.sessions["leaf1"].renew_lease((replace(ONE, version=2),))
            await world.renew("leaf1")

        run(check())

    def test_equal_commits_do_not_make_it_the_same(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            world.copy("old")
            await world.come("leaf1")
            world.grow(5)
            await world.live("leaf1")
            world.put_back("old")
            world.start()
            world.grow(5)
            with pytest.raises(HistoryDisputed):
                await world.come("leaf1")

        run(check())

    def test_what_another_nve_was_told_is_no_help(self, world):
        async def check():
            for name in ("leaf1", "leaf2"):
                await world.come(name)
            await world.live("leaf1", "leaf2")
            await world.agents.sessions.pop("leaf1").close()
            world.grow(1)
            await world.live("leaf2")
            world.memories["leaf1"].mark = world.memories["leaf2"].mark
            with pytest.raises(HistoryDisputed):
                await world.come("leaf1")

        run(check())

    def test_a_new_term_is_the_way_out(self, world):
        async def check():
            await lost(world)
            world.stop()
            with pytest.raises(StoreError, match="acknowledged last"):
                world.start(start_new_term=True)
            world.start()
            with pytest.raises(HistoryDisputed):
                await world.come("leaf2")
            world.start(start_new_term=True)
            assert world.nva.state.marks.disputes == {}
            world.nva.administration.revoke("leaf3")
            for name in ("leaf1", "leaf2"):
                await world.come(name)
            await world.live("leaf1", "leaf2")
            assert world.memories["leaf2"].mark.term == 2
            world.start()
            for name in ("leaf1", "leaf2"):
                await world.come(name)

        run(check())

    def test_an_nva_that_forgets_does_not_serve_who_remembers(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            memory = world.memories["leaf1"]
            forgetful = Agents()
            with pytest.raises(HistoryDisputed):
                await forgetful.join("leaf1", registration=Registration(INCARNATIONS["leaf1"], seen=memory.marks))
            with pytest.raises(NvaGoneBack, match="has gone back"):
                memory.compare(forgetful.nva.state.marks.of("leaf1"), ())
            with pytest.raises(NvaGoneBack, match="has gone back"):
                memory.see(forgetful.nva.state.marks.of("leaf1"))
            await forgetful.join("leaf2")

        run(check())


class TestLegitimate:
    def test_restarts_of_either_and_of_both(self, world):
        async def check():
            for name in LEAVES:
                await world.come(name)
            for number in range(6):
                await world.live(*LEAVES)
                assert all(memory.mark.digest for memory in world.memories.values())
                world.grow(3)
                if number % 2:
                    world.start()
                if number % 3:
                    world.memories |= {name: world.memory(name) for name in LEAVES}
                for name in LEAVES:
                    await world.come(name)
            assert world.nva.state.marks.disputes == {}

        run(check())

    def test_a_store_that_is_far_ahead_of_who_was_away(self, world):
        async def check():
            for name in LEAVES:
                await world.come(name)
            await world.live(*LEAVES)
            await world.agents.sessions.pop("leaf2").close()
            for _ in range(3):
                world.grow(200)
                await world.live("leaf1", "leaf3")
                world.start()
                await world.come("leaf1")
                await world.come("leaf3")
            await world.come("leaf2")
            await world.live("leaf2")
            assert world.memories["leaf2"].mark.version > 600

        run(check())

    def test_what_was_told_and_never_arrived(self, world):
        """The answer is lost, and so is the NVA: the agent remembers what it did before, and that is still known."""

        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            for _ in range(5):
                world.grow(2)
                world.agents.after(INTERVAL_S)
                await world.agents.sessions["leaf1"].renew_lease(world.memories["leaf1"].marks)
            world.start()
            await world.come("leaf1")

        run(check())

    def test_an_agent_without_a_memory_is_a_new_one(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            world.memories["leaf1"] = AgentMemory("leaf1")
            await world.come("leaf1")
            await world.live("leaf1")
            world.start()
            await world.come("leaf1")

        run(check())

    @pytest.mark.parametrize("times", [1, 10])
    def test_somebody_without_a_memory_came_in_its_name_meanwhile(self, world, times):
        """Who shows nothing does not make the NVA forget what it has told others of that name."""

        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            memory = world.memories["leaf1"]
            for _ in range(times):
                world.grow(2)
                world.agents.after(INTERVAL_S)  # something is ready to be told, and nobody was told
                world.memories["leaf1"] = AgentMemory("leaf1")
                await world.come("leaf1")
                world.grow(2)
                world.agents.after(INTERVAL_S)
            world.memories["leaf1"] = memory
            world.start()
            await world.come("leaf1")

        run(check())

    def test_somebody_with_a_memory_of_its_own_does_not_go_unnoticed(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            memory = world.memories["leaf1"]
            world.memories["leaf1"] = AgentMemory("leaf1")
            await world.come("leaf1")
            for _ in range(2):
                world.grow(2)
                await world.live("leaf1")
            world.memories["leaf1"] = memory
            with pytest.raises(HistoryDisputed, match="somebody else came with its certificate"):
                await world.come("leaf1")

        run(check())

    def test_an_agent_from_before_there_were_digests(self, world):
        async def check():
            world.grow()
            path = world.directory / "leaf1" / "agent.json"
            old = {"format": 1, "nve": "leaf1", "term": 1, "version": 20, "attachments": []}
            path.write_text(json.dumps(old))
            world.memories["leaf1"] = memory = world.memory("leaf1")
            assert memory.marks == (StoreMark(1, 20),)
            await world.come("leaf1")
            await world.live("leaf1")
            assert memory.mark.digest
            path.write_text(json.dumps(old | {"version": 10_000}))
            world.memories["leaf1"] = world.memory("leaf1")
            with pytest.raises(HistoryDisputed):
                await world.come("leaf1")

        run(check())

    def test_who_comes_again_with_a_good_memory_disputes_nothing_any_more(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            good = world.memories["leaf1"].mark
            world.memories["leaf1"].mark = replace(good, digest=b"x" * 32)
            with pytest.raises(HistoryDisputed):
                await world.come("leaf1")
            world.memories["leaf1"].mark = good
            await world.come("leaf1")
            assert world.nva.state.marks.disputes == {}
            world.start()
            assert world.nva.state.marks.disputes == {}

        run(check())

    def test_who_is_revoked_for_good_disputes_nothing(self, world):
        async def check():
            world.memories["leaf3"].mark = StoreMark(1, 3, b"x" * 32)
            with pytest.raises(HistoryDisputed):
                await world.come("leaf3")
            world.nva.administration.revoke("leaf3")
            assert world.nva.state.marks.disputes == {}
            assert world.store.load().told == ()

        run(check())

    def test_a_disk_that_is_full_at_the_agent(self, world):
        """What it remembers and what a restart of it would are two, and both are known."""

        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            draft = world.directory / "leaf1" / "agent.json.new"
            draft.mkdir()
            memory = world.memories["leaf1"]
            for _ in range(4):
                world.grow(2)
                await world.live("leaf1")
            assert len(memory.marks) == 2
            draft.rmdir()
            world.start()
            world.memories["leaf1"] = world.memory("leaf1")
            assert world.memories["leaf1"].mark != memory.mark
            await world.come("leaf1")

        run(check())


class TestBounds:
    def test_few_rows_for_each_nve_however_long(self, world):
        async def check():
            for name in LEAVES:
                await world.come(name)
            most = 0
            for number in range(40):
                world.grow(2)
                await world.live(*(LEAVES if number % 3 else LEAVES[:1]), rounds=1)
                rows = world.store.load().told
                most = max(most, max(sum(nve == name for nve, *_ in rows) for name in LEAVES))
            assert 1 < most <= 3

        run(check())

    def test_few_rows_for_who_never_brings_what_it_was_told(self, world):
        async def check():
            await world.come("leaf1")
            await world.live("leaf1")
            for _ in range(20):
                world.memories["leaf1"] = AgentMemory("leaf1")
                await world.come("leaf1")
                world.grow(2)
                world.agents.after(INTERVAL_S)
            assert len(world.store.load().told) == KEPT + 2

        run(check())

    def test_a_store_at_rest_stays_at_rest(self, world):
        async def check():
            for name in LEAVES:
                await world.come(name)
            await world.live(*LEAVES, rounds=4)
            version = world.store.version
            await world.live(*LEAVES, rounds=20)
            assert world.store.version == version, "to tell how far it has come is no reason to go on"

        run(check())

    def test_one_commit_a_second_at_most(self, world):
        async def check():
            for name in LEAVES:
                await world.come(name)
            await world.live(*LEAVES)
            version = world.store.version
            for _ in range(20):
                world.grow(1)
                world.agents.after(INTERVAL_S / 20)
                for name in LEAVES:
                    await world.renew(name)
            assert world.store.version <= version + 20 + 2

        run(check())

    def test_a_revocation_is_told_with_the_next_renewal(self, world):
        """It is what matters most; the rest may take one more."""

        async def check():
            for name in LEAVES:
                await world.come(name)
            await world.live(*LEAVES)
            world.grow(1)
            world.agents.after(INTERVAL_S)  # something is ready to be told, and was not asked for yet
            world.nva.administration.revoke("leaf3")
            revoked = world.store.version
            await world.renew("leaf1")
            assert world.memories["leaf1"].mark.version >= revoked - 2

        run(check())

    def test_a_liar_writes_once(self, world):
        async def check():
            version = world.store.version
            for number in range(10):
                world.memories["leaf1"].mark = StoreMark(1, number + 1, b"x" * 32)
                with pytest.raises(HistoryDisputed):
                    await world.come("leaf1")
            assert world.store.version == version + 1

        run(check())

    def test_a_liar_is_not_heard_without_end_and_loses_its_session(self, world):
        async def check():
            await world.come("leaf1")
            session = world.agents.sessions["leaf1"]
            for number in range(200):
                with pytest.raises(HistoryDisputed):
                    await session.renew_lease((StoreMark(1, number + 1, b"x" * 32),))
            assert session.ended.is_set()
            assert world.nva.state.reports.left_out["leaf1"] > 100

        run(check())

    def test_who_is_no_longer_of_the_domain_has_no_say(self, world):
        async def check():
            world.memories["leaf3"].mark = StoreMark(1, 1, b"x" * 32)
            with pytest.raises(HistoryDisputed):
                await world.come("leaf3")
            domain = world.nva.state.domain
            world.nva.administration.configure(without(domain, "leaf3"))
            assert world.nva.state.marks.disputes == {}
            world.start()
            assert world.nva.state.marks.disputes == {}
            # Or it goes with the file that an NVA is started with.
            with pytest.raises(HistoryDisputed):
                await world.come("leaf3")
            assert set(world.nva.state.marks.disputes) == {"leaf3"}
            assert Agents(without(domain, "leaf3"), store=world.store).nva.state.marks.disputes == {}

        run(check())

    def test_nothing_is_told_before_it_is_stored(self, world):
        """Whenever the NVA dies: what an agent was told is known to the next one."""

        class Died(BaseException):
            pass

        async def check():
            places = (Point.CHANGES_WRITTEN, Point.INTENDED, Point.COMMITTED, Point.SETTLED)
            for place in places:
                await world.come("leaf1")
                await world.live("leaf1")
                world.grow(2)

                def at(point, place=place):
                    if point is place:
                        raise Died

                world.store._at = at
                with pytest.raises(Died):
                    world.agents.after(INTERVAL_S)
                world.memories["leaf1"].see(world.nva.state.marks.of("leaf1"))
                world.store.close()
                world.start()
                await world.come("leaf1")

        run(check())


class TestRule:
    @pytest.mark.parametrize(
        ("seen", "now", "known", "strange"),
        [
            ((), ONE, (), None),
            ((ONE,), ONE, (ONE,), None),
            ((ONE,), ONE, (), ONE),
            ((ONE,), ONE, (OTHER,), ONE),
            ((ONE,), StoreMark(1, 900), (), ONE),
            ((ONE,), StoreMark(1, 900), (ONE,), None),
            ((ONE, OTHER), StoreMark(1, 900), (ONE,), OTHER),
            ((ONE,), StoreMark(2, 1), (), None),
            ((StoreMark(2, 7, b"1" * 32),), StoreMark(1, 900), (), StoreMark(2, 7, b"1" * 32)),
            ((StoreMark(1, 7),), StoreMark(1, 7), (), None),
            ((StoreMark(1, 7),), StoreMark(1, 6), (), StoreMark(1, 7)),
            ((ONE,), StoreMark(0, 0), (), ONE),
        ],
    )
    def test_it(self, seen, now, known, strange):
        assert not_in_history(seen, now, known) == strange


class TestMemory:
    @pytest.mark.parametrize("mark", [OTHER, StoreMark(1, 7), StoreMark(1, 900)])
    def test_another_history_is_not_taken(self, tmp_path, mark):
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        memory.see(ONE)
        with pytest.raises(NvaGoneBack, match="has gone back"):
            memory.see(mark)
        memory.see(ONE)
        memory.see(replace(OTHER, version=8))
        memory.see(StoreMark(2, 1))

    def test_numbers_of_another_term_are_not_compared(self, tmp_path):
        memory = AgentMemory("leaf1", tmp_path / "agent.json")
        memory.see(ONE)
        memory.see(replace(OTHER, term=2))
        assert memory.mark == replace(OTHER, term=2)

    def test_what_could_not_be_written_is_written_later(self, tmp_path):
        memory, path = AgentMemory("leaf1", tmp_path / "agent.json"), tmp_path / "agent.json"
        (tmp_path / "agent.json.new").mkdir()
        memory.see(ONE)
        assert memory.mark == ONE
        assert not path.exists()
        (tmp_path / "agent.json.new").rmdir()
        memory.see(ONE)
        assert AgentMemory("leaf1", path).mark == ONE
        assert memory.marks == (ONE,)

    def test_all_that_it_may_show_fits_into_a_renewal(self):
        mark = StoreMark(checks.VERSION_LIMIT, checks.VERSION_LIMIT, b"d" * 32)
        request = up.encode_renewal(b"s" * checks.SESSION_BYTES, [mark] * checks.MARKS_LIMIT)
        assert len(request) <= methods.LEASE_LIMITS.message_bytes

    @pytest.mark.parametrize("digest", ["zz", "00" * 31, 5, None])
    def test_a_digest_that_is_none(self, tmp_path, digest):
        path = tmp_path / "agent.json"
        AgentMemory("leaf1", path).see(ONE)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": digest}))
        with pytest.raises(OperatorError, match=r"agent\.json"):
            AgentMemory("leaf1", path)
