# SPDX-License-Identifier: Apache-2.0
"""Names and numbers that the host program shares with the runtime, read from host.h: nobody types them again."""

from __future__ import annotations

import re
from pathlib import Path

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_ENUM = re.compile(r"\benum (\w+) \{([^}]*)\}")
_STRUCT = re.compile(r"\bstruct (\w+) \{([^}]*)\}")


def numbers_in(text: str) -> dict[str, int]:
    """Members of all enums, by name, as C counts them. Raises ValueError for a value that is no number."""
    found: dict[str, int] = {}
    for _, body in _ENUM.findall(_COMMENT.sub("", text)):
        next_value = 0
        for member in filter(None, (part.strip() for part in body.split(","))):
            name, _, value = (part.strip() for part in member.partition("="))
            found[name] = int(value, 0) if value else next_value
            next_value = found[name] + 1
    return found


def members_in(text: str) -> dict[str, tuple[str, ...]]:
    """Members of all structures, in their order. Raises ValueError for one with something else than uint64_t."""
    found: dict[str, tuple[str, ...]] = {}
    for name, body in _STRUCT.findall(_COMMENT.sub("", text)):
        members: list[str] = []
        for line in filter(None, (part.strip() for part in body.split(";"))):
            kind, _, names = line.partition(" ")
            if kind != "uint64_t":
                raise ValueError(f"struct {name} has a member of type {kind}; uint64_t is allowed")
            members += (one.strip() for one in names.split(","))
        found[name] = tuple(members)
    return found


_TEXT = Path(__file__).with_name("host.h").read_text(encoding="utf-8")
NUMBERS = numbers_in(_TEXT)
_MEMBERS = members_in(_TEXT)

STATISTICS = _MEMBERS["statistics"]
"""What the engine counts of itself."""
PORT_STATISTICS = _MEMBERS["port_statistics"]
"""What it counts of a port."""
DIRECT = _MEMBERS["direct"]
"""What a counter and a meter are set to."""
METER_READING = _MEMBERS["meter_reading"]
"""A meter as it is read."""
