# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4softswitch.v1.Statistics: what P4Runtime has no entity for.

One method, Get: an empty request, and for answer one JSON object in UTF-8, so that a client needs no definitions.

    {"device_id": 1,
     "engine": {"packets_in": 7, ..., "send_failed": 0},
     "ports": {"2": {"interface": "access2", "checksum_completed": 3, ..., "beyond_mtu": 0}}}

`engine` is what `CompiledEngine.statistics` has, `ports` what is counted of each port with `-i`. Both are empty as long
as no program runs, and begin anew with another program. Nothing in it is a secret, but the address that it is served at
is that of P4Runtime, whose entries are.
"""

from __future__ import annotations

import json
from typing import Any

import grpc

from .clients import Clients
from .device import Device

SERVICE = "p4softswitch.v1.Statistics"


class StatisticsService:
    """Reads them from a device."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def get(self, _request: bytes, _context: grpc.ServicerContext) -> dict[str, Any]:
        """The method Get."""
        engine, ports = self._device.statistics()
        return {"device_id": self._device.device_id, "engine": engine, "ports": ports}

    def handler(self, clients: Clients) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        get = clients.unary(self.get, serialize=lambda document: json.dumps(document).encode())
        return grpc.method_handlers_generic_handler(SERVICE, {"Get": get})
