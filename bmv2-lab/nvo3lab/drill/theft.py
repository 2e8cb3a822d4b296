# SPDX-License-Identifier: Apache-2.0
"""A stolen NVE announces tenant systems that are not behind it, with its own certificate and in a session of its own.

What it has is leaf3's device; leaf3's real agent has been killed, so that nothing contradicts it.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from nvo3lab.drill import messages as wire
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError, RemoteError
from nvo3lab.processes import nvo3sec_command as controller
from nvo3lab.processes.control_plane import nve
from nvo3lab.topology import Host, Reservation

_THIEF = "leaf3"
_SENDER, _VICTIM, _BYSTANDER = "blue1", "blue2", "blue3"
_FOREIGN_VN = "red"
_BAIT = 5
_LEFT = "{0.mac} is attached at {0.leaf} (`nvo3sec nve detach` there)"
"""Until it goes again; and the command that has it go."""
_ARRIVE = 5.0
_POLL = 0.02

_ATTACH, _DETACH, _MOVE = (f"/nvo3sec.v1.Nva/{name}" for name in ("Attach", "Detach", "Move"))
_STANDINGS = {1: "active", 2: "frozen", 3: "done", 4: "refused"}
_REPORT = "mapping-frozen"
"""What the NVA reports to operators of an announcement that does not get its address."""


@dataclass(frozen=True)
class _Place:
    """A VAP, and the VN that is claimed for it."""

    port: int
    vlan: int
    vni: int


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _attachment(place: _Place, mac: str, ip: str) -> bytes:
    return (
        wire.field(1, place.port)
        + wire.field(2, place.vlan)
        + wire.field(3, place.vni)
        + wire.field(4, _number(mac))
        + wire.field(5, IPv4Address(ip).packed)
    )


def _attach(place: _Place, mac: str, ip: str) -> bytes:
    return wire.field(2, _attachment(place, mac, ip))


def _detach(place: _Place, mac: str) -> bytes:
    return (
        wire.field(2, place.port) + wire.field(3, place.vlan) + wire.field(4, place.vni) + wire.field(5, _number(mac))
    )


def _move(place: _Place, to: _Place, mac: str, ip: str) -> bytes:
    return wire.field(2, place.port) + wire.field(3, place.vlan) + wire.field(4, _attachment(to, mac, ip))


def _vap(world: World, host: str, tenant: str) -> _Place:
    """The VAP of a host, in the name of a tenant."""
    port = next(port for port in world.topology.leaf_of(host).ports if world.host(host) in port.hosts)
    return _Place(port.number, world.host(host).vlan or 0, world.vni(tenant))


async def _outside_its_vns(world: World) -> Counter[str]:
    """The three methods for a VN that leaf3 does not serve, without a session: that is refused before anything else."""
    device = str(world.plane.device_file("nve", _THIEF))
    place, victim = _vap(world, _BYSTANDER, _FOREIGN_VN), world.host("red2")
    session = wire.field(1, os.urandom(16))
    ended: Counter[str] = Counter()
    for method, body in (
        (_ATTACH, _attach(place, victim.mac, victim.ip)),
        (_DETACH, _detach(place, victim.mac)),
        (_MOVE, _move(place, place, victim.mac, victim.ip)),
    ):
        requests = [base64.b64encode(session + body).decode()]
        ended.update(await world.intruder.call("call", device=device, rpc=method, requests=requests, timeout=120))
    return ended


async def _announcements(world: World, victim: Host, heir: Reservation) -> Counter[str]:
    """In a session of leaf3's: everything that could turn somebody's traffic to it. How each was answered."""
    own, its = _vap(world, _BYSTANDER, "blue"), _vap(world, _VICTIM, "blue")
    foreign = _vap(world, _BYSTANDER, _FOREIGN_VN)
    attempts = (
        (_ATTACH, _attach(foreign, "02:00:00:00:01:02", "10.0.0.2")),
        (_DETACH, _detach(own, victim.mac)),
        (_DETACH, _detach(its, victim.mac)),
        (_MOVE, _move(its, own, victim.mac, victim.ip)),
        (_ATTACH, _attach(its, victim.mac, victim.ip)),
        (_ATTACH, _attach(own, victim.mac, victim.ip)),
        (_ATTACH, _attach(own, heir.mac, heir.ip)),
    )
    ended: Counter[str] = Counter()
    for method, body in attempts:
        answer = await world.intruder.call("as_agent", rpc=method, request=base64.b64encode(body).decode())
        how = answer["status"]
        if how == "ok":
            standing = wire.fields(base64.b64decode(answer["answer"])).get(1, 0)
            how = _STANDINGS.get(standing, "ok") if isinstance(standing, int) else "ok"
        ended[how] += 1
    return ended


async def _appears(world: World, heir: Reservation, word: str) -> str:
    """The heir comes (`attach`) or goes (`detach`) where it may; returns its standing."""
    plane, place = world.plane, _vap(world, _VICTIM, "blue")
    addresses = ("--mac", heir.mac, *(("--ip", heir.ip) if word == "attach" else ()))
    answer = await controller.ask(
        plane.directory / nve(world.leaf(heir.leaf)),
        "nve",
        word,
        "--vn",
        heir.tenant,
        "--port",
        str(place.port),
        "--vlan",
        str(place.vlan),
        *addresses,
    )
    return str(answer["standing"])


async def _bait_at(world: World, host: str) -> int:
    return int((await world.view.hosts[host].call("received"))["counts"]["bait"])


async def _arrives(world: World, host: str, count: int) -> None:
    """Wait until a host has so many packets, for a while; who counts them at the end sees what is missing."""
    deadline = asyncio.get_running_loop().time() + _ARRIVE
    while await _bait_at(world, host) < count and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_POLL)


def _reported(status: dict[str, Any], victim: str, heir: str) -> list[str]:
    """What is missing in the reports to operators."""
    found = [report["detail"] for report in status["reports"] if (report["nve"], report["event"]) == (_THIEF, _REPORT)]
    return [
        f"operators were not told of {_THIEF}'s claim to {mac}"
        for mac in (victim, heir)
        if not any(mac in detail for detail in found)
    ]


async def tenant_theft(world: World) -> Shot:
    """Another's tenant system, and one that is to come, are announced behind leaf3: frozen, reported, no effect."""
    victim, heir, sender = world.host(_VICTIM), world.topology.reservations[0], world.host(_SENDER)
    ended = await _outside_its_vns(world)
    faults: list[str] = []
    before, sent = await _bait_at(world, _VICTIM), 0
    thief = nve(world.leaf(_THIEF))
    await world.kill(thief)
    try:
        registration = wire.field(1, wire.field(1, os.urandom(16)))
        device = str(world.plane.device_file("nve", _THIEF))
        try:
            await world.intruder.call("pose", device=device, registration=base64.b64encode(registration).decode())
        except RemoteError as error:
            raise LabError(f"{_THIEF}'s certificate is good, and its session was refused: {error}") from None
        ended.update(await _announcements(world, victim, heir))
        world.owes(_LEFT.format(heir), lambda: _appears(world, heir, "detach"))
        if (standing := await _appears(world, heir, "attach")) != "active":
            faults.append(f"the reserved one is {standing} where it may appear")
        for receiver in (victim, Host("heir", heir.tenant, heir.mac, heir.ip)):
            bait = [world.bait_frame(sender, receiver, number) for number in range(_BAIT)]
            # The first one has leaf1 look up where it goes; of those that come meanwhile it keeps none.
            for frames in (bait[:1], bait[1:]):
                sent += await world.from_host(_SENDER, frames)
                await _arrives(world, _VICTIM, before + sent)
    finally:
        await world.intruder.call("leave")
        await world.start(thief)
    status = await world.until(lambda status: True, f"{_THIEF} has its agent again")
    faults += _reported(status, victim.mac, heir.mac)
    if (arrived := await _bait_at(world, _VICTIM) - before) != sent:
        faults.append(f"{arrived} of {sent} packets for the two came to {world.topology.leaf_of(victim).name}")
    await _appears(world, heir, "detach")
    world.settled(_LEFT.format(heir))
    attempts, accepted = sum(ended.values()), sum(ended.pop(how, 0) for how in ("active", "done", "ok"))
    return Shot(
        attempts,
        0,
        bait=sent,
        faults=tuple(faults),
        refused=dict(ended),
        accepted=accepted,
        note="the incumbent kept its traffic, and the reserved one got its own",
    )


ATTACKS = (
    Attack(
        "tenant-theft",
        "control",
        "a stolen NVE announces others' tenant systems, and one that is to come",
        frozenset(),
        tenant_theft,
        frozenset({"permission_denied", "frozen", "refused"}),
    ),
)
