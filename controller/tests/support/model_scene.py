# SPDX-License-Identifier: Apache-2.0
"""NVA, agents and switches in one process, in time that is simulated: their processes, and who of them is well.

Real: the NVA, its store, the agents with all that they decide. Modelled: the data plane (`model_switch`), P4Runtime
(`model_client`), the network and the deaths of the NVA (`model_nva`). `model_observer` says what must hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any, Self

from model_client import Plug
from model_domain import LIFE, VNS, address_of, make_domain
from model_nva import Killed, Line, Link, NvaHost
from model_observer import UNREVOKED, Bounds, Observer, Violation
from model_switch import Packet, Switch
from model_time import CURRENT, VirtualLoop
from nvo3sec.domain.overlay.level_changes import LOWEST, Subject
from nvo3sec.domain.overlay.model import Domain, Level
from nvo3sec.errors import Nvo3secError
from nvo3sec.nva.store import StoreError, StoreRolledBack
from nvo3sec.nve import NveAgent
from nvo3sec.nve.agent import SwitchAddress
from nvo3sec.nve.agent_memory import AgentMemory
from nvo3sec.p4runtime import Entry, Update

TOUCH_S = 7.0
"""After this time without a break, an agent has found its switch and its NVA again (it tries every 5 s at least)."""
SETTLE_S = 25.0
"""After this time without a break, everybody has heard of everything, and every key is there."""
BEARABLE_S = LIFE.lease_s - LIFE.lease_renew_s - 3.0
"""So long an agent may be out of touch before its lease can end."""
PROBE_S = 1.0
WALL_S = 1_700_000_100.0


class Site:
    """One NVE: its switch, its agent, its way to the NVA. in_touch_since, healthy_since: see `World`."""

    def __init__(self, name: str, switch: Switch, plug: Plug) -> None:
        self.name = name
        self.switch = switch
        self.plug = plug
        self.link = Link()
        self.memory = AgentMemory(name)
        self.agent: NveAgent | None = None
        self.task: asyncio.Task[None] | None = None
        self.line: Line | None = None
        self.die_in: int | None = None
        self.in_touch_since: float | None = None
        self.last_settled = -1e9
        self.disturbed_at = 0.0


class Scene:
    """All of it. Whoever does something to it from outside lets time pass afterwards (`pass_time`).

    in touch: agent, switch, NVA and the way between them are up. An NVE is healthy if it has not been disturbed for
    `SETTLE_S`; being out of touch for less than a lease is no disturbance.
    """

    def __init__(self, directory: Path, seed: int = 1, count: int = 3, store: Path | None = None) -> None:
        """store: what the NVA begins with, if with anything."""
        self.loop = VirtualLoop()
        self.random = random.Random(seed)
        self.names = tuple(f"leaf{number}" for number in range(count))
        self.absent: set[tuple[str, str]] = set()
        self.readdressed: set[str] = set()
        self.levels: dict[Subject, Level] = {}
        domain = make_domain(self.names)
        self.wall_jump_s = 0.0
        self.revoked: set[str] = set()
        self.being_revoked: set[str] = set()
        self.suspended: set[str] = set()
        self.held: list[Packet] = []
        self.under_way: list[Packet] = []
        self.recorded: list[Packet] = []
        self.holds_packets = False
        self.backups = 0
        self.went_back = False
        self.violation: Violation | None = None
        self.probes = 0
        self._adopt()
        bounds = Bounds(LIFE.lease_s, LIFE.key_hard_s, LIFE.grace_s, SETTLE_S)
        self.observer = Observer(self.names, self.loop.time, self.told_since, bounds)
        self.sites = {name: self._make_site(name) for name in self.names}
        self.observer.name_of = {int(address_of(n, other=other)): n for n in self.names for other in (False, True)}
        self.host = self.loop.run(self._make_host(directory, domain, store))

    def begin(self, settle_s: float = TOUCH_S + SETTLE_S + 2) -> Self:
        """Everybody starts, and gets to know everybody."""
        self._adopt()
        self.start_nva()
        for name in self.names:
            self.start_agent(name)
        self.loop.create_task(self._background())
        self.pass_time(settle_s)
        return self

    async def _make_host(self, directory: Path, domain: Domain, store: Path | None) -> NvaHost:
        host = NvaHost(directory, domain, self.loop.time, self.wall, self.random, store)
        host.on_death = self._touch
        return host

    def _make_site(self, name: str) -> Site:
        asyncio.set_event_loop(self.loop)
        switch = Switch(name, self.loop.time)
        site = Site(name, switch, Plug(switch, lambda: self.random.random() < 0.5))
        site.plug.before_call = lambda: self._before_call(site)
        switch.on_push = lambda one: self.observer.registers_reset(one)
        inner = site.switch.write

        def write(update: Update) -> str:
            item = update.item
            before = site.switch.entries.get(item.key) if isinstance(item, Entry) else None
            site.switch.on_update = lambda switch, one: self.observer.updated(switch, one, before)
            why = inner(update)
            if not why:
                self.probe(of=name)
            return why

        site.switch.write = self._guarded(write)  # type: ignore[method-assign]
        return site

    def _guarded(self, work: Any) -> Any:
        """A violation that is seen inside of an agent's call must not get lost in the agent."""

        def guarded(*arguments: Any) -> Any:
            try:
                return work(*arguments)
            except Violation as violation:
                self.violation = self.violation or violation
                raise

        return guarded

    def wall(self) -> float:
        """The wall clock of the NVA."""
        return WALL_S + self.loop.moment + self.wall_jump_s

    def _adopt(self) -> None:
        """It is this world's turn."""
        CURRENT.loop = self.loop
        asyncio.set_event_loop(self.loop)
        if hasattr(self, "sites"):
            CURRENT.switches = {name: site.plug for name, site in self.sites.items()}

    def close(self) -> None:
        """End everything."""
        self._adopt()
        self.loop.run(self._close())
        self.loop.end()
        asyncio.set_event_loop(None)

    async def _close(self) -> None:
        for name in self.names:
            await self._stop_agent(name)
        self.host.close()

    # --- time --------------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that happens in so many seconds. Raises Violation."""
        self._adopt()
        self.loop.pass_time(seconds)
        self.check()

    def check(self) -> None:
        """Raise what was found out meanwhile."""
        if self.violation is not None:
            raise self.violation
        for failure in self.loop.failures:
            error = failure.get("exception")
            if isinstance(error, Violation):
                raise error
            if error is not None and not isinstance(error, Killed | Nvo3secError | StoreError):
                raise AssertionError(f"something broke: {failure['message']}") from error
        self.loop.failures.clear()
        for name in self.names:
            task = self.sites[name].task
            if task is not None and task.done() and not task.cancelled():
                raise AssertionError(f"the agent of {name} ended") from task.exception()
        nva = self.host.nva
        if nva is not None and not self.went_back and not self.revoked <= set(nva.administration.excluded):
            self.observer.fail(
                UNREVOKED, f"{self.revoked} are revoked, and the NVA shuts out {set(nva.administration.excluded)}"
            )

    async def _background(self) -> None:
        while True:
            self._touch()
            with contextlib.suppress(Violation):  # it is kept
                self._guarded(self._traffic)()
            await asyncio.sleep(PROBE_S)

    def _traffic(self) -> None:
        """What is sent every `PROBE_S`."""
        raise NotImplementedError

    def probe(self, of: str | None = None) -> None:
        """Send what must arrive; see `Traffic`."""
        raise NotImplementedError

    # --- who is well -------------------------------------------------------------------------------------------------

    def _is_in_touch(self, site: Site) -> bool:
        line = site.line
        return (
            self.host.nva is not None
            and site.task is not None
            and site.switch.running
            and site.link.is_open
            and line is not None
            and line.registered
        )

    def _touch(self) -> None:
        """Keep the account of who is in touch, and since when."""
        now = self.loop.moment
        for site in self.sites.values():
            if not self._is_in_touch(site):
                site.in_touch_since = None
            elif site.in_touch_since is None:
                site.in_touch_since = now
            if site.in_touch_since is not None and not site.switch.full and now >= site.in_touch_since + TOUCH_S:
                site.last_settled = now
            elif now > site.last_settled + BEARABLE_S or site.switch.full:
                site.disturbed_at = now

    def told_since(self, name: str) -> float | None:
        """Since when an NVE has heard everything at once; None if it does not."""
        self._touch()
        return self.sites[name].in_touch_since

    def disturb(self, *names: str) -> None:
        """What is done now may stop traffic of these, or of all."""
        for name in names or self.names:
            self.sites[name].disturbed_at = self.loop.moment

    def healthy(self) -> set[str]:
        """The NVEs whose traffic among each other must pass."""
        self._touch()
        now = self.loop.moment
        out = self.revoked | self.being_revoked | self.suspended
        return {n for n, site in self.sites.items() if n not in out and now >= site.disturbed_at + SETTLE_S}

    def shared(self, name: str, peer: str) -> set[int]:
        """The VNs (VNIs) that two NVEs serve."""
        return {vni for vn, vni in VNS if (name, vn) not in self.absent and (peer, vn) not in self.absent}

    def address(self, name: str) -> int:
        """The outer address of an NVE."""
        return int(address_of(name, other=name in self.readdressed))

    def wanted_level(self, one: str, other: str, vn: str) -> Level:
        """What the operator wants between two NVEs in a VN."""
        pair = (min(one, other), max(one, other))
        return max(self.levels.get((vn,), LOWEST), self.levels.get(pair, LOWEST))

    # --- processes ---------------------------------------------------------------------------------------------------

    async def _start_nva(self, *, new_term: bool = False) -> bool:
        return self.host.start(new_term=new_term)

    def start_nva(self, *, new_term: bool = False) -> bool:
        """Start one; whether it lives. Raises StoreError."""
        self._adopt()
        if not self.loop.run(self._start_nva(new_term=new_term)):
            return False
        for name in self.suspended - self.revoked:
            # It does not get in, but the new NVA does not know that it must be shut out, and others may still hear it.
            self.observer.shut_out.pop(name, None)
        return True

    def kill_nva(self) -> None:
        """kill -9."""
        if self.host.nva is not None:
            self.host.kill()
        self._touch()

    def ensure_nva(self) -> None:
        """Start it until it lives; with a new term if an old database was put in its place."""
        while self.host.nva is None:
            try:
                self.start_nva()
            except StoreRolledBack:
                self.disturb()
                self.start_nva(new_term=True)

    def _before_call(self, site: Site) -> Any:
        if site.die_in is None:
            return None
        site.die_in -= 1
        if site.die_in >= 0:
            return None
        site.die_in = None
        self.loop.call_soon(lambda: self.loop.create_task(self._stop_agent(site.name)))
        return asyncio.Event().wait()

    def start_agent(self, name: str) -> None:
        """Start the agent, unless it runs."""
        site = self.sites[name]
        if site.task is not None:
            return
        self._adopt()

        async def start() -> None:
            async def connect_nva() -> Line:
                await site.link.cross()
                if self.host.nva is None:
                    self.host.do(lambda _: None)  # which is refused
                site.line = Line(self.host, name, site.link, site.memory)
                return site.line

            site.agent = NveAgent(
                SwitchAddress(name, f"model:{name}", 1),
                connect_nva,
                None,  # type: ignore[arg-type]  # the pipeline is the model's
                random_bytes=self.random.randbytes,
                memory=site.memory,
            )
            site.task = self.loop.create_task(site.agent.run())

        self.loop.run(start())

    async def _stop_agent(self, name: str) -> None:
        site = self.sites[name]
        task, site.task, site.agent, site.line = site.task, None, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def kill_agent(self, name: str) -> None:
        """kill -9: what it was about to do is not done. What it remembers on its disk is there."""
        self._adopt()
        self.loop.run(self._stop_agent(name))
