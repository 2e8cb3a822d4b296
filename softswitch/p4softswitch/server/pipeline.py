# SPDX-License-Identifier: Apache-2.0
"""One pipeline as P4Runtime sees it: a p4info, an engine, and what Write and Read do to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from finsy.proto import p4r

from ..engine_api import Engine, EngineError
from .ageing import Ageing
from .changes import Change, Changes, Kind
from .digests import Digests
from .hold import Hold
from .outbox import Send
from .packetio import PacketCodec
from .profiles import Profiles
from .replication import Limits, Replication
from .resources import IndexedResources
from .schema import Schema
from .status import Code, P4Error, unimplemented
from .tables import Tables

_LOG = logging.getLogger(__name__)

_UNSUPPORTED: Mapping[str, str] = {
    "extern_entry": "extern entries are not supported",
    "value_set_entry": "parser value sets are not supported",
    "register_entry": "registers are not accessible",
}


@contextmanager
def _guard() -> Iterator[None]:
    """Around a step of a Write or Read; whatever goes wrong becomes a P4Error.

    The text of an exception from below is not passed on unless it is the engine's own: others may contain values.
    """
    try:
        yield
    except P4Error:
        raise
    except EngineError as error:
        raise P4Error(Code.UNKNOWN, f"the data plane refuses: {error}") from None
    except Exception as error:  # noqa: BLE001 - no request of any shape may take the server down
        _LOG.error("internal error (%s) in a request", type(error).__name__)
        raise P4Error(Code.INTERNAL, f"internal error ({type(error).__name__})") from None


class Pipeline:
    """Not thread-safe: the device serialises writes, and reads hold them off where they copy something."""

    def __init__(self, schema: Schema, engine: Engine, limits: Limits, send_digest: Send) -> None:
        self.schema = schema
        self.codec = PacketCodec(schema)
        self.digests = Digests(schema.digests, send_digest)
        engine.set_digest_sink(self.digests.learn)
        self.changes = Changes()
        self._profiles = Profiles(schema, engine, self.changes)
        self._ageing = Ageing(schema, engine, send_digest)
        self.tables = Tables(schema, engine, self._profiles, self._ageing, self.changes)
        self._arrays = IndexedResources(schema, engine)
        self._replication = Replication(engine, limits)
        self._writers: Mapping[str, Callable[[int, Any], None]] = {
            "table_entry": self.tables.write,
            "counter_entry": self._arrays.counter_write,
            "meter_entry": self._arrays.meter_write,
            "direct_counter_entry": self.tables.direct_counter_write,
            "direct_meter_entry": self.tables.direct_meter_write,
            "packet_replication_engine_entry": self._replication.write,
            "digest_entry": self.digests.write,
            "action_profile_member": self._profiles.member_write,
            "action_profile_group": self._profiles.group_write,
        }
        self._readers: Mapping[str, Callable[[Any, Hold], Iterator[Any]]] = {
            "table_entry": self.tables.read,
            "counter_entry": self._arrays.counter_read,
            "meter_entry": self._arrays.meter_read,
            "direct_counter_entry": self.tables.direct_counter_read,
            "direct_meter_entry": self.tables.direct_meter_read,
            "packet_replication_engine_entry": self._replication.read,
            "digest_entry": self.digests.read,
            "action_profile_member": self._profiles.member_read,
            "action_profile_group": self._profiles.group_read,
        }

    def start(self) -> None:
        """Packets pass through it from now on. Idempotent."""
        self._ageing.start()

    def held(self, schema: Schema) -> str | None:
        """What there is that would be lost if another pipeline came in its place, with that p4info and the same engine:
        the first thing, in words. While nothing is written."""
        return self._profiles.held() or self.tables.held(schema) or self.digests.held() or self._replication.held()

    def close(self) -> None:
        """Nothing is sent on the stream any more."""
        self.digests.close()
        self._ageing.close()

    def write(self, updates: Sequence[Any]) -> list[P4Error | None]:
        """Apply p4.v1.Updates one by one (CONTINUE_ON_ERROR); the result says for each what went wrong."""
        results: list[P4Error | None] = []
        for update in updates:
            try:
                self._write_one(update)
            except P4Error as error:
                results.append(error)
            else:
                results.append(None)
        return results

    def _write_one(self, update: Any) -> None:
        kind = update.entity.WhichOneof("entity")
        writer = self._writers.get(kind)
        if writer is None:
            raise self._unsupported(kind)
        try:
            with _guard():
                writer(update.type, getattr(update.entity, kind))
        finally:
            with _guard():
                self._profiles.settle()

    def read(self, entities: Sequence[Any], hold: Hold) -> Iterator[Any]:
        """The p4.v1.Entities that the entities of a request select, one by one.

        They are copied in pages, each under one hold; between two of them writes and packets go on. An entry of a table
        that is there from the beginning to the end comes exactly once, as it was at some moment in between; one that is
        inserted or deleted meanwhile may come or not, and one that is deleted and inserted again is two entries.

        Raises:
            P4Error: at the first entity that cannot be read.
        """
        for entity in entities:
            kind = entity.WhichOneof("entity")
            reader = self._readers.get(kind)
            if reader is None:
                raise self._unsupported(kind, reading=True)
            with _guard():
                yield from reader(getattr(entity, kind), hold)

    @staticmethod
    def _unsupported(kind: str | None, *, reading: bool = False) -> P4Error:
        if kind is None or (reading and kind == "extern_entry"):
            return P4Error(Code.UNKNOWN, "Incorrect entity type")
        return unimplemented(_UNSUPPORTED[kind])

    def forwarding_state(self, hold: Hold) -> Iterator[Any]:
        """What RECONCILE_AND_COMMIT carries over on BMv2, as p4.v1.Entities.

        Members, groups and table entries, without default actions and direct resources; and every cell of every indexed
        counter and meter, although these can never be inserted: a program that has one is never reconciled.

        Raises:
            P4Error: as `read`.
        """
        kinds = ("action_profile_member", "action_profile_group", "table_entry", "meter_entry", "counter_entry")
        request = [p4r.Entity() for _ in kinds]
        for entity, kind in zip(request, kinds, strict=True):
            getattr(entity, kind).SetInParent()
        return self.read(request, hold)

    def entity_of(self, change: Change) -> tuple[Any, Any | None]:
        """A p4.v1.Entity that names what has been written, and one of what it is now: None if it is not there.

        Raises:
            P4Error: as `read`.
        """
        with _guard():
            if change.kind is Kind.ENTRY:
                return self.tables.entry_of(change)
            return self._profiles.entity_of(change)

    def reference_of(self, entity: Any) -> Change | None:
        """The change that a p4.v1.Entity is of; None if it has nothing to do with an action profile."""
        return self.tables.reference_of(entity) or self._profiles.reference_of(entity)
