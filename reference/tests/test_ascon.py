# SPDX-License-Identifier: Apache-2.0
"""Ascon-AEAD128 against known answers of an implementation that gives all 1,089 published ones of the LWC contest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from nvo3ref import ascon

KNOWN = json.loads((Path(__file__).parent / "data" / "ascon_aead128.json").read_text())
KEY, NONCE = bytes.fromhex(KNOWN["key"]), bytes.fromhex(KNOWN["nonce"])
ANSWERS = [
    tuple(bytes.fromhex(one[name]) for name in ("ad", "pt", "ct", "tag")) for one in KNOWN["vectors"] if "ct" in one
]
(LONG,) = (one for one in KNOWN["vectors"] if "ct_sha256" in one)


@pytest.mark.parametrize(
    ("associated", "plaintext", "ciphertext", "tag"),
    ANSWERS,
    ids=[f"{len(associated)} and {len(plaintext)} bytes" for associated, plaintext, *_ in ANSWERS],
)
def test_known_answers(associated: bytes, plaintext: bytes, ciphertext: bytes, tag: bytes) -> None:
    assert ascon.encrypt(KEY, NONCE, associated, plaintext) == (ciphertext, tag)
    assert ascon.decrypt(KEY, NONCE, associated, ciphertext, tag) == plaintext


def test_a_long_one() -> None:
    plaintext = bytes(index % 256 for index in range(1514))
    ciphertext, tag = ascon.encrypt(KEY, NONCE, bytes.fromhex(LONG["ad"]), plaintext)
    assert (hashlib.sha256(ciphertext).hexdigest(), tag.hex()) == (LONG["ct_sha256"], LONG["tag"])


class TestRefused:
    @pytest.mark.parametrize("what", ["key", "nonce", "associated data", "ciphertext", "tag"])
    def test_one_bit_of_anything(self, what: str) -> None:
        parts = {"key": KEY, "nonce": NONCE, "associated data": bytes(28), "ciphertext": b"", "tag": b""}
        parts["ciphertext"], parts["tag"] = ascon.encrypt(KEY, NONCE, bytes(28), bytes(range(100)))
        for bit in range(8 * len(parts[what])):
            changed = bytearray(parts[what])
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ascon.BadTag):
                ascon.decrypt(*(parts | {what: bytes(changed)}).values())
        assert ascon.decrypt(*parts.values()) == bytes(range(100))

    @pytest.mark.parametrize("length", [0, 15, 17])
    def test_other_lengths(self, length: int) -> None:
        with pytest.raises(ValueError, match=f"key has 16 bytes, not {length}"):
            ascon.encrypt(bytes(length), NONCE, b"", b"")
        with pytest.raises(ValueError, match=f"nonce has 16 bytes, not {length}"):
            ascon.decrypt(KEY, bytes(length), b"", b"", bytes(16))
