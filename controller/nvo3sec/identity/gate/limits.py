# SPDX-License-Identifier: Apache-2.0
"""How much one identity may ask of one method. Pure: the caller passes in the time, seconds of a monotonic clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from nvo3sec.domain.overlay.model import Rate

KEYS_LIMIT = 65536
"""Buckets that are remembered. A full bucket is like none, so the one that was idle longest is forgotten first."""


NEVER_S = 3600.0
"""Longest wait that is told: what a rate of zero amounts to."""


MESSAGE_UNIT_BYTES = 4096
"""What one message of a stream may have before it counts as more: parsing takes time by the byte."""


@dataclass(frozen=True)
class MethodLimits:
    """Of one method, for each identity.

    calls: calls a second, and at once. messages: messages a second within a stream, and at once; one that is longer
    than MESSAGE_UNIT_BYTES counts as several. concurrent: calls that run at the same time. message_bytes: longest
    message that is taken, serialized.
    """

    calls: Rate
    messages: Rate
    concurrent: int
    message_bytes: int


@dataclass
class Bucket:
    """A token bucket: `rate.per_second` on average, `rate.burst` at once. Starts full."""

    rate: Rate
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: Rate, now: float) -> Bucket:
        """A full bucket."""
        return cls(rate, float(rate.burst), now)

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take `cost` tokens if there is one, and return 0; else return the seconds until there will be one.

        What costs more than there is leaves a debt, which whoever comes next waits for.
        """
        self._fill(now)
        # Sums of fractions end a hair below the whole; without this, waiting exactly as long as told would not be
        # enough.
        if self.tokens >= 1.0 - 1e-9:
            self.tokens -= cost
            if cost == 1.0:
                self.tokens = max(0.0, self.tokens)
            return 0.0
        return self._until(1.0)

    def charge(self, cost: float, now: float) -> None:
        """Take `cost` tokens, whether there are any or not."""
        self._fill(now)
        self.tokens -= cost

    def debt_s(self) -> float:
        """Seconds until nothing is owed."""
        return 0.0 if self.tokens >= 0 else self._until(0.0)

    def _fill(self, now: float) -> None:
        self.tokens = min(float(self.rate.burst), self.tokens + max(0.0, now - self.at) * self.rate.per_second)
        self.at = max(self.at, now)

    def _until(self, tokens: float) -> float:
        if self.rate.per_second <= 0:
            return NEVER_S
        return min(NEVER_S, (tokens - self.tokens) / self.rate.per_second)


class Buckets:
    """Buckets by key, in bounded memory."""

    def __init__(self, keys_limit: int = KEYS_LIMIT) -> None:
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._keys_limit = keys_limit

    def take(self, identity: str, what: str, rate: Rate, now: float, cost: float = 1.0) -> float:
        """`cost` tokens of `identity` for `what`: 0, or the seconds to wait. `rate` is that of the first call."""
        return self._bucket(identity, what, rate, now).take(now, cost)

    def charge(self, identity: str, what: str, rate: Rate, now: float, cost: float) -> None:
        """Take `cost` tokens of `identity` for `what`, whether there are any or not."""
        self._bucket(identity, what, rate, now).charge(cost, now)

    def _bucket(self, identity: str, what: str, rate: Rate, now: float) -> Bucket:
        key = (identity, what)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket.full(rate, now)
            if len(self._buckets) > self._keys_limit:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)


class Places:
    """How many calls run at the same time, by identity and method."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], int] = {}

    def enter(self, identity: str, what: str, limit: int) -> bool:
        """Take a place if there is one; `leave` gives it back."""
        key = (identity, what)
        taken = self._taken.get(key, 0)
        if taken >= limit:
            return False
        self._taken[key] = taken + 1
        return True

    def leave(self, identity: str, what: str) -> None:
        """Give a place back."""
        key = (identity, what)
        taken = self._taken[key] - 1
        if taken:
            self._taken[key] = taken
        else:
            del self._taken[key]

    def taken(self, identity: str, what: str) -> int:
        """Places in use."""
        return self._taken.get((identity, what), 0)
