# SPDX-License-Identifier: Apache-2.0
"""Pauses between attempts, and that agents make them by chance."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from unittest.mock import MagicMock

import pytest
from nvo3sec.errors import NvaUnreachable
from nvo3sec.nve import agent as agent_module
from nvo3sec.system.aio import Backoff


class TestBackoff:
    def test_longer_and_longer_up_to_the_last(self):
        backoff = Backoff(0.4, 5.0, clock=lambda: 0.0, random_share=lambda: 0.5)
        assert [backoff.pause_s() for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 2.5, 2.5]

    def test_what_went_well_for_a_while_was_no_failure(self):
        now = [0.0]
        backoff = Backoff(0.4, 5.0, clock=lambda: now[0], random_share=lambda: 0.5)
        for _ in range(6):
            backoff.begin()
            backoff.pause_s()
        backoff.begin()
        now[0] = 5.1
        assert backoff.pause_s() == 0.2
        backoff.begin()
        assert backoff.pause_s() == 0.4

    def test_all_of_it_is_chance(self):
        """Full jitter: a thousand who fail together come back spread over the whole pause."""
        pauses = sorted(Backoff(1.0, 5.0).pause_s() for _ in range(1000))
        assert all(0 <= pause <= 1 for pause in pauses)
        assert all(abs(pauses[100 * tenth] - tenth / 10) < 0.08 for tenth in range(1, 10))


class Enough(Exception):
    """So many pauses were made."""


class TestAgent:
    @pytest.fixture
    def slept(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Pauses of an agent of which every attempt fails, until there are fifty."""
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 50:
                raise Enough

        monkeypatch.setattr(agent_module.asyncio, "sleep", sleep)
        monkeypatch.setattr(agent_module.NveAgent, "_note", lambda _self, _error: None)
        random.seed(5)
        return pauses

    def run(self, monkeypatch: pytest.MonkeyPatch, attempt: str, loop: str, *arguments: Any) -> None:
        async def fail(*_: Any) -> None:
            raise NvaUnreachable("not there")

        monkeypatch.setattr(agent_module.NveAgent, attempt, fail)
        with pytest.raises(Enough):
            asyncio.run(self.of(loop, *arguments))

    async def of(self, loop: str, *arguments: Any) -> None:
        agent = object.__new__(agent_module.NveAgent)
        agent.__dict__.update(nve=MagicMock(), _make_peer_keys=MagicMock(), _peer_keys_required=False)
        agent.__dict__.update(_random_bytes=MagicMock(), _memory=MagicMock(), _retired=None)
        await getattr(agent, loop)(*arguments)

    def drawn_anew(self, slept: list[float]) -> None:
        assert len(set(slept)) == 50
        assert min(slept[10:]) < 1.0
        assert 4.0 < max(slept) <= 5.0

    def test_without_its_switch(self, slept: list[float], monkeypatch: pytest.MonkeyPatch):
        self.run(monkeypatch, "_hold_switch", "run")
        self.drawn_anew(slept)

    def test_without_its_nva(self, slept: list[float], monkeypatch: pytest.MonkeyPatch):
        self.run(monkeypatch, "_serve", "_serve_again", MagicMock(), MagicMock(), MagicMock())
        self.drawn_anew(slept)
