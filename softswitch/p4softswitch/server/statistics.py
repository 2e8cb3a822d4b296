# SPDX-License-Identifier: Apache-2.0
"""The gRPC service p4softswitch.v1.Statistics: what P4Runtime has no entity for.

One method, Get: an empty request, and for answer one JSON object in UTF-8, so that a client needs no definitions.

    {"device_id": 1,
     "engine": {"packets_in": 7, ..., "send_failed": 0, "packet_in_lost": 0, ...},
     "ports": {"2": {"interface": "access2", "packets_in": 7, ..., "receive_overrun": 0, ..., "beyond_mtu": 0},
               "9": {"interface": "", "no_port": 3}},
     "states": {"2": {"interface": "access2", "state": "down", "reason": "the link of access2 has no carrier"}}}

`engine` is what `CompiledEngine.statistics` has, which begins anew with another program, and what no client took
(clientlosses), which does not. `ports` is what is counted of each port with `-i` or added since: what passed, and each
frame that was lost there, under its cause (p4softswitch.losses); it goes on when another program is pushed, and when an
interface goes and comes back. A port that there is not has the frames that were for it. `states` has the state of each
port, as the service Ports tells it. All are empty as long as no program runs. Nothing in it is a secret, but the
address that it is served at is that of P4Runtime, whose entries are.
"""

from __future__ import annotations

import json
from typing import Any

import grpc

from .clientlosses import ClientLosses
from .clients import Clients
from .device import Device
from .portservice import described

SERVICE = "p4softswitch.v1.Statistics"


class StatisticsService:
    """Reads them from a device."""

    def __init__(self, device: Device, losses: ClientLosses) -> None:
        self._device = device
        self._losses = losses

    def get(self, _request: bytes, _context: grpc.ServicerContext) -> dict[str, Any]:
        """The method Get."""
        found = self._device.statistics()
        if found is None:
            return {"device_id": self._device.device_id, "engine": {}, "ports": {}, "states": {}}
        return {
            "device_id": self._device.device_id,
            "engine": found.engine | self._losses.counts(),
            "ports": found.ports,
            "states": {str(spec.port): described(spec, state) for spec, state in found.states.values()},
        }

    def handler(self, clients: Clients) -> grpc.GenericRpcHandler:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        get = clients.unary(self.get, serialize=lambda document: json.dumps(document).encode())
        return grpc.method_handlers_generic_handler(SERVICE, {"Get": get})
