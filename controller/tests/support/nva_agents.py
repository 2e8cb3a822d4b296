# SPDX-License-Identifier: Apache-2.0
"""Agents of an NVA in this process: they do as they are told, at once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import MappingProxyType

from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import (
    KeyState,
    KeyUpdate,
    MappingUpdate,
    NewIncarnation,
    NveView,
    ReadBack,
    Registration,
    TenantState,
)
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.nva import Nva
from nvo3sec.nva.store import Certificate, MemoryStore, StoreUnavailable

DOMAIN = load_domain(example_path())


def incarnation_of(name: str) -> bytes:
    return name.encode().ljust(16, b".")


INCARNATIONS = MappingProxyType({name: incarnation_of(name) for name in ("leaf1", "leaf2", "leaf3")})


def counting_bytes():
    counter = itertools.count(1)
    return lambda length: next(counter).to_bytes(length, "big")


def certificate_of(name: str) -> Certificate:
    return Certificate(name, "CN=an authority", f"{sum(name.encode()):x}")


class Failing(MemoryStore):
    """Fails when it is told to, as a disk does."""

    broken = False

    def commit(self, changes):
        if self.broken and changes:
            raise StoreUnavailable("the disk is full")
        return super().commit(changes)


class Agents:
    """Agents that do as they are told, at once."""

    def __init__(self, domain: Domain = DOMAIN, store=None, **arguments) -> None:
        self.now = 100.0
        arguments = {"wall_seconds": lambda: 0.0, "random_bytes": counting_bytes()} | arguments
        self.nva = Nva(domain, store or MemoryStore(b"h" * 16), clock=lambda: self.now, **arguments)
        self.sessions = {}
        self.views: dict[str, NveView] = {}
        self.keys: dict[str, KeyState] = {}
        self.mappings: dict[str, list[MappingUpdate]] = {}
        self.retired: list[bytes] = []

    async def join(self, *names: str, registration: Registration | None = None, certificates: bool = False) -> None:
        for name in names:
            session = self.nva.agents.open_session(name, certificate_of(name) if certificates else None)
            await session.register(registration or Registration(incarnation_of(name)))
            self.sessions[name] = session
        await self.settle()

    async def settle(self) -> None:
        """Fetch and confirm until nothing is new."""
        changed = True
        while changed:
            changed = False
            for name, session in self.sessions.items():
                while not session.ended.is_set() and (update := session.update_now()) is not None:
                    changed = True
                    if isinstance(update, NveView):
                        self.views[name] = update
                    elif isinstance(update, TenantState):
                        view = self.views[name]
                        self.views[name] = replace(view, tenant_systems=update.tenant_systems, guards=update.guards)
                    elif isinstance(update, MappingUpdate):
                        self.mappings.setdefault(name, []).append(update)
                    elif isinstance(update, NewIncarnation):
                        self.retired.append(update.instead_of)
                    else:
                        if isinstance(update, KeyUpdate):
                            update = key_changes.after(self.keys[name], update, 0.0)
                        self.keys[name] = update
                        await session.read_back(
                            ReadBack(
                                update.incarnation,
                                tuple((sa.peer, sa.suite, sa.spi) for sa in update.receive),
                                tuple((sa.peer, sa.suite, sa.spi) for sa in update.send),
                                self.views[name].version,
                            )
                        )

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.nva.tick()


def hang(agents: Agents, nve: str):
    """From now on its agent takes nothing and says nothing. Returns its session, which the NVA still has."""
    return agents.sessions.pop(nve)
