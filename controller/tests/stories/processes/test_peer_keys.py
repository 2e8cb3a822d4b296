# SPDX-License-Identifier: Apache-2.0
"""`tunnel_keys: nva+peer` with real processes, switches and packets; and with an NVA that does not do its duty."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from typing import Any

import overlay_world
import pytest
import yaml
from overlay_world import LEAVES, READY_S, Identities, Overlay, overlay, until
from raw_switch import RawSwitch
from tenant_traffic import BLUE1, BLUE2, BLUE3, Traffic, blue, frame

ALL = {(one, other) for one in LEAVES for other in LEAVES if one != other}

RECORD = """
import json, os
from nvo3sec.nva.keys import delivery as door

make = door.Door.hand_out

def handed_out(self, *arguments):
    receive, send = make(self, *arguments)
    with open(os.environ["NVO3SEC_TEST_KEYS"], "a") as file:
        for sa in (*receive, *send):
            if sa.key is not None:
                print(json.dumps([sa.spi, sa.key.reveal().hex()]), file=file)
    return receive, send

door.Door.hand_out = handed_out
"""
"""An NVA of which somebody learns every key that it derives."""

SWAP = """
from dataclasses import replace
from nvo3sec.domain.keys.contribution import Contribution, PrivateHalf, Statement
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.nva.keys import contribution_relay as peering

fetch = peering.PeerRelay.fetch
own = PrivateHalf(Secret(b"the NVA's own ephemeral key ....")).public_key

def swapped(one):
    if one.peer != "leaf2":
        return one
    statement = replace(Statement.decode(one.contribution.statement), public_key=own).encode()
    return replace(one, contribution=replace(one.contribution, statement=statement))

def lying(self, nve):
    update = fetch(self, nve)
    if update is None or nve != "leaf1":
        return update
    return replace(update, contributions=tuple(swapped(one) for one in update.contributions))

peering.PeerRelay.fetch = lying
"""
"""An NVA that puts itself between leaf1 and leaf2."""

REOPEN = """
import os
from dataclasses import replace
from nvo3sec.nva.keys import delivery as door

make = door.Door.hand_out

def handed_out(self, nve, *arguments):
    receive, send = make(self, nve, *arguments)
    if nve != "leaf2" or not os.path.exists(os.environ["NVO3SEC_TEST_LIE"]):
        return receive, send
    def lie(sa):
        return replace(sa, key=None, pair=None, generation=sa.generation + 1000) if sa.peer == "leaf1" else sa
    return tuple(map(lie, receive)), send

door.Door.hand_out = handed_out
"""
"""An NVA that names what leaf1 sends to leaf2 with under a higher generation, and does not know the key."""

FLOOD = """
import asyncio, os
from dataclasses import replace
from nvo3sec.domain.keys.contribution import Contribution, PeerNews, Statement
from nvo3sec.nve import service as serving

run = serving.SwitchService.run

async def flood(self):
    while not os.path.exists(os.environ["NVO3SEC_TEST_FLOOD"]):
        await asyncio.sleep(0.05)
    genuine = self._peering._keys.contributions()[-1]
    statement = Statement.decode(genuine.statement)
    for number in range(5000):
        false = replace(genuine, statement=replace(statement, expiry=statement.expiry - number - 1).encode())
        await self._session.peer_news(PeerNews(self._incarnation, (false,)))
    open(os.environ["NVO3SEC_TEST_FLOOD"] + ".done", "w").close()

async def both(self):
    task = asyncio.create_task(flood(self))
    try:
        await run(self)
    finally:
        task.cancel()

serving.SwitchService.run = both
"""
"""An agent that contributes thousands of times, with a signature that is wrong."""


def with_peers(identities: Identities) -> None:
    document = yaml.safe_load(identities.domain_file.read_text())
    document["tunnel_keys"] = "nva+peer"
    identities.domain_file.write_text(yaml.safe_dump(document))


@pytest.fixture
def patch_nva(monkeypatch) -> Any:
    """Has the NVA's process run something first, and leaf3's agent something else."""

    def patch(code: str, rogue: str = "") -> None:
        def command(*words: str) -> list[str]:
            first = code if words[:2] == ("nva", "run") else rogue if "leaf3" in words else ""
            return [sys.executable, "-c", f"{first}\nfrom nvo3sec.cli import main; main()", *words]

        monkeypatch.setattr(overlay_world, "command", command)

    return patch


async def keys_in_use(world: Overlay) -> dict[tuple[str, str], str]:
    status = await world.ready()
    return {(one["sender"], one["receiver"]): one["spi"] for one in status["keys"] if one["state"] == "sending"}


async def rotated(world: Overlay) -> None:
    before = await keys_in_use(world)
    answer = await asyncio.to_thread(world.operate, "keys", "rotate")
    assert answer.returncode == 0, answer.stderr
    await replaced(world, before)


async def replaced(world: Overlay, before: dict[tuple[str, str], str]) -> None:
    async with asyncio.timeout(READY_S):
        while any(spi == before[one] for one, spi in (await keys_in_use(world)).items()):
            await asyncio.sleep(0.05)


class TestTraffic:
    def test_nothing_is_lost_in_rotations_and_restarts(self, identities, start_switch):
        async def run():
            with_peers(identities)
            async with overlay(identities, start_switch) as world:
                listed = await asyncio.to_thread(world.operate, "keys", "list", "-o", "json")
                assert {one["tunnel_keys"] for one in json.loads(listed.stdout)} == {"nva+peer"}
                async with Traffic(world) as traffic:
                    await rotated(world)
                    for name in ("leaf1", "leaf2", "nva"):
                        world.kill(name)
                        seen = traffic.sent
                        await until(lambda seen=seen: traffic.sent > seen + 20)
                        world.start(name)
                        await world.ready()
                        await rotated(world)
                assert not [one for one in (await world.ready())["reports"] if one["event"].startswith("peer-")]
                for name in ("nva", *LEAVES):
                    assert "Traceback" not in world.log(name), world.log(name)
                    assert "broke" not in world.log(name), world.log(name)

        asyncio.run(run())

    def test_a_switch_that_begins_anew(self, identities, start_switch):
        async def run():
            with_peers(identities)
            async with overlay(identities, start_switch) as world:
                switch = world.switches["leaf2"]
                await world.ports["leaf2"].close()
                switch.kill()
                switch.start()
                await world.ready()
                await world.ports["leaf2"].open()
                async with Traffic(world):
                    await rotated(world)

        asyncio.run(run())


class TestAnotherDomainFile:
    def test_there_and_back_while_packets_flow(self, identities, start_switch):
        """Who makes the keys is decided when an NVA starts; its agents follow."""

        async def run():
            async with overlay(identities, start_switch) as world:
                async with Traffic(world):
                    for tunnel_keys in ("nva+peer", "nva"):
                        document = yaml.safe_load(identities.domain_file.read_text()) | {"tunnel_keys": tunnel_keys}
                        identities.domain_file.write_text(yaml.safe_dump(document))
                        world.kill("nva")
                        world.start("nva")
                        await world.ready()
                        await rotated(world)
                assert not [one for one in (await world.ready())["reports"] if one["event"].startswith("peer-")]

        asyncio.run(run())


class TestFlood:
    def test_nothing_of_others_is_lost(self, identities, start_switch, patch_nva, monkeypatch, tmp_path):
        async def run():
            begin, done = tmp_path / "flood", tmp_path / "flood.done"
            monkeypatch.setenv("NVO3SEC_TEST_FLOOD", str(begin))
            patch_nva("", FLOOD)
            with_peers(identities)
            async with overlay(identities, start_switch) as world:
                async with Traffic(world) as traffic:
                    begin.touch()
                    await until(done.exists)
                    seen = traffic.sent
                    await until(lambda: traffic.sent > seen + 50)
                reports = [one for one in world.status()["reports"] if one["nve"] == "leaf3"]
                assert any(one["detail"].startswith("limit: leaf3 contributes more often") for one in reports)

        asyncio.run(run())


class TestRequired:
    def test_keys_of_the_nva_alone_end_at_once(self, identities, start_switch):
        """An agent that is started anew, and requires mixed keys: its switch keeps none of those that it has."""

        async def run():
            async with overlay(identities, start_switch) as world:
                before = {one["nve"]: one["incarnation"] for one in (await world.ready())["switches"]}
                world.kill("leaf1")
                world.start("leaf1", more=["--require-peer-keys"])
                await until(lambda: "tunnel-keys-refused" in world.log("nva"))
                await until(lambda: "peer keys are required" in world.log("leaf1"))
                status = await asyncio.to_thread(world.status)
                after = {one["nve"]: one["incarnation"] for one in status["switches"]}
                assert after["leaf1"] != before["leaf1"]
                switch = world.switches["leaf1"]
                with RawSwitch(switch.target, switch.device_id) as raw:
                    assert not raw.entries("sa_rx")
                    assert not raw.entries("sa_tx")

        asyncio.run(run())


class TestRecordedTraffic:
    @pytest.mark.parametrize("with_the_peer", [True, False], ids=["nva+peer", "nva"])
    def test_the_keys_of_the_nva_open_it_or_not(
        self, identities, start_switch, patch_nva, monkeypatch, tmp_path, with_the_peer
    ):
        """The same thief, the same packets; without the peers' share he has the key."""

        async def run():
            stolen = tmp_path / "stolen"
            monkeypatch.setenv("NVO3SEC_TEST_KEYS", str(stolen))
            patch_nva(RECORD)
            if with_the_peer:
                with_peers(identities)
            async with overlay(identities, start_switch) as world:
                async with Traffic(world):
                    await rotated(world)
                keys: dict[int, set[bytes]] = {}
                for line in stolen.read_text().splitlines():
                    spi, key = json.loads(line)
                    keys.setdefault(spi, set()).add(bytes.fromhex(key))
                recorded = [packet for packet in map(protected, world.underlay.carried) if packet is not None]
                assert len(recorded) > 50
                assert {spi for spi, _, _ in recorded} <= set(keys), "he has a key for each of them"
                opened = [any(tag(key, m) == icv for key in keys[spi]) for spi, m, icv in recorded]
                assert opened == [not with_the_peer] * len(recorded)

        asyncio.run(run())


class TestLyingNva:
    def test_its_own_key_in_a_peers_name_opens_nothing(self, identities, start_switch, patch_nva):
        async def run():
            patch_nva(SWAP)
            with_peers(identities)
            world = Overlay(identities, start_switch)
            try:
                for name in ("nva", *LEAVES):
                    world.start(name)
                await until(lambda: "peer-contribution-refused" in world.log("nva"))
                await others_ready(world)
                await world.open_ports()
                await world.ports["leaf3"].send(1, frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 1))
                assert await world.ports["leaf1"].receive(1) == frame(BLUE3, BLUE1, "10.1.0.3", "10.1.0.1", 1)
                assert world.underlay.carried
                world.underlay.carried.clear()
                # Fewer than a VAP may punt at once, or the frame behind them could be one too many.
                for number in range(10):
                    await world.ports["leaf1"].send(1, blue(number))
                    await world.ports["leaf2"].send(1, frame(BLUE2, BLUE1, "10.1.0.2", "10.1.0.1", number))
                # One behind them on the same way out, to where there are keys: when it is there, they have been judged.
                for leaf, source, ip in (("leaf1", BLUE1, "10.1.0.1"), ("leaf2", BLUE2, "10.1.0.2")):
                    last = frame(source, BLUE3, ip, "10.1.0.3", 20)
                    await world.ports[leaf].send(1, last)
                    assert await world.ports["leaf3"].receive(1) == last
                macs = {
                    mac.to_bytes(6, "big")
                    for nve in identities.domain.nves
                    if nve.name == "leaf3"
                    for _, mac in nve.underlay_ports
                }
                destinations = [packet[:6] for packet in world.underlay.carried]
                assert len(destinations) == 2, "nothing even leaves towards each other"
                assert set(destinations) <= macs
                reports = [one for one in world.status()["reports"] if one["event"] == "peer-contribution-refused"]
                assert {one["nve"] for one in reports} == {"leaf1"}
                assert all(one["detail"] == "signature: leaf2: the device did not sign this" for one in reports)
            finally:
                world.end()
                for ports in world.ports.values():
                    with contextlib.suppress(AttributeError):
                        await ports.close()

        asyncio.run(run())

    @pytest.mark.parametrize("restarted", [False, True], ids=["same agent", "agent restarted"])
    def test_it_opens_no_replay_window_anew(
        self, identities, start_switch, patch_nva, monkeypatch, tmp_path, restarted
    ):
        """Packets that were recorded are not taken again, under whatever generation their key is named."""

        async def run():
            lie = tmp_path / "lie"
            monkeypatch.setenv("NVO3SEC_TEST_LIE", str(lie))
            patch_nva(REOPEN)
            with_peers(identities)
            async with overlay(identities, start_switch) as world:
                async with Traffic(world) as traffic:
                    await until(lambda: traffic.sent > 20)
                recorded = [packet for packet in world.underlay.carried if protected(packet) is not None]
                recorded = [packet for packet in recorded if packet[:6] in macs_of(identities, "leaf2")][-20:]
                assert len(recorded) == 20
                lie.touch()
                if restarted:
                    world.kill("leaf2")
                    world.start("leaf2")
                else:
                    await asyncio.to_thread(world.operate, "keys", "rotate")
                await until(lambda: "key-refused" in world.log("nva"))
                port = next(
                    port for nve in identities.domain.nves if nve.name == "leaf2" for port, _ in nve.underlay_ports
                )
                for packet in recorded:
                    await world.ports["leaf2"].send(port, packet)
                # One behind them, from where there are keys: when it is there, they have been judged.
                last = frame(BLUE3, BLUE2, "10.1.0.3", "10.1.0.2", 1)
                await until_sent(world, last)
                assert "key-refused" in {one["event"] for one in world.status()["reports"] if one["nve"] == "leaf2"}
                assert "key-refused" in world.log("leaf2")

        asyncio.run(run())


async def until_sent(world: Overlay, last: bytes) -> None:
    """Until leaf3 has reached leaf2 with `last`, and with nothing before it."""
    async with asyncio.timeout(READY_S):
        while True:
            await world.ports["leaf3"].send(1, last)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    assert await world.ports["leaf2"].receive(1) == last
                    return


def macs_of(identities: Identities, name: str) -> set[bytes]:
    return {
        mac.to_bytes(6, "big") for nve in identities.domain.nves if nve.name == name for _, mac in nve.underlay_ports
    }


async def others_ready(world: Overlay) -> None:
    closed = {"leaf1 to leaf2: no key confirmed at both ends", "leaf2 to leaf1: no key confirmed at both ends"}
    async with asyncio.timeout(READY_S):
        while True:
            status = await asyncio.to_thread(world.status)
            if status is not None and set(status["not_ready"]) == closed:
                return
            await asyncio.sleep(0.05)


# --- what is under the ICV (docs/wire-format.md), and the ICV itself ------------------------------------------------


def protected(wire: bytes) -> tuple[int, bytes, bytes] | None:
    """SPI, authenticated bytes and ICV of a frame on the underlay."""
    outer = wire[14:]
    if len(outer) < 88 or outer[9] != 17 or outer[22:24] != (6081).to_bytes(2, "big"):
        return None
    length = int.from_bytes(outer[24:26], "big") - 52
    coverage = int.from_bytes(outer[52:54], "big")
    head = outer[28:56] + length.to_bytes(2, "big") + b"\x4e\x33"
    return int.from_bytes(outer[40:44], "big"), head + outer[72 : 72 + coverage], outer[56:72]


MASK = 0xFFFFFFFF


def turn(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & MASK


def permute(v: list[int]) -> list[int]:
    a, b, c, d = v
    for _ in range(12):
        a = (a + b) & MASK
        b = turn(b, 5) ^ a
        a = turn(a, 16)
        c = (c + d) & MASK
        d = turn(d, 8) ^ c
        a = (a + d) & MASK
        d = turn(d, 13) ^ a
        c = (c + b) & MASK
        b = turn(b, 7) ^ c
        c = turn(c, 16)
    return [a, b, c, d]


def double(block: bytes) -> bytes:
    value = int.from_bytes(block, "little") << 1
    return (value ^ ((1 << 128) | 0x87) if value >> 128 else value).to_bytes(16, "little")


def tag(key: bytes, message: bytes) -> bytes:
    """Chaskey-12 (ISO/IEC 29192-6)."""

    def add(one: bytes, other: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(one, other, strict=True))

    last = double(key)
    if len(message) % 16 or not message:
        last = double(last)
        message += b"\x01" + bytes(-(len(message) + 1) % 16)
    state = key
    for at in range(0, len(message), 16):
        state = add(state, message[at : at + 16])
        if at + 16 == len(message):
            state = add(state, last)
        state = struct.pack("<4I", *permute(list(struct.unpack("<4I", state))))
    return add(state, last)
