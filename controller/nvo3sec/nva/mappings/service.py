# SPDX-License-Identifier: Apache-2.0
"""The mapping service at work: the state machine of `domain.mapping` with a store under it and a change log behind it.

Events of one call become durable together, before anything of them is visible: neither lookups nor increments nor
answers show what a crash could take back. Events that come while a call is under way are best collected for the next
one: the cost of a commit hardly depends on how much is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nvo3sec.domain.mapping import (
    Address,
    Change,
    Configured,
    DropClaim,
    Effect,
    Event,
    Limits,
    MappingState,
    Outcome,
    Place,
    PutClaim,
    look_up,
    restored,
    scope_of,
    statics_of,
    step,
)
from nvo3sec.domain.mapping.change_log import ChangeLog, Increment
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult, Position
from nvo3sec.domain.overlay.model import Domain, Rate
from nvo3sec.domain.overlay.token_bucket import TokenBucket
from nvo3sec.errors import AuthorizationError
from nvo3sec.nva.store.records import DropVap, PutDomainFile, PutVap, Store, StoreChange, Stored

LOOKUP_RATE = Rate(200, 1000)
"""Lookups that one NVE may make."""
BUSY_S = 1.0
"""When one that asks too often may ask again."""


@dataclass(frozen=True)
class Handled:
    """What came of a call: an outcome for each event, everything that follows, the VNs that changed visibly, and the
    NVEs behind which something changed."""

    outcomes: tuple[Outcome, ...]
    effects: tuple[Effect, ...]
    changed: frozenset[int]
    nves: frozenset[str]


class MappingService:
    """The mappings of a domain. `configure` before anything else: until then nobody serves anything.

    stored: what `store.load()` gave. now: seconds, monotonic, as in every call.
    """

    def __init__(self, store: Store, stored: Stored, now: float, limits: Limits | None = None) -> None:
        self._store = store
        self._history = stored.history
        self._vaps: Mapping[Place, int] = dict(stored.vaps)
        self._state = restored(
            stored.claims,
            stored.holds,
            stored.versions,
            stored.absences,
            stored.unsteady,
            limits=limits or Limits(),
            term=stored.term,
            now=now,
        )
        self._log = ChangeLog(stored.history)
        self._lookups: dict[str, TokenBucket] = {}

    @property
    def state(self) -> MappingState:
        """As it is durable."""
        return self._state

    def configure(
        self,
        domain: Domain,
        now: float,
        revoked: Iterable[str] = (),
        reserved: Mapping[Address, frozenset[str]] | None = None,
        file: str = "",
        also: Iterable[StoreChange] = (),
    ) -> Handled:
        """Apply a domain file, without the NVEs that are revoked. Raises StoreError, and then nothing has changed.

        file: its text, which becomes durable together with what follows from it, and with `also`; "" keeps what is
        there.
        """
        scope = scope_of(domain, revoked, reserved)
        intent: list[StoreChange] = [DropVap(place) for place in sorted(self._vaps) if place not in scope.vaps]
        intent += [PutVap(place, vni) for place, vni in sorted(scope.vaps.items()) if self._vaps.get(place) != vni]
        if file and file != self._store.domain_file:
            intent.append(PutDomainFile(file))
        intent += also
        state = replace(self._state, limits=domain.mapping_limits)
        handled = self._handle([Configured(scope, statics_of(domain, scope))], now, intent, state)
        self._vaps = dict(scope.vaps)
        return handled

    def handle(self, events: Sequence[Event], now: float) -> Handled:
        """Let events happen, in their order. Raises StoreError, and then none of them has happened."""
        return self._handle(events, now, [], self._state)

    def _handle(self, events: Sequence[Event], now: float, before: list[StoreChange], state: MappingState) -> Handled:
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        effects: list[Effect] = []
        for event in events:
            one = step(state, event, now)
            state = one.state
            outcomes.append(one.outcome)
            changes += one.changes
            effects += one.effects
        self._store.commit([*before, *changes])
        self._state = state
        nves = frozenset(nve for nve in map(_nve_of, changes) if nve is not None)
        return Handled(tuple(outcomes), tuple(effects), self._log.record(effects), nves)

    def look_up(self, nve: str, query: Lookup, now: float) -> LookupAnswer:
        """The answer for `nve`, if it does not ask too often."""
        if not self._lookups.setdefault(nve, TokenBucket(LOOKUP_RATE, now)).take(now):
            return LookupAnswer(LookupResult.BUSY, BUSY_S)
        return look_up(self._state, nve, query)

    def increment(self, nve: str, vni: int, have: Position) -> Increment | None:
        """What leads `nve` from `have` to now; None if nobody knows any more. Raises AuthorizationError."""
        if not self._state.scope.serves(nve, vni):
            raise AuthorizationError(f"{nve} does not serve VNI {vni}")
        return self._log.increment(vni, have, self._state.version(vni))

    def position(self, vni: int) -> Position:
        """What somebody who is up to date has of a VN."""
        return Position(self._history, self._state.version(vni))


def _nve_of(change: Change) -> str | None:
    match change:
        case PutClaim(claim=claim):
            return claim.nve
        case DropClaim(key=key):
            return key.place.nve
        case _:
            return None
