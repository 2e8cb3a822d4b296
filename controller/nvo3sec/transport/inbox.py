# SPDX-License-Identifier: Apache-2.0
"""What an NVA has sent an agent, until the agent takes it: a newer whole state replaces the older, changes add up."""

from __future__ import annotations

import asyncio
from collections import deque

from nvo3sec.domain.keys.contribution import PeerUpdate
from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import (
    KeyState,
    KeyUpdate,
    MappingUpdate,
    NewIncarnation,
    NveView,
    TenantState,
    Update,
)
from nvo3sec.errors import NvaUnreachable, Nvo3secError
from nvo3sec.system.uptime import uptime_s

MAPPINGS_QUEUED = 4096
"""Updates of VNs that wait for the switch."""
PEERS_QUEUED = 128
"""Updates about peers that wait for the agent. A new session with 4,096 peers begins with half as many."""


class Inbox:
    """Of one session of NVE `nve`. nva: for errors, who sends. ended: why nothing more will come, once that is so."""

    def __init__(self, nve: str, nva: str) -> None:
        self.ended: Nvo3secError | None = None
        self._nve = nve
        self._nva = nva
        self._retired: NewIncarnation | None = None
        self._view: NveView | None = None
        self._tenants: TenantState | None = None
        self._mappings: deque[MappingUpdate] = deque()
        self._peers: deque[PeerUpdate] = deque()
        self._keys: KeyState | KeyUpdate | None = None
        self._keys_at = 0.0
        self._keys_version = 0
        self._version = 0
        self._news = asyncio.Event()

    @property
    def keys(self) -> KeyState | KeyUpdate | None:
        """What there is about keys and was not taken yet."""
        return self._keys

    @property
    def keys_version(self) -> int:
        """Of the last message about keys; 0 before the first."""
        return self._keys_version

    def end(self, error: Nvo3secError) -> None:
        """Nothing more will come."""
        self.ended = error
        self._news.set()

    # --- what the agent takes -----------------------------------------------------------------------------------------

    async def next(self) -> Update:
        """The next state; waits for it. Raises what it has `ended` with."""
        await self._news.wait()
        if self.ended is not None:
            raise self.ended
        update = self._oldest()
        if update is None:
            raise NvaUnreachable(f"{self._nva}: two wait for its updates")
        if not (self._retired or self._view or self._tenants or self._mappings or self._peers or self._keys):
            self._news.clear()
        return update

    def _oldest(self) -> Update | None:
        """What the NVE serves before what it is filled with; a newer whole state has replaced the older."""
        update: Update | None
        if self._retired is not None:
            update, self._retired = self._retired, None
        elif self._view is not None:
            update, self._view = self._view, None
        elif self._tenants is not None:
            update, self._tenants = self._tenants, None
        elif self._mappings:
            update = self._mappings.popleft()
        elif self._peers:
            update = self._peers.popleft()
        else:
            update, self._keys = self._keys, None
        return update

    # --- what the NVA sends -------------------------------------------------------------------------------------------

    def put(self, update: Update) -> None:
        """It has come. Raises NvaUnreachable for what cannot follow what came before, and for too much."""
        match update:
            case NewIncarnation():
                self._retired = update
            case MappingUpdate():
                # Differences add up, so none may be left out; who does not take them for so long begins anew.
                if len(self._mappings) >= MAPPINGS_QUEUED:
                    raise NvaUnreachable(f"{self._nva}: more changes of mappings than can be taken")
                self._mappings.append(update)
            case PeerUpdate():
                if len(self._peers) >= PEERS_QUEUED:  # these add up, too
                    raise NvaUnreachable(f"{self._nva}: more of peers than can be taken")
                self._peers.append(update)
            case _:
                self._put_state(update)
        self._news.set()

    def _put_state(self, update: NveView | TenantState | KeyState | KeyUpdate) -> None:
        if update.version <= self._version:
            raise NvaUnreachable(f"{self._nva}: its state goes back from version {self._version}")
        match update:
            case NveView():
                if update.name != self._nve:
                    raise NvaUnreachable(f"{self._nva}: it sends the state of another NVE")
                self._view, self._tenants = update, None  # it has the tenant systems of its time
            case TenantState():
                self._tenants = update
            case _:
                self._put_keys(update)
        self._version = update.version

    def _put_keys(self, update: KeyState | KeyUpdate) -> None:
        """Changes add up to what was not fetched yet."""
        now, news = uptime_s(), update
        if isinstance(update, KeyUpdate):
            if update.base != self._keys_version:
                raise NvaUnreachable(f"{self._nva}: it changes keys of version {update.base}, not the last")
            if self._keys is not None:
                try:
                    news = key_changes.after(self._keys, update, now - self._keys_at)
                except ValueError as error:
                    raise NvaUnreachable(f"{self._nva}: {error}") from None
        self._keys, self._keys_at, self._keys_version = news, now, update.version
