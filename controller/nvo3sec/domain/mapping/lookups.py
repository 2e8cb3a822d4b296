# SPDX-License-Identifier: Apache-2.0
"""Which unknown destination is worth a question to the NVA: deduplicated, negatively cached, bounded for each VAP.

One tenant that invents addresses costs itself its quota, its own punt rate, and nobody else anything.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum

from nvo3sec.domain.overlay.addresses import IpAddress
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket


@dataclass(frozen=True)
class Wanted:
    """What is looked for: an address in a VN."""

    vni: int
    mac: int | None = None
    ip: IpAddress | None = None


class Verdict(StrEnum):
    """What to do with a packet that asks for an address."""

    ASK = "ask"
    """Ask the NVA."""
    WAIT = "wait"
    """The question is already on its way."""
    NEGATIVE = "negative"
    """Known not to exist."""
    LIMITED = "limited"
    """This VAP asks too often."""


@dataclass
class _Vap:
    bucket: TokenBucket
    negative: OrderedDict[Wanted, float] = field(default_factory=OrderedDict)
    pending: int = 0


class LookupPolicy:
    """The lookups of one NVE. `pending_limit`: questions of one VAP that may be under way at once."""

    def __init__(self, pending_limit: int = 32) -> None:
        self._pending_limit = pending_limit
        self._pending: dict[Wanted, int] = {}
        self._vaps: dict[int, _Vap] = {}

    def ask(self, wanted: Wanted, vap: int, rate: Rate, now: float) -> Verdict:
        """A packet from interface `vap` asks for `wanted`. After ASK the caller must call `answered` in the end."""
        state = self._vaps.get(vap)
        if state is None:
            state = self._vaps[vap] = _Vap(TokenBucket(rate, now))
        until = state.negative.get(wanted)
        if until is not None:
            if now < until:
                return Verdict.NEGATIVE
            del state.negative[wanted]
        if wanted in self._pending:
            return Verdict.WAIT
        if state.pending >= self._pending_limit or not state.bucket.take(now):
            return Verdict.LIMITED
        self._pending[wanted] = vap
        state.pending += 1
        return Verdict.ASK

    def answered(self, wanted: Wanted, negative_until: float | None, quota: int) -> None:
        """The answer is here. `negative_until`: remember for the asking VAP that there is nothing, at most `quota` such
        addresses; None: found, or no answer at all."""
        vap = self._pending.pop(wanted, None)
        state = self._vaps.get(vap) if vap is not None else None
        if state is None:
            return
        state.pending -= 1
        if negative_until is not None:
            state.negative[wanted] = negative_until
            while len(state.negative) > quota:
                state.negative.popitem(last=False)

    def forget(self, wanted: Wanted) -> None:
        """The address has appeared: no negative answer about it is worth anything any more."""
        for state in self._vaps.values():
            state.negative.pop(wanted, None)

    def forget_vn(self, vni: int) -> None:
        """Addresses of a VN have appeared, and nobody knows which."""
        for state in self._vaps.values():
            for wanted in [one for one in state.negative if one.vni == vni]:
                del state.negative[wanted]

    def negatives(self, vap: int) -> int:
        """How many negative answers are remembered for `vap`."""
        state = self._vaps.get(vap)
        return len(state.negative) if state else 0
