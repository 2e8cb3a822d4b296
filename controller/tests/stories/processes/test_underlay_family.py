# SPDX-License-Identifier: Apache-2.0
"""Tunnels over IPv4 and over IPv6, over processes and real switches: frames both ways, an agent that comes back, and
both families side by side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
import yaml
from nvo3sec.domain.overlay.model import TunnelKeys
from overlay_world import LEAVES, Overlay, overlay
from tenant_traffic import BLUE1, BLUE2, BLUE3, frame

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


NUMBER = {"leaf1": 1, "leaf2": 2, "leaf3": 3}
MAC = {"leaf1": BLUE1, "leaf2": BLUE2, "leaf3": BLUE3}


def between(one: str, other: str, number: int) -> bytes:
    """A frame of the tenant behind `one` to that behind `other`."""
    return frame(MAC[one], MAC[other], f"10.1.0.{NUMBER[one]}", f"10.1.0.{NUMBER[other]}", number)


async def both_ways(world: Overlay, one: str, other: str, number: int) -> set[tuple[object, object]]:
    """A frame to the other, and one back; the addresses under which they went."""
    since = len(world.underlay.carried)
    for sender, receiver in ((one, other), (other, one)):
        sent = between(sender, receiver, number)
        await world.ports[sender].send(1, sent)
        assert await world.ports[receiver].receive(1) == sent
    return set(map(ends, world.underlay.carried[since:]))


def underlay(world_file: Path, addresses: Mapping[str, object]) -> dict:
    """The domain file, with other addresses."""
    document = yaml.safe_load(world_file.read_text())
    for nve in document["nves"]:
        nve["underlay"] |= {"address": addresses[nve["name"]], "mtu": 1600}
    return document


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
    document = underlay(identities.domain_file, {leaf: str(one) for leaf, one in addresses.items()})
    identities.domain_file.write_text(yaml.safe_dump(document | {"tunnel_keys": tunnel_keys.value}))

    async def run():
        async with overlay(identities, start_switch) as world:
            expected = {
                (addresses["leaf1"], addresses["leaf2"]),
                (addresses["leaf2"], addresses["leaf1"]),
            }
            assert await both_ways(world, "leaf1", "leaf2", 1) == expected
            before = await told(world, "keys", "list")
            # Who comes back finds in its switch what it had written: the same tunnels, peers and keys.
            world.kill("leaf2")
            world.start("leaf2")
            await world.ready()
            assert await both_ways(world, "leaf1", "leaf2", 2) == expected
            spis = {(one["sender"], one["receiver"]): one["spi"] for one in before}
            assert {(one["sender"], one["receiver"]): one["spi"] for one in await told(world, "keys", "list")} == spis
            (counters,) = await told(world, "counters", "leaf2")
            received = {ip_address(row["source"]) for row in counters["sa_rx"]}
            assert received == {addresses["leaf1"], addresses["leaf3"]}
            assert {ip_address(row["destination"]) for row in counters["sa_rx"]} == {addresses["leaf2"]}

    asyncio.run(run())


@pytest.mark.parametrize("tunnel_keys", TunnelKeys)
def test_ipv6_comes_beside_ipv4(identities, start_switch, tmp_path, tunnel_keys):
    """Two of three NVEs get a second address: the tunnel between them moves, and those to the third stay."""
    four, six = ADDRESSES[4], ADDRESSES[6]
    document = underlay(identities.domain_file, {leaf: str(one) for leaf, one in four.items()})
    identities.domain_file.write_text(yaml.safe_dump(document | {"tunnel_keys": tunnel_keys.value}))

    def ways(addresses: Mapping[str, object], one: str, other: str) -> set[tuple[object, object]]:
        return {(addresses[one], addresses[other]), (addresses[other], addresses[one])}

    async def apply(world: Overlay, addresses: Mapping[str, object]) -> None:
        file = tmp_path / "domain.yaml"
        changed = underlay(identities.domain_file, addresses)
        file.write_text(yaml.safe_dump(changed))
        words = ("domain", "apply", str(file), "--yes", "--wait", "120")
        done = await asyncio.to_thread(world.operate, *words)
        assert done.returncode == 0, done.stderr + done.stdout

    async def spi(world: Overlay, sender: str, receiver: str) -> set[str]:
        keys = await told(world, "keys", "list")
        return {one["spi"] for one in keys if (one["sender"], one["receiver"]) == (sender, receiver)}

    async def run():
        async with overlay(identities, start_switch) as world:
            assert await both_ways(world, "leaf1", "leaf2", 1) == ways(four, "leaf1", "leaf2")
            assert await both_ways(world, "leaf1", "leaf3", 1) == ways(four, "leaf1", "leaf3")
            stays = await spi(world, "leaf1", "leaf3")
            both = {leaf: [str(six[leaf]), str(four[leaf])] for leaf in ("leaf1", "leaf2")}
            await apply(world, both | {"leaf3": str(four["leaf3"])})
            assert await both_ways(world, "leaf1", "leaf2", 2) == ways(six, "leaf1", "leaf2")
            assert await both_ways(world, "leaf1", "leaf3", 2) == ways(four, "leaf1", "leaf3")
            assert await spi(world, "leaf1", "leaf3") == stays
            world.kill("leaf1")
            world.start("leaf1")
            await world.ready()
            assert await both_ways(world, "leaf1", "leaf2", 3) == ways(six, "leaf1", "leaf2")
            assert await both_ways(world, "leaf1", "leaf3", 3) == ways(four, "leaf1", "leaf3")
            (counters,) = await told(world, "counters", "leaf1")
            found = {(ip_address(row["source"]), ip_address(row["destination"])) for row in counters["sa_rx"]}
            assert found == {(six["leaf2"], six["leaf1"]), (four["leaf3"], four["leaf1"])}
            # A frame to all: a copy over each family.
            since = len(world.underlay.carried)
            group = (2**48 - 1).to_bytes(6, "big") + between("leaf1", "leaf2", 4)[6:]
            await world.ports["leaf1"].send(1, group)
            assert [await world.ports[leaf].receive(1) for leaf in ("leaf2", "leaf3")] == [group, group]
            assert set(map(ends, world.underlay.carried[since:])) == {
                (six["leaf1"], six["leaf2"]),
                (four["leaf1"], four["leaf3"]),
            }
            await apply(world, {leaf: str(one) for leaf, one in four.items()})
            assert await both_ways(world, "leaf1", "leaf2", 5) == ways(four, "leaf1", "leaf2")

    asyncio.run(run())
