# SPDX-License-Identifier: Apache-2.0
"""What the NVA has told an agent in one session, and which tables that concerns and are not reconciled yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from nvo3sec.domain.messages import key_changes
from nvo3sec.domain.messages.session import KeyState, KeyUpdate, NveView
from nvo3sec.errors import NvaUnreachable
from nvo3sec.p4runtime import Table


class Told:
    """view, keys: the newest; None before the first. keys_at: when the keys came (seconds, monotonic)."""

    def __init__(self) -> None:
        self.view: NveView | None = None
        self.keys: KeyState | None = None
        self.keys_at = 0.0

    def take_keys(self, keys: KeyState, now: float) -> None:
        """All of them."""
        self.keys, self.keys_at = keys, now

    def change_keys(self, update: KeyUpdate, now: float) -> None:
        """Some of them. Raises NvaUnreachable if that is no change of what is known."""
        try:
            if self.keys is None:
                raise ValueError("a change of keys, where none are known")
            self.take_keys(key_changes.after(self.keys, update, now - self.keys_at), now)
        except ValueError as error:
            raise NvaUnreachable(f"the NVA sends {error}; asking for all of them") from None


class Dirty:
    """Tables of a switch that are to be reconciled."""

    def __init__(self) -> None:
        self._tables: set[Table] = set()
        self._wake = asyncio.Event()

    def mark(self, tables: Iterable[Table]) -> None:
        """These as well."""
        if chosen := set(tables):
            self._tables |= chosen
            self._wake.set()

    @property
    def is_waiting(self) -> bool:
        """Whether there is something that nobody has seen yet."""
        return self._wake.is_set()

    async def wait(self) -> None:
        """Until there is something new."""
        await self._wake.wait()
        self._wake.clear()

    def take(self) -> set[Table]:
        """All that has come together; it is not kept any more."""
        tables, self._tables = self._tables, set()
        return tables
