# SPDX-License-Identifier: Apache-2.0
"""An agent at work with a real switch, and an NVA that can be cut off."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
from collections.abc import Awaitable, Callable

from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.messages.session import Registration
from nvo3sec.errors import NvaUnreachable
from nvo3sec.nva import Nva
from nvo3sec.nva.store import MemoryStore
from nvo3sec.nve import NveAgent
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.p4runtime import load_artifacts

WAIT_S = 120.0


class One:
    """One agent, its switch, and an NVA that can be cut off."""

    def __init__(self, switch, lease_renew_s: float = 0.1, **artifacts) -> None:
        domain = load_domain(example_path())
        lifetimes = dataclasses.replace(domain.lifetimes, lease_renew_s=lease_renew_s)
        domain = dataclasses.replace(domain, lifetimes=lifetimes)
        nve = dataclasses.replace(domain.nves[1], p4runtime=switch.target, device_id=switch.device_id)
        self.nva = Nva(domain, MemoryStore(b"h" * 16), random_bytes=secrets.token_bytes)
        self.reachable = True
        found = dataclasses.replace(load_artifacts(), **artifacts)
        self.agent = NveAgent(nve, self.connect, found, random_bytes=secrets.token_bytes)

    async def connect(self) -> NvaSession:
        if not self.reachable:
            raise NvaUnreachable("the NVA does not answer")
        return self.nva.agents.open_session("leaf2")

    async def until(self, condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_S):
            while True:
                result = condition()
                if await result if asyncio.iscoroutine(result) else result:
                    return
                await asyncio.sleep(0.01)

    async def has_peers(self) -> None:
        """Its switch has keys to receive with: the peers are connected, and do nothing."""
        for name in ("leaf1", "leaf3"):
            self.nva.agents.register(self.nva.agents.open_session(name), Registration(name.encode().ljust(16, b".")))
        await self.until(lambda: self.is_ready() and bool(self.agent._serving.keyring.receive))

    def is_ready(self) -> bool:
        status = self.agent.status()
        return status.in_sync and bool(status.lease_left_s)


@contextlib.asynccontextmanager
async def working(switch, **options):
    one = One(switch, **options)
    task = asyncio.create_task(one.agent.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
