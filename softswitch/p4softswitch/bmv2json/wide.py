# SPDX-License-Identifier: Apache-2.0
"""Fields of more than 128 bits: kept as pieces that the code generator has types for.

A header with one is carried, copied, hashed and compared like any other. Reading such a field is the concatenation of
its pieces, writing it is one assignment a piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p4softswitch.bmv2json.expr import Bin, Const, Data, Field, FieldRef, Header

WIDEST = 4096
"""Bits of a field at most."""
_PIECE = 64


def split(name: str, width: int, offset: int) -> tuple[Field, ...]:
    """The pieces of a field, from the most significant on: whole ones of 64 bits behind what remains."""
    widths = [width % _PIECE] * (width % _PIECE > 0) + [_PIECE] * (width // _PIECE)
    pieces: list[Field] = []
    for piece in widths:
        pieces.append(Field(f"{name}[{len(pieces)}]", piece, False, offset))
        offset += piece
    return tuple(pieces)


def refs(header: Header, name: str) -> list[FieldRef]:
    """The pieces of a wide field of a header."""
    return [FieldRef(header, piece) for piece in header.type.wide[name]]


def joined(parts: Sequence[FieldRef]) -> Data:
    """The value of a wide field."""
    value: Data = parts[0]
    for part in parts[1:]:
        value = Bin("|", Bin("<<", value, Const(part.field.width)), part)
    return value


def wide_field(node: Any, headers: Mapping[str, Header]) -> list[FieldRef] | None:
    """The pieces, if a reference of the JSON is one to a wide field."""
    if not isinstance(node, dict) or node.get("type") != "field" or not isinstance(node.get("value"), list):
        return None
    header = headers.get(node["value"][0])
    if header is None or node["value"][1] not in header.type.wide:
        return None
    return refs(header, node["value"][1])
