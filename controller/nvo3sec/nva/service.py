# SPDX-License-Identifier: Apache-2.0
"""The NVA of a domain: takes what agents say, runs the life of the keys, tells each agent what its switch needs."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from nvo3sec.domain.limits import TokenBucket
from nvo3sec.domain.membership import Membership, Tunnel
from nvo3sec.domain.messages import (
    KeyState,
    LeaseGrant,
    Lookup,
    LookupAnswer,
    LookupResult,
    ReadBack,
    Registration,
    Report,
)
from nvo3sec.domain.model import Domain, Rate
from nvo3sec.domain.sa import (
    Direction,
    Event,
    ReceiverDown,
    ReceiverRead,
    ReceiverUp,
    SenderDown,
    SenderRead,
    SenderUp,
)
from nvo3sec.errors import AuthorizationError, OperatorError
from nvo3sec.nva.keys import KeyService
from nvo3sec.nva.mappings import Mappings
from nvo3sec.nva.session import NvaSideSession
from nvo3sec.nva.store.memory import HISTORY_BYTES, MemoryStore
from nvo3sec.nva.views import view_of

TICK_S = 0.2
LOOKUP_RATE = Rate(500, 1000)
"""Lookups that one NVE may make."""
REPORTS_KEPT = 1000


@dataclass(frozen=True)
class ReportRecord:
    """A report, whose it was, and when it came (seconds, monotonic)."""

    nve: str
    at: float
    report: Report


class Nva:
    """One NVA in memory. It talks to agents through `NvaSideSession`, one for each authenticated connection.

    clock: monotonic seconds. wall_seconds: coarse wall time, for generations only. random_bytes: a cryptographic
    source.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_seconds: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._domain = domain
        self._clock = clock
        self._log = structlog.get_logger("nva").bind(domain=domain.name)
        self._membership = Membership(domain)
        self._mappings = Mappings(domain, self._membership)
        store = MemoryStore(random_bytes(HISTORY_BYTES))
        self._keys = KeyService(
            domain,
            self._membership,
            store,
            store.load(),
            random_bytes=random_bytes,
            wall_seconds=wall_seconds,
            now=clock(),
        )
        self._sessions: dict[str, NvaSideSession] = {}
        self._incarnations: dict[str, bytes] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self._version = 0
        self.reports: deque[ReportRecord] = deque(maxlen=REPORTS_KEPT)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def open_session(self, identity: str) -> NvaSideSession:
        """A session for the NVE that the transport has authenticated as `identity`. Raises AuthorizationError."""
        if identity not in self._domain.nve_by_name:
            raise AuthorizationError(f"{identity} is not an NVE of {self._domain.name}")
        return NvaSideSession(identity, self)

    def register(self, session: NvaSideSession, registration: Registration) -> None:
        """Take a session as the one of its NVE; an older one of the same NVE is heard no more."""
        nve, now = session.nve, self._clock()
        self._sessions[nve] = session
        self._incarnations[nve] = registration.incarnation
        self._log.info("nve registered", nve=nve, receives=len(registration.receive), sends=len(registration.send))
        session.push_view(view_of(self._domain, self._membership, nve, self._next_version()))
        for tunnel in self._keys.tunnels_of(nve):
            self._feed(tunnel, _up(self._domain, tunnel, nve, registration), now)
        self._push_keys([nve])

    def closed(self, session: NvaSideSession) -> None:
        """A session ended. Its switch goes on until its lease ends."""
        if self._sessions.get(session.nve) is not session:
            return
        del self._sessions[session.nve]
        self._log.warning("nve disconnected", nve=session.nve)
        for tunnel in self._keys.tunnels_of(session.nve):
            self._feed(tunnel, SenderDown() if tunnel.sender == session.nve else ReceiverDown(), self._clock())

    def read_back(self, session: NvaSideSession, report: ReadBack) -> None:
        """A switch was read: that is what confirms keys."""
        nve = session.nve
        if not self._is_current(session) or report.incarnation != self._incarnations.get(nve):
            return
        for tunnel in self._keys.tunnels_of(nve):
            if tunnel.receiver == nve:
                spis = {spi for peer, suite, spi in report.receive if (peer, suite) == (tunnel.sender, tunnel.suite)}
                self._feed(tunnel, ReceiverRead(frozenset(spis)), self._clock())
            else:
                sends = [spi for peer, suite, spi in report.send if (peer, suite) == (tunnel.receiver, tunnel.suite)]
                self._feed(tunnel, SenderRead(sends[0] if sends else None), self._clock())

    def renew_lease(self, session: NvaSideSession) -> LeaseGrant:
        """Time for the tunnels of an NVE. Raises AuthorizationError for one that is not registered."""
        if not self._is_current(session):
            raise AuthorizationError(f"{session.nve} is not registered through this session")
        return LeaseGrant(self._domain.lifetimes.lease_s)

    def look_up(self, session: NvaSideSession, query: Lookup) -> LookupAnswer:
        """A mapping, for an NVE that serves the VN."""
        now = self._clock()
        bucket = self._buckets.setdefault(session.nve, TokenBucket(LOOKUP_RATE, now))
        if not bucket.take(now):
            return LookupAnswer(LookupResult.BUSY, 1.0)
        answer = self._mappings.look_up(session.nve, query)
        if answer.result is LookupResult.REFUSED:
            self.report(session, Report("lookup-refused", f"asked about VNI {query.vni}, which it does not serve"))
        return answer

    def report(self, session: NvaSideSession, report: Report) -> None:
        """Keep a report and log it."""
        self.reports.append(ReportRecord(session.nve, self._clock(), report))
        self._log.warning("report", nve=session.nve, what=report.event, detail=report.detail)

    def _is_current(self, session: NvaSideSession) -> bool:
        return self._sessions.get(session.nve) is session

    # --- keys -------------------------------------------------------------------------------------------------------

    def _feed(self, tunnel: Tunnel, event: Event, now: float) -> None:
        self._push_keys(self._keys.feed(tunnel, event, now))

    def _push_keys(self, nves: Iterable[str]) -> None:
        for nve in nves:
            session = self._sessions.get(nve)
            if session is not None:
                session.push_keys()

    def key_state(self, session: NvaSideSession) -> KeyState:
        """The keys of the switch of a session, derived for the incarnation it registered with."""
        if not self._is_current(session):
            raise AuthorizationError(f"{session.nve} is not registered through this session")
        receive, send = self._keys.for_nve(session.nve, self._clock())
        return KeyState(self._next_version(), self._incarnations[session.nve], receive, send)

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def tick(self) -> None:
        """Let time go by."""
        self._push_keys(self._keys.tick(self._clock()))

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    # --- operator ---------------------------------------------------------------------------------------------------

    def rotate(self, nves: Iterable[str] = ()) -> int:
        """Ask for new keys in every direction between `nves` (all, if none are named); returns how many directions.

        Raises OperatorError for a name that is no NVE.
        """
        names = set(nves)
        unknown = names - set(self._domain.nve_by_name)
        if unknown:
            raise OperatorError(
                f"no such NVE: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(self._domain.nve_by_name))}"
            )
        chosen = [
            tunnel
            for tunnel in self._keys.directions
            if not names
            or (len(names) == 1 and names & {tunnel.sender, tunnel.receiver})
            or (len(names) > 1 and {tunnel.sender, tunnel.receiver} <= names)
        ]
        self._push_keys(self._keys.rotate(chosen, self._clock()))
        return len(chosen)

    def directions(self) -> tuple[Direction, ...]:
        """The life of every key, for the status."""
        return tuple(self._keys.directions[tunnel] for tunnel in sorted(self._keys.directions))

    @property
    def registered(self) -> tuple[str, ...]:
        """NVEs that are connected."""
        return tuple(sorted(self._sessions))


def _up(domain: Domain, tunnel: Tunnel, nve: str, registration: Registration) -> Event:
    if tunnel.receiver == nve:
        source = domain.nve_by_name[tunnel.sender].address
        held = [one.held for one in registration.receive if (one.source, one.suite) == (source, tunnel.suite)]
        return ReceiverUp(registration.incarnation, tuple(held))
    destination = domain.nve_by_name[tunnel.receiver].address
    sends = [one.held for one in registration.send if (one.destination, one.suite) == (destination, tunnel.suite)]
    return SenderUp(registration.incarnation, sends[0] if sends else None)
