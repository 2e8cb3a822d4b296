# SPDX-License-Identifier: Apache-2.0
"""VNs and mappings as operators see them."""

from __future__ import annotations

import json
from ipaddress import ip_address as ip

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.mapping import (
    Attach,
    ClaimKey,
    Configured,
    LeaseRenewed,
    MappingState,
    Place,
    Reason,
    Status,
    scope_of,
    statics_of,
    step,
)
from nvo3sec.domain.mapping.reasons import REASONS
from nvo3sec.domain.overlay.addresses import parse_mac
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.errors import OperatorError
from nvo3sec.operator import mapping_views
from nvo3sec.operator.json_form import to_json
from nvo3sec.operator.mapping_views import find_claim

DOMAIN = load_domain(example_path())
MEMBERSHIP = Membership(DOMAIN)
MAC, TAKEN = "02:bb:00:00:00:01", ip("10.1.0.2")


def state_after(*events) -> MappingState:
    """The example with leases for everybody, and what its file states."""
    scope = scope_of(DOMAIN)
    state = step(MappingState(), Configured(scope, statics_of(DOMAIN, scope)), 0.0).state
    for event in (*(LeaseRenewed(nve.name, 30.0) for nve in DOMAIN.nves), *events):
        state = step(state, event, 1.0).state
    return state


FREE = Attach("leaf1", 1, 0, 5001, parse_mac(MAC), (ip("10.1.0.77"),), "hv1")
ELSEWHERE = Attach("leaf1", 2, 0, 5001, parse_mac("02:bb:00:00:00:02"), (TAKEN,))
STATE = state_after(FREE, ELSEWHERE)


def told(view):
    """What programs are told."""
    return lambda *arguments, **chosen: to_json(view(*arguments, **chosen))


vn_list, vn_show, map_list = map(told, (mapping_views.vn_list, mapping_views.vn_show, mapping_views.map_list))


class TestVns:
    def test_list(self):
        blue, red = vn_list(DOMAIN, MEMBERSHIP, STATE)
        assert blue == {
            "vn": "blue",
            "vni": 5001,
            "level": "integrity",
            "mtu": 1400,
            "members": ["leaf1", "leaf2", "leaf3"],
            "mappings": 5,
            "frozen": 1,
            "version": STATE.version(5001),
        }
        assert (red["members"], red["mappings"], red["frozen"]) == (["leaf1", "leaf3"], 2, 0)

    def test_without_those_who_are_shut_out(self):
        blue, _ = vn_list(DOMAIN, Membership(DOMAIN, ["leaf2"]), STATE)
        assert blue["members"] == ["leaf1", "leaf3"]

    def test_show(self):
        shown = vn_show(DOMAIN, MEMBERSHIP, STATE, "blue")
        assert shown["served_by"][0] == {
            "nve": "leaf1",
            "vaps": [{"port": 1, "vlan": 0}, {"port": 2, "vlan": 0}],
            "mappings": 3,
        }
        assert [tunnel["between"] for tunnel in shown["tunnels"]] == [
            ["leaf1", "leaf2"],
            ["leaf1", "leaf3"],
            ["leaf2", "leaf3"],
        ]
        assert {tunnel["level"] for tunnel in shown["tunnels"]} == {"integrity"}
        assert shown["reserved"] == [
            {"address": "10.1.0.254", "nves": ["leaf1", "leaf3"]},
            {"address": "02:aa:00:00:00:fe", "nves": ["leaf1", "leaf3"]},
        ]
        assert shown["punt"] == {"rate": 20, "burst": 20}
        assert json.dumps(shown)

    def test_no_such_vn(self):
        with pytest.raises(OperatorError, match="no such VN: green; there are: blue, red"):
            vn_show(DOMAIN, MEMBERSHIP, STATE, "green")


class TestMappings:
    def test_all_in_one_order(self):
        listed = map_list(DOMAIN, STATE)
        assert listed["total"] == len(listed["claims"]) == 8
        order = [(one["vn"], one["mac"]) for one in listed["claims"]]
        assert order == sorted(order)
        assert json.dumps(listed)

    def test_one_that_is_stated_and_one_that_is_announced(self):
        claims = {one["mac"]: one for one in map_list(DOMAIN, STATE, vn="blue")["claims"]}
        stated, announced = claims["02:aa:00:00:00:02"], claims[MAC]
        assert (stated["standing"], stated["stated"], stated["nve"]) == ("active", True, "leaf2")
        assert announced == {
            "vn": "blue",
            "mac": MAC,
            "nve": "leaf1",
            "port": 1,
            "vlan": 0,
            "asked": ["10.1.0.77"],
            "has": ["10.1.0.77"],
            "standing": "active",
            "reason": "",
            "why": "",
            "in_its_way": None,
            "stated": False,
            "hypervisor": "hv1",
            "sequence": STATE.claims[ClaimKey(Place("leaf1", 1, 0), FREE.mac)].sequence,
        }

    def test_frozen_says_what_is_in_the_way(self):
        (frozen,) = map_list(DOMAIN, STATE, frozen=True)["claims"]
        assert (frozen["standing"], frozen["reason"], frozen["has"]) == ("frozen", "owned", [])
        assert "02:aa:00:00:00:02 at leaf2 port 1" in frozen["in_its_way"]
        assert frozen["why"] == REASONS[Reason.OWNED]

    def test_what_has_a_part(self):
        more = Attach("leaf1", 1, 0, 5001, FREE.mac, (ip("10.1.0.77"), TAKEN), "hv1")
        (one,) = map_list(DOMAIN, state_after(FREE, more), frozen=True)["claims"]
        assert (one["standing"], one["has"], one["asked"]) == ("in part", ["10.1.0.77"], ["10.1.0.2", "10.1.0.77"])

    def test_of_an_nve_and_of_a_vn(self):
        assert {one["nve"] for one in map_list(DOMAIN, STATE, nve="leaf3")["claims"]} == {"leaf3"}
        both = map_list(DOMAIN, STATE, nve="leaf1", vn="red")
        assert [one["mac"] for one in both["claims"]] == ["02:aa:00:00:00:01"]
        assert map_list(DOMAIN, STATE, nve="leaf3", frozen=True)["total"] == 0

    def test_not_more_than_asked_for(self):
        listed = map_list(DOMAIN, STATE, limit=3)
        assert (listed["total"], len(listed["claims"])) == (8, 3)

    @pytest.mark.parametrize(
        ("names", "text"),
        [({"vn": "green"}, "no such VN: green; there are: blue, red"), ({"nve": "x"}, "leaf1, leaf2, leaf3")],
    )
    def test_names_that_do_not_exist(self, names, text):
        with pytest.raises(OperatorError, match=text):
            map_list(DOMAIN, STATE, **names)

    def test_every_reason_has_words(self):
        assert set(REASONS) == set(Reason) - {Reason.NONE}


class TestFind:
    def test_by_mac_and_nve(self):
        assert find_claim(DOMAIN, STATE, MAC.upper(), "leaf1") == ClaimKey(Place("leaf1", 1, 0), FREE.mac)

    def test_where_there_are_two(self):
        twice = "02:aa:00:00:00:01"  # of blue1 at port 1, and of red1 at port 3
        with pytest.raises(OperatorError, match="more than once; say where: --port 1 --vlan 0, --port 3 --vlan 100"):
            find_claim(DOMAIN, STATE, twice, "leaf1")
        assert find_claim(DOMAIN, STATE, twice, "leaf1", vn="red").place.port == 3
        assert find_claim(DOMAIN, STATE, twice, "leaf1", port=1).place.port == 1
        assert find_claim(DOMAIN, STATE, twice, "leaf1", vlan=100).place.port == 3

    @pytest.mark.parametrize(
        ("mac", "nve", "text"),
        [
            (
                MAC,
                "leaf2",
                "no tenant system with 02:bb:00:00:00:01 is known behind leaf2; there are: 02:aa:00:00:00:02",
            ),
            (MAC, "leaf9", "no such NVE: leaf9; there are: leaf1, leaf2, leaf3"),
            ("02-bb", "leaf1", "six bytes"),
        ],
    )
    def test_where_there_is_none(self, mac, nve, text):
        with pytest.raises(OperatorError, match=text):
            find_claim(DOMAIN, STATE, mac, nve)

    def test_who_could_have_been_meant(self):
        with pytest.raises(OperatorError, match=r"behind leaf1 in VN red; there are: 02:aa:00:00:00:01$"):
            find_claim(DOMAIN, STATE, MAC, "leaf1", vn="red")
        with pytest.raises(OperatorError, match=r"behind leaf2 in VN red; there is none at all$"):
            find_claim(DOMAIN, STATE, MAC, "leaf2", vn="red")
        many = STATE
        for number in range(20):
            attach = Attach("leaf2", 1, 0, 5001, 0x02DD00000000 + number, ())
            many = step(many, attach, 0.0).state
        with pytest.raises(OperatorError, match=r"02:dd:00:00:00:08, and more: 21 in all$"):
            find_claim(DOMAIN, many, MAC, "leaf2")


def test_the_state_is_that_of_the_story():
    frozen = step(STATE, ELSEWHERE, 1.0).outcome
    assert (frozen.status, frozen.reason) == (Status.FROZEN, Reason.OWNED)
