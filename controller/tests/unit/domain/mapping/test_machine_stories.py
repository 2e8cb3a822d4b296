# SPDX-License-Identifier: Apache-2.0
"""The mapping service in single stories: who moves, who steals, who waits, and what each of them gets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from nvo3sec.domain.mapping import (
    AddressAppeared,
    Admit,
    Attach,
    Claim,
    ClaimKey,
    Configured,
    Detach,
    Evict,
    LeaseRenewed,
    Limits,
    MappingSet,
    MappingState,
    Move,
    NveLost,
    Place,
    Reason,
    Reported,
    Resync,
    Scope,
    Shared,
    StaticMapping,
    Status,
    Tick,
    Told,
    look_up,
    restored,
    step,
)
from nvo3sec.domain.messages.session import Lookup, LookupResult
from nvo3sec.domain.overlay.addresses import link_local

VN, OTHER_VN = 10, 20
MAC = 0x02_00_00_00_01_00
IP = ip("10.0.0.1")
VAPS = {Place(nve, port, 0): VN for nve in ("old", "new", "thief") for port in (1, 2)} | {Place("far", 1, 0): OTHER_VN}
LEASE = 30.0


class Story:
    """One mapping service; every NVE has a lease until LEASE."""

    def __init__(self, limits: Limits | None = None, statics=(), reserved=None) -> None:
        self.now = 0.0
        self.state = MappingState(limits=limits or Limits())
        self.effects: list = []
        self.last = self(Configured(Scope(VAPS, reserved or {}), statics))
        for nve in ("old", "new", "thief", "far"):
            self(LeaseRenewed(nve, LEASE))

    def __call__(self, event):
        done = step(self.state, event, self.now)
        self.state, self.effects = done.state, list(done.effects)
        return done.outcome

    def attach(self, nve, *, port=1, mac=MAC, ips=(IP,), vni=VN, host=""):
        return self(Attach(nve, port, 0, vni, mac, tuple(ips), host))

    def detach(self, nve, *, port=1, mac=MAC, successor=None, host=""):
        return self(Detach(nve, port, 0, mac, successor, host))

    def where(self, address=MAC):
        found = self.state.find((VN, address))
        return None if found is None else found.place.nve

    def told(self):
        return [effect.told for effect in self.effects if isinstance(effect, Reported)]


def key(nve, port=1, mac=MAC):
    return ClaimKey(Place(nve, port, 0), mac)


class TestTheft:
    def test_by_announcing(self):
        story = Story()
        assert story.attach("old").status is Status.ACTIVE
        before = story.state.find((VN, MAC))
        outcome = story.attach("thief")
        assert (outcome.status, outcome.reason) == (Status.FROZEN, Reason.OWNED)
        assert story.state.find((VN, MAC)) == before
        assert [type(effect) for effect in story.effects] == [Reported]
        assert story.effects[0].other == key("old")

    def test_of_an_ip_address_alone(self):
        story = Story()
        story.attach("old")
        assert story.attach("thief", mac=MAC + 2).status is Status.FROZEN
        assert story.where(MAC + 2) is None, "frozen means the whole announcement"
        assert story.where(IP) == "old"

    def test_within_one_vap(self):
        story = Story()
        story.attach("old")
        assert story.attach("old", mac=MAC + 2).status is Status.FROZEN

    def test_by_adding_an_address_to_ones_own(self):
        story = Story()
        story.attach("old")
        story.attach("thief", mac=MAC + 2, ips=(ip("10.0.0.7"),))
        assert story.attach("thief", mac=MAC + 2, ips=(ip("10.0.0.7"), IP)).status is Status.FROZEN
        assert story.where(IP) == "old"
        assert story.where(MAC + 2) == "thief", "what it had it keeps"
        assert story.where(ip("10.0.0.7")) == "thief"

    def test_by_repeating(self):
        story = Story()
        story.attach("old")
        for _ in range(5):
            assert story.attach("thief").status is Status.FROZEN
            story.detach("thief")
        assert story.where() == "old"

    def test_by_announcing_first_where_a_successor_is_named(self):
        story = Story()
        story.attach("old")
        story.attach("thief")
        story.detach("old", successor="new")
        assert story.where() is None
        assert story.attach("new").status is Status.ACTIVE
        assert story.where() == "new"

    def test_a_hand_over_that_is_not_taken_ends(self):
        story = Story()
        story.attach("old")
        story.attach("thief")
        story.detach("old", successor="new")
        story.now = Limits().handover_s
        assert story.state.next_deadline() == story.now
        story(Tick())
        assert story.where() == "thief"

    @pytest.mark.parametrize("leaves", [False, True], ids=["both stay", "one leaves"])
    def test_a_successor_behind_which_two_wait(self, leaves):
        """Nobody can tell which is meant. It stays kept for that NVE, and when the time is over they contest it."""
        story = Story()
        for nve, port in (("old", 1), ("new", 1), ("new", 2), ("thief", 1)):
            story.attach(nve, port=port)
        story.detach("old", successor="new")
        assert story.where() is None
        assert story.attach("thief", port=2).status is Status.FROZEN
        if leaves:
            story.detach("new", port=2)
            assert story.where() == "new"
            return
        story.now = Limits().handover_s
        story(Tick())
        assert story.where() is None
        assert story.told().count(Told.CONTESTED) > 0, "operators are told"
        assert story.attach("thief", port=2).status is Status.FROZEN, "and nobody has it by waiting for that"

    def test_a_frozen_one_has_nothing_to_hand_on(self):
        story = Story()
        story.attach("old")
        story.attach("thief")
        story.detach("thief", successor="thief")
        assert len(story.state.holds) == 0

    def test_of_a_static_mapping(self):
        static = StaticMapping(key("old"), VN, (IP,))
        story = Story(statics=(static,))
        assert story.attach("thief").status is Status.FROZEN
        story(NveLost("old"))
        story(Tick())
        assert story.where() == "old"
        assert story(Admit(key("thief"))).reason is Reason.STATIC

    def test_of_a_reserved_address_that_nobody_has_yet(self):
        story = Story(reserved={(VN, MAC): frozenset({"old", "new"})})
        outcome = story.attach("thief")
        assert (outcome.status, outcome.reason) == (Status.FROZEN, Reason.RESERVED)
        assert story.attach("new").status is Status.ACTIVE
        story.detach("new")
        assert story.where() is None, "the thief does not get it however long it waits"

    def test_a_frozen_announcement_does_not_block_what_else_it_names(self):
        story = Story()
        story.attach("old")
        story.attach("thief", mac=MAC, ips=(ip("10.0.0.8"),))
        assert story.attach("new", mac=MAC + 4, ips=(ip("10.0.0.8"),)).status is Status.ACTIVE

    def test_the_announcer_does_not_learn_who_has_it(self):
        story = Story()
        story.attach("old")
        assert "old" not in repr(story.attach("thief"))


class TestContest:
    def contested(self):
        story = Story()
        story.attach("old")
        story.attach("thief")
        story.attach("new")
        story.detach("old")
        return story

    def test_nobody_has_it(self):
        story = self.contested()
        assert story.where() is None
        assert story.told().count(Told.CONTESTED) == 4  # two claims, for the MAC address and the IP address

    def test_nor_does_somebody_who_comes_later_or_again(self):
        story = self.contested()
        assert story.attach("old", port=2).status is Status.FROZEN
        story.detach("old", port=2)
        assert story.where() is None

    def test_the_last_one_has_it(self):
        story = self.contested()
        story.detach("thief")
        assert story.where() == "new"
        assert story.attach("thief").status is Status.FROZEN

    def test_an_operator_decides(self):
        story = self.contested()
        assert story(Admit(key("new"))).status is Status.ACTIVE
        assert story.where() == "new"
        assert len(story.state.holds) == 0

    def test_who_drops_out_for_another_reason_leaves_it_to_the_other(self):
        """The thief also names an address that somebody else gets: it cannot have everything, and contests nothing."""
        story = Story()
        story.attach("old")
        story.attach("thief", ips=(IP, ip("10.0.0.9")))
        story.attach("new")
        story.detach("old")
        assert story.where() is None
        story.attach("old", port=2, mac=MAC + 8, ips=(ip("10.0.0.9"),))
        assert story.where() == "new"

    def test_rivals_that_lose_something_else_contest_no_more(self):
        story = Story()
        story.attach("old")
        for mac in (MAC, MAC + 4):
            story.attach("thief", mac=mac)
        story.detach("old")
        assert (VN, IP) in story.state.holds
        # Both rivals miss their MAC addresses now, and neither announcement is about the address that they contest.
        both = (Attach("old", 1, 0, VN, MAC, ()), Attach("old", 1, 0, VN, MAC + 4, ()))
        story(Resync("old", both))
        assert len(story.state.holds) == 0
        assert story.attach("new", mac=MAC + 8).status is Status.ACTIVE


class TestMove:
    def test_new_place_announces_first(self):
        story = Story()
        story.attach("old")
        first = story.state.find((VN, MAC)).sequence
        story.attach("new")
        story.detach("old")
        assert story.where() == "new"
        assert story.where(IP) == "new"
        assert story.state.find((VN, MAC)).sequence > first
        kinds = [type(effect) for effect in story.effects]
        assert kinds.count(MappingSet) == 1
        assert AddressAppeared((VN, IP)) in story.effects

    def test_old_place_releases_first(self):
        story = Story()
        story.attach("old")
        story.detach("old")
        assert story.attach("new").status is Status.ACTIVE

    def test_old_lease_ends(self):
        story = Story()
        story.attach("old")
        story.now = 10
        story(LeaseRenewed("new", 100))
        story.attach("new")
        story.now = LEASE - 0.1
        story(Tick())
        assert story.where() == "old"
        story.now = LEASE
        story(Tick())
        assert story.where() is None, "nobody gets it by waiting"
        assert story.told() == [Told.WITHDRAWN, Told.NOT_THAWED]
        (why, _) = [effect.reason for effect in story.effects if isinstance(effect, Reported)]
        assert why is Reason.NO_LEASE
        story(LeaseRenewed("new", 1e6))
        story.now = LEASE + Limits().thaw_s - 0.1
        story(Tick())
        assert story.where() is None
        story.now = story.state.next_deadline()
        story(Tick())
        assert story.where() == "new"

    def test_an_operator_says_so(self):
        story = Story()
        story.attach("old")
        story.attach("new")
        story(Admit(key("new")))
        assert story.where() == "new"
        assert story.state.claims[key("old")].granted is None
        story.detach("new")
        assert story.where() == "old"

    def test_within_an_nve_with_thieves_waiting(self):
        story = Story()
        story.attach("old")
        story.attach("thief")
        assert story(Move("old", 1, 0, 2, 0, MAC, (IP,))).status is Status.ACTIVE
        assert story.state.find((VN, MAC)).place == Place("old", 2, 0)
        assert len(story.state.holds) == 0

    def test_within_an_nve_asking_for_too_much(self):
        story = Story()
        story.attach("old")
        story.attach("new", mac=MAC + 2, ips=(ip("10.0.0.2"),))
        assert story(Move("old", 1, 0, 2, 0, MAC, (IP, ip("10.0.0.2")))).status is Status.FROZEN
        assert story.where() == "old"
        assert story.where(IP) == "old"

    def test_to_where_it_may_not_go(self):
        story = Story()
        story.attach("old")
        before = story.state
        assert story(Move("old", 1, 0, 9, 0, MAC, (IP,))).reason is Reason.NOT_SERVED
        assert story.state is before


class TestAbsence:
    """A lease that ends takes an address from its owner, and gives it to nobody who has waited for that."""

    @staticmethod
    def story(*, waiting: tuple[str, ...] = ("thief",), limits: Limits | None = None) -> Story:
        story = Story(limits)
        story.attach("old")
        for nve in waiting:
            story.attach(nve)
        for nve in ("new", "thief"):
            story(LeaseRenewed(nve, 1e6))
        story.now = LEASE
        story(Tick())
        assert story.where() is None
        return story

    def comes_back(self, story: Story):
        story(LeaseRenewed("old", story.now + LEASE))
        return story(Resync("old", (Attach("old", 1, 0, VN, MAC, (IP,)),)))

    def test_its_owner_returns(self):
        story = self.story()
        story.now += Limits().return_s - 1
        self.comes_back(story)
        assert (story.where(), story.where(IP)) == ("old", "old")
        assert len(story.state.absences) == 0
        story.now += 0.5
        assert story.attach("thief").status is Status.FROZEN

    def test_who_waited_does_not_get_it_by_asking_again(self):
        story = self.story()
        assert story.attach("thief").reason is Reason.ABSENT
        story.detach("thief")
        outcome = story.attach("thief")
        assert (outcome.status, outcome.reason) == (Status.FROZEN, Reason.ABSENT)
        assert story.attach("thief", port=2).status is Status.FROZEN
        assert story.where() is None

    def test_who_waits_is_in_nobodys_way(self):
        story = self.story()
        assert story.attach("new").status is Status.ACTIVE
        assert story.told() == [Told.TAKEN]
        assert story.where() == "new"

    def test_whoever_has_it_meanwhile_gives_it_back(self):
        story = self.story()
        story.attach("new")
        self.comes_back(story)
        assert story.where() == "old"
        assert story.told() == [Told.DEMOTED, Told.RETURNED]
        assert story.state.claims[key("new")].granted is None
        assert story.attach("new").reason is Reason.OWNED

    def test_too_late(self):
        story = self.story(waiting=())
        story.attach("new")
        story.now += Limits().return_s
        self.comes_back(story)
        assert story.where() == "new"
        assert story.state.claims[key("old")].granted is None

    def test_another_hypervisor_does_not_return_for_it(self):
        story = self.story(waiting=())
        story.attach("new")
        story(LeaseRenewed("old", 1e6))
        assert story.attach("old", host="another").status is Status.FROZEN

    def test_who_had_it_meanwhile_goes_as_well(self):
        story = self.story(waiting=())
        story.attach("new")
        story.attach("thief")
        story.now += 1
        story(LeaseRenewed("thief", 1e6))
        story.state = replace(story.state, leases=story.state.leases.set("new", story.now))
        story(Tick())
        assert story.where() is None
        assert story.attach("thief").reason is Reason.ABSENT
        self.comes_back(story)
        assert story.where() == "old", "it had it first"

    @pytest.mark.parametrize("how", ["release", "resync", "revocation", "eviction", "configuration"])
    def test_what_ends_the_right_to_return(self, how):
        story = self.story()
        story(LeaseRenewed("old", 1e6))
        match how:
            case "release":
                assert story.detach("old").status is Status.DONE
            case "resync":
                story(Resync("old", ()))
            case "revocation":
                story(NveLost("old"))
            case "eviction":
                assert story(Evict(key("old"))).status is Status.DONE
            case _:
                story(Configured(Scope({place: vn for place, vn in VAPS.items() if place != Place("old", 1, 0)})))
        assert len(story.state.absences) == 0
        assert story.where() == "thief", "the only one that is left"

    def test_a_release_names_a_successor(self):
        story = self.story()
        assert story.detach("old", successor="new").status is Status.DONE
        assert story.where() is None
        assert story.attach("new").status is Status.ACTIVE

    def test_an_operator_gives_it_to_who_waits(self):
        story = self.story()
        assert story(Admit(key("thief"))).status is Status.ACTIVE
        self.comes_back(story)
        assert story.where() == "thief"

    @pytest.mark.parametrize("how", ["release", "eviction", "revocation"])
    def test_who_did_not_lose_its_lease_does_not_return(self, how):
        story = Story()
        story.attach("old")
        story({"release": Detach("old", 1, 0, MAC), "eviction": Evict(key("old")), "revocation": NveLost("old")}[how])
        story.attach("new")
        story(LeaseRenewed("old", 1e6))
        assert story.attach("old").status is Status.FROZEN

    def test_neither_if_nobody_is_to(self):
        story = self.story(limits=Limits(return_s=0, thaw_s=0), waiting=())
        story(Tick())
        assert len(story.state.absences) == 0

    def test_a_restart_forgets_nobody(self):
        story = self.story()
        state = story.state
        again = restored(
            state.claims.values(), [], state.versions.items(), state.absences.values(), limits=Limits(), term=1, now=5.0
        )
        assert {one.returns_until for one in again.absences.values()} == {5.0 + Limits().return_s}
        assert again.next_deadline() is not None
        story.state, story.now = again, 5.0
        story(Configured(Scope(VAPS)))
        assert story.where() is None
        self.comes_back(story)
        assert story.where() == "old"

    def test_reserved_and_stated_addresses_are_the_operators(self):
        story = self.story(waiting=())
        stated = StaticMapping(key("new"), VN, (IP,))
        story(Configured(Scope(VAPS), (stated,)))
        self.comes_back(story)
        assert story.where() == "new"

    def test_there_is_a_bound(self):
        story = self.story(waiting=())
        assert len(story.state.absences) == 2
        limits = Limits(claims_per_nve=1, ips_per_claim=1)
        story.state = replace(story.state, limits=limits)
        story(LeaseRenewed("old", story.now + 1))
        story.attach("old", port=2, mac=MAC + 2, ips=(ip("10.0.0.2"),))
        story.now += 1
        story(Tick())
        assert len(story.state.absences) == 2, "no more than an NVE can have addresses"


class TestSpoofing:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"vni": OTHER_VN}, Reason.NOT_SERVED),
            ({"port": 9}, Reason.NOT_SERVED),
            ({"mac": 0}, Reason.BAD_ADDRESS),
            ({"mac": 1 << 48}, Reason.BAD_ADDRESS),
            ({"mac": 0x01_00_5E_00_00_01}, Reason.BAD_ADDRESS),
            ({"ips": (ip("224.0.0.1"),)}, Reason.BAD_ADDRESS),
            ({"ips": (ip("::"),)}, Reason.BAD_ADDRESS),
            ({"ips": (link_local(MAC + 1),)}, Reason.BAD_ADDRESS),
            ({"ips": tuple(ip("10.1.0.0") + n for n in range(1, 18))}, Reason.QUOTA),
        ],
    )
    def test_refused(self, changes, reason):
        story = Story()
        before = story.state
        outcome = story.attach("old", **changes)
        assert (outcome.status, outcome.reason) == (Status.REFUSED, reason)
        assert story.state is before
        assert story.told() == [Told.REFUSED]

    def test_the_link_local_address_of_a_mac_address_is_its_own(self):
        """Whoever has that has it unannounced; what is stated or reserved is whose the file says."""
        own, others, any_other = link_local(MAC), link_local(MAC + 1), ip("fe80::1")
        story = Story()
        assert story.attach("old", ips=(own, any_other)).status is Status.ACTIVE
        for scope in (
            Scope(reserved={(VN, others): frozenset({"old"})}),
            Scope(shared=(Shared("set", frozenset({(VN, others)}), (), mac=False),)),
        ):
            assert scope.can_be_had(MAC, [(VN, others)])
            assert not scope.can_be_had(MAC, [(VN, link_local(MAC + 2))])

    def test_without_a_lease(self):
        story = Story()
        story.now = LEASE
        assert story.attach("old").reason is Reason.NO_LEASE
        assert story(LeaseRenewed("nobody", 1e9)).status is Status.REFUSED

    def test_one_hypervisor_for_another(self):
        story = Story()
        story.attach("old", host="hv1")
        assert story.attach("old", host="hv2", ips=()).reason is Reason.FOREIGN
        assert story.detach("old", host="hv2").reason is Reason.FOREIGN
        assert story(Move("old", 1, 0, 2, 0, MAC, (), "hv2")).reason is Reason.FOREIGN
        assert story.detach("old", host="hv1").status is Status.DONE

    def test_release_of_what_is_anothers(self):
        story = Story()
        story.attach("old")
        assert story.detach("thief").reason is Reason.UNKNOWN
        assert story(Resync("thief", (Attach("old", 1, 0, VN, MAC, ()),))).status is Status.REFUSED
        assert story.where(IP) == "old"

    def test_resync_releases_what_is_gone(self):
        story = Story()
        story.attach("old")
        story.attach("old", mac=MAC + 2, ips=())
        story(Resync("old", (Attach("old", 1, 0, VN, MAC + 2, ()),)))
        assert story.where() is None
        assert story.where(MAC + 2) == "old"

    def test_lookup_of_a_vn_that_is_not_served(self):
        story = Story()
        story.attach("old")
        assert look_up(story.state, "far", Lookup(VN, MAC)).result is LookupResult.REFUSED
        assert look_up(story.state, "new", Lookup(VN, MAC)).nve == "old"
        assert look_up(story.state, "new", Lookup(VN, ip=IP)).mac == MAC
        assert look_up(story.state, "new", Lookup(VN, MAC + 2)).result is LookupResult.UNKNOWN


class TestRenumbered:
    """A VN gets another number, in one file. Who had an address has it, and who waited for it waits."""

    @staticmethod
    def scope(vni, *, without=None, name="blue", reserved=None):
        vaps = {place: vni if of == VN else of for place, of in VAPS.items() if place.nve != without}
        return Scope(vaps, reserved or {}, vnis={name: vni, "far": OTHER_VN})

    def story(self, **limits) -> Story:
        story = Story(Limits(**limits))
        story(Configured(self.scope(VN)))
        return story

    def test_the_owner_keeps_it_and_who_waits_does_not_win_by_it(self):
        story = self.story()
        story.attach("old")
        story.attach("thief")
        first = story.state.find((VN, MAC)).sequence
        story(Configured(self.scope(30)))
        assert (story.state.find((30, IP)).place.nve, story.where()) == ("old", None)
        assert story.told() == []
        assert story.state.claims[key("thief")].granted is None
        assert story.attach("thief", vni=30).status is Status.FROZEN
        story(Configured(self.scope(VN)))
        assert story.where(IP) == "old"
        assert story.state.find((VN, MAC)).sequence > first
        story.detach("old")
        assert story.where() == "thief"

    def test_who_is_absent_returns_under_the_other_number(self):
        story = self.story()
        story.attach("old")
        story.attach("thief")
        story(LeaseRenewed("thief", 1e6))
        story.now = LEASE
        story(Tick())
        story(Configured(self.scope(30)))
        assert story.state.find((30, MAC)) is None
        assert story.attach("thief", vni=30).reason is Reason.ABSENT
        story(LeaseRenewed("old", story.now + LEASE))
        story(Resync("old", (Attach("old", 1, 0, 30, MAC, (IP,)),)))
        assert story.state.find((30, MAC)).place.nve == "old"

    def test_what_is_kept_for_a_successor(self):
        story = self.story()
        story.attach("old")
        story.detach("old", successor="new")
        story(Configured(self.scope(30)))
        assert story.attach("thief", vni=30).reason is Reason.HELD
        assert story.attach("new", vni=30).status is Status.ACTIVE

    def test_what_the_file_takes_away_is_gone_all_the_same(self):
        story = self.story()
        story.attach("old")
        story.attach("thief")
        story.attach("new", mac=2, ips=())
        story(Configured(self.scope(30, without="old", reserved={(30, 2): frozenset({"thief"})})))
        assert story.state.find((30, MAC)).place.nve == "thief"
        assert story.state.claims[key("new", mac=2)].granted is None

    def test_another_vn_with_its_number_or_in_its_place(self):
        story = self.story()
        story.attach("old")
        story(Configured(self.scope(VN, name="green")))
        story(Configured(self.scope(30, name="red")))
        assert story.state.find((30, MAC)) is None

    def test_two_that_exchange_their_numbers(self):
        story = self.story()
        story.attach("old")
        story.attach("far", vni=OTHER_VN)
        vaps = {place: OTHER_VN if of == VN else VN for place, of in VAPS.items()}
        story(Configured(Scope(vaps, vnis={"blue": OTHER_VN, "far": VN})))
        assert (story.where(), story.state.find((OTHER_VN, MAC)).place.nve) == ("far", "old")


class TestQuotas:
    def test_of_a_vap_and_of_an_nve(self):
        story = Story(Limits(claims_per_vap=2, claims_per_nve=3))
        assert [story.attach("old", mac=MAC + 2 * n, ips=()).status for n in range(3)] == [
            Status.ACTIVE,
            Status.ACTIVE,
            Status.REFUSED,
        ]
        assert [story.attach("old", port=2, mac=MAC + 16 + 2 * n, ips=()).reason for n in range(2)] == [
            Reason.NONE,
            Reason.QUOTA,
        ]
        assert story.attach("new", mac=MAC + 64, ips=()).status is Status.ACTIVE, "one does not use up another's"

    def test_of_those_who_wait_for_one_address(self):
        story = Story(Limits(waiting_per_address=2))
        story.attach("old")
        outcomes = [story.attach("thief", mac=MAC + 2 * n) for n in range(1, 4)]
        assert [outcome.status for outcome in outcomes] == [Status.FROZEN, Status.FROZEN, Status.REFUSED]
        assert story.attach("new").status is Status.FROZEN, "the thief's do not count for others"

    def test_of_holds(self):
        story = Story(Limits(holds_per_nve=3))
        for n in range(5):
            story.attach("thief", mac=MAC + 2 * n, ips=())
            story.detach("thief", mac=MAC + 2 * n, successor="new")
        assert len(story.state.holds) == 3


class TestRestart:
    def test_two_owners_were_never_stored(self):
        both = [Claim(key(nve), VN, (IP,), (IP,), 1, arrival) for arrival, nve in enumerate(("old", "thief"))]
        with pytest.raises(ValueError, match="two owners"):
            restored(both, (), (), limits=Limits(), term=1, now=0.0)

    def test_the_next_announcement_comes_after_those_that_were_stored(self):
        state = restored([Claim(key("old"), VN, (IP,), (IP,), 1, 41)], (), (), limits=Limits(), term=1, now=0.0)
        assert state.arrivals == 42


class TestEvicted:
    """Who was evicted is not back because its agent remembers it; only somebody who attaches it brings it back."""

    @staticmethod
    def evicted() -> Story:
        story = Story()
        story.attach("old")
        story(Evict(key("old")))
        return story

    def test_not_by_itself(self):
        story = self.evicted()
        again = Attach("old", 1, 0, VN, MAC, (IP,), again=True)
        assert (story(again).reason, story.told()) == (Reason.EVICTED, []), "the operator knows: he has done it"
        assert (story(Resync("old", (again,))).status, story.told()) == (Status.DONE, [])
        assert story.where() is None
        story(Configured(Scope({})))
        story(Configured(Scope(VAPS)))
        story(LeaseRenewed("old", LEASE))
        assert story(again).reason is Reason.EVICTED, "nor when its VAP was away meanwhile"
        assert story.attach("old").status is Status.ACTIVE
        story.detach("old")
        assert story(again).status is Status.ACTIVE, "that was decided otherwise"

    def test_nor_after_its_lease_has_ended(self):
        story = Story()
        story.attach("old")
        story.now = LEASE
        story(Tick())
        story(Evict(key("old")))
        story(LeaseRenewed("old", 2 * LEASE))
        assert story(Attach("old", 1, 0, VN, MAC, (IP,), again=True)).reason is Reason.EVICTED

    def test_nobody_else_is_meant(self):
        story = self.evicted()
        assert story(Attach("old", 2, 0, VN, MAC, (IP,), again=True)).status is Status.ACTIVE
        story(Evict(key("new")))
        assert story.attach("new", mac=2, ips=()).status is Status.ACTIVE
        assert story(Evict(key("new", mac=4))).reason is Reason.UNKNOWN

    def test_who_is_there_says_it_again(self):
        story = Story()
        story.attach("old")
        assert story(Attach("old", 1, 0, VN, MAC, (IP,), again=True)).status is Status.ACTIVE
        assert story(Attach("thief", 1, 0, VN, MAC, (IP,), again=True)).status is Status.FROZEN


class TestOperators:
    def test_evict_frees_and_names_a_successor(self):
        story = Story()
        story.attach("thief")
        story.attach("old")
        story.attach("new")
        story(Evict(key("thief"), successor="new"))
        assert story.where() == "new"

    def test_static_over_what_was_announced(self):
        story = Story()
        story.attach("thief")
        story(Configured(Scope(VAPS), (StaticMapping(key("old"), VN, (IP,)),)))
        assert story.where() == "old"
        assert Told.DEMOTED in story.told()

    def test_a_static_that_moves_in_the_domain_file(self):
        story = Story(statics=(StaticMapping(key("old"), VN, (IP,)),))
        first = story.state.find((VN, MAC)).sequence
        story(Configured(Scope(VAPS), (StaticMapping(key("new"), VN, (IP,)),)))
        assert story.where() == "new"
        assert story.state.find((VN, MAC)).sequence > first

    def test_statics_exchange_addresses(self):
        two = ip("10.0.0.2")
        story = Story(statics=(StaticMapping(key("old"), VN, (IP,)), StaticMapping(key("new", mac=2), VN, (two,))))
        exchanged = (StaticMapping(key("old"), VN, (two,)), StaticMapping(key("new", mac=2), VN, (IP,)))
        story(Configured(Scope(VAPS), exchanged))
        assert (story.where(IP), story.where(two)) == ("new", "old")

    def test_the_same_file_again_changes_nothing(self):
        story = Story(statics=(StaticMapping(key("old"), VN, (IP,)),))
        before = story.state.version(VN)
        story(Configured(Scope(VAPS), (StaticMapping(key("old"), VN, (IP,)),)))
        assert story.state.version(VN) == before
        assert story.effects == []

    def test_an_nve_that_no_longer_serves_a_vn(self):
        story = Story()
        story.attach("old")
        story.attach("new")
        story(Configured(Scope({place: vni for place, vni in VAPS.items() if place.nve != "old"})))
        assert story.where() == "new"
        assert look_up(story.state, "old", Lookup(VN, MAC)).result is LookupResult.REFUSED

    def test_two_statics_with_one_address(self):
        both = (StaticMapping(key("old"), VN, (IP,)), StaticMapping(key("new", mac=2), VN, (IP,)))
        with pytest.raises(ValueError, match="two static"):
            step(MappingState(), Configured(Scope(VAPS), both), 0)
