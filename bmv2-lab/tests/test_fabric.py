# SPDX-License-Identifier: Apache-2.0
"""The underlay: what it forwards, reports, and does for attackers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from nvo3lab.errors import RemoteError
from nvo3lab.rpc import Client
from nvo3lab.topology import TOKEN
from nvo3lab.wires.reader import Known
from nvo3ref import protection
from nvo3ref import tenant_frames as frames

from .conftest import guardian, start_own
from .processes import SILENCE

RED, BLUE = 5001, 5002
MACS = ("02:00:00:00:02:01", "02:00:00:00:02:02")
IPS = ("10.0.0.1", "10.0.0.2")
NEEDLE = bytes(range(0x40, 0x60))


def said(text: bytes) -> bytes:
    """A frame between the two hosts of blue."""
    return frames.ethernet(MACS[1], MACS[0], frames.ETHERTYPE_IPV4, frames.silent(IPS[0], IPS[1], text))


def packet(vni: int, suite: int, number: int, inner: bytes) -> protection.Protected:
    return protection.Protected(
        "02:aa:00:00:00:01", "02:aa:00:00:00:02", "192.0.2.1", "192.0.2.2", vni, suite, number, inner, suite
    ).sealed(bytes(16))


class TestFabric:
    """As a process, with this test in the place of the NVEs."""

    @staticmethod
    async def fabric(guarded: object, run: Path) -> Client:
        links = [
            {
                "name": f"leaf{number}",
                "mac": f"02:aa:00:00:00:0{number}",
                "ends": [
                    (f"192.0.2.{number}", f"192.0.2.{3 - number}"),
                    (f"2001:db8::{number}", f"2001:db8::{3 - number}"),
                ],
                "wire": {"local": str(run / f"{number}.b"), "peer": str(run / f"{number}.a")},
            }
            for number in (1, 2)
        ]
        vns = [
            {"name": "red", "vni": 5001, "level": "integrity", "members": []},
            {"name": "blue", "vni": 5002, "level": "confidentiality", "members": list(zip(MACS, IPS, strict=True))},
        ]
        configuration = {"links": links, "vns": vns, "captures": str(run), "control": str(run / "fabric.sock")}
        return await start_own(guarded, run, "fabric", "nvo3lab.wires.fabric", configuration, None)  # type: ignore[arg-type]

    @staticmethod
    def nve(run: Path, number: int) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.settimeout(SILENCE)
        end.bind(str(run / f"{number}.a"))
        end.connect(str(run / f"{number}.b"))
        return end

    @asynccontextmanager
    async def underlay(self, directory: Path) -> AsyncIterator[tuple[Client, socket.socket, socket.socket]]:
        """The fabric in `directory`/run, and the ends of leaf1 and leaf2."""
        run = directory / "run"
        async with guardian(directory) as guarded:
            client = await self.fabric(guarded, run)
            try:
                with self.nve(run, 1) as leaf1, self.nve(run, 2) as leaf2:
                    yield client, leaf1, leaf2
            finally:
                await client.close()

    def test_protected_packets_are_forwarded_and_others_reported(self, short_directory: Path) -> None:
        async def check() -> None:
            async with self.underlay(short_directory) as (client, leaf1, leaf2):
                good = packet(RED, 1, 1, bytes(60)).build()
                leaf1.send(good)
                assert await asyncio.to_thread(leaf2.recv, 2000) == good
                leaf1.send(bytes.fromhex("02aa0000000202aa000000010806") + bytes(60))
                await asyncio.to_thread(leaf2.recv, 2000)
                first, second = (await client.call("report"))["links"]
                assert (first["frames"], first["protected"], first["violations"]) == (2, 1, 1)
                assert "0x0806" in first["examples"][0]
                assert second["frames"] == 0

        asyncio.run(check())

    def test_an_attacker_on_the_path_withholds_and_injects(self, short_directory: Path) -> None:
        async def check() -> None:
            async with self.underlay(short_directory) as (client, leaf1, leaf2):
                packets = [packet(RED, 1, number, bytes(16) + b"bait" * 11).build() for number in (1, 2)]
                await client.call("intercept", vni=5001, length=60, count=1, withhold=True)
                for frame in packets:
                    leaf1.send(frame)
                assert await asyncio.to_thread(leaf2.recv, 2000) == packets[1]
                caught = await client.call("intercepted")
                assert len(caught) == 1
                assert await client.call("inject", name="leaf2", frames=caught, repeat=2) == 2
                assert await asyncio.to_thread(leaf2.recv, 2000) == packets[0]
                assert await asyncio.to_thread(leaf2.recv, 2000) == packets[0]
                assert (await client.call("report"))["links"][0]["violations"] == 0
                numbers = {
                    "name": "leaf1",
                    "destination": "192.0.2.2",
                    "spi": 1,
                    "ahead": 100,
                    "limit": 120,
                }
                assert await client.call("claim", count=10, **numbers) == 103
                assert await client.call("claim", count=5, **numbers) == 113
                with pytest.raises(RemoteError, match="used up"):
                    await client.call("claim", count=10, **numbers)

        asyncio.run(check())

    def test_a_reader_finds_what_is_in_clear(self, short_directory: Path) -> None:
        async def check() -> None:
            known = [Known.of_members(vni, list(zip(MACS, IPS, strict=True)), [NEEDLE]) for vni in (RED, BLUE)]
            async with self.underlay(short_directory) as (client, leaf1, leaf2):
                leaf1.send(packet(BLUE, 2, 1, said(NEEDLE)).build())
                leaf1.send(bytes(14) + NEEDLE)  # before anybody looks
                await client.call("look_for", known=[one.to_json() for one in known])
                leaf1.send(packet(BLUE, 2, 2, said(NEEDLE)).build())
                found = await client.call("found")
                assert [(one["vni"], one["packets"], one["found"]) for one in found["vns"]] == [
                    (RED, 0, {}),
                    (BLUE, 1, {}),
                ]
                assert found["captures"] == [
                    str(short_directory / "run" / f"underlay-leaf{number}.pcap") for number in (1, 2)
                ]
                leaf1.send(packet(RED, 1, 3, said(NEEDLE)).build())
                red, blue = (await client.call("found"))["vns"]
                assert red["found"].keys() == {one.hex() for one in known[0].anywhere} | {"0a0000010a000002"}
                # What other VNs show counts, but for the addresses that they have, too.
                assert blue["found"].keys() == {one.hex() for one in known[1].anywhere}
                for _ in range(2):
                    await asyncio.to_thread(leaf2.recv, 2000)

        asyncio.run(check())

    def test_a_level_is_demanded_of_what_comes_from_now_on(self, short_directory: Path) -> None:
        async def check() -> None:
            async with self.underlay(short_directory) as (client, leaf1, _):
                leaf1.send(packet(RED, 1, 1, bytes(60)).build())
                await client.call("demand", vni=RED, level="confidentiality")
                assert (await client.call("report"))["links"][0]["violations"] == 0
                leaf1.send(packet(RED, 1, 2, bytes(60)).build())
                leaf1.send(packet(RED, 2, 1, bytes(60)).build())
                six = replace(packet(RED, 2, 2, bytes(60)), source="2001:db8::1", destination="2001:db8::2")
                leaf1.send(six.build())
                report = await client.call("report")
                assert report["links"][0]["violations"] == 1
                assert "VN red demands confidentiality" in report["links"][0]["examples"][0]
                assert report["vns"][0] == {
                    "vn": "red",
                    "vni": RED,
                    "level": "confidentiality",
                    "suites": {"1": 2, "2": 2},
                    "families": {"IPv4": {"1": 2, "2": 1}, "IPv6": {"2": 1}},
                }
                with pytest.raises(RemoteError, match="no VN has VNI 1; there are 5001, 5002"):
                    await client.call("demand", vni=1, level="integrity")
                with pytest.raises(RemoteError, match="a level is one of integrity, confidentiality"):
                    await client.call("demand", vni=RED, level="both")

        asyncio.run(check())

    def test_what_nobody_asked_for(self, short_directory: Path) -> None:
        """Echoes of the lab's and ARP are told by what they are, or by their length where that cannot be read."""

        async def check() -> None:
            async with self.underlay(short_directory) as (client, leaf1, _):
                echo = said(TOKEN + bytes(40))
                one, other = "02:00:00:00:01:01", "02:00:00:00:01:02"
                arp = frames.arp(frames.ARP_REQUEST, one, IPS[0], "00:00:00:00:00:00", IPS[1])
                poll = frames.ethernet(other, one, frames.ETHERTYPE_ARP, arp)
                for number, suite in enumerate((1, 2), 1):
                    leaf1.send(packet(RED, suite, number, echo).build())
                    leaf1.send(packet(RED, suite, 20 + number, poll).build())
                    assert await client.call("uninvited", name="leaf1") == number - 1
                    leaf1.send(packet(RED, suite, 10 + number, said(bytes(57))).build())
                    assert await client.call("uninvited", name="leaf1") == number

        asyncio.run(check())
