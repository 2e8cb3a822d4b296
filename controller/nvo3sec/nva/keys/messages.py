# SPDX-License-Identifier: Apache-2.0
"""Keys as their ends are told them."""

from __future__ import annotations

from dataclasses import dataclass

from nvo3sec.domain.keys.contribution import Pair
from nvo3sec.domain.keys.sa import Sa
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import ReceiveSa, SendSa
from nvo3sec.domain.overlay.membership import Tunnel


@dataclass(frozen=True)
class KeyChanges:
    """All keys of an NVE in the directions `tunnels`: what it holds for these and is not here has ended."""

    tunnels: tuple[Tunnel, ...]
    receive: tuple[ReceiveSa, ...]
    send: tuple[SendSa, ...]


def receive_sa(tunnel: Tunnel, sa: Sa, key: Secret | None, left_s: float, pair: Pair | None) -> ReceiveSa:
    """A key of `tunnel`, for its receiver."""
    return ReceiveSa(tunnel.sender, tunnel.suite, sa.spi, sa.generation, key, left_s, pair=pair)


def send_sa(tunnel: Tunnel, sa: Sa, key: Secret | None, left_s: float, pair: Pair | None) -> SendSa:
    """The same for its sender."""
    return SendSa(tunnel.receiver, tunnel.suite, sa.spi, key, left_s, sa.generation, pair)
