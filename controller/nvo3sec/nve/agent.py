# SPDX-License-Identifier: Apache-2.0
"""The agent of one NVE: owns the connection to its switch, follows the NVA, and fails closed when either is gone.

What the switch should hold follows from the newest view and keys of the NVA and from what was learned; any change only
marks that as dirty, and one worker reconciles. So nothing depends on the order or the number of messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from nvo3sec.aio import run_together
from nvo3sec.domain.desired import Learned
from nvo3sec.domain.messages import KeyState, Lookup, LookupResult, NveView, ReadBack, Registration, Report
from nvo3sec.domain.model import Nve
from nvo3sec.domain.numbers import Numbers
from nvo3sec.errors import IncarnationLost, Nvo3secError, OperatorError, PipelineRefused, WriteRefused
from nvo3sec.nve.bringup import BroughtUp, bring_up
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.keyring import Keyring
from nvo3sec.nve.nva import NvaConnector, NvaSession
from nvo3sec.nve.plan import MANAGED_TABLES
from nvo3sec.nve.punts import PuntHandler
from nvo3sec.nve.reconcile import KEY_TABLES, MAPPING_TABLES, Outcome, Reconciler, Wanted
from nvo3sec.nve.translate import held_keys, learned_addresses
from nvo3sec.p4runtime import Artifacts, Operation, SwitchClient, Table, Update
from nvo3sec.p4runtime import generated as p4
from nvo3sec.p4runtime.entry import CounterValue, Pairs
from nvo3sec.p4runtime.generated import Counter as P4Counter
from nvo3sec.p4runtime.generated import DropReason

AUDIT_S = 60.0
"""How often the whole switch is read, changed or not."""
RETRY_FIRST_S, RETRY_LAST_S = 0.2, 5.0


@dataclass(frozen=True)
class AgentStatus:
    """What an operator may know of an agent. No keys."""

    nve: str
    connected: bool = False
    adopted: bool = False
    incarnation: str = ""
    """First 4 of 16 bytes, hexadecimal: enough to see that it changed."""
    incarnation_agrees: bool = False
    lease_left_s: float | None = None
    in_sync: bool = False
    entries_expected: int = 0
    entries_actual: int = 0
    differences: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    learned: int = 0
    punts: dict[str, int] = field(default_factory=dict)
    packets_lost: int = 0
    fault: str = ""
    limits_s: dict[str, float] = field(default_factory=dict)
    """Seconds to the hard limit of each key in the switch, by "receive" or "send", peer and SPI."""


@dataclass(frozen=True)
class SwitchCounters:
    """Counters of a switch: drops by pipeline and reason; direct counters by table and match fields."""

    nve: str
    drops: dict[P4Counter, dict[DropReason, CounterValue]]
    direct: dict[Table, dict[Pairs, CounterValue]]
    interfaces: dict[int, str]
    """Peer or VAP of each overlay interface."""


@dataclass
class _Live:
    """Everything that exists only while the switch is connected."""

    driver: SwitchDriver
    session: NvaSession
    brought: BroughtUp
    keyring: Keyring
    reconciler: Reconciler
    reading: ClockReading
    view: NveView | None = None
    keys: KeyState | None = None
    numbers: Numbers | None = None
    outcome: Outcome | None = None
    learned: dict[tuple[int, int], Learned] = field(default_factory=dict)
    lease_not_after_us: int | None = None
    agrees: bool = True
    dirty: set[Table] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    punts: PuntHandler | None = None


class NveAgent:
    """The agent of `nve`. `run` it for ever; the other methods may be called meanwhile."""

    def __init__(
        self, nve: Nve, connect_nva: NvaConnector, artifacts: Artifacts, *, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.nve = nve
        self._connect_nva = connect_nva
        self._artifacts = artifacts
        self._random_bytes = random_bytes
        self._log = structlog.get_logger("nve").bind(nve=nve.name)
        self._live: _Live | None = None
        self._fault = "not started"

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the switch, and begin again whenever that ends."""
        delay = RETRY_FIRST_S
        while True:
            began = time.monotonic()
            try:
                await self._serve()
            except Nvo3secError as error:
                if str(error) != self._fault:
                    self._log.warning("not serving", error=str(error), kind=type(error).__name__)
                self._fault = str(error)
            delay = RETRY_FIRST_S if time.monotonic() - began > RETRY_LAST_S else min(delay * 2, RETRY_LAST_S)
            await asyncio.sleep(delay)

    async def _serve(self) -> None:
        client = await SwitchClient.connect(
            self.nve.name, self.nve.p4runtime, self.nve.device_id, self._artifacts, timeout_s=5.0
        )
        try:
            driver = SwitchDriver(client)
            await run_together(driver.pump(), self._until_broken(client), self._serve_switch(driver))
        finally:
            self._live = None
            await client.close()

    async def _until_broken(self, client: SwitchClient) -> None:
        raise await client.until_broken()

    async def _serve_switch(self, driver: SwitchDriver) -> None:
        try:
            brought = await bring_up(driver, self._random_bytes)
        except PipelineRefused as error:
            # The server is inconsistent now; only a new process of it can be trusted.
            self._fault = str(error)
            self._log.error("pipeline refused; restart the switch", error=str(error))
            raise await driver.client.until_broken() from None
        session = await self._connect_nva()
        try:
            live = _Live(driver, session, brought, Keyring(brought.found), Reconciler(driver), brought.reading)
            await self._register(live)
            self._live, self._fault = live, ""
            live.punts = PuntHandler(driver, session, lambda one: self._install(live, one), lambda: _context(live))
            await run_together(
                self._follow_nva(live), self._work(live), self._keep_lease(live), self._audit(live), live.punts.run()
            )
        finally:
            await session.close()

    async def _register(self, live: _Live) -> None:
        found = live.brought.found
        if found is None:
            await live.session.register(Registration(live.brought.incarnation))
            return
        receive, send = held_keys(found, live.brought.incarnation, live.reading, time.monotonic())
        await live.session.register(Registration(live.brought.incarnation, receive, send))
        # What the switch reaches through tunnels was learned once; ask again rather than forget it.
        for vni, mac in learned_addresses(found):
            answer = await live.session.look_up(Lookup(vni, mac=mac))
            if answer.result is LookupResult.FOUND:
                live.learned[vni, mac] = Learned(vni, answer.mac, answer.nve, answer.ips)

    # --- what to do -------------------------------------------------------------------------------------------------

    async def _follow_nva(self, live: _Live) -> None:
        while True:
            update = await live.session.next_update()
            if isinstance(update, NveView):
                live.view = update
                self._mark(live, set(Table))
            elif update.incarnation == live.brought.incarnation:
                live.keys = update
                self._mark(live, set(KEY_TABLES))

    def _mark(self, live: _Live, tables: set[Table]) -> None:
        live.dirty |= tables
        live.wake.set()

    async def _work(self, live: _Live) -> None:
        delay = RETRY_FIRST_S
        while True:
            await live.wake.wait()
            live.wake.clear()
            if live.view is None or live.keys is None:
                continue  # half a picture is no reason to touch the switch
            tables, live.dirty = live.dirty, set()
            try:
                await self._reconcile(live, tables)
                delay = RETRY_FIRST_S
            except WriteRefused as error:
                self._fault = str(error)
                self._log.error(
                    "switch refused updates", applied=error.applied, refused=[str(r) for r in error.refused]
                )
                await live.session.report(Report("updates-refused", f"{len(error.refused)} refused"))
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_LAST_S)
                self._mark(live, set(Table))

    def _wanted(self, live: _Live) -> Wanted:
        if live.view is None or live.keys is None:
            raise OperatorError(f"{self.nve.name}: the NVA has not said yet what this NVE serves")
        live.keyring.take(live.keys, live.view, live.reading, time.monotonic())
        return Wanted(
            live.view,
            live.brought.incarnation,
            live.keyring.receive,
            live.keyring.send,
            tuple(live.learned.values()),
        )

    async def _reconcile(self, live: _Live, tables: set[Table]) -> Outcome:
        async with live.lock:
            # New numbers may be needed for more than keys, so anything but keys or mappings alone means everything.
            scope = tables if tables <= set(KEY_TABLES) or tables <= set(MAPPING_TABLES) else set(Table)
            outcome = await live.reconciler.apply(self._wanted(live), _managed(scope))
            live.numbers, live.outcome = outcome.numbers, outcome
            for text in live.reconciler.foreign:
                self._log.error("foreign entry", what=text)
                await live.session.report(Report("foreign-entry", text))
            if outcome.done.updates:
                self._log.info("reconciled", updates=len(outcome.done.updates), left=len(outcome.left.updates))
            if outcome.left.is_empty:
                self._fault = ""
            await live.session.read_back(_read_back(live, outcome))
            return outcome

    async def _install(self, live: _Live, learned: Learned) -> None:
        live.learned[learned.vni, learned.mac] = learned
        await self._reconcile(live, set(MAPPING_TABLES))

    # --- what keeps going -------------------------------------------------------------------------------------------

    async def _keep_lease(self, live: _Live) -> None:
        """Renew the lease as long as the NVA answers and the switch is what it was."""
        while True:
            asked_at = time.monotonic()
            grant = await live.session.renew_lease()
            answer = await live.driver.ask_state()
            live.reading, live.agrees = answer.reading, answer.agrees
            if not answer.agrees:
                raise IncarnationLost(f"{self.nve.name}: registers and entry disagree; the pipeline was reset")
            if live.outcome is not None:
                not_after = answer.reading.deadline_us(asked_at, grant.duration_s)
                await live.driver.client.write([Update(Operation.MODIFY, p4.lease_grant(not_after=not_after))])
                live.lease_not_after_us = not_after
                await asyncio.sleep(live.view.lease_renew_s if live.view else 1.0)
            else:
                await asyncio.sleep(RETRY_FIRST_S)

    async def _audit(self, live: _Live) -> None:
        while True:
            await asyncio.sleep(AUDIT_S)
            self._mark(live, set(Table))

    # --- operator ---------------------------------------------------------------------------------------------------

    def status(self) -> AgentStatus:
        """The agent as it is now."""
        live = self._live
        if live is None:
            return AgentStatus(self.nve.name, fault=self._fault)
        now = time.monotonic()
        lease = None
        if live.lease_not_after_us is not None:
            lease = live.reading.remaining_s(live.lease_not_after_us, now)
        outcome = live.outcome
        limits = {f"receive {sa.peer} {sa.spi:08x}": sa.not_after_us for sa in live.keyring.receive}
        limits |= {f"send {sa.peer} {sa.spi:08x}": sa.not_after_us for sa in live.keyring.send}
        return AgentStatus(
            nve=self.nve.name,
            connected=True,
            adopted=live.brought.adopted,
            incarnation=live.brought.incarnation[:4].hex(),
            incarnation_agrees=live.agrees,
            lease_left_s=lease,
            in_sync=outcome is not None and outcome.left.is_empty and not live.wake.is_set(),
            entries_expected=len(outcome.desired) if outcome else 0,
            entries_actual=len(outcome.actual.entries) + len(outcome.actual.groups) if outcome else 0,
            differences=tuple(update.describe() for update in outcome.left.updates) if outcome else (),
            foreign=live.reconciler.foreign,
            learned=len(live.learned),
            punts=dict(live.punts.counts) if live.punts else {},
            packets_lost=live.driver.client.packets_lost + live.driver.punts_lost,
            fault=self._fault,
            limits_s={name: live.reading.remaining_s(end, now) for name, end in limits.items()},
        )

    def _connected(self) -> _Live:
        if self._live is None:
            raise OperatorError(f"{self.nve.name}: no connection to the switch: {self._fault}")
        return self._live

    async def reconcile(self, *, dry_run: bool) -> tuple[str, ...]:
        """Reconcile now; returns the updates that were made, or with `dry_run` would be. Raises OperatorError."""
        live = self._connected()
        if dry_run:
            async with live.lock:
                plan = await live.reconciler.preview(self._wanted(live))
        else:
            plan = (await self._reconcile(live, set(Table))).done
        return tuple(update.describe() for update in plan.updates)

    async def counters(self) -> SwitchCounters:
        """Read the counters of the switch. Raises OperatorError, SwitchError."""
        live = self._connected()
        client = live.driver.client
        tables = (Table.SA_RX, Table.SA_TX, Table.VAP, Table.VN_INGRESS_AUTHORIZATION)
        direct = {table: await client.direct_counters(table) for table in tables}
        names: dict[int, str] = {}
        if live.numbers is not None and live.view is not None:
            peers = {peer.address: peer.name for peer in live.view.peers}
            names = {number: peers.get(address, str(address)) for address, number in live.numbers.tunnels.items()}
            names |= {number: f"port {port} vlan {vlan}" for (port, vlan, _), number in live.numbers.vaps.items()}
        return SwitchCounters(self.nve.name, await client.drop_counters(), direct, names)


def _context(live: _Live) -> tuple[NveView, Numbers] | None:
    return (live.view, live.numbers) if live.view is not None and live.numbers is not None else None


def _managed(scope: set[Table]) -> tuple[Table, ...]:
    return tuple(table for table in MANAGED_TABLES if table in scope)


def _read_back(live: _Live, outcome: Outcome) -> ReadBack:
    """What the NVA may take as confirmed: keys of this incarnation that were read from the switch."""
    receive, send = held_keys(outcome.actual, live.brought.incarnation, live.reading, time.monotonic())
    names = {peer.address: peer.name for peer in live.view.peers} if live.view else {}
    return ReadBack(
        live.brought.incarnation,
        tuple((names[one.source], one.suite, one.held.spi) for one in receive if one.source in names),
        tuple((names[one.destination], one.suite, one.held.spi) for one in send if one.destination in names),
    )
