# SPDX-License-Identifier: Apache-2.0
"""Which grants an agent uses, and how soon it asks again for one that was withheld."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from nvo3sec.domain.messages.session import LeaseGrant, StoreMark
from nvo3sec.nve import lease
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.lease import Lease, Leases
from nvo3sec.p4runtime import SwitchState, Table
from nvo3sec.program import generated as p4

NEVER_S = 1000.0


class World:
    """An agent that only keeps its lease. grants: what the NVA answers, one after the other; then it is silent."""

    def __init__(self, *grants: float) -> None:
        self.asked = 0
        self.written: list[int] = []
        self.grants = list(grants)
        self.early = False
        self.says = True
        self.waiting = asyncio.Event()
        client = SimpleNamespace(name="leaf1", write=self.write)
        driver, memory = SimpleNamespace(client=client, ask_state=self.ask_state), SimpleNamespace(marks=(), fault="")
        self.lease = Lease(driver, self, memory, ClockReading(0, 0.0, 0.0))

    async def renew_lease(self, _seen) -> LeaseGrant:
        self.asked += 1
        if not self.grants:
            self.waiting.set()
            await asyncio.Event().wait()
        return LeaseGrant(self.grants.pop(0), StoreMark(0, 0), self.early)

    async def ask_state(self):
        """Between the question and the use of its answer the switch is read back for the first time."""
        if self.says:
            self.lease.ready()
        return SimpleNamespace(reading=ClockReading(0, 0.0, 0.0), agrees=True)

    async def write(self, updates) -> None:
        self.written += updates

    async def until_silent(self) -> None:
        keep = self.lease.keep(lambda: NEVER_S, lambda: None)
        task, silent = asyncio.create_task(keep), asyncio.create_task(self.waiting.wait())
        try:
            async with asyncio.timeout(60):
                await asyncio.wait((task, silent), return_when=asyncio.FIRST_COMPLETED)
            assert silent.done(), await task
        finally:
            task.cancel()
            silent.cancel()


class TestKeepLease:
    def test_a_grant_from_before_the_first_read_back_is_not_used(self):
        """The NVA could not know then what the switch has let go of, and withheld it."""

        async def run():
            world = World(0.0, 0.0)
            await world.until_silent()
            assert world.asked == 3
            assert len(world.written) == 1, "only the second"

        asyncio.run(run())

    def test_what_is_withheld_is_asked_for_again_soon(self):
        async def run():
            world = World(0.0, 0.0, 0.0)
            await world.until_silent()
            assert len(world.written) == 2

        asyncio.run(run())

    def test_what_is_granted_is_good_until_it_is_to_be_renewed(self, monkeypatch):
        async def run():
            world, slept = World(30.0, 30.0), []

            async def sleep(seconds: float) -> None:
                slept.append(seconds)

            monkeypatch.setattr(lease.asyncio, "sleep", sleep)
            await world.until_silent()
            assert slept == [lease.RETRY_S, NEVER_S]

        asyncio.run(run())


def found(not_after: int | None) -> SwitchState:
    """A switch with this end of its lease."""
    entry = p4.lease_no_lease() if not_after is None else p4.lease_grant(not_after=not_after)
    return SwitchState({}, {Table.LEASE: entry}, {})


class TestEarly:
    """Grants of an NVA that is loading: they prolong a lease that runs, and open nothing."""

    @pytest.mark.parametrize(
        ("ends", "now_us", "prolonged"),
        [
            (5_000_000, 4_999_999, True),
            (5_000_000, 5_000_000, False),  # it has run out
            (5_000_000, 9_000_000, False),
            (50_000_000, 4_000_000, False),  # it ends later than the grant
            (None, 4_000_000, False),
        ],
    )
    def test_only_a_lease_that_runs_is_prolonged(self, ends, now_us, prolonged):
        async def run():
            written: list[object] = []

            async def write(updates) -> None:
                written.extend(updates)

            leases, grant = Leases(found(ends)), LeaseGrant(30.0, StoreMark(0, 0), early=True)
            reading = ClockReading(now_us, 10.0, 10.0)
            not_after = await leases.prolong(SimpleNamespace(write=write), 9.0, grant, reading)
            assert (not_after is not None) is prolonged
            assert bool(written) is prolonged
            if prolonged:
                assert not_after == now_us + 29_000_000, "from when it was asked for"
                assert leases.possible == {ends, not_after}
                later = ClockReading(not_after, 39.0, 39.0)
                assert await leases.prolong(SimpleNamespace(write=write), 39.0, grant, later) is None

        asyncio.run(run())

    def test_they_are_used_before_the_first_read_back(self, monkeypatch):
        monkeypatch.setattr(lease, "LOADING_S", 0.0)

        async def run():
            world = World(0.3)
            world.early = True
            world.lease.leases = Leases(found(5_000_000))
            world.says = False
            await world.until_silent()
            assert len(world.written) == 1

        asyncio.run(run())
