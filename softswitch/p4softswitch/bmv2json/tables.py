# SPDX-License-Identifier: Apache-2.0
"""Pipelines: tables, conditionals and the way through them."""

from __future__ import annotations

from typing import Any

from p4softswitch.bmv2json import program as ir
from p4softswitch.bmv2json.expr import Data, FieldRef, ValidBit
from p4softswitch.bmv2json.profiles import ProfileReader
from p4softswitch.bmv2json.reader import Reader, hex_to_int, integer, malformed, name_of, read_each, refuse

_MAX_KEY_BITS = 2048


def read_pipeline(
    node: Any,
    reader: Reader,
    actions: dict[int, ir.Action],
    direct_meters: dict[str, ir.DirectMeter],
    tables: list[ir.Table],
    profiles: ProfileReader,
) -> ir.Pipeline:
    """One pipeline; its tables are appended to `tables`, which numbers them over all pipelines."""
    name = name_of(node, "pipelines")
    profiles.pipeline(node)
    nodes: dict[str, ir.Node] = {}

    def add(step: ir.Node) -> None:
        if step.name in nodes:
            malformed(f"two nodes are called {step.name}", f"pipeline {name}")
        nodes[step.name] = step

    def read_table(entry: Any) -> None:
        table = _table(entry, len(tables), reader, actions, direct_meters, profiles)
        tables.append(table)
        add(table)

    def read_call(entry: Any) -> None:
        where = f"action call {entry['name']}"
        action = actions.get(integer(entry["action_id"], "the action", where))
        if action is None:
            malformed(f"there is no action {entry['action_id']}", where)
        if action.params:
            malformed(f"action {action.name} takes parameters", where)
        add(ir.ActionCallNode(name_of(entry, where), action.id, entry.get("next_node")))

    read_each(node, "tables", "table", read_table)
    read_each(node, "conditionals", "conditional", lambda entry: add(_conditional(entry, reader)))
    read_each(node, "action_calls", "action call", read_call)
    for step in [node.get("init_table"), *(n for found in nodes.values() for n in successors(found))]:
        if step is not None and step not in nodes:
            malformed(f"there is no node {step}", f"pipeline {name}")
    return ir.Pipeline(name, node.get("init_table"), nodes)


def _conditional(entry: Any, reader: Reader) -> ir.Conditional:
    where = f"conditional {entry['name']}"
    test = reader.bool(entry["expression"], where)
    return ir.Conditional(name_of(entry, where), test, entry.get("true_next"), entry.get("false_next"))


def successors(node: ir.Node) -> list[str | None]:
    """Names of the nodes that may follow."""
    if isinstance(node, ir.Conditional):
        return [node.true_next, node.false_next]
    if isinstance(node, ir.ActionCallNode):
        return [node.next_node]
    following = list(node.next_by_action.values())
    if node.next_hit_miss is not None:
        following = list(node.next_hit_miss)
    return [*following, node.base_default_next]


def _table(
    node: Any,
    index: int,
    reader: Reader,
    actions: dict[int, ir.Action],
    direct_meters: dict[str, ir.DirectMeter],
    profiles: ProfileReader,
) -> ir.Table:
    where = f"table {node['name']}"
    name = name_of(node, where)
    profile = profiles.of_table(node, where)
    key = tuple(_key_field(k, reader, where) for k in node["key"])
    if sum(k.width for k in key) > _MAX_KEY_BITS:
        refuse(f"a key of more than {_MAX_KEY_BITS} bits", where)
    try:
        kind = ir.MatchKind(node["match_type"])
    except ValueError:
        refuse(f"match type {node['match_type']!r}", where)
    _check_kinds(kind, key, where)
    action_ids = _action_ids(node, actions, where)
    for action_id in action_ids:
        if action_id not in actions:
            malformed(f"there is no action {action_id}", where)
    if len({actions[a].name for a in action_ids}) != len(action_ids):
        refuse("two actions of one name in a table", where)
    next_tables = node["next_tables"]
    hit_miss = None
    next_by_action: dict[int, str | None] = {}
    if "__HIT__" in next_tables or "__MISS__" in next_tables:
        if set(next_tables) != {"__HIT__", "__MISS__"}:
            malformed("next_tables mixes hit and miss with actions", where)
        hit_miss = (next_tables["__HIT__"], next_tables["__MISS__"])
    else:
        for action_id in action_ids:
            if actions[action_id].name not in next_tables:
                malformed(f"next_tables lacks {actions[action_id].name}", where)
            next_by_action[action_id] = next_tables[actions[action_id].name]
    meter_name = node.get("direct_meters")
    if meter_name is not None and meter_name not in direct_meters:
        malformed(f"there is no direct meter {meter_name}", where)
    entries = tuple(_const_entry(e, key, actions, where) for e in node.get("entries", []))
    if "max_size" not in node and "entries" not in node:
        malformed("neither max_size nor entries", where)
    return ir.Table(
        name=name,
        index=index,
        key=key,
        match_kind=kind,
        max_size=len(entries) if "entries" in node else integer(node["max_size"], "max_size", where),
        with_counters=bool(node.get("with_counters")),
        meter=direct_meters[meter_name] if meter_name is not None else None,
        actions=action_ids,
        default=_default_entry(node.get("default_entry"), actions, where),
        base_default_next=node.get("base_default_next"),
        next_by_action=next_by_action,
        next_hit_miss=hit_miss,
        entries=entries,
        immutable="entries" in node,
        profile=profile,
        idle_timeout=bool(node.get("support_timeout")),
    )


def _action_ids(node: Any, actions: dict[int, ir.Action], where: str) -> tuple[int, ...]:
    if "action_ids" in node:
        return tuple(integer(a, "an action", where) for a in node["action_ids"])
    # Before actions could share a name, tables named them.
    by_name = {action.name: action.id for action in reversed(actions.values())}
    for name in node["actions"]:
        if name not in by_name:
            malformed(f"there is no action {name}", where)
    return tuple(by_name[name] for name in node["actions"])


def _key_field(node: Any, reader: Reader, where: str) -> ir.KeyField:
    try:
        kind = ir.MatchKind(node["match_type"])
    except ValueError:
        refuse(f"match type {node['match_type']!r}", where)
    source: Data
    if kind is ir.MatchKind.VALID:
        target = node["target"]
        header = reader.header(target if isinstance(target, str) else target[0], where)
        return ir.KeyField(node.get("name") or header.name, kind, ValidBit(header), None, 1, None)
    source = reader.field(node["target"], where)
    width = source.field.width if isinstance(source, FieldRef) else 1
    owner = source.header if isinstance(source, FieldRef) and not source.header.metadata else None
    mask = node.get("mask")
    name = node.get("name") or ".".join(node["target"])
    return ir.KeyField(name, kind, source, owner, width, None if mask is None else hex_to_int(mask, where))


def _check_kinds(kind: ir.MatchKind, key: tuple[ir.KeyField, ...], where: str) -> None:
    allowed = {
        ir.MatchKind.EXACT: {ir.MatchKind.EXACT, ir.MatchKind.VALID},
        ir.MatchKind.LPM: {ir.MatchKind.EXACT, ir.MatchKind.VALID, ir.MatchKind.LPM},
        ir.MatchKind.TERNARY: set(ir.MatchKind) - {ir.MatchKind.RANGE},
        ir.MatchKind.RANGE: set(ir.MatchKind),
    }[kind] if kind is not ir.MatchKind.VALID else set()  # fmt: skip
    for part in key:
        if part.kind not in allowed:
            malformed(f"a {part.kind.value} key in a table of type {kind.value}", where)
    if sum(part.kind is ir.MatchKind.LPM for part in key) > 1:
        malformed("two lpm keys", where)


def _args(action_id: Any, data: list[Any], actions: dict[int, ir.Action], where: str) -> tuple[int, tuple[int, ...]]:
    if integer(action_id, "an action", where) not in actions:
        malformed(f"there is no action {action_id}", where)
    action = actions[action_id]
    if len(data) != len(action.params):
        malformed(f"action {action.name} takes {len(action.params)} parameters", where)
    values = tuple(hex_to_int(v, where) & ((1 << p.width) - 1) for v, p in zip(data, action.params, strict=True))
    return action.id, values


def _default_entry(node: Any, actions: dict[int, ir.Action], where: str) -> ir.DefaultEntry | None:
    if node is None:
        return None
    action, args = _args(node["action_id"], node.get("action_data", []), actions, where)
    return ir.DefaultEntry(
        action, args, bool(node.get("action_const", False)), bool(node.get("action_entry_const", False))
    )


def _const_entry(node: Any, key: tuple[ir.KeyField, ...], actions: dict[int, ir.Action], where: str) -> ir.ConstEntry:
    if len(node["match_key"]) != len(key):
        malformed("an entry with another number of key fields", where)
    parts = []
    for part, field in zip(node["match_key"], key, strict=True):
        if part["match_type"] != field.kind.value:
            malformed(f"an entry with a {part['match_type']} key where {field.kind.value} stands", where)
        if field.kind is ir.MatchKind.VALID:
            parts.append(ir.ConstKey(int(bool(part["key"]))))
        elif field.kind is ir.MatchKind.LPM:
            parts.append(
                ir.ConstKey(
                    hex_to_int(part["key"], where),
                    prefix_len=integer(part["prefix_length"], "a prefix", where, high=field.width),
                )
            )
        elif field.kind is ir.MatchKind.TERNARY:
            parts.append(ir.ConstKey(hex_to_int(part["key"], where), mask=hex_to_int(part["mask"], where)))
        elif field.kind is ir.MatchKind.RANGE:
            parts.append(ir.ConstKey(hex_to_int(part["start"], where), mask=hex_to_int(part["end"], where)))
        else:
            parts.append(ir.ConstKey(hex_to_int(part["key"], where)))
    entry = node["action_entry"]
    action, args = _args(entry["action_id"], entry["action_data"], actions, where)
    return ir.ConstEntry(tuple(parts), integer(node.get("priority", 0), "the priority", where), action, args)
