# SPDX-License-Identifier: Apache-2.0
"""Tunnels over IPv4 and over IPv6, over processes and real switches: frames both ways, and an agent that comes back."""

from __future__ import annotations

import asyncio
import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import yaml
from nvo3sec.domain.overlay.model import TunnelKeys
from overlay_world import LEAVES, Overlay, overlay
from tenant_traffic import BLUE1, BLUE2, blue, frame

ADDRESSES = {
    4: {leaf: IPv4Address(f"192.0.2.{number}") for number, leaf in enumerate(LEAVES, 1)},
    6: {leaf: IPv6Address(f"2001:db8::{number}") for number, leaf in enumerate(LEAVES, 1)},
}


def ends(packet: bytes) -> tuple[object, object]:
    """Source and destination of a packet of the underlay."""
    kind, ip = packet[12:14], packet[14:]
    if kind == b"\x08\x00":
        return IPv4Address(ip[12:16]), IPv4Address(ip[16:20])
    assert kind == b"\x86\xdd"
    assert ip[46:48] != b"\0\0", "over IPv6 a UDP checksum is there"
    return IPv6Address(ip[8:24]), IPv6Address(ip[24:40])


def back(number: int) -> bytes:
    return frame(BLUE2, BLUE1, "10.1.0.2", "10.1.0.1", number)


async def both_ways(world: Overlay, number: int) -> set[tuple[object, object]]:
    """A frame from leaf1 to leaf2, and one back; the addresses under which they went."""
    since = len(world.underlay.carried)
    await world.ports["leaf1"].send(1, blue(number))
    assert await world.ports["leaf2"].receive(1) == blue(number)
    await world.ports["leaf2"].send(1, back(number))
    assert await world.ports["leaf1"].receive(1) == back(number)
    return set(map(ends, world.underlay.carried[since:]))


async def told(world: Overlay, *words: str) -> list[dict]:
    done = await asyncio.to_thread(world.operate, *words, "-o", "json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("family", "tunnel_keys"),
    [(4, TunnelKeys.NVA), (6, TunnelKeys.NVA), (6, TunnelKeys.NVA_AND_PEER)],
    ids=["IPv4", "IPv6", "IPv6, keys mixed by peers"],
)
def test_frames_go_both_ways(identities, start_switch, family, tunnel_keys):
    addresses = ADDRESSES[family]
    document = yaml.safe_load(identities.domain_file.read_text()) | {"tunnel_keys": tunnel_keys.value}
    for nve in document["nves"]:
        nve["underlay"] |= {"address": str(addresses[nve["name"]]), "mtu": 1600}
    identities.domain_file.write_text(yaml.safe_dump(document))

    async def run():
        async with overlay(identities, start_switch) as world:
            expected = {
                (addresses["leaf1"], addresses["leaf2"]),
                (addresses["leaf2"], addresses["leaf1"]),
            }
            assert await both_ways(world, 1) == expected
            before = await told(world, "keys", "list")
            # Who comes back finds in its switch what it had written: the same tunnels, peers and keys.
            world.kill("leaf2")
            world.start("leaf2")
            await world.ready()
            assert await both_ways(world, 2) == expected
            spis = {(one["sender"], one["receiver"]): one["spi"] for one in before}
            assert {(one["sender"], one["receiver"]): one["spi"] for one in await told(world, "keys", "list")} == spis
            (counters,) = await told(world, "counters", "leaf2")
            received = {ip_address(row["source"]) for row in counters["sa_rx"]}
            assert received == {addresses["leaf1"], addresses["leaf3"]}
            assert {ip_address(row["destination"]) for row in counters["sa_rx"]} == {addresses["leaf2"]}

    asyncio.run(run())
