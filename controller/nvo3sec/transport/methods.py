# SPDX-License-Identifier: Apache-2.0
"""Every method of an NVA: who may call it, about what, how often. What is not here is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.gate.authorization import AccessTable, Method, Rule, Scope, Subject
from nvo3sec.identity.gate.limits import MethodLimits
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.operator.calls import CALLS
from nvo3sec.wire.checks import MARK_BYTES, MARKS_LIMIT

NVA_SERVICE = "nvo3sec.v1.Nva"

CONNECT = f"/{NVA_SERVICE}/Connect"
RENEW_LEASE = f"/{NVA_SERVICE}/RenewLease"
LOOK_UP = f"/{NVA_SERVICE}/LookUp"
ATTACH = f"/{NVA_SERVICE}/Attach"
DETACH = f"/{NVA_SERVICE}/Detach"
MOVE = f"/{NVA_SERVICE}/Move"
STREAM_LIMITS = MethodLimits(calls=Rate(2, 20), messages=Rate(100, 400), concurrent=4, message_bytes=2 << 20)
"""Of a session. Several at once, because one that broke may be noticed later than the one that follows it."""
LEASE_LIMITS = MethodLimits(
    calls=Rate(10, 40), messages=Rate(10, 40), concurrent=4, message_bytes=32 + MARKS_LIMIT * MARK_BYTES
)
"""A renewal names its session, and what the agent remembers of the store: as much as the largest can be."""
LOOK_UP_LIMITS = MethodLimits(calls=Rate(240, 1200), messages=Rate(240, 1200), concurrent=256, message_bytes=128)
"""A little above what the NVA answers: who keeps to that is told to wait, and not refused. Changes are pushed, so that
many at once are for agents that start."""
ANNOUNCE_LIMITS = MethodLimits(calls=Rate(40, 512), messages=Rate(40, 512), concurrent=128, message_bytes=1024)
"""Each is a write to the NVA's disk, and can cost it milliseconds where addresses are contested. A host full of tenant
systems comes up within the burst."""


def _nothing(_message: Any) -> Subject:
    """About the caller's own switch: whose that is comes from the certificate."""
    return Subject()


def _vn(message: Any) -> Subject:
    return Subject(vnis=frozenset({message.query.vni}))


def _announced_vn(message: Any) -> Subject:
    return Subject(vnis=frozenset({message.vni}))


def access_table() -> AccessTable:
    """The table of an NVA."""
    return AccessTable(
        methods=(
            Method(CONNECT, STREAM_LIMITS, _nothing),
            Method(RENEW_LEASE, LEASE_LIMITS, _nothing),
            Method(LOOK_UP, LOOK_UP_LIMITS, _vn),
            Method(ATTACH, ANNOUNCE_LIMITS, _announced_vn),
            Method(DETACH, ANNOUNCE_LIMITS, _announced_vn),
            Method(MOVE, ANNOUNCE_LIMITS, _announced_vn),
            *(Method(call.path, call.limits) for call in CALLS.values()),
        ),
        rules=(
            Rule(CONNECT, Role.NVE, Scope.SELF),
            Rule(RENEW_LEASE, Role.NVE, Scope.SELF),
            Rule(LOOK_UP, Role.NVE, Scope.SERVED_VNS),
            Rule(ATTACH, Role.NVE, Scope.SERVED_VNS),
            Rule(DETACH, Role.NVE, Scope.SERVED_VNS),
            Rule(MOVE, Role.NVE, Scope.SERVED_VNS),
            *(Rule(call.path, Role.OPERATOR, Scope.ANYTHING) for call in CALLS.values()),
        ),
    )


class DomainMembership:
    """Who serves which VN, as it is now. Satisfies `authorization.Membership`.

    current: gives the membership; asked for each message, so that a change takes effect with the next one.
    """

    def __init__(self, domain: str, current: Callable[[], Membership]) -> None:
        self._domain = domain
        self._current = current
        self._known: Membership | None = None
        self._vnis: dict[str, frozenset[int]] = {}

    def vnis_of(self, device: DeviceName) -> frozenset[int]:
        """The VNs that a device serves; none for one that is no NVE of this domain."""
        if device.domain != self._domain or device.role is not Role.NVE:
            return frozenset()
        membership = self._current()
        if membership is not self._known:
            self._known, self._vnis = membership, {}
        found = self._vnis.get(device.name)
        if found is None:
            found = self._vnis[device.name] = frozenset(vn.vni for vn in membership.vns_of(device.name))
        return found
