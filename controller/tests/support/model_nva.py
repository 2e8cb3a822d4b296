# SPDX-License-Identifier: Apache-2.0
"""The real NVA over the real store, as a process that dies where one wants; and what lies between it and its agents."""

from __future__ import annotations

import asyncio
import base64
import pickle
import random
import shutil
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nvo3sec.domain.keys.contribution import PeerNews, PeerUpdate
from nvo3sec.domain.messages import key_changes
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
    ReadBack,
    Registration,
    Report,
    StoreMark,
    TenantState,
    Update,
    Use,
)
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import AuthorizationError, NvaUnreachable
from nvo3sec.nva import Nva
from nvo3sec.nva.nva import TICK_S
from nvo3sec.nva.service import AgentService
from nvo3sec.nva.sessions.agent_session import NvaSideSession
from nvo3sec.nva.store import Point, SqliteStore, StoreError, open_store
from nvo3sec.nve.agent_memory import AgentMemory

T = TypeVar("T")

CALL_S = 10.0
"""How long an agent waits for an answer, and either end for a sign of life of the other."""


def file_of(domain: Domain) -> str:
    """The text of the file of a domain, in which nobody here looks for anything."""
    return base64.b64encode(pickle.dumps(replace(domain))).decode()


def domain_of(file: str) -> Domain:
    """The domain of a file."""
    domain: Domain = pickle.loads(base64.b64decode(file))  # noqa: S301  # written by the function above
    return domain


class Killed(BaseException):
    """The process of the NVA ends here, like with kill -9: nothing handles this, and nothing is tidied up."""


class NvaHost:
    """Starts and kills NVAs. directory: where the store is now; it moves with every death, so that what the dead
    process still does to its files hurts nobody.

    die_in: how many more points of the store the process passes before it dies. watch: told of each point.
    """

    def __init__(
        self,
        directory: Path,
        domain: Domain,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random,
        store: Path | None = None,
    ) -> None:
        """store: directory of a store to begin with a copy of."""
        self.domain = domain
        self._base = directory
        self._generation = 0
        self._clock, self._wall, self._random = clock, wall, rng
        self.nva: Nva | None = None
        self.die_in: int | None = None
        self.points: list[Point] = []
        self._store: SqliteStore | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._living: object | None = None
        self.lines: set[Line] = set()
        self.on_death: Callable[[], None] = lambda: None
        self.watch: Callable[[Point], None] = lambda _: None
        if store is None:
            self.directory.mkdir(parents=True)
        else:
            shutil.copytree(store, self.directory)

    @property
    def agents(self) -> AgentService | None:
        """What serves agents in the process that lives."""
        return None if self.nva is None else self.nva.agents

    @property
    def directory(self) -> Path:
        """Directory of the store as it is."""
        return self._base / f"{self._generation}"

    # --- life and death ----------------------------------------------------------------------------------------------

    def start(self, *, new_term: bool = False) -> bool:
        """Start a process; returns whether it lives (it may die while it opens its store). Raises StoreError."""
        assert self.nva is None
        living = self._living = object()

        def at(point: Point) -> None:
            if self._living is not living:
                raise Killed
            self.points.append(point)
            self.watch(point)
            if self.die_in is not None:
                self.die_in -= 1
                if self.die_in < 0:
                    self.die_in = None
                    self.kill()
                    raise Killed

        try:
            self._store = open_store(
                self.directory / "db" / "nva.sqlite",
                self.directory / "keys",
                self.domain.name,
                start_new_term=new_term,
                random_bytes=self._random.randbytes,
                at=at,
            )
            before = self._store.domain_file
            self.nva = Nva(
                self.domain,
                self._store,
                file=file_of(self.domain),
                before=domain_of(before) if before else None,
                clock=self._clock,
                wall_seconds=self._wall,
                random_bytes=self._random.randbytes,
            )
        except Killed:
            return False
        self._ticking = asyncio.get_running_loop().create_task(self._tick(self.nva))
        return True

    async def _tick(self, nva: Nva) -> None:
        while self.nva is nva:
            try:
                nva.tick()
            except Killed:
                return
            await asyncio.sleep(TICK_S)

    def kill(self) -> None:
        """kill -9: what is on the disk at this moment is what the next process finds."""
        copy = self._base / f"{self._generation + 1}"
        shutil.copytree(self.directory, copy)
        old, self._generation = self.directory, self._generation + 1
        self._living = self.nva = None
        if self._store is not None:
            self._store.close()
            self._store = None
        shutil.rmtree(old, ignore_errors=True)
        for line in list(self.lines):
            line.cut("the connection was reset")
        self.on_death()

    def do(self, what: Callable[[Nva], T]) -> T | None:
        """What an operator or an agent has this NVA do; None if it dies of it. Raises what `what` raises."""
        if self.nva is None:
            raise NvaUnreachable("connection refused")
        try:
            return what(self.nva)
        except Killed:
            return None

    def close(self) -> None:
        """End quietly."""
        self._living = self.nva = None
        if self._store is not None:
            self._store.close()
        shutil.rmtree(self._base, ignore_errors=True)

    # --- backups -----------------------------------------------------------------------------------------------------

    def back_up(self, name: str, parts: tuple[str, ...]) -> None:
        """Copy parts of the store ("db", "keys") away, while it is not open."""
        for part in parts:
            shutil.copytree(self.directory / part, self._base / name / part)

    def restore(self, name: str, parts: tuple[str, ...]) -> None:
        """Put them back, while it is not open."""
        for part in parts:
            shutil.rmtree(self.directory / part)
            shutil.copytree(self._base / name / part, self.directory / part)


class Link:
    """The network between an agent and the NVA. delay_s: how long a message takes."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self.admitted = True
        """Whether the agent's certificate is good."""

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def part(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def cross(self) -> None:
        """Bring one message across; waits while there is no way."""
        await self._open.wait()
        await asyncio.sleep(self.delay_s)


class Line:
    """One session of one agent, with the network in between. Satisfies `nve.nva_session.NvaSession`, and takes the
    newest state of each kind for the older ones, as the session over gRPC does."""

    def __init__(self, host: NvaHost, nve: str, link: Link, memory: AgentMemory) -> None:
        self._host = host
        self._nve = nve
        self._link = link
        self._memory = memory
        self._side: NvaSideSession | None = None
        self._ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self._retired: NewIncarnation | None = None
        self._view: NveView | None = None
        self._tenants: TenantState | None = None
        self._mappings: deque[MappingUpdate] = deque()
        self._peers: deque[PeerUpdate] = deque()
        self._keys: KeyState | KeyUpdate | None = None
        self._keys_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.registered = False
        host.lines.add(self)

    # --- the ends of it ----------------------------------------------------------------------------------------------

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
            self._news.set()
        self.registered = False
        self._host.lines.discard(self)
        for task in self._tasks:
            task.cancel()

    def cut(self, why: str) -> None:
        """The connection breaks, and the agent notices."""
        self._end(NvaUnreachable(why))

    async def close(self) -> None:
        """The agent ends it, or has died; the NVA notices at once if there is a way, or after a while."""
        side, self._side = self._side, None
        self._end(NvaUnreachable("closed"))
        if side is not None and self._host.agents is side._handler:
            if self._link.is_open:
                self._host.do(lambda _: side._handler.closed(side))
            else:
                asyncio.get_running_loop().call_later(CALL_S, self._noticed, side)

    def _noticed(self, side: NvaSideSession) -> None:
        if self._host.agents is side._handler:
            self._host.do(lambda nva: nva.agents.closed(side))

    async def _watch_link(self) -> None:
        """Either end gives up when nothing comes for too long."""
        parted_at: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            if self._link.is_open:
                parted_at = None
            elif parted_at is None:
                parted_at = loop.time()
            elif loop.time() >= parted_at + CALL_S:
                side = self._side
                self._end(NvaUnreachable("nothing comes any more"))
                if side is not None:
                    self._noticed(side)
                return

    # --- calls of the agent ------------------------------------------------------------------------------------------

    async def _until_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a call, or why the session ended."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._ended), timeout=CALL_S, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if self._ended.done():
                raise self._ended.result()
            raise NvaUnreachable("no answer in time")
        finally:
            task.cancel()

    async def _ask(self, what: Callable[[NvaSideSession], T]) -> T:
        async def there_and_back() -> T:
            await self._link.cross()
            side = self._side
            if side is None or self._host.agents is not side._handler:
                raise NvaUnreachable("the connection was reset")
            result = self._host.do(lambda _: what(side))
            await self._link.cross()
            if self._host.agents is not side._handler:
                raise NvaUnreachable("the connection was reset")
            return result  # type: ignore[return-value]  # None only if the NVA has died

        try:
            return await self._until_ended(there_and_back())
        except StoreError:
            raise NvaUnreachable("the NVA has failed") from None

    async def register(self, registration: Registration) -> None:
        await self._until_ended(self._link.cross())
        if not self._link.admitted:
            raise AuthorizationError(f"the certificate of {self._nve} is revoked")
        side = self._side = self._host.do(lambda nva: nva.agents.open_session(self._nve))
        if side is None:
            raise NvaUnreachable("the connection was reset")
        self._memory.compare(side.mark, side.known(registration.seen))
        self._memory.see(side.mark)
        self._host.do(lambda nva: nva.agents.register(side, registration))
        if self._host.agents is not side._handler:
            raise NvaUnreachable("the connection was reset")
        self.registered = True
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one) for one in (self._follow(side), self._obey(side), self._watch_link())]

    async def _obey(self, side: NvaSideSession) -> None:
        await side.ended.wait()
        await self._link.cross()
        self._end(AuthorizationError(side.why))

    async def _follow(self, side: NvaSideSession) -> None:
        while True:
            try:
                update = await side.next_update()
            except Killed:
                return
            except (AuthorizationError, StoreError) as error:
                self._end(error if isinstance(error, AuthorizationError) else NvaUnreachable(str(error)))
                return
            await self._link.cross()
            match update:
                case NewIncarnation():
                    self._retired = update
                case NveView():
                    self._view, self._tenants = update, None
                case TenantState():
                    self._tenants = update
                case MappingUpdate():
                    self._mappings.append(update)
                case PeerUpdate():
                    self._peers.append(update)
                case KeyUpdate() if self._keys is not None:
                    age_s = asyncio.get_running_loop().time() - self._keys_at
                    self._keys = key_changes.after(self._keys, update, age_s)
                case _:
                    self._keys = update
                    self._keys_at = asyncio.get_running_loop().time()
            self._news.set()

    async def next_update(self) -> Update:
        await self._news.wait()
        if self._ended.done():
            raise self._ended.result()
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
        if not (self._retired or self._view or self._tenants or self._mappings or self._peers or self._keys):
            self._news.clear()
        assert update is not None
        return update

    async def read_back(self, report: ReadBack) -> None:
        await self._ask(lambda side: side._handler.read_back(side, report))

    async def used(self, use: Use) -> None:
        await self._ask(lambda side: side._handler.used(side, use))

    async def peer_news(self, news: PeerNews) -> None:
        await self._ask(lambda side: side._handler.peer_news(side, news))

    async def report(self, report: Report) -> None:
        await self._ask(lambda side: side._handler.report(side, report))

    async def renew_lease(self, seen: Sequence[StoreMark] = ()) -> LeaseGrant:
        grant = await self._ask(lambda side: side._handler.renew_lease(side, seen))
        self._memory.see(grant.mark)
        return grant

    async def look_up(self, query: Lookup) -> LookupAnswer:
        return await self._ask(lambda side: side._handler.look_up(side, query))

    async def announce(self, announcement: Announcement) -> AttachmentAnswer:
        async def there_and_back() -> AttachmentAnswer:
            await self._link.cross()
            if self._side is None:
                raise NvaUnreachable("the connection was reset")
            answer = await self._side.announce(announcement)
            await self._link.cross()
            return answer

        try:
            return await self._until_ended(there_and_back())
        except StoreError:
            raise NvaUnreachable("the NVA has failed") from None
