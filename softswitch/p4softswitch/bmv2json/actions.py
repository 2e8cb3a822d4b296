# SPDX-License-Identifier: Apache-2.0
"""Primitives of actions and operations of the parser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from p4softswitch.bmv2json import program as ir
from p4softswitch.bmv2json.expr import (
    MAX_BITS,
    Bin,
    Bool,
    Cast,
    Const,
    Data,
    FieldRef,
    FromBool,
    Header,
    LastField,
    Lookahead,
    Not,
    Stack,
    StackElem,
    walk,
)
from p4softswitch.bmv2json.reader import Reader, hex_to_int, integer, malformed, name_of, place, refuse
from p4softswitch.bmv2json.wide import wide_field

_ASSIGNMENTS = ("assign", "modify_field")
_COMPUTING = {
    "add": "+", "subtract": "-", "bit_and": "&", "bit_or": "|", "bit_xor": "^", "shift_left": "<<", "shift_right": ">>",
}  # fmt: skip
_MAX_LOOKAHEAD = 1 << 16
"""Bits from which a lookahead may begin at most."""


class ActionReader:
    """Reads primitives; knows the named objects that they refer to."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.counters: dict[str, ir.CounterArray] = {}
        self.meters: dict[str, ir.MeterArray] = {}
        self.calculations: dict[str, ir.Calculation] = {}
        self._by_op: dict[str, tuple[int, Callable[[list[Any], str], ir.Primitive]]] = {
            "assign": (2, self._assign),
            "modify_field": (2, self._assign),
            "assign_header": (2, self._assign_header),
            "copy_header": (2, self._assign_header),
            "assign_header_stack": (2, self._assign_stack),
            "add_header": (1, lambda p, w: ir.SetValidity(self._header(p[0], w), True)),
            "remove_header": (1, lambda p, w: ir.SetValidity(self._header(p[0], w), False)),
            "push": (2, lambda p, w: self._push_pop(p, w, True)),
            "pop": (2, lambda p, w: self._push_pop(p, w, False)),
            "_jump": (1, lambda p, w: ir.Jump(self._const(p[0], w), None)),
            "_jump_if_zero": (2, lambda p, w: ir.Jump(self._const(p[1], w), self.reader.data(p[0], w))),
            "count": (2, self._count),
            "execute_meter": (3, self._meter),
            "register_read": (3, self._register_read),
            "register_write": (3, self._register_write),
            "modify_field_with_hash_based_offset": (4, self._hash),
            "modify_field_rng_uniform": (3, self._random),
            "mark_to_drop": (1, lambda p, w: ir.MarkToDrop()),
            "drop": (0, lambda p, w: ir.MarkToDrop(by_alias=True)),
            "truncate": (1, lambda p, w: ir.Truncate(self.reader.data(p[0], w))),
            "clone_ingress_pkt_to_egress": (2, self._clone),
            "clone_egress_pkt_to_egress": (2, self._clone),
            "resubmit": (1, lambda p, w: ir.Resubmit(self.reader.data(p[0], w), False)),
            "recirculate": (1, lambda p, w: ir.Resubmit(self.reader.data(p[0], w), True)),
            "generate_digest": (2, lambda p, w: ir.Digest(self.reader.data(p[1], w))),
            "exit": (0, lambda p, w: ir.Exit()),
            "assert": (1, lambda p, w: ir.Assert(self._condition(p[0], w), False)),
            "assume": (1, lambda p, w: ir.Assert(self._condition(p[0], w), True)),
            "log_msg": (2, self._log_msg),
            "no_op": (0, lambda p, w: ir.NoOp()),
            # What compilers wrote that had no expressions yet.
            "add_to_field": (2, lambda p, w: self._computed("+", [p[0], *p], w)),
            "subtract_from_field": (2, lambda p, w: self._computed("-", [p[0], *p], w)),
            **{name: (3, self._computing(op)) for name, op in _COMPUTING.items()},
        }

    def primitive(self, node: Any, where: str) -> ir.Primitive:
        op = node.get("op")
        if op not in self._by_op:
            refuse(f"primitive {op!r}", where)
        where = f"{where}, primitive {op}"
        count, build = self._by_op[op]
        with place(where):
            params = node.get("parameters", [])
            if len(params) != count:
                malformed(f"{count} parameters are expected, not {len(params)}", where)
            return build(params, where)

    def action(self, node: Any) -> ir.Action:
        where = f"action {node.get('name')}"
        name = name_of(node, where)
        params = tuple(
            ir.Param(name_of(p, where), integer(p["bitwidth"], "a bitwidth", where)) for p in node["runtime_data"]
        )
        for param in params:
            if not 1 <= param.width <= 128:
                refuse(f"parameter {param.name} of {param.width} bits", where)
        self.reader.runtime_data = tuple(p.width for p in params)
        try:
            groups = [
                self._primitives(p, f"{where}, primitive {number}") for number, p in enumerate(node["primitives"])
            ]
        finally:
            self.reader.runtime_data = ()
        for primitive in (p for group in groups for p in group):
            if isinstance(primitive, ir.Jump) and not 0 <= primitive.target <= len(groups):
                malformed(f"jump to {primitive.target}", where)
        return ir.Action(name, integer(node["id"], "the id", where), params, _numbered(groups))

    def _primitives(self, node: Any, where: str) -> list[ir.Primitive]:
        """One, or several where an assignment has a target of more than 128 bits."""
        with place(where):
            params = node.get("parameters", [])
            target = (
                wide_field(params[0], self.reader.headers)
                if node.get("op") in _ASSIGNMENTS and len(params) == 2
                else None
            )
            if target is None:
                return [self.primitive(node, where)]
            source = wide_field(params[1], self.reader.headers)
            value = None if source is not None and len(source) == len(target) else self.reader.data(params[1], where)
            return list(_assignments(target, source, value, where))

    # Helpers ---------------------------------------------------------------------------------------------------------

    def _const(self, node: Any, where: str) -> int:
        value = self.reader.data(node, where)
        if not isinstance(value, Const):
            refuse("a computed value in this place", where)
        return value.value

    def _header(self, node: Any, where: str) -> Header | StackElem:
        return self.reader.header_ref(node, where)

    def _condition(self, node: Any, where: str) -> Data:
        value = self.reader.expression(node, where)
        if isinstance(value, Bool):
            return FromBool(value)
        if not isinstance(value, Data):
            malformed("a condition is expected", where)
        return value

    def _named(self, node: Any, kind: str, known: dict[str, Any], where: str) -> Any:
        if node.get("type") != kind or node.get("value") not in known:
            malformed(f"{kind} {node.get('value')!r} is not known here", where)
        return known[node["value"]]

    def _assign(self, params: list[Any], where: str) -> ir.Primitive:
        value = self.reader.expression(params[1], where)
        if isinstance(value, Bool):
            malformed("a boolean is assigned without b2d", where)
        if not isinstance(value, Data):
            malformed("a data value is expected", where)
        return ir.Assign(self.reader.lvalue(params[0], where), value)

    def _computed(self, op: str, params: list[Any], where: str) -> ir.Primitive:
        expression = {"type": "expression", "value": {"op": op, "left": params[1], "right": params[2]}}
        return self._assign([params[0], expression], where)

    def _computing(self, op: str) -> Callable[[list[Any], str], ir.Primitive]:
        return lambda params, where: self._computed(op, params, where)

    def _assign_header(self, params: list[Any], where: str) -> ir.Primitive:
        target, source = self._header(params[0], where), self._header(params[1], where)
        types = [h.stack.type if isinstance(h, StackElem) else h.type for h in (target, source)]
        if types[0] is not types[1]:
            malformed("headers of different types", where)
        return ir.AssignHeader(target, source)

    def _assign_stack(self, params: list[Any], where: str) -> ir.Primitive:
        target, source = (self.reader.expression(p, where) for p in params)
        if not isinstance(target, Stack) or not isinstance(source, Stack):
            malformed("header stacks are expected", where)
        if target.type is not source.type or len(target.headers) != len(source.headers):
            malformed("stacks of different types", where)
        return ir.AssignStack(target, source)

    def _push_pop(self, params: list[Any], where: str, push: bool) -> ir.Primitive:
        stack = self.reader.expression(params[0], where)
        if not isinstance(stack, Stack):
            malformed("a header stack is expected", where)
        count = self._const(params[1], where)
        return ir.PushPop(stack, min(integer(count, "the count", where), len(stack.headers)), push)

    def _count(self, params: list[Any], where: str) -> ir.Primitive:
        counter = self._named(params[0], "counter_array", self.counters, where)
        return ir.Count(counter, self.reader.data(params[1], where))

    def _meter(self, params: list[Any], where: str) -> ir.Primitive:
        meter = self._named(params[0], "meter_array", self.meters, where)
        return ir.ExecuteMeter(meter, self.reader.data(params[1], where), self.reader.lvalue(params[2], where))

    def _register(self, node: Any, where: str) -> Any:
        return self._named(node, "register_array", self.reader.registers, where)

    def _register_read(self, params: list[Any], where: str) -> ir.Primitive:
        target = self.reader.lvalue(params[0], where)
        return ir.RegisterRead(target, self._register(params[1], where), self.reader.data(params[2], where))

    def _register_write(self, params: list[Any], where: str) -> ir.Primitive:
        array = self._register(params[0], where)
        return ir.RegisterWrite(array, self.reader.data(params[1], where), self.reader.data(params[2], where))

    def _hash(self, params: list[Any], where: str) -> ir.Primitive:
        calculation = self._named(params[2], "calculation", self.calculations, where)
        target = self.reader.lvalue(params[0], where)
        return ir.Hash(target, self.reader.data(params[1], where), calculation, self.reader.data(params[3], where))

    def _random(self, params: list[Any], where: str) -> ir.Primitive:
        target = self.reader.lvalue(params[0], where)
        return ir.Random(target, self.reader.data(params[1], where), self.reader.data(params[2], where))

    def _clone(self, params: list[Any], where: str) -> ir.Primitive:
        return ir.Clone(self.reader.data(params[0], where), self.reader.data(params[1], where))

    def _log_msg(self, params: list[Any], where: str) -> ir.Primitive:
        text, args = params
        if (
            text.get("type") != "string"
            or not isinstance(text["value"], str)
            or args.get("type") != "parameters_vector"
        ):
            malformed("a format and a vector are expected", where)
        return ir.LogMsg(text["value"], tuple(self._condition(a, where) for a in args["value"]))

    # Parser ----------------------------------------------------------------------------------------------------------

    def parser_op(self, node: Any, where: str) -> ir.ParserOp:
        op = node.get("op")
        with place(f"{where}, {op}"):
            return self._parser_op(op, node.get("parameters", []), f"{where}, {op}")

    def _parser_op(self, op: Any, params: Any, where: str) -> ir.ParserOp:
        if op == "extract":
            kind, value = params[0].get("type"), params[0].get("value")
            if kind == "regular":
                return ir.Extract(self.reader.header(value, where))
            if kind == "stack":
                return ir.Extract(self.reader.stack(value, where))
            refuse(f"extract into {kind!r}", where)
        if op == "set":
            return self._set(params, where)
        if op == "verify":
            return ir.Verify(self.reader.bool(params[0], where), self.reader.data(params[1], where))
        if op == "shift":
            return ir.Advance(Const(8 * integer(params[0], "the distance", where)))
        if op == "advance":
            return ir.Advance(self.reader.data(params[0], where))
        if op == "primitive":
            primitive = self.primitive(params[0], where)
            if isinstance(primitive, ir.Jump | ir.Exit | ir.Clone | ir.Resubmit | ir.Digest | ir.Truncate):
                refuse("this primitive in a parser", where)
            return primitive
        refuse(f"parser operation {op!r}", where)

    def _set(self, params: list[Any], where: str) -> ir.ParserOp:
        target = self.reader.plain_field(params[0].get("value"), where)
        if params[0].get("type") != "field":
            refuse(f"set of {params[0].get('type')!r}", where)
        if params[1].get("type") == "lookahead":
            return ir.Assign(target, self.lookahead(params[1]["value"], where))
        value = self.reader.expression(params[1], where)
        if isinstance(value, Bool):
            return ir.Assign(target, FromBool(value))
        if not isinstance(value, Data):
            malformed("a data value is expected", where)
        return ir.Assign(target, value)

    def lookahead(self, value: Any, where: str) -> Lookahead:
        offset, width = (integer(number, "offset or width of a lookahead", where) for number in value)
        if not 1 <= width <= MAX_BITS or offset > _MAX_LOOKAHEAD:
            refuse(f"a lookahead of {width} bits at {offset}", where)
        return Lookahead(offset, width)

    def key_part(self, node: Any, where: str) -> FieldRef | LastField | Lookahead:
        kind, value = node.get("type"), node.get("value")
        if kind == "field":
            return self.reader.plain_field(value, where)
        if kind == "stack_field":
            stack = self.reader.stack(value[0], where)
            return LastField(stack, self.reader.field_of(stack.type, value[1], where))
        if kind == "lookahead":
            return self.lookahead(value, where)
        refuse(f"transition key {kind!r}", where)

    def transition(self, node: Any, where: str) -> ir.Transition:
        kind, value, following = node.get("type", "hexstr"), node.get("value"), node.get("next_state")
        if not isinstance(following, str | None):
            malformed("a state is expected", where)
        if kind == "default" or value == "default":
            return ir.Transition(None, None, following)
        if kind == "hexstr":
            mask = node.get("mask")
            mask_value = None if mask is None else hex_to_int(mask, where)
            return ir.Transition(hex_to_int(value, where), mask_value, following)
        refuse(f"transition {kind!r}", where)


def _assignments(
    target: list[FieldRef], source: list[FieldRef] | None, value: Data | None, where: str
) -> list[ir.Assign]:
    """The assignment of another field of the same width, or of a value."""
    if source is not None and [p.field.width for p in source] == [p.field.width for p in target]:
        return [ir.Assign(to, of) for to, of in zip(target, source, strict=True)]
    assert value is not None
    if not _upward(value, target):
        refuse("an assignment to a field of more than 128 bits of what is computed from its higher bits", where)
    result = []
    shift = sum(part.field.width for part in target)
    for part in target:
        shift -= part.field.width
        result.append(ir.Assign(part, Bin(">>", value, Const(shift))))
    return result


def _upward(node: Data, target: list[FieldRef]) -> bool:
    """Whether no bit of the value depends on a higher one of the target: then it can be written from the top down."""
    if node in target or not any(part in target for part in walk(node)):
        return True
    if isinstance(node, Not):
        return _upward(node.value, target)
    if isinstance(node, Cast) and node.kind == "two_comp_mod":
        return _upward(node.value, target)
    if not isinstance(node, Bin) or node.op not in ("+", "-", "*", "&", "|", "^", "<<"):
        return False
    if node.op == "<<" and not isinstance(node.right, Const):
        return False
    return _upward(node.left, target) and _upward(node.right, target)


def _numbered(groups: Sequence[list[ir.Primitive]]) -> tuple[ir.Primitive, ...]:
    """Primitives, some of which have become several, with the targets of jumps among them moved along."""
    starts = [0]
    for group in groups:
        starts.append(starts[-1] + len(group))
    return tuple(
        ir.Jump(starts[p.target], p.unless) if isinstance(p, ir.Jump) else p for group in groups for p in group
    )
