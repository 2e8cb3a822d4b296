# SPDX-License-Identifier: Apache-2.0
"""A malicious tenant system (section 4.3) that floods: each of its frames costs a copy for every member of its VN."""

from __future__ import annotations

import asyncio
import time

from nvo3ref import tenant_frames as frames

from nvo3lab import domain_file
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.topology import Topology

_FLOODER, _WITNESS, _ELSEWHERE = "red2", "red3", "red1"
"""Who floods; another VAP of the same VN at the same NVE, which shares everything with it but its own rate; and who
gets copies of both through a tunnel."""
FLOOD_SECONDS = 1.5
SLOW_MACHINE_SECONDS = 1.0
_BROADCASTS = 8
"""Of the witness: within what any VAP may send at once."""
_ACCOUNTED_SECONDS = 30.0
"""Until every frame has arrived or is counted: a slow switch has a queue at the end of a flood."""
_POLL = 0.05
_FRAMES_AT_LEAST = 10
"""What the controller grants a VAP, a second and at once, however many copies a frame costs (docs/tables.md)."""


def copies(topology: Topology, host: str) -> int:
    """What a frame of a host to a group costs at its NVE: one for each VAP of its VN there and for each other NVE."""
    tenant = topology.host(host).tenant
    own = topology.leaf_of(host)
    vaps = {(port.number, one.vlan) for port in own.ports for one in port.hosts if one.tenant == tenant}
    others = {topology.leaf_of(one).name for one in topology.members(tenant)} - {own.name}
    return len(vaps) + len(others)


def share(topology: Topology, host: str, seconds: float) -> int:
    """Frames to groups that the VAP of a host may have replicated within so many seconds."""
    rate, burst = (
        max(domain_file.VAP_FLOOD[which] // copies(topology, host), _FRAMES_AT_LEAST) for which in ("rate", "burst")
    )
    return int(burst + rate * seconds)


def _announcement(world: World, host: str) -> bytes:
    """A gratuitous ARP request for the host's own address (RFC 5227), with the mark of what arrives and is counted."""
    own = world.host(host)
    arp = frames.arp(frames.ARP_REQUEST, own.mac, own.ip, "00:00:00:00:00:00", own.ip)
    return frames.ethernet(frames.BROADCAST, own.mac, frames.ETHERTYPE_ARP, arp + world.bait_marker)


async def _baits(world: World, host: str) -> int:
    return int((await world.view.hosts[host].call("received"))["counts"]["bait"])


async def _dropped(world: World) -> int:
    """What the flooder's NVE has dropped so far, for whatever reason."""
    if world.counters is None:
        raise LabError("nobody counts what the switches drop")
    own = world.topology.leaf_of(_FLOODER).name
    return sum(packets for (leaf, _), packets in (await world.counters.read()).items() if leaf == own)


async def storm(world: World) -> Shot:
    """Announcements of the tenant system's own address, which nothing forbids, as fast as it can.

    What its VAP may have replicated arrives at every other member of the VN, once each; the rest is dropped where it
    comes in. A neighbor at the same NVE, in the same VN, still reaches everybody with its broadcasts meanwhile.
    """
    hosts = (_FLOODER, _WITNESS, _ELSEWHERE)
    before = {host: await _baits(world, host) for host in hosts}
    dropped = await _dropped(world)
    count = int(FLOOD_SECONDS * world.flood_rate)
    start = time.monotonic()
    flood = asyncio.create_task(
        world.from_host(_FLOODER, [_announcement(world, _FLOODER)], rate=world.flood_rate, repeat=count)
    )
    try:
        for _ in range(_BROADCASTS):
            await asyncio.sleep(FLOOD_SECONDS / (_BROADCASTS + 1))
            await world.from_host(_WITNESS, [_announcement(world, _WITNESS)])
    finally:
        sent = await flood
    seconds = time.monotonic() - start
    # The meter goes by the switch's clock, and a slow switch works a flood off for longer than it was sent.
    account: tuple[dict[str, int], int] = ({}, 0)
    worked_off, deadline = time.monotonic(), time.monotonic() + _ACCOUNTED_SECONDS
    while time.monotonic() < deadline:
        came = {host: await _baits(world, host) - before[host] for host in hosts}
        if (found := (came, await _dropped(world) - dropped)) != account:
            account, worked_off = found, time.monotonic()
        total = came[_WITNESS]
        expected = {_FLOODER: _BROADCASTS, _WITNESS: total, _ELSEWHERE: total + _BROADCASTS}
        if came == expected and account[1] + total == sent:
            break
        await asyncio.sleep(_POLL)
    came, passed = account[0], account[0][_WITNESS]
    allowed = share(world.topology, _FLOODER, worked_off - start + SLOW_MACHINE_SECONDS)
    faults = []
    if passed > allowed:
        faults.append(f"{passed} frames of {_FLOODER} were replicated; the share of its VAP is {allowed}")
    if came[_FLOODER] != _BROADCASTS:
        faults.append(f"{came[_FLOODER]} of {_BROADCASTS} broadcasts of {_WITNESS} arrived at {_FLOODER}")
    if came[_ELSEWHERE] != passed + _BROADCASTS:
        faults.append(f"{came[_ELSEWHERE]} broadcasts arrived at {_ELSEWHERE} instead of {passed} + {_BROADCASTS}")
    return Shot(
        sent + _BROADCASTS,
        sent - passed,
        bait=sum(came.values()),
        note=f"{sent / seconds:.0f} frames/s; {passed} were replicated, the VAP's share is {allowed}",
        faults=tuple(faults),
    )


ATTACKS = (
    Attack(
        "storm",
        "tenant",
        "a flood of broadcasts, each to be replicated to the whole VN",
        frozenset({"VAP_FLOOD_RATE"}),
        storm,
    ),
)
