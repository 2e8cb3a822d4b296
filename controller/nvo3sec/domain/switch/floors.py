# SPDX-License-Identifier: Apache-2.0
"""How much of a peer in penalty is verified: several times what was measured of its verified packets.

Whoever has copied one packet of a peer can have it in penalty, and forged packets then take part of its floor. Where
the floor is larger than both together nothing honest is lost, so it is `HEADROOM` times what the peer sends. What the
switch can verify at all is shared by the peers that are attacked at the same time.
"""

from __future__ import annotations

from nvo3sec.domain.overlay.model import Rate

HEADROOM = 16
"""Forged packets at ten times the rate of honest ones leave room for these to half as much again."""
HALF_LIFE_S = 600.0
"""How long a peer that has sent little is remembered for having sent twice as much."""
BURST_S = 0.25
"""What a floor lets through at once, as a part of a second: what queues while somebody else has the processor."""


class VerifiedRate:
    """What one peer sends, packets a second: the most that was verified of it lately. now: seconds, monotonic.

    What suppresses a rate must not lower what is known of it: while the peer is attacked nothing is forgotten.
    """

    def __init__(self) -> None:
        self._most = 0.0
        self._at: float | None = None

    @property
    def packets_per_s(self) -> float:
        """As it was at the last call of `learn`."""
        return self._most

    def learn(self, packets: int, since_s: float, now: float, *, attacked: bool) -> None:
        """packets: that were verified within the last `since_s` seconds, which must be more than 0."""
        if self._at is not None and not attacked:
            self._most *= 0.5 ** (max(0.0, now - self._at) / HALF_LIFE_S)
        self._at = now
        self._most = max(self._most, packets / since_s)


def floor_rate(configured: Rate, measured: float, budget: int) -> Rate:
    """The floor of one peer.

    configured: what it has in any case. measured: its verified packets a second. budget: packets a second that the
    switch can verify for it. In powers of two, so that a switch is not written at every change of what peers send.
    """
    wanted = int(HEADROOM * measured)
    stepped = 1 << (wanted - 1).bit_length() if wanted > 1 else wanted
    rate = max(configured.per_second, min(stepped, budget))
    return Rate(rate, max(configured.burst, int(rate * BURST_S)))
