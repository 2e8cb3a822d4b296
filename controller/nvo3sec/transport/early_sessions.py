# SPDX-License-Identifier: Apache-2.0
"""Sessions of agents that come while the NVA is loading: welcomed, and held until it has.

An agent that is held gets a lease that runs prolonged (`nva.sessions.early_leases`), and nothing else: no view, no
keys, no answer about mappings. Its registration is judged when everything is loaded, as that of any agent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from nvo3sec.domain.messages.session import LeaseGrant, Registration, StoreMark, Welcome
from nvo3sec.domain.messages.versions import Feature, Speaks
from nvo3sec.errors import AuthorizationError, HistoryDisputed, NameInUse, NvaLoading
from nvo3sec.nva.sessions.early_leases import EarlyLeases
from nvo3sec.nva.store import Certificate
from nvo3sec.system.aio import answer_future
from nvo3sec.wire import checks

LOADING = "the NVA is still loading"


@dataclass(eq=False)
class Held:
    """An agent that waits. settled: it is registered, or gone."""

    name: bytes
    certificate: Certificate
    place: tuple[bytes, str]
    loaded: asyncio.Future[None]
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class LoadingSessions:
    """Of one NVA, for one start."""

    def __init__(self, leases: EarlyLeases) -> None:
        self.leases = leases
        self.is_over = False
        self._held: dict[str, Held] = {}

    @property
    def waiting(self) -> int:
        """Agents that wait."""
        return len(self._held)

    def over(self) -> None:
        """Everything is loaded."""
        self.is_over = True
        for held in self._held.values():
            if not held.loaded.done():
                held.loaded.set_result(None)

    async def hold(
        self,
        nve: str,
        certificate: Certificate,
        first: Registration,
        source: str,
        ours: Speaks,
        write: Callable[[Welcome], Awaitable[None]],
    ) -> Held | None:
        """Welcome an agent, and wait until everything is loaded; None if it is already, and nothing was said.

        Give it to `settle` in the end. Raises AuthorizationError, HistoryDisputed, NameInUse, NvaLoading.
        """
        if self.is_over:
            return None
        if Feature.EARLY_LEASE not in first.speaks.features:
            raise NvaLoading(f"{LOADING}, and {nve} does not know {Feature.EARLY_LEASE.value!r}: come again")
        place = (first.incarnation, source)
        if (present := self._held.get(nve)) is not None:
            if present.place != place:
                raise NameInUse(f"another agent waits as {nve} for the NVA to load, from {present.place[1]}")
            if not present.loaded.done():
                present.loaded.set_exception(AuthorizationError(f"a newer session of {nve} has taken over"))
        loaded = answer_future()
        held = Held(secrets.token_bytes(checks.SESSION_BYTES), certificate, place, loaded)
        self._held[nve] = held
        leases = self.leases
        try:
            await write(Welcome(held.name, leases.mark_of(nve), leases.known(nve, first.seen), ours))
            leases.compare(nve, first.seen)  # after the welcome, so that the agent sees for itself who is wrong
            await held.loaded
        except BaseException:
            self.settle(nve, held)
            raise
        return held

    def settle(self, nve: str, held: Held) -> None:
        """An agent does not wait any more."""
        held.settled.set()
        held.loaded.cancel()
        if self._held.get(nve) is held:
            del self._held[nve]

    async def renew(self, nve: str, session: bytes, seen: Sequence[StoreMark]) -> LeaseGrant | None:
        """Time for an agent that waits; None for one that does not. Raises AuthorizationError, HistoryDisputed."""
        held = self._held.get(nve)
        if held is None or held.name != session:
            return None
        if self.is_over:
            await held.settled.wait()
            return None
        try:
            return self.leases.renew(nve, held.certificate, seen)
        except HistoryDisputed as dispute:
            if not held.loaded.done():
                held.loaded.set_exception(dispute)
            raise
