# SPDX-License-Identifier: Apache-2.0
"""What the switch had for clients over gRPC and none of them took."""

from __future__ import annotations

import threading
from collections.abc import Mapping

CLIENT_LOSSES: Mapping[str, str] = {
    "packet_in_lost": "packet-ins that the primary was too slow for",
    "packet_in_unheard": "packet-ins that there was no primary, or no p4info, for",
    "digest_lost": "digest lists that the primary was too slow for",
    "digest_unheard": "digest lists that there was no primary for",
    "idle_notification_lost": "notifications of idle entries that the primary was too slow for",
    "idle_notification_unheard": "notifications of idle entries that there was no primary for",
    "error_lost": "reports of refused packet-outs that the primary was too slow for",
    "stream_lost": "packets of ports that the client of the data-plane service was too slow for",
    "stream_unheard": "packets of ports that there was no client of the data-plane service for",
}
"""Each count, and what it counts. Beside what the engine counts of itself, in the statistics."""


class ClientLosses:
    """Counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(CLIENT_LOSSES, 0)

    def add(self, name: str) -> None:
        """One more of a kind; one of CLIENT_LOSSES."""
        with self._lock:
            self._counts[name] += 1

    def counts(self) -> dict[str, int]:
        """All, by name, since the switch was started."""
        with self._lock:
            return dict(self._counts)
