# SPDX-License-Identifier: Apache-2.0
"""NVEs whose authority is no trust anchor of the NVA any more: they are suspended, as those whose certificate is
revoked.

Their sessions end at once; their peers still send to them, and take from them. In a rollover every NVE whose session
was begun with a certificate of the old authority comes back at once with one of the new authority. So nobody is
suspended who has done so within PATIENCE_S. Nothing is revoked by it: who comes when the anchor is back is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.nva.store import Certificate
from nvo3sec.system.uptime import uptime_s

PATIENCE_S = 30.0
"""From when an authority is gone, or this process began, until its NVEs are suspended."""
WHY = "the authority of its certificate is no trust anchor any more"


class TrustWatch:
    """Of one NVA. identities: with which certificate NVEs came in this process, by NVE."""

    def __init__(
        self,
        live: LivePeers,
        identities: Mapping[str, Identity],
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._live = live
        self._identities = identities
        self._clock = clock
        self._since: dict[str, float] = {}

    def gone(self, known: Collection[Certificate]) -> list[str]:
        """The NVEs among these of whose certificate no authority of now is the issuer."""
        anchors = self._live.revocations.anchors
        names = {issuer.name for issuer in anchors.by_issuer}

        def is_gone(one: Certificate) -> bool:
            identity = self._identities.get(one.nve)
            if identity is not None and (identity.issuer, f"{identity.serial:x}") == (one.issuer, one.serial):
                return anchors.issuer(identity.certificate) is None
            return one.issuer not in names  # of earlier processes nothing else is known

        return [one.nve for one in known if one.serial and is_gone(one)]

    def due(self, known: Collection[Certificate]) -> list[str]:
        """Those who have had their time to come with another certificate."""
        now = self._clock()
        self._since = {nve: self._since.get(nve, now) for nve in self.gone(known)}
        return [nve for nve, since in self._since.items() if now >= since + PATIENCE_S]
