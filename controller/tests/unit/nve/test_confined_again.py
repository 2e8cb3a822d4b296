# SPDX-License-Identifier: Apache-2.0
"""What goes wrong again and again is told once, and again after it was over, with how often."""

from __future__ import annotations

import asyncio

import structlog
from nvo3sec.domain.messages.answers import judged
from nvo3sec.domain.messages.session import QuestionKind
from nvo3sec.domain.switch.status import AgentStatus, stands_no_more, status_from_json
from nvo3sec.nve.confinement import KNOWN, OVER_S, Confinement
from nvo3sec.nve.status import status_to_json


def _judged(status: AgentStatus) -> AgentStatus:
    """As the NVA has it."""
    return status_from_json(status.nve, judged(status.nve, QuestionKind.STATUS, status_to_json(status)))


class World:
    """One session. told: what was reported."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 1000.0
        self.confinement = Confinement(structlog.get_logger(), self.report, lambda: self.now)

    async def report(self, one) -> None:
        self.told.append(one.detail)


def test_what_comes_back_is_told_again():
    async def run():
        world = World()
        for _ in range(3):
            await world.confinement.now("view", ["odd"])
            world.now += OVER_S - 1
        assert world.told == ["view: odd"], "it goes on"
        world.now += OVER_S
        await world.confinement.now("view", ["odd"])
        assert world.told == ["view: odd", "view: odd (again, 4 times in all)"]

    asyncio.run(run())


def test_what_is_so_no_more_does_not_stand():
    async def run():
        world = World()
        await world.confinement.now("keys", ["new keys are not installed: \n" + "x" * 3000])
        await world.confinement.now("view", ["a", "b"])

        def over(text: str) -> bool:
            status = AgentStatus("leaf1", nva=True, standing=world.confinement.standing)
            return stands_no_more(f"confined: {text}", _judged(status).standing)

        # As the report is worded on its way, and when it was not the first.
        keys = "keys: new keys are not installed: ?" + "x" * 1900
        assert not any(map(over, (keys, "view: a", "view: b", "view: b (again, 2 times in all)")))
        await world.confinement.now("view", ["b"])
        assert over("view: a")
        assert not over("view: b")
        await world.confinement.now("keys", ())
        assert over(keys)
        assert not over("mappings of VNI 5001: KeyError"), "of the NVA, which knows no end of it"
        assert not stands_no_more("confined: view: a", status_from_json("leaf1", {}).standing), "an older agent"

    asyncio.run(run())


def test_what_is_too_much_to_be_told_does_not_stand_either():
    async def run():
        world = World()
        await world.confinement.now("view", [f"number {one}" for one in range(KNOWN + 5)])
        assert len(world.told) == len(world.confinement.standing) == KNOWN

    asyncio.run(run())
