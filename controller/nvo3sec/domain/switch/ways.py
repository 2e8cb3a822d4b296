# SPDX-License-Identifier: Apache-2.0
"""Ways from a switch to its peers, and which flows take which: 64 buckets for each set of ways (docs/decisions/0042).

Who has which bucket follows from the set alone, and from which of it can be used: agents that start anew find the same,
and when a way fails or comes back only its own buckets move. Pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from nvo3sec.domain.messages.session import NveView
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.constants import UNDERLAY_BUCKETS


@dataclass(frozen=True, slots=True)
class Way:
    """A next hop at a port of the underlay.

    name: what makes it this way, whatever its MAC address is at the time. mac: of the port. next_hop_mac: None while
    nobody has said it. weight: its share of the flows, to that of the others. is_live: it can be used now.
    """

    name: str
    port: int
    mac: int
    next_hop_mac: int | None
    weight: int = 1
    is_live: bool = True

    @property
    def usable_mac(self) -> int | None:
        """The MAC address of the next hop, if the way can be used now."""
        return self.next_hop_mac if self.is_live else None


PeerWays: TypeAlias = Mapping[str, tuple[Way, ...]]
"""Those to each peer, by its name, usable or not."""
WaySet: TypeAlias = tuple[tuple[str, int], ...]
"""Names and weights, sorted: peers with the same ones share their buckets."""


def static_ways(view: NveView, down: Collection[int] = ()) -> dict[str, tuple[Way, ...]]:
    """Those that the domain file says. down: ports whose link is."""
    return {
        peer.name: (
            Way(
                f"{peer.port} {peer.next_hop_mac:012x}",
                peer.port,
                peer.mac,
                peer.next_hop_mac,
                is_live=peer.port not in down,
            ),
        )
        for peer in view.peers
    }


def way_set(ways: Iterable[Way]) -> WaySet:
    """What of them makes the set; those that nothing can be told apart by count once."""
    return tuple(sorted({way.name: way.weight for way in ways}.items()))


def live(ways: Iterable[Way]) -> tuple[Way, ...]:
    """Those that can be used now, sorted by name."""
    return tuple(sorted((way for way in ways if way.usable_mac is not None), key=lambda way: way.name))


@lru_cache(maxsize=1024)
def shares(ways: WaySet, buckets: int = UNDERLAY_BUCKETS) -> tuple[str, ...]:
    """Whose bucket each is while all can be used: numbers of buckets by weight, as even as they can be, in turns."""
    if len(ways) == 1:
        return (ways[0][0],) * buckets
    had = dict.fromkeys((name for name, _ in ways), 0)
    total = sum(weight for _, weight in ways)
    result = []
    for bucket in range(buckets):
        # The one that lacks most of what it should have by now; of equals the first.
        name = max(ways, key=lambda way: (way[1] * (bucket + 1) - had[way[0]] * total, _reversed(way[0])))[0]
        had[name] += 1
        result.append(name)
    return tuple(result)


def _reversed(name: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in name)


def spread(ways: Sequence[Way]) -> tuple[Way, ...]:
    """The way of each bucket; nothing if none can be used.

    The buckets of ways that cannot be used go to those that can, by weight (rendezvous hashing): no other one moves.
    """
    usable = live(ways)
    if not usable:
        return ()
    by_name = {way.name: way for way in usable}
    return tuple(
        by_name[name] if name in by_name else by_name[_rendezvous(f"{bucket}", usable)]
        for bucket, name in enumerate(shares(way_set(ways)))
    )


def replica_way(peer: str, ways: Iterable[Way]) -> Way | None:
    """The way of copies of frames to groups, which have no bucket: peers are spread over ways. None: there is none."""
    usable = live(ways)
    if not usable:
        return None
    name = _rendezvous(peer, usable)
    return next(way for way in usable if way.name == name)


def _rendezvous(key: str, ways: Iterable[Way]) -> str:
    """Whoever draws the highest number for the key; who weighs more draws more often."""

    def draw(way: Way) -> tuple[bytes, str]:
        drawn = (
            hashlib.blake2s(f"{key}\0{way.name}\0{again}".encode(), digest_size=8).digest()
            for again in range(way.weight)
        )
        return max(drawn), way.name

    return max(ways, key=draw).name


def number_sets(
    ways: Mapping[UnderlayAddress, WaySet], known: Mapping[UnderlayAddress, int], numbers: range, held: Collection[int]
) -> dict[UnderlayAddress, int]:
    """The number of each peer's set of ways; peers with the same set share it.

    ways: the set of each peer, by address. known: numbers of peers so far: a set keeps the one that most of its peers
    have. held: numbers that the switch still holds for whatever. Raises ValueError: there are not enough numbers.
    """
    had: dict[int, Counter[WaySet]] = {}
    for peer, chosen in ways.items():
        if known.get(peer) in numbers:
            had.setdefault(known[peer], Counter())[chosen] += 1
    numbered: dict[WaySet, int] = {}
    for number in sorted(had):
        # Most of its peers; of equals the lowest set, so that it does not depend on their order.
        for chosen in sorted(had[number], key=lambda one: (-had[number][one], one)):
            if chosen not in numbered:
                numbered[chosen] = number
                break
    used = {*known.values(), *held, *numbered.values()}
    free = (number for number in numbers if number not in used)
    for chosen in sorted(set(ways.values())):
        if chosen not in numbered:
            if (new := next(free, None)) is None:
                raise ValueError(f"all {len(numbers)} numbers are in use")
            numbered[chosen] = new
    return {peer: numbered[chosen] for peer, chosen in ways.items()}
