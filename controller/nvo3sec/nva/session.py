# SPDX-License-Identifier: Apache-2.0
"""The NVA's side of the stream to one agent. Whose stream it is comes from the transport, never from a message."""

from __future__ import annotations

import asyncio
from typing import Protocol

from nvo3sec.domain.messages import (
    KeyState,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    NveView,
    ReadBack,
    Registration,
    Report,
    Update,
)


class Handler(Protocol):
    """What the NVA does with the messages of an authenticated NVE."""

    def register(self, session: NvaSideSession, registration: Registration) -> None: ...
    def key_state(self, session: NvaSideSession) -> KeyState: ...
    def read_back(self, session: NvaSideSession, report: ReadBack) -> None: ...
    def renew_lease(self, session: NvaSideSession) -> LeaseGrant: ...
    def look_up(self, session: NvaSideSession, query: Lookup) -> LookupAnswer: ...
    def report(self, session: NvaSideSession, report: Report) -> None: ...
    def closed(self, session: NvaSideSession) -> None: ...


class NvaSideSession:
    """A session of NVE `nve`. State that was not fetched yet is replaced by newer state: nothing ever piles up.

    Keys are derived when they are fetched, however often they changed before.
    """

    def __init__(self, nve: str, handler: Handler) -> None:
        self.nve = nve
        self._handler = handler
        self._view: NveView | None = None
        self._keys_changed = False
        self._news = asyncio.Event()
        self._closed = False

    def push_view(self, view: NveView) -> None:
        """Have `view` delivered."""
        self._view = view
        self._news.set()

    def push_keys(self) -> None:
        """Have the keys delivered as they are when they are fetched."""
        self._keys_changed = True
        self._news.set()

    async def register(self, registration: Registration) -> None:
        """The agent introduces its switch."""
        self._handler.register(self, registration)

    async def next_update(self) -> Update:
        """The next state that the agent has not seen; waits for it."""
        await self._news.wait()
        update: Update
        if self._view is not None:
            update, self._view = self._view, None
        else:
            self._keys_changed = False
            update = self._handler.key_state(self)
        if self._view is None and not self._keys_changed:
            self._news.clear()
        return update

    async def read_back(self, report: ReadBack) -> None:
        """The agent has read its switch back."""
        self._handler.read_back(self, report)

    async def renew_lease(self) -> LeaseGrant:
        """The agent asks for time. Raises AuthorizationError."""
        return self._handler.renew_lease(self)

    async def look_up(self, query: Lookup) -> LookupAnswer:
        """The agent asks for a mapping."""
        return self._handler.look_up(self, query)

    async def report(self, report: Report) -> None:
        """The agent has something to say to the operator."""
        self._handler.report(self, report)

    async def close(self) -> None:
        """The agent is gone."""
        if not self._closed:
            self._closed = True
            self._handler.closed(self)
