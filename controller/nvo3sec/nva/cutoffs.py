# SPDX-License-Identifier: Apache-2.0
"""Who has let go of an NVE that was shut out. Times are seconds of one monotonic clock, passed in.

A switch that is connected has to be read back equal to a view without the NVE. One that is not must run out of its
lease. And one that stays connected and never confirms gets no lease any more after a while: it is left behind, closed,
until it does confirm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nvo3sec.domain.persistent import PersistentMap
from nvo3sec.nva.session import NvaSideSession

DEADLINE_S = 30.0
"""From the command until who has not confirmed is left behind."""


@dataclass(frozen=True)
class _CutOff:
    version: int
    peers: tuple[str, ...]
    began: float


class CutOffs:
    """The cut-offs of one NVA. unknown_until: until then an NVE that this NVA has not heard of may have a lease of the
    process before it."""

    def __init__(self, unknown_until: float) -> None:
        self._unknown_until = unknown_until
        self._cut_offs: dict[str, _CutOff] = {}

    def begin(self, nve: str, version: int, peers: Sequence[str], now: float) -> None:
        """`nve` is shut out: views with a higher version than this are without it. peers: who may have its keys."""
        self._cut_offs[nve] = _CutOff(version, tuple(peers), now)

    def end(self, nve: str) -> None:
        """It may be there again."""
        self._cut_offs.pop(nve, None)

    def waiting(
        self, nve: str, sessions: Mapping[str, NvaSideSession], leases: PersistentMap[str, float], now: float
    ) -> tuple[str, ...]:
        """The peers of `nve` whose switches may still take something from it. leases: until when, if that is known."""
        cut_off = self._cut_offs.get(nve)
        if cut_off is None:
            return ()

        def may(peer: str) -> bool:
            session = sessions.get(peer)
            if session is not None:
                return session.confirmed_view <= cut_off.version
            until = leases.get(peer)
            return (self._unknown_until if until is None else until) > now

        return tuple(peer for peer in cut_off.peers if may(peer))

    def left_behind(self, session: NvaSideSession, now: float) -> tuple[str, ...]:
        """Whom the switch of `session` should have let go of by now and has not: it must get no lease."""
        return tuple(
            nve
            for nve, cut_off in self._cut_offs.items()
            if session.nve in cut_off.peers
            and session.confirmed_view <= cut_off.version
            and now >= cut_off.began + DEADLINE_S
        )
