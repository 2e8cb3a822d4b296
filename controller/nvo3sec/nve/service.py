# SPDX-License-Identifier: Apache-2.0
"""An agent at work: one switch that is up, one session with the NVA.

What the switch should hold follows from the newest view and keys of the NVA and from what was learned; any change only
marks that as dirty, and one worker reconciles. So nothing depends on the order or the number of messages.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import structlog

from nvo3sec.domain.keys.contribution import PeerUpdate
from nvo3sec.domain.keys.usage import Amount
from nvo3sec.domain.mapping.learned import LearnedMappings
from nvo3sec.domain.messages.consistency import consistent
from nvo3sec.domain.messages.holdings import Holdings
from nvo3sec.domain.messages.session import (
    Announcement,
    AttachmentAnswer,
    KeyState,
    KeyUpdate,
    MappingUpdate,
    NewIncarnation,
    NveView,
    ReadBack,
    Registration,
    Report,
    TenantState,
)
from nvo3sec.domain.messages.session import Update as Message
from nvo3sec.domain.switch.numbers import Numbers
from nvo3sec.errors import (
    IncarnationRetired,
    NvaUnreachable,
    Nvo3secError,
    OperatorError,
    WriteRefused,
    cause_of,
)
from nvo3sec.nve.agent_memory import CANNOT, AgentMemory
from nvo3sec.nve.announcer import Announcer
from nvo3sec.nve.audit import EVENT, Audit
from nvo3sec.nve.bringup import BroughtUp
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.confinement import Confinement
from nvo3sec.nve.contributions import PeerContributions, Place
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.drops import DropWatch
from nvo3sec.nve.holdings import TABLES as HOLDINGS_TABLES
from nvo3sec.nve.holdings import holdings_of
from nvo3sec.nve.lease import Lease
from nvo3sec.nve.mappings import MappingLookups
from nvo3sec.nve.moves import MoveHints
from nvo3sec.nve.nva_session import NvaSession
from nvo3sec.nve.path_mtu import PathMtuAnswers
from nvo3sec.nve.places import vap_places
from nvo3sec.nve.plan import MANAGED_TABLES, Plan
from nvo3sec.nve.punts import PuntHandler
from nvo3sec.nve.reconcile import (
    FLOOR_TABLES,
    KEY_TABLES,
    MAPPING_TABLES,
    TENANT_TABLES,
    Outcome,
    Reconciler,
    Wanted,
)
from nvo3sec.nve.switch_keys import SwitchKeys, highest_generation
from nvo3sec.nve.told import Dirty, Told
from nvo3sec.nve.translate import SaName, held_keys, learned_addresses, levels_of, sending_entries
from nvo3sec.nve.use import KeptUse, SendingUse
from nvo3sec.nve.verified import KeptRates, VerifiedWatch
from nvo3sec.p4runtime import SwitchState, Table
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.system.aio import run_together
from nvo3sec.system.uptime import uptime_s

SETTLE_S = 3.0
"""How long is asked about what a switch was found with, before it is reconciled."""
RETRY_FIRST_S, RETRY_LAST_S = 0.2, 5.0


@dataclass
class Kept:
    """What is known of a switch beyond one session: what was installed and learned, ephemeral keys, counters."""

    reconciler: Reconciler
    mappings: LearnedMappings
    peering: PeerContributions
    use: KeptUse = field(default_factory=KeptUse)
    rates: KeptRates = field(default_factory=KeptRates)


class SwitchService:
    """Serves one switch through one session.

    found: what the switch held when the session began. kept: of earlier sessions with the same switch. memory: what is
    attached to the NVE. announcer: brings it back.
    """

    def __init__(
        self,
        driver: SwitchDriver,
        session: NvaSession,
        brought: BroughtUp,
        kept: Kept,
        reading: ClockReading,
        found: SwitchState,
        memory: AgentMemory,
        announcer: Announcer,
    ) -> None:
        self.driver = driver
        self.reconciler = kept.reconciler
        self.lease = Lease(driver, session, memory, reading, found)
        self.keyring = SwitchKeys(found)
        self.told = Told()
        self.outcome: Outcome | None = None
        self.fault = ""
        self._verified = VerifiedWatch(driver.client, kept.rates, self.context, lambda: self._dirty.mark(FLOOR_TABLES))
        self.drops = DropWatch(driver.client, self._verified)
        self._session = session
        self._incarnation = brought.incarnation
        self._peering = kept.peering
        kept.peering.begin_session()
        self._found = found
        self._memory = memory
        self._announcer = announcer
        self._confirmed_view = 0
        self._places: set[tuple[int, int, str, int]] = set()
        self._dirty = Dirty()
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger("nve").bind(nve=driver.client.name)
        self._confinement = Confinement(self._log, session.report)
        self.learning = MappingLookups(
            session,
            kept.mappings,
            lambda: self._dirty.mark(MAPPING_TABLES),
            lambda wanted: self.punts.forget(wanted),
            lambda vni: self.punts.forget_vn(vni),
        )
        self._use = SendingUse(driver, kept.use)
        moves = MoveHints(driver.client.name, session.look_up, session.report)
        path_mtu = PathMtuAnswers(self.learning.mappings.nve_of)
        self.punts = PuntHandler(
            driver, self.learning.look_up, self.install, self.context, self.announce, moves, path_mtu
        )

    async def run(self) -> None:
        """Register, and serve until something breaks. Raises SwitchError, NvaUnreachable, AuthorizationError."""
        now = uptime_s()
        receive, send = held_keys(self._found, self._incarnation, self.lease.reading, now)
        mappings = self.learning.mappings
        attached, seen = tuple(self._memory.attachments.values()), self._memory.marks
        generation = self._memory.generation(self._incarnation) or 0
        await self._session.register(
            Registration(self._incarnation, receive, send, attached, mappings.positions, seen, generation)
        )
        self.learning.begin(learned_addresses(self._found))
        # Not for longer than a lease can wait; what is still in doubt then is asked about beside everything else.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.learning.settle_doubts()
        client, mark, lock = self.driver.client, self._dirty.mark, self._lock
        leases, found = self.lease.leases, self._tell_of_foreign
        audit = Audit(client, self.reconciler, leases, lock, self._incarnation, mark, found)
        await run_together(
            self._follow_nva(),
            self._work(),
            self.lease.keep(self._renew_s, lambda: mark(KEY_TABLES)),
            self._announcer.run(self._session),
            audit.run(),
            self._use.report(self._session, self._incarnation, lock, self._current),
            self.drops.run(self._tell_of_drops, self._confinement),
            self._peering.look(lambda: mark(KEY_TABLES)),
            self.learning.run(),
            self.punts.run(),
        )

    @property
    def view(self) -> NveView | None:
        """What the NVE serves, as the NVA said last."""
        return self.told.view

    def context(self) -> tuple[NveView, Numbers] | None:
        """View and numbers, once the switch has them. VNs are at the level that they have there: that has keys."""
        view, outcome = self.told.view, self.outcome
        if view is None or outcome is None:
            return None
        if view.version != self._confirmed_view:
            levels = levels_of(outcome.actual)
            view = replace(view, vns=tuple(replace(vn, level=levels.get(vn.vni, vn.level)) for vn in view.vns))
        return view, outcome.numbers

    def _current(self) -> tuple[SwitchState, NveView] | None:
        return (self.outcome.actual, self.view) if self.outcome is not None and self.view is not None else None

    def _renew_s(self) -> float:
        return self.view.lease_renew_s if self.view is not None else RETRY_FIRST_S

    @property
    def standing(self) -> tuple[str, ...]:
        """What of all that was told as a state is still so, as the reports say it."""
        return (
            *self.drops.standing(uptime_s()),
            *self._peering.standing,
            *self._announcer.standing,
            *self._confinement.standing,
        )

    @property
    def is_in_sync(self) -> bool:
        """Was the switch read back as it should be, with nothing waiting, and is what it sends up taken?"""
        outcome = self.outcome
        return outcome is not None and outcome.left.is_empty and not self._dirty.is_waiting and self.punts.is_open

    # --- what to do -------------------------------------------------------------------------------------------------

    async def _follow_nva(self) -> None:
        while True:
            update = await self._session.next_update()
            try:
                left_out = self._take(update)
            except Nvo3secError:
                raise
            except Exception as error:  # noqa: BLE001  # one bad message: what was taken before it is still so
                await self._confinement.now(f"message {type(update).__name__}", [cause_of(error)])
                if not isinstance(update, NveView | TenantState):
                    raise NvaUnreachable("what the NVA sends adds up, and cannot be taken; asking anew") from None
                continue
            await self._took(update, left_out)
            if isinstance(update, NveView | PeerUpdate):
                await self._tell_peers()

    def _take(self, update: Message) -> tuple[str, ...]:
        """Returns what of it was left out. Raises IncarnationRetired, NvaUnreachable."""
        left_out: tuple[str, ...] = ()
        match update:
            case NewIncarnation() if update.instead_of == self._incarnation:
                raise IncarnationRetired(
                    f"{self.driver.client.name}: the NVA has no keys for the incarnation of this switch; taking another"
                )
            case NveView():
                view, left_out = consistent(update)
                self.keyring.follow(view)
                self._follow_vns(view)
                self._peering.follow(view, uptime_s())
                self.told.view = view
                self._announcer.follow(view, whole=True)
                self._dirty.mark(MANAGED_TABLES)
            case TenantState() if self.view is not None:
                view, left_out = consistent(
                    replace(self.view, tenant_systems=update.tenant_systems, guards=update.guards)
                )
                self.told.view = view
                self._announcer.follow(view, whole=False)
                self._dirty.mark(TENANT_TABLES)
            case MappingUpdate():
                self.learning.apply(update)
                self._announcer.changed(update.vni)
            case PeerUpdate():
                self._peering.take(update, uptime_s())
                self._dirty.mark(KEY_TABLES if update.proofs else ())
            case KeyState() if update.incarnation == self._incarnation:
                self.told.take_keys(update, uptime_s())
                self._dirty.mark(KEY_TABLES)
            case KeyUpdate():
                self.told.change_keys(update, uptime_s())
                self._dirty.mark(KEY_TABLES)
        return left_out

    async def _took(self, update: Message, left_out: Iterable[str]) -> None:
        await self._confinement.now(f"message {type(update).__name__}", ())
        whys = [f"{what} does not fit to the rest of it, and is left out" for what in left_out]
        if isinstance(update, NveView):
            await self._confinement.now("view", whys)
            await self._confinement.now("tenants", ())
        elif isinstance(update, TenantState):  # of the rest of the view, what was left out still is
            await self._confinement.now("tenants", whys, what="view")

    def _follow_vns(self, view: NveView) -> None:
        """What is known of a VN, and what came from a VAP, is nothing of another VN with its number or its place."""
        names = {vn.vni: vn.name for vn in view.vns}
        for vni in self.learning.mappings.keep_vns(names):
            self.punts.forget_vn(vni)
        with contextlib.suppress(OperatorError):  # a disk that is full; the next session tries again
            self._memory.name_vns(names)
        if (places := vap_places(view)) != self._places:
            self._places = places
            self.punts.close()

    async def _work(self) -> None:
        delay = RETRY_FIRST_S
        while True:
            await self._dirty.wait()
            if self.view is None or self.told.keys is None:
                continue  # half a picture is no reason to touch the switch
            try:
                await self.reconcile(self._dirty.take())
                delay = RETRY_FIRST_S
            except WriteRefused as error:
                refused = [str(one) for one in error.refused]
                self._log.error("switch refused updates", applied=error.applied, refused=refused)
                if str(error) != self.fault:
                    await self._session.report(
                        Report("updates-refused", f"{len(refused)} refused; first: {refused[0]}")
                    )
                self.fault = str(error)
                delay = await self._later(delay)
            except Nvo3secError:
                raise
            except Exception as error:  # noqa: BLE001  # the switch goes on with what it has; nothing is confirmed
                self.fault = cause_of(error)
                await self._confinement.now("reconciliation", [self.fault])
                delay = await self._later(delay)

    async def _later(self, delay: float) -> float:
        """Reconcile everything after `delay` (seconds); returns how long to wait the next time."""
        await asyncio.sleep(delay)
        self._dirty.mark(MANAGED_TABLES)
        return min(delay * 2, RETRY_LAST_S)

    def _wanted(self) -> Wanted:
        view, told = self.view, self.told
        if view is None or told.keys is None:
            raise OperatorError(f"{self.driver.client.name}: the NVA has not said yet what this NVE serves")
        receive, send = self._peering.sort(told.keys, view, uptime_s())
        keys = replace(told.keys, receive=receive, send=send)
        self._peering.refused(self.keyring.take(keys, view, self.lease.reading, told.keys_at))
        # Before the switch has them: what its replay rings can have seen is remembered longer than keys are held.
        wanted = self.keyring.receive
        remembered = self._memory.rings(self._incarnation, max((sa.generation for sa in wanted), default=0))
        seen = highest_generation(self.outcome.actual if self.outcome else self._found, self._incarnation)
        wanted = tuple(sa for sa in wanted if sa.generation <= max(remembered, seen))
        floors = self._verified.floors(view)
        return Wanted(view, self._incarnation, wanted, self.keyring.send, self.learning.mappings.all, floors)

    async def reconcile(self, tables: Iterable[Table] = MANAGED_TABLES) -> Outcome:
        """Make the switch what it should be, in `tables`. Raises WriteRefused, IncarnationLost, SwitchError."""
        async with self._lock:
            chosen = set(tables)
            # Keys, mappings or floors alone touch nothing else; anything more may need new numbers everywhere.
            alone = any(chosen <= set(some) for some in (KEY_TABLES, TENANT_TABLES, FLOOR_TABLES))
            wanted = self._wanted()
            # Nor are keys put where a view wants them of which the switch has nothing else yet.
            scope = chosen if alone and wanted.view.version == self._confirmed_view else set(MANAGED_TABLES)
            lacking = len(wanted.receive) < len(self.keyring.receive)
            why = f"new keys to receive with are not installed: {CANNOT}: {self._memory.fault}"
            await self._confinement.now("keys", [why] if lacking else ())
            await self._tell_peers()  # a sender proves a key before its switch has it, a receiver after
            if (now := self._current()) is not None and self._another_key_follows(wanted):
                await self._use.read(*now)  # else it would be credited with what its predecessor has sent since
            outcome = await self.reconciler.apply(wanted, [table for table in MANAGED_TABLES if table in scope])
            self.outcome = outcome
            self._use.written(outcome.done.updates)
            if scope == set(MANAGED_TABLES):
                # What only could not be added keeps nothing that should be gone.
                if not (outcome.left.removed or outcome.left.altered):
                    self._confirmed_view = wanted.view.version
                if vap_places(wanted.view) == self._places and not self.punts.is_open:
                    # By a reading of now: an older one is less exact, and what comes up until then would be lost.
                    answer = await self.driver.ask_state()
                    self.punts.open(answer.reading.latest_us(uptime_s()))
            for text in self.reconciler.foreign:
                await self._tell_of_foreign(Report(EVENT, text))
            if not outcome.done.is_empty:
                self._log.info("reconciled", updates=len(outcome.done.updates), left=len(outcome.left.updates))
            if outcome.left.is_empty:
                self.fault = ""
                await self._confinement.now("reconciliation", ())
            read_back = self._read_back(outcome)
            # The proof of a key before the word that it is in the switch: with that the sender is told to use it.
            await self._tell_peers(read_back.receive)
            await self._session.read_back(read_back)
            self.lease.ready()
            if outcome.refused is not None:
                raise outcome.refused
            return outcome

    async def _tell_of_foreign(self, report: Report) -> None:
        self._log.error("not as it was left", what=report.event, detail=report.detail)
        await self._session.report(report)

    async def _tell_of_drops(self, report: Report) -> None:
        self._log.error("frames dropped", what=report.event, detail=report.detail)
        await self._session.report(report)

    def _another_key_follows(self, wanted: Wanted) -> bool:
        now = sending_entries(self.outcome.actual, wanted.view).values() if self.outcome else ()
        return not {name for _, name in now} <= {(sa.peer, sa.suite, sa.spi) for sa in wanted.send}

    async def _tell_peers(self, installed: Iterable[Place] = ()) -> None:
        news = self._peering.news(frozenset(installed))
        if news is not None:
            await self._session.peer_news(news)
        for report in self._peering.reports():
            self._log.warning("peer refused", what=report.event, detail=report.detail)
            await self._session.report(report)

    async def preview(self) -> Plan:
        """What `reconcile` would do; nothing is written."""
        async with self._lock:
            return await self.reconciler.preview(self._wanted())

    def _read_back(self, outcome: Outcome) -> ReadBack:
        """What the NVA may take as confirmed: keys of this incarnation that were read from the switch."""
        receive, send = held_keys(outcome.actual, self._incarnation, self.lease.reading, uptime_s())
        names = {peer.address: peer.name for peer in self.view.peers} if self.view else {}
        return ReadBack(
            self._incarnation,
            tuple((names[one.source], one.suite, one.held.spi) for one in receive if one.source in names),
            tuple((names[one.destination], one.suite, one.held.spi) for one in send if one.destination in names),
            self._confirmed_view,
        )

    async def holdings(self) -> Holdings:
        """What the switch holds for its tunnels, read now. Raises SwitchError."""
        client = self.driver.client
        async with self._lock:
            state = await client.read(HOLDINGS_TABLES, groups=False)
            counters = {table: await client.direct_counters(table) for table in KEY_TABLES}
            answer = await self.driver.ask_state()
            use = self._use.of(state, self.view, counters[Table.SA_TX])
        peers = {peer.address: peer.name for peer in self.view.peers} if self.view else {}
        return holdings_of(
            client.name,
            state,
            counters,
            answer.reading,
            agrees=answer.agrees,
            peers=peers,
            use=use,
            last_use=self._use.last,
            now=uptime_s(),
        )

    async def sent(self) -> tuple[dict[Pairs, CounterValue], dict[SaName, Amount]]:
        """The counters of the sending entries, read now, and what of them is each SA's. Raises SwitchError."""
        async with self._lock:  # no entry gets another key between the entry and its counter
            counters = await self.driver.client.direct_counters(Table.SA_TX)
            return counters, self._use.of(self.outcome.actual, self.view, counters) if self.outcome else {}

    # --- mappings ---------------------------------------------------------------------------------------------------

    async def install(self) -> None:
        """Have the switch reach what was learned just now."""
        try:
            await self.reconcile(MAPPING_TABLES)
        except WriteRefused:
            self._dirty.mark(MANAGED_TABLES)  # what the switch holds now is for the worker to find out
            raise

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        """Tell the NVA of a tenant system that comes, goes or moves. Raises NvaUnreachable, AuthorizationError."""
        return await self._session.announce(announcement)
