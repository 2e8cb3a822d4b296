# SPDX-License-Identifier: Apache-2.0
"""What mixed keys ask of the life of a key: when one is confirmed, and when it will never be."""

from __future__ import annotations

from dataclasses import replace

from nvo3sec.domain.keys.contribution import End
from nvo3sec.domain.keys.sa import Direction, Event, Late, ReceiverRead, ReceiverUp, Sa, SaState
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.nva.keys.contribution_relay import PeerRelay


def as_proved(relay: PeerRelay, direction: Direction, event: Event) -> Event:
    """A receiver has confirmed a mixed key only when it has proved it, too: else no sender would ever use it."""
    planned, tunnel = direction.planned, direction.tunnel
    if planned is None or not relay.is_mixed(tunnel, planned.spi):
        return event
    if relay.has_proved(tunnel, planned.spi, End.RECEIVER):
        return event
    match event:
        case ReceiverRead(spis=spis):
            return replace(event, spis=spis - {planned.spi})
        case ReceiverUp(held=held):
            return replace(event, held=tuple(one for one in held if one.spi != planned.spi))
        case _:
            return event


def is_lost(relay: PeerRelay, nve: str, direction: Direction, sa: Sa) -> bool:
    """Whether `nve` can neither mix a key any more, nor has it in its switch."""
    if sa.inherited or relay.can_mix(nve, direction.tunnel, sa.spi):
        return False
    if nve == direction.tunnel.receiver:
        return sa.state is SaState.PLANNED
    return sa.state is not SaState.DRAINING and not sa.confirmed and sa.spi not in (direction.sender.holds or ())


def is_unproved(relay: PeerRelay, tunnel: Tunnel, late: Late) -> bool:
    """Whether the end that is late has not even mixed the key. Something is missing there; another key may do."""
    return relay.is_mixed(tunnel, late.spi) and not relay.has_proved(tunnel, late.spi, End(late.end))
