# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4softswitch.v1.Ports: ports while the switch runs, which P4Runtime leaves to others.

Three methods. A request is one JSON object in UTF-8, an answer too, so that a client needs no definitions;
`p4softswitch ports` is one.

    List    {}                                      {"device_id": 1, "ports": {"3": {"interface": "veth3",
                                                     "state": "down", "reason": "the link of veth3 has no carrier"}}}
    Add     {"port": "3@veth3", "wait": false}      the same, of this port
    Remove  {"port": 3}                             the same, of no port

`port` of Add is what `-i` takes. `wait` says that the interface may come later. A port with a socket has its own path
as `interface`, and `peer`. `state` is up, down or absent (see portstate.PortState). Codes: INVALID_ARGUMENT, with what
is allowed; ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION, UNKNOWN as `Ports.add` and `Ports.remove` have them.

It is served at the address of P4Runtime and at no other: who reaches that decides where packets go already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from .clients import Clients
from .device import Device
from .portstate import PortSpec, PortState, parse_port
from .status import P4Error, invalid

SERVICE = "p4softswitch.v1.Ports"
_REQUEST_LIMIT = 4096

_Document = dict[str, Any]


class PortService:
    """For one device."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def _list(self, request: bytes) -> _Document:
        _fields(request, {})
        return self._answer(self._device.port_states().values())

    def _add(self, request: bytes) -> _Document:
        fields = _fields(request, {"port": str, "wait": bool}, optional={"wait"})
        try:
            spec = parse_port(fields["port"])
        except ValueError as error:
            raise invalid(f"port: {error}") from None
        return self._answer([(spec, self._device.add_port(spec, wait=fields.get("wait", False)))])

    def _remove(self, request: bytes) -> _Document:
        self._device.remove_port(_fields(request, {"port": int})["port"])
        return self._answer([])

    def _answer(self, ports: Iterable[tuple[PortSpec, PortState]]) -> _Document:
        return {
            "device_id": self._device.device_id,
            "ports": {str(spec.port): described(spec, state) for spec, state in ports},
        }

    def handler(self, clients: Clients) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        methods = {"List": self._list, "Add": self._add, "Remove": self._remove}
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: clients.unary(_served(method), serialize=lambda document: json.dumps(document).encode())
                for name, method in methods.items()
            },
        )


def described(spec: PortSpec, state: PortState) -> _Document:
    """A port as this service and the statistics tell of it."""
    peer = {} if spec.peer_path is None else {"peer": spec.peer_path}
    return {"interface": spec.attached_to, **peer, "state": state.state, "reason": state.reason}


def _served(method: Callable[[bytes], _Document]) -> Callable[[bytes, grpc.ServicerContext], _Document]:
    def serve(request: bytes, context: grpc.ServicerContext) -> _Document:
        try:
            return method(request)
        except P4Error as error:
            context.abort(error.code, error.message)
            raise AssertionError("abort raises") from None

    return serve


def _fields(request: bytes, kinds: dict[str, type], optional: Iterable[str] = ()) -> _Document:
    """Raises P4Error, naming what is allowed."""
    allowed = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items()) or "none"
    try:
        if len(request) > _REQUEST_LIMIT:
            raise ValueError
        document = json.loads(request or b"{}")
    except (ValueError, RecursionError):
        raise invalid(f"the request is no JSON object of at most {_REQUEST_LIMIT} bytes") from None
    if not isinstance(document, dict) or not document.keys() <= kinds.keys():
        raise invalid(f"the request is a JSON object, with these fields alone: {allowed}")
    for name, kind in kinds.items():
        if name not in document and name in optional:
            continue
        if type(document.get(name)) is not kind:
            raise invalid(f"{name} is missing, or not of its kind; the fields are: {allowed}")
    return document
