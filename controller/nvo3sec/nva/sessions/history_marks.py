# SPDX-License-Identifier: Apache-2.0
"""What each NVE was told of how far the store has come, and what it remembers of that.

An NVE is told only what is stored as told to it: so what it brings back is found here, whatever crashed, and is not
found in a store that was put back from before. There are at most as many rows for each NVE as it can remember, and one
that it is told next: what it brings shows what it remembers, and the rest is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import structlog

from nvo3sec.domain.messages.history import not_in_history
from nvo3sec.domain.messages.session import StoreMark
from nvo3sec.errors import HistoryDisputed
from nvo3sec.nva.store.records import DropDispute, DropTold, PutDispute, PutTold, Store, StoreChange, Stored

INTERVAL_S = 1.0
"""Between two commits that are made for nothing else than that NVEs can be told how far the store has come."""
KEPT = 3
"""Rows that are kept for who comes without a memory: the oldest, so that who comes again and again pushes none out."""


class Marks:
    """The marks of one NVA. `stored`: what `store.load()` gave. Each method may raise StoreError."""

    def __init__(self, store: Store, stored: Stored) -> None:
        self._store = store
        self._term = stored.term if store.durable else 0
        self._told: dict[str, dict[int, StoreMark]] = {}
        for nve, version, digest in stored.told:
            self._told.setdefault(nve, {})[version] = StoreMark(self._term, version, digest)
        self._remembers: dict[str, set[StoreMark]] = {}
        self._disputes = {nve: StoreMark(term, version) for nve, term, version in stored.disputes}
        self._log = structlog.get_logger("nva")
        for nve, said in self.disputes.items():
            self._log.error("the history of the store is disputed", nve=nve, why=said)
        self._changed = self._seen = store.version
        self._not_before = float("-inf")

    def now(self) -> StoreMark:
        """How far the store has come; (0, 0) if it is not durable: then there is nothing to compare."""
        return StoreMark(self._term, self._store.version, self._store.digest) if self._term else StoreMark(0, 0)

    def of(self, nve: str) -> StoreMark:
        """What `nve` may be told; without a digest as long as none is stored for it."""
        told = self._told.get(nve)
        return told[max(told)] if told else StoreMark(self._term, self._store.version if self._term else 0)

    def known(self, nve: str, seen: Iterable[StoreMark]) -> tuple[StoreMark, ...]:
        """What of `seen` was told to `nve`."""
        return tuple(one for one in seen if self._told.get(nve, {}).get(one.version) == one)

    @property
    def disputes(self) -> dict[str, str]:
        """NVEs that remember what is not in the history of this store, and what they remember."""
        return {nve: f"remembers version {one.version} of term {one.term}" for nve, one in self._disputes.items()}

    # --- sessions ---------------------------------------------------------------------------------------------------

    def begin(self, nve: str, seen: Sequence[StoreMark]) -> None:
        """`nve` comes, remembers `seen`, and is told `of`. Raises HistoryDisputed."""
        self._compare(nve, seen)
        self._remembers[nve] = self._may_remember(nve, seen)
        if nve in self._disputes:
            self._store.commit([DropDispute(nve)])
            del self._disputes[nve]

    def hand_out(self, nve: str, seen: Sequence[StoreMark]) -> StoreMark:
        """What `nve`, which remembers `seen`, is told now. Raises HistoryDisputed."""
        self._compare(nve, seen)
        self._remembers[nve] = self._may_remember(nve, seen)
        return self.of(nve)

    def end(self, nve: str) -> None:
        """`nve` has gone. What it remembers, it remembers."""
        self._remembers.pop(nve, None)

    def _may_remember(self, nve: str, seen: Sequence[StoreMark]) -> set[StoreMark]:
        """What `nve`, which shows `seen`, may show when it comes again."""
        told = self._told.get(nve, {})
        shown = self.known(nve, seen) if seen else [told[version] for version in sorted(told)[:KEPT]]
        return {*shown, self.of(nve)}

    def _compare(self, nve: str, seen: Sequence[StoreMark]) -> None:
        """One commit at most for each NVE: a liar has no more to write with."""
        strange = not_in_history(seen, self.now(), self.known(nve, seen))
        if strange is None:
            return
        is_new = nve not in self._disputes
        if is_new:
            self._store.commit([PutDispute(nve, strange.term, strange.version)])
            self._disputes[nve] = strange
        why = (
            f"{nve} remembers version {strange.version} of term {strange.term} of this NVA's store, which has no such"
            f" version in its history and is at version {self._store.version} of term {self._term}: an old store was"
            " put back, the agent's own memory is an old one, or somebody else came with its certificate meanwhile"
        )
        if is_new:
            self._log.error("the history of the store is disputed", nve=nve, why=why)
        raise HistoryDisputed(why)

    # --- what is going to be told -----------------------------------------------------------------------------------

    def tick(self, now: float, *, at_once: bool = False) -> None:
        """Let NVEs that are there be told how far the store has come, if it has.

        at_once: all of them, and not only those that have been told what they were to be told before.
        """
        if not self._term:
            return
        if self._store.version != self._seen:
            self._changed = self._seen = self._store.version
        if now < self._not_before and not at_once:
            return
        due = [nve for nve in self._remembers if self._is_due(nve, at_once=at_once)]
        if due:
            self._put(due, self.now())
            self._not_before = now + INTERVAL_S

    def _is_due(self, nve: str, *, at_once: bool) -> bool:
        """The commits of `_put` are no news: else each would be a reason for the next."""
        last = self.of(nve)
        return not last.digest or (last.version < self._changed and (at_once or last in self._remembers[nve]))

    def _put(self, nves: Collection[str], mark: StoreMark) -> None:
        changes: list[StoreChange] = []
        told: dict[str, dict[int, StoreMark]] = {}
        for nve in nves:
            before = self._told.get(nve, {})
            kept = {version: one for version, one in before.items() if one in self._remembers[nve]}
            changes += [DropTold(nve, version) for version in before if version not in kept]
            changes.append(PutTold(nve, mark.version, mark.digest))
            told[nve] = kept | {mark.version: mark}
        self._store.commit(changes)
        self._seen = self._store.version
        self._told |= told

    def only(self, nves: Collection[str]) -> None:
        """These are the NVEs of the domain: nobody else has a say. What others were told stays, for they may return."""
        gone = [nve for nve in self._disputes if nve not in nves]
        if gone:
            self._store.commit([DropDispute(nve) for nve in gone])
            for nve in gone:
                del self._disputes[nve]

    def forget(self, nve: str) -> None:
        """`nve` is revoked for good: nothing that it says about the store counts any more."""
        changes: list[StoreChange] = [DropTold(nve, version) for version in self._told.get(nve, {})]
        if nve in self._disputes:
            changes.append(DropDispute(nve))
        self._store.commit(changes)
        self._told.pop(nve, None)
        self._remembers.pop(nve, None)
        self._disputes.pop(nve, None)
