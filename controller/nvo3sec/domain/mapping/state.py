# SPDX-License-Identifier: Apache-2.0
"""The state of the mapping service, and what can be asked of it. It is never changed: `step` makes a new one."""

from __future__ import annotations

from dataclasses import dataclass, field

from nvo3sec.domain.mapping.model import (
    TERM_SHIFT,
    Absence,
    Address,
    Claim,
    ClaimKey,
    Hold,
    Limits,
    MappingEntry,
    Place,
    Scope,
)
from nvo3sec.domain.messages.session import Lookup, LookupAnswer, LookupResult
from nvo3sec.domain.overlay.persistent import PersistentMap

POSITIVE_S = 300.0
NEGATIVE_S = 10.0
"""How long an answer may be remembered."""


@dataclass(frozen=True)
class MappingState:
    """Everything that the mapping service knows.

    owners: who has an address. waiting: claims that want an address and do not have it. leases: until when the NVE's
    announcements are good. hold_ends: of the holds that end by themselves; of the others there can be very many.
    absences: addresses of claims whose NVE lost its lease; absence_ends: by the time at which they end, for very many
    end at once. moved_at: when shared addresses moved lately, by name; unsteady: those that do not any more.
    evicted: claims that an operator has evicted in the life of this process, and nobody has attached since; they do not
    come back because an agent remembers them. versions: of each VN. arrivals: number of the next announcement. The
    other maps are indexes.
    """

    scope: Scope = field(default_factory=Scope)
    limits: Limits = field(default_factory=Limits)
    term: int = 1
    claims: PersistentMap[ClaimKey, Claim] = field(default_factory=PersistentMap)
    owners: PersistentMap[Address, ClaimKey] = field(default_factory=PersistentMap)
    waiting: PersistentMap[Address, frozenset[ClaimKey]] = field(default_factory=PersistentMap)
    by_nve: PersistentMap[str, PersistentMap[ClaimKey, None]] = field(default_factory=PersistentMap)
    by_vn: PersistentMap[int, PersistentMap[ClaimKey, None]] = field(default_factory=PersistentMap)
    vap_counts: PersistentMap[Place, int] = field(default_factory=PersistentMap)
    nve_counts: PersistentMap[str, int] = field(default_factory=PersistentMap)
    leases: PersistentMap[str, float] = field(default_factory=PersistentMap)
    holds: PersistentMap[Address, Hold] = field(default_factory=PersistentMap)
    hold_ends: PersistentMap[Address, float] = field(default_factory=PersistentMap)
    hold_counts: PersistentMap[str, int] = field(default_factory=PersistentMap)
    absences: PersistentMap[Address, Absence] = field(default_factory=PersistentMap)
    absence_ends: PersistentMap[float, PersistentMap[Address, None]] = field(default_factory=PersistentMap)
    absent_of: PersistentMap[str, PersistentMap[Address, None]] = field(default_factory=PersistentMap)
    moved_at: PersistentMap[str, tuple[float, ...]] = field(default_factory=PersistentMap)
    unsteady: PersistentMap[str, None] = field(default_factory=PersistentMap)
    evicted: PersistentMap[ClaimKey, None] = field(default_factory=PersistentMap)
    versions: PersistentMap[int, int] = field(default_factory=PersistentMap)
    arrivals: int = 1

    def version(self, vni: int) -> int:
        """Version of a VN: that of its last visible change."""
        return self.versions.get(vni) or self.term << TERM_SHIFT

    def owner(self, address: Address) -> Claim | None:
        """Who has the address."""
        key = self.owners.get(address)
        return None if key is None else self.claims[key]

    def find(self, address: Address) -> MappingEntry | None:
        """The mapping in force that has the address."""
        claim = self.owner(address)
        return None if claim is None else claim.mapping

    def mappings(self, vni: int) -> tuple[MappingEntry, ...]:
        """Every mapping of a VN in force, by MAC address."""
        keys = self.by_vn.get(vni) or PersistentMap[ClaimKey, None]()
        found = (self.claims[key].mapping for key in keys)
        return tuple(sorted((entry for entry in found if entry is not None), key=lambda entry: entry.mac))

    def behind(self, nve: str) -> tuple[Claim, ...]:
        """Every claim behind an NVE, frozen ones too, in the order in which they came."""
        keys = self.by_nve.get(nve) or PersistentMap[ClaimKey, None]()
        return tuple(sorted((self.claims[key] for key in keys), key=lambda claim: claim.arrival))

    def frozen(self) -> tuple[Claim, ...]:
        """Claims that want something that they do not have, in the order in which they came."""
        keys = {key for keys in self.waiting.values() for key in keys}
        return tuple(sorted((self.claims[key] for key in keys), key=lambda claim: claim.arrival))

    def next_deadline(self) -> float | None:
        """When a `Tick` will do something: the end of a lease, a hold or an absence, or None."""
        return min((*self.leases.values(), *self.hold_ends.values(), *self.absence_ends), default=None)


def look_up(state: MappingState, nve: str, query: Lookup) -> LookupAnswer:
    """The answer for `nve`, which must serve the VN that it asks about (RFC 8014 4.3)."""
    if not state.scope.serves(nve, query.vni):
        return LookupAnswer(LookupResult.REFUSED, NEGATIVE_S)
    wanted = query.mac if query.mac is not None else query.ip
    found = None if wanted is None else state.find((query.vni, wanted))
    if found is None or not state.scope.serves(found.place.nve, query.vni):
        return LookupAnswer(LookupResult.UNKNOWN, NEGATIVE_S)
    return LookupAnswer(LookupResult.FOUND, POSITIVE_S, found.mac, found.place.nve, found.ips, found.sequence)
