# SPDX-License-Identifier: Apache-2.0
"""Where everything lives: header bytes as on the wire, metadata in native integers, match keys in 64-bit words.

Headers keep their wire bytes, one behind the other in the order of the deparser. So extraction and emission are copies,
a run of adjacent headers is one copy, and a byte swap in the P4 program meets the byte swap of the load and cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from p4softswitch.bmv2json.expr import Field, FieldRef, Header, HeaderType, Stack
from p4softswitch.bmv2json.program import MatchKind, Program, Table
from p4softswitch.codegen.liveness import Liveness

WORD = 64


def c_bits(width: int) -> int:
    """Width of the C type for that many bits: 32, 64 or 128."""
    return 32 if width <= 32 else 64 if width <= 64 else 128


def c_type(width: int) -> str:
    return {32: "uint32_t", 64: "uint64_t", 128: "u128"}[c_bits(width)]


def words(width: int) -> int:
    """64-bit words of an action parameter."""
    return 1 if width <= WORD else 2


@dataclass(frozen=True)
class KeyPlace:
    """A key field in the packed key: first word and shift within it."""

    word: int
    shift: int
    width: int


@dataclass(frozen=True)
class KeyLayout:
    places: tuple[KeyPlace, ...]
    words: int


def key_layout(table: Table) -> KeyLayout:
    """Fields share words, in order, but a field never straddles one. In range tables each has words of its own."""
    places: list[KeyPlace] = []
    word, used = 0, 0
    for part in table.key:
        alone = table.match_kind is MatchKind.RANGE or part.width > WORD
        if used and (alone or used + part.width > WORD):
            word, used = word + 1, 0
        places.append(KeyPlace(word, used, part.width))
        used += part.width
        if alone:
            word, used = word + words(part.width), 0
        elif used == WORD:
            word, used = word + 1, 0
    return KeyLayout(tuple(places), max(1, word + (1 if used else 0)))


def pack(layout: KeyLayout, values: list[int]) -> int:
    """Values of the fields → the key as one integer whose little-endian bytes are the words in memory."""
    result = 0
    for place, value in zip(layout.places, values, strict=True):
        result |= (value & ((1 << place.width) - 1)) << (place.word * WORD + place.shift)
    return result


def unpack(layout: KeyLayout, packed: int) -> list[int]:
    return [(packed >> (p.word * WORD + p.shift)) & ((1 << p.width) - 1) for p in layout.places]


class Layout:
    """Offsets of all headers in the header bytes, and the numbering of validity bits."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.liveness = Liveness(program)
        self.offset: dict[Header, int] = {}
        self.valid_bit: dict[Header, int] = {}
        self.scratch: dict[Stack, int] = {}
        self.stack_of: dict[Header, tuple[Stack, int]] = {
            header: (stack, i) for stack in program.stacks for i, header in enumerate(stack.headers)
        }
        position = 0
        for header in self._order():
            if header.metadata or header in self.offset:
                continue
            group = self.stack_of[header][0].headers if header in self.stack_of else (header,)
            for member in group:
                self.offset[member] = position
                self.valid_bit[member] = len(self.valid_bit)
                position += member.type.bits // 8
            if header in self.stack_of:
                # What an index out of range reads and writes.
                self.scratch[self.stack_of[header][0]] = position
                position += header.type.bits // 8
        self.header_bytes = position
        self.valid_words = max(1, (len(self.valid_bit) + WORD - 1) // WORD)

    def _order(self) -> list[Header]:
        emitted = dict.fromkeys(self.program.deparser)
        return [*emitted, *(h for h in self.program.headers if h not in emitted)]

    def stack_base(self, stack: Stack) -> int:
        return self.offset[stack.headers[0]]


def metadata_member(ref: FieldRef) -> str:
    """C name of a metadata field."""
    return f"m{ref.header.index}_{ref.header.type.fields.index(ref.field)}"


def describe(ref: FieldRef) -> str:
    return f"{ref.header.name}.{ref.field.name}"


@cache
def storage_unit(header_type: HeaderType, field: Field) -> tuple[int, int]:
    """(first byte, bytes) of the loads and stores through which a field is reached.

    Fields that share bytes share one unit where its size allows it: a load that is wider than the store before it waits
    for the cache, and stores of one width to one place are merged by the C compiler.
    """
    first, last = field.bit_offset, field.bit_offset + field.width
    grown = True
    while grown:  # until the unit begins and ends between two fields
        grown = False
        for other in header_type.fields:
            begin, end = other.bit_offset, other.bit_offset + other.width
            low, high = first // 8 * 8, (last + 7) // 8 * 8
            if begin < high and end > low and (begin < first or end > last):
                first, last = min(first, begin), max(last, end)
                grown = True
    size = (last - first) // 8
    if first % 8 == 0 and last % 8 == 0 and size in (1, 2, 4, 8, 16):
        return first // 8, size
    skip = field.bit_offset % 8
    return field.bit_offset // 8, (skip + field.width + 7) // 8
