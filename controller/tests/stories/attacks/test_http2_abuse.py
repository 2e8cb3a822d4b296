# SPDX-License-Identifier: Apache-2.0
"""Frames of HTTP/2 without an end, by a device with a valid certificate, while nine others are served."""

from __future__ import annotations

import asyncio

from attack_world import fleet_of, run, served
from nvo3sec.identity.names import Role

WHAT = ("rapid reset", "settings", "pings", "window updates", "empty data", "continuations")
MEMORY_KIB = 128 * 1024


def test_floods_of_frames(identities):
    async def go() -> None:
        async with fleet_of(identities) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
            before = fleet.usage()["memory"]
            device = fleet.device_file(Role.NVE, "leaf10")
            for number, what in enumerate(WHAT):
                was = await fleet.ask("admission")
                attacker = await fleet.attack("http2", device=device, what=what, source=f"127.0.9.{number + 1}")

                def stopped(now: dict, was: dict = was) -> bool:
                    """Read from no more for a while, or refused, or ended by gRPC, so that it had to come again."""
                    then, new = was["connections"], now["connections"]
                    return new["held"] > then["held"] or new["accepted"] > then["accepted"] + 1

                await fleet.until_counted(stopped)
                await served(agents)
                assert attacker.busy
                seen = await attacker.stop()
                assert seen["frames"] > 0, (what, seen)
            assert fleet.usage()["most_memory"] - before < MEMORY_KIB
            found = await fleet.ask("admission")
            assert set(found["refused_by_identity"]) <= {"nve/leaf10"}

    run(go())


def test_a_connection_that_nobody_claims_is_hardly_read(identities):
    """A certificate alone buys little: before a call of its is authenticated, a connection has few bytes."""

    async def go() -> None:
        async with (
            fleet_of(identities, 10, "--limit", "claim-s=3") as fleet,
            fleet.agents(fleet.leaves[:3]) as agents,
        ):
            attacker = await fleet.attack("http2", device=fleet.device_file(Role.NVE, "leaf10"), what="window updates")
            found = await fleet.until_counted(lambda now: now["connections"]["refused"].get("claim-timeout", 0) > 0)
            assert found["connections"]["held"] > 0
            await served(agents)
            await asyncio.wait_for(attacker.stop(), 60)

    run(go())
