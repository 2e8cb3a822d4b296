# SPDX-License-Identifier: Apache-2.0
"""RECONCILE_AND_COMMIT: entries go from one pipeline into another while both the packets and the controllers go on.

The entries are copied page by page; what is written to the old pipeline meanwhile is noted by its key, and looked up
again behind the copy until little is left. Only that little is done while nobody else can write.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from finsy.proto import p4r

from .pipeline import Pipeline
from .status import P4Error
from .turns import Turns

_PAGE = 32
"""Entries that are copied in one turn."""

_LITTLE = 32
"""Changed entries that are carried over while writes wait."""

_ROUNDS = 8
"""After so many rounds whatever is left is carried over while writes wait: no writer may put a push off for ever."""


class Reconciliation:
    """From the running pipeline into one that nobody else sees yet."""

    def __init__(self, old: Pipeline | None, new: Pipeline, lock: Turns, bulk: Turns) -> None:
        """`lock`: of the old pipeline. `bulk`: whose turn it is to do long work."""
        self._old = old
        self._new = new
        self._lock = lock
        self._bulk = bulk
        self.failed: P4Error | None = None
        """The first entry that could not be inserted."""

    def copy(self) -> None:
        """Everything but what is written meanwhile. Without the lock.

        Raises:
            P4Error: as `Pipeline.read`.
        """
        if self._old is None:
            return
        with self._lock:
            changed = self._old.tables.follow()
        found = self._old.forwarding_state(lambda: self._lock)
        while True:
            with self._bulk:
                page = list(islice(found, _PAGE))
                self._insert(page)
            if not page:
                break
        for _ in range(_ROUNDS):
            with self._bulk:
                with self._lock:
                    if len(changed) <= _LITTLE:
                        return
                    taken = dict(changed)
                    changed.clear()
                for table_id, key in taken:
                    with self._lock:
                        name, entry = self._old.tables.entry_of(table_id, key)
                    self._replace(name, entry)

    def finish(self) -> None:
        """What is left. The caller holds the lock, and from here on nobody writes to the old pipeline."""
        if self._old is None:
            return
        for table_id, key in self._old.tables.unfollow():
            self._replace(*self._old.tables.entry_of(table_id, key))

    def cancel(self) -> None:
        """The push has failed. The caller holds the lock."""
        if self._old is not None:
            self._old.tables.unfollow()

    def _insert(self, entities: Sequence[Any]) -> None:
        results = self._new.write([p4r.Update(type=p4r.Update.INSERT, entity=entity) for entity in entities])
        self.failed = self.failed or next((error for error in results if error is not None), None)

    def _replace(self, name: Any, entry: Any | None) -> None:
        """Have the new pipeline hold what the old one holds under a key: an entry, or none."""
        self._new.write([p4r.Update(type=p4r.Update.DELETE, entity=p4r.Entity(table_entry=name))])
        if entry is not None:
            self._insert([entry])
