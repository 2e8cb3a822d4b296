# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4.server.v1.ServerConfig: should a packet-out that is refused be reported on the stream?

BMv2 serves it, and answers nothing to a bad packet-out unless this was asked for.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import Any

import grpc

from . import wire
from .clients import Clients


class ErrorReporting(IntEnum):
    """How much is said; DETAILED sends the packet-out back."""

    DISABLED = 0
    ENABLED = 1
    DETAILED = 2


_MESSAGES = wire.build(
    "p4.server.v1",
    {
        "StreamConfig": (("error_reporting", 1, wire.ENUM, "ErrorReportingLevel"),),
        "Config": (("stream", 1, wire.MESSAGE, "StreamConfig"),),
        "SetRequest": (("device_id", 1, wire.UINT64, ""), ("config", 2, wire.MESSAGE, "Config")),
        "SetResponse": (),
        "GetRequest": (("device_id", 1, wire.UINT64, ""),),
        "GetResponse": (("config", 1, wire.MESSAGE, "Config"),),
    },
    {"ErrorReportingLevel": tuple(level.name for level in ErrorReporting)},
)
SetRequest, SetResponse = _MESSAGES["SetRequest"], _MESSAGES["SetResponse"]
GetRequest, GetResponse = _MESSAGES["GetRequest"], _MESSAGES["GetResponse"]

SERVICE = "p4.server.v1.ServerConfig"


class StreamConfigs:
    """The setting of the one device."""

    def __init__(self, device_id: int) -> None:
        self._device_id = device_id
        self._lock = threading.Lock()
        self._level = ErrorReporting.DISABLED

    def level(self, device_id: int) -> ErrorReporting:
        """The setting; DISABLED for a device that is not there."""
        with self._lock:
            return self._level if device_id == self._device_id else ErrorReporting.DISABLED

    def set(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The method Set."""
        try:
            level = ErrorReporting(request.config.stream.error_reporting)
        except ValueError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown level of error reporting")
        if request.device_id == self._device_id:
            with self._lock:
                self._level = level
        return SetResponse()

    def get(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The method Get."""
        response = GetResponse()
        response.config.stream.error_reporting = int(self.level(request.device_id))
        return response

    def handler(self, clients: Clients) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        methods = {
            "Set": clients.unary(self.set, SetRequest, SetResponse.SerializeToString),
            "Get": clients.unary(self.get, GetRequest, GetResponse.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)
