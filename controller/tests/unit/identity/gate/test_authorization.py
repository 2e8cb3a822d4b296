# SPDX-License-Identifier: Apache-2.0
"""The table of who may call what: enumerated in full, denied by default."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from identity_world import COLLECT, DOMAIN, ECHO, FAIL, FREE, MISSING, SESSION, WATCH, Served, subject_of, table
from nvo3sec.errors import AuthorizationError
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.gate.authorization import AccessTable, Method, Rule, Scope, Subject
from nvo3sec.identity.names import DeviceName, Role

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MEMBERSHIP = Served(leaf1={10, 11}, leaf2={20})


def caller(role: Role, name: str = "leaf1") -> Identity:
    return Identity(DOMAIN, role, name, 1, NOW + timedelta(hours=1), NOW, "CN=x")


def allowed(access: AccessTable, method: str, who: Identity, message: object) -> bool:
    try:
        found, scope = access.call(method, who)
        access.message(found, scope, who, message, MEMBERSHIP)
    except AuthorizationError:
        return False
    return True


class TestMatrix:
    def test_every_method_with_every_role(self):
        nve_only = dict.fromkeys((SESSION, WATCH, COLLECT, FAIL, MISSING))
        expected: dict[tuple[str, Role], Scope | None] = {
            (method, role): Scope.SERVED_VNS if role is Role.NVE else None for method in nve_only for role in Role
        }
        expected |= {
            (ECHO, Role.NVE): Scope.SERVED_VNS,
            (ECHO, Role.OPERATOR): Scope.ANYTHING,
            (ECHO, Role.NVA): Scope.SELF,
            (ECHO, Role.HYPERVISOR): None,
        }
        assert {(method.name, role): scope for method, role, scope in table().matrix()} == expected

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("method", [ECHO, SESSION, WATCH, COLLECT, FAIL, MISSING, "/test.Service/None", ""])
    def test_what_the_matrix_says_is_what_happens(self, method: str, role: Role):
        scopes = {(known.name, who): scope for known, who, scope in table().matrix()}
        assert allowed(table(), method, caller(role), {}) == (scopes.get((method, role)) is not None)

    def test_an_unknown_method_is_refused_in_the_same_words(self):
        texts = set()
        for method in (SESSION, "/test.Service/None"):
            with pytest.raises(AuthorizationError) as caught:
                table().call(method, caller(Role.HYPERVISOR))
            texts.add(str(caught.value))
        assert len(texts) == 1


class TestScopes:
    SELF = DeviceName(DOMAIN, Role.NVE, "leaf1").uri
    OTHER = DeviceName(DOMAIN, Role.NVE, "leaf2").uri
    POSING = DeviceName(DOMAIN, Role.NVA, "leaf1").uri

    @pytest.mark.parametrize(
        ("scope", "inside", "outside"),
        [
            (Scope.ANYTHING, [{}, {"vnis": [99]}, {"devices": [OTHER]}], []),
            (Scope.NOTHING, [{}], [{"vnis": [10]}, {"devices": [SELF]}]),
            (Scope.SELF, [{}, {"devices": [SELF]}], [{"vnis": [10]}, {"devices": [OTHER]}, {"devices": [POSING]}]),
            (
                Scope.SERVED_VNS,
                [{}, {"vnis": [10]}, {"vnis": [10, 11]}, {"devices": [SELF], "vnis": [11]}],
                [{"vnis": [20]}, {"vnis": [10, 20]}, {"vnis": [0]}, {"devices": [OTHER]}, {"devices": [SELF, OTHER]}],
            ),
        ],
    )
    def test_inside_and_outside(self, scope: Scope, inside: list[object], outside: list[object]):
        access = AccessTable([Method(ECHO, FREE, subject_of)], [Rule(ECHO, Role.NVE, scope)])
        assert all(allowed(access, ECHO, caller(Role.NVE), message) for message in inside)
        assert not any(allowed(access, ECHO, caller(Role.NVE), message) for message in outside)

    def test_who_serves_what_in_full(self):
        for name, vni in itertools.product(("leaf1", "leaf2", "leaf3"), range(30)):
            served = vni in MEMBERSHIP.served.get(name, ())
            assert allowed(table(), ECHO, caller(Role.NVE, name), {"vnis": [vni]}) == served

    def test_a_change_takes_effect_at_once(self):
        membership = Served(leaf1={10})
        access, who = table(), caller(Role.NVE)
        method, scope = access.call(ECHO, who)
        access.message(method, scope, who, {"vnis": [10]}, membership)
        membership.served["leaf1"] = frozenset()
        with pytest.raises(AuthorizationError):
            access.message(method, scope, who, {"vnis": [10]}, membership)


class TestExplained:
    """What operators are told a call would be answered is what the gate answers."""

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("method", [ECHO, SESSION, "/test.Service/None"])
    @pytest.mark.parametrize("vnis", [(), (10,), (20,), (10, 20)])
    def test_as_it_is_decided(self, method: str, role: Role, vnis: tuple[int, ...]):
        who = caller(role)
        verdict = table().explain(method, who.device, Subject(frozenset(vnis)), MEMBERSHIP)
        assert verdict.allowed == allowed(table(), method, who, {"vnis": list(vnis)})
        assert verdict.reason

    def test_why(self):
        def why(method: str, role: Role, *vnis: int) -> str:
            return table().explain(method, caller(role).device, Subject(frozenset(vnis)), MEMBERSHIP).reason

        assert why(ECHO, Role.NVE, 20) == "the caller does not serve the VN 20"
        assert why(ECHO, Role.NVE, 10) == "a rule lets role nve call it, within served-vns"
        assert why(SESSION, Role.OPERATOR) == "no rule is about role operator; there are rules about: nve"
        assert why("/test.Service/None", Role.NVE) == "there is no such method"


class TestTablesThatWouldNotSayWhatTheySeemTo:
    @pytest.mark.parametrize(
        ("methods", "rules"),
        [
            ([Method(ECHO, FREE), Method(ECHO, FREE)], []),
            ([], [Rule(ECHO, Role.NVE, Scope.ANYTHING)]),
            ([Method(ECHO, FREE)], [Rule(ECHO, Role.NVE, Scope.SERVED_VNS)]),
            ([Method(ECHO, FREE)], [Rule(ECHO, Role.NVE, Scope.NOTHING)]),
            (
                [Method(ECHO, FREE, subject_of)],
                [Rule(ECHO, Role.NVE, Scope.ANYTHING), Rule(ECHO, Role.NVE, Scope.SELF)],
            ),
        ],
    )
    def test_are_refused(self, methods: list[Method], rules: list[Rule]):
        with pytest.raises(ValueError, match=r".+"):
            AccessTable(methods, rules)
