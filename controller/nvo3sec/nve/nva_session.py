# SPDX-License-Identifier: Apache-2.0
"""The NVA as an agent sees it: one session, authenticated by whatever carries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from nvo3sec.domain.keys.contribution import PeerNews
from nvo3sec.domain.messages.session import (
    Announcement,
    AttachmentAnswer,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    ReadBack,
    Registration,
    Report,
    StoreMark,
    Update,
    Use,
)


class NvaSession(Protocol):
    """Calls of an agent to its NVA. Each may raise NvaUnreachable or AuthorizationError."""

    async def register(self, registration: Registration) -> None:
        """Introduce the switch. State follows through `next_update`."""

    async def next_update(self) -> Update:
        """The next state; waits for it. A newer state of a kind replaces one that was not fetched."""

    async def read_back(self, report: ReadBack) -> None:
        """Say what the switch was read back with."""

    async def used(self, use: Use) -> None:
        """Say how much keys have protected."""

    async def renew_lease(self, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        """Ask for time. seen: what this agent remembers of how far the NVA's store had come."""

    async def look_up(self, query: Lookup) -> LookupAnswer:
        """Ask where a tenant system is."""

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        """A tenant system comes, goes or moves behind this NVE; the answer is durable."""

    async def peer_news(self, news: PeerNews) -> None:
        """Say what peers are to know: contributions, and proofs of holding keys."""

    async def report(self, report: Report) -> None:
        """Tell the operator something."""

    async def close(self) -> None:
        """End the session."""


NvaConnector: TypeAlias = Callable[[], Awaitable[NvaSession]]
"""Opens a session. May raise NvaUnreachable or AuthorizationError."""
