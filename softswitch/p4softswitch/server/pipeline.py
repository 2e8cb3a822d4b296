# SPDX-License-Identifier: Apache-2.0
"""One pipeline as P4Runtime sees it: a p4info, an engine, and what Write and Read do to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from finsy.proto import p4r

from ..engine_api import Engine, EngineError
from .ageing import Ageing
from .digests import Digests, Send
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


def _guard(call: Callable[[], None]) -> None:
    """Run a step of a Write or Read; whatever goes wrong becomes a P4Error.

    The text of an exception from below is not passed on unless it is the engine's own: others may contain values.
    """
    try:
        call()
    except P4Error:
        raise
    except EngineError as error:
        raise P4Error(Code.UNKNOWN, f"the data plane refuses: {error}") from None
    except Exception as error:  # noqa: BLE001 - no request of any shape may take the server down
        _LOG.error("internal error (%s) in a request", type(error).__name__)
        raise P4Error(Code.INTERNAL, f"internal error ({type(error).__name__})") from None


class Pipeline:
    """Not thread-safe: the device serialises."""

    def __init__(self, schema: Schema, engine: Engine, limits: Limits, send_digest: Send) -> None:
        self.codec = PacketCodec(schema)
        self.digests = Digests(schema.digests, send_digest)
        engine.set_digest_sink(self.digests.learn)
        self._profiles = Profiles(schema, engine)
        self._ageing = Ageing(schema, engine, send_digest)
        self._tables = Tables(schema, engine, self._profiles, self._ageing)
        self._arrays = IndexedResources(schema, engine)
        self._replication = Replication(engine, limits)
        self._writers: Mapping[str, Callable[[int, Any], None]] = {
            "table_entry": self._tables.write,
            "counter_entry": self._arrays.counter_write,
            "meter_entry": self._arrays.meter_write,
            "direct_counter_entry": self._tables.direct_counter_write,
            "direct_meter_entry": self._tables.direct_meter_write,
            "packet_replication_engine_entry": self._replication.write,
            "digest_entry": self.digests.write,
            "action_profile_member": self._profiles.member_write,
            "action_profile_group": self._profiles.group_write,
        }
        self._readers: Mapping[str, Callable[[Any, Any], None]] = {
            "table_entry": self._tables.read,
            "counter_entry": self._arrays.counter_read,
            "meter_entry": self._arrays.meter_read,
            "direct_counter_entry": self._tables.direct_counter_read,
            "direct_meter_entry": self._tables.direct_meter_read,
            "packet_replication_engine_entry": self._replication.read,
            "digest_entry": self.digests.read,
            "action_profile_member": self._profiles.member_read,
            "action_profile_group": self._profiles.group_read,
        }

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
            _guard(lambda: writer(update.type, getattr(update.entity, kind)))
        finally:
            _guard(self._profiles.settle)

    def read(self, entities: Sequence[Any], response: Any) -> None:
        """Append to a p4.v1.ReadResponse what the entities select.

        Raises:
            P4Error: at the first entity that cannot be read; what was found before stays in the response.
        """
        for entity in entities:
            kind = entity.WhichOneof("entity")
            reader = self._readers.get(kind)
            if reader is None:
                raise self._unsupported(kind, reading=True)
            self._read_one(reader, getattr(entity, kind), response)

    @staticmethod
    def _read_one(reader: Callable[[Any, Any], None], entry: Any, response: Any) -> None:
        _guard(lambda: reader(entry, response))

    @staticmethod
    def _unsupported(kind: str | None, *, reading: bool = False) -> P4Error:
        if kind is None or (reading and kind == "extern_entry"):
            return P4Error(Code.UNKNOWN, "Incorrect entity type")
        return unimplemented(_UNSUPPORTED[kind])

    def forwarding_state(self) -> list[Any]:
        """What RECONCILE_AND_COMMIT carries over on BMv2, as INSERTs.

        Members, groups and table entries, without default actions and direct resources; and every cell of every indexed
        counter and meter, although these can never be inserted: a program that has one is never reconciled.

        Raises:
            P4Error: as `read`.
        """
        kinds = ("action_profile_member", "action_profile_group", "table_entry", "meter_entry", "counter_entry")
        request = [p4r.Entity() for _ in kinds]
        for entity, kind in zip(request, kinds, strict=True):
            getattr(entity, kind).SetInParent()
        response = p4r.ReadResponse()
        self.read(request, response)
        return [p4r.Update(type=p4r.Update.INSERT, entity=entity) for entity in response.entities]
