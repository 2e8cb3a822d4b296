# SPDX-License-Identifier: Apache-2.0
"""What agents say about their switches, as events of the directions concerned: one pass, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nvo3sec.domain.keys.sa import (
    Direction,
    Event,
    Held,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    SenderDown,
    SenderRead,
    SenderUp,
    Used,
)
from nvo3sec.domain.messages.session import ReadBack, Registration, Use
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Nve, Suite

KEYS_OF_ONE = 64
"""Keys of one direction that a switch is believed to hold: many times what it is ever told to. Every event of a
direction looks at all of its keys, so an agent must not be able to invent thousands."""


def registered(
    nve: str, tunnels: Iterable[Tunnel], registration: Registration, nves: Mapping[str, Nve]
) -> Iterator[tuple[Tunnel, Event]]:
    """The agent of `nve` has introduced its switch. tunnels: every direction that it is an end of."""
    receives: dict[tuple[UnderlayAddress, Suite], list[Held]] = {}
    for received in registration.receive:
        receives.setdefault((received.source, received.suite), []).append(received.held)
    sends = {(sent.destination, sent.suite): sent.held for sent in reversed(registration.send)}
    for tunnel in tunnels:
        ends = nves[tunnel.sender].ends_with(nves[tunnel.receiver])
        source, destination = ends or (None, None)
        if tunnel.receiver == nve:
            held = [] if source is None else receives.get((source, tunnel.suite), [])
            yield tunnel, ReceiverUp(registration.incarnation, tuple(held[:KEYS_OF_ONE]))
        else:
            kept = None if destination is None else sends.get((destination, tunnel.suite))
            yield tunnel, SenderUp(registration.incarnation, kept)


def read_back(nve: str, tunnels: Iterable[Tunnel], report: ReadBack) -> Iterator[tuple[Tunnel, Event]]:
    """The switch of `nve` was read."""
    receives: dict[tuple[str, Suite], set[int]] = {}
    for peer, suite, spi in report.receive:
        spis = receives.setdefault((peer, suite), set())
        if len(spis) < KEYS_OF_ONE:
            spis.add(spi)
    sends = {(peer, suite): spi for peer, suite, spi in reversed(report.send)}
    for tunnel in tunnels:
        if tunnel.receiver == nve:
            yield tunnel, ReceiverRead(frozenset(receives.get((tunnel.sender, tunnel.suite), ())))
        else:
            yield tunnel, SenderRead(sends.get((tunnel.receiver, tunnel.suite)))


def used(nve: str, directions: Mapping[Tunnel, Direction], use: Use) -> Iterator[tuple[Tunnel, Event]]:
    """What the switch of `nve` has sent. However often a key is named, it is one event; unknown ones are none."""
    latest: dict[tuple[Tunnel, int], Used] = {}
    for one in use.sent:
        tunnel = Tunnel(nve, one.peer, one.suite)
        direction = directions.get(tunnel)
        if direction is not None and any(sa.spi == one.spi for sa in direction.sas):
            latest[tunnel, one.spi] = Used(one.spi, one.packets, one.octets, one.at_most)
    for (tunnel, _), event in latest.items():
        yield tunnel, event


def gone(nve: str, tunnels: Iterable[Tunnel]) -> Iterator[tuple[Tunnel, Event]]:
    """The agent of `nve` is gone."""
    for tunnel in tunnels:
        yield tunnel, ReceiverDown() if tunnel.receiver == nve else SenderDown()
