# SPDX-License-Identifier: Apache-2.0
"""The mapping service against simple rules that must always hold, under events of honest and dishonest NVEs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from mirror import followed
from nvo3sec.domain.mapping import (
    AddressAppeared,
    Admit,
    Attach,
    Claimed,
    ClaimKey,
    Configured,
    Detach,
    DropAbsence,
    DropClaim,
    DropHold,
    DropUnsteady,
    Evict,
    LeaseRenewed,
    Limits,
    MappingSet,
    MappingState,
    MappingWithdrawn,
    Move,
    NveLost,
    Place,
    PutAbsence,
    PutClaim,
    PutHold,
    PutUnsteady,
    Resync,
    Scope,
    SetVersion,
    Shared,
    StaticMapping,
    Status,
    Tick,
    look_up,
    restored,
    sorted_ips,
    step,
)
from nvo3sec.domain.mapping.change_log import ChangeLog, Position
from nvo3sec.domain.messages.session import Lookup, LookupResult

HONEST, THIEF = ("a", "b"), "t"
NVES = (*HONEST, THIEF)
VNIS = (10, 20)
# Port 1 and 2 are of VN 10, port 3 of VN 20; "b" has no port 3.
VAPS = {Place(nve, port, 0): 10 if port < 3 else 20 for nve in NVES for port in (1, 2, 3) if (nve, port) != ("b", 3)}
MACS = (0x2, 0x4, 0x6)
IPS = (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), IPv6Address("fd00::1"))
RESERVED = {(10, 0x6): frozenset(HONEST)}
STATIC = StaticMapping(ClaimKey(Place("a", 3, 0), 0x8), 20, (IPv4Address("10.0.0.9"),))
SHARED_IP = IPv4Address("10.0.0.77")
MEMBERS = tuple(
    StaticMapping(ClaimKey(Place(nve, 3, 0), mac), 20, (SHARED_IP,)) for nve, mac in (("a", 0xA), (THIEF, 0xC))
)
PAIR = Shared("pair", frozenset({(20, SHARED_IP)}), tuple(one.key for one in MEMBERS), mac=False)
LIMITS = Limits(
    claims_per_vap=3,
    claims_per_nve=5,
    ips_per_claim=2,
    holds_per_nve=3,
    waiting_per_address=2,
    return_s=25,
    thaw_s=45,
)
HISTORY = b"h" * 16
INDEXES = (
    "claims",
    "owners",
    "waiting",
    "by_nve",
    "by_vn",
    "vap_counts",
    "nve_counts",
    "hold_counts",
    "versions",
    "absent_of",
)

nves = st.sampled_from(NVES)
ports = st.sampled_from((1, 2, 3, 4))
macs = st.sampled_from((*MACS, 0x8, 1 << 40))
ip_sets = st.lists(st.sampled_from((*IPS, IPv4Address("10.0.0.9"), IPv4Address("224.0.0.1"))), max_size=3).map(tuple)
vnis = st.sampled_from(VNIS)


class MappingMachine(RuleBasedStateMachine):
    """Applies events, keeps what was acknowledged in sets, and follows the increments as an agent would."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.state = MappingState(limits=LIMITS)
        self.owned: dict[tuple, ClaimKey] = {}
        self.last_sequence: dict[int, int] = {}
        self.log = ChangeLog(HISTORY, per_vn=4, in_all=6)
        self.mirror = {vni: {} for vni in VNIS}
        self.mirror_at: dict[int, Position | None] = dict.fromkeys(VNIS)
        self.rows: dict = {"claims": {}, "holds": {}, "versions": {}, "absences": {}, "unsteady": {}}

    @initialize()
    def configure(self) -> None:
        self.apply(Configured(Scope(VAPS, RESERVED, (PAIR,)), (STATIC, *MEMBERS)))
        for nve in NVES:
            self.apply(LeaseRenewed(nve, self.now + 30))

    def apply(self, event):
        before = self.state
        done = step(before, event, self.now)
        again = step(before, event, self.now)
        assert (done.changes, done.effects, done.outcome) == (again.changes, again.effects, again.outcome)
        if done.outcome.status is Status.REFUSED:
            assert done.state is before
            assert not done.changes
        self.state = done.state
        self.persist(done.changes)
        for effect in done.effects:
            if isinstance(effect, MappingSet | MappingWithdrawn):
                vni = effect.mapping.vni if isinstance(effect, MappingSet) else effect.vni
                assert effect.version == self.last_sequence.get(vni, before.version(vni)) + 1
                self.last_sequence[vni] = effect.version
        appeared = {effect.address for effect in done.effects if isinstance(effect, AddressAppeared)}
        owned = {address: key for address, key in self.state.owners.items()}
        assert set(owned) - set(self.owned) <= appeared, "somebody still believes that nobody has the address"
        moved = {address for address, key in owned.items() if self.owned.get(address, key) != key}
        assert moved <= appeared
        self.owned = owned
        self.log.record(done.effects)
        return done

    def persist(self, changes) -> None:
        versions = {change.vni: change.version for change in changes if isinstance(change, SetVersion)}
        assert len(versions) == sum(isinstance(change, SetVersion) for change in changes), "a VN is stored once a step"
        for change in changes:
            match change:
                case PutClaim(claim=claim):
                    self.rows["claims"][claim.key] = claim
                case DropClaim(key=key):
                    del self.rows["claims"][key]
                case PutHold(hold=hold):
                    self.rows["holds"][hold.address] = hold
                case DropHold(address=address):
                    del self.rows["holds"][address]
                case PutAbsence(absence=absence):
                    self.rows["absences"][absence.address] = absence
                case DropAbsence(address=address):
                    del self.rows["absences"][address]
                case PutUnsteady(name=name):
                    self.rows["unsteady"][name] = None
                case DropUnsteady(name=name):
                    del self.rows["unsteady"][name]
                case SetVersion(vni=vni, version=version):
                    assert version > self.rows["versions"].get(vni, 0)
                    self.rows["versions"][vni] = version
        assert self.rows["versions"] == dict(self.state.versions.items()), "a restart would go back"
        # Their times are of a clock that a restart ends.
        stored = {address: replace(one, returns_until=0, thaws_at=0) for address, one in self.rows["absences"].items()}
        assert stored == {
            address: replace(one, returns_until=0, thaws_at=0) for address, one in self.state.absences.items()
        }

    # --- what NVEs do -----------------------------------------------------------------------------------------------

    @rule(nve=nves, port=ports, vni=vnis, mac=macs, ips=ip_sets, host=st.sampled_from(("", "hv1")))
    def attach(self, nve, port, vni, mac, ips, host) -> None:
        event = Attach(nve, port, 0, vni, mac, ips, host)
        key = ClaimKey(Place(nve, port, 0), mac)
        before, owners = self.state, dict(self.owned)
        done = self.apply(event)
        absences = before.absences
        own = {
            address
            for address, one in absences.items()
            if (one.key, one.host) == (key, host) and self.now < one.returns_until
        }
        for address, owner in owners.items():
            # Whoever had an address before an announcement has it still, unless the announcer gave up its own, or had
            # it before and has come back in time. And then whoever had an address meanwhile loses all that it had.
            losers = {owners.get(one) for one in own}
            assert self.owned.get(address) == owner or owner == key or owner in losers
        wanted = {(vni, mac), *((vni, ip) for ip in ips)}
        for address, one in absences.items():
            if nve in one.barred and one.key != key and address not in owners:
                assert self.owned.get(address) != key, "it got by waiting what was not given to it"
        if any(owners.get(address, key) != key and address not in own for address in wanted):
            assert done.outcome.status is not Status.ACTIVE, "a newcomer got past an incumbent"
        if nve == THIEF and (vni, mac) in RESERVED and VAPS.get(key.place) == vni:
            assert done.outcome.status is not Status.ACTIVE, "reserved for others"
        if VAPS.get(key.place) != vni or key.mac & 1 << 40 or self.now >= (before.leases.get(nve) or 0):
            assert done.outcome.status is Status.REFUSED
        if done.outcome.status is Status.ACTIVE:
            assert all(self.owned[address] == key for address in wanted) or self.state.claims[key].static

    @rule(nve=nves, port=ports, mac=macs, successor=st.sampled_from((None, None, *NVES)))
    def detach(self, nve, port, mac, successor) -> None:
        key = ClaimKey(Place(nve, port, 0), mac)
        owned = {address for address, owner in self.owned.items() if owner == key}
        done = self.apply(Detach(nve, port, 0, mac, successor))
        if done.outcome.status is not Status.REFUSED:
            assert key not in self.state.claims
        if successor is not None and done.outcome.status is Status.DONE:
            takers = {self.owned[address].place.nve for address in owned if address in self.owned}
            held = (self.state.hold_counts.get(nve) or 0) < LIMITS.holds_per_nve
            assert takers <= {successor} or not held

    @rule(nve=nves, old=ports, new=ports, mac=macs, ips=ip_sets)
    def move(self, nve, old, new, mac, ips) -> None:
        source = ClaimKey(Place(nve, old, 0), mac)
        had_mac = self.owned.get((VAPS.get(source.place), mac)) == source
        done = self.apply(Move(nve, old, 0, new, 0, mac, ips))
        if done.outcome.status is not Status.REFUSED and had_mac:
            assert self.owned[VAPS[source.place], mac] == ClaimKey(Place(nve, new, 0), mac), "lost on the way"

    @rule(nve=nves, port=st.sampled_from((1, 2)), kept=st.sets(st.sampled_from(MACS)), ips=ip_sets)
    def resync(self, nve, port, kept, ips) -> None:
        done = self.apply(Resync(nve, tuple(Attach(nve, port, 0, 10, mac, ips[:1]) for mac in sorted(kept))))
        if done.outcome.status is Status.DONE:
            left = {c.key for c in self.state.behind(nve) if not c.static}
            assert left <= {ClaimKey(Place(nve, port, 0), mac) for mac in kept}

    @rule(nve=nves, mac=st.sampled_from((0xA, 0xC, 0x8)), seconds=st.sampled_from((0.0, 0.5, 1.5)))
    def claimed(self, nve, mac, seconds) -> None:
        self.now += seconds
        self.apply(Tick())
        before, key = dict(self.owned), ClaimKey(Place(nve, 3, 0), mac)
        has_lease = self.now < (self.state.leases.get(nve) or 0)
        done = self.apply(Claimed(nve, 3, 0, 20, mac, SHARED_IP))
        if done.outcome.status is Status.ACTIVE:
            assert key in PAIR.members
            assert has_lease
            assert self.owned[20, SHARED_IP] == key
        else:
            assert self.owned == before
        others = {address: owner for address, owner in before.items() if address != (20, SHARED_IP)}
        assert {address: owner for address, owner in self.owned.items() if address != (20, SHARED_IP)} == others

    @rule(nve=nves, seconds=st.floats(0, 60))
    def renew(self, nve, seconds) -> None:
        self.apply(LeaseRenewed(nve, self.now + seconds))

    # --- what happens -----------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0.5, 40))
    def time_goes_by(self, seconds) -> None:
        before = self.state
        self.now += seconds
        self.apply(Tick())
        for address, owner in before.owners.items():
            absence = self.state.absences.get(address)
            if not before.claims[owner].static and owner.place.nve not in self.state.leases and absence is not None:
                assert address not in self.owned, "who waited got it because its owner was away"
        assert all(until > self.now for until in self.state.leases.values())
        deadline = self.state.next_deadline()
        assert deadline is None or deadline > self.now

    @rule(nve=nves)
    def lose(self, nve) -> None:
        self.apply(NveLost(nve))
        assert all(claim.static for claim in self.state.behind(nve))

    @rule(key=st.builds(lambda n, p, m: ClaimKey(Place(n, p, 0), m), nves, ports, macs))
    def admit(self, key) -> None:
        done = self.apply(Admit(key))
        if done.outcome.status is Status.ACTIVE:
            assert all(self.owned[address] == key for address in self.state.claims[key].demanded)

    @rule(key=st.builds(lambda n, p, m: ClaimKey(Place(n, p, 0), m), nves, ports, macs))
    def evict(self, key) -> None:
        self.apply(Evict(key))

    @rule(without=st.sampled_from((None, *VAPS)), static=st.booleans())
    def reconfigure(self, without, static) -> None:
        vaps = {place: vni for place, vni in VAPS.items() if place != without}
        self.apply(Configured(Scope(vaps, RESERVED, (PAIR,)), (STATIC, *MEMBERS) if static else MEMBERS))
        self.apply(Configured(Scope(VAPS, RESERVED, (PAIR,)), (STATIC, *MEMBERS)))

    @rule()
    def renumber(self) -> None:
        """Another number for a VN, and back: everybody has what they had, and waits for what they waited for."""
        here = Configured(Scope(VAPS, RESERVED, (PAIR,), vnis={"ten": 10, "twenty": 20}), (STATIC, *MEMBERS))
        self.apply(here)
        owned, before = dict(self.owned), self.state
        there = Scope(
            {place: 30 if vni == 10 else vni for place, vni in VAPS.items()},
            {(30, value): nves for (_, value), nves in RESERVED.items()},
            (PAIR,),
            vnis={"ten": 30, "twenty": 20},
        )
        statics = [replace(one, vni=30) if one.vni == 10 else one for one in (STATIC, *MEMBERS)]
        self.apply(Configured(there, tuple(statics)))

        def of_now(address):
            return (30 if address[0] == 10 else address[0], address[1])

        assert self.owned == {of_now(address): key for address, key in owned.items()}
        assert dict(self.state.waiting.items()) == {of_now(one): keys for one, keys in before.waiting.items()}
        assert set(self.state.holds) == {of_now(address) for address in before.holds}
        assert set(self.state.absences) == {of_now(address) for address in before.absences}
        self.apply(here)
        assert self.owned == owned
        for name in ("waiting", "holds", "absences"):
            assert dict(getattr(self.state, name).items()) == dict(getattr(before, name).items()), name

    @rule()
    def restart(self) -> None:
        """What was stored is what there is, and nobody has become an owner by it."""
        owners = dict(self.owned)
        before = self.state
        self.state = restored(
            self.rows["claims"].values(),
            self.rows["holds"].values(),
            self.rows["versions"].items(),
            self.rows["absences"].values(),
            self.rows["unsteady"],
            limits=LIMITS,
            term=1,
            now=self.now,
        )
        # Made at once, the indexes are those that single steps have made.
        for name in INDEXES:
            assert getattr(self.state, name) == getattr(before, name), name
        assert dict(self.state.owners.items()) == owners
        announcers = {claim.nve for claim in self.state.claims.values() if not claim.static}
        assert dict(self.state.leases.items()) == dict.fromkeys(announcers, self.now + LIMITS.lease_s)
        assert look_up(self.state, "a", Lookup(10, MACS[0])).result is LookupResult.REFUSED
        self.apply(Configured(Scope(VAPS, RESERVED, (PAIR,)), (STATIC, *MEMBERS)))
        assert self.owned == owners

    @rule(vni=vnis)
    def agent_follows(self, vni) -> None:
        have, version = self.mirror_at[vni], self.state.version(vni)
        increment = None if have is None else self.log.increment(vni, have, version)
        self.mirror[vni] = followed(self.mirror[vni], increment, self.state.mappings(vni))
        self.mirror_at[vni] = Position(HISTORY, version)
        assert self.mirror[vni] == {entry.mac: entry for entry in self.state.mappings(vni)}

    # --- always -----------------------------------------------------------------------------------------------------

    @invariant()
    def one_owner_and_true_indexes(self) -> None:
        owners: dict = {}
        for claim in self.state.claims.values():
            for address in claim.owned:
                assert owners.setdefault(address, claim.key) == claim.key, f"two owners of {address}"
                assert claim.owned <= claim.demanded
        assert owners == dict(self.state.owners.items())
        waiting: dict = {}
        for claim in self.state.claims.values():
            for address in claim.demanded - claim.owned:
                waiting.setdefault(address, set()).add(claim.key)
        assert waiting == {address: set(keys) for address, keys in self.state.waiting.items()}

        ends = {hold.address: hold.until for hold in self.state.holds.values() if hold.until is not None}
        assert ends == dict(self.state.hold_ends.items())
        absent_ends: dict = {}
        absent_of: dict = {}
        for address, one in self.state.absences.items():
            assert self.state.owners.get(address) != one.key
            assert self.state.scope.vaps.get(one.key.place) == address[0]
            absent_ends.setdefault(one.ends, set()).add(address)
            absent_of.setdefault(one.key.place.nve, set()).add(address)
        assert absent_ends == {end: set(some) for end, some in self.state.absence_ends.items()}
        assert absent_of == {nve: set(some) for nve, some in self.state.absent_of.items()}

    @invariant()
    def frozen_is_invisible(self) -> None:
        visible = {(e.vni, e.mac): e.place for vni in VNIS for e in self.state.mappings(vni)}
        for claim in self.state.claims.values():
            if claim.granted is None:
                assert visible.get((claim.vni, claim.key.mac)) != claim.key.place
                for ip in claim.announced:
                    found = self.state.find((claim.vni, ip))
                    assert found is None or found.place != claim.key.place or found.mac != claim.key.mac

    @invariant()
    def nobody_waits_for_what_is_free(self) -> None:
        """A claim that waits has something in its way: an owner, a reservation, a hold."""
        for claim in self.state.frozen():
            obstacles = [
                address
                for address in claim.demanded - claim.owned
                if address in self.state.owners
                or address in self.state.holds
                or self.is_barred(claim, address)
                or claim.nve not in RESERVED.get(address, {claim.nve})
            ]
            assert obstacles, claim

    @invariant()
    def contested_by_several(self) -> None:
        """A contested address has rivals, each of whom lacks nothing but the others' consent."""
        for address, hold in self.state.holds.items():
            if hold.successor is None:
                rivals = [self.state.claims[key] for key in self.state.waiting.get(address) or ()]
                able = [claim for claim in rivals if self.lacks_only_consent(claim)]
                assert len(able) > 1, (address, rivals)

    def is_barred(self, claim, address) -> bool:
        absence = self.state.absences.get(address)
        return absence is not None and absence.key != claim.key and claim.nve in absence.barred

    def lacks_only_consent(self, claim) -> bool:
        for address in claim.demanded - claim.owned:
            if self.is_barred(claim, address):
                return False
            hold = self.state.holds.get(address)
            if address in self.state.owners or claim.nve not in RESERVED.get(address, {claim.nve}):
                return False
            if hold is not None and hold.successor not in (None, claim.nve):
                return False
        return True

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who lacks nothing is not left waiting, unless it is contested; or its NVE was named as the successor and has
        several who wait: then until the time of the handover is over, while nobody else can have the address."""
        for claim in self.state.frozen():
            if self.lacks_only_consent(claim):
                assert any(self.is_in_dispute(claim, address) for address in claim.demanded - claim.owned), claim

    def is_in_dispute(self, claim, address) -> bool:
        hold = self.state.holds.get(address)
        if hold is None or hold.successor is None:
            return hold is not None
        waiting = [self.state.claims[key] for key in self.state.waiting.get(address) or ()]
        rivals = [one for one in waiting if self.lacks_only_consent(one)]
        assert hold.until is not None
        return len(rivals) > 1 and {one.nve for one in rivals} == {hold.successor}

    @invariant()
    def only_what_is_served(self) -> None:
        for claim in self.state.claims.values():
            assert self.state.scope.vaps.get(claim.key.place) == claim.vni
            assert claim.announced == sorted_ips(claim.announced)

    @invariant()
    def what_is_shared_is_at_one_of_its_members(self) -> None:
        there = [key for key in PAIR.members if key in self.state.claims]
        assert self.state.owners.get((20, SHARED_IP)) in (there or [None])

    @invariant()
    def quotas(self) -> None:
        for nve in NVES:
            dynamic = [claim for claim in self.state.behind(nve) if not claim.static]
            assert len(dynamic) <= LIMITS.claims_per_nve
            assert len(dynamic) == (self.state.nve_counts.get(nve) or 0)
            for place in VAPS:
                assert sum(claim.key.place == place for claim in dynamic) <= LIMITS.claims_per_vap
            assert sum(hold.by == nve for hold in self.state.holds.values()) <= LIMITS.holds_per_nve

    @invariant()
    def the_thief_never_has_what_is_reserved(self) -> None:
        owner = self.state.owner((10, 0x6))
        assert owner is None or owner.nve != THIEF

    @invariant()
    def the_static_stays(self) -> None:
        claim = self.state.claims.get(STATIC.key)
        assert self.state.scope.vaps == {} or (claim is not None and claim.static and claim.granted == STATIC.ips)

    @invariant()
    def stored_is_what_there_is(self) -> None:
        assert self.rows["claims"] == dict(self.state.claims.items())
        assert set(self.rows["holds"]) == set(self.state.holds)


TestMappingMachine = MappingMachine.TestCase
TestMappingMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
