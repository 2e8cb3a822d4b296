# SPDX-License-Identifier: Apache-2.0
"""The mapping service (RFC 8014 4.3) as a function from (state, event) to (state, changes, effects).

    nothing --- announced, all addresses free ---> ACTIVE --- released, lease ended, operator ---> nothing
       \\------ announced, one is not free ------> FROZEN --- what was in its way is gone --------> ACTIVE

An NVE can announce only behind VAPs that the domain file gives it, and only while it has a lease. A conflicting
announcement freezes the newcomer, never the incumbent; who is frozen has nothing and is seen by nobody. A claim that
has addresses and asks for more keeps what it has. Numbers of moves are versions of the VN, given here and nowhere else.

What is first come, first served: an address that nobody has, nobody stated and nobody reserved belongs to the first NVE
of the VN that announces it, and one that its owner released without naming a successor to the only one that waits for
it. Operators who cannot trust every NVE of a VN that far state or reserve the addresses (`Scope.reserved`).

What the caller does with a step, in this order: make `changes` durable, take `state` as the new one, deliver `effects`
and answer with `outcome`. If the first fails, it keeps the state that it had, and nothing has happened. Times are
seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nvo3sec.domain.mapping.draft import Draft
from nvo3sec.domain.mapping.events import (
    Admit,
    Attach,
    Change,
    Claimed,
    Configured,
    Detach,
    Effect,
    Event,
    Evict,
    LeaseRenewed,
    Move,
    NveLost,
    Outcome,
    Reason,
    Reported,
    Resync,
    Status,
    Tick,
    Told,
)
from nvo3sec.domain.mapping.model import (
    Address,
    Claim,
    ClaimKey,
    Hold,
    Place,
    StaticMapping,
    sorted_ips,
)
from nvo3sec.domain.mapping.renumbering import renumber, renumbered
from nvo3sec.domain.mapping.sharing import claimed, decided, grants
from nvo3sec.domain.mapping.state import MappingState
from nvo3sec.domain.overlay.addresses import IpAddress

DONE = Outcome(Status.DONE)
ACTIVE = Outcome(Status.ACTIVE)


@dataclass(frozen=True)
class Step:
    """What an event leads to. A refused one has no changes."""

    state: MappingState
    outcome: Outcome
    changes: tuple[Change, ...] = ()
    effects: tuple[Effect, ...] = ()


def step(state: MappingState, event: Event, now: float) -> Step:
    """The next state, and what follows. Pure: the same arguments give the same step, and `state` stays as it was."""
    draft = Draft(state)
    outcome = _handle(draft, event, now)
    if outcome.status is Status.REFUSED:
        told = _refusal(state, event, outcome.reason)
        return Step(state, outcome, effects=told)
    after = draft.finish()
    if isinstance(event, Attach | Move | Admit):
        outcome = _standing(after, _key_of(event), outcome)
    return Step(after, outcome, tuple(draft.changes), tuple(draft.effects))


def _handle(draft: Draft, event: Event, now: float) -> Outcome:
    match event:
        case Attach():
            return _attach(draft, event, now)
        case Detach():
            key = ClaimKey(Place(event.nve, event.port, event.vlan), event.mac)
            return _release(draft, key, event.host, event.successor, now)
        case Move():
            return _move(draft, event, now)
        case Claimed():
            return claimed(draft, event, now)
        case Resync():
            return _resync(draft, event, now)
        case LeaseRenewed(nve=nve, until=until):
            if nve not in draft.scope.nves:
                return _refused(Reason.NOT_SERVED)
            draft.leases = draft.leases.set(nve, max(until, draft.leases.get(nve) or until))
            return DONE
        case NveLost(nve=nve):
            _withdraw_all(draft, nve, now, may_return=False)
            return DONE
        case Configured():
            _configure(draft, event)
            return DONE
        case Admit(key=key):
            return _admit(draft, key)
        case Evict(key=key, successor=successor):
            draft.evicted = draft.evicted.set(key, None)
            return _release(draft, key, None, successor, now)
        case Tick():
            _tick(draft, now)
            return DONE


def obstacle(state: MappingState, claim: Claim) -> tuple[Reason, ClaimKey | None]:
    """What keeps a claim from having all that it asks for: a reason, and the claim in the way, if it is one."""
    return Draft(state).obstacle(claim, contested_too=True)


# --- announcements --------------------------------------------------------------------------------------------------


def _attach(draft: Draft, event: Attach, now: float, moved: Claim | None = None) -> Outcome:
    """moved: the claim that was released for this one, whose addresses it may keep."""
    key = _key_of(event)
    old = draft.claims.get(key)
    ips = sorted_ips(event.ips)
    reason = _unacceptable(draft, key, event.vni, ips, now)
    if reason is not Reason.NONE:
        return _refused(reason)
    if old is not None and old.static:
        return ACTIVE if set(ips) <= set(old.announced) else _refused(Reason.STATIC)
    if old is not None and old.host != event.host:
        return _refused(Reason.FOREIGN)
    if moved is None and old is not None and old.announced == ips:
        return DONE  # said again; `step` answers how it stands
    if event.again and old is None and key in draft.evicted:
        return _refused(Reason.EVICTED)
    if old is None and not draft.quota_left(key):
        return _refused(Reason.QUOTA)
    if key in draft.evicted:
        draft.evicted = draft.evicted.delete(key)
    arrival = draft.next_arrival() if old is None else old.arrival
    new = Claim(key, event.vni, ips, None, old.sequence if old else 0, arrival, host=event.host)
    return _announce(draft, old, new, moved or old, now)


def _announce(draft: Draft, old: Claim | None, new: Claim, before: Claim | None, now: float) -> Outcome:
    reason, other = draft.obstacle(new, contested_too=True)
    if reason is Reason.NONE:
        for absent in sorted({draft.absences[one].key for one in new.demanded if one in draft.absences} - {new.key}):
            draft.report(Told.TAKEN, new.vni, new.key, Reason.ABSENT, absent)
        draft.replace_claim(old, replace(new, granted=new.announced))
        return ACTIVE
    losers = draft.returning(new, now)
    if losers is not None:
        _seat(draft, old, replace(new, granted=new.announced), losers)
        draft.report(Told.RETURNED, new.vni, new.key)
        return ACTIVE
    if draft.crowded(new):
        return _refused(Reason.QUOTA)
    had = None if before is None else before.granted
    kept = None if had is None else tuple(ip for ip in had if ip in new.announced)
    draft.replace_claim(old, replace(new, granted=kept))
    draft.report(Told.FROZEN, new.vni, new.key, reason, other)
    return Outcome(Status.FROZEN, reason)


def _unacceptable(draft: Draft, key: ClaimKey, vni: int, ips: tuple[IpAddress, ...], now: float) -> Reason:
    """Why an announcement is not even looked at."""
    if draft.scope.vaps.get(key.place) != vni:
        return Reason.NOT_SERVED
    lease = draft.leases.get(key.place.nve)
    if lease is None or lease <= now:
        return Reason.NO_LEASE
    if not draft.scope.can_be_had(key.mac, ((vni, key.mac), *((vni, ip) for ip in ips))):
        return Reason.BAD_ADDRESS
    return Reason.QUOTA if len(ips) > draft.limits.ips_per_claim else Reason.NONE


def _move(draft: Draft, event: Move, now: float) -> Outcome:
    source = ClaimKey(Place(event.nve, event.from_port, event.from_vlan), event.mac)
    key = _key_of(event)
    old = draft.claims.get(source)
    if old is None or source == key:
        return _refused(Reason.UNKNOWN)
    if old.static:
        return _refused(Reason.STATIC)
    # No successor needs to be named: nothing settles before the claim has arrived.
    released = _release(draft, source, event.host, None, now)
    if released.status is Status.REFUSED:
        return released
    there = Attach(event.nve, event.to_port, event.to_vlan, old.vni, event.mac, event.ips, event.host)
    return _attach(draft, there, now, moved=old)


def _release(draft: Draft, key: ClaimKey, host: str | None, successor: str | None, now: float) -> Outcome:
    """Take a claim away. host None: an operator, who may do that to any."""
    claim = draft.claims.get(key)
    if claim is None:
        return _give_up(draft, key, host, successor, now)
    if claim.static:
        return _refused(Reason.STATIC)
    if host is not None and claim.host != host:
        return _refused(Reason.FOREIGN)
    if successor is not None and not draft.scope.serves(successor, claim.vni):
        return _refused(Reason.NOT_SERVED)
    draft.replace_claim(claim, None)
    if successor is not None:
        # Only what the claim had: who is frozen has nothing to hand on.
        for address in _in_order(claim.owned):
            draft.add_hold(Hold(address, successor, now + draft.limits.handover_s, key.place.nve))
    return DONE


def _give_up(draft: Draft, key: ClaimKey, host: str | None, successor: str | None, now: float) -> Outcome:
    """Who is absent does not return. Its addresses are as free as if it had been released."""
    absent = [one for one in draft.absences_of(key.place.nve) if one.key == key and host in (None, one.host)]
    if not absent:
        return _refused(Reason.UNKNOWN)
    if successor is not None and not draft.scope.serves(successor, absent[0].address[0]):
        return _refused(Reason.NOT_SERVED)
    for one in absent:
        draft.drop_absence(one)
        if successor is not None and draft.owner_of(one.address) is None:
            draft.add_hold(Hold(one.address, successor, now + draft.limits.handover_s, key.place.nve))
    return DONE


def _resync(draft: Draft, event: Resync, now: float) -> Outcome:
    lease = draft.leases.get(event.nve)
    if lease is None or lease <= now:
        return _refused(Reason.NO_LEASE)
    kept = {_key_of(attach) for attach in event.attachments if attach.nve == event.nve}
    for claim in draft.claims_of(event.nve):
        if not claim.static and claim.key not in kept:
            draft.replace_claim(claim, None)
    for absence in draft.absences_of(event.nve):
        if absence.key not in kept:
            draft.drop_absence(absence)
    draft.settle()
    for attach in event.attachments:
        if attach.nve != event.nve:
            return _refused(Reason.NOT_SERVED)
        outcome = _attach(draft, attach, now)
        if outcome.status is Status.REFUSED and outcome.reason is not Reason.EVICTED:
            draft.report(Told.REFUSED, attach.vni, _key_of(attach), outcome.reason)
    return DONE


# --- ends -----------------------------------------------------------------------------------------------------------


def _withdraw_all(draft: Draft, nve: str, now: float, *, may_return: bool) -> None:
    """The NVE's lease is over: everything that it announced goes, and what it was promised."""
    draft.leases = draft.leases.delete(nve)
    for claim in draft.claims_of(nve):
        if not claim.static:
            draft.report(Told.WITHDRAWN, claim.vni, claim.key, Reason.NO_LEASE)
            if may_return:
                draft.lose(claim, now)
            else:
                draft.replace_claim(claim, None)
    if not may_return:
        for absence in draft.absences_of(nve):
            draft.drop_absence(absence)
    for hold in list(draft.holds.values()):
        if hold.successor == nve:
            draft.drop_hold(hold)


def _tick(draft: Draft, now: float) -> None:
    for nve in sorted(nve for nve, until in draft.leases.items() if until <= now):
        _withdraw_all(draft, nve, now, may_return=True)
    for end in sorted(end for end in draft.absence_ends if end <= now):
        for address in list(draft.absence_ends.get(end) or ()):
            draft.drop_absence(draft.absences[address])
    ended = [draft.holds[address] for address, until in draft.hold_ends.items() if until <= now]
    for hold in sorted(ended, key=lambda hold: hold.until or 0.0):
        draft.drop_hold(hold)


# --- operators ------------------------------------------------------------------------------------------------------


def _admit(draft: Draft, key: ClaimKey) -> Outcome:
    claim = draft.claims.get(key)
    if claim is None:
        return _refused(Reason.UNKNOWN)
    if claim.static and decided(draft, key):
        return ACTIVE
    if any(claim.nve not in draft.scope.reserved.get(address, {claim.nve}) for address in claim.demanded):
        return _refused(Reason.RESERVED)
    losers = [other for other in draft.owners_of(claim.demanded) if other.key != key]
    if any(other.static for other in losers):
        return _refused(Reason.STATIC)
    for address in claim.demanded:
        absence = draft.absences.get(address)
        if absence is not None:
            draft.drop_absence(absence)
    _seat(draft, claim, replace(claim, granted=claim.announced), losers)
    return ACTIVE


def _seat(draft: Draft, old: Claim | None, new: Claim, losers: list[Claim]) -> None:
    """Give `new` its addresses by decision of an operator: who had them is frozen, whole."""
    for loser in losers:
        draft.report(Told.DEMOTED, loser.vni, loser.key, Reason.OWNED, new.key)
        draft.replace_claim(loser, replace(loser, granted=None))
    draft.replace_claim(old, new)


def _configure(draft: Draft, event: Configured) -> None:
    numbers = renumbered(draft.scope, event.scope)
    draft.scope = event.scope
    renumber(draft, numbers)
    wanted = {
        static.key: replace(static, ips=sorted_ips(static.ips))
        for static in event.statics
        if draft.scope.vaps.get(static.key.place) == static.vni
    }
    for name in sorted(draft.unsteady - {shared.name for shared in draft.scope.shared}):
        draft.set_unsteady(name, unsteady=False)
    for nve in sorted(set(draft.leases) - draft.scope.nves):
        draft.leases = draft.leases.delete(nve)
    for claim in sorted(draft.claims.values(), key=lambda claim: claim.arrival):
        gone = draft.scope.vaps.get(claim.key.place) != claim.vni
        if gone or (claim.static and claim.key not in wanted):
            if not claim.static:  # else the operator knows: it is what the file says
                draft.report(Told.WITHDRAWN, claim.vni, claim.key, Reason.NOT_SERVED)
            draft.replace_claim(claim, None)
        elif not claim.static and not draft.scope.can_be_had(claim.key.mac, claim.demanded):
            draft.report(Told.WITHDRAWN, claim.vni, claim.key, Reason.BAD_ADDRESS)
            draft.replace_claim(claim, None)
        elif claim.key not in wanted and not _permitted(draft, claim):
            draft.report(Told.DEMOTED, claim.vni, claim.key, Reason.RESERVED)
            draft.replace_claim(claim, replace(claim, granted=None))
    for absence in list(draft.absences.values()):
        if draft.scope.vaps.get(absence.key.place) != absence.address[0]:
            draft.drop_absence(absence)
    for hold in list(draft.holds.values()):
        if hold.successor is not None and not draft.scope.serves(hold.successor, hold.address[0]):
            draft.drop_hold(hold)
    _state_statics(draft, list(wanted.values()))
    draft.touch_all_waiting()


def _state_statics(draft: Draft, statics: list[StaticMapping]) -> None:
    has = grants(draft, statics)
    # Those that change give their addresses up first, so that two of them can exchange one.
    for static in statics:
        old = draft.claims.get(static.key)
        if old is not None and old.static and (old.announced, old.granted) != (static.ips, has[static.key]):
            draft.replace_claim(old, replace(old, granted=None))
    for static in statics:
        old = draft.claims.get(static.key)
        granted = has[static.key]
        if old is not None and old.static and (old.announced, old.granted) == (static.ips, granted):
            continue
        arrival = draft.next_arrival() if old is None else old.arrival
        new = Claim(static.key, static.vni, static.ips, granted, old.sequence if old else 0, arrival, static=True)
        losers = [other for other in draft.owners_of(new.owned) if other.key != new.key]
        if any(other.static for other in losers):
            raise ValueError(f"two static mappings have an address of {static.key}")
        _seat(draft, old, new, losers)


def _permitted(draft: Draft, claim: Claim) -> bool:
    return all(claim.nve in draft.scope.reserved.get(address, {claim.nve}) for address in claim.owned)


# --- small things ---------------------------------------------------------------------------------------------------


def _refused(reason: Reason) -> Outcome:
    return Outcome(Status.REFUSED, reason)


def _key_of(event: Attach | Move | Admit) -> ClaimKey:
    match event:
        case Attach():
            return ClaimKey(Place(event.nve, event.port, event.vlan), event.mac)
        case Move():
            return ClaimKey(Place(event.nve, event.to_port, event.to_vlan), event.mac)
        case Admit():
            return event.key


def _standing(state: MappingState, key: ClaimKey, outcome: Outcome) -> Outcome:
    """How a claim stands when everything has settled."""
    claim = state.claims[key]
    if claim.granted == claim.announced:
        return ACTIVE
    reason = outcome.reason if outcome.reason is not Reason.NONE else obstacle(state, claim)[0]
    return Outcome(Status.FROZEN, reason)


def _refusal(state: MappingState, event: Event, reason: Reason) -> tuple[Effect, ...]:
    if not isinstance(event, Attach | Move) or reason is Reason.EVICTED:  # the operator knows: it was his decision
        return ()
    vni = event.vni if isinstance(event, Attach) else state.scope.vaps.get(_key_of(event).place, 0)
    return (Reported(Told.REFUSED, vni, _key_of(event), reason),)


def _in_order(addresses: Iterable[Address]) -> list[Address]:
    return sorted(addresses, key=lambda address: (address[0], str(address[1])))
