# SPDX-License-Identifier: Apache-2.0
"""Which connections are let in, by where they come from. Pure: the caller passes in the time, monotonic seconds.

A flood must not keep others out, wherever it comes from. So there are limits for each source; and where places run
short, unfinished connections are dropped early and at random, as SYN caches do (RFC 4987 section 3.4), those of heavy
sources first: who comes for the first time gets in with a chance that depends on how many addresses the flood has, not
on how long it lasts (docs/control-plane.md). Who authenticated lately (`known`) has places of its own, which strangers
cannot take.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum, unique
from typing import Any

from nvo3sec.domain.overlay.model import Rate
from nvo3sec.errors import OperatorError
from nvo3sec.identity.front.crowd import SHARES, Crowd, Path, prefix_bits
from nvo3sec.identity.gate.limits import Bucket


@dataclass(frozen=True)
class FrontLimits:
    """What the front lets through. Counts are connections; `_s` are seconds.

    per_source: of one address; per_64, per_56, per_48: of an IPv6 prefix. per_identity: of one device, wherever it is.
    unfinished: of strangers, before their handshake has its turn; handshakes: of strangers, from then until a call was
    authenticated. reserve: both, of addresses from which somebody authenticated lately; and so many of `total` are
    theirs. rate: new connections of such an address a second, and at once; newcomer_rate: of any other; a /64, /56 and
    /48 may have 4, 16 and 64 times as many, and beyond that all of them together `spare`. known_s: what is lately;
    known: devices of which it is remembered. hello_s: until the ClientHello is complete. handshake_s: until
    the connection is one of HTTP/2, counted from its beginning. claim_s: until a call on it was authenticated. bytes:
    what is taken of one identity, a second and at once; bytes_unclaimed: of a connection that nobody has claimed yet.
    blame_s: for each call of its that is refused, an identity is read from so much later.
    """

    total: int = 4096
    per_source: int = 64
    per_64: int = 256
    per_56: int = 1024
    per_48: int = 4096
    per_identity: int = 32
    unfinished: int = 1024
    unfinished_per_source: int = 16
    handshakes: int = 256
    reserve: int = 256
    rate: Rate = field(default=Rate(20, 40))
    newcomer_rate: Rate = field(default=Rate(2, 20))
    spare: Rate = field(default=Rate(500, 500))
    known_s: float = 7 * 86400.0
    known: int = 8192
    hello_s: float = 3.0
    handshake_s: float = 10.0
    claim_s: float = 30.0
    sources_remembered: int = 65536
    bytes: Rate = field(default=Rate(512 << 10, 8 << 20))
    bytes_unclaimed: Rate = field(default=Rate(16 << 10, 128 << 10))
    blame_s: float = 0.02
    identities_remembered: int = 8192

    def within(self, total: int) -> FrontLimits:
        """These limits with at most `total` connections, and room for everybody among them."""
        if self.total <= total:
            return self
        return replace(
            self,
            total=total,
            unfinished=max(1, min(self.unfinished, total // 2)),
            handshakes=max(1, min(self.handshakes, total // 4)),
            reserve=min(self.reserve, total // 4),
        )

    def changed(self, words: Iterable[str]) -> FrontLimits:
        """These limits, but for `words`: `per-source=2000`, `rate=500/1000` (a second, and at once).

        Raises OperatorError.
        """
        known = {one.name.replace("_", "-"): one.name for one in fields(self)}
        changes: dict[str, Any] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in known:
                raise OperatorError(f"no such limit: {name!r}; there are: {', '.join(known)}")
            changes[known[name]] = _as(getattr(self, known[name]), value, word)
        return replace(self, **changes)


def _as(like: int | float | Rate, value: str, word: str) -> int | float | Rate:
    """`value` as what `like` is, and more than nothing."""
    try:
        if isinstance(like, Rate):
            per_second, _, burst = value.partition("/")
            found: int | float | Rate = Rate(int(per_second), int(burst))
            least: float = min(int(per_second), int(burst))
        else:
            found = least = type(like)(value)
    except ValueError:
        raise OperatorError(f"{word!r} is no limit; write {_example(like)}") from None
    if not 0 < least < float("inf"):  # and nan is not
        raise OperatorError(f"{word!r} is no limit: it must be above 0")
    return found


def _example(like: int | float | Rate) -> str:
    return "rate=PER_SECOND/AT_ONCE" if isinstance(like, Rate) else "NAME=NUMBER"


@unique
class Refusal(StrEnum):
    """Why a connection was not let in, or was ended. The values are labels of counters."""

    TOTAL = "total"
    PER_SOURCE = "per-source"
    PER_PREFIX = "per-prefix"
    PER_IDENTITY = "per-identity"
    RATE = "rate"
    UNFINISHED = "unfinished"
    UNFINISHED_PER_SOURCE = "unfinished-per-source"
    HANDSHAKES = "handshakes"
    RESERVE = "reserve"
    DISPLACED = "displaced"
    HELLO_TIMEOUT = "hello-timeout"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    CLAIM_TIMEOUT = "claim-timeout"
    NOT_TLS = "not-tls"
    PROTOCOL_VERSION = "protocol-version"
    BACKEND = "backend"
    STOPPING = "stopping"
    DESCRIPTORS = "descriptors"
    IDENTITY = "identity"


_OF_ALL = frozenset({Refusal.TOTAL, Refusal.UNFINISHED, Refusal.RESERVE})
"""Limits that one source alone does not reach: who goes because of them has done nothing wrong."""


@dataclass(frozen=True)
class Decision:
    """refusal: why not, or None. displaced: unfinished connections that have to end for this one, and why."""

    refusal: Refusal | None
    displaced: tuple[tuple[int, Refusal], ...] = ()


@dataclass(frozen=True)
class _Inside:
    path: Path
    known: bool


class Admission:
    """Who is inside. Connections are numbers that the caller gives."""

    def __init__(self, limits: FrontLimits, rng: random.Random | None = None) -> None:
        """rng: decides who goes; nobody outside must be able to tell."""
        self._limits = limits
        self._rng = rng or random.SystemRandom()
        self._where: dict[int, _Inside] = {}
        self._open: Counter[str] = Counter()
        self._waiting = Crowd(self._rng)
        self._handshaking = Crowd(self._rng)
        self._reserved = Crowd(self._rng)
        self._reserve = min(limits.reserve, limits.total // 4)
        self._of_prefix = {48: limits.per_48, 56: limits.per_56, 64: limits.per_64}
        self._rates: OrderedDict[str, Bucket] = OrderedDict()
        self._known_rates: OrderedDict[str, Bucket] = OrderedDict()
        self._prefix_rates: OrderedDict[str, Bucket] = OrderedDict()
        self._spare = Bucket.full(limits.spare, 0.0)

    def enter(self, number: int, path: Path, now: float, *, known: bool = False) -> Decision:
        """A new connection. known: somebody authenticated from its address lately.

        If it is let in, it counts as unfinished until `finish`; `leave` ends it. What is displaced has left already.
        """
        if self._too_fast(path, now, known):
            return Decision(Refusal.RATE)
        self._where[number] = _Inside(path, known)
        self._open.update(path)
        (self._reserved if known else self._waiting).add(number, path)
        displaced: list[tuple[int, Refusal]] = []
        # From the narrowest limit to the widest: who goes because of one makes room under those that follow.
        for limit in (self._source_limit, self._prefix_limit, self._total_limit, self._pool_limit):
            broken = limit(path, known)
            if broken is None:
                continue
            victim, why = broken
            if victim is None or victim == number:
                self.leave(number)
                return Decision(why, tuple(displaced))
            self.leave(victim)
            displaced.append((victim, Refusal.DISPLACED if why in _OF_ALL else why))
        return Decision(None, tuple(displaced))

    def _source_limit(self, path: Path, known: bool) -> tuple[int | None, Refusal] | None:
        address = path[-1]
        held = sum(crowd.count(address) for crowd in (self._waiting, self._handshaking, self._reserved))
        if held > self._limits.unfinished_per_source:
            return self._victim(address, known), Refusal.UNFINISHED_PER_SOURCE
        if self._open[address] > self._limits.per_source:
            return self._victim(address, known), Refusal.PER_SOURCE
        return None

    def _prefix_limit(self, path: Path, known: bool) -> tuple[int | None, Refusal] | None:
        for prefix in reversed(path[:-1]):
            bits = prefix_bits(prefix)
            if bits is not None and self._open[prefix] > self._of_prefix[bits]:
                return self._victim(prefix, known), Refusal.PER_PREFIX
        return None

    def _total_limit(self, _path: Path, known: bool) -> tuple[int | None, Refusal] | None:
        if len(self._where) > self._limits.total - (0 if known else self._reserve):
            return self._victim(None, known), Refusal.TOTAL
        return None

    def _pool_limit(self, _path: Path, known: bool) -> tuple[int | None, Refusal] | None:
        if known:
            return (self._reserved.heaviest(), Refusal.RESERVE) if len(self._reserved) > self._limits.reserve else None
        # Nobody up to the half; from there on more and more often; always when there is no place left.
        half = self._limits.unfinished / 2
        if len(self._waiting) > half and len(self._waiting) - half > self._rng.random() * (half + 1):
            return self._waiting.heaviest(), Refusal.UNFINISHED
        return None

    def _victim(self, within: str | None, known: bool) -> int | None:
        """An unfinished connection that goes for one of a stranger, or of somebody `known`; None if there is none.

        It is one of those who fill their places most: who says nothing does not push out who is in its handshake.
        """
        crowds = ((self._waiting, self._limits.unfinished), (self._handshaking, self._limits.handshakes))
        fullest = max(crowds, key=lambda one: one[0].count(within) / one[1])[0]
        victim = fullest.heaviest(within)
        return self._reserved.heaviest(within) if victim is None and known else victim

    def begin_handshake(self, number: int) -> int | None:
        """Its handshake has its turn; returns who has to go for that, which has left already and can be itself."""
        if not self._waiting.discard(number):
            return None
        self._handshaking.add(number, self._where[number].path)
        if len(self._handshaking) <= self._limits.handshakes:
            return None
        victim = self._handshaking.heaviest()
        if victim is not None:
            self.leave(victim)
        return victim

    def finish(self, number: int) -> None:
        """It is known whose it is."""
        for crowd in (self._waiting, self._handshaking, self._reserved):
            crowd.discard(number)

    def leave(self, number: int) -> None:
        """It has ended, or is to end; may be said twice."""
        inside = self._where.pop(number, None)
        if inside is None:
            return
        for crowd in (self._waiting, self._handshaking, self._reserved):
            crowd.discard(number)
        for element in inside.path:
            self._open[element] -= 1
            if not self._open[element]:
                del self._open[element]

    def is_known(self, number: int) -> bool:
        """Whether one that is inside came from where somebody authenticated lately."""
        inside = self._where.get(number)
        return inside is not None and inside.known

    @property
    def open(self) -> int:
        """Connections inside."""
        return len(self._where)

    @property
    def unfinished(self) -> int:
        """Of these, the ones of which it is not known whose they are."""
        return len(self._waiting) + len(self._handshaking) + len(self._reserved)

    def _too_fast(self, path: Path, now: float, known: bool) -> bool:
        limits = self._limits
        if known:
            return self._bucket(self._known_rates, path[-1], limits.rate).take(now) > 0
        if self._bucket(self._rates, path[-1], limits.newcomer_rate).take(now) > 0:
            return True
        beyond = False
        for prefix in path[:-1]:
            share = SHARES[prefix_bits(prefix) or 64]
            rate = Rate(limits.newcomer_rate.per_second * share, limits.newcomer_rate.burst * share)
            beyond |= self._bucket(self._prefix_rates, prefix, rate).take(now) > 0
        return beyond and self._spare.take(now) > 0

    def _bucket(self, buckets: OrderedDict[str, Bucket], element: str, rate: Rate) -> Bucket:
        bucket = buckets.get(element)
        if bucket is None:
            bucket = buckets[element] = Bucket.full(rate, 0.0)
            if len(buckets) > self._limits.sources_remembered:
                buckets.popitem(last=False)
        buckets.move_to_end(element)
        return bucket
