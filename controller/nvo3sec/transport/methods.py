# SPDX-License-Identifier: Apache-2.0
"""Every method of an NVA: who may call it, about what, how often. What is not here is refused."""

from __future__ import annotations

from typing import Any

from nvo3sec.domain.membership import Membership
from nvo3sec.domain.model import Domain, Rate
from nvo3sec.identity.authorization import AccessTable, Method, Rule, Scope, Subject
from nvo3sec.identity.limits import MethodLimits
from nvo3sec.identity.names import DeviceName, Role

NVA_SERVICE = "nvo3sec.v1.Nva"
OPERATOR_SERVICE = "nvo3sec.v1.Operator"

CONNECT = f"/{NVA_SERVICE}/Connect"
RENEW_LEASE = f"/{NVA_SERVICE}/RenewLease"
LOOK_UP = f"/{NVA_SERVICE}/LookUp"
STATUS = f"/{OPERATOR_SERVICE}/Status"
COUNTERS = f"/{OPERATOR_SERVICE}/Counters"
RECONCILE = f"/{OPERATOR_SERVICE}/Reconcile"
ROTATE = f"/{OPERATOR_SERVICE}/Rotate"

STREAM_LIMITS = MethodLimits(calls=Rate(2, 20), messages=Rate(100, 400), concurrent=4, message_bytes=2 << 20)
"""Of a session. Several at once, because one that broke may be noticed later than the one that follows it."""
LEASE_LIMITS = MethodLimits(calls=Rate(10, 40), messages=Rate(10, 40), concurrent=4, message_bytes=64)
LOOK_UP_LIMITS = MethodLimits(calls=Rate(600, 1200), messages=Rate(600, 1200), concurrent=256, message_bytes=128)
"""A little above what the NVA answers: who keeps to that is told to wait, and not refused."""
OPERATOR_LIMITS = MethodLimits(calls=Rate(50, 200), messages=Rate(50, 200), concurrent=16, message_bytes=65536)


def _nothing(_message: Any) -> Subject:
    """About the caller's own switch: whose that is comes from the certificate."""
    return Subject()


def _vn(message: Any) -> Subject:
    return Subject(vnis=frozenset({message.query.vni}))


def access_table() -> AccessTable:
    """The table of an NVA."""
    return AccessTable(
        methods=(
            Method(CONNECT, STREAM_LIMITS, _nothing),
            Method(RENEW_LEASE, LEASE_LIMITS, _nothing),
            Method(LOOK_UP, LOOK_UP_LIMITS, _vn),
            Method(STATUS, OPERATOR_LIMITS),
            Method(COUNTERS, OPERATOR_LIMITS),
            Method(RECONCILE, OPERATOR_LIMITS),
            Method(ROTATE, OPERATOR_LIMITS),
        ),
        rules=(
            Rule(CONNECT, Role.NVE, Scope.SELF),
            Rule(RENEW_LEASE, Role.NVE, Scope.SELF),
            Rule(LOOK_UP, Role.NVE, Scope.SERVED_VNS),
            Rule(STATUS, Role.OPERATOR, Scope.ANYTHING),
            Rule(COUNTERS, Role.OPERATOR, Scope.ANYTHING),
            Rule(RECONCILE, Role.OPERATOR, Scope.ANYTHING),
            Rule(ROTATE, Role.OPERATOR, Scope.ANYTHING),
        ),
    )


class DomainMembership:
    """Who serves which VN, as the domain file says. Satisfies `authorization.Membership`."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain.name
        membership = Membership(domain)
        self._vnis = {nve.name: frozenset(vn.vni for vn in membership.vns_of(nve.name)) for nve in domain.nves}

    def vnis_of(self, device: DeviceName) -> frozenset[int]:
        """The VNs that a device serves; none for one that is no NVE of this domain."""
        if device.domain != self._domain or device.role is not Role.NVE:
            return frozenset()
        return self._vnis.get(device.name, frozenset())
