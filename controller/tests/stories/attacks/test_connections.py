# SPDX-License-Identifier: Apache-2.0
"""Ten thousand connections of nobodies at an NVA that has few files, while agents and operators go on."""

from __future__ import annotations

import asyncio

from attack_world import PATIENCE_S, Fleet, fleet_of, run, served
from nvo3sec.identity.names import Role
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.operator_client import ask_nva

CONNECTIONS = 10_000
FILES = 1024
MEMORY_KIB = 96 * 1024


async def operator_asks(fleet: Fleet) -> None:
    """Over TLS, on a new connection, and on the console."""
    address = NvaAddress(fleet.name, "127.0.0.1", fleet.port)
    place = fleet.identities.place(Role.OPERATOR, "op")
    status = await asyncio.to_thread(ask_nva, address, place, "status", appear_s=PATIENCE_S)
    assert len(status["switches"]) == len(fleet.leaves)
    assert (await fleet.ask("status"))["domain"] == "lab.example"


def test_ten_thousand_connections(identities):
    async def go() -> None:
        async with fleet_of(identities, files=FILES) as fleet, fleet.agents(fleet.leaves[:9]) as agents:
            before, most_files, asked = fleet.usage(), 0, 0
            attacker = await fleet.attack("connections", count=CONNECTIONS, sources=250, at_once=600)
            ending = asyncio.create_task(attacker.result(PATIENCE_S * 2))
            # One that has not been here before gets in as well: nobodies hold no place against it.
            async with fleet.agents(["leaf10"], reconnects=True) as newcomers:
                while not ending.done():
                    await operator_asks(fleet)
                    asked += 1
                    most_files = max(most_files, fleet.usage()["files"])
                await served([*agents, *newcomers])
            seen = await ending
            assert asked
            assert sum(seen["ended"].values()) == CONNECTIONS
            assert {how.partition(": ")[2] for how in seen["ended"]} <= {"reset", "closed", "TimeoutError"}, seen
            assert most_files < FILES
            assert fleet.usage()["most_memory"] - before["memory"] < MEMORY_KIB
            found = await fleet.until_counted(lambda now: now["connections"]["open"] == 9)
            refused = found["connections"]["refused"]
            assert sum(refused.values()) > CONNECTIONS / 2, "the others failed in TLS"
            assert refused["hello-timeout"] > 0
            assert refused["displaced"] > 0
            for reason in ("hello-timeout", "displaced"):
                assert f"reason={reason}" in fleet.log()
            assert found["refused_by_identity"] == {}
            assert set(found["calls"]["/nvo3sec.v1.Nva/RenewLease"]) == {"ok"}
            await served(agents)

    run(go())
