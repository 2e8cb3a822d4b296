# SPDX-License-Identifier: Apache-2.0
"""Chaskey-12 (ISO/IEC 29192-6): the permutation, the MAC with a 128-bit tag, and one block of it as a keyed hash."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF
_WORDS = struct.Struct("<4I")

State = tuple[int, int, int, int]


def permute(v0: int, v1: int, v2: int, v3: int) -> State:
    """Twelve rounds over four 32-bit words."""
    for _ in range(12):
        v0 = (v0 + v1) & _MASK
        v1 = ((v1 << 5) | (v1 >> 27)) & _MASK ^ v0
        v0 = ((v0 << 16) | (v0 >> 16)) & _MASK
        v2 = (v2 + v3) & _MASK
        v3 = ((v3 << 8) | (v3 >> 24)) & _MASK ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = ((v3 << 13) | (v3 >> 19)) & _MASK ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = ((v1 << 7) | (v1 >> 25)) & _MASK ^ v2
        v2 = ((v2 << 16) | (v2 >> 16)) & _MASK
    return v0, v1, v2, v3


def _double(block: bytes) -> bytes:
    """Multiplication by x in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1, the block being a little-endian number."""
    number = int.from_bytes(block, "little") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ 0x87
    return number.to_bytes(16, "little")


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(16, "little")


def mac(key: bytes, message: bytes) -> bytes:
    """The 16-byte tag of a message of any length under a 16-byte key."""
    if len(key) != 16:
        raise ValueError(f"a Chaskey key has 16 bytes, not {len(key)}")
    subkey = _double(key)
    whole = max(0, (len(message) - 1) // 16) * 16  # everything but the last, perhaps partial, block
    last = message[whole:]
    if len(last) != 16:
        subkey = _double(subkey)
        last = last + b"\x01" + bytes(15 - len(last))
    v0, v1, v2, v3 = _WORDS.unpack(key)
    for m0, m1, m2, m3 in _WORDS.iter_unpack(message[:whole]):
        v0, v1, v2, v3 = permute(v0 ^ m0, v1 ^ m1, v2 ^ m2, v3 ^ m3)
    m0, m1, m2, m3 = _WORDS.unpack(_xor(last, subkey))
    return _xor(_WORDS.pack(*permute(v0 ^ m0, v1 ^ m1, v2 ^ m2, v3 ^ m3)), subkey)


def keyed_hash(key: bytes, block: bytes) -> int:
    """64 bits of one permuted block between two additions of the key (Even-Mansour): word 1, word 0."""
    k0, k1, *_ = _WORDS.unpack(key)
    first, second, *_ = permute(*_WORDS.unpack(_xor(key, block)))
    digest: int = (second ^ k1) << 32 | first ^ k0
    return digest
