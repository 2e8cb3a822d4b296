# SPDX-License-Identifier: Apache-2.0
"""A state made at once from what was stored. One claim after the other would take seconds for 100,000 of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from nvo3sec.domain.mapping.model import Absence, Address, Claim, ClaimKey, Hold, Limits, Place
from nvo3sec.domain.mapping.state import MappingState
from nvo3sec.domain.overlay.persistent import PersistentMap

_Of = TypeVar("_Of", bound=Hashable)


def restored(
    claims: Iterable[Claim],
    holds: Iterable[Hold],
    versions: Iterable[tuple[int, int]],
    absences: Iterable[Absence] = (),
    unsteady: Iterable[str] = (),
    *,
    limits: Limits,
    term: int,
    now: float,
) -> MappingState:
    """The state after a restart, from what was stored. Nothing is served before `Configured` says who serves what.

    Leases were counted by a clock that is gone. Every NVE that has claims gets a whole one: its switch may still run on
    the old lease, and until that has surely ended nobody else may have its addresses. Holds with a successor likewise,
    and who is absent has the whole time to return.
    Raises ValueError if two claims own one address: such a state was never stored.
    """
    kept: dict[ClaimKey, Claim] = {}
    owners: dict[Address, ClaimKey] = {}
    waiting: dict[Address, set[ClaimKey]] = {}
    by_nve: dict[str, list[ClaimKey]] = {}
    by_vn: dict[int, list[ClaimKey]] = {}
    at_vap: Counter[Place] = Counter()
    arrivals = 1
    for claim in claims:
        key = claim.key
        kept[key] = claim
        owned = claim.owned
        for address in owned:
            if owners.setdefault(address, key) != key:
                raise ValueError("an address would have two owners")
        for address in claim.demanded - owned:
            waiting.setdefault(address, set()).add(key)
        by_nve.setdefault(claim.nve, []).append(key)
        by_vn.setdefault(claim.vni, []).append(key)
        if not claim.static:
            at_vap[key.place] += 1
        arrivals = max(arrivals, claim.arrival + 1)
    at_nve: Counter[str] = Counter()
    for place, count in at_vap.items():
        at_nve[place.nve] += count
    held = {
        hold.address: replace(hold, until=None if hold.successor is None else now + limits.handover_s) for hold in holds
    }
    absent = [replace(one, returns_until=now + limits.return_s, thaws_at=now + limits.thaw_s) for one in absences]
    ends: dict[float, list[Address]] = {}
    of_nve: dict[str, list[Address]] = {}
    for absence in absent:
        ends.setdefault(absence.ends, []).append(absence.address)
        of_nve.setdefault(absence.key.place.nve, []).append(absence.address)
    return MappingState(
        limits=limits,
        term=term,
        claims=PersistentMap.of(kept.items()),
        owners=PersistentMap.of(owners.items()),
        waiting=PersistentMap.of((address, frozenset(keys)) for address, keys in waiting.items()),
        by_nve=_index(by_nve),
        by_vn=_index(by_vn),
        vap_counts=PersistentMap.of(at_vap.items()),
        nve_counts=PersistentMap.of(at_nve.items()),
        leases=PersistentMap.of((nve, now + limits.lease_s) for nve in at_nve),
        holds=PersistentMap.of(held.items()),
        hold_ends=PersistentMap.of((hold.address, hold.until) for hold in held.values() if hold.until is not None),
        hold_counts=PersistentMap.of(Counter(hold.by for hold in held.values()).items()),
        absences=PersistentMap.of((one.address, one) for one in absent),
        absence_ends=_index(ends),
        absent_of=_index(of_nve),
        unsteady=PersistentMap.of((name, None) for name in unsteady),
        versions=PersistentMap.of(versions),
        arrivals=arrivals,
    )


_What = TypeVar("_What", bound=Hashable)


def _index(keys: Mapping[_Of, Iterable[_What]]) -> PersistentMap[_Of, PersistentMap[_What, None]]:
    return PersistentMap.of((of, PersistentMap.of((key, None) for key in some)) for of, some in keys.items())
