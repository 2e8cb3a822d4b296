# SPDX-License-Identifier: Apache-2.0
"""Every form in which a secret could have got into a text, a file or a message, and the search for them.

A part is as bad as the whole: each half of a secret is looked for too, where it is long enough not to occur by chance.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

HALF_BYTES = 8
SEPARATORS = (b"", b":", b" ", b"-", b",", b", ", b"_")


@dataclass(frozen=True)
class Needle:
    """A secret, and what it is called."""

    name: str
    value: bytes = field(repr=False)


def forms(secret: bytes) -> Iterator[bytes]:
    """How a secret may look."""
    for part in {secret, secret[:HALF_BYTES], secret[-HALF_BYTES:]}:
        for order in (part, part[::-1]):
            yield order
            yield from _hexadecimal(order)
            yield from _base64(order)
            yield from _escaped(order)
    yield from _decimal(secret)


def _hexadecimal(part: bytes) -> Iterator[bytes]:
    for digits in (part.hex().encode(), part.hex().upper().encode()):
        for width in (2, 4, 8):
            groups = [digits[at : at + width] for at in range(0, len(digits), width)]
            yield from (separator.join(groups) for separator in SEPARATORS)
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        yield b", ".join(b"0x" + pair for pair in pairs)


def _base64(part: bytes) -> Iterator[bytes]:
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(bytes(before) + part)
            # Without the characters that depend on what stands before or behind it.
            first, last = (0, 2, 3)[before], (len(part) + before) * 8 // 6
            yield text[first:last]


def _escaped(part: bytes) -> Iterator[bytes]:
    yield repr(part)[2:-1].encode()
    yield "".join(f"\\x{byte:02x}" for byte in part).encode()
    yield "".join(f"\\{byte:03o}" for byte in part).encode()  # the text form of Protocol Buffers
    yield "".join(f"\\u{byte:04x}" for byte in part).encode()
    yield part.decode("latin-1").encode()


def _decimal(secret: bytes) -> Iterator[bytes]:
    for order in ("big", "little"):
        yield str(int.from_bytes(secret, order)).encode()
        yield f"{int.from_bytes(secret, order):x}".encode()
    for separator in (",", ", ", " "):
        yield separator.join(str(byte) for byte in secret).encode()


class Search:
    """Looks for all needles at once."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._names: dict[bytes, str] = {}
        for needle in needles:
            assert len(needle.value) >= HALF_BYTES
            for form in forms(needle.value):
                if len(form) >= HALF_BYTES:
                    self._names[form] = needle.name
        self._lengths = sorted({len(form) for form in self._names})
        # By their first bytes, so that a large haystack is gone through once and not once for each form.
        starts = {form[:HALF_BYTES] for form in self._names}
        self._starts = re.compile(b"(?=(" + b"|".join(re.escape(start) for start in sorted(starts)) + b"))", re.DOTALL)

    def in_one(self, haystack: bytes) -> set[str]:
        """The names of the needles in a haystack."""
        found = set()
        for start in self._starts.finditer(haystack):
            at = start.start()
            for length in self._lengths:
                name = self._names.get(haystack[at : at + length])
                if name is not None:
                    found.add(name)
        return found

    def through(self, haystacks: Mapping[str, bytes]) -> list[str]:
        """What was found where, in words that show nothing."""
        return sorted(f"{where}: {name}" for where, content in haystacks.items() for name in self.in_one(content))
