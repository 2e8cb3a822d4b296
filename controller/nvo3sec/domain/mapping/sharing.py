# SPDX-License-Identifier: Apache-2.0
"""Addresses that are stated for several VAPs, and are at one of them at a time: VRRP, and pairs that do as it does.

Whoever is in such a set can have its addresses by saying so, at most once a second and ten times a minute. Two that
both want them would make everybody's switches follow them for ever; so after that they stay where they are, and an
operator is told. Members have no lease: what the operator states is there while its VAP is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nvo3sec.domain.mapping.draft import Draft
from nvo3sec.domain.mapping.events import Claimed, Outcome, Reason, Status, Told
from nvo3sec.domain.mapping.model import Claim, ClaimKey, Place, Shared, StaticMapping, sorted_ips
from nvo3sec.domain.overlay.addresses import IpAddress

BETWEEN_MOVES_S = 1.0
WINDOW_S = 60.0
MOVES_IN_WINDOW = 10

_ACTIVE = Outcome(Status.ACTIVE)


def claimed(draft: Draft, event: Claimed, now: float) -> Outcome:
    """A frame speaks for an address; see `Claimed`."""
    key = ClaimKey(Place(event.nve, event.port, event.vlan), event.mac)
    shared = draft.scope.shared_at.get((event.vni, event.ip))
    claim = draft.claims.get(key)
    if shared is None or key not in shared.members or claim is None or not claim.static or claim.vni != event.vni:
        return Outcome(Status.REFUSED, Reason.HINT)
    lease = draft.leases.get(event.nve)
    if lease is None or lease <= now:
        return Outcome(Status.REFUSED, Reason.NO_LEASE)
    if shared.addresses <= claim.owned:
        return _ACTIVE
    if draft.is_unsteady(shared.name):
        return Outcome(Status.REFUSED, Reason.UNSTEADY)
    lately = tuple(at for at in draft.moved_at.get(shared.name) or () if at > now - WINDOW_S)
    if lately and now - lately[-1] < BETWEEN_MOVES_S:
        return Outcome(Status.REFUSED, Reason.TOO_SOON)
    if len(lately) >= MOVES_IN_WINDOW:
        draft.set_unsteady(shared.name, unsteady=True)
        draft.report(Told.UNSTEADY, claim.vni, key, Reason.UNSTEADY)
        return Outcome(Status.FROZEN, Reason.UNSTEADY)
    draft.moved_at = draft.moved_at.set(shared.name, (*lately, now))
    hand_over(draft, shared, key)
    draft.report(Told.MOVED, claim.vni, key)
    return _ACTIVE


def decided(draft: Draft, key: ClaimKey) -> bool:
    """An operator decides that `key` has what it shares; whether it shares anything."""
    found = [shared for shared in draft.scope.shared if key in shared.members]
    for shared in found:
        draft.set_unsteady(shared.name, unsteady=False)
        draft.moved_at = draft.moved_at.delete(shared.name) if shared.name in draft.moved_at else draft.moved_at
        hand_over(draft, shared, key)
    return bool(found)


def hand_over(draft: Draft, shared: Shared, key: ClaimKey) -> None:
    """All addresses of a set go to one member of it."""
    for owner in draft.owners_of(shared.addresses):
        if owner.key != key:
            kept = None if shared.mac else tuple(ip for ip in owner.granted or () if ip not in shared.ips)
            draft.replace_claim(owner, replace(owner, granted=kept))
    claim = draft.claims[key]
    draft.replace_claim(claim, replace(claim, granted=sorted_ips((*(claim.granted or ()), *shared.ips))))


def grants(draft: Draft, statics: Iterable[StaticMapping]) -> dict[ClaimKey, tuple[IpAddress, ...] | None]:
    """What each of the mappings that are stated has: all of its addresses but those that it shares and another has."""
    stated = {static.key: static for static in statics}
    granted: dict[ClaimKey, tuple[IpAddress, ...] | None] = {key: one.ips for key, one in stated.items()}
    for shared in draft.scope.shared:
        there = [key for key in shared.members if key in stated]
        owners = {claim.key for claim in draft.owners_of(shared.addresses)}
        owner = next((key for key in there if key in owners), there[0] if there else None)
        for key in there:
            ips = granted[key]
            if key != owner and ips is not None:
                granted[key] = None if shared.mac else tuple(ip for ip in ips if ip not in shared.ips)
    return granted


def is_standby(shared: Iterable[Shared], claim: Claim) -> bool:
    """Whether all that a claim does not have is what it shares with another."""
    missing = claim.demanded - claim.owned
    of = [one.addresses for one in shared if claim.key in one.members]
    return claim.static and bool(missing) and missing <= frozenset().union(*of)
