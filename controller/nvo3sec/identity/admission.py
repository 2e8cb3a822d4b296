# SPDX-License-Identifier: Apache-2.0
"""Which connections are let in, by where they come from. Pure: the caller passes in the time, monotonic seconds.

A flood from one place must not keep others out. So there are limits for each source, and where the places run out, a
newcomer takes one from the source that holds the most without having shown who it is, if that is more than its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum, unique
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from nvo3sec.domain.model import Rate
from nvo3sec.errors import OperatorError
from nvo3sec.identity.limits import Bucket

IPV6_SOURCE_BITS = 64
"""What one customer of an IPv6 network has at least (RFC 6177): it counts as one source."""


@dataclass(frozen=True)
class FrontLimits:
    """What the front lets through. Counts are connections; `_s` are seconds.

    unfinished: connections on which no call was authenticated yet. per_identity: of one device, wherever it is. rate:
    new connections of one source a second, and at once. hello_s: until the ClientHello is complete. handshake_s: until
    the connection is one of HTTP/2, counted from its beginning. claim_s: until a call on it was authenticated. bytes:
    what is taken of one identity, a second and at once; bytes_unclaimed: of a connection that nobody has claimed yet.
    blame_s: for each call of its that is refused, an identity is read from so much later.
    """

    total: int = 4096
    per_source: int = 64
    per_identity: int = 32
    unfinished: int = 256
    unfinished_per_source: int = 16
    rate: Rate = field(default=Rate(20, 40))
    hello_s: float = 3.0
    handshake_s: float = 10.0
    claim_s: float = 30.0
    sources_remembered: int = 65536
    bytes: Rate = field(default=Rate(512 << 10, 8 << 20))
    bytes_unclaimed: Rate = field(default=Rate(16 << 10, 128 << 10))
    blame_s: float = 0.02
    identities_remembered: int = 8192

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
    PER_IDENTITY = "per-identity"
    RATE = "rate"
    UNFINISHED = "unfinished"
    UNFINISHED_PER_SOURCE = "unfinished-per-source"
    DISPLACED = "displaced"
    HELLO_TIMEOUT = "hello-timeout"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    CLAIM_TIMEOUT = "claim-timeout"
    NOT_TLS = "not-tls"
    PROTOCOL_VERSION = "protocol-version"
    BACKEND = "backend"
    DESCRIPTORS = "descriptors"
    IDENTITY = "identity"


def source_key(address: str) -> str:
    """What counts as one source: an IPv4 address, an IPv6 network of 64 bits, or the text itself if it is neither."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, IPV6_SOURCE_BITS), strict=False))
    return str(parsed)


@dataclass(frozen=True)
class Decision:
    """refusal: why not, or None. displace: an unfinished connection that has to end for this one, or None."""

    refusal: Refusal | None
    displace: int | None = None


@dataclass
class _Source:
    open: int = 0
    unfinished: OrderedDict[int, None] = field(default_factory=OrderedDict)


class Admission:
    """Who is inside. Connections are numbers that the caller gives."""

    def __init__(self, limits: FrontLimits) -> None:
        self._limits = limits
        self._sources: dict[str, _Source] = {}
        self._where: dict[int, str] = {}
        self._unfinished = 0
        self._by_unfinished: list[OrderedDict[str, None]] = [
            OrderedDict() for _ in range(limits.unfinished_per_source + 1)
        ]
        """Sources by how many unfinished connections they have: a flood must not make it slow to find the heaviest."""
        self._rates: OrderedDict[str, Bucket] = OrderedDict()

    def enter(self, number: int, source: str, now: float) -> Decision:
        """A new connection. If it is let in, it counts as unfinished until `finish`; `leave` ends it."""
        limits = self._limits
        if self._rate(source).take(now):
            return Decision(Refusal.RATE)
        state = self._sources.get(source) or _Source()
        if state.open >= limits.per_source:
            return Decision(Refusal.PER_SOURCE)
        if len(state.unfinished) >= limits.unfinished_per_source:
            return Decision(Refusal.UNFINISHED_PER_SOURCE)
        displace = None
        full = len(self._where) >= limits.total
        if full or self._unfinished >= limits.unfinished:
            heaviest = self._heaviest()
            if heaviest is None or len(heaviest.unfinished) <= len(state.unfinished) + 1:
                return Decision(Refusal.TOTAL if full else Refusal.UNFINISHED)
            displace = next(iter(heaviest.unfinished))
        self._sources[source] = state
        state.open += 1
        state.unfinished[number] = None
        self._where[number] = source
        self._unfinished += 1
        self._weighed(source, len(state.unfinished) - 1, len(state.unfinished))
        return Decision(None, displace)

    def _heaviest(self) -> _Source | None:
        """A source with most unfinished connections; None if there are none."""
        for sources in reversed(self._by_unfinished):
            if sources:
                return self._sources[next(iter(sources))]
        return None

    def _weighed(self, source: str, before: int, after: int) -> None:
        """A source has another number of unfinished connections than before."""
        if before:
            del self._by_unfinished[before][source]
        if after:
            self._by_unfinished[after][source] = None

    def finish(self, number: int) -> None:
        """It is known whose it is."""
        key = self._where[number]
        source = self._sources[key]
        if number in source.unfinished:
            del source.unfinished[number]
            self._unfinished -= 1
            self._weighed(key, len(source.unfinished) + 1, len(source.unfinished))

    def leave(self, number: int) -> None:
        """It has ended."""
        self.finish(number)
        key = self._where.pop(number)
        source = self._sources[key]
        source.open -= 1
        if not source.open:
            del self._sources[key]

    @property
    def open(self) -> int:
        """Connections inside."""
        return len(self._where)

    @property
    def unfinished(self) -> int:
        """Of these, the ones of which it is not known whose they are."""
        return self._unfinished

    def _rate(self, source: str) -> Bucket:
        bucket = self._rates.get(source)
        if bucket is None:
            bucket = self._rates[source] = Bucket.full(self._limits.rate, 0.0)
            if len(self._rates) > self._limits.sources_remembered:
                self._rates.popitem(last=False)
        self._rates.move_to_end(source)
        return bucket
