# SPDX-License-Identifier: Apache-2.0
"""Tenant systems that come, go and move, with real processes, switches and packets between them."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from ipaddress import IPv4Address

from nvo3sec.domain.mapping import SetVersion
from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.nva.store import open_store
from nvo3sec.operator.console import ask
from nvo3sec.processes.nva_start import DATABASE_FILE
from overlay_world import READY_S, Overlay, command, overlay, until
from tenant_traffic import BLUE1, IP, MAC, arrives, frame, settled, tenant, to_it, until_registered


def question() -> bytes:
    """Who has it? asks blue1."""
    head = bytes.fromhex("ffffffffffff") + BLUE1.to_bytes(6, "big") + bytes.fromhex("0806000108000604" + "0001")
    return head + BLUE1.to_bytes(6, "big") + IPv4Address("10.1.0.1").packed + bytes(6) + IPv4Address(IP).packed


async def attach(world: Overlay, leaf: str) -> dict[str, str]:
    answer: dict[str, str] = await tenant(world, leaf, "attach", ips=[IP])
    return answer


def test_it_comes_and_moves_and_everybody_knows(identities, start_switch):
    async def run():
        async with overlay(identities, start_switch) as world:
            assert (await attach(world, "leaf2"))["standing"] == "active"
            await arrives(world, "leaf2", 1)
            asked = world.log("leaf1").count("lookup")
            assert (await attach(world, "leaf3")) == {
                "standing": "frozen",
                "reason": "owned",
                "why": "another tenant system has an address of it",
            }
            await arrives(world, "leaf2", 2)
            assert (await tenant(world, "leaf2", "detach", successor="leaf3"))["standing"] == "done"
            await world.ready()
            await settled(world, "leaf1")
            await arrives(world, "leaf3", 3)
            assert world.log("leaf1").count("lookup") == asked, "it was told, and had not to ask"
            assert (await tenant(world, "leaf3", "detach"))["standing"] == "done"
            await settled(world, "leaf1")
            await world.ports["leaf1"].send(1, to_it(4))
            await world.ports["leaf1"].send(1, frame(BLUE1, 0x02AA00000002, "10.1.0.1", "10.1.0.2", 5))
            assert await world.ports["leaf2"].receive(1) == frame(BLUE1, 0x02AA00000002, "10.1.0.1", "10.1.0.2", 5)
            assert not world.ports["leaf3"].waiting(1)

    asyncio.run(run())


def test_a_negative_answer_ends_with_the_attach(identities, start_switch):
    async def run():
        async with overlay(identities, start_switch) as world:
            await world.ports["leaf1"].send(1, question())
            answers = "answer-unknown"

            def asked() -> bool:
                (switch,) = ask(world.run_directory("leaf1"), "status")["switches"]
                return switch["punts"].get(answers, 0) == 1

            while not await asyncio.to_thread(asked):
                await asyncio.sleep(0.02)
            await attach(world, "leaf2")
            await settled(world, "leaf1")
            await world.ports["leaf1"].send(1, question())
            answer = await world.ports["leaf1"].receive(1)
            assert answer[20:22] == b"\x00\x02"
            assert answer[22:28] == MAC.to_bytes(6, "big")

    asyncio.run(run())


def test_why_it_waits_is_said_as_old_once_that_has_changed(identities, start_switch):
    async def run():
        async with overlay(identities, start_switch) as world:

            async def why() -> str:
                rows = await asyncio.to_thread(ask, world.run_directory("leaf3"), "attachments")
                (row,) = [one for one in rows if one["announced"]]
                return str(row["why"])

            await attach(world, "leaf2")
            await settled(world, "leaf3")
            assert (await attach(world, "leaf3"))["reason"] == "owned"
            owned, later = (
                "another tenant system has an address of it",
                "; the VN has changed since, `nve attach` asks anew",
            )
            assert await why() in (owned, owned + later)
            await tenant(world, "leaf2", "detach", successor="leaf1")
            async with asyncio.timeout(READY_S):
                while await why() != owned + later:
                    await asyncio.sleep(0.02)
            await settled(world, "leaf3")
            assert (await attach(world, "leaf3"))["reason"] == "held"
            assert (await why()).startswith("an address is kept for a successor, or contested")

    asyncio.run(run())


def test_kills_lose_nothing_that_was_acknowledged(identities, start_switch):
    async def run():
        async with overlay(identities, start_switch) as world:
            await attach(world, "leaf2")
            await arrives(world, "leaf2", 1)
            for number, name in enumerate(("leaf2", "nva", "leaf1"), 2):
                world.kill(name)
                world.start(name)
                await until_registered(world)
                await world.ready()
                await settled(world, "leaf1")
                await arrives(world, "leaf2", number)
            listed = await asyncio.to_thread(ask, world.run_directory("leaf2"), "attachments")
            assert [(one["mac"], one["active"]) for one in listed if one["announced"]] == [(format_mac(MAC), True)]

    asyncio.run(run())


def test_an_old_backup_is_noticed(identities, start_switch):
    """Of the database alone by the NVA; of database and keys together by the agents."""

    async def run():
        async with overlay(identities, start_switch) as world:
            directory = world.directory
            world.kill("nva")
            for name in ("database", "keys"):
                shutil.copytree(directory / name, directory / f"old-{name}")
            world.start("nva")
            await until_registered(world)
            await world.ready()
            await attach(world, "leaf2")
            await asyncio.to_thread(until_leaf2_has_heard_of_it, world)
            world.kill("nva")
            shutil.rmtree(directory / "database")
            shutil.copytree(directory / "old-database", directory / "database")
            world.start("nva")
            assert await asyncio.to_thread(world.processes["nva"].wait, 60) == 1
            assert "is older than what was acknowledged" in world.log("nva").replace("\n", " ")
            assert "--start-new-term" in world.log("nva"), "what the operator can do is named"
            world.start("nva", more=["--start-new-term"])
            await until_registered(world)
            async with asyncio.timeout(READY_S):
                while any(key["inherited"] for key in (await world.ready())["keys"]):
                    await asyncio.sleep(0.05)
            world.kill("nva")
            shutil.rmtree(directory / "database")
            shutil.copytree(directory / "old-database", directory / "database")
            shutil.rmtree(directory / "keys")
            shutil.copytree(directory / "old-keys", directory / "keys")
            world.start("nva")
            await until(lambda: "has gone back" in world.log("leaf2"))
            assert "leaf2" not in await world.registered()

    asyncio.run(run())


def test_an_old_backup_is_not_believed_however_far_it_has_grown_since(identities, start_switch):
    """Database and keys together. leaf3 was revoked after the copy was made, and the operator was told that it is."""

    async def run():
        async with overlay(identities, start_switch, lease_renew_s=1.0) as world:
            directory = world.directory
            world.kill("nva")
            for name in ("database", "keys"):
                shutil.copytree(directory / name, directory / f"old-{name}")
            world.start("nva")
            await until_registered(world)
            await world.ready()
            world.kill("leaf3")
            told = {leaf: version_told(world, leaf) for leaf in ("leaf1", "leaf2")}
            revoked = await asyncio.to_thread(world.operate, "keys", "revoke", "leaf3", "--yes")
            assert revoked.returncode == 0, revoked.stderr
            await until(lambda: all(version_told(world, leaf) > told[leaf] for leaf in told))
            world.kill("nva")
            for name in ("database", "keys"):
                shutil.rmtree(directory / name)
                shutil.copytree(directory / f"old-{name}", directory / name)
            grown = open_store(directory / "database" / DATABASE_FILE, directory / "keys", identities.domain.name)
            for number in range(1000):
                grown.commit((SetVersion(999, number),))
            grown.close()
            world.start("nva")
            for leaf in ("leaf1", "leaf2"):
                await until(lambda leaf=leaf: "has gone back" in world.log(leaf))
            assert not await world.registered() & {"leaf1", "leaf2"}
            status = await asyncio.to_thread(world.status)
            disputed = {one["nve"]: one["disputed"] for one in status["switches"] if one["disputed"]}
            assert set(disputed) == {"leaf1", "leaf2"}
            assert not status["ready"]
            assert any("history of the NVA's store is disputed" in reason for reason in status["not_ready"])
            assert "store-disputed" in {one["event"] for one in status["reports"]}
            world.kill("nva")
            world.start("nva", more=["--start-new-term"])
            await until(lambda: json.loads((world.run_directory("leaf1") / "agent.json").read_text())["term"] == 2)

    asyncio.run(run())


def version_told(world: Overlay, leaf: str) -> int:
    """How far the NVA's store had come, as the agent remembers it."""
    return int(json.loads((world.run_directory(leaf) / "agent.json").read_text())["version"])


def until_leaf2_has_heard_of_it(world: Overlay) -> None:
    """Agents hear how far the store has come with each renewal of their lease."""
    memory = world.run_directory("leaf2") / "agent.json"
    before = memory.read_text()
    while memory.read_text() == before:
        assert world.processes["leaf2"].poll() is None


def test_commands(identities, start_switch):
    async def run():
        async with overlay(identities, start_switch) as world:

            def nve(*words: str, leaf: str = "leaf2") -> subprocess.CompletedProcess[str]:
                place = ["--run-dir", str(world.run_directory(leaf))]
                return subprocess.run(
                    command("nve", *words, *place), capture_output=True, text=True, timeout=90, check=False
                )

            where = ("--vn", "blue", "--port", "1", "--mac", format_mac(MAC))
            done = await asyncio.to_thread(nve, "attach", *where, "--ip", IP)
            assert (done.returncode, done.stdout) == (0, "active\n")
            listed = await asyncio.to_thread(nve, "attachments")
            assert format_mac(MAC) in listed.stdout
            refused = await asyncio.to_thread(lambda: nve("attach", *where[:3], "2", *where[4:], leaf="leaf3"))
            assert refused.returncode == 1
            assert refused.stdout == ""
            assert refused.stderr == (
                "nvo3sec: refused: not-served: leaf3 has no VAP of blue at port 2; it has: port 1\n"
            )
            strange = await asyncio.to_thread(nve, "attach", "--vn", "red", *where[2:])
            assert strange.returncode == 1
            assert "leaf2 does not serve VN red; it serves: blue" in strange.stderr
            nowhere = await asyncio.to_thread(nve, "detach", *where, "--successor", "leaf9")
            assert nowhere.stderr == (
                "nvo3sec: refused: not-served: no NVE leaf9 serves VN blue; those that do: leaf1, leaf2, leaf3\n"
            )
            gone = await asyncio.to_thread(nve, "detach", *where)
            assert (gone.returncode, gone.stdout) == (0, "done\n")
            gone = await asyncio.to_thread(nve, "detach", *where)
            assert gone.stderr == (
                f"nvo3sec: refused: unknown: leaf2 has no tenant system {format_mac(MAC)} of blue at port 1\n"
            )

    asyncio.run(run())
