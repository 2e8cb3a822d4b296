# SPDX-License-Identifier: Apache-2.0
"""The NVA for agents: takes what they say of their switches, and tells each what its switch needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from nvo3sec.domain.keys.contribution import PeerNews, PeerUpdate
from nvo3sec.domain.mapping import LeaseRenewed, Resync
from nvo3sec.domain.messages.session import (
    Announcement,
    AttachmentAnswer,
    KeyState,
    KeyUpdate,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    LookupResult,
    MappingUpdate,
    NewIncarnation,
    NveView,
    ReadBack,
    Registration,
    Report,
    StoreMark,
    TenantState,
    Use,
)
from nvo3sec.nva.mappings.announcements import NOT_SERVED, EventCollector, announced_by, event_of, is_of_its_vn
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.nva.sessions.store_guard import disputes_said
from nvo3sec.nva.state import State
from nvo3sec.nva.store import Certificate
from nvo3sec.nva.updates.differences import begin_mappings, key_news, mapping_update
from nvo3sec.nva.updates.views import tenant_state, view_of


class AgentService:
    """Of one NVA. It talks to agents through `NvaSideSession`, one for each authenticated connection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sessions = state.sessions
        self.marks = state.marks
        self._announcing = EventCollector(state.handle)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def check(self, nve: str, certificate: Certificate | None) -> None:
        """Raises AuthorizationError unless an NVE may come with this certificate; see `Intent.check`."""
        self._state.intent.check(nve, certificate)

    def open_session(self, identity: str, certificate: Certificate | None = None) -> NvaSideSession:
        """A session for the NVE that was authenticated as `identity`, by `certificate`. Raises AuthorizationError."""
        self.check(identity, certificate)
        return NvaSideSession(identity, self, certificate)

    def register(self, session: NvaSideSession, registration: Registration) -> None:
        """Take a session as the one of its NVE; an older one of the same NVE is ended.

        Raises AuthorizationError; HistoryDisputed for an NVE that remembers what this store has not in its history.
        """
        state, nve, now = self._state, session.nve, self._state.clock()
        self.check(nve, session.certificate)
        with self._disputes_said(nve), state.guard.must_not_fail():
            self.marks.begin(nve, registration.seen)
            was_suspended = state.intent.admit(nve, session.certificate)
        if was_suspended:
            state.readmit(nve, now)
        self._sessions.enter(session)
        is_known = state.accounts.judge(nve, registration, now)
        state.log.info("nve registered", nve=nve, receives=len(registration.receive), sends=len(registration.send))
        announced, left_out = announced_by(nve, registration.attachments, state.domain, state.mappings.scope)
        if left_out is not None:
            self.report(session, left_out)
        state.handle([LeaseRenewed(nve, now + state.domain.lifetimes.lease_s), Resync(nve, announced)])
        session.positions, session.keys_version = dict(registration.positions), 0
        session.push_view()
        vnis = [vn.vni for vn in state.membership.vns_of(nve)]
        begin_mappings(state.attachments, session, vnis)
        for vni in vnis:
            session.push_mappings(vni)
        if not is_known:
            session.push_incarnation()
            return
        state.contributing.joined(nve, registration.incarnation, state.membership, state.keys)
        state.accounts.registered(nve, registration, state.domain.nve_by_name, now)
        session.push_keys()

    def closed(self, session: NvaSideSession) -> None:
        """A session ended. Its switch goes on until its lease ends."""
        self._state.left(session)

    def _disputes_said(self, nve: str) -> AbstractContextManager[None]:
        return disputes_said(nve, self.marks, self._state.note, self._sessions.get(nve))

    # --- what agents say --------------------------------------------------------------------------------------------

    def read_back(self, session: NvaSideSession, report: ReadBack) -> None:
        """A switch was read: that is what confirms keys."""
        state = self._state
        if self._sessions.has(session) and state.accounts.read_back(
            session.nve, report, self._sessions.version, state.clock()
        ):
            session.has_read = True

    def used(self, session: NvaSideSession, use: Use) -> None:
        """How much keys have protected, by the sender's own counters. Only the sender's account counts."""
        if self._sessions.has(session):
            self._state.accounts.used(session.nve, use, self._state.clock())

    def renew_lease(self, session: NvaSideSession, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        """Time for the tunnels of an NVE, and for what it announced. Raises AuthorizationError, StoreError.

        None for the tunnels of one whose switch has not let go in time of who was shut out, or of a number. seen: as in
        `Registration`.
        """
        state = self._state
        self._sessions.require(session)
        with self._disputes_said(session.nve), state.guard.must_not_fail():
            mark = self.marks.hand_out(session.nve, seen)
        now, lease_s = state.clock(), state.domain.lifetimes.lease_s
        state.handle([LeaseRenewed(session.nve, now + lease_s)])
        if not state.accounts.may_have_lease(session.nve, session.has_read, now):
            return LeaseGrant(0.0, mark)
        state.held.granted(session.nve, now)
        return LeaseGrant(lease_s, mark)

    def granted_before(self, granted: Mapping[str, float], lease_s: float) -> None:
        """Leases of `lease_s` seconds that NVEs were given while this NVA was loading, and when. Raises StoreError."""
        state = self._state
        for nve, at in granted.items():
            if nve in state.domain.nve_by_name:
                state.held.granted(nve, at)
                state.handle([LeaseRenewed(nve, at + max(lease_s, state.domain.lifetimes.lease_s))])

    def look_up(self, session: NvaSideSession, query: Lookup) -> LookupAnswer:
        """A mapping, for an NVE that serves the VN. Raises AuthorizationError for one that is not registered."""
        self._sessions.require(session)
        answer = self._state.attachments.look_up(session.nve, query, self._state.clock())
        if answer.result is LookupResult.REFUSED:
            self.report(session, Report("lookup-refused", f"asked about VNI {query.vni}, which it does not serve"))
        return answer

    async def announce(self, session: NvaSideSession, announcement: Announcement) -> AttachmentAnswer:
        """A tenant system comes, goes or moves behind an NVE. Raises AuthorizationError, StoreError."""
        self._sessions.require(session)
        if not is_of_its_vn(self._state.domain, self._state.mappings.scope, session.nve, announcement):
            return NOT_SERVED
        return await self._announcing.announce(event_of(session.nve, announcement))

    def report(self, session: NvaSideSession, report: Report) -> None:
        """Keep a report and log it, if it is of the present session and there are not too many of this NVE."""
        if self._sessions.has(session):
            self._state.note(session.nve, report)

    def peer_news(self, session: NvaSideSession, news: PeerNews) -> None:
        """An NVE can mix with other contributions than before, or proves that it holds keys: to be relayed."""
        state, nve = self._state, session.nve
        if not self._sessions.has(session) or news.incarnation != state.accounts.incarnations.get(nve):
            return
        refusal = state.contributing.take(nve, news, state.membership)
        if refusal is not None:
            state.contributing.tell(nve, refusal)
        elif news.contributions is not None:
            state.keys.contributed(nve, state.clock())

    # --- what agents are told ---------------------------------------------------------------------------------------

    def view(self, session: NvaSideSession) -> NveView:
        """What the NVE of a session serves."""
        state = self._state
        self._sessions.require(session)
        return view_of(state.domain, state.membership, state.mappings, session.nve, self._sessions.next_version())

    def tenants(self, session: NvaSideSession) -> TenantState:
        """The tenant systems behind the NVE of a session."""
        self._sessions.require(session)
        return tenant_state(self._state.domain, self._state.mappings, session.nve, self._sessions.next_version())

    def mapping_update(self, session: NvaSideSession, vni: int) -> MappingUpdate | None:
        """What the NVE of a session does not know yet about a VN; None if that is nothing, or none of its business."""
        self._sessions.require(session)
        if not self._state.mappings.scope.serves(session.nve, vni):
            return None
        return mapping_update(self._state.attachments, session, vni, self._state.confinement)

    def peer_update(self, session: NvaSideSession) -> PeerUpdate | None:
        """What the NVE of a session has not been told yet of its peers' contributions."""
        self._sessions.require(session)
        return self._state.contributing.relay.fetch(session.nve)

    def key_news(self, session: NvaSideSession) -> KeyState | KeyUpdate | None:
        """The keys of the switch of a session, derived for the incarnation it registered with: all of them, and from
        then on what changed. None if what changed has changed back."""
        state = self._state
        self._sessions.require(session)
        incarnation = state.accounts.incarnations.get(session.nve)
        if incarnation is None:
            return None
        with state.guard.must_not_fail():
            news = key_news(state.keys, session, incarnation, self._sessions.version + 1, state.clock())
        if news is not None:
            session.keys_version = self._sessions.next_version()
        return news

    def new_incarnation(self, session: NvaSideSession) -> NewIncarnation | None:
        """Which incarnation the switch of a session is to give up; None if it need not."""
        return NewIncarnation(old) if (old := self._state.accounts.retired.get(session.nve)) is not None else None
