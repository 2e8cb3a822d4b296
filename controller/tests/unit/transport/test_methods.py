# SPDX-License-Identifier: Apache-2.0
"""Who may call what at an NVA, in full."""

from __future__ import annotations

import inspect

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.messages.session import Attachment, Lookup, Release, Relocation
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.errors import OperatorError
from nvo3sec.identity.gate.authorization import Scope
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.operator.access import probe
from nvo3sec.operator.calls import CALLS, Presence
from nvo3sec.operator.domain_file import DomainFileOperations
from nvo3sec.operator.keys import KeyOperations
from nvo3sec.operator.mappings import Operations
from nvo3sec.processes.development import Controller
from nvo3sec.processes.nva import NvaProcess
from nvo3sec.transport import methods
from nvo3sec.transport.credentials import NvaAddress
from nvo3sec.transport.methods import DomainMembership, access_table
from nvo3sec.wire import nva_pb2, up

ALLOWED = {
    (methods.CONNECT, Role.NVE): Scope.SELF,
    (methods.RENEW_LEASE, Role.NVE): Scope.SELF,
    (methods.LOOK_UP, Role.NVE): Scope.SERVED_VNS,
    (methods.ATTACH, Role.NVE): Scope.SERVED_VNS,
    (methods.DETACH, Role.NVE): Scope.SERVED_VNS,
    (methods.MOVE, Role.NVE): Scope.SERVED_VNS,
    ("/nvo3sec.v1.Operator/Status", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/Counters", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/Reconcile", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/Rotate", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/Revoke", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/KeyList", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/KeyAudit", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/DomainShow", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/DomainDiff", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/DomainApply", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/VnList", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/VnShow", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/MapList", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/MapAdmit", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/MapEvict", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/AuthzProbe", Role.OPERATOR): Scope.ANYTHING,
    ("/nvo3sec.v1.Operator/ResetMarks", Role.OPERATOR): Scope.ANYTHING,
}


def test_matrix():
    cells = {(method.name, role): scope for method, role, scope in access_table().matrix()}
    assert len(cells) == len(access_table().methods) * len(Role)
    assert {cell: scope for cell, scope in cells.items() if scope is not None} == ALLOWED


def test_every_method_of_the_interface_is_in_the_table():
    described = {
        f"/{service.full_name}/{method.name}"
        for service in nva_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {method.name for method in access_table().methods} == described


def test_a_lookup_is_about_its_vn():
    (look_up,) = (method for method in access_table().methods if method.name == methods.LOOK_UP)
    assert look_up.subject is not None
    assert look_up.subject(up.LookUp(bytes(16), Lookup(5001, mac=1))).vnis == {5001}


def test_an_announcement_is_about_the_vn_where_the_tenant_system_is_or_goes():
    subjects = {method.name: method.subject for method in access_table().methods}
    here = Attachment(1, 0, 5001, 1)
    session = bytes(16)
    assert subjects[methods.ATTACH](up.Announce(session, here)).vnis == {5001}
    assert subjects[methods.DETACH](up.Announce(session, Release(1, 0, 5001, 1))).vnis == {5001}
    assert subjects[methods.MOVE](up.Announce(session, Relocation(2, 0, here))).vnis == {5001}


def test_membership_is_that_of_the_domain():
    domain = load_domain(example_path())
    current = Membership(domain)
    membership = DomainMembership(domain.name, lambda: current)
    for nve in domain.nves:
        expected = {vn.vni for vn in domain.vns if vn.name in nve.vn_names}
        assert membership.vnis_of(DeviceName(domain.name, Role.NVE, nve.name)) == expected
        assert not membership.vnis_of(DeviceName(domain.name, Role.HYPERVISOR, nve.name))
        assert not membership.vnis_of(DeviceName("elsewhere.example", Role.NVE, nve.name))
    assert not membership.vnis_of(DeviceName(domain.name, Role.NVE, "nobody"))
    current = Membership(domain, ["leaf1"])
    assert not membership.vnis_of(DeviceName(domain.name, Role.NVE, "leaf1")), "shut out from the next message on"
    assert membership.vnis_of(DeviceName(domain.name, Role.NVE, "leaf3"))


def test_every_call_of_operators_is_served_and_asked_by_one_name():
    described = {call.path for call in CALLS.values()}
    assert described == {name for (name, role), _ in ALLOWED.items() if role is Role.OPERATOR}
    for name, call in CALLS.items():
        assert name.replace("_", "") == call.rpc.lower()
        request = getattr(nva_pb2, f"{call.rpc}Request").DESCRIPTOR
        assert [field.name for field in request.fields] == list(call.fields), name
        for field in request.fields:
            is_plain = call.fields[field.name].presence is Presence.PLAIN
            assert field.has_presence is not is_plain, f"{name}: {field.name}"


SERVING = (NvaProcess, Controller, Operations, KeyOperations, DomainFileOperations)
"""Whose methods answer calls, in `processes.nva` and `processes.development`."""


@pytest.mark.parametrize("name", CALLS)
def test_what_serves_a_call_takes_its_fields(name):
    """By their names, and nothing else of a request; what a request may leave out it can do without. What is for the
    caller within the process alone stands in no request: `room`."""
    found = [room for room in SERVING if hasattr(room, name)]
    assert found, "nothing serves it"
    fields = CALLS[name].fields
    for room in found:
        taken = dict(inspect.signature(getattr(room, name)).parameters)
        del taken["self"]
        within = taken.pop("room", None)
        assert within is None or (within.kind, within.default) == (inspect.Parameter.KEYWORD_ONLY, None)
        if (room, name) == (Controller, "status"):  # asked on the console alone, where `wait` is what waits
            assert not taken
            continue
        assert list(taken) == list(fields), f"{room.__name__}.{name}"
        without = {one for one, parameter in taken.items() if parameter.default is not inspect.Parameter.empty}
        assert without >= {one for one, field in fields.items() if field.presence is Presence.OPTIONAL}, room.__name__


class TestProbe:
    DOMAIN = load_domain(example_path())

    def probe(self, device, method, vn=None, revoked=()):
        membership = Membership(self.DOMAIN, revoked)
        excluded = dict.fromkeys(revoked, "revoked")
        served = DomainMembership(self.DOMAIN.name, lambda: membership)
        return probe(access_table(), served, self.DOMAIN, excluded, device=device, method=method, vn=vn)

    @pytest.mark.parametrize(
        ("device", "method", "vn", "allowed", "words"),
        [
            ("nve/leaf1", "LookUp", "red", True, "within served-vns"),
            ("nve/leaf2", "LookUp", "red", False, "the caller does not serve the VN 5002"),
            ("nve/leaf2", "Attach", "blue", True, "within served-vns"),
            ("nve/leaf2", "Connect", None, True, "within self"),
            ("nve/leaf9", "Connect", None, False, "leaf9 is not an NVE of lab.example"),
            ("nve/leaf9", "LookUp", "blue", False, "leaf9 is not an NVE of lab.example"),
            ("nve/leaf1", "Rotate", None, False, "no rule is about role nve; there are rules about: operator"),
            ("operator/op", "Rotate", None, True, "within anything"),
            ("operator/op", "LookUp", "blue", False, "there are rules about: nve"),
            ("hypervisor/hv1", "Connect", None, False, "no rule is about role hypervisor"),
            ("nva/nva1", "Status", None, False, "no rule is about role nva"),
        ],
    )
    def test_what_is_answered(self, device, method, vn, allowed, words):
        found = self.probe(device, method, vn)
        assert found.allowed is allowed
        assert words in found.reason
        assert (found.device, found.vn, found.method.rpartition("/")[2]) == (device, vn, method)

    def test_who_is_shut_out(self):
        found = self.probe("nve/leaf1", "Connect", revoked=["leaf1"])
        assert (found.allowed, found.reason) == (False, "leaf1 is shut out: revoked")
        found = self.probe("nve/leaf1", "LookUp", "blue", revoked=["leaf1"])
        assert (found.allowed, found.reason) == (False, "leaf1 is shut out: revoked"), "before what it is about"
        assert "no rule is about role nve" in self.probe("nve/leaf1", "Rotate", revoked=["leaf1"]).reason

    def test_the_full_name(self):
        assert self.probe("nve/leaf1", methods.CONNECT).method == methods.CONNECT

    @pytest.mark.parametrize(
        ("device", "method", "vn", "words"),
        [
            ("leaf1", "Connect", None, "write ROLE/NAME, with a role of: nva, nve, hypervisor, operator"),
            ("leaf/leaf1", "Connect", None, "'leaf' is no role; there are: nva, nve, hypervisor, operator"),
            ("nve/Leaf_1", "Connect", None, "'Leaf_1' has '_'; a name has letters a to z, digits and hyphens"),
            ("nve/leaf1", "Conect", None, "no such method: Conect; there are: Connect, RenewLease, LookUp"),
            ("nve/leaf1", "LookUp", "green", "no such VN: green; there are: blue, red"),
        ],
    )
    def test_of_what_does_not_exist(self, device, method, vn, words):
        with pytest.raises(OperatorError, match=words):
            self.probe(device, method, vn)


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "host"),
        [
            ("nva1.nva.lab.example:7443", "nva1.nva.lab.example"),
            ("nva1.nva.lab.example=127.0.0.1:7443", "127.0.0.1"),
            ("nva1.nva.lab.example=[::1]:7443", "::1"),
        ],
    )
    def test_good(self, text, host):
        assert NvaAddress.parse(text) == NvaAddress(DeviceName("lab.example", Role.NVA, "nva1"), host, 7443)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "127.0.0.1:7443",
            "leaf1.nve.lab.example:7443",
            "nva1.nva.lab.example",
            "nva1.nva.lab.example:0",
            "a.nva:1",
        ],
    )
    def test_bad(self, text):
        with pytest.raises(OperatorError, match="is no NVA"):
            NvaAddress.parse(text)
