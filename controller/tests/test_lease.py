# SPDX-License-Identifier: Apache-2.0
"""Which grants an agent uses, and how soon it asks again for one that was withheld."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from nvo3sec.domain.messages import LeaseGrant, StoreMark
from nvo3sec.nve import serving
from nvo3sec.nve.audit import Leases
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.serving import Serving

NEVER_S = 1000.0


class World:
    """An agent that only keeps its lease. grants: what the NVA answers, one after the other; then it is silent."""

    def __init__(self, *grants: float) -> None:
        self.asked = 0
        self.written: list[int] = []
        self.grants = list(grants)
        self.waiting = asyncio.Event()
        self.serving = object.__new__(Serving)
        self.serving._has_said = False
        self.serving._leases = Leases()
        self.serving._session = self
        self.serving._memory = SimpleNamespace(marks=())
        self.serving.view = SimpleNamespace(lease_renew_s=NEVER_S)
        client = SimpleNamespace(name="leaf1", write=self.write)
        self.serving.driver = SimpleNamespace(client=client, ask_state=self.ask_state)

    async def renew_lease(self, _seen) -> LeaseGrant:
        self.asked += 1
        if not self.grants:
            self.waiting.set()
            await asyncio.Event().wait()
        return LeaseGrant(self.grants.pop(0), StoreMark(0, 0))

    async def ask_state(self):
        """Between the question and the use of its answer the switch is read back for the first time."""
        self.serving._has_said = True
        return SimpleNamespace(reading=ClockReading(0, 0.0, 0.0), agrees=True)

    async def write(self, updates) -> None:
        self.written += updates

    async def until_silent(self) -> None:
        task = asyncio.create_task(self.serving._keep_lease())
        try:
            async with asyncio.timeout(60):
                await self.waiting.wait()
        finally:
            task.cancel()


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

            monkeypatch.setattr(serving.asyncio, "sleep", sleep)
            await world.until_silent()
            assert slept == [serving.RETRY_FIRST_S, NEVER_S]

        asyncio.run(run())
