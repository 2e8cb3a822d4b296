# SPDX-License-Identifier: Apache-2.0
"""Chaskey-12 (ISO/IEC 29192-6) with a 128-bit tag, written from the specification for the drill and the observers.

A second implementation on purpose: it shares nothing with the data plane's or the controller's, so an error common
to sender and receiver shows here. Not constant in time; the attackers of a lab need not be.
"""

import struct

_ROUNDS = 12
_MASK = 0xFFFFFFFF
KEY_LENGTH = 16
TAG_LENGTH = 16


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _MASK


def _permute(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    for _ in range(_ROUNDS):
        v0 = v0 + v1 & _MASK
        v1 = _rotate(v1, 5) ^ v0
        v0 = _rotate(v0, 16)
        v2 = v2 + v3 & _MASK
        v3 = _rotate(v3, 8) ^ v2
        v0 = v0 + v3 & _MASK
        v3 = _rotate(v3, 13) ^ v0
        v2 = v2 + v1 & _MASK
        v1 = _rotate(v1, 7) ^ v2
        v2 = _rotate(v2, 16)
    return v0, v1, v2, v3


def _double(words: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Multiply by x in GF(2^128), polynomial x^128 + x^7 + x^2 + x + 1; the first word is the least significant."""
    value = sum(word << 32 * index for index, word in enumerate(words)) << 1
    if value >> 128:
        value ^= (1 << 128) | 0x87
    return (value & _MASK, value >> 32 & _MASK, value >> 64 & _MASK, value >> 96)


def tag(key: bytes, message: bytes) -> bytes:
    """The 16-byte tag of a message of any length.

    Args:
        key: 16 bytes.

    Raises:
        ValueError: the key has another length.
    """
    if len(key) != KEY_LENGTH:
        raise ValueError(f"a Chaskey key has {KEY_LENGTH} bytes")
    secret = struct.unpack("<4I", key)
    whole = len(message) % 16 == 0 and message != b""
    last_key = _double(secret) if whole else _double(_double(secret))
    padded = message if whole else message + b"\x01" + b"\x00" * (-(len(message) + 1) % 16)
    state = secret
    blocks = len(padded) // 16
    for index in range(blocks):
        block = struct.unpack_from("<4I", padded, 16 * index)
        state = (state[0] ^ block[0], state[1] ^ block[1], state[2] ^ block[2], state[3] ^ block[3])
        if index == blocks - 1:
            state = (state[0] ^ last_key[0], state[1] ^ last_key[1], state[2] ^ last_key[2], state[3] ^ last_key[3])
        state = _permute(*state)
    return struct.pack("<4I", *(left ^ right for left, right in zip(state, last_key, strict=True)))
