# SPDX-License-Identifier: Apache-2.0
"""How much of a peer's bytes is taken, and for how long nothing is. Pure: the caller passes in the time.

What a peer sends costs something before anybody can look at it: TLS, HTTP/2, and the refusal of a call, which costs
nearly as much as an answer. Who is not read from cannot cause any of it, and notices by TCP.
"""

from __future__ import annotations

from collections import OrderedDict

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.gate.limits import Bucket

HOLD_LIMIT_S = 4.0
"""Longest time for which a peer is not read from at a stretch: below what keepalive waits for an answer."""


class Allowance:
    """Of one peer: bytes by a token bucket, and a time before which nothing is read."""

    def __init__(self, rate: Rate, now: float) -> None:
        """rate: bytes a second, and at once."""
        self._bucket = Bucket.full(rate, now)
        self._held_until = now

    def took(self, size: int, now: float) -> float:
        """So many bytes have come; returns the seconds for which no more are to be read."""
        self._bucket.charge(size, now)
        return min(HOLD_LIMIT_S, max(self._bucket.debt_s(), self._held_until - now, 0.0))

    def blame(self, seconds: float, now: float) -> float:
        """Something of it was refused: it is read so much later; returns as `took`."""
        self._held_until = min(max(self._held_until, now) + seconds, now + HOLD_LIMIT_S)
        return self.took(0, now)


class Allowances:
    """Allowances by name, in bounded memory: of those that were idle longest nothing is remembered."""

    def __init__(self, rate: Rate, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._known: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, name: str, now: float) -> Allowance:
        """The allowance of `name`."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = Allowance(self._rate, now)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return found
