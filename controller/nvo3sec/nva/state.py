# SPDX-License-Identifier: Apache-2.0
"""What one NVA knows, and what follows when it changes: stored first, then told. Behind it stands every part; before
it, what agents (`service`) and what operators (`administration`) may have done.

What is told to anybody follows from three things: the operator's intent (`intent`), what agents announced
(`mappings`), and the life of the keys (`keys`). All three are durable before anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from nvo3sec.domain.mapping import Event as MappingEvent
from nvo3sec.domain.mapping import MappingState, Outcome, Reported
from nvo3sec.domain.mapping import Tick as MappingTick
from nvo3sec.domain.messages.session import Report
from nvo3sec.domain.overlay.level_changes import described
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.nva.intent.cutoffs import DEADLINE_S, CutOffs
from nvo3sec.nva.intent.intent import Intent
from nvo3sec.nva.intent.level_steps import LevelProgress, LevelSteps, Surroundings
from nvo3sec.nva.keys.contributions import ContributionExchange
from nvo3sec.nva.keys.service import KeyService
from nvo3sec.nva.mappings.announcements import report_of
from nvo3sec.nva.mappings.held import HeldNumbers
from nvo3sec.nva.mappings.service import Handled, MappingService
from nvo3sec.nva.reports.confinement import Confinement
from nvo3sec.nva.reports.journal import Journal, ReportRecord, log_report
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.nva.sessions.connected import Sessions
from nvo3sec.nva.sessions.history_marks import Marks
from nvo3sec.nva.sessions.store_guard import StoreGuard
from nvo3sec.nva.store import Store
from nvo3sec.nva.switch_accounts import SwitchAccounts
from nvo3sec.nva.updates.differences import begin_mappings


class State:
    """Of one NVA; the parameters are those of `Nva`."""

    def __init__(
        self,
        domain: Domain,
        store: Store,
        *,
        file: str,
        before: Domain | None,
        clock: Callable[[], float],
        wall_seconds: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.clock = clock
        self.log = structlog.get_logger("nva").bind(domain=domain.name)
        self.store = store
        now, stored = clock(), store.load()
        self.guard = StoreGuard(domain.name)
        self.confinement = Confinement(domain.name, self.note)
        self.reports = Journal()
        self.intent = Intent(domain, store, stored, before or domain)
        """What the operator wants. To be read: what is changed here has to be told, and only the methods below do."""
        self.marks = Marks(store, stored)
        """What each NVE was told of how far the store has come."""
        self.marks.only(domain.nve_by_name)
        self.held = HeldNumbers(stored, now, before or domain, self.intent.excluded)
        """Numbers that may still stand in some switch for what they stood for."""
        self._levels = LevelSteps(stored, max(DEADLINE_S, self.held.longest_lease_s))
        limits = replace(domain.mapping_limits, lease_s=max(self.held.longest_lease_s, domain.lifetimes.lease_s))
        self.attachments = MappingService(store, stored, now, limits)
        self.sessions = Sessions()
        self.configure(domain, now, self.intent.excluded, file)
        self.contributing = ContributionExchange(domain, self.sessions, clock, self.note)
        self.keys = KeyService(
            domain,
            self.intent.membership,
            store,
            stored,
            random_bytes=random_bytes,
            wall_seconds=wall_seconds,
            now=now,
            relay=self.contributing.relay,
            confinement=self.confinement,
            tell=self.sessions.tell_keys,
        )
        self._cut_offs = CutOffs(now + self.held.longest_lease_s)
        for nve in self.intent.excluded:
            # After a restart agents come back within their leases, and confirm then.
            self._begin_cut_off(nve, now, max(DEADLINE_S, domain.lifetimes.lease_s))
        self.accounts = SwitchAccounts(self.keys, self._cut_offs, self.held, self._levels, self.note)
        self._levels.restarted(self._surroundings(now), self.intent.level_changes)

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
        return self.attachments.state

    def note(self, nve: str, report: Report, *, always: bool = False) -> None:
        """Keep a report for operators, and log it, if there are not too many of this NVE. always: also then."""
        if self.reports.add(ReportRecord(nve, self.clock(), report), always=always):
            log_report(self.log, nve, report)

    # --- mappings ---------------------------------------------------------------------------------------------------

    def handle(self, events: Sequence[MappingEvent]) -> Sequence[Outcome]:
        """Have events happen; tell everybody. Raises StoreError, and then nothing has happened."""
        with self.guard.must_not_fail():
            handled = self.attachments.handle(events, self.clock())
        with self.confinement.around("telling"):
            self._tell(handled)
        return handled.outcomes

    def _tell(self, handled: Handled) -> None:
        self.sessions.tell_mappings(handled, self.intent.members)
        for effect in handled.effects:
            if isinstance(effect, Reported):
                self.note(effect.key.place.nve, report_of(effect))

    # --- the intent -------------------------------------------------------------------------------------------------

    def configure(self, domain: Domain, now: float, excluded: frozenset[str], file: str = "") -> Handled:
        """Store what is so from now on, with who has to let go of what was so; `follow` tells it. Raises StoreError."""
        letting_go = self.held.letting_go(domain, excluded, self.sessions.version, now)
        levels = self.intent.level_changes_of(domain)
        with self.guard.must_not_fail(), letting_go as changes:
            also = (*changes, *self._levels.written(levels))
            handled = self.attachments.configure(domain, now, excluded, file=file, also=also)
        self._levels.note(levels)
        self._levels.configured(levels, self.domain, domain, now)
        return handled

    def follow(self, handled: Handled, now: float) -> None:
        """What is durable is told: keys of tunnels that are no more end, everybody hears what is so now."""
        self._end_sessions()
        with self.guard.must_not_fail():
            self.keys.reconfigure(self.domain, self.membership, now)
        for nve, session in self.sessions.items():
            session.push_view()
            begin_mappings(self.attachments, session, [vn.vni for vn in self.membership.vns_of(nve)])
        self.contributing.configured(self.domain, self.intent.excluded, self.membership, self.keys, now)
        with self.guard.must_not_fail():
            self.marks.tick(now, at_once=True)  # who remembers that it was so, notices if it is not so any more
        self._tell(handled)

    def follow_intent(self, now: float) -> None:
        """The intent has changed, other than by a domain file. Raises StoreError."""
        self._end_sessions()
        self.follow(self.configure(self.domain, now, self.intent.excluded), now)

    def cut_off(self, nves: Iterable[str]) -> None:
        """These are shut out since now. Raises StoreError."""
        now = self.clock()
        for nve in nves:
            self._begin_cut_off(nve, now, DEADLINE_S)
        self.follow_intent(now)

    def readmit(self, nve: str, now: float) -> None:
        """This one is shut out no more. Raises StoreError."""
        self.log.info("nve is no longer suspended", nve=nve)
        self._cut_offs.end(nve)
        self.follow_intent(now)

    def not_yet_without(self, nve: str) -> tuple[str, ...]:
        """See `Administration`."""
        return self._cut_offs.waiting(nve, self.sessions, self.mappings.leases, self.clock())

    def _begin_cut_off(self, nve: str, now: float, patience_s: float) -> None:
        self._cut_offs.begin(nve, self.sessions.version, self.intent.would_be_peers(nve), now + patience_s)

    # --- levels -----------------------------------------------------------------------------------------------------

    def _surroundings(self, now: float) -> Surroundings:
        return Surroundings(
            self.domain, self.membership, self.keys.directions, self.sessions, self.held.lease_until, now
        )

    def level_progress(self) -> tuple[LevelProgress, ...]:
        """The changes of levels that are under way, for operators."""
        return tuple(self._levels.progress(self.intent.level_changes, self._surroundings(self.clock())))

    def _step_levels(self, now: float) -> None:
        """Go on with the changes whose last step is confirmed: stored first, then told. Raises StoreError."""
        before = self.intent.level_changes
        if not before or (after := self._levels.due(before, self._surroundings(now))) == before:
            return
        self.store.commit(self._levels.written(after))
        self._levels.note(after)
        self.intent.change_levels(after)
        self._levels.configured(after, self.domain, self.domain, now)
        around, nves = self._surroundings(now), set[str]()
        for subject, change in before.items():
            log = self.log.bind(subject=described(subject))
            if subject not in after:
                log.info("level changed", level=change.sends.word)
            elif after[subject] != change:
                one = after[subject]
                log.info("level changes", sends=one.sends.word, demands=one.demands.word)
                self._levels.told(subject, around, self.sessions.version)
                nves.update(around.members(subject))
        self.keys.reconfigure(self.domain, self.membership, now)
        for nve in nves & self.sessions.keys():
            self.sessions[nve].push_view()
        self.contributing.follow(self.keys)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def left(self, session: NvaSideSession) -> None:
        """A session ended. Its switch goes on until its lease ends."""
        if not self.sessions.leave(session):
            return
        self.marks.end(session.nve)
        self.contributing.relay.left(session.nve)
        self.log.warning("nve disconnected", nve=session.nve)
        self.accounts.gone(session.nve, self.clock())

    def _end_sessions(self) -> None:
        """Of those who are shut out, or no NVEs of the domain any more."""
        for nve in set(self.sessions) - (self.domain.nve_by_name.keys() - self.intent.excluded):
            how = "shut out of" if nve in self.domain.nve_by_name else "not an NVE of"
            session = self.sessions[nve]
            session.end(f"{nve} is {how} {self.domain.name}")
            self.left(session)

    # --- time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time go by. Raises StoreError."""
        now, around = self.clock(), self.confinement.around
        with around("mappings"):
            deadline = self.mappings.next_deadline()
            if deadline is not None and deadline <= now:
                self.handle([MappingTick()])
        with around("keys"), self.guard.must_not_fail():
            self.keys.tick(now)
        with around("levels"), self.guard.must_not_fail():
            self._step_levels(now)
        with around("held numbers"), self.guard.must_not_fail():
            self.held.tick(now, self.sessions, self.store)
        with around("marks"), self.guard.must_not_fail():
            self.marks.tick(now)
        with around("contributions"):
            self.contributing.tick(self.keys, self.membership)
