# SPDX-License-Identifier: Apache-2.0
"""P4Runtime's byte strings (specification 8.4) and the engine's, which have the field's full width."""

from __future__ import annotations

from .status import invalid


def width_bytes(bitwidth: int) -> int:
    """Bytes that hold that many bits."""
    return (bitwidth + 7) // 8


def decode(value: bytes, bitwidth: int, what: str) -> bytes:
    """Full-width big-endian bytes of a value from a client.

    Leading zeros are accepted, as the specification and BMv2 do. The empty string, which BMv2 takes for zero, is not:
    it is what a client sends that forgot the field.

    Raises:
        P4Error: empty, or does not fit within `bitwidth` bits. `what` names the field; the value is not repeated.
    """
    if not value:
        raise invalid(f"{what}: the byte string is empty")
    number = int.from_bytes(value, "big")
    if number.bit_length() > bitwidth:
        raise invalid(f"{what}: the byte string does not fit within {bitwidth} bits")
    return number.to_bytes(width_bytes(bitwidth), "big")


def encode(value: bytes) -> bytes:
    """The canonical form: no leading zero bytes, at least one byte."""
    return value.lstrip(b"\0") or b"\0"


def all_ones(bitwidth: int) -> bytes:
    """The mask that covers every bit of the field."""
    return ((1 << bitwidth) - 1).to_bytes(width_bytes(bitwidth), "big")
