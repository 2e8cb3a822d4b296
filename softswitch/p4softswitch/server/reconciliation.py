# SPDX-License-Identifier: Apache-2.0
"""RECONCILE_AND_COMMIT: entries go from one pipeline into another while both the packets and the controllers go on.

The entries are copied page by page; what is written to the old pipeline meanwhile is noted by its key, and looked up
again behind the copy until little is left. Only that little is done while nobody else can write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

from finsy.proto import p4r

from .changes import Change
from .pipeline import Pipeline
from .status import Code, P4Error
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
        self._changed: dict[Change, None] = {}
        self._references = 0
        self._is_last = False
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
            self._changed = self._old.changes.follow()
        found = self._old.forwarding_state(lambda: self._lock)
        while True:
            with self._bulk:
                page = list(islice(found, _PAGE))
                self._insert(self._old, page)
            if not page:
                break
        for _ in range(_ROUNDS):
            with self._bulk:
                with self._lock:
                    if len(self._changed) <= _LITTLE:
                        return
                    taken = list(self._changed)
                    self._changed.clear()
                    self._references = self._old.changes.references
                self._replace(self._old, taken, self._lock)

    def finish(self) -> None:
        """What is left. The caller holds the lock, and from here on nobody writes to the old pipeline."""
        if self._old is None:
            return
        self._is_last = True
        self._replace(self._old, self._old.changes.unfollow(), nullcontext())

    def cancel(self) -> None:
        """The push has failed. The caller holds the lock. Idempotent, also after `finish`."""
        if self._old is not None:
            self._old.changes.unfollow()

    def _write(self, kind: Any, entities: Sequence[Any]) -> list[P4Error | None]:
        return self._new.write([p4r.Update(type=kind, entity=entity) for entity in entities])

    def _insert(self, old: Pipeline, entities: Sequence[Any]) -> None:
        for entity, error in zip(entities, self._write(p4r.Update.INSERT, entities), strict=True):
            found = error
            if found is not None and found.code is Code.ALREADY_EXISTS:
                # A member or group that what has not changed refers to, so that it could not be deleted before.
                [found] = self._write(p4r.Update.MODIFY, [entity])
            if found is not None and self.failed is None and not self._again(old, entity):
                self.failed = found

    def _again(self, old: Pipeline, entity: Any) -> bool:
        """Note for the next round what may have failed only because something that it refers to, or that refers to it,
        is to be carried over still."""
        if self._is_last:
            return False
        with self._lock:
            change = None if old.changes.references == self._references else old.reference_of(entity)
            if change is not None:
                self._changed[change] = None
        return change is not None

    def _replace(self, old: Pipeline, changes: Iterable[Change], lock: AbstractContextManager[object]) -> None:
        """Have the new pipeline hold what the old one holds: without what has changed, and then with what is there.
        Members come before groups, and these before entries; they go the other way round."""
        names: list[Any] = []
        present: list[Any] = []
        for change in sorted(changes, key=lambda change: change.kind):
            with lock:
                name, entity = old.entity_of(change)
            names.append(name)
            if entity is not None:
                present.append(entity)
        self._write(p4r.Update.DELETE, names[::-1])
        self._insert(old, present)
