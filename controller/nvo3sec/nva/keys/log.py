# SPDX-License-Identifier: Apache-2.0
"""What happens to keys, for the log."""

from __future__ import annotations

from typing import Any

from nvo3sec.domain.keys.sa import Dropped, Effect, Expired, Late, Switched, UsedUp
from nvo3sec.domain.overlay.membership import Tunnel


def log_effect(log: Any, tunnel: Tunnel, effect: Effect) -> None:
    """Log what is worth it. log: of structlog."""
    ends = {"sender": tunnel.sender, "receiver": tunnel.receiver}
    match effect:
        case Switched(spi=spi):
            log.debug("sender switches to new key", **ends, spi=f"{spi:08x}")
        case Late(spi=spi, end=end):
            log.warning("key not confirmed in time", **ends, late=end, spi=f"{spi:08x}")
        case Expired(spi=spi):
            log.error("key expired without successor", **ends, spi=f"{spi:08x}")
        case UsedUp(spi=spi):
            log.error("key has sent as much as it may", **ends, spi=f"{spi:08x}")
        case Dropped(end=end):
            log.warning("keys dropped, new incarnation", **ends, at=end)
        case _:
            pass
