# SPDX-License-Identifier: Apache-2.0
"""Who wants to know what tenants say: an outsider that reads, and one that would have them say it in clear."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nvo3ref import tenant_frames as frames
from nvo3ref.protection import Protected

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.topology import CONFIDENTIALITY, INTEGRITY, Host, Tenant
from nvo3lab.wires.reader import Known

_TEXTS = (16, 24, 128, 1000)
"""Bytes of what tenants say, which the reader knows."""
_SHORT = 16
"""The one that is looked for in captures, too."""
_ARRIVE = 10.0
"""Seconds without another frame of those that are on their way."""
_POLL = 0.02
_SOURCE, _DESTINATION = "blue1", "blue2"
_EACH = 10
"""Real packets that are changed in each way."""


# Reading.


@dataclass
class Said:
    """What the members of one VN say to each other during the attack, and who reads knows."""

    tenant: Tenant
    pairs: list[tuple[Host, Host]]
    """Who talks to whom across the underlay."""
    texts: list[bytes] = field(default_factory=list)
    arriving: int = 0

    @property
    def members(self) -> list[Host]:
        return list(dict.fromkeys(source for source, _ in self.pairs))

    def known(self) -> Known:
        return Known.of_members(self.tenant.vni, [(host.mac, host.ip) for host in self.members], self.texts)

    def shown(self) -> set[bytes]:
        """What of it is on the wire where the VN is in clear: not the pairs of addresses behind one NVE."""
        crossing = {frames.ip_bytes(source.ip) + frames.ip_bytes(other.ip) for source, other in self.pairs}
        return {*self.known().anywhere, *crossing}


def _crossing(world: World, tenant: Tenant) -> list[tuple[Host, Host]]:
    """Pairs of hosts of a tenant behind different NVEs."""
    return [
        (source, destination)
        for source, destination in world.topology.pairs()
        if source.tenant == tenant.name and world.topology.leaf_of(source) != world.topology.leaf_of(destination)
    ]


def _announcement(world: World, host: Host, text: bytes) -> bytes:
    """A frame to everybody of a VN, which nothing forbids: an ARP request for one's own address, with a text behind."""
    arp = frames.arp(frames.ARP_REQUEST, host.mac, host.ip, "00:00:00:00:00:00", host.ip)
    return frames.ethernet(frames.BROADCAST, host.mac, frames.ETHERTYPE_ARP, arp + world.bait_marker + text)


def _conversation(world: World, tenant: Tenant) -> tuple[Said, dict[str, list[bytes]]]:
    """What is said in a VN, and the frames that say it, by host: to one, and to all."""
    said, sent = Said(tenant, _crossing(world, tenant)), dict[str, list[bytes]]()
    for source, destination in said.pairs:
        for length in _TEXTS:
            said.texts.append(os.urandom(length))
            sent.setdefault(source.name, []).append(world.telling_frame(source, destination, said.texts[-1]))
            said.arriving += 1
    for source in said.members:
        said.texts.append(os.urandom(_SHORT))
        sent[source.name].append(_announcement(world, source, said.texts[-1]))
        said.arriving += len(world.topology.members(tenant.name)) - 1
    return said, sent


async def _baits(world: World) -> int:
    return sum(int(ledger["counts"]["bait"]) for ledger in (await world.view.received()).values())


async def _arrival(world: World, count: int) -> None:
    """Wait until hosts have so many baits, while more come; who counts them at the end sees what is missing."""
    loop, before = asyncio.get_running_loop(), -1
    deadline = loop.time() + _ARRIVE
    while (now := await _baits(world)) < count and loop.time() < deadline:
        if now > before:
            before, deadline = now, loop.time() + _ARRIVE
        await asyncio.sleep(_POLL)


def _recorded(path: Path, texts: list[bytes]) -> set[bytes]:
    """Those of some texts that are in a capture."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as capture:
        return {text for text in texts if capture.find(text) >= 0}


def captured(captures: list[str], said: Said) -> int:
    """How many of the short texts are in any capture of the underlay: those have whatever was on a link."""
    short = [text for text in said.texts if len(text) == _SHORT]
    try:
        return len({text for one in captures for text in _recorded(Path(one), short)})
    except OSError as error:
        raise LabError(f"the captures of the underlay cannot be read: {error}") from None


def verdict(said: Said, seen: dict[str, Any], in_captures: int) -> list[str]:
    """What is not as the level of a VN has it.

    Args:
        seen: what the reader has found of it (`Reader.report`).
        in_captures: how many of its short texts are in captures.
    """
    tenant, shown = said.tenant, {one.hex() for one in said.shown()}
    if not seen["packets"]:
        return [f"no packet of VN {tenant.name} was looked at"]
    if tenant.level == CONFIDENTIALITY:
        faults = [f"VN {tenant.name}: {what} was in {count} frames in clear" for what, count in seen["found"].items()]
        return faults + ([f"VN {tenant.name}: {in_captures} texts are in captures in clear"] if in_captures else [])
    # In clear, and nobody has promised otherwise: it shows that whoever looks would find.
    faults = [
        f"VN {tenant.name}: {what} was sent in clear, and not found" for what in sorted(shown - set(seen["found"]))
    ]
    short = sum(len(text) == _SHORT for text in said.texts)
    return faults + (
        [] if in_captures >= short else [f"VN {tenant.name}: only {in_captures} of {short} texts are in captures"]
    )


async def read(world: World) -> Shot:
    """Everything on every link, for what tenants say and for who they are; in what is unicast, and in replicas."""
    said = []
    talk: dict[str, list[bytes]] = {}
    for tenant in world.topology.tenants:
        for source, destination in _crossing(world, tenant):
            await world.reach(source.name, destination.name)
        one, sent = _conversation(world, tenant)
        said.append(one)
        talk |= sent
    await world.view.underlay.call("look_for", known=[one.known().to_json() for one in said])
    world.owes("the underlay is read", lambda: world.view.underlay.call("look_for", known=[]))
    arriving, before = sum(one.arriving for one in said), await _baits(world)
    for host, packets in talk.items():
        await world.from_host(host, packets)
    await _arrival(world, before + arriving)
    found = await world.view.underlay.call("found")
    await world.view.underlay.call("look_for", known=[])
    world.settled("the underlay is read")
    faults: list[str] = []
    counts = []
    for one in said:
        seen = next(vn for vn in found["vns"] if vn["vni"] == one.tenant.vni)
        in_captures = await asyncio.to_thread(captured, found["captures"], one)
        faults += verdict(one, seen, in_captures)
        counts.append(f"{one.tenant.name} ({one.tenant.level}): {len(seen['found'])} of {len(one.shown())}")
    note = f"what is known and was read: {', '.join(counts)}"
    return Shot(sum(map(len, talk.values())), 0, bait=arriving, note=note, faults=tuple(faults))


# A lower level.


async def _dropped(world: World, leaf: str, reason: str) -> int:
    if world.counters is None:
        raise LabError("nobody counts what the switches drop")
    return (await world.counters.read())[leaf, reason]


async def _refused(world: World, leaf: str, packets: list[Protected], reason: str, what: str) -> list[str]:
    """Send packets, each of which has to be dropped for one reason. Returns what was not so."""
    before, loop = await _dropped(world, leaf, reason), asyncio.get_running_loop()
    await world.into_underlay(leaf, packets)
    deadline = loop.time() + _ARRIVE
    while (count := await _dropped(world, leaf, reason) - before) < len(packets) and loop.time() < deadline:
        await asyncio.sleep(_POLL)
    return [] if count == len(packets) else [f"{what}: {count} of {len(packets)} were dropped as {reason}"]


async def downgrade(world: World) -> Shot:
    """A VN of confidentiality is to take what the lower level protects, or what claims to be of it.

    The attacker has what real packets show, and the key of the lower level between the same two NVEs, out of a switch.
    """
    leaf, sender = world.topology.leaf_of(_DESTINATION).name, world.topology.leaf_of(_SOURCE).name
    real = await world.catch_packets(_SOURCE, _DESTINATION, _EACH)
    lower = await world.steal(sender, leaf, INTEGRITY)
    victim, vni = world.host(_DESTINATION), world.vni(world.host(_SOURCE).tenant)
    inner = world.marked_frame(_SOURCE, victim)
    ways: list[tuple[str, str, Callable[[Protected], Protected]]] = [
        ("the suite byte alone", "SUITE_MISMATCH", lambda one: replace(one, suite=lower.suite)),
        (
            "the suite byte, and an inner frame",
            "SUITE_MISMATCH",
            lambda one: replace(one, suite=lower.suite, inner=inner),
        ),
        ("no suite", "SUITE_MISMATCH", lambda one: replace(one, suite=0)),
        ("a suite that there is not", "SUITE_MISMATCH", lambda one: replace(one, suite=3)),
        ("nothing covered", "COVERAGE", lambda one: replace(one, coverage=0)),
        ("the headers covered", "COVERAGE", lambda one: replace(one, coverage=34)),
        ("all but a byte covered", "COVERAGE", lambda one: replace(one, coverage=len(one.inner) - 1)),
        ("the SPI of the lower level", "SUITE_MISMATCH", lambda one: replace(one, spi=lower.spi)),
        ("SPI and suite of the lower level", "BAD_ICV", lambda one: replace(one, spi=lower.spi, suite=lower.suite)),
        # Numbers belong to the tunnel: nobody has used these under the lower level's key, or will.
        ("the lower level's key", "VN_SUITE", lambda one: world.keyed(lower, vni, one.sequence, inner)),
        (
            "the lower level's key under the higher one's SPI",
            "BAD_ICV",
            lambda one: replace(one, inner=inner).sealed(lower.key),
        ),
    ]
    sent, faults = 0, list[str]()
    for what, reason, change in ways:
        packets = [change(one) for one in real]
        faults += await _refused(world, leaf, packets, reason, what)
        sent += len(packets)
    await world.into_underlay(leaf, real)
    note = f"{len(ways)} ways down, each with its reason; the real packets, sent last, arrived"
    return Shot(sent, sent, bait=len(real), note=note, faults=tuple(faults))


ATTACKS = (
    Attack("read", "outsider", "whoever looks for plaintext on all links", frozenset(), read),
    Attack(
        "downgrade",
        "outsider",
        "a VN of confidentiality is to take what is of integrity",
        frozenset({"SUITE_MISMATCH", "COVERAGE", "VN_SUITE", "BAD_ICV"}),
        downgrade,
    ),
)
