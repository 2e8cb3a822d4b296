# SPDX-License-Identifier: Apache-2.0
"""Who is primary (P4Runtime specification 5, as BMv2's server does it).

The connected controller with the highest election id is the primary; nothing is remembered of controllers that are
gone. An election id that is not set counts as 0, and 0 can be primary, which the specification forbids and BMv2 allows.
"""

from __future__ import annotations

import threading
from typing import Any

from finsy.proto import p4r, rpc_code

from .outbox import Outbox
from .status import Code, P4Error, invalid

MAX_CONNECTIONS = 16
"""Controllers per device, BMv2's number."""


def election_number(election_id: Any) -> int:
    """A p4.v1.Uint128 as integer."""
    return (int(election_id.high) << 64) | int(election_id.low)


class Connection:
    """A controller's stream."""

    def __init__(self, election_id: int, outbox: Outbox) -> None:
        self.election_id = election_id
        self.outbox = outbox


class Arbiter:
    """The controllers of one device."""

    def __init__(self, device_id: int) -> None:
        self._device_id = device_id
        self._lock = threading.Lock()
        self._connections: list[Connection] = []

    def __len__(self) -> int:
        with self._lock:
            return len(self._connections)

    def _primary(self) -> Connection | None:
        return max(self._connections, key=lambda c: c.election_id, default=None)

    def primary(self) -> Connection | None:
        """The primary's connection, None without a controller."""
        with self._lock:
            return self._primary()

    def may_write(self, election_id: int, is_set: bool) -> bool:
        """May a request with this election id change anything? Without any controller, one without an election id
        may."""
        with self._lock:
            primary = self._primary()
        if primary is None:
            return not is_set
        return primary.election_id == election_id

    def _check_free(self, election_id: int) -> None:
        if any(c.election_id == election_id for c in self._connections):
            raise invalid("another controller has this election id")

    def add(self, connection: Connection) -> None:
        """A new controller; everybody hears of it if it is the primary now.

        Raises:
            P4Error: too many controllers, or the election id is taken.
        """
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                raise P4Error(Code.RESOURCE_EXHAUSTED, "Too many connections")
            self._check_free(connection.election_id)
            self._connections.append(connection)
            self._notify(connection, everybody=self._primary() is connection)

    def update(self, connection: Connection, election_id: int) -> None:
        """A controller changes its election id; nothing is said if it does not.

        Raises:
            P4Error: the election id is taken. The connection keeps its old one; the caller ends it.
        """
        with self._lock:
            if connection.election_id == election_id:
                return
            self._check_free(election_id)
            was_primary = self._primary() is connection
            connection.election_id = election_id
            self._notify(connection, everybody=was_primary != (self._primary() is connection))

    def remove(self, connection: Connection) -> None:
        """A controller is gone; if it was the primary, the others hear who is now."""
        with self._lock:
            if connection not in self._connections:
                return
            was_primary = self._primary() is connection
            self._connections.remove(connection)
            if was_primary:
                self._notify(connection, everybody=True)

    def _notify(self, connection: Connection, *, everybody: bool) -> None:
        primary = self._primary()
        if primary is None:
            return
        for receiver in self._connections if everybody else [connection]:
            message = p4r.StreamMessageResponse()
            arbitration = message.arbitration
            arbitration.device_id = self._device_id
            arbitration.election_id.high = primary.election_id >> 64
            arbitration.election_id.low = primary.election_id & ((1 << 64) - 1)
            if receiver is primary:
                arbitration.status.code, arbitration.status.message = rpc_code.OK, "Is primary"
            else:
                arbitration.status.code, arbitration.status.message = rpc_code.ALREADY_EXISTS, "Is backup"
            receiver.outbox.put_control(message)
