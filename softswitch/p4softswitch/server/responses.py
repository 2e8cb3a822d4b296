# SPDX-License-Identifier: Apache-2.0
"""How much one ReadResponse has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ENTITIES = 256
_OCTETS = 1 << 20
"""What ends a ReadResponse; most clients take 4 MiB."""


def fill(response: Any, found: Iterator[Any]) -> bool:
    """Move p4.v1.Entities into a ReadResponse until it is large enough; true if these were the last.

    Raises:
        P4Error: what came before it is in the response.
    """
    octets = 0
    for entity in found:
        response.entities.append(entity)
        octets += entity.ByteSize()
        if len(response.entities) >= _ENTITIES or octets >= _OCTETS:
            return False
    return True
