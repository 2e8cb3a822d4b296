# SPDX-License-Identifier: Apache-2.0
"""Expressions of the BMv2 JSON.

BMv2 computes in unbounded signed integers and cuts a value to a width only where it is stored. So every data expression
knows the interval that its value lies in; the code generator derives from it, and from how many low bits are observed,
the narrowest C type that is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Largest interval that an expression may reach: the widest C representation (codegen's wide integers) has 512 bits.
MAX_BITS = 511


@dataclass(frozen=True, eq=False)
class Header:
    """One header or metadata instance."""

    name: str
    index: int
    type: HeaderType
    metadata: bool


@dataclass(frozen=True)
class Field:
    name: str
    width: int
    signed: bool
    bit_offset: int  # from the most significant bit of the header


@dataclass(frozen=True, eq=False)
class HeaderType:
    name: str
    fields: tuple[Field, ...]
    bits: int
    wide: Mapping[str, tuple[Field, ...]] = field(default_factory=dict)  # pieces of fields of more than 128 bits
    listed: tuple[str, ...] = ()  # names as the JSON counts them

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)


@dataclass(frozen=True, eq=False)
class Stack:
    name: str
    index: int
    type: HeaderType
    headers: tuple[Header, ...]


@dataclass(frozen=True, eq=False)
class RegisterArray:
    name: str
    index: int
    size: int
    width: int


@dataclass(frozen=True)
class Data:
    """Base of integer-valued expressions; lo and hi bound the value, inclusive."""

    lo: int = field(init=False, compare=False)
    hi: int = field(init=False, compare=False)

    def _bounds(self, lo: int, hi: int) -> None:
        object.__setattr__(self, "lo", lo)
        object.__setattr__(self, "hi", hi)

    @property
    def bits(self) -> int:
        """Bits of two's complement (without sign where it cannot be negative) that hold every value."""
        if self.lo >= 0:
            return self.hi.bit_length()
        return max(self.hi.bit_length(), (-self.lo - 1).bit_length()) + 1

    def children(self) -> tuple[Data | Bool, ...]:
        return ()


@dataclass(frozen=True)
class Bool:
    """Base of boolean-valued expressions."""

    def children(self) -> tuple[Data | Bool, ...]:
        return ()


def _leaf_bounds(node: Data, width: int, signed: bool) -> None:
    if signed:
        node._bounds(-(1 << (width - 1)), (1 << (width - 1)) - 1)
    else:
        node._bounds(0, (1 << width) - 1)


@dataclass(frozen=True)
class Const(Data):
    value: int

    def __post_init__(self) -> None:
        self._bounds(self.value, self.value)


@dataclass(frozen=True)
class FieldRef(Data):
    header: Header
    field: Field

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.field.width, self.field.signed)


@dataclass(frozen=True)
class StackElem:
    """A header of a stack, chosen at run time."""

    stack: Stack
    index: Data


@dataclass(frozen=True)
class ElemField(Data):
    """A field of a header of a stack that is chosen at run time."""

    elem: StackElem
    field: Field

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.field.width, self.field.signed)

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.elem.index,)


@dataclass(frozen=True)
class HeaderBits(Data):
    """All of a header as one number. Made by the code generator: slices of it are loads, whatever fields they span."""

    place: Header | StackElem | Stack  # a stack stands for its last extracted element

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.type.bits, False)

    @property
    def type(self) -> HeaderType:
        return self.place.stack.type if isinstance(self.place, StackElem) else self.place.type

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.place.index,) if isinstance(self.place, StackElem) else ()


@dataclass(frozen=True)
class LastField(Data):
    """A field of the last extracted header of a stack."""

    stack: Stack
    field: Field

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.field.width, self.field.signed)


@dataclass(frozen=True)
class ValidBit(Data):
    """The hidden field `$valid$`."""

    header: Header

    def __post_init__(self) -> None:
        self._bounds(0, 1)


@dataclass(frozen=True)
class Local(Data):
    """A parameter of the action."""

    index: int
    width: int

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.width, False)


@dataclass(frozen=True)
class RegisterRef(Data):
    array: RegisterArray
    index: Data

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.array.width, False)

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.index,)


@dataclass(frozen=True)
class Lookahead(Data):
    """Bits in front of the parser's cursor."""

    offset: int
    width: int

    def __post_init__(self) -> None:
        _leaf_bounds(self, self.width, False)


@dataclass(frozen=True)
class StackSize(Data):
    """Number of headers extracted into the stack, or that minus one."""

    stack: Stack
    minus_one: bool

    def __post_init__(self) -> None:
        self._bounds(-1 if self.minus_one else 0, len(self.stack.headers))


def _mask_above(value: int) -> int:
    return (1 << value.bit_length()) - 1


@dataclass(frozen=True)
class Bin(Data):
    """op is one of + - * / % << >> & | ^"""

    op: str
    left: Data
    right: Data

    def __post_init__(self) -> None:
        self._bounds(*_bin_bounds(self.op, self.left, self.right))

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.left, self.right)


def _bin_bounds(op: str, a: Data, b: Data) -> tuple[int, int]:
    if op == "+":
        return a.lo + b.lo, a.hi + b.hi
    if op == "-":
        return a.lo - b.hi, a.hi - b.lo
    if op == "*":
        corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
        return min(corners), max(corners)
    if op in ("/", "%"):
        # BMv2 demands operands >= 0; a divisor of 0 gives 0 here and is counted.
        if op == "/":
            return 0, max(a.hi, 0)
        return 0, max(min(a.hi, b.hi - 1), 0)
    if op == "<<":
        reach = min(max(b.hi, 0), 4 * MAX_BITS)  # beyond it the interval is refused or cut anyway
        low = max(b.lo, 0)
        return (a.lo << reach if a.lo < 0 else a.lo << low), (a.hi << reach if a.hi > 0 else a.hi << low)
    if op == ">>":
        reach = min(max(b.hi, 0), 4 * MAX_BITS)
        low = max(b.lo, 0)
        return (a.lo >> low if a.lo < 0 else a.lo >> reach), (a.hi >> low if a.hi > 0 else a.hi >> reach)
    if op == "&":
        if a.lo >= 0 and b.lo >= 0:
            return 0, min(_mask_above(a.hi), _mask_above(b.hi), max(a.hi, b.hi))
        if a.lo >= 0:
            return 0, a.hi
        if b.lo >= 0:
            return 0, b.hi
        n = max(a.bits, b.bits) - 1
        return -(1 << n), (1 << n) - 1
    if op in ("|", "^"):
        if a.lo >= 0 and b.lo >= 0:
            return 0, _mask_above(max(a.hi, b.hi))
        n = max(a.bits, b.bits)
        return -(1 << n), (1 << n) - 1
    raise AssertionError(op)


@dataclass(frozen=True)
class Not(Data):
    """Bitwise complement: -x - 1."""

    value: Data

    def __post_init__(self) -> None:
        self._bounds(-self.value.hi - 1, -self.value.lo - 1)

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.value,)


@dataclass(frozen=True)
class Cast(Data):
    """kind is two_comp_mod (wrap into a signed width), sat_cast or usat_cast (saturate)."""

    kind: str
    value: Data
    width: int

    def __post_init__(self) -> None:
        if self.kind == "usat_cast":
            _leaf_bounds(self, self.width, False)
        else:
            _leaf_bounds(self, self.width, True)

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.value,)


@dataclass(frozen=True)
class Cond(Data):
    cond: Bool
    left: Data
    right: Data

    def __post_init__(self) -> None:
        self._bounds(min(self.left.lo, self.right.lo), max(self.left.hi, self.right.hi))

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.cond, self.left, self.right)


@dataclass(frozen=True)
class FromBool(Data):
    value: Bool

    def __post_init__(self) -> None:
        self._bounds(0, 1)

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.value,)


@dataclass(frozen=True)
class BoolConst(Bool):
    value: bool


@dataclass(frozen=True)
class Compare(Bool):
    """op is one of == != < <= > >="""

    op: str
    left: Data
    right: Data

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Logic(Bool):
    """op is one of and or == != ; both sides are always evaluated, as in BMv2."""

    op: str
    left: Bool
    right: Bool

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class LogicNot(Bool):
    value: Bool

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.value,)


@dataclass(frozen=True)
class ToBool(Bool):
    value: Data

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.value,)


@dataclass(frozen=True)
class IsValid(Bool):
    header: Header | StackElem

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.header.index,) if isinstance(self.header, StackElem) else ()


@dataclass(frozen=True)
class HeaderEq(Bool):
    """True when both headers are valid and all fields are equal."""

    left: Header
    right: Header
    negated: bool


@dataclass(frozen=True)
class CondBool(Bool):
    cond: Bool
    left: Bool
    right: Bool

    def children(self) -> tuple[Data | Bool, ...]:
        return (self.cond, self.left, self.right)


Expr = Data | Bool


def walk(node: Expr) -> Iterator[Expr]:
    """The node and everything below it."""
    yield node
    for child in node.children():
        yield from walk(child)
