# SPDX-License-Identifier: Apache-2.0
"""The lease of a switch: asked for again and again, and written where the switch is what the NVA thinks it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nvo3sec.domain.messages.session import LeaseGrant, Report
from nvo3sec.errors import IncarnationLost
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.p4runtime import Operation, SwitchClient, SwitchState, Table, Update
from nvo3sec.program import generated as p4
from nvo3sec.system.uptime import uptime_s

RETRY_S = 0.2
"""How soon a lease that was withheld is asked for again: it may be given as soon as the NVA has heard that the switch
has let go of somebody."""
AGAIN_S = 0.2
"""How often is looked whether the switch holds what the NVA wants, where a lease waits for that."""
LOADING_S = 5.0
"""How often an NVA that is loading is asked for a lease, at most."""


class Leases:
    """What the agent has written into its switch as the end of its lease (microseconds of the switch's clock)."""

    def __init__(self, found: SwitchState | None = None) -> None:
        """found: the switch as it was when the session began."""
        entry = None if found is None else found.defaults.get(Table.LEASE)
        self._found = None if entry is None else dict(entry.params).get("not_after")
        self._last: tuple[int, ...] = ()

    async def write(self, client: SwitchClient, not_after: int) -> None:
        """Write one. Raises SwitchError, and then either it or the one before is there."""
        self._last = (*self._last[-1:], not_after)
        await client.write([Update(Operation.MODIFY, p4.lease_grant(not_after=not_after))])

    async def prolong(
        self, client: SwitchClient, asked_at: float, grant: LeaseGrant, reading: ClockReading
    ) -> int | None:
        """Let the lease that is in the switch end later, if it runs; returns when it ends then, None if it stays.

        The grant is of an NVA that has not said yet what the switch is to hold. asked_at: when it was asked for.
        reading: of the switch's clock, taken after the grant had come. Until then the NVA counts on it that a lease
        which has run out is not given back to what the switch held: so one that has run out stays so. Raises
        SwitchError.
        """
        ends = self._last[-1] if self._last else self._found
        not_after = reading.deadline_us(asked_at, grant.duration_s)
        if ends is None or reading.switch_us >= ends or not_after <= ends:
            return None
        self._last = self._last or (ends,)
        await self.write(client, not_after)
        return not_after

    @staticmethod
    async def pause(grant: LeaseGrant, is_over: Callable[[], bool]) -> None:
        """Until a lease is to be asked for again where the switch does not hold yet what the NVA wants: now and then
        while the NVA loads, at once when it `is_over`."""
        await asyncio.sleep(AGAIN_S)
        at = uptime_s() + max(LOADING_S, grant.duration_s / 3)
        while grant.early and not is_over() and uptime_s() < at:
            await asyncio.sleep(AGAIN_S)

    @property
    def possible(self) -> frozenset[int]:
        """What may be in the switch; nothing before the first one was written."""
        return frozenset(self._last)

    async def again(self, client: SwitchClient) -> None:
        """Write the last one once more."""
        await self.write(client, self._last[-1])


class Lease:
    """Of one switch, in one session.

    reading: of the switch's clock, the newest. agrees: whether its registers agree with its incarnation entry.
    not_after_us: when the lease ends, by that clock; None before there was one.
    """

    def __init__(
        self,
        driver: SwitchDriver,
        session: NvaSession,
        memory: AgentMemory,
        reading: ClockReading,
        found: SwitchState | None = None,
    ) -> None:
        """found: the switch as it was when the session began."""
        self.reading = reading
        self.agrees = True
        self.not_after_us: int | None = None
        self.leases = Leases(found)
        self._driver = driver
        self._session = session
        self._memory = memory
        self._is_ready = False

    def ready(self) -> None:
        """The NVA was told that the switch holds what it is to hold: from now on a lease can open it."""
        self._is_ready = True

    async def keep(self, renew_s: Callable[[], float], could_not: Callable[[], None]) -> None:
        """Renew it as long as the NVA answers and the switch is what it was. Raises IncarnationLost, SwitchError.

        renew_s: until the next renewal. could_not: the agent could not remember something, and may be able to now.
        """
        client = self._driver.client
        while True:
            asked_at, was_ready, fault = uptime_s(), self._is_ready, self._memory.fault
            grant = await self._session.renew_lease(self._memory.marks)
            if fault:
                could_not()
            answer = await self._driver.ask_state()
            self.reading, self.agrees = answer.reading, answer.agrees
            if not answer.agrees:
                await self._session.report(Report("incarnation-lost", "registers and entry disagree"))
                raise IncarnationLost(f"{client.name}: registers and entry disagree; the pipeline was reset")
            if not was_ready:
                # Nothing is in the switch yet that a lease could open, or the NVA did not know of it when it answered.
                # But a lease that runs can go on while the NVA loads.
                if grant.early and (ends := await self.leases.prolong(client, asked_at, grant, answer.reading)):
                    self.not_after_us = ends
                await self.leases.pause(grant, lambda: self._is_ready)
                continue
            not_after = answer.reading.deadline_us(asked_at, grant.duration_s)
            await self.leases.write(client, not_after)
            self.not_after_us = not_after
            await asyncio.sleep(renew_s() if grant.duration_s else RETRY_S)
