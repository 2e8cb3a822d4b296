# SPDX-License-Identifier: Apache-2.0
"""The agent of one NVE: owns the connection to its switch, follows the NVA, and fails closed when either is gone.

The switch stays in hand while the NVA is away: its primary client is the one who reads and writes keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from nvo3sec.domain.mapping import Reason
from nvo3sec.domain.mapping.learned import LearnedMappings
from nvo3sec.domain.messages.holdings import Holdings
from nvo3sec.domain.messages.session import Announcement, Attachment, AttachmentAnswer, NveView, Release, Sign, Standing
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.switch.status import AgentStatus
from nvo3sec.errors import (
    AuthorizationError,
    ClockFellBehind,
    IncarnationRetired,
    NotPrimary,
    NvaGoneBack,
    NvaUnreachable,
    Nvo3secError,
    OperatorError,
    PipelineRefused,
    VersionMismatch,
    cause_of,
)
from nvo3sec.nve.agent_memory import AgentMemory, Place
from nvo3sec.nve.announcer import Announcer, State
from nvo3sec.nve.bringup import BroughtUp, Retired, bring_up
from nvo3sec.nve.clock import ClockReading, watch_clock
from nvo3sec.nve.contributions import PeerContributions, PeerKeysMaker
from nvo3sec.nve.counters import CountersRead
from nvo3sec.nve.driver import SwitchDriver
from nvo3sec.nve.nva_session import NvaConnector
from nvo3sec.nve.reconcile import Reconciler
from nvo3sec.nve.service import RETRY_FIRST_S, RETRY_LAST_S, Kept, SwitchService
from nvo3sec.p4runtime import Artifacts, Operation, SwitchClient, Table, Update
from nvo3sec.program import generated as p4
from nvo3sec.system.aio import Backoff, run_together
from nvo3sec.system.repeats import Repeats
from nvo3sec.system.uptime import uptime_s

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class SwitchAddress:
    """What an agent must know before it has an NVA: its own name, and where its switch is (`unix:PATH`)."""

    name: str
    p4runtime: str
    device_id: int


class NveAgent:
    """The agent of `nve`. `run` it for ever; the other methods may be called meanwhile."""

    def __init__(
        self,
        nve: SwitchAddress,
        connect_nva: NvaConnector,
        artifacts: Artifacts,
        *,
        random_bytes: Callable[[int], bytes],
        memory: AgentMemory | None = None,
        make_peer_keys: PeerKeysMaker | None = None,
        peer_keys_required: bool = False,
    ) -> None:
        """memory: what is attached; None: nothing outlives the process. The last two: see `PeerContributions`."""
        self.nve = nve
        self._memory = memory or AgentMemory(nve.name)
        self._connect_nva = connect_nva
        self._artifacts = artifacts
        self._random_bytes = random_bytes
        self._make_peer_keys = make_peer_keys
        self._peer_keys_required = peer_keys_required
        self._log = structlog.get_logger("nve").bind(nve=nve.name)
        self._brought: BroughtUp | None = None
        self._serving: SwitchService | None = None
        self._announcer = Announcer(nve.name, self._memory)
        self._retired: Retired | None = None
        self._fault = "not started"
        self._told = Repeats()
        """Why it was said that the switch is not served; nothing once it has been. It is tried again for ever."""
        self.broken = 0
        """How often something went wrong that nobody had thought of."""

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the switch, and begin again whenever that ends."""
        backoff = Backoff(RETRY_FIRST_S * 2, RETRY_LAST_S)
        while True:
            backoff.begin()
            try:
                await self._hold_switch()
            except Exception as error:  # noqa: BLE001  # whatever a switch or an NVA says must not end the process
                self._note(error)
            await asyncio.sleep(backoff.pause_s())

    def _note(self, error: Exception) -> None:
        is_unforeseen = not isinstance(error, Nvo3secError)
        self.broken += is_unforeseen
        why = cause_of(error)
        self._fault = why
        again = self._told.again(why, uptime_s())
        if again is None:
            return
        alarming = is_unforeseen or isinstance(error, NotPrimary | NvaGoneBack | PipelineRefused | VersionMismatch)
        log = self._log.error if alarming else self._log.warning
        log("not serving", error=why + again, kind=type(error).__name__)

    async def _hold_switch(self) -> None:
        nve = self.nve
        client = await SwitchClient.connect(
            nve.name, nve.p4runtime, nve.device_id, self._artifacts, timeout_s=CONNECT_TIMEOUT_S
        )
        try:
            driver = SwitchDriver(client)
            await run_together(driver.pump(), self._until_broken(client), self._use_switch(driver))
        finally:
            self._brought = None
            await client.close()

    async def _until_broken(self, client: SwitchClient) -> None:
        raise await client.until_broken()

    async def _use_switch(self, driver: SwitchDriver) -> None:
        try:
            required = self._peer_keys_required
            brought = await bring_up(
                driver,
                self._random_bytes,
                self._memory.generation,
                self._retired,
                lambda incarnation: not required or self._memory.is_mixed_only(incarnation),
            )
        except PipelineRefused as error:
            # The server is inconsistent now; only a new process of it can be trusted.
            self._note(error)
            raise await driver.client.until_broken() from None
        self._brought = brought
        if not brought.adopted:
            self._memory.rings(brought.incarnation, 0 if brought.emptied else self._memory.highest)
        self._memory.mixed_only(brought.incarnation if required else b"")
        # Ephemeral keys end with the incarnation, not with a session.
        peering = PeerContributions(
            self.nve.name, brought.incarnation, self._make_peer_keys, required=required, memory=self._memory
        )
        kept = Kept(Reconciler(driver), LearnedMappings(self.nve.name), peering)

        async def read_clock() -> ClockReading:
            return (await driver.ask_state()).reading

        try:
            await run_together(watch_clock(self.nve.name, read_clock), self._serve_again(driver, brought, kept))
        except IncarnationRetired:
            self._retired = Retired(brought.incarnation, "the NVA has no keys for it")
            raise
        except ClockFellBehind:
            self._retired = Retired(brought.incarnation, "its limits end too late")
            # At once, and not only when it is begun anew: it still carries traffic.
            await driver.client.write([Update(Operation.MODIFY, p4.lease_no_lease())])
            raise

    async def _serve_again(self, driver: SwitchDriver, brought: BroughtUp, kept: Kept) -> None:
        """Serve the switch, again and again, until it is not what it was any more."""
        backoff = Backoff(RETRY_FIRST_S * 2, RETRY_LAST_S)
        while True:
            backoff.begin()
            try:
                await self._serve(driver, brought, kept)
            except (NvaUnreachable, AuthorizationError) as error:
                self._note(error)
            except Nvo3secError:
                raise
            except Exception as error:  # noqa: BLE001  # of the session, perhaps: the switch stays in hand
                self._note(error)
            await asyncio.sleep(backoff.pause_s())

    async def _serve(self, driver: SwitchDriver, brought: BroughtUp, kept: Kept) -> None:
        session = await self._connect_nva()
        try:
            reading = (await driver.ask_state()).reading
            found = await driver.client.read()
            self._serving = SwitchService(driver, session, brought, kept, reading, found, self._memory, self._announcer)
            self._fault = ""
            await self._serving.run()
        finally:
            if self._serving is not None and self._serving.outcome is not None:
                self._told = Repeats()
            self._serving = None
            await session.close()

    # --- operator ---------------------------------------------------------------------------------------------------

    def status(self) -> AgentStatus:
        """The agent as it is now."""
        brought, serving = self._brought, self._serving
        if brought is None:
            return AgentStatus(self.nve.name, fault=self._fault)
        known = AgentStatus(
            nve=self.nve.name,
            connected=True,
            adopted=brought.adopted,
            incarnation=brought.incarnation[:4].hex(),
            fault=self._fault,
        )
        return known if serving is None else self._serving_status(known, serving)

    def _serving_status(self, known: AgentStatus, serving: SwitchService) -> AgentStatus:
        now = uptime_s()
        outcome, keyring = serving.outcome, serving.keyring
        lease = serving.lease.not_after_us
        limits = {f"receive {sa.peer} {sa.spi:08x}": sa.not_after_us for sa in keyring.receive}
        limits |= {f"send {sa.peer} {sa.spi:08x}": sa.not_after_us for sa in keyring.send}
        return AgentStatus(
            nve=known.nve,
            connected=True,
            nva=True,
            adopted=known.adopted,
            incarnation=known.incarnation,
            incarnation_agrees=serving.lease.agrees,
            lease_left_s=None if lease is None else serving.lease.reading.remaining_s(lease, now),
            in_sync=serving.is_in_sync,
            entries_expected=len(outcome.desired) if outcome else 0,
            entries_actual=len(outcome.actual.entries) + len(outcome.actual.groups) if outcome else 0,
            differences=tuple(update.describe() for update in outcome.left.updates) if outcome else (),
            foreign=serving.reconciler.foreign,
            learned=len(serving.learning.mappings),
            punts=dict(serving.punts.counts),
            packets_lost=serving.driver.client.packets_lost + serving.driver.punts_lost,
            fault=serving.fault or known.fault,
            alarms=serving.drops.alarms(now),
            standing=serving.standing,
            limits_s={name: serving.lease.reading.remaining_s(end, now) for name, end in limits.items()},
        )

    def _working(self) -> SwitchService:
        if self._serving is None:
            raise OperatorError(f"{self.nve.name} is not being served: {self._fault}")
        return self._serving

    async def reconcile(self, *, dry_run: bool) -> tuple[str, ...]:
        """Reconcile now; returns the updates that were made, or with `dry_run` would be. Raises OperatorError."""
        serving = self._working()
        plan = await serving.preview() if dry_run else (await serving.reconcile()).done
        return tuple(update.describe() for update in plan.updates)

    async def holdings(self) -> Holdings:
        """What the switch holds for its tunnels, read now. Raises OperatorError, SwitchError."""
        return await self._working().holdings()

    # --- tenant systems -----------------------------------------------------------------------------------------------

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What is attached to this NVE, as it was announced."""
        return tuple(self._memory.attachments.values())

    def state(self, attachment: Attachment) -> State:
        """How an attachment stands, and what it waits for."""
        return self._announcer.state(attachment)

    async def forget(self, place: Place) -> None:
        """Announce this attachment no more; nothing is said to the NVA. Raises OperatorError."""
        async with self._announcer.lock:
            self._memory.drop(place)

    def view(self) -> NveView:
        """What the NVE serves. Raises OperatorError while the NVA has not said it."""
        view = self._working().view
        if view is None:
            raise OperatorError(f"the NVA has not said yet what {self.nve.name} serves")
        return view

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        """Announce a tenant system that comes, goes or moves. When it returns, NVA and agent remember it.

        Raises OperatorError, NvaUnreachable, AuthorizationError; nobody knows then what the NVA has taken, and the next
        session makes it what this agent remembers.
        """
        async with self._announcer.lock:
            # A sign is not remembered.
            with contextlib.nullcontext() if isinstance(announcement, Sign) else self._memory.room():
                answer = await self._working().announce(announcement)
                self._memory.give_room()
                try:
                    self._remember(announcement, answer)
                except OperatorError as error:
                    why = str(error).removesuffix("; nothing was changed")
                    raise OperatorError(
                        f"the NVA has taken it ({answer.standing.value}), and {self.nve.name} could not write it down:"
                        f" {why}; its next session has the NVA go back to what was written down before"
                    ) from None
            self._announcer.answered(announcement, answer)
            return answer

    def _remember(self, announcement: Announcement, answer: AttachmentAnswer) -> None:
        if answer.standing is Standing.REFUSED:
            if isinstance(announcement, Release) and answer.reason == Reason.UNKNOWN.value:
                # An operator has evicted it, or it was never taken: else the next session would announce it again.
                self._memory.drop((announcement.port, announcement.vlan, announcement.mac))
            return
        match announcement:
            case Sign():
                pass  # nothing was attached
            case Attachment():
                self._memory.put(announcement)
            case Release():
                self._memory.drop((announcement.port, announcement.vlan, announcement.mac))
            case _:
                there = announcement.to
                self._memory.move((announcement.port, announcement.vlan, there.mac), there)

    async def counters(self) -> CountersRead:
        """Read the counters of the switch. Raises OperatorError, SwitchError."""
        serving = self._working()
        client = serving.driver.client
        tables = (Table.SA_RX, Table.VAP, Table.VN_INGRESS_AUTHORIZATION)
        direct = {table: await client.direct_counters(table) for table in tables}
        entries, sent = await serving.sent()
        names: dict[int, str] = {}
        sequences: dict[str, int] = {}
        addresses: dict[int, UnderlayAddress] = {}
        own: tuple[UnderlayAddress, ...] = ()
        if (context := serving.context()) is not None:
            view, numbers = context
            peers = {peer.address: peer.name for peer in view.peers}
            for address, number in numbers.tunnels.items():
                names[number] = peers.get(address, str(address))
                sequences[names[number]] = (await serving.driver.ask_state(number)).sequence
            addresses, own = {number: address for address, number in numbers.peers.items()}, view.addresses
            names |= {number: f"port {port} vlan {vlan}" for (port, vlan, _), number in numbers.vaps.items()}
        drops, statistics = await client.drop_counters(), await client.statistics()
        direct = {**direct, Table.SA_TX: entries}
        return CountersRead(self.nve.name, drops, direct, names, sequences, addresses, own, sent, statistics)
