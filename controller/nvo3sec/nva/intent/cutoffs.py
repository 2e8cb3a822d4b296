# SPDX-License-Identifier: Apache-2.0
"""Who has let go of an NVE that was shut out. Times are seconds of one monotonic clock, passed in.

A switch has let go once it was read back equal to a view without the NVE. One whose agent is away must run out of its
lease. And one that is connected and never confirms gets no lease any more after a while: it is left behind, closed,
until it does confirm. Nothing of this is stored: after a restart of the NVA nobody has confirmed, and all have time to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nvo3sec.domain.overlay.persistent import PersistentMap

DEADLINE_S = 30.0
"""From the command until who has not confirmed is left behind: of a cut-off here, of a number in `held`."""


@dataclass(frozen=True)
class _CutOff:
    version: int
    left: dict[str, None]
    deadline: float


class CutOffs:
    """The cut-offs of one NVA. unknown_until: until then an NVE that this NVA has not heard of may have a lease of the
    process before it."""

    def __init__(self, unknown_until: float) -> None:
        self._unknown_until = unknown_until
        self._cut_offs: dict[str, _CutOff] = {}

    def begin(self, nve: str, version: int, peers: Iterable[str], deadline: float) -> None:
        """`nve` is shut out: views with a higher version than this are without it.

        peers: who may have its keys. Who has not confirmed by `deadline` is left behind.
        """
        self._cut_offs[nve] = _CutOff(version, dict.fromkeys(peers), deadline)

    def end(self, nve: str) -> None:
        """It may be there again."""
        self._cut_offs.pop(nve, None)

    def confirmed(self, peer: str, view: int) -> None:
        """The switch of `peer` was read back equal to a view of this version. What is gone does not come back."""
        for cut_off in self._cut_offs.values():
            if view > cut_off.version:
                cut_off.left.pop(peer, None)

    def waiting(
        self, nve: str, connected: Collection[str], leases: PersistentMap[str, float], now: float
    ) -> tuple[str, ...]:
        """The peers of `nve` whose switches may still take something from it. leases: until when, if that is known."""
        cut_off = self._cut_offs.get(nve)
        if cut_off is None:
            return ()

        def may(peer: str) -> bool:
            until = leases.get(peer)
            return peer in connected or (self._unknown_until if until is None else until) > now

        return tuple(peer for peer in cut_off.left if may(peer))

    def left_behind(self, peer: str, now: float) -> tuple[str, ...]:
        """Whom the switch of `peer`, which is connected, should have let go of by now and has not: it gets no lease."""
        return tuple(nve for nve, one in self._cut_offs.items() if peer in one.left and now >= one.deadline)
