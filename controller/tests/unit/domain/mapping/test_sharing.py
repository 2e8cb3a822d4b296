# SPDX-License-Identifier: Apache-2.0
"""Addresses that are stated for a set of VAPs: who claims them has them, not too often, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address as ip

import pytest
from nvo3sec.config import DomainText, example_path
from nvo3sec.domain.mapping import (
    Admit,
    Attach,
    Claimed,
    ClaimKey,
    Configured,
    LeaseRenewed,
    MappingState,
    Place,
    Reason,
    Reported,
    Status,
    Told,
    restored,
    scope_of,
    statics_of,
    step,
)
from nvo3sec.domain.overlay.difference import Kind, difference
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, SharedAddress, SharedMember
from nvo3sec.domain.switch.desired import desired_state, number_everything
from nvo3sec.domain.switch.entries import AGENT_REPLICA, Announcements, BridgeToVap, IpKind, Neighbor, SourceGuard
from nvo3sec.domain.switch.numbers import Numbers, Reserved
from nvo3sec.errors import ConfigError
from nvo3sec.nva.store import MemoryStore
from nvo3sec.nva.updates.views import view_of
from nvo3sec.operator.mapping_views import map_list

TEXT = example_path().read_text(encoding="utf-8")
VIP, VMAC, BLUE, STRANGER = ip("10.1.0.250"), 0x0000_5E00_0101, 5001, 0x0200_0000_9999


def parsed(text: str) -> Domain:
    return DomainText(text, "domain.yaml", example_path().parent).parse()


DOMAIN = parsed(TEXT)
SYSTEMS = {one.name: one for one in DOMAIN.tenant_systems}
ONE, TWO = SYSTEMS["blue1"], SYSTEMS["blue2"]
AWAY = next(vap for vap in DOMAIN.nve_by_name["leaf3"].vaps if vap.vn == "blue")


def member(system, mac=None, sources=()) -> SharedMember:
    return SharedMember(system.nve, system.port, system.vlan, mac or system.mac, sources)


OWN_MACS = SharedAddress("gateway", "blue", None, (VIP,), (member(ONE), member(TWO)))
"""As keepalived does it: the address goes from the one MAC address to the other."""
ONE_MAC = SharedAddress(
    "gateway", "blue", VMAC, (VIP,), (member(ONE, VMAC, (ONE.ips[0],)), member(TWO, VMAC, (TWO.ips[0],)))
)
"""As VRRP does it: a MAC address of its own goes with it."""
BOTH = pytest.mark.parametrize("shared", [OWN_MACS, ONE_MAC], ids=["own-macs", "one-mac"])


class Story:
    def __init__(self, shared: SharedAddress) -> None:
        self.domain = replace(DOMAIN, shared_addresses=(shared,))
        self.shared = shared
        self.now = 100.0
        self.state = MappingState()
        self.store = MemoryStore(b"h" * 16)
        self.begin()

    def begin(self) -> None:
        self.configure(self.domain)
        for nve in DOMAIN.nves:
            self(LeaseRenewed(nve.name, 1e6))

    def __call__(self, event):
        done = step(self.state, event, self.now)
        self.state, self.told = done.state, [one.told for one in done.effects if isinstance(one, Reported)]
        self.store.commit(done.changes)
        return done.outcome

    def configure(self, domain: Domain, revoked=()):
        scope = scope_of(domain, revoked)
        return self(Configured(scope, statics_of(domain, scope)))

    def key(self, index: int) -> ClaimKey:
        one = self.shared.members[index]
        return ClaimKey(Place(one.nve, one.port, one.vlan), one.mac)

    def claim(self, index: int, *, ip=VIP, mac=None):
        (nve, port, vlan), own = self.key(index)
        return self(Claimed(nve, port, vlan, BLUE, mac or own, ip))

    def where(self) -> str | None:
        found = self.state.find((BLUE, VIP))
        return None if found is None else found.place.nve

    def switch(self, nve: str):
        """What the switch of an NVE should hold: entries, numbers, replicas by group."""
        view = view_of(self.domain, Membership(self.domain), self.state, nve, 1)
        numbers = number_everything(view, [], Numbers(), Reserved())
        desired = desired_state(view, numbers, b"i" * 16)
        return desired.entries, numbers, {group.group: group.replicas for group in desired.groups}

    def entries(self, nve: str):
        return self.switch(nve)[0]


@BOTH
class TestMoves:
    def test_the_first_one_has_it_until_another_claims_it(self, shared):
        story = Story(shared)
        assert story.where() == "leaf1"
        assert story.claim(1).status is Status.ACTIVE
        assert (story.where(), story.told) == ("leaf2", [Told.MOVED])
        assert story.claim(1).status is Status.ACTIVE
        assert story.told == [], "it has it already"
        story.now += 1
        assert story.claim(0).status is Status.ACTIVE
        assert story.where() == "leaf1"

    def test_what_is_not_shared_stays(self, shared):
        story = Story(shared)
        story.claim(1)
        for system in (ONE, TWO):
            for address in (system.mac, *system.ips):
                assert story.state.find((BLUE, address)).place.nve == system.nve

    def test_once_a_second_and_ten_times_a_minute(self, shared):
        story = Story(shared)
        assert story.claim(1).status is Status.ACTIVE
        story.now += 0.9
        assert story.claim(0).reason is Reason.TOO_SOON
        for move in range(9):
            story.now += 1
            assert story.claim(move % 2).status is Status.ACTIVE
        story.now += 1
        outcome = story.claim(1)
        assert (outcome.status, outcome.reason, story.told) == (Status.FROZEN, Reason.UNSTEADY, [Told.UNSTEADY])
        story.now += 3600
        assert story.claim(1).reason is Reason.UNSTEADY
        assert story.where() == "leaf1"
        assert story(Admit(story.key(1))).status is Status.ACTIVE
        assert story.where() == "leaf2"
        assert story.claim(0).status is Status.ACTIVE

    def test_ten_in_longer_than_a_minute(self, shared):
        story = Story(shared)
        for move in range(40):
            assert story.claim((move + 1) % 2).status is Status.ACTIVE
            story.now += 6.1

    def test_a_restart_remembers_where_it_is_and_that_it_stays_there(self, shared):
        story = Story(shared)
        for move in range(11):
            story.claim((move + 1) % 2)
            story.now += 1
        stored, where = story.store.load(), story.where()
        assert stored.unsteady == ("gateway",)
        limits = story.state.limits
        story.state = restored(
            stored.claims, stored.holds, stored.versions, (), stored.unsteady, limits=limits, term=1, now=0.0
        )
        story.begin()
        assert story.where() == where == "leaf1"
        assert story.claim(1).reason is Reason.UNSTEADY
        story.configure(DOMAIN)
        assert story.store.load().unsteady == ()


@BOTH
class TestOthers:
    def test_for_every_other_address_it_is_a_hint(self, shared):
        story = Story(shared)
        before = story.state
        assert story.claim(1, ip=ONE.ips[0]).reason is Reason.HINT
        assert story.claim(1, mac=STRANGER).reason is Reason.HINT
        assert story(Claimed("leaf3", AWAY.port, AWAY.vlan, BLUE, VMAC, VIP)).reason is Reason.HINT
        assert story(Claimed("leaf2", TWO.port, TWO.vlan, 5002, TWO.mac, VIP)).reason is Reason.HINT
        assert story.state is before

    def test_without_a_lease(self, shared):
        story = Story(shared)
        story.now = 2e6
        assert story.claim(1).reason is Reason.NO_LEASE

    def test_an_announcement_does_not_get_it(self, shared):
        story = Story(shared)
        outcome = story(Attach("leaf3", AWAY.port, AWAY.vlan, BLUE, STRANGER, (VIP,)))
        assert (outcome.status, story.where()) == (Status.FROZEN, "leaf1")

    def test_a_member_that_is_shut_out(self, shared):
        story = Story(shared)
        story.configure(story.domain, ["leaf1"])
        assert story.where() == "leaf2"
        story.configure(story.domain)
        assert story.where() == "leaf2", "who has it keeps it"
        story.configure(DOMAIN)
        assert story.where() is None

    def test_operators_see_who_stands_by(self, shared):
        story = Story(shared)
        standing = {(one.nve, one.standing) for one in map_list(story.domain, story.state, vn="blue").claims}
        assert ("leaf2", "standby") in standing
        assert not any(how in ("frozen", "in part") for _, how in standing)


class TestSwitches:
    @BOTH
    def test_all_may_speak_for_it_and_one_is_spoken_to(self, shared):
        story = Story(shared)
        for owner in (0, 1):
            for index, one in enumerate(shared.members):
                entries = story.entries(one.nve)
                guards = {(e.ip_kind, e.ip) for e in entries if isinstance(e, SourceGuard) and e.mac == one.mac}
                assert {(IpKind.IPV4, int(VIP)), (IpKind.ARP, int(VIP))} <= guards
                assert {(IpKind.IPV4, int(address)) for address in one.sources} <= guards
                heard = {e for e in entries if isinstance(e, SourceGuard) and e.is_announcer}
                assert {(e.ip_kind, e.ip) for e in heard} == guards, "whatever it sends from, it may announce"
                assert {e.mac for e in heard} == {one.mac}
                assert (Neighbor(BLUE, VIP, one.mac) in entries) == (index == owner)
                bridged = any(isinstance(e, BridgeToVap) and (e.vni, e.mac) == (BLUE, one.mac) for e in entries)
                assert bridged == (index == owner or shared.mac is None)
            story.claim(1)

    @BOTH
    def test_announcements_are_flooded_as_ever_and_heard_where_members_are(self, shared):
        story = Story(shared)
        for one in shared.members:
            entries, numbers, groups = story.switch(one.nve)
            assert {e for e in entries if isinstance(e, Announcements)} == {
                Announcements(BLUE, numbers.groups[BLUE, None])
            }
            flooded = groups[numbers.groups[BLUE, False]]
            assert sorted(groups[numbers.groups[BLUE, None]]) == sorted((*flooded, AGENT_REPLICA))
            assert sum(AGENT_REPLICA in replicas for replicas in groups.values()) == 1
        entries, numbers, groups = story.switch("leaf3")
        assert not [e for e in entries if isinstance(e, Announcements) or getattr(e, "is_announcer", False)]
        assert (BLUE, None) not in numbers.groups
        assert not [one for replicas in groups.values() for one in replicas if one == AGENT_REPLICA]

    def test_nobody_else_may(self):
        story = Story(ONE_MAC)
        assert not [e for e in story.entries("leaf3") if isinstance(e, SourceGuard) and e.ip == int(VIP)]


class TestSources:
    def test_nobody_elsewhere_has_them(self):
        """Its router's MAC address would answer from another NVE for what a member advertises from."""
        source = ip("10.1.0.251")
        members = (member(ONE, VMAC, (source,)), member(TWO, VMAC))
        story = Story(SharedAddress("gateway", "blue", VMAC, (VIP,), members))

        def attach(nve: str, port: int, vlan: int, mac: int):
            return story(Attach(nve, port, vlan, BLUE, mac, (source,)))

        assert attach("leaf3", AWAY.port, AWAY.vlan, STRANGER).status is Status.FROZEN
        assert attach("leaf2", TWO.port, TWO.vlan, STRANGER + 1).status is Status.FROZEN
        assert story.state.find((BLUE, source)) is None
        assert attach("leaf1", ONE.port, ONE.vlan, STRANGER + 2).status is Status.ACTIVE


SECTION = """
shared_addresses:
  - name: gateway
    vn: blue
    mac: 00:00:5e:00:01:01
    ips: [10.1.0.250]
    members:
      - {nve: leaf1, port: 1, sources: [10.1.0.1]}
      - {nve: leaf2, port: 1, sources: [10.1.0.2]}
"""


class TestFile:
    def test_what_it_says(self):
        domain = parsed(TEXT + SECTION)
        (found,) = domain.shared_addresses
        assert (found.mac, found.ips, [one.nve for one in found.members]) == (VMAC, (VIP,), ["leaf1", "leaf2"])
        (change,) = difference(DOMAIN, domain).changes
        assert (change.kind, change.nves, change.vns) == (Kind.SHARED_ADDRESS, ("leaf1", "leaf2"), ("blue",))

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("vn: blue", "vn: red", "belongs to VN blue"),
            ("port: 1, sources: [10.1.0.1]", "port: 9", "there is no VAP at port 9"),
            ("nve: leaf2", "nve: leaf1", "is a member already"),
            ("    mac: 00:00:5e:00:01:01\n", "", "either a mac for all members, or one with each"),
            ("ips: [10.1.0.250]", f"ips: [{ONE.ips[0]}]", "is blue1's in VN blue"),
            ("ips: [10.1.0.250]", "ips: [10.1.0.250, 10.1.0.250]", "names an address twice"),
        ],
    )
    def test_what_it_must_not_say(self, old, new, said):
        assert old in SECTION
        with pytest.raises(ConfigError, match=said):
            parsed(TEXT + SECTION.replace(old, new))

    def test_sources_are_behind_the_nves_of_their_members(self):
        """Also where a tenant stands there that the file states; elsewhere nobody has them."""
        for ip_text, said in (
            (str(SYSTEMS["blue3"].ips[0]), "is blue3's, which stands behind leaf3"),
            ("10.1.0.77", "is reserved for leaf3, too"),
        ):
            reserved = "reservations:\n  - {vn: blue, ip: 10.1.0.77, nves: [leaf1, leaf3]}\n"
            text = TEXT.replace("reservations:\n", reserved) + SECTION.replace("10.1.0.1]", f"{ip_text}]")
            with pytest.raises(ConfigError, match=said):
                parsed(text)

    def test_a_mac_that_nothing_is_stated_for(self):
        own = SECTION.replace("    mac: 00:00:5e:00:01:01\n", "")
        for index in (1, 2):
            own = own.replace(f"sources: [10.1.0.{index}]", f"mac: 02:00:00:00:99:0{index}")
        with pytest.raises(ConfigError, match="no tenant system with 02:00:00:00:99:01 is stated"):
            parsed(TEXT + own)
