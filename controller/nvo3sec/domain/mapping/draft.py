# SPDX-License-Identifier: Apache-2.0
"""One step in the making: a draft of the next state that keeps its indexes right and notes changes and effects.

Every change of who has or wants an address goes through `replace_claim`, and every step ends with `settle`, which gives
addresses that became free to those who waited for them. So no rule has to remember either.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from nvo3sec.domain.mapping.events import (
    AddressAppeared,
    Change,
    DropAbsence,
    DropClaim,
    DropHold,
    DropUnsteady,
    Effect,
    MappingSet,
    MappingWithdrawn,
    PutAbsence,
    PutClaim,
    PutHold,
    PutUnsteady,
    Reason,
    Reported,
    SetVersion,
    Told,
)
from nvo3sec.domain.mapping.model import Absence, Address, Claim, ClaimKey, Hold
from nvo3sec.domain.mapping.state import MappingState
from nvo3sec.domain.overlay.persistent import PersistentMap


class Draft:
    """Starts from a state; `finish` gives the next one."""

    def __init__(self, state: MappingState) -> None:
        self.scope = state.scope
        self.limits = state.limits
        self.changes: list[Change] = []
        self.effects: list[Effect] = []
        self.claims = state.claims
        self.leases = state.leases
        self.holds = state.holds
        self.hold_ends = state.hold_ends
        self.absences = state.absences
        self.absence_ends = state.absence_ends
        self._absent_of = state.absent_of
        self.moved_at = state.moved_at
        self.evicted = state.evicted
        self._unsteady = state.unsteady
        self._base = state
        self._owners = state.owners
        self._waiting = state.waiting
        self._by_nve = state.by_nve
        self._by_vn = state.by_vn
        self._vap_counts = state.vap_counts
        self._nve_counts = state.nve_counts
        self._hold_counts = state.hold_counts
        self._versions = state.versions
        self._arrivals = state.arrivals
        self._touched: set[Address] = set()
        self._bumped: dict[int, None] = {}

    def finish(self) -> MappingState:
        """Settle, and return the next state."""
        self.settle()
        # Each VN once: a domain file changes one a thousand times, and the last version is what has to be stored.
        self.changes += [SetVersion(vni, self._versions[vni]) for vni in self._bumped]
        return replace(
            self._base,
            scope=self.scope,
            claims=self.claims,
            owners=self._owners,
            waiting=self._waiting,
            by_nve=self._by_nve,
            by_vn=self._by_vn,
            vap_counts=self._vap_counts,
            nve_counts=self._nve_counts,
            leases=self.leases,
            holds=self.holds,
            hold_ends=self.hold_ends,
            hold_counts=self._hold_counts,
            absences=self.absences,
            absence_ends=self.absence_ends,
            absent_of=self._absent_of,
            moved_at=self.moved_at,
            unsteady=self._unsteady,
            evicted=self.evicted,
            versions=self._versions,
            arrivals=self._arrivals,
        )

    # --- what is so -------------------------------------------------------------------------------------------------

    def claims_of(self, nve: str) -> list[Claim]:
        """The claims behind an NVE, in the order in which they came."""
        keys = self._by_nve.get(nve) or PersistentMap[ClaimKey, None]()
        return sorted((self.claims[key] for key in keys), key=lambda claim: claim.arrival)

    def crowded(self, claim: Claim) -> bool:
        """Whether the NVE of `claim` has as many announcements waiting for one of its addresses as it may."""
        for address in claim.demanded:
            waiting = self._waiting.get(address)
            if waiting is not None:
                own = sum(key.place.nve == claim.nve and key != claim.key for key in waiting)
                if own >= self.limits.waiting_per_address:
                    return True
        return False

    def quota_left(self, key: ClaimKey) -> bool:
        """Whether one more announcement fits behind this VAP and this NVE. What the operator states does not count."""
        return (self._vap_counts.get(key.place) or 0) < self.limits.claims_per_vap and (
            self._nve_counts.get(key.place.nve) or 0
        ) < self.limits.claims_per_nve

    def next_arrival(self) -> int:
        """The number of a new announcement."""
        self._arrivals += 1
        return self._arrivals - 1

    def obstacle(self, claim: Claim, *, contested_too: bool) -> tuple[Reason, ClaimKey | None]:
        """What keeps `claim` from having all that it asks for: a reason, and the claim in the way, if it is one.

        contested_too: whether contested addresses count; not among those who contest them.
        """
        for address in sorted(claim.demanded, key=_order):
            owner = self._owners.get(address)
            if owner is not None and owner != claim.key:
                return Reason.OWNED, owner
            reserved = self.scope.reserved.get(address)
            if reserved is not None and claim.nve not in reserved:
                return Reason.RESERVED, None
            absence = self.absences.get(address)
            if absence is not None and absence.key != claim.key and claim.nve in absence.barred:
                return Reason.ABSENT, absence.key
            hold = self.holds.get(address)
            if hold is not None and (contested_too if hold.successor is None else hold.successor != claim.nve):
                return Reason.HELD, None
        return Reason.NONE, None

    def owner_of(self, address: Address) -> ClaimKey | None:
        """The claim that has an address."""
        return self._owners.get(address)

    def returning(self, claim: Claim, now: float) -> list[Claim] | None:
        """The claims that `claim` takes its addresses back from, if its absence is all that anybody has against it."""
        losers: dict[ClaimKey, Claim] = {}
        for address in claim.demanded:
            absence = self.absences.get(address)
            is_its_own = (
                absence is not None
                and (absence.key, absence.host) == (claim.key, claim.host)
                and now < absence.returns_until
            )
            owner = self._owners.get(address)
            reserved = self.scope.reserved.get(address)
            if reserved is not None and claim.nve not in reserved:
                return None
            if is_its_own:
                if owner is not None and self.claims[owner].static:
                    return None
                if owner is not None:
                    losers[owner] = self.claims[owner]
            elif (owner is not None and owner != claim.key) or address in self.holds or absence is not None:
                return None
        return sorted(losers.values(), key=lambda one: one.arrival)

    def absences_of(self, nve: str) -> list[Absence]:
        """The addresses of claims behind an NVE that are absent."""
        return [self.absences[address] for address in self._absent_of.get(nve) or ()]

    def owners_of(self, addresses: Iterable[Address]) -> list[Claim]:
        """The claims that have any of the addresses, in the order in which they came."""
        keys = {key for key in map(self._owners.get, addresses) if key is not None}
        return sorted((self.claims[key] for key in keys), key=lambda claim: claim.arrival)

    # --- what becomes so --------------------------------------------------------------------------------------------

    def report(
        self, told: Told, vni: int, key: ClaimKey, reason: Reason = Reason.NONE, other: ClaimKey | None = None
    ) -> None:
        """Tell the operator."""
        self.effects.append(Reported(told, vni, key, reason, other))

    def replace_claim(self, old: Claim | None, new: Claim | None) -> None:
        """Put `new` in the place of `old`; one may be missing. A visible difference gets the VN's next version."""
        if new is not None and new.mapping is not None and (old is None or old.granted != new.granted):
            new = replace(new, sequence=self._bump(new.vni))
        if old == new:
            return
        self._reindex(old, new)
        if new is not None:
            self.changes.append(PutClaim(new))
        elif old is not None:
            self.changes.append(DropClaim(old.key))
        self._tell(old, new)

    def _tell(self, old: Claim | None, new: Claim | None) -> None:
        before = None if old is None else old.mapping
        after = None if new is None else new.mapping
        if after is not None and new is not None:
            if before == after:
                return
            had = frozenset[Address]() if old is None else old.owned
            self.effects.append(MappingSet(after.sequence, after))
            self.effects += [AddressAppeared(address) for address in sorted(new.owned - had, key=_order)]
        elif before is not None:
            self.effects.append(MappingWithdrawn(before.vni, self._bump(before.vni), before.mac))

    def _bump(self, vni: int) -> int:
        version = (self._versions.get(vni) or self._base.version(vni)) + 1
        self._versions = self._versions.set(vni, version)
        self._bumped[vni] = None
        return version

    def _reindex(self, old: Claim | None, new: Claim | None) -> None:
        """Bring the indexes from `old` to `new`, and nothing else. Raises ValueError if an address has an owner."""
        had, wanted = _rights(old)
        has, wants = _rights(new)
        for address in had - has:
            self._owners = self._owners.delete(address)
        for address in has - had:
            if new is None or address in self._owners:
                raise ValueError("an address would have two owners")
            self._owners = self._owners.set(address, new.key)
            hold = self.holds.get(address)
            if hold is not None:
                self.drop_hold(hold)
            absence = self.absences.get(address)
            if absence is not None and (absence.key == new.key or new.static):
                self.drop_absence(absence)
        if old is not None:
            for address in wanted - wants:
                rest = self._waiting[address] - {old.key}
                self._waiting = self._waiting.set(address, rest) if rest else self._waiting.delete(address)
        if new is not None:
            for address in wants - wanted:
                self._waiting = self._waiting.set(
                    address, (self._waiting.get(address) or frozenset[ClaimKey]()) | {new.key}
                )
        # Who begins to wait has an obstacle, or meets rivals who have been found already: nothing follows from it.
        self._touched |= (had ^ has) | (wanted - wants)
        if old is not None and new is None:
            self._count(old, -1)
            self.claims = self.claims.delete(old.key)
            self._by_nve = _without(self._by_nve, old.nve, old.key)
            self._by_vn = _without(self._by_vn, old.vni, old.key)
        elif new is not None:
            if old is not None:
                self._count(old, -1)
            else:
                self._by_nve = _including(self._by_nve, new.nve, new.key)
                self._by_vn = _including(self._by_vn, new.vni, new.key)
            self._count(new, 1)
            self.claims = self.claims.set(new.key, new)
            self._arrivals = max(self._arrivals, new.arrival + 1)

    def _count(self, claim: Claim, by: int) -> None:
        if not claim.static:
            place = claim.key.place
            self._vap_counts = _counted(self._vap_counts, place, by)
            self._nve_counts = _counted(self._nve_counts, place.nve, by)

    def add_hold(self, hold: Hold) -> None:
        """Hold an address, if the NVE that is the cause has not used up its quota of holds."""
        if hold.successor is not None and (self._hold_counts.get(hold.by) or 0) >= self.limits.holds_per_nve:
            return
        old = self.holds.get(hold.address)
        if old is not None:
            self.drop_hold(old)
        self.holds = self.holds.set(hold.address, hold)
        if hold.until is not None:
            self.hold_ends = self.hold_ends.set(hold.address, hold.until)
        self._hold_counts = _counted(self._hold_counts, hold.by, 1)
        self._touched.add(hold.address)
        self.changes.append(PutHold(hold))

    def drop_hold(self, hold: Hold) -> None:
        """Hold an address no more."""
        self.holds = self.holds.delete(hold.address)
        if hold.until is not None:
            self.hold_ends = self.hold_ends.delete(hold.address)
        self._hold_counts = _counted(self._hold_counts, hold.by, -1)
        self._touched.add(hold.address)
        self.changes.append(DropHold(hold.address))

    def lose(self, claim: Claim, now: float) -> None:
        """Take a claim away because the lease of its NVE has run out: it may return, and who waits does not profit."""
        limits, lost = self.limits, claim.owned
        waiting = {address: self._waiting.get(address) or frozenset[ClaimKey]() for address in lost}
        self.replace_claim(claim, None)
        for address in sorted(lost, key=_order):
            barred = frozenset(key.place.nve for key in waiting[address]) - {claim.nve}
            before = self.absences.get(address)
            if before is not None and now < before.returns_until:
                # Who had it for the time being had it from this one.
                self.add_absence(replace(before, barred=before.barred | barred))
            else:
                until, thaws_at = now + limits.return_s, now + limits.thaw_s
                self.add_absence(Absence(address, claim.key, claim.host, until, thaws_at, barred))
        others = {key for keys in waiting.values() for key in keys if key.place.nve != claim.nve}
        for key in sorted(others, key=lambda key: self.claims[key].arrival):
            self.report(Told.NOT_THAWED, claim.vni, key, Reason.ABSENT, claim.key)

    def add_absence(self, absence: Absence) -> None:
        """Remember whose an address is that is absent, if its NVE has not more of them than it can have addresses."""
        old = self.absences.get(absence.address)
        if old is not None:
            self.drop_absence(old)
        nve = absence.key.place.nve
        most = self.limits.claims_per_nve * (1 + self.limits.ips_per_claim)
        if len(self._absent_of.get(nve) or ()) >= most:
            return
        self.absences = self.absences.set(absence.address, absence)
        self.absence_ends = _including(self.absence_ends, absence.ends, absence.address)
        self._absent_of = _including(self._absent_of, nve, absence.address)
        self._touched.add(absence.address)
        self.changes.append(PutAbsence(absence))

    def drop_absence(self, absence: Absence) -> None:
        """Nobody who is absent has a right to the address any more."""
        self.absences = self.absences.delete(absence.address)
        self.absence_ends = _without(self.absence_ends, absence.ends, absence.address)
        self._absent_of = _without(self._absent_of, absence.key.place.nve, absence.address)
        self._touched.add(absence.address)
        self.changes.append(DropAbsence(absence.address))

    @property
    def unsteady(self) -> frozenset[str]:
        """The names of shared addresses that do not move any more."""
        return frozenset(self._unsteady)

    def is_unsteady(self, name: str) -> bool:
        """Whether shared addresses have moved so often that they do not any more."""
        return name in self._unsteady

    def set_unsteady(self, name: str, *, unsteady: bool) -> None:
        """Let shared addresses stay where they are, or move again."""
        if unsteady != (name in self._unsteady):
            self._unsteady = self._unsteady.set(name, None) if unsteady else self._unsteady.delete(name)
            self.changes.append(PutUnsteady(name) if unsteady else DropUnsteady(name))

    def touch_all_waiting(self) -> None:
        """Look at every claim that waits when the step settles: what was in its way may be gone."""
        self._touched |= set(self._waiting)

    # --- those who wait ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Give free addresses to who waited for them, until nothing moves.

        A claim gets everything that it asks for or nothing. Two that could both have an address contest it, and then
        nobody has it, no newcomer either: that nobody can tell who is right is not a reason to believe the faster one.
        """
        while self._touched:
            eligible, looked_at = self._eligible(self._touched)
            rivals: dict[Address, list[Claim]] = {}
            for claim in eligible:
                for address in claim.demanded - claim.owned:
                    rivals.setdefault(address, []).append(claim)
            self._touched = set()
            # All that were looked at: what a rival of a contested address has lost may be another address.
            for address in sorted(looked_at, key=_order):
                self._mark_contested(address, rivals.get(address, []))
            for claim in eligible:
                if all(len(rivals[address]) == 1 for address in claim.demanded - claim.owned):
                    self.report(Told.THAWED, claim.vni, claim.key)
                    self.replace_claim(claim, replace(claim, granted=claim.announced))

    def _eligible(self, addresses: Iterable[Address]) -> tuple[list[Claim], set[Address]]:
        """Claims that nobody is in the way of but each other: those that wait for one of the addresses, for what such a
        claim also waits for, or for what one of them contests. And the addresses whose waiting claims were looked at.

        The search does not follow claims that have an obstacle further than to what they contest, so that an announcer
        cannot make it long by chaining claims that are frozen anyway.
        """
        found: dict[ClaimKey, Claim] = {}
        seen: set[Address] = set()
        pending = list(addresses)
        while pending:
            address = pending.pop()
            if address in seen:
                continue
            seen.add(address)
            for key in self._waiting.get(address) or ():
                if key in found:
                    continue
                claim = self.claims[key]
                wanted = claim.demanded - claim.owned
                if self.obstacle(claim, contested_too=False)[0] is Reason.NONE:
                    found[key] = claim
                    pending += wanted
                else:
                    pending += (other for other in wanted if self._is_contested(other))
        return sorted(found.values(), key=lambda claim: claim.arrival), seen

    def _is_contested(self, address: Address) -> bool:
        hold = self.holds.get(address)
        return hold is not None and hold.successor is None

    def _mark_contested(self, address: Address, rivals: list[Claim]) -> None:
        hold = self.holds.get(address)
        if len(rivals) < 2:
            if hold is not None and hold.successor is None:
                self.drop_hold(hold)
            return
        if hold is None:
            self.add_hold(Hold(address, None, None, ""))
            for claim in rivals:
                self.report(Told.CONTESTED, claim.vni, claim.key, Reason.HELD)


def _order(address: Address) -> tuple[int, int, int]:
    """A fixed order: by VN, MAC addresses first, then IPv4, then IPv6."""
    vni, value = address
    return (vni, 0, value) if isinstance(value, int) else (vni, value.version, int(value))


def _rights(claim: Claim | None) -> tuple[frozenset[Address], frozenset[Address]]:
    """What a claim has, and what it waits for."""
    if claim is None:
        return frozenset(), frozenset()
    owned = claim.owned
    return owned, claim.demanded - owned


_Of = TypeVar("_Of", bound=Hashable)


def _counted(counts: PersistentMap[_Of, int], of: _Of, by: int) -> PersistentMap[_Of, int]:
    count = (counts.get(of) or 0) + by
    return counts.set(of, count) if count else counts.delete(of)


_What = TypeVar("_What", bound=Hashable)


def _including(
    index: PersistentMap[_Of, PersistentMap[_What, None]], of: _Of, key: _What
) -> PersistentMap[_Of, PersistentMap[_What, None]]:
    return index.set(of, (index.get(of) or PersistentMap[_What, None]()).set(key, None))


def _without(
    index: PersistentMap[_Of, PersistentMap[_What, None]], of: _Of, key: _What
) -> PersistentMap[_Of, PersistentMap[_What, None]]:
    rest = index[of].delete(key)
    return index.set(of, rest) if len(rest) else index.delete(of)
