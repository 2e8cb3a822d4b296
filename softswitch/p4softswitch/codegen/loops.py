# SPDX-License-Identifier: Apache-2.0
"""Counting loops among the jumps of an action.

p4c turns `for (bit<8> i = 0; i < n; i = i + 1)` into jumps, and the step into an addition with a mask. The C compiler
does not see a loop with a known number of turns in that, so it neither unrolls nor keeps the counter out of the way.
Where it is certain that the counter never wraps, the loop is written as one again.
"""

from __future__ import annotations

from dataclasses import dataclass

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.liveness import target_of

_UNROLL_LIMIT = 16


@dataclass(frozen=True)
class Loop:
    """Primitives head (the test) to back (the jump to it); the step stands right before back."""

    head: int
    back: int
    counter: x.FieldRef
    test: x.Compare
    turns: int | None  # where the C compiler shall unroll

    @property
    def step(self) -> int:
        return self.back - 1


def find_loops(action: ir.Action) -> dict[int, Loop]:
    """Loops by the place of their test."""
    found = {}
    for head, node in enumerate(action.primitives):
        if isinstance(node, ir.Jump) and node.unless is not None:
            loop = _loop_at(action.primitives, head, node)
            if loop is not None:
                found[head] = loop
    return found


def _loop_at(primitives: tuple[ir.Primitive, ...], head: int, node: ir.Jump) -> Loop | None:
    back = node.target - 1
    if back <= head + 1:
        return None
    jump, step = primitives[back], primitives[back - 1]
    if not (isinstance(jump, ir.Jump) and jump.unless is None and jump.target == head):
        return None
    test = node.unless.value if isinstance(node.unless, x.FromBool) else None
    if not (isinstance(test, x.Compare) and test.op == "<" and isinstance(test.left, x.FieldRef)):
        return None
    counter = test.left
    if not counter.header.metadata or counter.field.signed or not _steps(step, counter):
        return None
    # Below the bound before the step, so at most the bound after it: it cannot wrap.
    if not 0 <= test.right.lo <= test.right.hi < 1 << counter.field.width:
        return None
    for at, other in enumerate(primitives):
        inside = head < at < back
        if inside and at != back - 1 and (target_of(other) == counter or _unclear(other)):
            return None
        if isinstance(other, ir.Jump):
            if other.target == head and at != back:
                return None
            if head < other.target <= back and not inside:
                return None
            if other.target == back:
                return None  # past the step
    return Loop(head, back, counter, test, _turns(primitives, head, counter, test))


def _unclear(node: ir.Primitive) -> bool:
    """Whether the primitive writes metadata of which it does not say what."""
    return isinstance(node, ir.AssignHeader | ir.AssignStack)


def _steps(node: ir.Primitive, counter: x.FieldRef) -> bool:
    """counter = (counter + 1) & mask of its width."""
    if not (isinstance(node, ir.Assign) and node.target == counter and isinstance(node.value, x.Bin)):
        return False
    value, mask = node.value, x.Const((1 << counter.field.width) - 1)
    if value.op == "&" and value.right == mask and isinstance(value.left, x.Bin):
        value = value.left
    return value.op == "+" and value.left == counter and value.right == x.Const(1)


def _turns(primitives: tuple[ir.Primitive, ...], head: int, counter: x.FieldRef, test: x.Compare) -> int | None:
    first = primitives[head - 1] if head else None
    if not isinstance(test.right, x.Const) or not isinstance(first, ir.Assign) or first.target != counter:
        return None
    if not isinstance(first.value, x.Const):
        return None
    turns = test.right.value - first.value.value
    return turns if 1 < turns <= _UNROLL_LIMIT else None
