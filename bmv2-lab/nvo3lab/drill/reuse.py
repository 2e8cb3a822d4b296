# SPDX-License-Identifier: Apache-2.0
"""A VN is removed and its VNI given to another one while an agent hangs: its switch still has the old one.

What hangs is leaf3's agent. Its switch goes on as it is until its lease ends, with good keys, and both VNs are behind
NVEs that it shares another VN with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.errors import LabError
from nvo3lab.processes.control_plane import nve
from nvo3lab.topology import CONFIDENTIALITY, TENANT_MTU, Host

_HUNG, _THERE = "leaf3", "leaf2"
_SENDER, _RECEIVER = "blue3", "red2"
_OLD, _NEW, _VNI = "purple", "orange", 5009
_HEIR = Host("heir", _NEW, "02:00:00:00:09:02", "10.0.0.77")
_OLD_VLAN, _NEW_VLAN, _BLUE_VLAN, _NEW_VLAN_HUNG = 78, 77, 33, 31
"""VLANs of access port 1: of leaf2 for either VN, and of leaf3 for what has to be somewhere meanwhile."""
_BAIT, _MARKED = 5, 10
_ARRIVE = 5.0
_POLL = 0.02
_PATIENCE = 60.0
"""Seconds for a lease to run out, on a busy machine."""


_Document = dict[str, Any]


def _vn(document: _Document, name: str, places: dict[str, tuple[int, ...]]) -> None:
    """A VN with the number that both have, and its VAPs: of each NVE the VLANs of access port 1.

    Both demand what the VN does that the sender comes from: what nobody may read of it there, nobody may here.
    """
    document["vns"].append({"name": name, "vni": _VNI, "level": CONFIDENTIALITY, "mtu": TENANT_MTU})
    for leaf in document["nves"]:
        leaf["vaps"] += [{"port": 1, "vlan": vlan, "vn": name} for vlan in places.get(leaf["name"], ())]


def _system(document: _Document, host: Host, vn: str, leaf: str, vlan: int) -> None:
    document["tenant_systems"].append(
        {"name": f"{vn}-{host.name}", "vn": vn, "nve": leaf, "port": 1, "vlan": vlan, "mac": host.mac, "ips": [host.ip]}
    )


class _Files:
    """Domain files: as it was; with leaf3 in blue elsewhere, so that its VAP is free; with either VN in addition."""

    def __init__(self, text: str, sender: Host, directory: Path) -> None:
        self._text = text
        self._sender = sender
        self._directory = directory
        self.before = self._write("before", lambda document: None)
        self.free = self._write("free", self._free)
        self.old = self._write("old", self._with_old)
        self.new = self._write("new", self._with_new)

    def _write(self, name: str, change: Callable[[_Document], None]) -> str:
        document = yaml.safe_load(self._text)
        change(document)
        path = self._directory / f"vni-reuse-{name}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return str(path)

    def _free(self, document: _Document) -> None:
        for leaf in document["nves"]:
            if leaf["name"] == _HUNG:
                for vap in leaf["vaps"]:
                    vap["vlan"] = _BLUE_VLAN
        systems = document["tenant_systems"]
        document["tenant_systems"] = [one for one in systems if one["name"] != self._sender.name]

    def _with_old(self, document: _Document) -> None:
        self._free(document)
        _vn(document, _OLD, {_HUNG: (self._sender.vlan or 0,), _THERE: (_OLD_VLAN,)})
        _system(document, self._sender, _OLD, _HUNG, self._sender.vlan or 0)
        _system(document, _HEIR, _OLD, _THERE, _OLD_VLAN)

    def _with_new(self, document: _Document) -> None:
        self._free(document)
        _vn(document, _NEW, {_HUNG: (_NEW_VLAN_HUNG,), _THERE: (_NEW_VLAN,)})
        _system(document, _HEIR, _NEW, _THERE, _NEW_VLAN)


async def _apply(world: World, file: str, wait: float = 60.0) -> None:
    await world.plane.ask("domain", "apply", file, "--yes", *(("--wait", f"{wait:g}") if wait else ()))


async def _bait(world: World) -> int:
    """Legitimate packets of the old VN, to where the new one will be. Returns how many."""
    sender, before = world.host(_SENDER), 0
    frames = [world.bait_frame(sender, _HEIR, number) for number in range(_BAIT)]
    host = world.view.hosts[_RECEIVER]
    start = (await host.call("received"))["counts"]["bait"]
    # The first one has leaf3 look up where it goes; of those that come meanwhile it keeps none.
    for some in (frames[:1], frames[1:]):
        before += await world.from_host(_SENDER, some)
        deadline = asyncio.get_running_loop().time() + _ARRIVE
        while (await host.call("received"))["counts"]["bait"] < start + before:
            if asyncio.get_running_loop().time() > deadline:
                return before  # who counts them at the end sees what is missing
            await asyncio.sleep(_POLL)
    return before


async def _marked(world: World) -> int:
    return await world.from_host(_SENDER, [world.marked_frame(_SENDER, _HEIR, number) for number in range(_MARKED)])


async def vni_reuse(world: World) -> Shot:
    """The VNI of a VN that was removed goes to another one, while the agent of one of its NVEs hangs."""
    text = (await world.plane.ask("domain", "show"))["text"]
    files = _Files(text, world.host(_SENDER), world.plane.directory)
    hung = nve(world.leaf(_HUNG))
    faults: list[str] = []
    loop = asyncio.get_running_loop()
    try:
        await _apply(world, files.free)
        await _apply(world, files.old)
        bait = await _bait(world)
        await world.pause(hung)
        try:
            await _apply(world, files.free, wait=0)
            sent, refused, began = 0, 0, loop.time()
            while True:
                sent += await _marked(world)
                try:
                    await _apply(world, files.new, wait=0)
                    break
                except LabError as error:
                    if not all(part in str(error) for part in (f"VNI {_VNI} may still be {_OLD}'s at", _HUNG)):
                        faults.append(f"refused otherwise: {error}")
                    refused += 1
                if loop.time() > began + _PATIENCE:
                    raise LabError(f"VNI {_VNI} is not free {_PATIENCE:g} s after {_HUNG} has had its last lease")
            held = loop.time() - began
            sent += await _marked(world)
        finally:
            await world.resume(hung)
        await world.until(lambda status: True, f"{_HUNG} goes on")
        sent += await _marked(world)
    finally:
        await _apply(world, files.free)
        await _apply(world, files.before)
    await world.until(lambda status: True, "the domain is as it was")
    await world.reach(_SENDER, "blue2")
    if not refused:
        faults.append(f"VNI {_VNI} was given away while {_HUNG} had it")
    return Shot(
        sent,
        sent,
        bait=bait,
        faults=tuple(faults),
        refused={"held": refused},
        note=f"VNI {_VNI} was held for {held:.1f} s, until the lease of {_HUNG} had run out",
    )


ATTACKS = (
    Attack(
        "vni-reuse",
        "control",
        "a VNI is given to another VN while the agent of an NVE hangs that has the old one",
        frozenset({"VN_UNAUTHORIZED", "TX_LEASE_EXPIRED", "LEASE_EXPIRED", "VAP_UNKNOWN"}),
        vni_reuse,
        frozenset({"held"}),
    ),
)
