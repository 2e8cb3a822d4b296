# SPDX-License-Identifier: Apache-2.0
"""Contributions are verified before they are relayed: a wrong one of one NVE must not burden its peers.

That spares them work, and no more: each agent goes on verifying by itself, for nobody has to believe this NVA.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from nvo3sec.domain.keys.contribution import Contribution, ContributionRefused, Expected, Fault, Verifier, verify
from nvo3sec.nva.intent.intent import Intent


class RelayedOnly:
    """What the NVA of `intent` relays has to be signed by its NVE, and to be what its peers expect of it.

    wall_seconds: since 1970.
    """

    def __init__(self, intent: Intent, verifier: Verifier, wall_seconds: Callable[[], float] = time.time) -> None:
        self._intent = intent
        self._verifier = verifier
        self._wall_seconds = wall_seconds

    def __call__(self, nve: str, incarnation: bytes, epoch: int, contribution: Contribution) -> None:
        """Raises ContributionRefused. Costs about half a millisecond."""
        domain = self._intent.domain
        known = domain.nve_by_name.get(nve)
        if known is None:
            raise ContributionRefused(Fault.DEVICE, f"{nve} is no NVE of {domain.name}")
        expected = Expected(domain.name, nve, known.addresses, incarnation, epoch)
        verify(contribution, expected, self._verifier, self._wall_seconds())
