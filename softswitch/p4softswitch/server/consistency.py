# SPDX-License-Identifier: Apache-2.0
"""Does a p4info describe this BMv2 JSON? BMv2 does not ask, and crashes or misbehaves later; this server asks first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .schema import MatchKind, Schema, Table
from .status import first_phase

_JSON_MATCH_TYPES: Mapping[MatchKind, frozenset[str]] = {
    MatchKind.EXACT: frozenset({"exact", "valid"}),
    MatchKind.LPM: frozenset({"lpm"}),
    MatchKind.TERNARY: frozenset({"ternary"}),
    MatchKind.RANGE: frozenset({"range"}),
    # p4c has BMv2 match an optional field as a ternary one.
    MatchKind.OPTIONAL: frozenset({"optional", "ternary"}),
}

_DAMAGE = (KeyError, TypeError, AttributeError, IndexError, ValueError)
"""What Python says of values of another kind than a program has in a place."""

_STACK_INDEX = re.compile(r"\[\d+\]$")


def parse_json(data: bytes) -> Mapping[str, Any]:
    """The program as an object, or an error that says where the text is damaged.

    Raises:
        P4Error: not JSON, or JSON that is no program.
    """
    try:
        program = json.loads(data)
    except (ValueError, RecursionError) as error:
        # Of the data itself nothing is repeated.
        reason = "it ends, or is damaged, at a place that cannot be told"
        if isinstance(error, json.JSONDecodeError):
            reason = f"line {error.lineno}, column {error.colno}"
        elif isinstance(error, UnicodeDecodeError):
            reason = f"byte {error.start} is no text"
        raise first_phase(f"the device config is not JSON: {reason}") from None
    if not isinstance(program, dict) or not isinstance(program.get("pipelines"), list):
        raise first_phase("the device config is not a BMv2 program: it has no pipelines")
    return program


class _Widths:
    """Bits of a match key's target."""

    def __init__(self, program: Mapping[str, Any]) -> None:
        types = {t["name"]: {f[0]: f[1] for f in t["fields"]} for t in program.get("header_types", ())}
        self._fields = {h["name"]: types[h["header_type"]] for h in program.get("headers", ())}

    def of(self, target: Any) -> int | None:
        if not isinstance(target, list) or len(target) != 2:
            return None
        header, member = target
        if member == "$valid$":
            return 1
        width = self._fields.get(header, self._fields.get(_STACK_INDEX.sub("[0]", header), {})).get(member)
        return width if isinstance(width, int) else None


def _check_table(table: Table, found: Mapping[str, Any], widths: _Widths, schema: Schema) -> None:
    keys = found.get("key", [])
    if len(keys) != len(table.fields):
        raise first_phase(
            f"table {table.name}: {len(table.fields)} match fields in the p4info, {len(keys)} in the program"
        )
    for key, match_field in zip(keys, table.fields, strict=True):
        if key["match_type"] not in _JSON_MATCH_TYPES[match_field.kind]:
            raise first_phase(f"table {table.name}, field {match_field.name}: the match types differ")
        width = widths.of(key["target"])
        if width is not None and width != match_field.bitwidth:
            raise first_phase(f"table {table.name}, field {match_field.name}: the widths differ")
    names = set(found.get("actions", ()))
    for number in table.actions:
        name = schema.actions[number].name
        if name not in names:
            raise first_phase(f"table {table.name} has no action {name} in the program")
    if table.idle_timeout and not found.get("support_timeout"):
        raise first_phase(f"table {table.name} has no idle timeout in the program")
    implementation = schema.profiles[table.profile].name if table.profile is not None else None
    if found.get("action_profile", found.get("act_prof_name")) != implementation:
        raise first_phase(f"table {table.name}: the action profiles differ")
    # For a constant table p4c writes its default size into the p4info and the number of entries into the program; for a
    # table without a key its default into the program, whatever the source says.
    if table.size != found.get("max_size", table.size) and not table.is_const and table.fields:
        raise first_phase(f"table {table.name}: the sizes differ")
    if table.counter is not None and not found.get("with_counters", False):
        raise first_phase(f"table {table.name} has no direct counter in the program")
    if table.meter is not None and not found.get("direct_meters"):
        raise first_phase(f"table {table.name} has no direct meter in the program")


def _check(schema: Schema, program: Mapping[str, Any]) -> None:
    widths = _Widths(program)
    tables = {t["name"]: t for pipeline in program["pipelines"] for t in pipeline.get("tables", ())}
    for table in schema.tables.values():
        if table.name not in tables:
            raise first_phase(f"the program has no table {table.name}")
        try:
            _check_table(table, tables[table.name], widths, schema)
        except _DAMAGE:
            raise first_phase(f"table {table.name}: the device config is damaged there") from None
    used = {number for table in schema.tables.values() for number in table.actions}
    actions: dict[str, Any] = {}
    for action in program.get("actions", ()):
        actions.setdefault(action["name"], action)  # p4c duplicates an action under one name; parameters are the same
    for number in used:
        action = schema.actions[number]
        if action.name not in actions:
            raise first_phase(f"the program has no action {action.name}")
        found = [p["bitwidth"] for p in actions[action.name].get("runtime_data", ())]
        if found != [p.bitwidth for p in action.params]:
            raise first_phase(f"action {action.name}: number or widths of the parameters differ")
    counters = {c["name"]: c.get("size") for c in program.get("counter_arrays", ()) if not c.get("is_direct")}
    for counter in schema.counters.values():
        if counters.get(counter.name) != counter.size:
            raise first_phase(f"the program has no counter {counter.name} of size {counter.size}")
    meters = {m["name"]: m.get("size") for m in program.get("meter_arrays", ()) if not m.get("is_direct")}
    for meter in schema.meters.values():
        if meters.get(meter.name) != meter.size:
            raise first_phase(f"the program has no meter {meter.name} of size {meter.size}")


def check(schema: Schema, data: bytes) -> None:
    """Everything that the p4info promises must be in the program; the program may have more (hidden tables).

    Raises:
        P4Error: UNKNOWN, as BMv2 answers where it notices, with the first difference.
    """
    program = parse_json(data)
    try:
        _check(schema, program)
    except _DAMAGE:
        raise first_phase(
            "the device config is not a BMv2 program: its tables, actions or arrays are damaged"
        ) from None
