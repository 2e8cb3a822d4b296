# SPDX-License-Identifier: Apache-2.0
"""Expressions → C.

`low(e, d)` gives an integer that equals e modulo 2**d: only what is observed is computed, in the narrowest type. Where
the true value counts (comparison, shift right, division, saturation) `exact` and `signed` give it in a type that holds
the whole interval, and beyond 128 bits the wide integers of the runtime do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from p4softswitch.bmv2json import expr as x
from p4softswitch.codegen.layout import Layout, c_bits, c_type, storage_unit
from p4softswitch.codegen.pieces import Piece, byte_swap, pieces, rotation

_NATIVE = 128


def header_type_of(node: x.FieldRef | x.ElemField | x.LastField) -> x.HeaderType:
    if isinstance(node, x.FieldRef):
        return node.header.type
    return node.elem.stack.type if isinstance(node, x.ElemField) else node.stack.type


@dataclass(frozen=True)
class CValue:
    """C text of an unsigned type of `bits` bits; the value is below 2**size."""

    text: str
    bits: int
    size: int


class Environment(Protocol):
    """What the expressions find around them: variables, temporaries."""

    def metadata(self, ref: x.FieldRef) -> str: ...
    def cursor(self) -> str: ...


def number(value: int, bits: int) -> str:
    """C literal."""
    if bits <= 32:
        return f"{value:#x}u"
    if bits <= 64:
        return f"{value:#x}ull"
    return f"U128({value >> 64:#x}ull, {value & (2**64 - 1):#x}ull)"


def convert(value: CValue, bits: int) -> CValue:
    if value.bits == bits:
        return value
    return CValue(f"({c_type(bits)})({value.text})", bits, min(value.size, bits))


def masked(value: CValue, width: int) -> CValue:
    if value.size <= width:
        return value
    return CValue(f"({value.text} & {number((1 << width) - 1, value.bits)})", value.bits, width)


class Values:
    """Translates expressions; temporaries that they need are appended to `before`."""

    def __init__(self, layout: Layout, environment: Environment) -> None:
        self.layout = layout
        self.environment = environment
        self.before: list[str] = []
        self._temporaries = 0
        self._elements: dict[x.StackElem, str] = {}

    def take_before(self) -> list[str]:
        taken, self.before = self.before, []
        return taken

    def forget_elements(self, written: x.FieldRef | x.ElemField | x.LastField | None = None) -> None:
        """A stack element is looked up once while its index stays: until `written` may change it, or (None) now."""
        if written is None:
            self._elements.clear()
        in_header = not (isinstance(written, x.FieldRef) and written.header.metadata)
        for elem in list(self._elements):
            parts = list(x.walk(elem.index))
            reads_header = any(
                isinstance(p, x.ElemField | x.LastField) or (isinstance(p, x.FieldRef) and not p.header.metadata)
                for p in parts
            )
            if written in parts or (in_header and reads_header):
                del self._elements[elem]

    def temporary(self, value: CValue) -> CValue:
        """The value in a variable, so that it can be named more than once."""
        name = f"t{self._temporaries}"
        self._temporaries += 1
        self.before.append(f"{c_type(value.bits)} {name} = {value.text};")
        return CValue(name, value.bits, value.size)

    # Integers --------------------------------------------------------------------------------------------------------

    def low(self, node: x.Data, width: int) -> CValue:
        """An integer of the type for `width` that is congruent to the value modulo 2**width."""
        bits = c_bits(width)
        found = pieces(node, 0, width)
        if not found:
            return CValue(number(0, bits), bits, 0)
        inner = found[0]
        if len(found) == 1 and inner.dst == inner.src == 0 and not isinstance(inner.source, x.HeaderBits | None):
            value = self._compute(inner.source, inner.width)
            # What was computed is right in inner.width bits only; where more are looked at, those are zero.
            return convert(masked(value, inner.width) if inner.width < width else value, bits)
        return self._assemble(found, bits)

    def exact(self, node: x.Data) -> CValue:
        """The true value of an expression that cannot be negative and has at most 128 bits."""
        width = max(node.bits, 1)
        return masked(self.low(node, width), width)

    def clean(self, node: x.Data, width: int) -> CValue:
        """The value modulo 2**width, nothing above."""
        return masked(self.low(node, width), width)

    def signed(self, node: x.Data, bits: int) -> str:
        """The true value in a signed C type of that many bits, which must hold the interval."""
        kind = {32: "int32_t", 64: "int64_t", 128: "i128"}[bits]
        if node.lo >= 0:
            return f"({kind})({convert(self.exact(node), bits).text})"
        return f"({kind})({self.low(node, bits).text})"

    def wide(self, node: x.Data) -> str:
        """The true value as a wide integer."""
        if node.bits <= _NATIVE:
            if node.lo >= 0:
                return f"w_from_u({convert(self.exact(node), 128).text})"
            return f"w_from_s({self.signed(node, 128)})"
        if isinstance(node, x.Const):
            raw = node.value & ((1 << 512) - 1)
            limbs = ", ".join(f"{(raw >> (64 * i)) & (2**64 - 1):#x}ull" for i in range(8))
            return f"(wide_t){{{{{limbs}}}}}"
        if isinstance(node, x.Bin):
            names = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
            if node.op in names:
                return f"w_{names[node.op]}({self.wide(node.left)}, {self.wide(node.right)})"
            if node.op in ("<<", ">>"):
                name = "shl" if node.op == "<<" else "shr"
                return f"w_{name}({self.wide(node.left)}, {self._amount(node.right).text})"
            name = "div" if node.op == "/" else "mod"
            return f"w_{name}(S, {self.wide(node.left)}, {self.wide(node.right)})"
        if isinstance(node, x.Not):
            return f"w_not({self.wide(node.value)})"
        if isinstance(node, x.Cond):
            return f"({self.boolean(node.cond)} ? {self.wide(node.left)} : {self.wide(node.right)})"
        if isinstance(node, x.Cast):
            if node.kind == "two_comp_mod":
                return f"w_wrap({self.wide(node.value)}, {node.width})"
            return f"w_saturate({self.wide(node.value)}, {node.width}, {int(node.kind == 'sat_cast')})"
        raise AssertionError(type(node).__name__)

    def _assemble(self, found: list[Piece], bits: int) -> CValue:
        """Pieces → C, with byte swaps and rotations where they are."""
        shared: dict[x.Data, int] = {}
        for piece in found:
            if piece.source is not None:
                shared[piece.source] = max(shared.get(piece.source, 0), piece.src + piece.width)
        uses = {s: sum(p.source == s for p in found) for s in shared}
        kept: dict[x.Data, CValue] = {}
        parts: list[str] = []
        at, size = 0, 0
        while at < len(found):
            piece, taken = found[at], 1
            for count in (16, 8, 4, 2):
                if byte_swap(found, at, count):
                    start = found[at + count - 1].src
                    value = self._slice(piece.source, start, 8 * count, shared, uses, kept)
                    inner = convert(value, max(32, 8 * count))
                    swap = f"__builtin_bswap{8 * count}" if count < 16 else "bswap128"
                    if count == 2:
                        # A short is promoted to a signed int, which a shift would overflow.
                        value = CValue(f"(uint32_t){swap}((uint16_t)({inner.text}))", 32, 16)
                    else:
                        value = CValue(f"{swap}({inner.text})", 8 * count, 8 * count)
                    taken = count
                    break
            else:
                width = rotation(found, at)
                if width is not None:
                    high = found[at + 1]
                    value = self._slice(piece.source, high.src, width, shared, uses, kept)
                    value = CValue(f"ROTL{width}({convert(value, width).text}, {piece.width})", width, width)
                    taken = 2
                elif piece.source is None:
                    value = CValue(number(piece.value, c_bits(piece.width)), c_bits(piece.width), piece.width)
                else:
                    value = self._slice(piece.source, piece.src, piece.width, shared, uses, kept)
            text = convert(value, bits).text
            parts.append(f"({text} << {piece.dst})" if piece.dst else text)
            size = max(size, piece.dst + value.size)
            at += taken
        if len(parts) == 1:
            return CValue(parts[0], bits, min(size, bits))
        return CValue(f"({' | '.join(parts)})", bits, min(size, bits))

    def _slice(
        self,
        source: x.Data | None,
        low: int,
        width: int,
        shared: dict[x.Data, int],
        uses: dict[x.Data, int],
        kept: dict[x.Data, CValue],
    ) -> CValue:
        """Bits of a value, clean. A value that is computed and used more than once goes into a variable."""
        assert source is not None
        if isinstance(source, x.HeaderBits):
            return self._header_bits(source, low, width)
        reach = shared[source]
        if reach > _NATIVE:
            return masked(convert(CValue(f"w_bits({self.wide(source)}, {low})", 128, 128), c_bits(width)), width)
        value = self._compute(source, reach)
        if uses[source] > 1 and not isinstance(source, x.FieldRef):
            if source not in kept:
                kept[source] = self.temporary(value)
            value = kept[source]
        if low:
            value = CValue(f"({value.text} >> {low})", value.bits, max(value.size - low, 0))
        return masked(convert(value, c_bits(width)), width)

    # Operations ------------------------------------------------------------------------------------------------------

    def _compute(self, node: x.Data, width: int) -> CValue:
        """Like low, for a node that the normal form does not take apart."""
        bits = c_bits(width)
        if width > _NATIVE:
            raise AssertionError("wide values are sliced, never computed whole")
        if isinstance(node, x.Const):
            return CValue(number(node.value & ((1 << width) - 1), bits), bits, width)
        if isinstance(node, x.FieldRef | x.ElemField | x.LastField):
            return self._load(node, width)
        if isinstance(node, x.ValidBit):
            return convert(CValue(self.is_valid(node.header), 32, 1), bits)
        if isinstance(node, x.Local):
            return convert(self._local(node), bits)
        if isinstance(node, x.Lookahead):
            return convert(self._lookahead(node), bits)
        if isinstance(node, x.FromBool):
            return CValue(f"({c_type(bits)})({self.boolean(node.value)})", bits, 1)
        if isinstance(node, x.StackSize):
            size = f"P->phv.next[{node.stack.index}]"
            if node.minus_one:
                return CValue(f"({c_type(bits)})((int32_t){size} - 1)", bits, bits)
            return CValue(f"({c_type(bits)}){size}", bits, 32)
        if isinstance(node, x.RegisterRef):
            index = self.temporary(convert(self._index(node.index), 64))
            array = node.array
            cell = next(size for size in (1, 2, 4, 8, 16) if array.width <= 8 * size)
            text = f"register_get(S, {array.index}, {array.size}ull, {cell}, {index.text})"
            return convert(CValue(text, 128, array.width), bits)
        if isinstance(node, x.Bin):
            return self._binary(node, width)
        if isinstance(node, x.Not):
            return CValue(f"(~{self.low(node.value, width).text})", bits, bits)
        if isinstance(node, x.Cond):
            left, right = self.low(node.left, width), self.low(node.right, width)
            text = f"({self.boolean(node.cond)} ? {left.text} : {right.text})"
            return CValue(text, bits, max(left.size, right.size))
        if isinstance(node, x.Cast):
            return self._cast(node, width)
        raise AssertionError(type(node).__name__)

    def _binary(self, node: x.Bin, width: int) -> CValue:
        bits = c_bits(width)
        if node.op in ("<<", ">>"):
            return self._shift(node, width)
        if node.op in ("/", "%"):
            return self._divide(node, width)
        left, right = self.low(node.left, width), self.low(node.right, width)
        text = f"({left.text} {node.op} {right.text})"
        if node.op == "+":
            size = max(left.size, right.size) + 1
        elif node.op == "*":
            size = left.size + right.size
        elif node.op == "&":
            size = min(left.size, right.size)
        elif node.op in ("|", "^"):
            size = max(left.size, right.size)
        else:
            size = bits
        return CValue(text, bits, min(size, bits))

    def _amount(self, node: x.Data) -> CValue:
        """An amount to shift by; too large or negative ones become larger than any width."""
        if node.lo >= 0 and node.bits <= 32:
            return convert(self.exact(node), 32)
        if node.lo >= 0 and node.bits <= _NATIVE:
            value = self.temporary(self.exact(node))
            return CValue(f"({value.text} > 0xffffu ? 0xffffu : (uint32_t){value.text})", 32, 32)
        return CValue(f"w_amount({self.wide(node)})", 32, 32)

    def _shift(self, node: x.Bin, width: int) -> CValue:
        bits = c_bits(width)
        if node.op == "<<":
            amount = self.temporary(self._amount(node.right))
            left = self.low(node.left, width)
            return CValue(f"({amount.text} < {bits}u ? {left.text} << {amount.text} : 0)", bits, bits)
        if node.left.bits > _NATIVE:
            text = f"w_low(w_shr({self.wide(node.left)}, {self._amount(node.right).text}))"
            return convert(CValue(text, 128, 128), bits)
        inner = c_bits(node.left.bits)
        amount = self.temporary(self._amount(node.right))
        if node.left.lo >= 0:
            left = self.exact(node.left)
            text = f"({amount.text} < {inner}u ? {left.text} >> {amount.text} : 0)"
            return convert(CValue(text, inner, left.size), bits)
        text = f"({self.signed(node.left, inner)} >> ({amount.text} < {inner}u ? {amount.text} : {inner - 1}u))"
        # Widening the signed result keeps its sign.
        return CValue(f"({c_type(bits)})({text})", bits, bits)

    def _divide(self, node: x.Bin, width: int) -> CValue:
        bits = c_bits(width)
        if max(node.left.bits, node.right.bits) > _NATIVE - 1 or min(node.left.lo, node.right.lo) < 0:
            name = "div" if node.op == "/" else "mod"
            text = f"w_low(w_{name}(S, {self.wide(node.left)}, {self.wide(node.right)}))"
            return convert(CValue(text, 128, 128), bits)
        inner = c_bits(max(node.left.bits, node.right.bits))
        left = convert(self.exact(node.left), inner)
        right = self.temporary(convert(self.exact(node.right), inner))
        text = f"(likely({right.text}) ? {left.text} {node.op} {right.text} : (S->lane.stats.division_by_zero++, 0))"
        return convert(CValue(text, inner, left.size), bits)

    def _cast(self, node: x.Cast, width: int) -> CValue:
        bits = c_bits(width)
        if node.kind == "two_comp_mod":
            if width <= node.width:
                return self.low(node.value, width)
            value = convert(self.clean(node.value, node.width), bits)
            sign = number(1 << (node.width - 1), bits)
            return CValue(f"(({value.text} ^ {sign}) - {sign})", bits, bits)
        top = max(node.value.bits, node.width) + 1
        if top > _NATIVE:
            text = f"w_low(w_saturate({self.wide(node.value)}, {node.width}, {int(node.kind == 'sat_cast')}))"
            return convert(CValue(text, 128, 128), bits)
        inner = c_bits(top)
        name = f"saturate{inner}"
        text = f"{name}({self.signed(node.value, inner)}, {node.width}, {int(node.kind == 'sat_cast')})"
        # The signed result keeps its sign when it is widened.
        return CValue(f"({c_type(bits)})({text})", bits, node.width if node.kind == "usat_cast" else bits)

    # Variables -------------------------------------------------------------------------------------------------------

    def _local(self, node: x.Local) -> CValue:
        raise AssertionError("an action's parameter outside of an action")

    def _lookahead(self, node: x.Lookahead) -> CValue:
        return self.bytes_of_packet(node.offset, node.width)

    def _index(self, node: x.Data) -> CValue:
        """An index, as 64 bits; a negative or larger one becomes the largest."""
        if node.lo >= 0 and node.bits <= 64:
            return convert(self.exact(node), 64)
        return CValue(f"w_index({self.wide(node)})", 64, 64)

    def element(self, elem: x.StackElem) -> str:
        """A C variable with the number of the header in its stack, or the number of headers if out of range."""
        if elem in self._elements:
            return self._elements[elem]
        stack = elem.stack
        index = self.temporary(self._index(elem.index) if elem.index.bits > 32 else self._index32(elem.index))
        size = stack.type.bits // 8
        checked = f"stack_index(S, P, {index.text}, {len(stack.headers)}u, {self.layout.scratch[stack]}, {size})"
        self._elements[elem] = self.temporary(CValue(checked, 32, 32)).text
        return self._elements[elem]

    def _index32(self, node: x.Data) -> CValue:
        return convert(self.exact(node), 32) if node.lo >= 0 else convert(self._index(node), 64)

    def address(self, node: x.FieldRef | x.ElemField | x.LastField) -> str:
        """C pointer to the first byte of the header that holds the field."""
        if isinstance(node, x.FieldRef):
            return self._header_address(node.header)
        return self._header_address(node.elem if isinstance(node, x.ElemField) else node.stack)

    def _header_address(self, place: x.Header | x.StackElem | x.Stack) -> str:
        if isinstance(place, x.Header):
            return f"H + {self.layout.offset[place]}"
        if isinstance(place, x.StackElem):
            return self.element_address(place)
        base, size = self.layout.stack_base(place), place.type.bits // 8
        last = f"stack_last(S, P, {place.index}, {len(place.headers)}u, {self.layout.scratch[place]}, {size})"
        return f"H + {base} + {last} * {size}"

    def element_address(self, elem: x.StackElem) -> str:
        base, size = self.layout.stack_base(elem.stack), elem.stack.type.bits // 8
        return f"H + {base} + {self.element(elem)} * {size}"

    def _load(self, node: x.FieldRef | x.ElemField | x.LastField, width: int) -> CValue:
        bits, own = c_bits(width), node.field.width
        if isinstance(node, x.FieldRef) and node.header.metadata:
            value = CValue(self.environment.metadata(node), c_bits(own), own)
        else:
            value = self.field_at(self.address(node), header_type_of(node), node.field)
        if node.field.signed and width > own:
            wide = convert(value, bits)
            sign = number(1 << (own - 1), bits)
            return CValue(f"(({wide.text} ^ {sign}) - {sign})", bits, bits)
        return convert(value, bits)

    def _header_bits(self, node: x.HeaderBits, low: int, width: int) -> CValue:
        """Bits of a header, loaded in one go."""
        start = node.type.bits - low - width
        pointer = self._header_address(node.place)
        for field in node.type.fields:
            if field.bit_offset <= start and start + width <= field.bit_offset + field.width:
                unit = storage_unit(node.type, field)
                # A slice of a wide field is loaded alone; a narrow one as it is stored.
                if unit[1] <= 4 or width == field.width:
                    return self.bytes_at(pointer, start, width, unit)
        return self.bytes_at(pointer, start, width)

    def field_at(self, pointer: str, header_type: x.HeaderType, field: x.Field) -> CValue:
        """A field of a header that begins at the pointer."""
        return self.bytes_at(pointer, field.bit_offset, field.width, storage_unit(header_type, field))

    def bytes_of_packet(self, bit_offset: int, width: int) -> CValue:
        """width bits that begin bit_offset bits behind the parser's cursor. No byte behind them is touched: none may be
        there."""
        return self.bytes_at(self.environment.cursor(), bit_offset, width, is_last=True)

    def bytes_at(
        self,
        pointer: str,
        bit_offset: int,
        width: int,
        unit: tuple[int, int] | None = None,
        *,
        is_last: bool = False,
    ) -> CValue:
        """width bits that begin bit_offset bits behind the pointer, most significant first.

        is_last: the memory may end behind them. Otherwise up to 15 bytes more may be read.
        """
        first, covered = unit if unit is not None else (bit_offset // 8, (bit_offset % 8 + width + 7) // 8)
        skip = bit_offset - 8 * first
        if covered > 16:
            half = 64
            high = convert(self.bytes_at(pointer, bit_offset, width - half, is_last=is_last), 128)
            low = convert(self.bytes_at(pointer, bit_offset + width - half, half, is_last=is_last), 128)
            return CValue(f"(({high.text} << {half}) | {low.text})", 128, width)
        load = next(s for s in (1, 2, 4, 8, 16) if s >= covered)
        bits = max(32, 8 * load)
        where = f"{pointer} + {first}" if first else pointer
        text = f"LD{8 * load}_OF({where}, {covered})" if is_last and covered < load else f"LD{8 * load}({where})"
        down = 8 * load - skip - width
        if down:
            text = f"({text} >> {down})"
        value = CValue(text, bits, 8 * load - down)
        return convert(masked(value, width), c_bits(width))

    def is_valid(self, header: x.Header | x.StackElem) -> str:
        """C condition, 0 or 1."""
        if isinstance(header, x.StackElem):
            first = self.layout.valid_bit[header.stack.headers[0]]
            number_ = self.element(header)
            return f"({number_} < {len(header.stack.headers)}u && valid_get(&P->phv, {first} + {number_}))"
        if header.metadata:
            return "1u"
        return f"valid_get(&P->phv, {self.layout.valid_bit[header]})"

    # Booleans --------------------------------------------------------------------------------------------------------

    def boolean(self, node: x.Bool) -> str:
        """C condition, 0 or 1."""
        if isinstance(node, x.BoolConst):
            return str(int(node.value))
        if isinstance(node, x.Compare):
            return self._compare(node)
        if isinstance(node, x.Logic):
            left, right = self.boolean(node.left), self.boolean(node.right)
            return f"({left} { ({'and': '&&', 'or': '||'}.get(node.op, node.op)) } {right})"
        if isinstance(node, x.LogicNot):
            return f"(!{self.boolean(node.value)})"
        if isinstance(node, x.ToBool):
            return self._compare(x.Compare("!=", node.value, x.Const(0)))
        if isinstance(node, x.IsValid):
            return self.is_valid(node.header)
        if isinstance(node, x.HeaderEq):
            return self._header_eq(node)
        if isinstance(node, x.CondBool):
            return f"({self.boolean(node.cond)} ? {self.boolean(node.left)} : {self.boolean(node.right)})"
        raise AssertionError(type(node).__name__)

    def _compare(self, node: x.Compare) -> str:
        a, b = node.left, node.right
        if min(a.lo, b.lo) >= 0 and max(a.bits, b.bits) <= _NATIVE:
            bits = c_bits(max(a.bits, b.bits))
            left, right = convert(self.exact(a), bits), convert(self.exact(b), bits)
            return f"({left.text} {node.op} {right.text})"
        # One more bit: a value that cannot be negative needs room for the sign.
        need = max(a.bits + (a.lo >= 0), b.bits + (b.lo >= 0))
        if need <= _NATIVE:
            bits = c_bits(need)
            return f"({self.signed(a, bits)} {node.op} {self.signed(b, bits)})"
        return f"(w_cmp({self.wide(a)}, {self.wide(b)}) {node.op} 0)"

    def _header_eq(self, node: x.HeaderEq) -> str:
        left, right = node.left, node.right
        if left.type is not right.type:
            same = "0"
        elif left.metadata or right.metadata:
            tests = []
            for field in left.type.fields:
                pair = [self._load(x.FieldRef(h, field), field.width).text for h in (left, right)]
                tests.append(f"{pair[0]} == {pair[1]}")
            same = f"({' && '.join([self.is_valid(left), self.is_valid(right), *tests])})"
        else:
            size = left.type.bits // 8
            places = [f"H + {self.layout.offset[h]}" for h in (left, right)]
            same = f"({self.is_valid(left)} && {self.is_valid(right)} && !memcmp({places[0]}, {places[1]}, {size}))"
        return f"(!{same})" if node.negated else same
