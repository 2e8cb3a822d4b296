# SPDX-License-Identifier: Apache-2.0
"""What is written to a pipeline while it is copied."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .entries import Key


class Kind(IntEnum):
    """What refers to what: groups to members, entries to both."""

    MEMBER = 0
    GROUP = 1
    ENTRY = 2


class Change(NamedTuple):
    """Something that was inserted, changed or deleted.

    owner: id of its action profile or table. key: its id there, or match key and priority.
    """

    kind: Kind
    owner: int
    key: Key | int


class Changes:
    """Notes of writes, as long as somebody follows them. Not thread-safe: the device serialises writes."""

    def __init__(self) -> None:
        self._noted: dict[Change, None] | None = None
        self.references = 0
        """Writes, since somebody follows, to what refers to something else, or is referred to."""

    def note(self, kind: Kind, owner: int, key: Key | int, *, refers: bool) -> None:
        """It has been written. refers: it is a member, a group, or an entry that has one for an action."""
        if self._noted is not None:
            self._noted[Change(kind, owner, key)] = None
            self.references += refers

    def follow(self) -> dict[Change, None]:
        """From now on what is inserted, changed or deleted is noted in what this returns; whoever takes some out is
        told of them anew when they change again."""
        self._noted = {}
        self.references = 0
        return self._noted

    def unfollow(self) -> dict[Change, None]:
        """No longer. What is noted."""
        noted, self._noted = self._noted or {}, None
        return noted
