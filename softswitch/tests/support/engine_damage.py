# SPDX-License-Identifier: Apache-2.0
"""Damaged programs: what truncation, bit rot, another compiler or an attacker makes of a BMv2 JSON."""

from __future__ import annotations

import copy
import random
from typing import Any

_VALUES = (
    None, True, False, 0, -1, 1, 7, 9, 1 << 31, 1 << 70, 1.5, "", "0x", "0x1", "-0x5", "x", "\ud800", "*/", "\\",
    "$valid$", "default", "ingress", "scalars", "exact", "ternary", "range", "lpm", "valid", "field", "hexstr", "bool",
    "stack_field", "lookahead", "expression", "local", "header", "header_stack", "register", "assign", "==", "?", "<<",
    [], {}, [[]], [0], ["x", "y"], ["ethernet", "dst"],
)  # fmt: skip


def _places(node: Any, found: list[tuple[Any, Any]]) -> None:
    """(object or list, key or index) of every value."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found.append((node, key))
        _places(value, found)


def damage(program: Any, rng: random.Random, times: int) -> Any:
    """A copy of the program with a few values gone, altered, exchanged or doubled."""
    result = copy.deepcopy(program)
    for _ in range(times):
        places: list[tuple[Any, Any]] = []
        _places(result, places)
        if not places:
            break
        owner, key = rng.choice(places)
        other_owner, other_key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del owner[key]
        elif kind == 1:
            owner[key] = copy.deepcopy(other_owner[other_key])
        elif kind == 2 and isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        elif kind == 3 and isinstance(owner[key], int):
            owner[key] += rng.choice((-1, 1, 1000))
        else:
            owner[key] = copy.deepcopy(rng.choice(_VALUES))
    return result
