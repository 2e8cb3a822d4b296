# SPDX-License-Identifier: Apache-2.0
"""The NVA's side of the stream to one agent. Whose stream it is comes from the transport, never from a message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from nvo3sec.domain.keys.contribution import PeerNews, PeerUpdate
from nvo3sec.domain.messages.session import (
    Announcement,
    AttachmentAnswer,
    KeyState,
    KeyUpdate,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    MappingUpdate,
    NewIncarnation,
    NveView,
    Position,
    ReadBack,
    Registration,
    Report,
    StoreMark,
    TenantState,
    Update,
    Use,
)
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.nva.sessions.history_marks import Marks
from nvo3sec.nva.store.records import Certificate


class Handler(Protocol):
    """What the NVA does with the messages of an authenticated NVE."""

    @property
    def marks(self) -> Marks: ...
    def register(self, session: NvaSideSession, registration: Registration) -> None: ...
    def view(self, session: NvaSideSession) -> NveView: ...
    def tenants(self, session: NvaSideSession) -> TenantState: ...
    def mapping_update(self, session: NvaSideSession, vni: int) -> MappingUpdate | None: ...
    def key_news(self, session: NvaSideSession) -> KeyState | KeyUpdate | None: ...
    def new_incarnation(self, session: NvaSideSession) -> NewIncarnation | None: ...
    def read_back(self, session: NvaSideSession, report: ReadBack) -> None: ...
    def used(self, session: NvaSideSession, use: Use) -> None: ...
    def renew_lease(self, session: NvaSideSession, seen: Sequence[StoreMark]) -> LeaseGrant: ...
    def look_up(self, session: NvaSideSession, query: Lookup) -> LookupAnswer: ...
    async def announce(self, session: NvaSideSession, announcement: Announcement) -> AttachmentAnswer: ...

    def peer_news(self, session: NvaSideSession, news: PeerNews) -> None: ...
    def peer_update(self, session: NvaSideSession) -> PeerUpdate | None: ...
    def report(self, session: NvaSideSession, report: Report) -> None: ...
    def closed(self, session: NvaSideSession) -> None: ...


class NvaSideSession:
    """A session of NVE `nve`. State is made when it is fetched, however often it changed before: nothing piles up.

    positions: what the agent has been sent of each VN, or has from before; beginnings: VNs of which it does not know
    its position yet. keys_version: of the last message about keys, 0 before the first; tunnels: directions in which
    keys have changed since. has_read: whether its switch was read back. certificate: that it has shown, if any. ended:
    set when the NVA wants the session over; `why` says why.
    """

    def __init__(self, nve: str, handler: Handler, certificate: Certificate | None = None) -> None:
        self.nve = nve
        self.certificate = certificate
        self.positions: dict[int, Position] = {}
        self.beginnings: set[int] = set()
        self.keys_version = 0
        self.tunnels: dict[Tunnel, None] = {}
        self.has_read = False
        self.ended = asyncio.Event()
        self.why = ""
        self._handler = handler
        self._view_changed = False
        self._tenants_changed = False
        self._vnis: dict[int, None] = {}
        self._peers_changed = False
        self._keys_changed = False
        self._incarnation_retired = False
        self._news = asyncio.Event()
        self._closed = False

    @property
    def mark(self) -> StoreMark:
        """What the NVE may be told of how far the NVA's store has come."""
        return self._handler.marks.of(self.nve)

    def known(self, seen: Sequence[StoreMark]) -> tuple[StoreMark, ...]:
        """What the NVE remembers of that, as far as it was told it from this store."""
        return self._handler.marks.known(self.nve, seen)

    # --- what the NVA has new -----------------------------------------------------------------------------------------

    def push_view(self) -> None:
        """Have the view delivered as it is when it is fetched."""
        self._view_changed = True
        self._news.set()

    def push_tenants(self) -> None:
        """Have the tenant systems behind the NVE delivered."""
        self._tenants_changed = True
        self._news.set()

    def push_mappings(self, vni: int) -> None:
        """Have what changed in a VN delivered."""
        self._vnis[vni] = None
        self._news.set()

    def push_peers(self) -> None:
        """Have what is new of the peers' contributions delivered."""
        self._peers_changed = True
        self._news.set()

    def push_keys(self, *tunnels: Tunnel) -> None:
        """Have the keys delivered that have changed in these directions; all, if none were before."""
        self.tunnels.update(dict.fromkeys(tunnels))
        self._keys_changed = True
        self._news.set()

    def push_incarnation(self) -> None:
        """Have it delivered that the switch is to take another incarnation."""
        self._incarnation_retired = True
        self._news.set()

    def end(self, why: str) -> None:
        """Have the session ended, from the NVA's side."""
        self.why = why
        self.ended.set()
        self._news.set()

    async def next_update(self) -> Update:
        """The next state that the agent has not seen; waits for it. Raises AuthorizationError once it was replaced."""
        while True:
            await self._news.wait()
            if (update := self.update_now()) is not None:
                return update

    def update_now(self) -> Update | None:
        """The next state that the agent has not seen; None if there is none: what changed may have changed back."""
        while self._news.is_set():
            update = self._fetch()
            if not (
                self._incarnation_retired
                or self._view_changed
                or self._tenants_changed
                or self._vnis
                or self._peers_changed
                or self._keys_changed
            ):
                self._news.clear()
            if update is not None:
                return update
        return None

    def _fetch(self) -> Update | None:
        if self._incarnation_retired:
            self._incarnation_retired = False
            return self._handler.new_incarnation(self)
        if self._view_changed:
            self._view_changed = self._tenants_changed = False
            return self._handler.view(self)
        if self._tenants_changed:
            self._tenants_changed = False
            return self._handler.tenants(self)
        if self._vnis:
            vni = next(iter(self._vnis))
            del self._vnis[vni]
            return self._handler.mapping_update(self, vni)
        if self._peers_changed:
            peers = self._handler.peer_update(self)
            self._peers_changed = peers is not None  # there may be more than fits into one
            return peers
        if self._keys_changed:
            self._keys_changed = False
            return self._handler.key_news(self)
        return None

    # --- what the agent says ------------------------------------------------------------------------------------------

    async def register(self, registration: Registration) -> None:
        """The agent introduces its switch."""
        self._handler.register(self, registration)

    async def read_back(self, report: ReadBack) -> None:
        """The agent has read its switch back."""
        self._handler.read_back(self, report)

    async def used(self, use: Use) -> None:
        """The agent says how much keys have protected."""
        self._handler.used(self, use)

    async def renew_lease(self, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        """The agent asks for time, and remembers `seen` of how far the store had come. Raises AuthorizationError."""
        return self._handler.renew_lease(self, seen)

    async def look_up(self, query: Lookup) -> LookupAnswer:
        """The agent asks for a mapping."""
        return self._handler.look_up(self, query)

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        """A tenant system comes, goes or moves; the answer is durable. Raises AuthorizationError, StoreError."""
        return await self._handler.announce(self, announcement)

    async def peer_news(self, news: PeerNews) -> None:
        """The agent has contributions or proofs for its peers."""
        self._handler.peer_news(self, news)

    async def report(self, report: Report) -> None:
        """The agent has something to say to the operator."""
        self._handler.report(self, report)

    async def close(self) -> None:
        """The agent is gone."""
        if not self._closed:
            self._closed = True
            self._handler.closed(self)
