# SPDX-License-Identifier: Apache-2.0
"""What goes wrong again and again is told once, and again after it was over, with how often."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import structlog
from nvo3sec.nve import confinement
from nvo3sec.nve.confinement import OVER_S, Confinement


def test_what_comes_back_is_told_again(monkeypatch):
    async def run():
        told: list[str] = []
        now = 1000.0

        async def report(one) -> None:
            told.append(one.detail)

        one = Confinement(SimpleNamespace(report=report), structlog.get_logger())
        monkeypatch.setattr(confinement, "time", SimpleNamespace(monotonic=lambda: now))
        for _ in range(3):
            await one.note("view", "odd")
            now += OVER_S - 1
        assert told == ["view: odd"], "it goes on"
        now += OVER_S
        await one.note("view", "odd")
        assert told == ["view: odd", "view: odd (again, 4 times in all)"]

    asyncio.run(run())
