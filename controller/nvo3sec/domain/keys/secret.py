# SPDX-License-Identifier: Apache-2.0
"""Key material that does not show itself: not in a repr, a format string, an exception, a pickle or JSON."""

from __future__ import annotations

import hmac
from typing import NoReturn, final


@final
class Secret:
    """Immutable secret bytes. Only `reveal` gives them out; call it where they are used, and nowhere else."""

    __slots__ = ("_value",)

    _value: bytes

    def __init__(self, value: bytes) -> None:
        object.__setattr__(self, "_value", bytes(value))

    def reveal(self) -> bytes:
        """The bytes."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be serialized")
