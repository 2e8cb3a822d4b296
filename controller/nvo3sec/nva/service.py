# SPDX-License-Identifier: Apache-2.0
"""The NVA of a domain: takes what agents say, keeps mappings and keys, tells each agent what its switch needs.

What is told to anybody follows from three things: the operator's intent (`intent`), what agents announced
(`attachments`), and the life of the keys (`keys`). All three are durable before anybody is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import structlog

from nvo3sec.domain.keys.contribution import PeerNews, PeerUpdate
from nvo3sec.domain.keys.sa import Direction, Event
from nvo3sec.domain.mapping import Event as MappingEvent
from nvo3sec.domain.mapping import LeaseRenewed, MappingState, Outcome, Reported, Resync
from nvo3sec.domain.mapping import Tick as MappingTick
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
from nvo3sec.domain.overlay.meanings import obstacles
from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import AuthorizationError, OperatorError
from nvo3sec.nva.accounts import SwitchAccounts
from nvo3sec.nva.agent_session import NvaSideSession
from nvo3sec.nva.confinement import Confinement
from nvo3sec.nva.connected import Connected
from nvo3sec.nva.cutoffs import DEADLINE_S, CutOffs
from nvo3sec.nva.history_marks import Marks
from nvo3sec.nva.intent import Intent
from nvo3sec.nva.keys.contributions import Contributing
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.mappings.announcements import NOT_SERVED, Announcing, announced_by, event_of, is_of_its_vn, report_of
from nvo3sec.nva.mappings.attachments import Attachments, Handled
from nvo3sec.nva.mappings.held import HeldNumbers
from nvo3sec.nva.report_journal import Journal, ReportRecord, log_report
from nvo3sec.nva.store import Certificate, Store
from nvo3sec.nva.store_guard import StoreGuard, disputes_said
from nvo3sec.nva.tunnel_choice import choose_tunnels, some_tunnels
from nvo3sec.nva.updates import begin_mappings, key_news, mapping_update, push_changes
from nvo3sec.nva.views import tenant_state, view_of

TICK_S = 0.2


class Nva:
    """One NVA. It talks to agents through `NvaSideSession`, one for each authenticated connection.

    store: what it remembers across restarts. file: the text that `domain` comes from, to be remembered. before: the
    domain that ran last, if it was another one. clock: monotonic seconds. wall_seconds: coarse wall time, for
    generations only. random_bytes: a cryptographic source. Raises StoreError.
    """

    def __init__(
        self,
        domain: Domain,
        store: Store,
        *,
        file: str = "",
        before: Domain | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_seconds: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._clock = clock
        self._log = structlog.get_logger("nva").bind(domain=domain.name)
        self._store = store
        now, stored = clock(), store.load()
        self._guard = StoreGuard(domain.name)
        self.confinement = Confinement(domain.name, self._note)
        self.reports = Journal()
        self.intent = Intent(domain, store, stored)
        """What the operator wants. To be read: what is changed here has to be told, and only the methods below do."""
        self.marks = Marks(store, stored)
        """What each NVE was told of how far the store has come."""
        self.marks.only(domain.nve_by_name)
        self.held = HeldNumbers(stored, now, before or domain, self.intent.excluded)
        """Numbers that may still stand in some switch for what they stood for."""
        limits = replace(domain.mapping_limits, lease_s=max(self.held.longest_lease_s, domain.lifetimes.lease_s))
        self._attachments = Attachments(store, stored, now, limits)
        self._version = 0
        self._configure(domain, now, self.intent.excluded, file)
        self._announcing = Announcing(self._handle)
        self._sessions = Connected()
        self._contributing = Contributing(domain, self._sessions, clock, self._note)
        self.relay = self._contributing.relay
        self._keys = KeyService(
            domain,
            self.intent.membership,
            store,
            stored,
            random_bytes=random_bytes,
            wall_seconds=wall_seconds,
            now=now,
            relay=self.relay,
            confinement=self.confinement,
        )
        self._cut_offs = CutOffs(now + self.held.longest_lease_s)
        for nve in self.intent.excluded:
            # After a restart agents come back within their leases, and confirm then.
            self._begin_cut_off(nve, now, max(DEADLINE_S, domain.lifetimes.lease_s))
        self.accounts = SwitchAccounts(self._keys, self._cut_offs, self.held, self._feed, self._note)

    @property
    def domain(self) -> Domain:
        """The domain as it is configured."""
        return self.intent.domain

    @property
    def membership(self) -> Membership:
        """Who serves which VN, without those who are shut out."""
        return self.intent.membership

    @property
    def mappings(self) -> MappingState:
        """The mappings as they are durable."""
        return self._attachments.state

    # --- sessions ---------------------------------------------------------------------------------------------------

    def open_session(self, identity: str, certificate: Certificate | None = None) -> NvaSideSession:
        """A session for the NVE that was authenticated as `identity`, by `certificate`. Raises AuthorizationError."""
        self.intent.check(identity, certificate)
        return NvaSideSession(identity, self, certificate)

    def register(self, session: NvaSideSession, registration: Registration) -> None:
        """Take a session as the one of its NVE; an older one of the same NVE is ended.

        Raises AuthorizationError; HistoryDisputed for an NVE that remembers what this store has not in its history.
        """
        nve, now = session.nve, self._clock()
        self.intent.check(nve, session.certificate)
        with self._disputes_said(nve), self._guard.must_not_fail():
            self.marks.begin(nve, registration.seen)
            was_suspended = self.intent.admit(nve, session.certificate)
        if was_suspended:
            self._log.info("nve is no longer suspended", nve=nve)
            self._cut_offs.end(nve)
            self._follow_intent(now)
        before = self._sessions.get(nve)
        self._sessions[nve] = session
        if before is not None and before is not session:
            before.end(f"a newer session of {nve} has taken over")
        is_known = self.accounts.judge(nve, registration, now)
        self._log.info("nve registered", nve=nve, receives=len(registration.receive), sends=len(registration.send))
        announced, left_out = announced_by(nve, registration.attachments, self.domain, self.mappings.scope)
        if left_out is not None:
            self.report(session, left_out)
        self._handle([LeaseRenewed(nve, now + self.domain.lifetimes.lease_s), Resync(nve, announced)])
        session.positions, session.keys_version = dict(registration.positions), 0
        session.push_view()
        vnis = [vn.vni for vn in self.membership.vns_of(nve)]
        begin_mappings(self._attachments, session, vnis)
        for vni in vnis:
            session.push_mappings(vni)
        if not is_known:
            session.push_incarnation()
            return
        self._contributing.joined(nve, registration.incarnation, self.membership, self._keys)
        self.accounts.registered(nve, registration, self.domain.nve_by_name, now)
        self._sessions.push_keys([nve])

    def closed(self, session: NvaSideSession) -> None:
        """A session ended. Its switch goes on until its lease ends."""
        if self._sessions.get(session.nve) is not session:
            return
        del self._sessions[session.nve]
        self.marks.end(session.nve)
        self.relay.left(session.nve)
        self._log.warning("nve disconnected", nve=session.nve)
        self.accounts.gone(session.nve, self._clock())

    def read_back(self, session: NvaSideSession, report: ReadBack) -> None:
        """A switch was read: that is what confirms keys."""
        if self._is_current(session) and self.accounts.read_back(session.nve, report, self._version, self._clock()):
            session.has_read = True

    def used(self, session: NvaSideSession, use: Use) -> None:
        """How much keys have protected, by the sender's own counters. Only the sender's account counts."""
        if self._is_current(session):
            self.accounts.used(session.nve, use, self._clock())

    def renew_lease(self, session: NvaSideSession, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        """Time for the tunnels of an NVE, and for what it announced. Raises AuthorizationError, StoreError.

        None for the tunnels of one whose switch has not let go in time of who was shut out, or of a number. seen: as in
        `Registration`.
        """
        self._require_current(session)
        with self._disputes_said(session.nve), self._guard.must_not_fail():
            mark = self.marks.hand_out(session.nve, seen)
        now, lease_s = self._clock(), self.domain.lifetimes.lease_s
        self._handle([LeaseRenewed(session.nve, now + lease_s)])
        if not self.accounts.may_have_lease(session.nve, session.has_read, now):
            return LeaseGrant(0.0, mark)
        self.held.granted(session.nve, now)
        return LeaseGrant(lease_s, mark)

    def look_up(self, session: NvaSideSession, query: Lookup) -> LookupAnswer:
        """A mapping, for an NVE that serves the VN. Raises AuthorizationError for one that is not registered."""
        self._require_current(session)
        answer = self._attachments.look_up(session.nve, query, self._clock())
        if answer.result is LookupResult.REFUSED:
            self.report(session, Report("lookup-refused", f"asked about VNI {query.vni}, which it does not serve"))
        return answer

    async def announce(self, session: NvaSideSession, announcement: Announcement) -> AttachmentAnswer:
        """A tenant system comes, goes or moves behind an NVE. Raises AuthorizationError, StoreError."""
        self._require_current(session)
        if not is_of_its_vn(self.domain, self.mappings.scope, session.nve, announcement):
            return NOT_SERVED
        return await self._announcing.announce(event_of(session.nve, announcement))

    def report(self, session: NvaSideSession, report: Report) -> None:
        """Keep a report and log it, if it is of the present session and there are not too many of this NVE."""
        if self._is_current(session):
            self._note(session.nve, report)

    def _note(self, nve: str, report: Report, *, always: bool = False) -> None:
        if self.reports.add(ReportRecord(nve, self._clock(), report), always=always):
            log_report(self._log, nve, report)

    def peer_news(self, session: NvaSideSession, news: PeerNews) -> None:
        """An NVE can mix with other contributions than before, or proves that it holds keys: to be relayed."""
        nve = session.nve
        if not self._is_current(session) or news.incarnation != self.accounts.incarnations.get(nve):
            return
        refusal = self._contributing.take(nve, news, self.membership)
        if refusal is not None:
            self._contributing.tell(nve, refusal)
        elif news.contributions is not None:
            self._sessions.push_keys(self._keys.contributed(nve, self._clock()))

    def _disputes_said(self, nve: str) -> AbstractContextManager[None]:
        return disputes_said(nve, self.marks, self._note, self._sessions.get(nve))

    def _is_current(self, session: NvaSideSession) -> bool:
        return self._sessions.get(session.nve) is session

    def _require_current(self, session: NvaSideSession) -> None:
        if not self._is_current(session):
            raise AuthorizationError(f"{session.nve} is not registered through this session")

    # --- state for agents -------------------------------------------------------------------------------------------

    def view(self, session: NvaSideSession) -> NveView:
        """What the NVE of a session serves."""
        self._require_current(session)
        return view_of(self.domain, self.membership, self.mappings, session.nve, self._next_version())

    def tenants(self, session: NvaSideSession) -> TenantState:
        """The tenant systems behind the NVE of a session."""
        self._require_current(session)
        return tenant_state(self.domain, self.mappings, session.nve, self._next_version())

    def mapping_update(self, session: NvaSideSession, vni: int) -> MappingUpdate | None:
        """What the NVE of a session does not know yet about a VN; None if that is nothing, or none of its business."""
        self._require_current(session)
        if not self.mappings.scope.serves(session.nve, vni):
            return None
        return mapping_update(self._attachments, session, vni, self.confinement)

    def peer_update(self, session: NvaSideSession) -> PeerUpdate | None:
        """What the NVE of a session has not been told yet of its peers' contributions."""
        self._require_current(session)
        return self.relay.fetch(session.nve)

    def key_news(self, session: NvaSideSession) -> KeyState | KeyUpdate | None:
        """The keys of the switch of a session, derived for the incarnation it registered with: all of them, and from
        then on what changed. None if what changed has changed back."""
        self._require_current(session)
        incarnation = self.accounts.incarnations.get(session.nve)
        if incarnation is None:
            return None
        with self._guard.must_not_fail():
            news = key_news(self._keys, session, incarnation, self._version + 1, self._clock())
        if news is not None:
            self._version = session.keys_version = news.version
        return news

    def new_incarnation(self, session: NvaSideSession) -> NewIncarnation | None:
        """Which incarnation the switch of a session is to give up; None if it need not."""
        return NewIncarnation(old) if (old := self.accounts.retired.get(session.nve)) is not None else None

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    # --- mappings ---------------------------------------------------------------------------------------------------

    def _handle(self, events: Sequence[MappingEvent]) -> Sequence[Outcome]:
        """Have events happen; tell everybody. Raises StoreError, and then nothing has happened."""
        with self._guard.must_not_fail():
            handled = self._attachments.handle(events, self._clock())
        with self.confinement.around("telling"):
            self._tell(handled)
        return handled.outcomes

    def _tell(self, handled: Handled) -> None:
        push_changes(handled, self._sessions, self.intent.members)
        for effect in handled.effects:
            if isinstance(effect, Reported):
                self._note(effect.key.place.nve, report_of(effect))

    def decide(self, event: MappingEvent) -> Outcome:
        """An operator decides about a mapping (`Admit`, `Evict`). Raises StoreError."""
        return self._handle([event])[0]

    # --- keys -------------------------------------------------------------------------------------------------------

    def _feed(self, tunnel: Tunnel, event: Event, now: float) -> None:
        self._sessions.push_keys(self._keys.feed(tunnel, event, now))

    def tick(self) -> None:
        """Let time go by. Raises StoreError."""
        now, around = self._clock(), self.confinement.around
        with around("mappings"):
            deadline = self.mappings.next_deadline()
            if deadline is not None and deadline <= now:
                self._handle([MappingTick()])
        with around("keys"), self._guard.must_not_fail():
            self._sessions.push_keys(self._keys.tick(now))
        with around("held numbers"), self._guard.must_not_fail():
            self.held.tick(now, self._sessions, self._store)
        with around("marks"), self._guard.must_not_fail():
            self.marks.tick(now)
        with around("contributions"):
            self._contributing.tick(self._keys, self.membership)

    async def run(self) -> None:
        """Tick for ever. Raises StoreError as soon as the store has failed: nobody knows then what is stored."""
        while True:
            self.tick()
            await self._guard.wait(TICK_S)

    # --- operator ---------------------------------------------------------------------------------------------------

    def configure(self, domain: Domain, file: str = "") -> None:
        """Apply another domain file as a whole; it is durable, with its text `file`, when this returns.

        Raises OperatorError for another domain, or for numbers that may still stand for something else, and nothing has
        changed then; StoreError, and then this NVA ends: what runs after its restart is either file, whole.
        """
        now, excluded = self._clock(), self.intent.excluded_of(domain)
        if refused := obstacles(self.domain, domain, self.held.waiting):
            raise OperatorError("; ".join(refused.values()))
        handled = self._configure(domain, now, excluded, file)
        self.intent.configure(domain)
        with self._guard.must_not_fail():
            self.marks.only(domain.nve_by_name)
        self._follow(handled, now)

    def revoke(self, nve: str) -> None:
        """Shut an NVE out for good: everywhere, at once, without its help. Raises OperatorError, StoreError."""
        with self._guard.must_not_fail():
            self.intent.revoke(nve)
            self.marks.forget(nve)
        self._log.warning("nve revoked", nve=nve)
        self._cut_off([nve])

    def not_yet_without(self, nve: str) -> tuple[str, ...]:
        """The peers of an NVE that was revoked whose switches may still take something from it.

        One that is connected has to confirm what it was told; of one that is not, the lease has to end.
        """
        return self._cut_offs.waiting(nve, self._sessions, self.mappings.leases, self._clock())

    def suspend(self, nves: Iterable[str], why: str, *, for_good: bool = True) -> None:
        """Shut NVEs out until they register with a good certificate; `for_good`: another one. Raises StoreError.

        What follows is done once: with many NVEs it takes seconds, and a revocation list can name many.
        """
        with self._guard.must_not_fail():
            were_in = self.intent.suspend(nves, why, for_good=for_good)
        for nve in were_in:
            self._log.warning("nve suspended", nve=nve, why=why)
            self._note(nve, Report("nve-suspended", why), always=True)
        if were_in:
            self._cut_off(were_in)

    def _cut_off(self, nves: Iterable[str]) -> None:
        now = self._clock()
        for nve in nves:
            self._begin_cut_off(nve, now, DEADLINE_S)
        self._follow_intent(now)

    def _begin_cut_off(self, nve: str, now: float, patience_s: float) -> None:
        self._cut_offs.begin(nve, self._version, self.intent.would_be_peers(nve), now + patience_s)

    def _follow_intent(self, now: float) -> None:
        """The intent has changed, other than by a domain file. Raises StoreError."""
        self._end_sessions()
        self._follow(self._configure(self.domain, now, self.intent.excluded), now)

    def _configure(self, domain: Domain, now: float, excluded: frozenset[str], file: str = "") -> Handled:
        """Store what is so from now on, with who has to let go of what was so. Raises StoreError."""
        letting_go = self.held.letting_go(domain, excluded, self._version, now)
        with self._guard.must_not_fail(), letting_go as changes:
            return self._attachments.configure(domain, now, excluded, file=file, also=changes)

    def _end_sessions(self) -> None:
        """Of those who are shut out, or no NVEs of the domain any more."""
        for nve in set(self._sessions) - (self.domain.nve_by_name.keys() - self.intent.excluded):
            how = "shut out of" if nve in self.domain.nve_by_name else "not an NVE of"
            self._sessions[nve].end(f"{nve} is {how} {self.domain.name}")
            self.closed(self._sessions[nve])

    def _follow(self, handled: Handled, now: float) -> None:
        """What is durable is told: keys of tunnels that are no more end, everybody hears what is so now."""
        self._end_sessions()
        with self._guard.must_not_fail():
            changed = self._keys.reconfigure(self.domain, self.membership, now)
        for nve, session in self._sessions.items():
            session.push_view()
            begin_mappings(self._attachments, session, [vn.vni for vn in self.membership.vns_of(nve)])
        changed |= self._contributing.configured(self.domain, self.intent.excluded, self.membership, self._keys, now)
        with self._guard.must_not_fail():
            self.marks.tick(now, at_once=True)  # who remembers that it was so, notices if it is not so any more
        self._tell(handled)
        self._sessions.push_keys(changed)

    def rotate(self, nves: Iterable[str] = (), vn: str | None = None) -> int:
        """Ask for new keys in all directions, or in those that `some_tunnels` chooses; returns how many directions.

        Raises OperatorError for a name that does not exist, one that is shut out, and where no tunnel is chosen.
        """
        choose_tunnels(self.domain, self.membership, (), nves, vn)
        self.intent.must_be_in(nves)
        chosen = some_tunnels(self.domain, self.membership, self._keys.directions, nves, vn)
        self._sessions.push_keys(self._keys.rotate(chosen, self._clock()))
        self._contributing.follow(self._keys)
        return len(chosen)

    def reset_marks(self, nve: str) -> str:
        """Begin anew with the generations of what an NVE receives: in a fresh epoch, under another incarnation of it.

        Returns the incarnation that it gives up, "" if none is known. Raises OperatorError, StoreError.
        """
        choose_tunnels(self.domain, self.membership, (), [nve], None)  # there is one of this name
        self.intent.must_be_in([nve])
        with self._guard.must_not_fail():
            before = self.accounts.reset_mark(nve, self._clock())
        self._log.warning("marks reset", nve=nve)
        self._contributing.follow(self._keys)
        if before and (session := self._sessions.get(nve)) is not None:
            session.push_incarnation()
        return before.hex()

    def directions(self) -> tuple[Direction, ...]:
        """The life of every key, for the status."""
        return tuple(self._keys.directions[tunnel] for tunnel in sorted(self._keys.directions))

    @property
    def registered(self) -> tuple[str, ...]:
        """NVEs that are connected."""
        return tuple(sorted(self._sessions))

    @property
    def excluded(self) -> dict[str, str]:
        """NVEs that are shut out, and why."""
        return self.intent.shut_out
