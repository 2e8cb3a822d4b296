# SPDX-License-Identifier: Apache-2.0
"""The difference between two domains: complete, ordered, and right about what it touches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from domain_variants import without
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.config import example_path, load_domain, parse_domain
from nvo3sec.domain.mapping import Configured, MappingState, scope_of, statics_of, step
from nvo3sec.domain.overlay.difference import Action, Change, Effect, Kind, difference
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Level, Rate, Reservation, TunnelKeys, TunnelLevel, Vap, Vn
from nvo3sec.nva.updates.views import view_of
from nvo3sec.operator.domain_file import compared
from nvo3sec.operator.json_form import to_json

DOMAIN = load_domain(example_path())
RATE = Rate(1, 1)
GREEN = Vn("green", 5003, Level.INTEGRITY, 1400, RATE, 128)


def of(domain: Domain, name: str) -> int:
    """Index of an NVE, VN or tenant system."""
    return next(
        i for items in (domain.nves, domain.vns, domain.tenant_systems) for i, x in enumerate(items) if x.name == name
    )


def with_one(domain: Domain, collection: str, name: str, **changes: Any) -> Domain:
    items = list(getattr(domain, collection))
    index = of(domain, name)
    items[index] = replace(items[index], **changes)
    return replace(domain, **{collection: tuple(items)})


def stated(domain: Domain) -> MappingState:
    """The mappings that a domain file states, and no others."""
    scope = scope_of(domain)
    return step(MappingState(), Configured(scope, statics_of(domain, scope)), 0.0).state


def one(old: Domain, new: Domain) -> Change:
    (change,) = difference(old, new).changes
    return change


# --- every field ----------------------------------------------------------------------------------------------------


def another(value: Any) -> Any:
    """A value of the same kind that is not the same."""
    match value:
        case Enum():
            return next(other for other in type(value) if other is not value)
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case IPv4Address() | IPv6Address():
            return value + 1
        case IPv4Network() | IPv6Network():
            return value.supernet()
        case frozenset():
            return value | {"another"}
        case None:  # an NVE without a second address
            return IPv6Address("2001:db8::1")
    raise TypeError(value)


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """`value` with one leaf changed, and its path, for every leaf below it."""
    if is_dataclass(value):
        for field in fields(value):
            for path, changed in variants(getattr(value, field.name)):
                yield f"{type(value).__name__}.{field.name}{path}", replace(value, **{field.name: changed})
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            for path, changed in variants(item):
                yield path and f" {path}", (*value[:index], changed, *value[index + 1 :])
        if not any(isinstance(item, int | str) for item in value):
            yield " less", value[:-1]
    else:
        yield "", another(value)


VARIANTS = list(variants(DOMAIN))
DERIVED = {"Domain.mapping_limitsMappingLimits.lease_s", "Domain.underlay_macs"}
"""Follow from the lease of the lifetimes, and from ports and routes."""


class TestComplete:
    @pytest.mark.parametrize("path", sorted({path for path, _ in VARIANTS} - DERIVED))
    def test_every_field_of_the_model(self, path):
        for variant in (changed for found, changed in VARIANTS if found == path):
            if variant != DOMAIN:
                assert difference(DOMAIN, variant).changes, path
                assert difference(variant, DOMAIN).changes, path

    def test_what_is_derived_is_said_once(self):
        longer = replace(
            DOMAIN,
            lifetimes=replace(DOMAIN.lifetimes, lease_s=60.0),
            mapping_limits=replace(DOMAIN.mapping_limits, lease_s=60.0),
        )
        assert (one(DOMAIN, longer).kind, one(DOMAIN, longer).field) == (Kind.LIFETIMES, "lease_s")

    def test_the_order_of_lists_means_nothing(self):
        turned = replace(
            DOMAIN,
            vns=DOMAIN.vns[::-1],
            nves=tuple(replace(nve, routes=nve.routes[::-1], vaps=nve.vaps[::-1]) for nve in DOMAIN.nves[::-1]),
            tenant_systems=tuple(replace(s, ips=s.ips[::-1]) for s in DOMAIN.tenant_systems[::-1]),
            reservations=DOMAIN.reservations[::-1],
        )
        assert turned != DOMAIN
        assert difference(DOMAIN, turned).is_empty


# --- any two domains ------------------------------------------------------------------------------------------------


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """The example with anything in it changed, taken out or put in, as far as a file could say it."""
    domain = DOMAIN
    if draw(st.booleans()):
        domain = without(domain, draw(st.sampled_from(["leaf1", "leaf2", "leaf3"])))
    vns = [
        replace(vn, mtu=draw(st.sampled_from([1300, 1400])), level=draw(st.sampled_from(Level))) for vn in DOMAIN.vns
    ]
    vns += draw(st.sampled_from([[], [GREEN]]))
    names = [vn.name for vn in vns]
    nves = []
    for nve in domain.nves:
        places = draw(st.sets(st.tuples(st.integers(1, 3), st.sampled_from([0, 100])), max_size=4))
        vaps = tuple(Vap(port, vlan, draw(st.sampled_from(names)), RATE) for port, vlan in sorted(places))
        nves.append(replace(nve, vaps=vaps, mtu=draw(st.sampled_from([1500, 9000]))))
    present = {nve.name: nve for nve in nves}
    systems = []
    taken: set[tuple[str, Any]] = set()
    for system in domain.tenant_systems:
        nve = present[draw(st.sampled_from(sorted(present)))]
        if nve.vaps and draw(st.booleans()):
            vap = draw(st.sampled_from(nve.vaps))
            addresses = {(vap.vn, address) for address in (system.mac, *system.ips)}
            if addresses & taken:
                continue  # a file that says that twice is refused
            taken |= addresses
            systems.append(replace(system, nve=nve.name, port=vap.port, vlan=vap.vlan, vn=vap.vn))
    pairs = [(a, b) for a in sorted(present) for b in sorted(present) if a < b]
    chosen = draw(st.sets(st.sampled_from(pairs), max_size=2))
    return replace(
        domain,
        vns=tuple(vns),
        nves=tuple(nves),
        tenant_systems=tuple(systems),
        tunnel_keys=draw(st.sampled_from(TunnelKeys)),
        tunnels=tuple(TunnelLevel(ends, draw(st.sampled_from(Level))) for ends in sorted(chosen)),
        reservations=draw(st.sampled_from([(), (Reservation("blue", 2, frozenset(present)),)])),
        lifetimes=replace(domain.lifetimes, lease_s=draw(st.sampled_from([30.0, 60.0]))),
    )


def things(domain: Domain) -> dict[tuple[str, str], dict[str, Any]]:
    """Kind and name to fields: said once more, in another way than the code under test says it."""
    empty = replace(domain, vns=(), nves=(), tenant_systems=(), tunnels=(), reservations=())
    found = {(c.kind, c.name): c.new for c in difference(empty, domain).changes}
    assert all(isinstance(new, dict) for new in found.values())
    return found


class TestAnyTwo:
    @settings(deadline=None)
    @given(domains())
    def test_the_same(self, domain):
        assert difference(domain, domain).is_empty
        assert difference(DOMAIN, DOMAIN).is_empty

    @settings(deadline=None)
    @given(domains(), domains())
    def test_applied_to_the_one_it_gives_the_other(self, old, new):
        made = things(old)
        for change in difference(old, new).changes:
            key = (change.kind, change.name)
            match change.action:
                case Action.ADDED:
                    assert key not in made
                    made[key] = change.new
                case Action.REMOVED:
                    assert made.pop(key) == change.old
                case Action.CHANGED if key in made:
                    assert made[key][change.field] == change.old
                    made[key] = made[key] | {change.field: change.new}
        assert made == things(new)

    @settings(deadline=None)
    @given(domains(), domains())
    def test_back_is_the_reverse(self, old, new):
        there = {(c.kind, c.name, c.field): (c.old, c.new, c.nves, c.vns) for c in difference(old, new).changes}
        back = {(c.kind, c.name, c.field): (c.new, c.old, c.nves, c.vns) for c in difference(new, old).changes}
        assert there == back

    @settings(deadline=None)
    @given(domains(), domains())
    def test_whoever_sees_a_change_is_touched(self, old, new):
        said = difference(old, new)
        for name in set(old.nve_by_name) | set(new.nve_by_name):
            views = [
                view_of(domain, Membership(domain), stated(domain), name, 1) if name in domain.nve_by_name else None
                for domain in (old, new)
            ]
            if views[0] != views[1] and sorted_view(views[0]) != sorted_view(views[1]):
                assert name in said.nves

    @settings(deadline=None)
    @given(domains(), domains())
    def test_tunnels_come_and_go_with_keys(self, old, new):
        ends = Membership(old).tunnels() ^ Membership(new).tunnels()
        changes = [change for change in difference(old, new).changes if change.effect is Effect.KEYS]
        for tunnel in ends:
            assert any({tunnel.sender, tunnel.receiver} <= set(change.nves) for change in changes)

    @settings(deadline=None)
    @given(domains(), domains())
    def test_in_one_order_and_in_json(self, old, new):
        changes = difference(old, new).changes
        kinds = [list(Kind).index(change.kind) for change in changes]
        assert kinds == sorted(kinds)
        assert difference(old, new) == difference(old, new)
        assert json.loads(json.dumps(to_json(compared(old, new))))["changes"] is not None


def sorted_view(view: Any) -> Any:
    """A view without the order of its lists, which comes from the file."""
    if view is None:
        return None
    return {field.name: freeze(getattr(view, field.name)) for field in fields(view)}


def freeze(value: Any) -> Any:
    return frozenset(map(repr, value)) if isinstance(value, tuple) else value


# --- single changes -------------------------------------------------------------------------------------------------


class TestTouched:
    def test_mtu_of_a_vn(self):
        change = one(DOMAIN, with_one(DOMAIN, "vns", "red", mtu=1300))
        assert (change.kind, change.name, change.field, change.old, change.new) == (Kind.VN, "red", "mtu", 1400, 1300)
        assert (change.effect, change.nves, change.vns) == (Effect.SWITCHES, ("leaf1", "leaf3"), ("red",))

    def test_a_vn_that_nobody_serves(self):
        change = one(DOMAIN, replace(DOMAIN, vns=(*DOMAIN.vns, GREEN)))
        assert (change.action, change.effect, change.nves, change.vns) == (Action.ADDED, Effect.NVA, (), ("green",))

    def test_a_vap_that_makes_a_member(self):
        more = with_one(DOMAIN, "nves", "leaf2", vaps=(*DOMAIN.nve_by_name["leaf2"].vaps, Vap(2, 0, "red", RATE)))
        change = one(DOMAIN, more)
        assert (change.effect, change.nves, change.vns) == (Effect.KEYS, ("leaf1", "leaf2", "leaf3"), ("red",))

    def test_one_vap_more_of_a_member(self):
        more = with_one(DOMAIN, "nves", "leaf2", vaps=(*DOMAIN.nve_by_name["leaf2"].vaps, Vap(2, 0, "blue", RATE)))
        change = one(DOMAIN, more)
        assert (change.effect, change.nves, change.vns) == (Effect.SWITCHES, ("leaf2",), ("blue",))

    def test_an_nve_goes(self):
        gone = difference(DOMAIN, without(DOMAIN, "leaf2"))
        nve = next(change for change in gone.changes if change.kind is Kind.NVE)
        assert (nve.action, nve.effect) == (Action.REMOVED, Effect.KEYS)
        assert (nve.nves, nve.vns) == (("leaf1", "leaf2", "leaf3"), ("blue",))
        assert not gone.refused

    def test_what_only_the_agent_uses(self):
        for changes in ({"device_id": 7}, {"p4runtime": "unix:/elsewhere"}):
            change = one(DOMAIN, with_one(DOMAIN, "nves", "leaf2", **changes))
            assert (change.effect, change.nves) == (Effect.AGENT, ("leaf2",))

    def test_who_sums_nothing_is_known_to_its_peers(self):
        sums_not = with_one(DOMAIN, "nves", "leaf2", zero_checksum=True)
        for old, new, weaker in ((DOMAIN, sums_not, True), (sums_not, DOMAIN, False)):
            change = one(old, new)
            assert (change.effect, change.nves, change.weaker) == (Effect.SWITCHES, ("leaf1", "leaf3"), weaker)

    def test_a_lease_is_for_everybody(self):
        life = replace(DOMAIN.lifetimes, lease_renew_s=5.0, key_soft_packets=7)
        keys, lease = sorted(difference(DOMAIN, replace(DOMAIN, lifetimes=life)).changes, key=lambda c: c.effect)
        assert (keys.effect, keys.nves) == (Effect.NVA, ())
        assert (lease.effect, lease.nves) == (Effect.SWITCHES, ("leaf1", "leaf2", "leaf3"))

    def test_a_tenant_system_that_moves(self):
        moved = with_one(DOMAIN, "tenant_systems", "blue2", nve="leaf3")
        assert one(DOMAIN, moved).nves == ("leaf2", "leaf3")


class TestRefused:
    def test_another_domain(self):
        said = difference(DOMAIN, replace(DOMAIN, name="other.example"))
        assert [change.field for change in said.refused] == ["name"]
        assert "an NVA of its own" in said.changes[0].refusal

    def test_a_vni_that_another_vn_has(self):
        """Switches change one after the other: frames of the one VN would arrive in the other."""
        blue, red = DOMAIN.vns
        exchanged = replace(DOMAIN, vns=(replace(blue, vni=5002), replace(red, vni=5001)))
        assert [change.name for change in difference(DOMAIN, exchanged).refused] == ["blue", "red"]
        handed_on = replace(DOMAIN, vns=(replace(blue, vni=7), replace(red, vni=5001)))
        assert [change.name for change in difference(DOMAIN, handed_on).refused] == ["red"]
        renamed = replace(DOMAIN, vns=(replace(blue, name="green"), red))
        assert [change.name for change in difference(DOMAIN, renamed).refused] == ["green"]
        assert "VNI 5001 is blue's" in difference(DOMAIN, renamed).refused[0].refusal

    def test_who_makes_the_keys_of_an_nva_that_runs(self):
        """It was decided when the NVA started: a file that says otherwise must not look as if it were in force."""
        said = difference(DOMAIN, replace(DOMAIN, tunnel_keys=TunnelKeys.NVA_AND_PEER))
        assert [change.field for change in said.refused] == ["tunnel_keys"]
        assert said.refused_at_start == ()

    def test_what_an_nva_that_starts_cannot_do_either(self):
        renamed = replace(DOMAIN, name="other.example")
        assert difference(DOMAIN, renamed).refused_at_start == difference(DOMAIN, renamed).refused != ()

    def test_a_fresh_vni(self):
        assert not difference(DOMAIN, with_one(DOMAIN, "vns", "blue", vni=7)).refused


class TestWeaker:
    STRONG = replace(
        DOMAIN,
        vns=tuple(replace(vn, level=Level.CONFIDENTIALITY) for vn in DOMAIN.vns),
        tunnels=(TunnelLevel(("leaf1", "leaf3"), Level.CONFIDENTIALITY),),
        tunnel_keys=TunnelKeys.NVA_AND_PEER,
    )

    @pytest.mark.parametrize(
        ("weaker", "count"),
        [
            (with_one(STRONG, "vns", "blue", level=Level.INTEGRITY), 1),
            (replace(STRONG, tunnels=()), 1),
            (replace(STRONG, tunnels=(TunnelLevel(("leaf1", "leaf3"), Level.INTEGRITY),)), 1),
            (replace(STRONG, tunnel_keys=TunnelKeys.NVA), 1),
            (replace(STRONG, reservations=()), 2),
            (with_one(STRONG, "vns", "blue", subnets=()), 1),
            (with_one(STRONG, "tenant_systems", "blue1", allow_other_ethertypes=True), 1),
            (with_one(STRONG, "tenant_systems", "blue1", allow_router=True, allow_dhcp_server=True), 2),
            (with_one(STRONG, "vns", "blue", allow_unspecified_source=True), 1),
        ],
    )
    def test_takes_protection_away(self, weaker, count):
        assert sum(change.weaker for change in difference(self.STRONG, weaker).changes) == count
        assert not any(change.weaker for change in difference(weaker, self.STRONG).changes)

    def test_a_reservation_for_somebody_else(self):
        other = replace(DOMAIN, reservations=(replace(DOMAIN.reservations[0], nves=frozenset({"leaf2"})),))
        assert [change.weaker for change in difference(DOMAIN, other).changes] == [True, True]

    def test_a_narrower_reservation_does_not(self):
        narrow = replace(DOMAIN.reservations[0], nves=frozenset({"leaf1"}))
        assert not one(DOMAIN, replace(DOMAIN, reservations=(narrow, DOMAIN.reservations[1]))).weaker


class TestNotes:
    """What becomes of tenant systems that were announced is said where it is decided."""

    @staticmethod
    def notes(new: Domain, old: Domain = DOMAIN) -> list[tuple[str, str]]:
        return [(change.what, change.note) for change in difference(old, new).changes if change.note]

    def test_another_vni(self):
        new = with_one(DOMAIN, "vns", "red", vni=7)
        said = "tenant systems that were announced in red, at leaf1, leaf3, keep what they have, in VNI 7"
        assert self.notes(new) == [("vn red", said)]
        assert list(difference(DOMAIN, new).lines()) == ["~ vn red: vni 5002 -> 7", f"    note: {said}"]
        assert compared(DOMAIN, new).changes[0].note == said

    def test_a_vap_that_goes(self):
        said = (
            "tenant systems of blue that were announced there go with it; the agent of leaf1 announces them anew once"
            " the VAP is blue's again"
        )
        vaps = DOMAIN.nve_by_name["leaf1"].vaps
        less = with_one(DOMAIN, "nves", "leaf1", vaps=vaps[1:])
        assert self.notes(less) == [("vap leaf1 port 1 VLAN 0", said)]
        assert self.notes(DOMAIN, less) == [], "what comes takes nothing"

    def test_a_vn_that_goes_is_said_once(self):
        less = replace(
            DOMAIN,
            vns=DOMAIN.vns[:1],
            nves=tuple(replace(nve, vaps=tuple(v for v in nve.vaps if v.vn == "blue")) for nve in DOMAIN.nves),
        )
        ((what, said),) = self.notes(less)
        assert what == "vn red"
        assert said == (
            "tenant systems that were announced in red, at leaf1, leaf3, go with it; their agents announce them anew"
            " once their VAPs are red's again"
        )

    def test_an_nve_that_goes_is_said_once(self):
        ((what, said),) = self.notes(without(DOMAIN, "leaf2"))
        assert what == "nve leaf2"
        assert said.startswith(
            "tenant systems that were announced behind leaf2 go with it; its agent announces them anew"
        )

    def test_where_nothing_can_have_been_announced(self):
        lonely = replace(DOMAIN, vns=(*DOMAIN.vns, GREEN))
        assert self.notes(DOMAIN, lonely) == []
        assert self.notes(with_one(lonely, "vns", "green", vni=9), lonely) == []

    def test_what_is_refused_changes_nothing(self):
        assert self.notes(with_one(DOMAIN, "vns", "red", vni=5001)) == []


class TestShown:
    def test_lines(self):
        new = without(with_one(DOMAIN, "vns", "red", mtu=1300, vni=5001), "leaf2")
        new = replace(
            new,
            vns=(*new.vns, GREEN),
            reservations=(Reservation("blue", IPv4Address("10.1.0.254"), frozenset({"leaf1"})),),
        )
        assert list(difference(DOMAIN, new).lines()) == [
            "+ vn green: vni 5003, level integrity, mtu 1400, punt.rate 1, punt.burst 1, negative_quota 128,"
            " subnets [], allow_link_local yes, allow_unspecified_source no, flood.rate 100000, flood.burst 20000,"
            " vap_flood.rate 25000, vap_flood.burst 5000",
            "~ vn red: vni 5002 -> 5001",
            "    refused: VNI 5001 is blue's; apply a file without that first, then one with this",
            "~ vn red: mtu 1400 -> 1300",
            "- nve leaf2",
            "    note: tenant systems that were announced behind leaf2 go with it; its agent announces them anew once"
            " it is an NVE of the domain again",
            "- underlay port leaf2 port 256",
            "- vap leaf2 port 1 VLAN 0",
            "- tenant system blue2",
            "- reservation 02:aa:00:00:00:fe in blue  (takes protection away)",
            "~ reservation 10.1.0.254 in blue: nves [leaf1, leaf3] -> [leaf1]",
        ]

    def test_switches_and_truth(self):
        new = with_one(DOMAIN, "tenant_systems", "blue1", allow_other_ethertypes=True)
        (line,) = difference(DOMAIN, new).lines()
        assert line == "~ tenant system blue1: allow_other_ethertypes no -> yes  (takes protection away)"

    def test_json(self):
        shown = to_json(compared(DOMAIN, with_one(DOMAIN, "vns", "red", vni=5001)))
        lines = shown.pop("lines")
        assert lines[0] == "~ vn red: vni 5002 -> 5001"
        assert shown == {
            "base": "",
            "same_text": False,
            "total": 1,
            "unshown": 0,
            "changes": [
                {
                    "action": "changed",
                    "kind": "vn",
                    "name": "red",
                    "field": "vni",
                    "old": 5002,
                    "new": 5001,
                    "effect": "switches",
                    "nves": ["leaf1", "leaf3"],
                    "vns": ["red"],
                    "refusal": "VNI 5001 is blue's; apply a file without that first, then one with this",
                    "weaker": False,
                    "note": "",
                }
            ],
            "nves": ["leaf1", "leaf3"],
            "vns": ["red"],
            "refused": ["vn red: VNI 5001 is blue's; apply a file without that first, then one with this"],
        }


def test_a_number_that_was_derived_is_shown_as_people_write_it():
    lines = example_path().read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if "key_hard_s" not in line)
    old, new = (
        parse_domain(text.replace("key_soft_s: 3600 ", f"key_soft_s: {soft_s} "), "domain.yaml", example_path().parent)
        for soft_s in (3600, 3601)
    )
    assert str(new.lifetimes.key_hard_s) == "3966.1000000000004", "as arithmetic has it"
    assert [line for line in difference(old, new).lines() if "key_hard_s" in line] == [
        "~ lifetimes: key_hard_s 3965 -> 3966.1"
    ]
