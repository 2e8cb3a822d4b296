# SPDX-License-Identifier: Apache-2.0
"""Connections by where they come from, and which of them is to go, or to be next. Pure but for `rng`.

A source is known by its whole address. IPv6 gives out addresses by the prefix, so whoever has one address there has as
many as it likes: its /64, /56 and /48 (RFC 6177) weigh, too, by the share of an address that each of them has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

SHARES = {48: 64, 56: 16, 64: 4}
"""What an IPv6 prefix may have, as a multiple of what one address may have."""

SAMPLE = 8
"""So many are looked at to find a heavy one. Whoever holds a half of the places is missed once in 256 times."""

Path = tuple[str, ...]
"""A source: its prefixes from the shortest to the longest, and its address last."""


@lru_cache(maxsize=4096)
def source_path(address: str) -> Path:
    """What a connection from `address` is counted by: what is neither IPv4 nor IPv6 is a source of its own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return (address,)
    if not isinstance(parsed, IPv6Address):
        return (str(parsed),)
    if parsed.ipv4_mapped is not None:
        return (str(parsed.ipv4_mapped),)
    number = int(parsed)
    prefixes = (IPv6Address(number >> 128 - bits << 128 - bits) for bits in SHARES)
    return (*(f"{prefix}/{bits}" for prefix, bits in zip(prefixes, SHARES, strict=True)), str(parsed))


def prefix_bits(element: str) -> int | None:
    """How long a prefix of a path is, in bits; None for an address."""
    _, slash, bits = element.rpartition("/")
    return int(bits) if slash and bits.isdecimal() and int(bits) in SHARES else None


class _Members:
    """A set that can be drawn from."""

    def __init__(self) -> None:
        self._order: list[int] = []
        self._place: dict[int, int] = {}

    def add(self, number: int) -> None:
        self._place[number] = len(self._order)
        self._order.append(number)

    def remove(self, number: int) -> None:
        place, last = self._place.pop(number), self._order.pop()
        if last != number:
            self._order[place] = last
            self._place[last] = place

    def draw(self, count: int, rng: random.Random) -> list[int]:
        """So many of them, or all."""
        if count == 1:
            return [self._order[int(rng.random() * len(self._order))]]
        return rng.sample(self._order, min(count, len(self._order)))

    def __len__(self) -> int:
        return len(self._order)


class Crowd:
    """Connections, as numbers that the caller gives, by their sources."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._paths: dict[int, Path] = {}
        self._all = _Members()
        self._members: dict[str, _Members] = {}

    def add(self, number: int, path: Path) -> None:
        """One more."""
        self._paths[number] = path
        self._all.add(number)
        for element in path:
            self._members.setdefault(element, _Members()).add(number)

    def discard(self, number: int) -> bool:
        """One less; whether it was there."""
        path = self._paths.pop(number, None)
        if path is None:
            return False
        self._all.remove(number)
        for element in path:
            members = self._members[element]
            members.remove(number)
            if not members:
                del self._members[element]
        return True

    def count(self, element: str | None) -> int:
        """How many come from an address or a prefix; None: how many there are."""
        members = self._all if element is None else self._members.get(element)
        return len(members) if members is not None else 0

    def heaviest(self, within: str | None = None) -> int | None:
        """One at random of a source that holds much, of all or of an address or prefix; None if there is none.

        Of few, exactly one of those who hold the most; of many, the heaviest of a sample.
        """
        return max(self._draw(SAMPLE, within), key=self._weight, default=None)

    def lightest(self) -> int | None:
        """One at random of a source that holds little; None if there is none."""
        return min(self._draw(SAMPLE, None), key=self._weight, default=None)

    def anyone(self) -> int | None:
        """One at random; None if there is none."""
        return next(iter(self._draw(1, None)), None)

    def _draw(self, count: int, within: str | None) -> list[int]:
        members = self._all if within is None else self._members.get(within)
        return members.draw(count, self._rng) if members else []

    def _weight(self, number: int) -> tuple[float, float]:
        """What its source holds, by its share; among equal ones, that of all its prefixes."""
        held = [
            len(self._members[element]) / SHARES.get(prefix_bits(element) or 0, 1) for element in self._paths[number]
        ]
        return max(held), sum(held)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, number: object) -> bool:
        return number in self._paths

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)
