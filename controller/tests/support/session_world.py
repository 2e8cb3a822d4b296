# SPDX-License-Identifier: Apache-2.0
"""An NVA that serves agents over real TLS, in one process with them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from nvo3sec.domain.messages.session import (
    QuestionKind,
    Registration,
)
from nvo3sec.domain.messages.versions import Speaks
from nvo3sec.errors import Nvo3secError, OperatorError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.names import Role
from nvo3sec.identity.server import SecureServer
from nvo3sec.nva import Nva
from nvo3sec.nva.store import MemoryStore
from nvo3sec.operator.calls import CALLS
from nvo3sec.transport.credentials import NvaAddress, live_peers, load_device
from nvo3sec.transport.methods import DomainMembership, access_table
from nvo3sec.transport.operator_server import OperatorTransport
from nvo3sec.transport.session_client import RemoteNva
from nvo3sec.transport.session_server import NvaTransport

INCARNATION = bytes(range(1, 17))


async def refuse(**_parameters: Any) -> Any:
    raise OperatorError("not asked here")


class Service:
    """An NVA that serves, in this process."""

    def __init__(self, identities: Any, speaks: Speaks | None = None) -> None:
        self.identities = identities
        self.nva = Nva(identities.domain, MemoryStore(b"h" * 16), random_bytes=secrets.token_bytes)
        place = identities.place(Role.NVA, "nva1")
        device = load_device(place, identities.domain.name, Purpose.SERVER, Role.NVA)
        membership = DomainMembership(identities.domain.name, lambda: self.nva.state.membership)
        self.server = SecureServer(device, live_peers(place, device), access_table(), membership)
        self.transport = NvaTransport(self.nva.agents, speaks)
        self.transport.add_to(self.server.grpc)
        OperatorTransport(dict.fromkeys(CALLS, refuse)).add_to(self.server.grpc)
        self.port = 0

    def agent(self, nve: str, answer: Any = None, name: str = "", **options: Any) -> RemoteNva:
        place = self.identities.place(Role.NVE, nve)
        device = load_device(place, self.identities.domain.name, Purpose.CLIENT, Role.NVE)
        address = NvaAddress(self.identities.name(Role.NVA, "nva1"), "127.0.0.1", self.port)

        async def nothing(_kind: QuestionKind) -> Any:
            return {}

        return RemoteNva(name or nve, device, live_peers(place, device), [address], answer or nothing, **options)


@contextlib.asynccontextmanager
async def serving(identities: Any, speaks: Speaks | None = None) -> AsyncIterator[Service]:
    service = Service(identities, speaks)
    service.port = await service.server.start("127.0.0.1", 0)
    try:
        yield service
    finally:
        await service.server.stop(0.1)


@contextlib.asynccontextmanager
async def session(service: Service, nve: str, **options: Any) -> AsyncIterator[Any]:
    found = await service.agent(nve, **options).connect()
    try:
        await found.register(Registration(INCARNATION))
        yield found
    finally:
        await found.close()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await coroutine

    asyncio.run(bounded())


async def fails(call: Any, timeout_s: float = 60.0) -> Nvo3secError:
    """The error that ends a session; updates that come before are of no interest."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await call()
            except Nvo3secError as error:
                return error
