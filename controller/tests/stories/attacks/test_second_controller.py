# SPDX-License-Identifier: Apache-2.0
"""Somebody else becomes the primary client of a switch: its agent says so, stops serving, and comes back later."""

from __future__ import annotations

import asyncio

import grpc
from finsy.proto import U128, p4r, p4r_grpc
from nvo3sec.operator.console import ask
from nvo3sec.p4runtime.connection import ELECTION_ID
from overlay_world import overlay, until


def test_an_agent_that_lost_its_switch(identities, start_switch):
    async def run() -> None:
        async with overlay(identities, start_switch) as world:
            switch = world.switches["leaf2"]
            async with grpc.aio.insecure_channel(switch.target) as channel:
                thief = p4r_grpc.P4RuntimeStub(channel).StreamChannel()
                claim = p4r.MasterArbitrationUpdate(
                    device_id=switch.device_id, election_id=U128.encode(ELECTION_ID + 1)
                )
                await thief.write(p4r.StreamMessageRequest(arbitration=claim))
                await until(lambda: "can read the keys" in world.log("leaf2"), timeout_s=120)
                assert "[error" in next(line for line in world.log("leaf2").splitlines() if "can read the keys" in line)
                async with asyncio.timeout(120):
                    while "leaf2" in await world.registered():
                        await asyncio.sleep(0.05)
                told = await asyncio.to_thread(ask, world.run_directory("leaf2"), "status")
                assert not told["ready"]
                assert not told["switches"][0]["nva"], "without its switch it asks for no time, and the lease runs out"
                thief.cancel()
            await world.ready()

    asyncio.run(run())
