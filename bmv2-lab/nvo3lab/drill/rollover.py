# SPDX-License-Identifier: Apache-2.0
"""Another authority takes over, and gives back, while traffic runs and whoever was revoked keeps trying.

Every process has its files exchanged under it, one after the other. At no step may a certificate count that either
authority has revoked, nor one of an authority that is no anchor any more; nor may anything legitimate be lost.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from nvo3lab.drill.control_plane import copy_private
from nvo3lab.drill.model import Attack, Shot
from nvo3lab.drill.world import World
from nvo3lab.processes import nvo3sec_command as controller
from nvo3lab.processes.control_plane import DOMAIN, OPERATOR

_STATUS = "/nvo3sec.v1.Operator/Status"
_ATTEMPTS = 2
_LEFT = "processes have files of two authorities"
_POLL = 0.1
_TAKEN = 30.0
"""Until what the files say has come to everybody: a process looks at them twice a second."""


class _Rollover:
    """Two authorities, and who tries to get in with what they have taken back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plane = world.plane
        self.old = self._plane.authority
        self.new = self._plane.directory / f"pki-{os.urandom(4).hex()}"
        self._out: list[Path] = []
        self.refused: Counter[str] = Counter()
        self.faults: list[str] = []

    async def begin(self) -> None:
        await self._plane.pki("init", DOMAIN, authority=self.new)
        for role, name in self._plane.devices():
            await self._plane.pki("issue", role, name, authority=self.new)

    async def revoke_somebody(self, authority: Path) -> None:
        """An operator of this authority, whose certificate is good until it is taken back, and who keeps a copy."""
        name = f"thief-{os.urandom(4).hex()}"
        await self._plane.pki("issue", "operator", name, authority=authority)
        stolen = self._plane.directory / f"{name}.pem"
        await asyncio.to_thread(copy_private, authority / "devices" / "operator" / f"{name}.pem", str(stolen))
        self._out.append(stolen)
        await self._plane.pki("revoke", "operator", name, "--yes", authority=authority)

    async def attempt_of_retired(self, authority: Path) -> None:
        """With the certificate of the lab's operator by an authority that is gone: good, but for its issuer."""
        await self._attempt(authority / "devices" / "operator" / f"{OPERATOR}.pem")

    async def bundle(self, *authorities: Path) -> None:
        """Everybody trusts these authorities, and knows their newest lists."""
        place = self._plane.directory / f"bundle-{os.urandom(4).hex()}"
        await controller.run("pki", "bundle", *map(str, authorities), "--out", str(place))
        self._plane.trust(place)
        await self._settle()

    async def equip(self, authority: Path) -> None:
        """New certificates for everybody, one after the other."""
        for role, name in self._plane.devices():
            self._plane.equip(role, name, authority)
        await self._settle()

    async def put_back(self) -> None:
        """Everybody has the files of the first authority again."""
        self._plane.trust(self.old)
        for role, name in self._plane.devices():
            self._plane.equip(role, name, self.old)

    async def _settle(self) -> None:
        """Until `status` finds everybody there, without a warning about what was exchanged."""
        deadline = asyncio.get_running_loop().time() + _TAKEN
        while True:
            status = await self._world.until(
                lambda status: all(one["registered"] or one["excluded"] for one in status["switches"]),
                "everybody is there with the files of now",
            )
            # A lab that has been up for long has certificates that end soon; that is none of this.
            wrong = [warning for warning in status["warnings"] if " ends in " not in warning]
            if not wrong:
                return
            if asyncio.get_running_loop().time() > deadline:
                self.faults.append(f"still warned after {_TAKEN:g} s: {'; '.join(wrong)}")
                return
            await asyncio.sleep(_POLL)

    async def attempts(self) -> None:
        """Everybody who must not get in tries to."""
        for device in self._out:
            await self._attempt(device)

    async def _attempt(self, device: Path) -> None:
        ended = await self._world.intruder.call(
            "call", device=str(device), rpc=_STATUS, requests=[""] * _ATTEMPTS, timeout=120
        )
        self.refused.update(ended)


async def rollover(world: World) -> Shot:
    """From one authority to another, and back."""
    one = _Rollover(world)
    await one.begin()
    world.owes(_LEFT, one.put_back)
    for leaving, coming in ((one.old, one.new), (one.new, one.old)):
        await one.revoke_somebody(leaving)
        await one.bundle(leaving, coming)
        await one.attempts()
        await one.equip(coming)
        await one.attempts()
        await one.bundle(coming)
        await one.attempts()
        await one.attempt_of_retired(leaving)
        # What the one that is left revokes now has its effect, although the other one's list has gone.
        await one.revoke_somebody(coming)
        await one.bundle(coming)
        await one.attempts()
    world.plane.trust(one.old)  # the lab is as it was
    world.settled(_LEFT)
    accepted = one.refused.pop("ok", 0)
    return Shot(
        sum(one.refused.values()) + accepted,
        0,
        refused=dict(one.refused),
        accepted=accepted,
        faults=tuple(one.faults),
        note="two rollovers; every process kept running",
    )


ATTACKS = (
    Attack(
        "rollover",
        "control",
        "one authority takes the place of another and back, and who was revoked keeps trying",
        frozenset(),
        rollover,
        frozenset({"unauthenticated", "reset", "unavailable"}),
    ),
)
