# SPDX-License-Identifier: Apache-2.0
"""The NVA's side of the wire to operators: one question, one answer, behind the gate of `identity`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog

from nvo3sec.errors import NvaLoading
from nvo3sec.identity.gate.authenticate import authenticated_identity
from nvo3sec.operator.calls import CALLS, SERVICE, Ask, Method
from nvo3sec.operator.json_form import to_json
from nvo3sec.transport.early_sessions import LOADING
from nvo3sec.wire import up


class OperatorTransport:
    """Serves operators of one NVA. offered: what they may ask, by the names of `operator.calls.CALLS`; those that are
    not there yet are refused."""

    def __init__(self, offered: Mapping[str, Method]) -> None:
        self._offered = offered
        self._log = structlog.get_logger("nva")

    def add_to(self, server: Any) -> None:
        """Add the service to a server of grpc.aio that has the gate."""
        unary = grpc.unary_unary_rpc_method_handler
        # Parsing is strict conversion to dataclasses; the gate calls it once it knows that the caller may ask.
        calls = {call.rpc: unary(self._asked(name), call.decode, up.encode_document) for name, call in CALLS.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls),))

    def _asked(self, name: str) -> Callable[[Ask, Any], Awaitable[str]]:
        async def answer(request: Ask, context: Any) -> str:
            method = self._offered.get(name)
            if method is None:
                raise NvaLoading(f"{LOADING}: ask again")
            operator = str(authenticated_identity(context).device)
            self._log.info("operator asks", operator=operator, method=name, arguments=request.parameters)
            return json.dumps(to_json(await method(**request.parameters)), allow_nan=False)

        return answer
