# SPDX-License-Identifier: Apache-2.0
"""No key gets out: everything that real processes write, show and answer is searched for the keys that really exist.

There are packets, rotations, refusals, errors, crashes, and logs at their most talkative. The keys are read out of the
switches, the secrets of the epochs out of the NVA's store, and the private keys of devices out of their files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from needles import Needle, Search
from nvo3sec.errors import OperatorError
from nvo3sec.identity.names import Role
from nvo3sec.nva.store import open_store
from nvo3sec.operator.calls import CALLS
from nvo3sec.operator.console import ask
from nvo3sec.processes.nva_start import DATABASE_FILE
from nvo3sec.transport import methods
from overlay_world import LEAVES, Identities, Overlay, overlay, until
from raw_switch import RawSwitch
from tenant_traffic import BLUE3, Traffic, frame

CALL_S = 120.0
NVA_CONSOLE = {"status": {}, "counters": {}, "reconcile": {"dry_run": True}, "key_list": {}, "key_audit": {}}
NVE_CONSOLE = {"status": {}, "counters": {}, "reconcile": {"dry_run": True}, "attachments": {}}


class Collection:
    """What was secret at any time, and what anybody could have seen."""

    def __init__(self, world: Overlay) -> None:
        self.world = world
        self.seen: dict[str, bytes] = {}
        self.tunnel_keys: dict[str, set[bytes]] = {name: set() for name in LEAVES}
        self.epochs: set[bytes] = set()
        self.wrapping: set[bytes] = set()

    # --- secrets ----------------------------------------------------------------------------------------------------

    def read_switches(self) -> None:
        for name, switch in self.world.switches.items():
            with RawSwitch(switch.target, switch.device_id) as raw:
                self.tunnel_keys[name] |= raw.keys()
        self._read_wrapping_keys()

    def _read_wrapping_keys(self) -> None:
        for path in (self.world.directory / "keys").glob("*.key"):
            with contextlib.suppress(FileNotFoundError):  # an epoch may end at any time
                key = path.read_bytes()
                if any(key):  # it is overwritten with zeros before it goes, and those are everywhere
                    self.wrapping.add(key)

    def read_store(self) -> None:
        """Only while no NVA runs."""
        database, keys = self.world.directory / "database" / DATABASE_FILE, self.world.directory / "keys"
        store = open_store(database, keys, self.world.identities.domain.name)
        self.epochs |= {secret.reveal() for _, secret, _ in store.load().epochs}
        store.close()
        self._read_wrapping_keys()

    def device_keys(self) -> list[Needle]:
        found = []
        for role, name in ((Role.NVA, "nva1"), (Role.OPERATOR, "op"), *((Role.NVE, leaf) for leaf in LEAVES)):
            pem = (self.world.identities.place(role, name) / "device.pem").read_bytes()
            begin, end = pem.index(b"-----BEGIN "), pem.index(b"KEY-----", pem.index(b"-----END ")) + 8
            key: Any = load_pem_private_key(pem[begin:end], None)
            number = key.private_numbers().private_value
            found.append(Needle(f"the private key of {name}", number.to_bytes(key.key_size // 8, "big")))
        return found

    # --- what can be seen -------------------------------------------------------------------------------------------

    def note(self, what: str, content: bytes) -> None:
        self.seen[f"{what} ({len(self.seen)})"] = content

    def look_at_processes(self) -> None:
        for name, process in self.world.processes.items():
            for file in ("cmdline", "environ"):
                self.note(f"{file} of {name}", Path(f"/proc/{process.pid}/{file}").read_bytes())

    def ask_consoles(self) -> None:
        for name in ("nva", *LEAVES):
            for method, parameters in (NVA_CONSOLE if name == "nva" else NVE_CONSOLE).items():
                answer = ask(self.world.run_directory(name), method, **parameters)
                self.note(f"{method} at the console of {name}", json.dumps(answer).encode())
            with pytest.raises(OperatorError) as refused:
                ask(self.world.run_directory(name), "status", nonsense=1)
            self.note(f"refusal at the console of {name}", str(refused.value).encode())

    async def operate(self, *words: str, **who: Any) -> int:
        done = await asyncio.to_thread(lambda: self.world.operate(*words, **who))
        self.note(" ".join(words), done.stdout.encode() + done.stderr.encode())
        return done.returncode

    def files(self) -> dict[str, bytes]:
        """Everything that was written: logs, state, database with its log, and whatever else there is by now."""
        found = {}
        for path in self.world.directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(self.world.directory))] = path.read_bytes()
        return found


async def told_as(world: Overlay, nve: str) -> bytes:
    """All that the NVA tells whoever has the certificate of an NVE, until it has told keys."""
    place = world.identities.place(Role.NVE, nve)
    pem, anchors = (place / "device.pem").read_bytes(), (place / "anchors.pem").read_bytes()
    end = pem.index(b"KEY-----", pem.index(b"-----END ")) + 9
    credentials = grpc.ssl_channel_credentials(anchors, pem[:end], pem[end:])
    options = [("grpc.ssl_target_name_override", f"nva1.nva.{world.identities.domain.name}")]
    incarnation = os.urandom(16)
    told = b""
    async with grpc.aio.secure_channel(f"127.0.0.1:{world.port}", credentials, options) as channel:
        stream = channel.stream_stream(methods.CONNECT)()
        await stream.write(b"\x0a\x12\x0a\x10" + incarnation)
        async with asyncio.timeout(CALL_S):
            while incarnation not in told:  # it stands in what has the keys
                told += await stream.read()
        for method in (CALLS[name].path for name in ("status", "key_list", "key_audit", "counters")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(method)(b"", timeout=CALL_S)
            told += (refused.value.details() or "").encode()
        stream.cancel()
    return told


async def rotated(world: Overlay, collection: Collection, *words: str) -> None:
    """New keys, and the old ones gone; both are collected."""
    before = {key["spi"] for key in (await world.ready())["keys"]}
    collection.read_switches()
    assert await collection.operate("keys", "rotate", *words) == 0
    async with asyncio.timeout(CALL_S):
        while before & {key["spi"] for key in (await world.ready())["keys"]}:
            collection.read_switches()
            await asyncio.sleep(0.05)
    collection.read_switches()


async def crash(world: Overlay, name: str, number: int) -> None:
    """End a process by a signal, and see that it leaves no core."""
    process = world.processes.pop(name)
    process.send_signal(number)
    _, status = await asyncio.to_thread(os.waitpid, process.pid, 0)
    process.returncode = -number
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status), "a core has everything in it"


class TestSecretsStay:
    @pytest.mark.parametrize("who", ["nva", "nva+peer"])
    def test_where_they_belong(self, identities: Identities, start_switch, who):
        document = yaml.safe_load(identities.domain_file.read_text())
        document["tunnel_keys"] = who
        identities.domain_file.write_text(yaml.safe_dump(document))

        async def run():
            async with overlay(identities, start_switch, grace_s=1.0) as world:
                collection = Collection(world)
                await self._live(world, collection)
                for name in ("nva", *LEAVES):
                    await crash(world, name, signal.SIGABRT)
                collection.read_store()
                self._search(collection)

        asyncio.run(run())

    async def _live(self, world: Overlay, collection: Collection) -> None:
        async with Traffic(world):
            for _ in range(2):
                await rotated(world, collection)
        collection.look_at_processes()
        await asyncio.to_thread(collection.ask_consoles)
        for words in (
            ("status", "--wait", "60"),
            ("counters",),
            ("keys", "list"),
            ("keys", "audit"),
            ("reconcile", "--dry-run"),
        ):
            for form in ("json", "table"):
                assert await collection.operate(*words, "-o", form) == 0
        # Refusals.
        assert await collection.operate("keys", "rotate", role=Role.NVE, name="leaf3") == 1
        assert await collection.operate("counters", "leaf9") == 1
        # Errors: an entry that is gone, a switch that is gone.
        with RawSwitch(world.switches["leaf1"].target, world.switches["leaf1"].device_id) as raw:
            raw.delete(raw.entries("sa_tx")[0])
        await collection.operate("keys", "audit")  # it says so, unless the agent has put it back already
        assert await collection.operate("reconcile") == 0
        world.switches["leaf2"].kill()
        await until(lambda: "not serving" in world.log("leaf2"))
        world.switches["leaf2"].start()
        await world.ready()
        collection.read_switches()
        # Crashes, of each, and an NVA that comes back to keys that it has not made.
        for name in ("leaf1", "nva", "leaf3"):
            await crash(world, name, signal.SIGABRT)
            if name == "nva":
                collection.read_store()
            world.start(name)
            await world.ready()
        await rotated(world, collection)
        # Somebody else with the certificate of leaf3.
        world.kill("leaf3")
        collection.read_switches()
        collection.note("told to leaf3", await told_as(world, "leaf3"))
        world.start("leaf3")
        await world.ready()
        # The ports of the restarted switch were closed with it; what still runs is that of leaf3.
        await world.ports["leaf3"].send(1, frame(BLUE3, BLUE3, "10.1.0.3", "10.1.0.3", 1))
        collection.read_switches()

    def _search(self, collection: Collection) -> None:
        tunnels = {key for keys in collection.tunnel_keys.values() for key in keys}
        assert len(tunnels) >= 24, "rotations made new ones"
        assert collection.epochs
        assert collection.wrapping
        needles = [Needle("a key of a tunnel", key) for key in tunnels]
        needles += [Needle("the secret of an epoch", one) for one in collection.epochs]
        wrapping = [Needle("a key of the store", one) for one in collection.wrapping]
        devices = collection.device_keys()
        places = {"keys/": devices, "pki/": wrapping}
        found: list[str] = []
        files = collection.files()
        for place, others in places.items():
            there = {name: content for name, content in files.items() if name.startswith(place)}
            assert there, f"{place}: where did they go?"
            found += Search([*needles, *others]).through(there)
        rest = {name: content for name, content in files.items() if not name.startswith(tuple(places))}
        assert {"nva.process", "leaf1.process", f"database/{DATABASE_FILE}", "run-leaf1/agent.json"} <= rest.keys()
        assert b"[debug" in rest["nva.process"], "the logs are at their most talkative"
        assert not [name for name in rest if "core" in Path(name).name], "a core"
        everything = Search([*needles, *wrapping, *devices])
        found += everything.through(rest)
        # What the NVA tells leaf3 may have keys: those that leaf3 shares, none between others.
        found += everything.through(collection.seen)
        assert found == []
        # And the search would have found them: they are where they belong.
        assert everything.in_one(b"".join(files[name] for name in files if name.startswith("keys/")))
