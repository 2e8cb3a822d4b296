# SPDX-License-Identifier: Apache-2.0
"""The operator's side of the wire: one question, one answer, over mutual TLS to exactly the NVA that was named."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc

from nvo3sec.errors import AuthorizationError, NoController, OperatorError
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.errors import PeerRefused, PeerUnreachable
from nvo3sec.identity.gate.authorization import NO_SUCH_CALL
from nvo3sec.identity.names import Role
from nvo3sec.operator.calls import CALLS
from nvo3sec.system.aio import Backoff
from nvo3sec.system.plain import plain
from nvo3sec.transport.credentials import NvaAddress, live_peers, load_device
from nvo3sec.transport.ended import why_it_ended
from nvo3sec.wire import up

ANSWER_S = 60.0
AGAIN_FIRST_S, AGAIN_LAST_S = 0.2, 1.0

_OF_THE_CONNECTION = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
"""What gRPC itself says of a call that has no answer; what was decided about a call has other codes."""

_ALIASES = {"wait": "status"}
"""Methods of the console that are one call on the wire with another."""


def ask_nva(address: NvaAddress, credentials: Path, method: str, /, *, appear_s: float = 0.0, **params: Any) -> Any:
    """Ask an NVA as an operator.

    appear_s: how long it may take to be there. Raises NoController if it is not, AuthorizationError, OperatorError.
    """
    # One event loop for all attempts: gRPC remembers the loops of a process, also those that have ended.
    return asyncio.run(_ask(address, credentials, method, appear_s, params))


async def _ask(address: NvaAddress, credentials: Path, method: str, appear_s: float, params: dict[str, Any]) -> Any:
    deadline = time.monotonic() + appear_s
    device = load_device(credentials, address.name.domain, Purpose.CLIENT, Role.OPERATOR)
    live = live_peers(credentials, device)
    backoff = Backoff(AGAIN_FIRST_S, AGAIN_LAST_S)
    while True:
        backoff.begin()
        try:
            return await _ask_once(PeerChannel(device, live, address.name, address.host, address.port), method, params)
        except PeerUnreachable as error:
            if time.monotonic() >= deadline:
                raise NoController(str(error)) from None
        await asyncio.sleep(backoff.pause_s())


async def _ask_once(channel: PeerChannel, method: str, params: dict[str, Any]) -> Any:
    call = CALLS[_ALIASES.get(method, method)]
    timeout_s = ANSWER_S + float(params.get("wait_s", 0.0))
    try:
        raw = await channel.start()
        await channel.ready()
        answer = await raw.unary_unary(call.path)(call.encode(**params), timeout=timeout_s)
        return json.loads(up.decode_document(answer))
    except PeerRefused as error:
        raise OperatorError(channel.told(error)) from None
    except OSError as error:
        raise OperatorError(f"{channel.expected}: {error.strerror or error}") from None
    except grpc.aio.AioRpcError as error:
        details = plain(error.details() or error.code().name)
        if error.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
            older = f"; or that NVA is older than this command and does not know {call.rpc}: it is to be upgraded"
            hint = older if details.endswith(NO_SUCH_CALL) else ""
            raise AuthorizationError(f"{channel.expected}: {details}{hint}") from None
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"no answer within {timeout_s:g} s"
        if error.code() in _OF_THE_CONNECTION:
            raise OperatorError(why_it_ended(channel, details)) from None
        raise OperatorError(details.removeprefix("failed: ")) from None
    finally:
        await channel.close()
