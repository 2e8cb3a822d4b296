# SPDX-License-Identifier: Apache-2.0
"""Ascon-AEAD128 (NIST SP 800-232, section 4): 128-bit key, nonce and tag, blocks of 16 bytes, little-endian words."""

from __future__ import annotations

import hmac

KEY_BYTES = NONCE_BYTES = TAG_BYTES = 16
_RATE_BYTES = 16
_MASK = (1 << 64) - 1
_INITIAL = 0x00001000808C0001
"""Identifier, rounds, tag length and rate of Ascon-AEAD128 (table 3)."""
_CONSTANTS = (0xF0, 0xE1, 0xD2, 0xC3, 0xB4, 0xA5, 0x96, 0x87, 0x78, 0x69, 0x5A, 0x4B)
"""Of the twelve rounds; a permutation of fewer takes the last ones (section 3.2)."""
_DOMAIN = 1 << 63
"""Separates associated data from plaintext (section 4.1.2)."""

State = list[int]
"""Five words of 64 bits."""


class BadTag(Exception):
    """The tag is another one: nothing of the plaintext is to be had."""


def _turned(word: int, bits: int) -> int:
    return (word >> bits | word << (64 - bits)) & _MASK


def permute(state: State, rounds: int) -> None:
    """The permutation Ascon-p of a number of rounds (section 3), in place."""
    x0, x1, x2, x3, x4 = state
    for constant in _CONSTANTS[12 - rounds :]:
        x2 ^= constant
        x0 ^= x4
        x4 ^= x3
        x2 ^= x1
        y0, y1 = x0 ^ (~x1 & x2), x1 ^ (~x2 & x3)
        y2, y3, y4 = x2 ^ (~x3 & x4), x3 ^ (~x4 & x0), x4 ^ (~x0 & x1)
        y1 ^= y0
        y0 ^= y4
        y3 ^= y2
        y2 = ~y2
        x0, x1, x2, x3, x4 = (word & _MASK for word in (y0, y1, y2, y3, y4))
        x0 ^= _turned(x0, 19) ^ _turned(x0, 28)
        x1 ^= _turned(x1, 61) ^ _turned(x1, 39)
        x2 ^= _turned(x2, 1) ^ _turned(x2, 6)
        x3 ^= _turned(x3, 10) ^ _turned(x3, 17)
        x4 ^= _turned(x4, 7) ^ _turned(x4, 41)
    state[:] = x0, x1, x2, x3, x4


def _words(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")


def _padded(data: bytes) -> bytes:
    """One block: a single 1 bit behind the last one (appendix A.2), then zeros."""
    return data + b"\x01" + bytes(_RATE_BYTES - 1 - len(data))


class _Cipher:
    def __init__(self, key: bytes, nonce: bytes, associated: bytes) -> None:
        for what, value, length in (("key", key, KEY_BYTES), ("nonce", nonce, NONCE_BYTES)):
            if len(value) != length:
                raise ValueError(f"an Ascon-AEAD128 {what} has {length} bytes, not {len(value)}")
        self._key = _words(key)
        self.state = [_INITIAL, *self._key, *_words(nonce)]
        permute(self.state, 12)
        self.state[3] ^= self._key[0]
        self.state[4] ^= self._key[1]
        if associated:
            whole = len(associated) // _RATE_BYTES * _RATE_BYTES
            for at in range(0, whole, _RATE_BYTES):
                self.absorb(associated[at : at + _RATE_BYTES])
                permute(self.state, 8)
            self.absorb(_padded(associated[whole:]))
            permute(self.state, 8)
        self.state[4] ^= _DOMAIN

    def absorb(self, block: bytes) -> None:
        first, second = _words(block)
        self.state[0] ^= first
        self.state[1] ^= second

    def rate(self) -> bytes:
        return self.state[0].to_bytes(8, "little") + self.state[1].to_bytes(8, "little")

    def tag(self) -> bytes:
        self.state[2] ^= self._key[0]
        self.state[3] ^= self._key[1]
        permute(self.state, 12)
        low, high = self.state[3] ^ self._key[0], self.state[4] ^ self._key[1]
        return low.to_bytes(8, "little") + high.to_bytes(8, "little")


def encrypt(key: bytes, nonce: bytes, associated: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Ciphertext, as long as the plaintext, and a tag of 16 bytes. NEVER TWO TEXTS UNDER ONE KEY AND NONCE.

    Raises ValueError for a key or nonce of another length than 16 bytes.
    """
    cipher = _Cipher(key, nonce, associated)
    whole = len(plaintext) // _RATE_BYTES * _RATE_BYTES
    out = bytearray()
    for at in range(0, whole, _RATE_BYTES):
        cipher.absorb(plaintext[at : at + _RATE_BYTES])
        out += cipher.rate()
        permute(cipher.state, 8)
    last = plaintext[whole:]
    cipher.absorb(_padded(last))
    out += cipher.rate()[: len(last)]
    return bytes(out), cipher.tag()


def decrypt(key: bytes, nonce: bytes, associated: bytes, ciphertext: bytes, tag: bytes) -> bytes:
    """The plaintext. Raises BadTag; ValueError for a key or nonce of another length than 16 bytes."""
    cipher = _Cipher(key, nonce, associated)
    whole = len(ciphertext) // _RATE_BYTES * _RATE_BYTES
    out = bytearray()
    for at in range(0, whole, _RATE_BYTES):
        block = ciphertext[at : at + _RATE_BYTES]
        out += bytes(left ^ right for left, right in zip(cipher.rate(), block, strict=True))
        cipher.state[0], cipher.state[1] = _words(block)
        permute(cipher.state, 8)
    last = bytes(left ^ right for left, right in zip(cipher.rate(), ciphertext[whole:], strict=False))
    cipher.absorb(_padded(last))
    if not hmac.compare_digest(cipher.tag(), tag):
        raise BadTag("the tag is another one")
    return bytes(out) + last
