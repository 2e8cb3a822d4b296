# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4.bm.DataplaneInterface: data packets in and out, without network interfaces
(`--dp-grpc-server-addr`).

One client at a time. `id` of a request is not reflected in the packets that come of it, as BMv2 does: the engine does
not carry it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from . import wire
from .clientlosses import ClientLosses
from .clients import Clients
from .device import Device
from .outbox import Outbox
from .ports import MAX_PORT
from .status import P4Error

_LOG = logging.getLogger(__name__)

_PACKET = (
    ("id", 1, wire.UINT64, ""),
    ("device_id", 2, wire.UINT64, ""),
    ("port", 3, wire.UINT32, ""),
    ("packet", 4, wire.BYTES, ""),
)
OPER_STATUS_DOWN, OPER_STATUS_UP = 1, 2
_MESSAGES = wire.build(
    "p4.bm",
    {
        "PacketStreamRequest": _PACKET,
        "PacketStreamResponse": _PACKET,
        "SetPortOperStatusRequest": (
            ("device_id", 1, wire.UINT64, ""),
            ("port", 2, wire.UINT32, ""),
            ("oper_status", 3, wire.ENUM, "PortOperStatus"),
        ),
        "SetPortOperStatusResponse": (),
    },
    {"PortOperStatus": ("OPER_STATUS_UNKNOWN", "OPER_STATUS_DOWN", "OPER_STATUS_UP")},
)
PacketStreamRequest, PacketStreamResponse = _MESSAGES["PacketStreamRequest"], _MESSAGES["PacketStreamResponse"]
SetPortOperStatusRequest = _MESSAGES["SetPortOperStatusRequest"]
SetPortOperStatusResponse = _MESSAGES["SetPortOperStatusResponse"]

SERVICE = "p4.bm.DataplaneInterface"

_QUEUE = 4096
"""Packets that wait for the client."""


class DataplaneService:
    """Packets between one gRPC client and the ports of the device."""

    def __init__(self, device_id: int, clients: Clients, losses: ClientLosses) -> None:
        self._device_id = device_id
        self._clients = clients
        self._losses = losses
        self._lock = threading.Lock()
        self._outbox: Outbox | None = None
        self._device: Device | None = None

    def serve(self, device: Device) -> None:
        """From now on packets go to this device."""
        self._device = device

    def sink_of(self, port: int) -> Callable[[bytes], None]:
        """Where the engine sends the packets of a port; on its own threads, so it never waits."""

        def sink(data: bytes) -> None:
            outbox = self._outbox
            if outbox is None:
                self._losses.add("stream_unheard")
            elif not outbox.put_packet(PacketStreamResponse(device_id=self._device_id, port=port, packet=data)):
                self._losses.add("stream_lost")

        return sink

    def _receive(self, requests: Iterator[Any], outbox: Outbox) -> None:
        try:
            for request in requests:
                self._inject(request)
        except Exception as error:  # noqa: BLE001 - grpc ends the iterator with a bare Exception when the client is gone
            _LOG.debug("packet stream ended (%s)", type(error).__name__)
        outbox.close()

    def _inject(self, request: Any) -> None:
        device = self._device
        if device is None or request.device_id != self._device_id or not request.packet or request.port > MAX_PORT:
            return
        try:
            device.inject(request.port, request.packet)
        except P4Error as error:
            _LOG.warning("a packet was refused: %s", error.message)

    def packet_stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """The method PacketStream."""
        outbox = Outbox("data-plane stream", _QUEUE)
        with self._lock:
            taken = self._outbox is not None
            if not taken:
                self._outbox = outbox
        if taken:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "only one client authorized at a time")
        try:
            context.add_callback(outbox.abandon)
            # From now on nothing that comes out of a port is missed: whoever waits for this may send. It is refused
            # where the client has gone already.
            context.send_initial_metadata(())
            threading.Thread(target=self._receive, args=(requests, outbox), name="packet-stream", daemon=True).start()
            yield from self._clients.responses(iter(outbox), context, None)
        finally:
            self._outbox = None

    def set_port_oper_status(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The method SetPortOperStatus: checked, and without effect on packets, as on BMv2."""
        if request.device_id != self._device_id:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Invalid device id")
        if request.oper_status not in (OPER_STATUS_DOWN, OPER_STATUS_UP):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Invalid oper status")
        return SetPortOperStatusResponse()

    def handler(self) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        methods = {
            "PacketStream": grpc.stream_stream_rpc_method_handler(
                self.packet_stream, PacketStreamRequest.FromString, PacketStreamResponse.SerializeToString
            ),
            "SetPortOperStatus": self._clients.unary(
                self.set_port_oper_status, SetPortOperStatusRequest, SetPortOperStatusResponse.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)
