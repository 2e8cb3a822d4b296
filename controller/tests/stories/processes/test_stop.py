# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT: what a process says at its end, and what the others hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import AsyncIterator

import pytest
from nvo3sec.identity.names import Role
from nvo3sec.operator.console.rundir import socket_path
from overlay_world import LEAVES, READY_S, Overlay, command, ending, overlay, until

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


async def stopped(world: Overlay, name: str, number: signal.Signals) -> list[str]:
    """What a process has said, once it has ended: in good order, and about its end last."""
    process = world.processes.pop(name)
    process.send_signal(number)
    assert await asyncio.to_thread(process.wait, READY_S) == 0, world.log(name)
    said = world.log(name)
    assert "Traceback" not in said
    assert "Exception" not in said
    assert "[error" not in said
    lines = said.splitlines()
    assert ("NVA stopped" if name == "nva" else "agent stopped") in lines[-1], lines[-5:]
    assert sum("stopped  " in line for line in lines) == 1
    return lines


class Console:
    """A connection to the console of a process, that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def ask(self, method: str, **params: object) -> None:
        self._writer.write(json.dumps({"method": method, "params": params}).encode() + b"\n")

    async def answer(self) -> dict:
        """The next; an empty one if the connection has ended."""
        return json.loads(await asyncio.wait_for(self._reader.readline(), READY_S) or "{}")


@contextlib.asynccontextmanager
async def console(world: Overlay, name: str) -> AsyncIterator[Console]:
    reader, writer = await asyncio.open_unix_connection(str(socket_path(world.run_directory(name))))
    connection = Console(reader, writer)
    connection.ask("status")
    assert "result" in await connection.answer()
    yield connection
    writer.close()


class TestNva:
    @BOTH
    def test_with_agents_and_operators_who_wait(self, identities, start_switch, number):
        async def run():
            async with overlay(identities, start_switch) as world:
                world.kill("leaf3")  # so that nothing is ready, and operators wait for it
                await until(lambda: "nve disconnected" in world.log("nva"))
                credentials = identities.place(Role.OPERATOR, "op")
                where = ("--nva", world.nva, "--credentials", str(credentials))
                waits = command("status", "--wait", "60", *where)
                with subprocess.Popen(waits, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as operator:
                    await until(lambda: "operator=operator/op" in world.log("nva"))
                    async with console(world, "nva") as waiting:
                        waiting.ask("wait", wait_s=60)
                        async with console(world, "nva") as idle:
                            said = await stopped(world, "nva", number)
                            assert await waiting.answer() == {
                                "error": {"kind": "OperatorError", "message": "the NVA of lab.example stops"}
                            }
                            assert await waiting.answer() == await idle.answer() == {}
                    _, complaint = await asyncio.to_thread(operator.communicate, timeout=READY_S)
                assert operator.returncode == 1
                assert complaint.count("\n") == 1
                assert complaint.startswith("nvo3sec: ")
                assert "the server stops" in complaint
                gone = [line for line in said if "nve disconnected" in line]
                assert sorted(line.rpartition("nve=")[2] for line in gone) == list(LEAVES)
                for leaf in ("leaf1", "leaf2"):
                    await until(lambda leaf=leaf: "not serving" in world.log(leaf))
                    assert "error='nva/nva1: session: stopping: the server stops" in world.log(leaf)
                    await stopped(world, leaf, number)  # while there is no NVA
                world.start("nva")
                world.start("leaf1")
                await until(lambda: world.log("nva").count("nve registered") == 4)

        asyncio.run(run())

    def test_before_anybody_came(self, identities, start_switch):
        async def run():
            world = Overlay(identities, start_switch)
            async with ending(world):
                world.start("nva")
                await until(lambda: "NVA running" in world.log("nva"))
                await stopped(world, "nva", signal.SIGTERM)

        asyncio.run(run())


class TestAgent:
    @BOTH
    def test_one_that_serves(self, identities, start_switch, number):
        async def run():
            async with overlay(identities, start_switch) as world:
                async with console(world, "leaf1") as idle:
                    await stopped(world, "leaf1", number)
                    assert await idle.answer() == {}
                await until(lambda: "nve disconnected" in world.log("nva"))
                assert "Traceback" not in world.log("nva")

        asyncio.run(run())

    def test_one_without_nva_and_switch(self, identities, start_switch):
        async def run():
            world = Overlay(identities, start_switch)
            async with ending(world):
                world.start("leaf1")
                await until(lambda: "not serving" in world.log("leaf1"))
                await stopped(world, "leaf1", signal.SIGTERM)
                world.switches["leaf2"].kill()
                world.start("leaf2")
                await until(lambda: "not serving" in world.log("leaf2"))
                await stopped(world, "leaf2", signal.SIGTERM)

        asyncio.run(run())
