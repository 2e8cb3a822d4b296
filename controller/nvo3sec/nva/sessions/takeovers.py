# SPDX-License-Identifier: Apache-2.0
"""Agents that come under a name that has a session: how often, and from where, so that two of one name are noticed.

Two agents with the same credentials are a machine that was cloned, or a certificate that was stolen. Which of them is
right cannot be known here; that there are two is for operators, also while one of them is held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from nvo3sec.domain.messages.session import Report
from nvo3sec.system.uptime import uptime_s

TWO_AGENTS = "two-agents"
"""The report of a name that several agents use."""
WINDOW_S = 60.0
"""What is older says nothing about now."""
SEVERAL = 3
"""So many within WINDOW_S are an alarm. One is an agent that lost its connection, or was started twice by mistake."""
KEPT_OF_ONE = 256
"""More than calls of one name are let in within WINDOW_S."""


@dataclass(frozen=True)
class Rival:
    """Somebody came as an NVE that had a session already. at: seconds, monotonic. present, newcomer: where the two
    connections come from. refused: the session stayed where it was; else the newcomer took it over."""

    at: float
    present: str
    newcomer: str
    refused: bool


class Takeovers:
    """Of one NVA. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = uptime_s) -> None:
        self._clock = clock
        self._rivals: dict[str, deque[Rival]] = {}
        self._told_at: dict[str, float] = {}

    def note(self, nve: str, present: str, newcomer: str, *, refused: bool) -> Report | None:
        """Somebody has come as `nve`; returns what operators are to be told, if they were not within WINDOW_S."""
        now = self._clock()
        rivals = self._rivals.setdefault(nve, deque(maxlen=KEPT_OF_ONE))
        rivals.append(Rival(now, present, newcomer, refused))
        said = self.contested([nve]).get(nve)
        if said is None or now < self._told_at.get(nve, -WINDOW_S) + WINDOW_S:
            return None
        self._told_at[nve] = now
        return Report(TWO_AGENTS, said)

    def contested(self, nves: Collection[str]) -> dict[str, str]:
        """Those of `nves` that several agents seem to use, and what is known of them."""
        return {nve: _said(nve, recent) for nve in sorted(nves) if len(recent := self._recent(nve)) >= SEVERAL}

    def _recent(self, nve: str) -> tuple[Rival, ...]:
        rivals = self._rivals.get(nve)
        while rivals and rivals[0].at <= self._clock() - WINDOW_S:
            rivals.popleft()
        return tuple(rivals or ())


def _said(nve: str, rivals: Collection[Rival]) -> str:
    refused = sum(one.refused for one in rivals)
    taken = len(rivals) - refused
    sources = sorted({source for one in rivals for source in (one.present, one.newcomer)})
    where = f"from {' and from '.join(sources)}" if len(sources) > 1 else f"all from {sources[0]}"
    if not refused and len(sources) == 1:
        what = f"the session of nve/{nve} was taken over {taken} times within {WINDOW_S:g} s, {where}"
        return f"{what}: two agents use that name, or one loses its connections"
    return f"two agents use nve/{nve}: {where}; within {WINDOW_S:g} s {refused} were refused, {taken} took over"
