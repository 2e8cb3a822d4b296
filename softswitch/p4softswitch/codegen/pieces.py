# SPDX-License-Identifier: Apache-2.0
"""The normal form of shifts, masks and concatenations: which bits of which value stand where.

p4c writes a slice as shift and mask and a concatenation as shift and or. Seen as a list of pieces, a rotation is two
pieces of one value and a byte swap is its bytes in reverse, and both become one machine instruction. It also makes
values that are wider than any C type harmless, as long as only slices of them are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from p4softswitch.bmv2json.expr import Bin, Cast, Const, Data, ElemField, FieldRef, HeaderBits, LastField

_MAX_RUNS = 8


@dataclass(frozen=True)
class Piece:
    """width bits of source, from src up, stand at dst. source None: the constant in value."""

    dst: int
    width: int
    source: Data | None
    src: int
    value: int = 0

    def moved(self, distance: int) -> Piece:
        return Piece(self.dst + distance, self.width, self.source, self.src, self.value)


def ones(mask: int) -> list[tuple[int, int]]:
    """Runs of one bits: (position, length)."""
    runs = []
    position = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        length = (~mask & -~mask).bit_length() - 1
        runs.append((position + zeros, length))
        mask >>= length
        position += zeros + length
    return runs


def pieces(node: Data, low: int, width: int) -> list[Piece]:
    """Bits low … low + width - 1 of the value (two's complement), lowest first; what is not listed is zero."""
    if node.lo >= 0:
        width = min(width, node.bits - low)
    if width <= 0:
        return []
    if isinstance(node, Const):
        value = (node.value >> low) & ((1 << width) - 1)
        return [Piece(0, width, None, 0, value)] if value else []
    if isinstance(node, Bin):
        split = _split(node, low, width)
        if split is not None:
            return _merged(split)
    if isinstance(node, Cast) and node.kind == "two_comp_mod" and low + width <= node.width:
        return pieces(node.value, low, width)
    if isinstance(node, FieldRef | ElemField | LastField) and low + width <= node.field.width:
        return _of_header(node, low, width)
    return [Piece(0, width, node, low)]


def _of_header(node: FieldRef | ElemField | LastField, low: int, width: int) -> list[Piece]:
    """A field in header bytes, as bits of its header: so adjacent fields are seen to be adjacent."""
    if isinstance(node, FieldRef):
        if node.header.metadata:
            return [Piece(0, width, node, low)]
        whole = HeaderBits(node.header)
    elif isinstance(node, ElemField):
        whole = HeaderBits(node.elem)
    else:
        whole = HeaderBits(node.stack)
    return [Piece(0, width, whole, whole.type.bits - node.field.bit_offset - node.field.width + low)]


def _split(node: Bin, low: int, width: int) -> list[Piece] | None:
    """The pieces of a structural operation, or None if it has to be computed."""
    if node.op in ("<<", ">>") and isinstance(node.right, Const):
        amount = node.right.value
        if amount < 0:
            return None
        if node.op == ">>":
            return pieces(node.left, low + amount, width)
        if low >= amount:
            return pieces(node.left, low - amount, width)
        gap = amount - low
        return [p.moved(gap) for p in pieces(node.left, 0, width - gap)]
    if node.op == "&":
        for mask, other in ((node.right, node.left), (node.left, node.right)):
            if isinstance(mask, Const) and mask.value >= 0:
                runs = ones((mask.value >> low) & ((1 << width) - 1))
                if len(runs) > _MAX_RUNS:
                    return None
                return [p.moved(start) for start, length in runs for p in pieces(other, low + start, length)]
        return None
    if node.op in ("|", "^"):
        left, right = pieces(node.left, low, width), pieces(node.right, low, width)
        both = sorted([*left, *right], key=lambda p: p.dst)
        if all(a.dst + a.width <= b.dst for a, b in pairwise(both)):
            return both
    return None


def _merged(found: list[Piece]) -> list[Piece]:
    result: list[Piece] = []
    for piece in found:
        if result:
            last = result[-1]
            if (
                last.source is not None
                and piece.source == last.source
                and last.dst + last.width == piece.dst
                and last.src + last.width == piece.src
            ):
                result[-1] = Piece(last.dst, last.width + piece.width, last.source, last.src)
                continue
        result.append(piece)
    return result


def byte_swap(found: list[Piece], at: int, count: int) -> bool:
    """Whether count single bytes from found[at] on are the reversed bytes of one value."""
    group = found[at : at + count]
    if len(group) < count or group[0].source is None:
        return False
    first = group[0]
    return all(
        p.width == 8 and p.source == first.source and p.dst == first.dst + 8 * i and p.src == first.src - 8 * i
        for i, p in enumerate(group)
    )


def rotation(found: list[Piece], at: int) -> int | None:
    """Width (32 or 64) of the rotation that found[at] and its successor make, or None."""
    if at + 1 >= len(found):
        return None
    low, high = found[at], found[at + 1]
    width = low.width + high.width
    if (
        width in (32, 64)
        and low.source is not None
        and low.source == high.source
        and high.dst == low.dst + low.width
        and high.src + high.width == low.src
    ):
        return width
    return None
