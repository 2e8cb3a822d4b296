# SPDX-License-Identifier: Apache-2.0
"""The part of a p4info that the server needs, checked and indexed by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from .status import Code, P4Error

_Enum = TypeVar("_Enum", bound=IntEnum)

_MAX_BITWIDTH = 1 << 16
"""Far above anything BMv2 can match on; a bound so that a damaged p4info cannot ask for gigabytes."""


class Prefix(IntEnum):
    """First byte of an id: the kind of object (p4.config.v1.P4Ids)."""

    ACTION = 0x01
    TABLE = 0x02
    DIGEST = 0x17
    COUNTER = 0x12
    DIRECT_COUNTER = 0x13
    METER = 0x14
    DIRECT_METER = 0x15
    ACTION_PROFILE = 0x11


class MatchKind(IntEnum):
    """Match types of p4.config.v1.MatchField that BMv2 knows."""

    EXACT = 2
    LPM = 3
    TERNARY = 4
    RANGE = 5
    OPTIONAL = 6


NEEDS_PRIORITY = frozenset({MatchKind.TERNARY, MatchKind.RANGE, MatchKind.OPTIONAL})


class Scope(IntEnum):
    """Where a table may use an action (p4.config.v1.ActionRef)."""

    TABLE_AND_DEFAULT = 0
    TABLE_ONLY = 1
    DEFAULT_ONLY = 2


class CounterUnit(IntEnum):
    """What a counter counts (p4.config.v1.CounterSpec)."""

    BYTES = 1
    PACKETS = 2
    BOTH = 3


@dataclass(frozen=True)
class MatchField:
    id: int
    name: str
    kind: MatchKind
    bitwidth: int


@dataclass(frozen=True)
class Param:
    id: int
    name: str
    bitwidth: int


@dataclass(frozen=True)
class Action:
    id: int
    name: str
    params: tuple[Param, ...]


@dataclass(frozen=True)
class Counter:
    """An indexed counter, or a direct one (`size` 0)."""

    id: int
    name: str
    unit: CounterUnit
    size: int


@dataclass(frozen=True)
class Meter:
    """An indexed meter, or a direct one (`size` 0)."""

    id: int
    name: str
    size: int


@dataclass(frozen=True)
class Table:
    id: int
    name: str
    fields: tuple[MatchField, ...]
    actions: Mapping[int, Scope]
    const_default: bool
    is_const: bool
    size: int
    idle_timeout: bool
    counter: Counter | None
    meter: Meter | None
    profile: int | None = None
    needs_priority: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_priority", any(f.kind in NEEDS_PRIORITY for f in self.fields))


@dataclass(frozen=True)
class Profile:
    """An action profile: how large groups may be at most (0: not said), and the tables whose entries refer to it."""

    id: int
    name: str
    with_selector: bool
    max_group_size: int
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class PacketHeader:
    """Controller header of packet-ins or packet-outs: (metadata id, bits), in the order on the wire."""

    fields: tuple[tuple[int, int], ...]
    bits: int


@dataclass(frozen=True)
class Digest:
    """A digest and the form of its samples: "struct", "tuple" or "bitstring", and the widths of the members."""

    id: int
    name: str
    shape: str
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Schema:
    tables: Mapping[int, Table]
    actions: Mapping[int, Action]
    actions_by_name: Mapping[str, Action]
    counters: Mapping[int, Counter]
    meters: Mapping[int, Meter]
    packet_in: PacketHeader | None
    packet_out: PacketHeader | None
    digests: Mapping[int, Digest]
    profiles: Mapping[int, Profile] = field(default_factory=dict)


def _refuse(reason: str) -> P4Error:
    return P4Error(Code.UNKNOWN, f"Error when importing p4info: {reason}")


def _enum(kind: type[_Enum], value: int, what: str) -> _Enum:
    try:
        return kind(value)
    except ValueError:
        raise _refuse(f"{what} has an unknown {kind.__name__} {value}") from None


def _width(bits: int, what: str) -> int:
    if not 0 < bits <= _MAX_BITWIDTH:
        raise _refuse(f"{what} has a width of {bits} bits")
    return bits


class _Ids:
    """Names and ids that were seen, to refuse duplicates and ids of the wrong kind."""

    def __init__(self) -> None:
        self._ids: set[int] = set()

    def take(self, preamble: Any, prefix: Prefix) -> tuple[int, str]:
        number, name = preamble.id, preamble.name
        if number >> 24 != prefix:
            raise _refuse(f"{name}: id {number:#x} is not an id of a {prefix.name.lower().replace('_', ' ')}")
        if number in self._ids:
            raise _refuse(f"{name}: id {number:#x} is used twice")
        if not name:
            raise _refuse(f"id {number:#x} has no name")
        self._ids.add(number)
        return number, name


def _actions(p4info: Any, ids: _Ids) -> dict[int, Action]:
    actions: dict[int, Action] = {}
    for proto in p4info.actions:
        number, name = ids.take(proto.preamble, Prefix.ACTION)
        params = tuple(Param(p.id, p.name, _width(p.bitwidth, f"{name}.{p.name}")) for p in proto.params)
        if len({p.id for p in params}) != len(params):
            raise _refuse(f"{name}: a parameter id is used twice")
        actions[number] = Action(number, name, params)
    return actions


def _counters(p4info: Any, ids: _Ids) -> tuple[dict[int, Counter], dict[int, Counter]]:
    indexed: dict[int, Counter] = {}
    for proto in p4info.counters:
        number, name = ids.take(proto.preamble, Prefix.COUNTER)
        indexed[number] = Counter(number, name, _enum(CounterUnit, proto.spec.unit, name), proto.size)
    direct: dict[int, Counter] = {}
    for proto in p4info.direct_counters:
        number, name = ids.take(proto.preamble, Prefix.DIRECT_COUNTER)
        direct[number] = Counter(number, name, _enum(CounterUnit, proto.spec.unit, name), 0)
    return indexed, direct


def _meters(p4info: Any, ids: _Ids) -> tuple[dict[int, Meter], dict[int, Meter]]:
    def check(proto: Any) -> None:
        if proto.spec.unit not in (1, 2):  # BYTES, PACKETS
            raise _refuse(f"{proto.preamble.name} has an unknown meter unit {proto.spec.unit}")

    indexed: dict[int, Meter] = {}
    for proto in p4info.meters:
        number, name = ids.take(proto.preamble, Prefix.METER)
        check(proto)
        indexed[number] = Meter(number, name, proto.size)
    direct: dict[int, Meter] = {}
    for proto in p4info.direct_meters:
        number, name = ids.take(proto.preamble, Prefix.DIRECT_METER)
        check(proto)
        direct[number] = Meter(number, name, 0)
    return indexed, direct


def _table(
    proto: Any, ids: _Ids, actions: Mapping[int, Action], counters: Mapping[int, Counter], meters: Mapping[int, Meter]
) -> Table:
    number, name = ids.take(proto.preamble, Prefix.TABLE)
    fields = tuple(
        MatchField(f.id, f.name, _enum(MatchKind, f.match_type, f"{name}: {f.name}"), _width(f.bitwidth, f.name))
        for f in proto.match_fields
    )
    if len({f.id for f in fields}) != len(fields):
        raise _refuse(f"table {name}: a match field id is used twice")
    scopes: dict[int, Scope] = {}
    for ref in proto.action_refs:
        if ref.id not in actions:
            raise _refuse(f"table {name} refers to an action {ref.id:#x} that does not exist")
        scopes[ref.id] = _enum(Scope, ref.scope, f"table {name}, action {ref.id:#x}")
    table_counters = [counters[i] for i in proto.direct_resource_ids if i in counters]
    table_meters = [meters[i] for i in proto.direct_resource_ids if i in meters]
    if len(table_counters) + len(table_meters) != len(proto.direct_resource_ids):
        raise _refuse(f"table {name} refers to a direct resource that does not exist")
    if len(table_counters) > 1 or len(table_meters) > 1:
        raise _refuse(f"table {name} has more than one direct counter or more than one direct meter")
    return Table(
        id=number,
        name=name,
        fields=fields,
        actions=scopes,
        const_default=bool(proto.const_default_action_id),
        is_const=proto.is_const_table,
        size=proto.size,
        idle_timeout=proto.idle_timeout_behavior != 0,
        counter=table_counters[0] if table_counters else None,
        meter=table_meters[0] if table_meters else None,
        profile=proto.implementation_id or None,
    )


def _profiles(p4info: Any, ids: _Ids, tables: Iterable[Table]) -> dict[int, Profile]:
    found: dict[int, Profile] = {}
    for proto in p4info.action_profiles:
        number, name = ids.take(proto.preamble, Prefix.ACTION_PROFILE)
        if proto.max_group_size < 0:
            raise _refuse(f"action profile {name} has a negative group size")
        users = tuple(table for table in tables if table.profile == number)
        found[number] = Profile(number, name, proto.with_selector, proto.max_group_size, users)
    for table in tables:
        if table.profile is not None and table.profile not in found:
            raise _refuse(f"table {table.name} refers to an action profile that does not exist")
    return found


def _packet_header(proto: Any) -> PacketHeader:
    name = proto.preamble.name
    fields = tuple((m.id, _width(m.bitwidth, f"{name}.{m.name}")) for m in proto.metadata)
    if len({number for number, _ in fields}) != len(fields):
        raise _refuse(f"{name}: a metadata id is used twice")
    return PacketHeader(fields, sum(bits for _, bits in fields))


def _digests(p4info: Any, ids: _Ids) -> dict[int, Digest]:
    found: dict[int, Digest] = {}
    for proto in p4info.digests:
        number, name = ids.take(proto.preamble, Prefix.DIGEST)
        shape = proto.type_spec.WhichOneof("type_spec")
        if shape == "struct":
            if proto.type_spec.struct.name not in p4info.type_info.structs:
                raise _refuse(f"digest {name}: its struct is not described")
            members = [m.type_spec for m in p4info.type_info.structs[proto.type_spec.struct.name].members]
        elif shape == "tuple":
            members = list(proto.type_spec.tuple.members)
        else:
            members = [proto.type_spec]
        if not all(m.WhichOneof("type_spec") == "bitstring" and m.bitstring.HasField("bit") for m in members):
            raise _refuse(f"digest {name}: only bit strings, and structs and tuples of them, are supported")
        found[number] = Digest(number, name, shape, tuple(_width(m.bitstring.bit.bitwidth, name) for m in members))
    return found


def _by_name(actions: Iterable[Action]) -> dict[str, Action]:
    named: dict[str, Action] = {}
    for action in actions:
        if action.name in named:
            raise _refuse(f"two actions are called {action.name}")
        named[action.name] = action
    return named


def read_p4info(p4info: Any) -> Schema:
    """Check and index a p4.config.v1.P4Info.

    Raises:
        P4Error: UNKNOWN, as BMv2 answers, with what is wrong.
    """
    ids = _Ids()
    actions = _actions(p4info, ids)
    counters, direct_counters = _counters(p4info, ids)
    meters, direct_meters = _meters(p4info, ids)
    tables: dict[int, Table] = {}
    for proto in p4info.tables:
        table = _table(proto, ids, actions, direct_counters, direct_meters)
        tables[table.id] = table
    headers = {h.preamble.name: _packet_header(h) for h in p4info.controller_packet_metadata}
    return Schema(
        tables=tables,
        actions=actions,
        actions_by_name=_by_name(actions.values()),
        counters=counters,
        meters=meters,
        packet_in=headers.get("packet_in"),
        packet_out=headers.get("packet_out"),
        digests=_digests(p4info, ids),
        profiles=_profiles(p4info, ids, tables.values()),
    )
