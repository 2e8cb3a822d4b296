# SPDX-License-Identifier: Apache-2.0
"""An NVA that relays contributions, and agents that do what they do, without switches."""

from __future__ import annotations

import asyncio
import dataclasses
import os

from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.keys.contribution import (
    Own,
    PeerKeys,
    PeerUpdate,
)
from nvo3sec.domain.keys.sa import Held
from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import HeldReceive, HeldSend, KeyState, KeyUpdate, NveView, ReadBack, Registration
from nvo3sec.domain.overlay.model import TunnelKeys
from nvo3sec.domain.switch.desired import InstalledReceive, InstalledSend
from nvo3sec.nva import Nva
from nvo3sec.nva.store.memory import HISTORY_BYTES, MemoryStore
from nvo3sec.nve.clock import ClockReading
from nvo3sec.nve.contributions import PeerContributions
from nvo3sec.nve.switch_keys import SwitchKeys
from peer_world import DOMAIN as NAME
from peer_world import PeerWorld

DOMAIN = dataclasses.replace(load_domain(example_path()), name=NAME, tunnel_keys=TunnelKeys.NVA_AND_PEER)


LEAVES = ("leaf1", "leaf2", "leaf3")


class Ended(Exception):
    """The agent's process is no more."""


class Agent:
    """An agent and its switch, which takes everything that it is given at once."""

    def __init__(self, overlay: Overlay, name: str, *, required: bool = False) -> None:
        self.overlay = overlay
        self.name = name
        self.incarnation = os.urandom(16)
        self.receive: tuple[InstalledReceive, ...] = ()
        self.send: tuple[InstalledSend, ...] = ()
        self.history: list[tuple[InstalledSend, ...]] = []
        self.reports: list[str] = []
        self.required = required
        self.ends_at = 0
        self.start()

    def start(self) -> None:
        """A new process: nothing in memory, the switch as it is."""
        self.peering = PeerContributions(self.name, self.incarnation, self._keys, required=self.required)
        self.keyring = SwitchKeys(None)
        # What `SwitchKeys` would have found in the switch.
        self.keyring._began, self.keyring.send = True, self.send
        self.view: NveView | None = None
        self.keys: KeyState | None = None

    def _keys(self, name, addresses, incarnation) -> PeerKeys:
        lab = self.overlay.lab
        own = Own(DOMAIN.name, name, addresses, incarnation)
        return PeerKeys(
            own,
            signer=lab.signer(name),
            verifier=lab.verifier(),
            random_bytes=os.urandom,
            wall_seconds=lab.now,
        )

    async def register(self) -> None:
        now = self.overlay.now
        self.peering.begin_session()
        address = {nve.name: nve.address for nve in DOMAIN.nves}
        receive = [
            HeldReceive(address[sa.peer], sa.suite, Held(sa.spi, sa.generation, (sa.not_after_us / 1e6) - now))
            for sa in self.receive
        ]
        send = [
            HeldSend(address[sa.peer], sa.suite, Held(sa.spi, 0, (sa.not_after_us / 1e6) - now)) for sa in self.send
        ]
        self.session = self.overlay.nva.agents.open_session(self.name)
        await self.session.register(Registration(self.incarnation, tuple(receive), tuple(send)))

    async def step(self) -> bool:
        """Take one update, if there is one."""
        if not self.session._news.is_set():
            return False
        try:
            update = await asyncio.wait_for(self.session.next_update(), 0.05)
        except TimeoutError:
            return True
        now = self.overlay.now
        match update:
            case NveView():
                self.view = update
                self.peering.follow(update, now)
            case PeerUpdate():
                self.peering.take(self.overlay.tamper(self.name, update), now)
            case KeyState():
                self.keys = update
            case KeyUpdate():
                assert self.keys is not None
                self.keys = key_changes.after(self.keys, update, 0.0)
        if self.view is None or self.keys is None:
            await self.tell(())
            return True
        while self.peering.check(now)[0]:
            pass
        receive, send = self.peering.sort(self.keys, self.view, now)
        await self.tell(())
        held = {(sa.peer, sa.spi): sa for sa in self.receive}
        keys = dataclasses.replace(self.keys, receive=receive, send=send)
        self.keyring.take(keys, self.view, ClockReading(0, 0.0, 0.0), now)
        # `SwitchKeys` finds in the switch what it cannot make.
        found = [held[sa.peer, sa.spi] for sa in receive if sa.key is None and (sa.peer, sa.spi) in held]
        self.receive = (*self.keyring.receive, *found)
        self.send = self.keyring.send
        self.history.append(self.send)
        places = tuple((sa.peer, sa.suite, sa.spi) for sa in self.receive)
        self.crash(1)
        await self.tell(places)
        self.crash(2)
        sends = tuple((sa.peer, sa.suite, sa.spi) for sa in self.send)
        await self.session.read_back(ReadBack(self.incarnation, places, sends))
        return True

    def crash(self, stage: int) -> None:
        """Where a test wants the agent to end."""
        if self.ends_at == stage:
            raise Ended

    async def tell(self, installed) -> None:
        news = self.peering.news(frozenset(installed))
        if news is not None:
            await self.session.peer_news(self.overlay.tamper_up(self.name, news))
        self.reports += [f"{one.event}: {one.detail}" for one in self.peering.reports()]


class Overlay:
    """`tamper`: what the NVA's relay does to what it relays."""

    def __init__(self, lab: PeerWorld, **options) -> None:
        self.lab = lab
        self.now = 1000.0
        self.tamper = lambda _name, update: update
        self.tamper_up = lambda _name, news: news
        self.agents: dict[str, Agent] = {}
        self.options = options
        self.domain = DOMAIN
        self.start_nva()

    def start_nva(self) -> None:
        self.nva = Nva(
            self.domain,
            MemoryStore(os.urandom(HISTORY_BYTES)),
            clock=lambda: self.now,
            wall_seconds=self.lab.now,
            random_bytes=os.urandom,
        )

    async def join(self, *names: str) -> None:
        for name in names:
            self.agents[name] = Agent(self, name, **self.options)
            await self.agents[name].register()
        await self.settle()

    async def settle(self, *only: str) -> None:
        """Until nobody has news."""
        for _ in range(10_000):
            moved = False
            for name in only or tuple(self.agents):
                moved |= await self.step(name)
            if not moved:
                return
        raise AssertionError("it does not come to rest")

    async def step(self, name: str) -> bool:
        agent = self.agents[name]
        try:
            moved = await agent.step()
        except Ended:
            await self.restart(name)
            moved = True
        self.assert_nothing_is_lost()
        return moved

    async def restart(self, name: str) -> None:
        """The agent's process ends and begins anew; its switch is not asked."""
        agent = self.agents[name]
        agent.ends_at = 0
        await agent.session.close()
        agent.start()
        await agent.register()

    async def after(self, seconds: float) -> None:
        self.now += seconds
        self.nva.tick()
        await self.settle()

    def open_tunnels(self) -> set[tuple[str, str]]:
        """(sender, receiver) of each direction in which a packet would be taken."""
        return {
            (sender, sa.peer)
            for sender, agent in self.agents.items()
            for sa in agent.send
            for other in self.agents[sa.peer].receive
            if (other.peer, other.spi, other.key) == (sender, sa.spi, sa.key)
        }

    def assert_nothing_is_lost(self) -> None:
        """Whatever a switch sends with, its peer's receives."""
        for sender, agent in self.agents.items():
            for sa in agent.send:
                keys = {(one.peer, one.spi): one.key for one in self.agents[sa.peer].receive}
                assert keys.get((sender, sa.spi)) == sa.key, f"{sender} to {sa.peer}"
