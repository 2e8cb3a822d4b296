# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4softswitch.v1.Ports: ports while the switch runs, which P4Runtime leaves to others.

Four methods. A request is one JSON object in UTF-8, an answer too, so that a client needs no definitions;
`p4softswitch ports` is one.

    List    {}                                      {"device_id": 1, "ports": {"3": {"interface": "veth3",
                                                     "state": "down", "reason": "the link of veth3 has no carrier"}}}
    Add     {"port": "3@veth3", "wait": false}      the same, of this port
    Remove  {"port": 3}                             the same, of no port
    Watch   {}                                      what List answers, and again, as a stream, after each change

`port` of Add is what `-i` takes. `wait` says that the interface may come later. A port with a socket has its own path
as `interface`, and `peer`. `state` is up, down or absent (see portstate.PortState). Codes: INVALID_ARGUMENT, with what
is allowed; ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION, UNKNOWN as `Ports.add` and `Ports.remove` have them.

Watch goes on until the client ends it. Each answer has all ports: one that was too slow for a state in between has the
next one. A client that does not take an answer in time is cut off (clients.Deadlines). MAX_WATCHES are served at a
time; another one ends the one that has waited longest for its client, or is refused with RESOURCE_EXHAUSTED.

It is served at the address of P4Runtime and at no other: who reaches that decides where packets go already.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from .clients import Clients, refuse
from .device import Device
from .portfeed import PortFeed
from .portstate import PortSpec, PortState, parse_port
from .status import P4Error, invalid

SERVICE = "p4softswitch.v1.Ports"
_REQUEST_LIMIT = 4096

_Document = dict[str, Any]


class PortService:
    """For one device."""

    def __init__(self, device: Device, feed: PortFeed) -> None:
        """feed: hears when a port changes."""
        self._device = device
        self._feed = feed

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

    def _watch(self, requests: Iterator[Any], context: grpc.ServicerContext, clients: Clients) -> Iterator[_Document]:
        over = threading.Event()

        def gone() -> None:
            over.set()
            self._feed.wake()

        request = clients.request(requests, context)
        with clients.watched(lambda error: context.cancel()) as wait:
            try:
                _fields(request, {})
                clients.watches.take(wait)
            except P4Error as error:
                refuse(context, error)
            try:
                if context.add_callback(gone):
                    yield from clients.taken(self._feed.follow(lambda: self._list(b""), over), wait, None)
            finally:
                clients.watches.leave(wait)

    def _answer(self, ports: Iterable[tuple[PortSpec, PortState]]) -> _Document:
        return {
            "device_id": self._device.device_id,
            "ports": {str(spec.port): described(spec, state) for spec, state in ports},
        }

    def handler(self, clients: Clients) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        methods = {"List": self._list, "Add": self._add, "Remove": self._remove}
        handlers = {name: clients.unary(_served(method), serialize=_encoded) for name, method in methods.items()}
        handlers["Watch"] = grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._watch(requests, context, clients), None, _encoded
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _encoded(document: _Document) -> bytes:
    return json.dumps(document).encode()


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
