# SPDX-License-Identifier: Apache-2.0
"""The packet replication engine: multicast groups and clone sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finsy.proto import p4r

from ..engine_api import Engine, Replica
from .hold import Hold
from .status import Code, P4Error, invalid, unimplemented

FIRST_RESERVED_GROUP = 1 << 15
"""BMv2 keeps the group ids from here on for its clone sessions."""

MAX_PORT = 511
"""BMv2's port map has 512 bits; it forgets replicas to higher ports without a word, here they are refused."""


@dataclass(frozen=True)
class Limits:
    """Sizes of BMv2's replication engine (`--max-mc-groups`, `--max-l1-entries`, `--max-l2-entries`).

    One node of the first and one of the second level goes to each pair of group and replication id.
    """

    groups: int = 65536
    l1_entries: int = 4096
    l2_entries: int = 8192


@dataclass(frozen=True, order=True)
class _Replica:
    """A replica in BMv2's reading order, with the encoding of the port that the client chose."""

    instance: int
    as_bytes: bool
    port: int
    length: int


def _port_of(replica: Any) -> tuple[bool, int, int]:
    kind = replica.WhichOneof("port_kind")
    if kind is None:
        raise invalid("a replica has no port")
    if kind == "egress_port":
        port, as_bytes, length = replica.egress_port, False, 0
    else:
        as_bytes, length = True, len(replica.port)
        if not length:
            raise invalid("a replica's port is the empty string")
        if length > 4:
            raise unimplemented("a replica's port has more than 4 bytes")
        port = int.from_bytes(replica.port, "big")
        if not port:
            raise invalid("a replica's port is 0 as a byte string, which BMv2 refuses")
    if port > MAX_PORT:
        raise invalid(f"a replica's port is above {MAX_PORT}")
    return as_bytes, port, length


def _replicas_of(replicas: Any) -> tuple[_Replica, ...]:
    found: dict[tuple[int, int], _Replica] = {}
    for replica in replicas:
        if replica.backup_replicas:
            raise unimplemented("backup replicas are not supported")
        as_bytes, port, length = _port_of(replica)
        if (replica.instance, port) in found:
            raise invalid("a replica stands twice in the group")
        found[replica.instance, port] = _Replica(replica.instance, as_bytes, port, length)
    return tuple(sorted(found.values()))


def _for_engine(replicas: tuple[_Replica, ...]) -> list[Replica]:
    return [Replica(port=r.port, instance=r.instance) for r in replicas]


def _write_replicas(replicas: tuple[_Replica, ...], entry: Any) -> None:
    for replica in replicas:
        found = entry.replicas.add(instance=replica.instance)
        if replica.as_bytes:
            found.port = replica.port.to_bytes(replica.length, "big")
        else:
            found.egress_port = replica.port


def _nodes(replicas: tuple[_Replica, ...]) -> int:
    return len({replica.instance for replica in replicas})


class Replication:
    """Groups and sessions of one pipeline. Not thread-safe: the device serialises."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._groups: dict[int, tuple[_Replica, ...]] = {}
        self._sessions: dict[int, tuple[_Replica, ...]] = {}
        self._held_nodes = 0

    def write(self, update: int, entry: Any) -> None:
        """A p4.v1.PacketReplicationEngineEntry of a Write.

        Raises:
            P4Error: nothing was changed.
        """
        kind = entry.WhichOneof("type")
        if kind == "multicast_group_entry":
            self._write_group(update, entry.multicast_group_entry)
        elif kind == "clone_session_entry":
            self._write_session(update, entry.clone_session_entry)
        else:
            raise invalid("the entry is neither a multicast group nor a clone session")

    def held(self) -> str | None:
        """See `Pipeline.held`."""
        if self._groups:
            return f"multicast group {min(self._groups)}"
        return f"clone session {min(self._sessions)}" if self._sessions else None

    def read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.PacketReplicationEngineEntry of a Read; id 0 is all, as they are at one moment.

        Raises:
            P4Error: NOT_FOUND for an id that is not there.
        """
        kind = entry.WhichOneof("type")
        if kind == "multicast_group_entry":
            number = entry.multicast_group_entry.multicast_group_id
            if number >= FIRST_RESERVED_GROUP:
                raise P4Error(Code.OUT_OF_RANGE, f"multicast groups have ids below {FIRST_RESERVED_GROUP}")
            for group_id, replicas in self._select(self._groups, number, "multicast group", hold):
                entity = p4r.Entity()
                group = entity.packet_replication_engine_entry.multicast_group_entry
                group.multicast_group_id = group_id
                _write_replicas(replicas, group)
                yield entity
        elif kind == "clone_session_entry":
            number = entry.clone_session_entry.session_id
            for session_id, replicas in self._select(self._sessions, number, "clone session", hold):
                entity = p4r.Entity()
                session = entity.packet_replication_engine_entry.clone_session_entry
                session.session_id = session_id
                _write_replicas(replicas, session)
                yield entity
        else:
            raise invalid("the entry is neither a multicast group nor a clone session")

    @staticmethod
    def _select(
        store: dict[int, tuple[_Replica, ...]], number: int, what: str, hold: Hold
    ) -> list[tuple[int, tuple[_Replica, ...]]]:
        with hold():
            found = list(store.items()) if not number else [(number, store[number])] if number in store else []
        if number and not found:
            raise P4Error(Code.NOT_FOUND, f"there is no {what} {number}")
        return sorted(found)

    @staticmethod
    def _check_update(update: int, number: int, exists: bool, what: str) -> None:
        if update == p4r.Update.UNSPECIFIED:
            raise invalid("the update type is not set")
        if update == p4r.Update.INSERT:
            if exists:
                raise P4Error(Code.ALREADY_EXISTS, f"{what} {number} exists")
        elif update in (p4r.Update.MODIFY, p4r.Update.DELETE):
            if not exists:
                raise P4Error(Code.NOT_FOUND, f"there is no {what} {number}")
        else:
            raise invalid("unknown update type")

    def _check_room(self, old: tuple[_Replica, ...] | None, new: tuple[_Replica, ...]) -> None:
        if old is None and len(self._groups) + len(self._sessions) >= self._limits.groups:
            raise P4Error(Code.RESOURCE_EXHAUSTED, f"the replication engine holds {self._limits.groups} groups")
        limit = min(self._limits.l1_entries, self._limits.l2_entries)
        if self._held_nodes - _nodes(old or ()) + _nodes(new) > limit:
            raise P4Error(Code.RESOURCE_EXHAUSTED, f"the replication engine holds {limit} nodes")

    def _keep(self, store: dict[int, tuple[_Replica, ...]], number: int, replicas: tuple[_Replica, ...] | None) -> None:
        """What the engine has now; None: nothing. The nodes in use are counted on, not anew from all groups."""
        self._held_nodes += _nodes(replicas or ()) - _nodes(store.pop(number, ()))
        if replicas is not None:
            store[number] = replicas

    def _write_group(self, update: int, entry: Any) -> None:
        number = entry.multicast_group_id
        if not number:
            raise invalid("0 is no id of a multicast group")
        if number >= FIRST_RESERVED_GROUP:
            raise P4Error(Code.OUT_OF_RANGE, f"multicast groups have ids below {FIRST_RESERVED_GROUP}")
        old = self._groups.get(number)
        self._check_update(update, number, old is not None, "multicast group")
        if update == p4r.Update.DELETE:
            self._engine.multicast_group_delete(number)
            self._keep(self._groups, number, None)
            return
        replicas = _replicas_of(entry.replicas)
        self._check_room(old, replicas)
        self._engine.multicast_group_set(number, _for_engine(replicas))
        self._keep(self._groups, number, replicas)

    def _write_session(self, update: int, entry: Any) -> None:
        number = entry.session_id
        if not 0 < number < FIRST_RESERVED_GROUP:
            raise invalid(f"clone sessions have ids from 1 to {FIRST_RESERVED_GROUP - 1}")
        old = self._sessions.get(number)
        self._check_update(update, number, old is not None, "clone session")
        if update == p4r.Update.DELETE:
            self._engine.clone_session_delete(number)
            self._keep(self._sessions, number, None)
            return
        replicas = _replicas_of(entry.replicas)
        if entry.class_of_service:
            raise unimplemented("clone sessions have no class of service")
        if entry.packet_length_bytes:
            # The engine could; BMv2 cannot, and answers this.
            raise P4Error(Code.UNKNOWN, "clone sessions do not truncate")
        self._check_room(old, replicas)
        self._engine.clone_session_set(number, _for_engine(replicas), 0)
        self._keep(self._sessions, number, replicas)
