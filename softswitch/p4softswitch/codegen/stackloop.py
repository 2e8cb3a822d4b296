# SPDX-License-Identifier: Apache-2.0
"""Parser states that fill a stack by going round: recognized, so that all turns become one copy.

The state extracts into a stack, takes the size of a turn from a counter of what is left, and goes on as long as the
counter has bits above that size. Then the number of turns is the counter shifted right.
"""

from __future__ import annotations

from dataclasses import dataclass

from p4softswitch.bmv2json import expr as x
from p4softswitch.bmv2json import program as ir
from p4softswitch.codegen.pieces import pieces


@dataclass(frozen=True)
class StackLoop:
    stack: x.Stack
    left: x.FieldRef  # counter of what is left
    shift: int  # a turn takes 1 << shift from it
    tested: x.FieldRef  # the counter without its low bits; 0 ends the loop
    leave: str | None  # the state behind the loop


def stack_loop(state: ir.ParseState) -> StackLoop | None:
    """None unless the state has exactly this shape."""
    if len(state.ops) != 3 or len(state.key) != 1 or len(state.transitions) != 2:
        return None
    extract, take, test = state.ops
    if not (isinstance(extract, ir.Extract) and isinstance(extract.target, x.Stack)):
        return None
    if not (isinstance(take, ir.Assign) and isinstance(test, ir.Assign)):
        return None
    left, tested = take.target, test.target
    if not (_plain(left) and _plain(tested)) or left == tested or state.key[0] != tested:
        return None
    assert isinstance(left, x.FieldRef)
    assert isinstance(tested, x.FieldRef)
    amount = _taken(take.value, left)
    if amount is None or amount & (amount - 1):
        return None
    shift = amount.bit_length() - 1
    found = pieces(test.value, 0, tested.field.width)
    if len(found) != 1 or (found[0].source, found[0].src, found[0].dst) != (left, shift, 0):
        return None
    if found[0].width != left.field.width - shift:
        return None
    last, again = state.transitions
    if last.value != 0 or last.mask is not None or again.value is not None or again.next_state != state.name:
        return None
    return StackLoop(extract.target, left, shift, tested, last.next_state)


def _plain(target: ir.LValue) -> bool:
    return isinstance(target, x.FieldRef) and target.header.metadata and not target.field.signed


def _taken(value: x.Data, left: ir.LValue) -> int | None:
    """k, if the value is left - k modulo the width of left."""
    size = 1 << left.field.width
    if isinstance(value, x.Bin) and value.op == "&" and value.right == x.Const(size - 1):
        value = value.left
    if isinstance(value, x.Bin) and value.left == left and isinstance(value.right, x.Const):
        if value.op == "-":
            return value.right.value % size
        if value.op == "+":
            return -value.right.value % size
    return None
