# SPDX-License-Identifier: Apache-2.0
"""Which numbers may still stand in some switch for what they stood for, and where (`domain.overlay.meanings`).

An NVE has let go of a number when its switch was read back equal to a view without it, or when it has no session and
its lease has run out: an agent that comes again changes its switch before it asks for time. One that keeps its session
while its lease runs out, as an agent that hangs does, is waited for no longer either, but gets no lease before it has
confirmed: it would open its tunnels with what was in its switch. And one that goes on renewing its lease without
confirming gets none any more after a while, so that what it has comes to an end: nobody keeps a number for ever.

Who has to let go of what is stored together with the change that makes it so, and so is the longest lease that anybody
may have: after a restart nobody has confirmed anything, and everybody may have a whole lease.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from nvo3sec.domain.overlay.meanings import Meaning, Told, is_told, let_go
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.nva.intent.cutoffs import DEADLINE_S
from nvo3sec.nva.store.records import DropHeld, PutHeld, SetEarlyLease, SetLongestLease, Store, StoreChange, Stored


@dataclass(frozen=True)
class _Owed:
    """since: it is gone in views with a higher version; 0: in any of this process. until: by when it is to be said."""

    since: int
    until: float


class HeldNumbers:
    """Of one NVA. stored: what `store.load()` gave. before: the domain that ran last. excluded: NVEs that are shut out.

    Times are seconds of one monotonic clock.
    """

    def __init__(self, stored: Stored, now: float, before: Domain, excluded: Collection[str]) -> None:
        self._lease_s = before.lifetimes.lease_s
        self.longest_lease_s = _whole(max(stored.longest_lease_s, self._lease_s))
        """Nobody has a lease that is longer than this."""
        self._stored_lease_s, self._stored_early_s = stored.longest_lease_s, stored.early_lease_s
        self._shorter_at = self._unknown_until = now + self.longest_lease_s
        self._granted: dict[str, float] = {}
        # After a restart agents come back within their leases, and confirm then.
        anew = _Owed(0, now + max(DEADLINE_S, self.longest_lease_s))
        self._held = {meaning: dict.fromkeys(nves, anew) for meaning, nves in stored.held}
        self._written = {meaning: frozenset(nves) for meaning, nves in stored.held}
        self._closed: set[str] = set()
        # Who was shut out before a crash, and is still among those who serve, was told that it serves.
        shut_out = set(excluded) - {place.nve for place, _ in stored.vaps}
        self._told = Told(before, Membership(before, shut_out))

    # --- what NVEs are told changes -----------------------------------------------------------------------------------

    @contextmanager
    def letting_go(
        self, domain: Domain, excluded: Iterable[str], version: int, now: float
    ) -> Iterator[tuple[StoreChange, ...]]:
        """NVEs are told `domain`, without `excluded`, in views with a higher version than `version`.

        Gives what is to be stored with that; unless the body raises, it is.
        """
        told = Told(domain, Membership(domain, excluded))
        held: dict[Meaning, dict[str, _Owed]] = {}
        for meaning, nves in self._held.items():
            if kept := {nve: owed for nve, owed in nves.items() if not is_told(told, meaning, nve)}:
                held[meaning] = kept
        for meaning, gone in let_go(self._told, told).items():
            held.setdefault(meaning, {}).update(dict.fromkeys(gone, _Owed(version, now + DEADLINE_S)))
        lease_s = domain.lifetimes.lease_s
        longest_s = max(self.longest_lease_s, _whole(lease_s))
        changes = self._changes(held, longest_s)
        if _whole(lease_s) < self._stored_early_s:
            changes = (*changes, SetEarlyLease(_whole(lease_s)))
        yield changes
        self._note(changes)
        if lease_s < self._lease_s:
            self._shorter_at = now + longest_s
        self._held, self._told, self._lease_s, self.longest_lease_s = held, told, lease_s, longest_s

    def _changes(self, held: Mapping[Meaning, Mapping[str, _Owed]], longest_s: float) -> tuple[StoreChange, ...]:
        changes: list[StoreChange] = []
        if longest_s != self._stored_lease_s:
            changes.append(SetLongestLease(longest_s))
        changes += [DropHeld(meaning) for meaning in self._written if meaning not in held]
        changes += [
            PutHeld(meaning, tuple(sorted(nves)))
            for meaning, nves in held.items()
            if not nves.keys() <= self._written.get(meaning, frozenset())
        ]
        return tuple(changes)

    def _note(self, changes: Collection[StoreChange]) -> None:
        for change in changes:
            match change:
                case PutHeld(meaning=meaning, nves=nves):
                    self._written[meaning] = frozenset(nves)
                case DropHeld(meaning=meaning):
                    self._written.pop(meaning, None)
                case SetLongestLease(seconds=seconds):
                    self._stored_lease_s = seconds
                case SetEarlyLease(seconds=seconds):
                    self._stored_early_s = seconds
                case _:
                    pass

    # --- what NVEs say ------------------------------------------------------------------------------------------------

    def granted(self, nve: str, now: float) -> None:
        """`nve` gets a lease."""
        self._granted[nve] = now + self._lease_s

    def lease_until(self, nve: str) -> float:
        """When the last lease of `nve` ends, or has ended; of one of which this process knows none, that of another."""
        return self._granted.get(nve, self._unknown_until)

    def confirmed(self, nve: str, view: int) -> None:
        """The switch of `nve` was read back equal to a view of this version."""
        self._forget(nve, view)

    def _forget(self, nve: str, view: float) -> None:
        left = False
        for meaning, nves in list(self._held.items()):
            if nve in nves and nves[nve].since < view:
                del nves[nve]
                if not nves:
                    del self._held[meaning]
            left |= nve in nves
        if not left:
            self._closed.discard(nve)

    def tick(self, now: float, connected: Collection[str], store: Store) -> None:
        """Let time go by. Raises StoreError."""
        for nve in {nve for nves in self._held.values() for nve in nves}:
            if self._granted.get(nve, self._unknown_until) <= now:
                if nve in connected:
                    self._closed.add(nve)
                else:
                    self._forget(nve, math.inf)
        if now >= self._shorter_at:
            self.longest_lease_s = _whole(self._lease_s)
        changes = self._changes(self._held, self.longest_lease_s)
        if store.durable and self._stored_early_s != _whole(self._lease_s):
            # This NVA runs, so its start has come to its end: the next one may prolong leases before it has.
            changes = (*changes, SetEarlyLease(_whole(self._lease_s)))
        store.commit(changes)
        self._note(changes)

    # --- what follows -------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> dict[Meaning, tuple[str, ...]]:
        """Numbers that may still stand for this, and the NVEs where they may: with a lease, and not confirmed."""
        found = {
            meaning: tuple(sorted(nve for nve in nves if nve not in self._closed))
            for meaning, nves in self._held.items()
        }
        return {meaning: nves for meaning, nves in sorted(found.items()) if nves}

    def left_behind(self, nve: str, now: float) -> tuple[str, ...]:
        """What `nve` has to let go of before it gets another lease: its lease has run out in its session, or it has had
        its time to confirm."""
        is_closed = nve in self._closed
        owed = ((one, nves[nve]) for one, nves in sorted(self._held.items()) if nve in nves)
        return tuple(str(one) for one, owing in owed if is_closed or now >= owing.until)


def _whole(seconds: float) -> float:
    """In whole milliseconds, rounded up, as it is stored."""
    return math.ceil(seconds * 1000) / 1000
