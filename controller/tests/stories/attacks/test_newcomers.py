# SPDX-License-Identifier: Apache-2.0
"""Those who come for the first time, and those who come back, while hundreds of addresses hold what places they can."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from attack_world import fleet_of, run, served

ADDRESSES = 300
TRIES = 40
FLOOD = {"count": 10_000_000, "sources": ADDRESSES, "at_once": ADDRESSES}


@pytest.mark.parametrize(("kind", "least"), [("silent", 34), ("whole hello", 24)])
def test_who_comes_for_the_first_time(identities, kind, least):
    """Each try has the chance that docs/control-plane.md states, 0.95 and 0.8, whatever was tried before."""

    async def go() -> None:
        async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:3]) as agents:
            await fleet.attack("connections", kinds=[kind], **FLOOD)
            await fleet.until_counted(lambda now: sum(now["connections"]["refused"].values()) > 2 * ADDRESSES)
            # Devices in turn: one alone is read from more slowly, for nothing that it asks is answered.
            devices = itertools.cycle(fleet.leaves[3:])
            tries = [await fleet.newcomer(next(devices), f"127.0.9.{number}") for number in range(1, 1 + TRIES)]
            found = await fleet.ask("admission")
            assert sum(tries) >= least, found
            await served(agents)

    run(go())


def test_who_comes_back_after_a_restart(identities):
    """The NVA is killed and started again under the flood: whom it knew it lets in, all at their first try."""

    async def go() -> None:
        async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9], reconnects=True) as agents:
            remembered = fleet.directory / "database" / "known-sources.json"
            async with asyncio.timeout(60):
                while not remembered.exists() or remembered.read_text().count('"source"') < 9:
                    await asyncio.sleep(0.05)
            attacker = await fleet.attack("connections", kinds=["silent", "whole hello"], **FLOOD)
            await fleet.until_counted(lambda now: sum(now["connections"]["refused"].values()) > 2 * ADDRESSES)
            fleet.stop()
            fleet.start()
            await fleet.running()
            failed = [len(agent.lost) for agent in agents]
            await served(agents)
            # One try of each can have been under way when the NVA began to listen.
            again = [len(agent.lost) - before for agent, before in zip(agents, failed, strict=True)]
            assert max(again) <= 1, [agent.lost for agent in agents]
            found = await fleet.ask("admission")
            assert found["connections"]["known_sources"] >= 1
            assert found["connections"]["refused"].get("reserve", 0) == 0
            assert attacker.busy

    run(go())
