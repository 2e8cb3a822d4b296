# SPDX-License-Identifier: Apache-2.0
"""Bytes between agent and NVA, replayed and changed: nothing comes of it but a broken connection."""

from __future__ import annotations

import asyncio
import contextlib

from attack_world import Agent, fleet_of, run, served
from overlay_world import until
from relay import Relay, relaying

CHANGES = (
    # In the ClientHello: version, random, what follows; in the client's second flight; in records of the session.
    ("up", 9, 0), ("up", 20, 3), ("up", 300, 7), ("up", 700, 1), ("up", 3000, 5),
    # In the ServerHello, in the server's certificate, and in records of the session.
    ("down", 9, 0), ("down", 60, 4), ("down", 600, 2), ("down", 2500, 6),
)  # fmt: skip


class TestChanged:
    def test_one_bit_at_a_time(self, identities):
        async def go() -> None:
            async with (
                fleet_of(identities, 10, "--limit", "handshake-s=4") as fleet,
                fleet.agents(["leaf10"]) as beside,
                contextlib.AsyncExitStack() as stack,
            ):
                relays: list[Relay] = []
                agents: list[Agent] = []
                for leaf, change in zip(fleet.leaves, CHANGES, strict=False):
                    relay = await stack.enter_async_context(relaying(fleet.port, *change))
                    agent = Agent(fleet, leaf, reconnects=True, port=relay.port)
                    task = asyncio.create_task(agent.run())
                    stack.push_async_callback(asyncio.gather, task, return_exceptions=True)
                    stack.callback(task.cancel)
                    relays.append(relay)
                    agents.append(agent)
                # Each was hit, came again, and is served over a connection that nobody touches.
                await until(lambda: all(relay.changed for relay in relays), timeout_s=120)
                await until(
                    lambda: all(agent.lost or len(relay.up) > 1 for agent, relay in zip(agents, relays, strict=True)),
                    120,
                )
                await served([*agents, *beside])
                found = await fleet.ask("admission")
                assert found["refused_by_identity"] == {}, "no message came of it, not even one that is refused"
                assert {outcome for calls in found["calls"].values() for outcome in calls} <= {"ok", "cancelled"}

        run(go())


class TestReplayed:
    def test_a_whole_connection(self, identities):
        """All that an agent said, from the first byte on, said again: the NVA's part of the keys is new each time."""

        async def go() -> None:
            async with (
                fleet_of(identities) as fleet,
                relaying(fleet.port) as relay,
                fleet.agents(["leaf1", "leaf2"], port=relay.port) as agents,
                fleet.agents(["leaf3"]) as beside,
            ):
                await served(agents, 5)
                before = await fleet.ask("admission")
                for said in list(relay.up):
                    for part in (said, said[: len(said) // 2], said[517:]):
                        reader, writer = await asyncio.open_connection(
                            "127.0.0.1", fleet.port, local_addr=("127.0.0.8", 0)
                        )
                        with contextlib.suppress(OSError):
                            writer.write(part)
                            await asyncio.wait_for(reader.read(), 60)
                        writer.transport.abort()
                found = await fleet.until_counted(lambda now: now["connections"]["open"] == 3)
                assert found["connections"]["opened"] <= before["connections"]["opened"] + 4
                assert found["refused_by_identity"] == {}
                assert "nva disconnected" not in fleet.log()
                assert fleet.log().count("nve registered") == 3
                await served([*agents, *beside])

        run(go())
