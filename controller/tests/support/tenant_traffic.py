# SPDX-License-Identifier: Apache-2.0
"""Packets between tenants, and what moves one of them, over NVA and agents as processes."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.operator.console import ask
from overlay_world import READY_S, Overlay

BLUE1, BLUE2, BLUE3 = 0x02AA00000001, 0x02AA00000002, 0x02AA00000003


def frame(source: int, destination: int, source_ip: str, destination_ip: str, number: int) -> bytes:
    payload = number.to_bytes(8, "big") + bytes(24)
    length = (20 + len(payload)).to_bytes(2, "big")
    packet = b"\x45\x00" + length + bytes(4) + b"\x40\xfd\x00\x00"
    packet += IPv4Address(source_ip).packed + IPv4Address(destination_ip).packed + payload
    return destination.to_bytes(6, "big") + source.to_bytes(6, "big") + b"\x08\x00" + packet


def blue(number: int) -> bytes:
    return frame(BLUE1, BLUE2, "10.1.0.1", "10.1.0.2", number)


class Traffic:
    """Packets of a tenant from leaf1 to leaf2, as long as the context lasts; each must arrive once, in order."""

    def __init__(self, world: Overlay) -> None:
        self._world = world
        self.sent = 0
        self._stopping = False

    async def _send(self) -> None:
        while not self._stopping:  # between two packets, so that all that are sent are counted
            await self._world.ports["leaf1"].send(1, blue(self.sent))
            self.sent += 1
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> Traffic:
        # The first packet has the agent look up where its destination is, and needs the NVA for that.
        await self._world.ports["leaf1"].send(1, blue(2**32))
        assert await self._world.ports["leaf2"].receive(1) == blue(2**32)
        self._task = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._stopping = True
        await self._task
        for number in range(self.sent):
            assert await self._world.ports["leaf2"].receive(1) == blue(number)
        assert self._world.ports["leaf2"].waiting(1) == 0


MAC, IP = 0x02AA00000077, "10.1.0.77"


WHERE = {"vn": "blue", "port": 1, "vlan": 0, "mac": format_mac(MAC)}


def to_it(number: int) -> bytes:
    return frame(BLUE1, MAC, "10.1.0.1", IP, number)


async def tenant(world: Overlay, leaf: str, method: str, **params: Any) -> Any:
    return await asyncio.to_thread(ask, world.run_directory(leaf), method, **WHERE, **params)


async def arrives(world: Overlay, leaf: str, number: int) -> None:
    """A packet of blue1's to it arrives at `leaf`, and nowhere else."""
    others = [name for name in ("leaf2", "leaf3") if name != leaf]
    await world.ports["leaf1"].send(1, to_it(number))
    assert await world.ports[leaf].receive(1) == to_it(number)
    assert not any(world.ports[other].waiting(1) for other in others)


async def settled(world: Overlay, leaf: str) -> None:
    """Until an agent has nothing to do any more; what it was told before, it has done."""

    def is_settled() -> bool:
        (switch,) = ask(world.run_directory(leaf), "status")["switches"]
        return bool(switch["in_sync"])

    # Twice: what is on its way to the agent takes less time than a question and its answer.
    for _ in range(2):
        while not await asyncio.to_thread(is_settled):
            await asyncio.sleep(0.02)
        await world.ready()


async def until_registered(world: Overlay) -> None:
    async with asyncio.timeout(READY_S):
        while await world.registered() != {"leaf1", "leaf2", "leaf3"}:
            await asyncio.sleep(0.05)
