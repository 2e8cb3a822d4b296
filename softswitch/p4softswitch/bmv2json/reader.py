# SPDX-License-Identifier: Apache-2.0
"""JSON expressions and references → nodes. Every unknown construct is refused with the place where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from p4softswitch.bmv2json.expr import (
    MAX_BITS,
    Bin,
    Bool,
    BoolConst,
    Cast,
    Compare,
    Cond,
    CondBool,
    Const,
    Data,
    ElemField,
    Field,
    FieldRef,
    FromBool,
    Header,
    HeaderEq,
    HeaderType,
    IsValid,
    LastField,
    Local,
    Logic,
    LogicNot,
    Not,
    RegisterArray,
    RegisterRef,
    Stack,
    StackElem,
    StackSize,
    ToBool,
    ValidBit,
)
from p4softswitch.bmv2json.wide import joined, wide_field
from p4softswitch.engine_api import UnsupportedProgram

_ARITHMETIC = {"+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^"}
_ORDER = {">", ">=", "<", "<="}
_MAX_DEPTH = 100
"""How deep expressions are nested at most: those that p4c makes of programs have a quarter of it."""

_T = TypeVar("_T")


def refuse(what: str, where: str) -> NoReturn:
    raise UnsupportedProgram(f"{where}: {what} is not implemented")


def malformed(what: str, where: str) -> NoReturn:
    raise UnsupportedProgram(f"{where}: malformed JSON: {what}")


@contextmanager
def place(where: str) -> Iterator[None]:
    """Damage of any kind within it is refused with the place."""
    try:
        yield
    except KeyError as error:
        malformed(f"{error.args[0]!a} is missing", where)
    except RecursionError:
        malformed("it is nested too deeply", where)
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError):
        malformed("something is not of the kind that belongs there", where)


def read_each(owner: Any, section: str, kind: str, read: Callable[[Any], _T]) -> list[_T]:
    """`read` of every object in a list of an object, with the place of what is damaged; a missing list is empty."""
    nodes = owner.get(section)
    if not isinstance(nodes, list | None):
        malformed("a list is expected", section)
    found = []
    for number, node in enumerate(nodes or ()):
        if not isinstance(node, dict):
            malformed("an object is expected", f"{section}, number {number}")
        name = node.get("name", number)
        if not isinstance(name, str | int):
            malformed("a name is expected", f"{section}, number {number}")
        with place(f"{kind} {name}"):
            found.append(read(node))
    return found


def integer(value: Any, what: str, where: str, low: int = 0, high: int = (1 << 31) - 1) -> int:
    """A number of the JSON."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        malformed(f"{what} is {str(value)[:40]!a}, not a number from {low} to {high}", where)
    return value


def name_of(node: Any, where: str) -> str:
    """The name of an object."""
    name = node["name"]
    if not isinstance(name, str) or not name:
        malformed("a name is expected", where)
    return name


def hex_to_int(text: Any, where: str) -> int:
    """A `hexstr`: hexadecimal with optional 0x and sign."""
    try:
        return int(text, 16)
    except (TypeError, ValueError):
        malformed(f"{text!r} is not a hexadecimal number", where)


class Reader:
    """Names of the program's objects, and the expressions over them."""

    def __init__(self) -> None:
        self.header_types: dict[str, HeaderType] = {}
        self.headers: dict[str, Header] = {}
        self.stacks: dict[str, Stack] = {}
        self.registers: dict[str, RegisterArray] = {}
        self._depth = 0
        self.runtime_data: tuple[int, ...] = ()  # widths of the parameters of the action that is being read

    # References ------------------------------------------------------------------------------------------------------

    def header(self, name: Any, where: str) -> Header:
        if name not in self.headers:
            malformed(f"there is no header {name!r}", where)
        return self.headers[name]

    def stack(self, name: Any, where: str) -> Stack:
        if name not in self.stacks:
            malformed(f"there is no header stack {name!r}", where)
        return self.stacks[name]

    def field_of(self, header_type: HeaderType, name: Any, where: str) -> Field:
        found = header_type.field(name)
        if name in header_type.wide or (found is not None and name not in header_type.listed):
            refuse(f"field {name} of more than 128 bits in this place", where)
        if found is None:
            malformed(f"header type {header_type.name} has no field {name!r}", where)
        return found

    def field(self, value: Any, where: str) -> FieldRef | ValidBit:
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
            refuse(f"field reference {value!r}", where)
        header = self.header(value[0], where)
        if value[1] == "$valid$":
            return ValidBit(header)
        return FieldRef(header, self.field_of(header.type, value[1], where))

    def plain_field(self, value: Any, where: str) -> FieldRef:
        found = self.field(value, where)
        if isinstance(found, ValidBit):
            refuse("writing $valid$", where)
        return found

    def register_array(self, name: Any, where: str) -> RegisterArray:
        if name not in self.registers:
            malformed(f"there is no register array {name!r}", where)
        return self.registers[name]

    # Expressions -----------------------------------------------------------------------------------------------------

    def data(self, node: Any, where: str) -> Data:
        result = self.expression(node, where)
        if not isinstance(result, Data):
            malformed("a data value is expected", where)
        if result.bits > MAX_BITS:
            refuse(f"an intermediate value of {result.bits} bits", where)
        return result

    def bool(self, node: Any, where: str) -> Bool:
        result = self.expression(node, where)
        if not isinstance(result, Bool):
            malformed("a boolean value is expected", where)
        return result

    def header_ref(self, node: Any, where: str) -> Header | StackElem:
        result = self.expression(node, where)
        if not isinstance(result, Header | StackElem):
            malformed("a header is expected", where)
        return result

    def lvalue(self, node: Any, where: str) -> FieldRef | ElemField | LastField:
        result = self.expression(node, where)
        if not isinstance(result, FieldRef | ElemField | LastField):
            refuse(f"writing to {type(result).__name__}", where)
        return result

    def expression(self, node: Any, where: str) -> Data | Bool | Header | StackElem | Stack:
        if self._depth == _MAX_DEPTH:
            refuse(f"an expression nested deeper than {_MAX_DEPTH}", where)
        self._depth += 1
        try:
            return self._expression(node, where)
        finally:
            self._depth -= 1

    def _expression(self, node: Any, where: str) -> Data | Bool | Header | StackElem | Stack:
        if not isinstance(node, dict) or "type" not in node:
            malformed(f"{str(node)[:80]} is not an expression", where)
        kind: Any = node["type"]
        value: Any = node.get("value")
        if kind == "expression":
            # p4c wraps an expression that is a parameter in another object of the same type.
            if isinstance(value, dict) and "type" in value:
                return self.expression(value, where)
            return self._operation(value, where)
        if kind == "field":
            parts = wide_field(node, self.headers)
            return self.field(value, where) if parts is None else joined(parts)
        if kind == "hexstr":
            return Const(hex_to_int(value, where))
        if kind == "bool":
            return BoolConst(bool(value))
        if kind in ("local", "runtime_data"):
            if not isinstance(value, int) or not 0 <= value < len(self.runtime_data):
                malformed(f"the action has no parameter {value!r}", where)
            return Local(value, self.runtime_data[value])
        if kind == "header":
            return self.header(value, where)
        if kind == "header_stack":
            return self.stack(value, where)
        if kind == "stack_field":
            stack = self.stack(value[0], where)
            return LastField(stack, self.field_of(stack.type, value[1], where))
        if kind == "register":
            return RegisterRef(self.register_array(value[0], where), self.data(value[1], where))
        refuse(f"expression of type {kind!r}", where)

    def _operation(self, node: Any, where: str) -> Data | Bool | Header | StackElem | Stack:
        if not isinstance(node, dict) or "op" not in node:
            malformed("an operation is expected", where)
        op, left, right = node["op"], node.get("left"), node.get("right")
        if op == "?":
            cond = self.bool(node.get("cond"), where)
            a, b = self.expression(left, where), self.expression(right, where)
            if isinstance(a, Data) and isinstance(b, Data):
                return Cond(cond, a, b)
            if isinstance(a, Bool) and isinstance(b, Bool):
                return CondBool(cond, a, b)
            refuse("operator ? over headers", where)
        if op in ("==", "!="):
            return self._equality(op, self.expression(left, where), self.expression(right, where), where)
        if op in _ORDER:
            return Compare(op, self.data(left, where), self.data(right, where))
        if op in ("and", "or"):
            return Logic(op, self.bool(left, where), self.bool(right, where))
        if op == "not":
            return LogicNot(self.bool(right, where))
        if op == "d2b":
            return ToBool(self.data(right, where))
        if op == "b2d":
            return FromBool(self.bool(right, where))
        if op == "valid":
            return IsValid(self.header_ref(right, where))
        if op == "~":
            return Not(self.data(right, where))
        if op in _ARITHMETIC:
            # Unary plus and minus come with an empty left side.
            first = Const(0) if left is None and op in ("+", "-") else self.data(left, where)
            return self._checked(Bin(op, first, self.data(right, where)), where)
        if op in ("two_comp_mod", "sat_cast", "usat_cast"):
            width = self.data(right, where)
            if not isinstance(width, Const) or width.value < 1:
                refuse(f"{op} with a computed width", where)
            return Cast(op, self.data(left, where), width.value)
        if op in ("dereference_header_stack", "dereference_stack"):
            stack = self.expression(left, where)
            if not isinstance(stack, Stack):
                malformed("a header stack is expected", where)
            index = self.data(right, where)
            if isinstance(index, Const) and 0 <= index.value < len(stack.headers):
                return stack.headers[index.value]
            return StackElem(stack, index)
        if op == "access_field":
            header = self.header_ref(left, where)
            header_type = header.stack.type if isinstance(header, StackElem) else header.type
            if not isinstance(right, int) or not 0 <= right <= len(header_type.listed):
                malformed(f"header type {header_type.name} has no field {right!r}", where)
            if right == len(header_type.listed):  # the hidden field stands behind the others
                refuse("access_field of $valid$", where)
            found = self.field_of(header_type, header_type.listed[right], where)
            return ElemField(header, found) if isinstance(header, StackElem) else FieldRef(header, found)
        if op in ("last_stack_index", "size_stack"):
            stack = self.expression(right if right is not None else left, where)
            if not isinstance(stack, Stack):
                malformed("a header stack is expected", where)
            return StackSize(stack, op == "last_stack_index")
        refuse(f"operator {op!r}", where)

    @staticmethod
    def _checked(node: Data, where: str) -> Data:
        """A shift by a computed amount may reach far; only what is observed of it counts, so cut the interval."""
        if isinstance(node, Bin) and node.op == "<<" and node.bits > MAX_BITS and not isinstance(node.right, Const):
            node._bounds(-(1 << (MAX_BITS - 1)) if node.lo < 0 else 0, (1 << (MAX_BITS - 1)) - 1)
        return node

    @staticmethod
    def _equality(op: str, a: Any, b: Any, where: str) -> Bool:
        if isinstance(a, Data) and isinstance(b, Data):
            return Compare(op, a, b)
        if isinstance(a, Bool) and isinstance(b, Bool):
            return Logic(op, a, b)
        if isinstance(a, Header) and isinstance(b, Header):
            return HeaderEq(a, b, op == "!=")
        refuse(f"operator {op} between these operands", where)
