# SPDX-License-Identifier: Apache-2.0
"""The form that compilers gave a BMv2 JSON before p4c had expressions, numbers of actions and names of keys."""

from __future__ import annotations

import copy
from typing import Any

_PRIMITIVES = {"+": "add", "-": "subtract", "&": "bit_and", "|": "bit_or", "^": "bit_xor"}
_SHIFTS = {"<<": "shift_left", ">>": "shift_right"}
_RENAMED = {"assign": "modify_field", "assign_header": "copy_header"}


def _inner(node: Any) -> Any:
    while isinstance(node, dict) and node.get("type") == "expression" and "type" in node["value"]:
        node = node["value"]
    return node


def _computed(primitive: Any, width: int) -> Any:
    """`f = (a + b) & mask` as add(f, a, b), or add_to_field(f, b) where f is a."""
    target, value = primitive["parameters"][0], _inner(primitive["parameters"][1])
    if value.get("type") != "expression" or value["value"]["op"] != "&":
        return primitive
    mask = _inner(value["value"]["right"])
    inner = _inner(value["value"]["left"])
    if mask.get("type") != "hexstr" or int(mask["value"], 16) != (1 << width) - 1 or inner.get("type") != "expression":
        return primitive
    op, left, right = (inner["value"].get(name) for name in ("op", "left", "right"))
    left, right = _inner(left), _inner(right)
    plain = {"field", "hexstr", "runtime_data"}
    names = _PRIMITIVES | (_SHIFTS if right and right.get("type") == "hexstr" else {})
    if op not in names or not left or not right or {left.get("type"), right.get("type")} - plain:
        return primitive
    if left == target and op in "+-":
        return {"op": "add_to_field" if op == "+" else "subtract_from_field", "parameters": [target, right]}
    return {"op": names[op], "parameters": [target, left, right]}


def older(program: Any) -> tuple[Any, dict[str, int]]:
    """The program in the older form, and how often each part of it was put into it."""
    result = copy.deepcopy(program)
    changed: dict[str, int] = {}

    def count(what: str) -> None:
        changed[what] = changed.get(what, 0) + 1

    result["__meta__"] = {"version": [2, 5], "compiler": "https://github.com/p4lang/p4c-bm"}
    for section in ("enums", "header_union_types", "header_unions", "header_union_stacks", "extern_instances"):
        result.pop(section, None)
    types = {t["name"]: {f[0]: f[1] for f in t["fields"]} for t in result["header_types"]}
    widths = {h["name"]: types[h["header_type"]] for h in result["headers"]}
    for header_type in result["header_types"]:
        header_type["fields"] = [f[:2] if not any(f[2:]) else f for f in header_type["fields"]]
    names = [a["name"] for a in result["actions"]]
    for action in result["actions"]:
        for number, primitive in enumerate(action["primitives"]):
            target = primitive["parameters"][0] if primitive["parameters"] else {}
            new = primitive
            if primitive["op"] == "assign" and target.get("type") == "field":
                new = _computed(primitive, widths[target["value"][0]][target["value"][1]])
            elif primitive["op"] == "mark_to_drop":
                new = {"op": "drop", "parameters": []}
            new = {"op": _RENAMED.get(new["op"], new["op"]), "parameters": new["parameters"]}
            if new["op"] != primitive["op"]:
                count(new["op"])
            action["primitives"][number] = new
    for table in (t for p in result["pipelines"] for t in p["tables"]):
        for key in table["key"]:
            key.pop("name", None)
        if all(names.count(name) == 1 for name in table["actions"]):
            del table["action_ids"]
            count("actions by name")
    return result, changed
