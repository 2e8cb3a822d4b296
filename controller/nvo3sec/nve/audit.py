# SPDX-License-Identifier: Apache-2.0
"""Whether a switch is still as its agent left it: what decides who may send and receive is looked at all the time, the
rest seldom.

A look reads few tables and compares them with what was read back last; nothing is computed for it. What costs more
comes less often: reading takes a twentieth of the time at most, however large the tables are. If anything differs, the
whole switch is reconciled, and that says what was found (`Reconciler.foreign`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable

from nvo3sec.domain.messages.session import Report
from nvo3sec.errors import IncarnationLost
from nvo3sec.nve.lease import Leases
from nvo3sec.nve.plan import MANAGED_TABLES
from nvo3sec.nve.reconcile import Reconciler
from nvo3sec.nve.translate import incarnation_of
from nvo3sec.p4runtime import SwitchClient, SwitchState, Table
from nvo3sec.program import generated as p4
from nvo3sec.system.uptime import uptime_s

TURN_S = 1.0
"""Between two looks. Each is at one of OFTEN, so that each of these is looked at every three seconds."""
SHARE = 1 / 20
"""Of the time, that may be spent in reading."""
WHOLE_S = 60.0
"""How often the whole switch is read and compared with what it should be, changed or not."""
OFTEN = (
    (Table.INCARNATION, Table.LEASE, Table.AUTHORIZED_NVE, Table.VN_INGRESS_AUTHORIZATION, Table.PORT_ROLE),
    (Table.SA_RX, Table.SA_TX),
    (Table.VAP, Table.SOURCE_GUARD, Table.TARGET_GUARD, Table.OWN_ADDRESS),
)
"""What lets somebody in: who may send to us and into what, with which keys and how long, from which VAPs, in clear."""
EVENT = "foreign-entry"


class Audit:
    """Audits one switch. lock: is held while it is written.

    mark: has tables reconciled. found: tells of what is not ours.
    """

    def __init__(
        self,
        client: SwitchClient,
        reconciler: Reconciler,
        leases: Leases,
        lock: asyncio.Lock,
        incarnation: bytes,
        mark: Callable[[Iterable[Table]], None],
        found: Callable[[Report], Awaitable[None]],
    ) -> None:
        self._client = client
        self._reconciler = reconciler
        self._leases = leases
        self._lock = lock
        self._incarnation = incarnation
        self._mark = mark
        self._found = found

    async def run(self) -> None:
        """Look for ever. Raises IncarnationLost, SwitchError."""
        whole_at = uptime_s() + WHOLE_S
        for tables in itertools.cycle(OFTEN):
            took = await self.look(tables)
            await asyncio.sleep(max(TURN_S, took / SHARE))
            if uptime_s() >= whole_at:
                whole_at = uptime_s() + WHOLE_S
                self._mark(MANAGED_TABLES)

    async def look(self, tables: Iterable[Table]) -> float:
        """Compare some tables; returns how long it took to read them (seconds). Raises IncarnationLost, SwitchError."""
        looked_at = tuple(tables)
        async with self._lock:
            began, possible = uptime_s(), self._leases.possible
            state = await self._client.read(looked_at, groups=False)
            took = uptime_s() - began
            differs = self._reconciler.differs(looked_at, state)
        if Table.INCARNATION in looked_at and incarnation_of(state) != self._incarnation:
            await self._found(Report("incarnation-lost", "somebody has changed the entry"))
            raise IncarnationLost(f"{self._client.name}: the incarnation entry is not the agent's any more")
        if Table.LEASE in looked_at and possible:
            await self._check_lease(state, possible | self._leases.possible)
        if differs:
            self._mark(MANAGED_TABLES)
        return took

    async def _check_lease(self, state: SwitchState, possible: frozenset[int]) -> None:
        entry = state.defaults.get(Table.LEASE)
        if entry is not None and any(entry == p4.lease_grant(not_after=one) for one in possible):
            return
        await self._found(Report(EVENT, f"altered {entry.describe() if entry is not None else Table.LEASE}"))
        await self._leases.again(self._client)
