# SPDX-License-Identifier: Apache-2.0
"""The NVA of a domain, put together: one state, and who may ask what of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from nvo3sec.domain.overlay.model import Domain
from nvo3sec.nva.administration import Administration
from nvo3sec.nva.service import AgentService
from nvo3sec.nva.state import State
from nvo3sec.nva.store import Store
from nvo3sec.system.uptime import uptime_s

TICK_S = 0.2


class Nva:
    """One NVA. agents, administration: what agents and operators may have done. sessions: who is connected.

    store: what it remembers across restarts. file: the text that `domain` comes from, to be remembered. before: the
    domain that ran last, if it was another one. clock: monotonic seconds. wall_seconds: coarse wall time, for
    generations only. random_bytes: a cryptographic source. Raises StoreError.
    """

    def __init__(
        self,
        domain: Domain,
        store: Store,
        *,
        file: str = "",
        before: Domain | None = None,
        clock: Callable[[], float] = uptime_s,
        wall_seconds: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.state = State(
            domain,
            store,
            file=file,
            before=before,
            clock=clock,
            wall_seconds=wall_seconds,
            random_bytes=random_bytes,
        )
        self.sessions = self.state.sessions
        self.agents = AgentService(self.state)
        self.administration = Administration(self.state)

    def tick(self) -> None:
        """Let time go by. Raises StoreError."""
        self.state.tick()

    async def run(self) -> None:
        """Tick for ever. Raises StoreError as soon as the store has failed: nobody knows then what is stored."""
        while True:
            self.tick()
            await self.state.guard.wait(TICK_S)
