# SPDX-License-Identifier: Apache-2.0
"""Somebody changes a switch behind its agent's back: that is noticed, put right, and reported with what was found."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

import pytest
from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import IncarnationLost
from nvo3sec.nve import audit
from nvo3sec.nve.audit import OFTEN, Audit
from nvo3sec.nve.lease import Leases
from nvo3sec.nve.plan import MANAGED_TABLES
from nvo3sec.p4runtime import Operation, SwitchState, Table, Update
from nvo3sec.program import generated as p4
from working_agent import working

INTRUDER = p4.authorized_nve_permit(source=0x0A000001, destination=0xC0000202, peer=9, tag=1, zero_checksum=0)
INCARNATION = bytes(range(16))
MINE = p4.authorized_nve_permit(source=0xC0000201, destination=0xC0000202, peer=1, tag=1, zero_checksum=0)


def reported(one) -> list[tuple[str, str]]:
    return [(record.report.event, record.report.detail) for record in one.nva.state.reports]


def no_whole_audit(monkeypatch) -> None:
    """What is noticed then, is noticed by the frequent looks."""
    monkeypatch.setattr(audit, "WHOLE_S", float("inf"))


class TestBehindTheAgentsBack:
    """On a real switch; nothing is asked of the agent."""

    @pytest.mark.parametrize(
        "table", [Table.SA_RX, Table.AUTHORIZED_NVE, Table.VN_INGRESS_AUTHORIZATION, Table.VAP, Table.SOURCE_GUARD]
    )
    def test_deleted(self, start_switch, monkeypatch, table):
        no_whole_audit(monkeypatch)

        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                await one.has_peers()
                client = one.agent._serving.driver.client
                (entry, *_) = (await client.read((table,))).entries.values()
                await client.write([Update(Operation.DELETE, entry)])
                await one.until(lambda: ("foreign-entry", f"missing {entry.describe()}") in reported(one))
                await one.until(one.is_ready)
                assert (await client.read((table,))).entries[entry.key] == entry

        asyncio.run(run())

    def test_added(self, start_switch, monkeypatch):
        no_whole_audit(monkeypatch)

        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                await one.until(one.is_ready)
                client = one.agent._serving.driver.client
                await client.write([Update(Operation.INSERT, INTRUDER)])
                await one.until(lambda: ("foreign-entry", f"unknown {INTRUDER.describe()}") in reported(one))
                await one.until(one.is_ready)
                assert INTRUDER.key not in (await client.read((Table.AUTHORIZED_NVE,))).entries

        asyncio.run(run())

    def test_altered(self, start_switch, monkeypatch):
        no_whole_audit(monkeypatch)

        async def run():
            async with working(start_switch("leaf2", 2)) as one:
                await one.until(one.is_ready)
                client = one.agent._serving.driver.client
                (vap, *_) = (await client.read((Table.VAP,))).entries.values()
                params = tuple((name, 5002 if name == "vni" else value) for name, value in vap.params)
                changed = dataclasses.replace(vap, params=params)
                assert changed != vap
                await client.write([Update(Operation.MODIFY, changed)])
                await one.until(lambda: ("foreign-entry", f"altered {changed.describe()}") in reported(one))
                await one.until(one.is_ready)
                assert (await client.read((Table.VAP,))).entries[vap.key] == vap

        asyncio.run(run())

    @pytest.mark.parametrize("entry", [p4.lease_grant(not_after=2**47), p4.lease_no_lease()])
    def test_the_lease(self, start_switch, monkeypatch, entry):
        """A lease that somebody gives himself would outlast every revocation."""
        no_whole_audit(monkeypatch)

        async def run():
            async with working(start_switch("leaf2", 2), lease_renew_s=1000.0) as one:
                await one.until(one.is_ready)
                serving = one.agent._serving
                client = serving.driver.client
                await client.write([Update(Operation.MODIFY, entry)])
                await one.until(lambda: ("foreign-entry", f"altered {entry.describe()}") in reported(one))
                mine = p4.lease_grant(not_after=serving.lease.not_after_us)

                async def is_mine() -> bool:
                    return (await client.read((Table.LEASE,))).defaults[Table.LEASE] == mine

                await one.until(is_mine)

        asyncio.run(run())

    def test_the_incarnation(self, start_switch, monkeypatch):
        no_whole_audit(monkeypatch)

        async def run():
            async with working(start_switch("leaf2", 2), lease_renew_s=1000.0) as one:
                await one.until(one.is_ready)
                before = one.agent.status().incarnation
                entry = p4.incarnation_set_incarnation(incarnation=7)
                await one.agent._serving.driver.client.write([Update(Operation.MODIFY, entry)])
                await one.until(lambda: one.agent.status().incarnation not in ("", before) and one.is_ready())
                assert ("incarnation-lost", "somebody has changed the entry") in reported(one)

        asyncio.run(run())


class Client:
    """A switch that answers what it is told to."""

    name = "leaf2"

    def __init__(self) -> None:
        self.state = SwitchState(
            {MINE.key: MINE},
            {Table.INCARNATION: p4.incarnation_set_incarnation(incarnation=int.from_bytes(INCARNATION, "big"))},
            {},
        )
        self.reads: list[tuple[Table, ...]] = []

    async def read(self, tables, *, groups: bool) -> SwitchState:
        assert not groups
        self.reads.append(tuple(tables))
        return self.state

    async def write(self, updates) -> None:
        for update in updates:
            self.state = dataclasses.replace(self.state, defaults={**self.state.defaults, Table.LEASE: update.item})


class Differs:
    def __init__(self, answer: bool = False) -> None:
        self.answer = answer

    def differs(self, _tables, _state) -> bool:
        return self.answer


class World:
    def __init__(self, **options) -> None:
        self.client, self.leases = Client(), Leases()
        self.marked: list[object] = []
        self.found: list[Report] = []
        self.audit = Audit(
            self.client, Differs(**options), self.leases, asyncio.Lock(), INCARNATION, self.marked.append, self.tell
        )

    async def tell(self, report: Report) -> None:
        self.found.append(report)


class TestLook:
    def test_as_it_was_left_nothing_is_done(self):
        async def run():
            world = World()
            await world.audit.look(OFTEN[0])
            assert (world.marked, world.found) == ([], [])

        asyncio.run(run())

    def test_a_difference_has_the_whole_switch_reconciled(self):
        async def run():
            world = World(answer=True)
            await world.audit.look(OFTEN[1])
            assert world.marked == [MANAGED_TABLES]

        asyncio.run(run())

    def test_a_lease_that_is_being_renewed_is_nobody_elses(self):
        async def run():
            world = World()
            await world.leases.write(world.client, 1000)
            older = world.client.state
            await world.leases.write(world.client, 2000)
            world.client.state = older  # read before the last write had arrived
            await world.audit.look(OFTEN[0])
            assert world.found == []
            await world.leases.write(world.client, 3000)
            world.client.state = older
            await world.audit.look(OFTEN[0])
            assert [one.detail for one in world.found] == ["altered lease[] -> grant(not_after=1000)"]
            assert world.client.state.defaults[Table.LEASE] == p4.lease_grant(not_after=3000)

        asyncio.run(run())

    def test_a_lease_from_before_the_session_is_not_judged(self):
        async def run():
            world = World()
            await world.client.write([Update(Operation.MODIFY, p4.lease_grant(not_after=7))])
            await world.audit.look(OFTEN[0])
            assert world.found == []

        asyncio.run(run())

    def test_another_incarnation_ends_it(self):
        async def run():
            world = World()
            world.client.state = dataclasses.replace(world.client.state, defaults={})
            with pytest.raises(IncarnationLost):
                await world.audit.look(OFTEN[0])
            assert [one.event for one in world.found] == ["incarnation-lost"]

        asyncio.run(run())


class TestCost:
    def test_what_costs_much_comes_seldom(self, monkeypatch):
        """A twentieth of the time at most, and every table of the frequent ones in its turn."""

        async def run():
            world, slept = World(), []
            costs = itertools.chain([0.0, 0.4, 2.0], itertools.repeat(0.0))
            look = world.audit.look

            async def costly(tables):
                await look(tables)
                return next(costs)

            async def sleep(seconds: float) -> None:
                slept.append(seconds)
                if len(slept) == 4:
                    raise asyncio.CancelledError

            monkeypatch.setattr(world.audit, "look", costly)
            monkeypatch.setattr(audit.asyncio, "sleep", sleep)
            with pytest.raises(asyncio.CancelledError):
                await world.audit.run()
            assert slept == [audit.TURN_S, 8.0, 40.0, audit.TURN_S]
            assert world.client.reads == [*OFTEN, OFTEN[0]]

        asyncio.run(run())

    def test_the_whole_is_looked_at_as_well(self, monkeypatch):
        async def run():
            world = World()
            monkeypatch.setattr(audit, "WHOLE_S", 0.0)
            marked = asyncio.Event()
            world.audit._mark = lambda tables: (world.marked.append(tables), marked.set())
            monkeypatch.setattr(audit, "TURN_S", 0.0)
            task = asyncio.create_task(world.audit.run())
            async with asyncio.timeout(60):
                await marked.wait()
            task.cancel()
            assert world.marked[0] == MANAGED_TABLES

        asyncio.run(run())
