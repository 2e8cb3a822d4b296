# SPDX-License-Identifier: Apache-2.0
"""Protocol Buffers by hand: attackers have no use for what the controller makes of its messages."""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | float | bytes) -> bytes:
    """One field: a whole number, a double, or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a message that has only numbers and bytes, each once. Raises ValueError."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        value, at = _number(message, at)
        if tag & 7 == 0:
            found[tag >> 3] = value
        elif tag & 7 == 2:
            found[tag >> 3] = message[at : at + value]
            at += value
        else:
            raise ValueError(f"a field of type {tag & 7}")
    return found


def part(message: bytes, *path: int) -> bytes:
    """The bytes at the end of a path of field numbers; empty where there are none. Raises ValueError."""
    for number in path:
        found = fields(message).get(number, b"")
        if isinstance(found, int):
            raise ValueError(f"field {number} is a number")
        message = found
    return message


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("the message ends within a field")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
