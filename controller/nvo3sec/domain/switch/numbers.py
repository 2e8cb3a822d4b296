# SPDX-License-Identifier: Apache-2.0
"""Numbers that mean something in one switch only: overlay interfaces, peers, replay ring pairs, next hops, replication
groups.

They are given out by the agent, stay what they are as long as the switch runs, and are found again by reading it. A
number in use is never given to something else, and neither is one that the switch still holds for something that is
going away: between two writes the old entries would apply to the new owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.constants import ADJACENCY_SIZE, PEER_COUNT
from nvo3sec.domain.overlay.model import Suite
from nvo3sec.domain.switch.entries import AGENT_REPLICA, TUNNEL_BIT
from nvo3sec.errors import Nvo3secError

VAP_INTERFACES = range(1, TUNNEL_BIT)
TUNNEL_INTERFACES = range(TUNNEL_BIT, AGENT_REPLICA[1])
RING_PAIRS = range(3 << 10)
"""Of tunnels. The program has 4,096 with rings of this size; the last 1,024 are kept for links."""
PEERS = range(1, PEER_COUNT)
HOPS = range(1, ADJACENCY_SIZE)
"""0 is none."""
GROUPS = range(1, 1 << 15)
"""BMv2 reserves the upper half of the group ids for clone sessions."""

K = TypeVar("K")


class NumbersExhausted(Nvo3secError):
    """The switch has no free number of this kind left."""


def allocate(
    wanted: Iterable[K], known: Mapping[K, int], numbers: range, reserved: Iterable[int] = (), first: int = 0
) -> dict[K, int]:
    """A number for everything `wanted`: the `known` one where there is one, else the lowest that nothing has.

    `reserved` are further numbers not to give out. The search begins at index `first` of `numbers` and wraps around.
    Raises NumbersExhausted.
    """
    result = {key: known[key] for key in wanted if key in known}
    used = {*known.values(), *reserved}
    start = first % len(numbers)
    free = (number for number in chain(numbers[start:], numbers[:start]) if number not in used)
    for key in wanted:
        if key not in result:
            number = next(free, None)
            if number is None:
                raise NumbersExhausted(f"all {len(numbers)} numbers are in use")
            result[key] = number
    return result


@dataclass(frozen=True)
class Numbers:
    """The numbers of one switch.

    vaps: (port, VLAN, VNI) to interface. tunnels: peer address to interface. peers: peer address to number. pairs:
    (peer address, suite) to replay ring pair. hops: (port, MAC address of the next hop) to number. groups: (VNI, from
    the underlay?) to replication group; None in place of the second: of announcements.
    """

    vaps: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    tunnels: Mapping[UnderlayAddress, int] = field(default_factory=dict)
    peers: Mapping[UnderlayAddress, int] = field(default_factory=dict)
    pairs: Mapping[tuple[UnderlayAddress, Suite], int] = field(default_factory=dict)
    hops: Mapping[tuple[int, int], int] = field(default_factory=dict)
    groups: Mapping[tuple[int, bool | None], int] = field(default_factory=dict)

    def with_all(self, other: Numbers) -> Numbers:
        """These and those of `other`, which decides where both have one."""
        return Numbers(
            {**self.vaps, **other.vaps},
            {**self.tunnels, **other.tunnels},
            {**self.peers, **other.peers},
            {**self.pairs, **other.pairs},
            {**self.hops, **other.hops},
            {**self.groups, **other.groups},
        )


@dataclass(frozen=True)
class Reserved:
    """Numbers that the switch still holds, for whatever: nothing new gets them.

    first_group: where the search for group numbers begins, another place in each incarnation. A pipeline push makes
    BMv2 1.15.5 forget its multicast groups, but not their members: a number inserted again has every member twice.
    """

    interfaces: frozenset[int] = frozenset()
    peers: frozenset[int] = frozenset()
    pairs: frozenset[int] = frozenset()
    hops: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    first_group: int = 0
