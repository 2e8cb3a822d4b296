# SPDX-License-Identifier: Apache-2.0
"""`nvo3sec keys`: against NVA, agents and switches as processes, and a switch that somebody else has written to."""

from __future__ import annotations

import asyncio
import json
import threading

from overlay_world import LEAVES, Overlay, overlay
from raw_switch import RawSwitch

AUDITS = 10
STEAL_S = 0.05


async def keys(world: Overlay, *words: str) -> tuple[int, str]:
    done = await asyncio.to_thread(world.operate, "keys", *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


async def listed(world: Overlay, *words: str) -> list[dict]:
    status, output = await keys(world, "list", *words, "-o", "json")
    assert status == 0
    return json.loads(output)


class TestKeys:
    def test_list_rotate_and_audit(self, identities, start_switch):
        async def run():
            async with overlay(identities, start_switch, grace_s=1.0) as world:
                before = await listed(world)
                assert len(before) == 6
                for one in before:
                    assert (one["state"], one["suite"]) == ("sending", "CHASKEY12")
                    assert (one["sender_should"], one["sender_has"]) == (True, True)
                    assert (one["receiver_should"], one["receiver_has"]) == (True, True)
                assert {one["spi"] for one in await listed(world, "--vn", "red")} == {
                    one["spi"] for one in before if "leaf2" not in (one["sender"], one["receiver"])
                }
                assert await keys(world, "rotate", "--vn", "red") == (0, "new keys asked for in 2 directions\n")
                assert await keys(world, "rotate", "leaf1", "leaf2") == (0, "new keys asked for in 2 directions\n")
                assert (await keys(world, "rotate", "--vn", "green"))[0] == 1
                none = await asyncio.to_thread(world.operate, "keys", "rotate", "leaf1", "leaf2", "--vn", "red")
                assert (none.returncode, none.stdout) == (1, "")
                assert none.stderr == "nvo3sec: no tunnel between leaf1 and leaf2 carries red\n"
                status, text = await keys(world, "list")
                assert status == 0
                assert "holds it" in text
                await self._audited(world)

        asyncio.run(run())

    async def _audited_without_an_entry(self, world: Overlay) -> tuple[int, str]:
        """An audit while somebody removes an entry from leaf2's switch as often as its agent puts it back."""
        switch, done = world.switches["leaf2"], threading.Event()
        with RawSwitch(switch.target, switch.device_id) as raw:
            secrets, victim = raw.keys(), raw.entries("sa_rx")[0]

            def steal() -> None:
                while not done.wait(STEAL_S):
                    for one in raw.entries("sa_rx"):
                        if one.match == victim.match:
                            raw.delete(one)

            stealing = asyncio.create_task(asyncio.to_thread(steal))
            try:
                for _ in range(AUDITS):
                    status, output = await keys(world, "audit", "-o", "json")
                    assert not any(key.hex() in output for key in secrets)
                    if status == 1:
                        return status, output
            finally:
                done.set()
                await stealing
        raise AssertionError("no audit noticed it")

    async def _audited(self, world: Overlay) -> None:
        status, output = await keys(world, "audit", "-o", "json")
        report = json.loads(output)
        assert (status, report["held"], report["differences"]) == (0, True, [])
        assert [one["nve"] for one in report["switches"]] == list(LEAVES)
        assert all(one["agrees"] and one["lease_left_s"] > 0 for one in report["switches"])

        status, output = await self._audited_without_an_entry(world)
        report = json.loads(output)
        assert (status, report["held"]) == (1, False)
        (difference,) = report["differences"]
        assert difference["nve"] == "leaf2"
        assert difference["what"].startswith("lacks the SA ")
        status, text = await keys(world, "audit", "leaf1")
        assert (status, "Every switch holds what it should." in text) == (0, True)
        assert (await keys(world, "audit", "leaf9"))[0] == 1

        # As soon as the agent looks at its switch, it is as it should be.
        assert (await asyncio.to_thread(world.operate, "reconcile", "leaf2")).returncode == 0
        assert (await keys(world, "audit"))[0] == 0

        world.kill("leaf3")
        status, text = await keys(world, "audit", "leaf3")
        assert (status, "leaf3: is not known: leaf3 is not connected to the NVA" in text) == (1, True)


class TestUse:
    PACKETS = 7

    def test_a_new_key_is_not_credited_with_what_an_old_one_sent(self, identities, start_switch):
        """The counter belongs to the entry, which goes on when another key is put into it."""

        async def run():
            async with overlay(identities, start_switch, grace_s=1.0) as world:

                async def leaf1_to_leaf2() -> dict[str, dict]:
                    found = await listed(world, "leaf1", "leaf2")
                    return {one["spi"]: one for one in found if one["sender"] == "leaf1"}

                for number in range(self.PACKETS):
                    frame = blue(bytes([number]) * 64)
                    await world.ports["leaf1"].send(1, frame)
                    assert await world.ports["leaf2"].receive(1) == frame
                ((old, before),) = (await leaf1_to_leaf2()).items()
                sent = before["sent_packets"]
                assert sent >= self.PACKETS, "lookups may have had the first one sent twice"
                assert not before["sent_at_most"]
                assert (await keys(world, "rotate", "leaf1", "leaf2"))[0] == 0
                after = await leaf1_to_leaf2()
                while not any(spi != old and one["sender_has"] for spi, one in after.items()):
                    assert world.processes["nva"].poll() is None
                    after = await leaf1_to_leaf2()
                for spi, one in after.items():
                    expected = (None, None) if spi == old else (0, 0)
                    assert (one["sent_packets"], one["sent_bytes"]) == expected, (spi, old)

                await world.ports["leaf1"].send(1, blue(b"x" * 64))
                assert await world.ports["leaf2"].receive(1) == blue(b"x" * 64)
                (now,) = (one for spi, one in (await leaf1_to_leaf2()).items() if spi != old)
                assert now["sent_packets"] == 1
                told = await asyncio.to_thread(world.operate, "counters", "leaf1", "-o", "json")
                (counters,) = json.loads(told.stdout)
                (sent_now,) = (one for one in counters["sa_sent"] if one["spi"] == now["spi"])
                assert (sent_now["towards"], sent_now["packets"], sent_now["bytes"]) == ("leaf2", 1, now["sent_bytes"])
                assert max(one["packets"] for one in counters["sa_tx"]) > self.PACKETS, "the entry counts on"

        asyncio.run(run())


def blue(payload: bytes) -> bytes:
    """A frame from the blue tenant system of leaf1 to that of leaf2."""
    header = bytes.fromhex("450000000000000040fd0000")
    header = header[:2] + (20 + len(payload)).to_bytes(2, "big") + header[4:]
    addresses = bytes((10, 1, 0, 1, 10, 1, 0, 2))
    return bytes.fromhex("02aa0000000202aa000000010800") + header + addresses + payload
