# SPDX-License-Identifier: Apache-2.0
"""What a device's call would be answered, and why: asked of the table itself, without making the call."""

from __future__ import annotations

from collections.abc import Mapping

from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.identity.errors import PeerRefused
from nvo3sec.identity.gate.authorization import AccessTable, Membership, Subject
from nvo3sec.identity.names import DeviceName, Role, parse_role
from nvo3sec.operator.documents import Verdict


def probe(
    table: AccessTable,
    membership: Membership,
    domain: Domain,
    excluded: Mapping[str, str],
    *,
    device: str,
    method: str,
    vn: str | None = None,
) -> Verdict:
    """Whether `device` (ROLE/NAME), with a certificate that is good, may call `method` about `vn`.

    method: the full name, or its last part. excluded: NVEs that are shut out, and why. Raises OperatorError for what
    does not exist.
    """
    name = _device(domain, device)
    full = _method(table, method)
    vnis: frozenset[int] = frozenset()
    if vn is not None:
        if vn not in domain.vn_by_name:
            raise no_such("VN", vn, domain.vn_by_name)
        vnis = frozenset({domain.vn_by_name[vn].vni})
    verdict = table.explain(full, name, Subject(vnis), membership)
    allowed, reason = verdict.allowed, verdict.reason
    if verdict.scope is not None and name.role is Role.NVE:
        # Beyond the table, and before what the message is about: an NVE has to have a session first.
        if name.name not in domain.nve_by_name:
            allowed, reason = False, f"{name.name} is not an NVE of {domain.name}, so it gets no session"
        elif name.name in excluded:
            allowed, reason = False, f"{name.name} is shut out: {excluded[name.name]}"
    scope = None if verdict.scope is None else verdict.scope.value
    return Verdict(str(name), full, vn, allowed, scope, reason)


def _device(domain: Domain, device: str) -> DeviceName:
    role, slash, name = device.partition("/")
    try:
        if not slash:
            raise OperatorError(f"{device!r} names no device; write ROLE/NAME, with a role of: {', '.join(Role)}")
        return DeviceName(domain.name, parse_role(role), name)
    except PeerRefused as refused:
        raise OperatorError(refused.detail) from None


def _method(table: AccessTable, method: str) -> str:
    names = [known.name for known in table.methods]
    found = [name for name in names if method in (name, name.rpartition("/")[2])]
    if not found:
        short = ", ".join(name.rpartition("/")[2] for name in names)
        raise OperatorError(f"no such method: {method}; there are: {short}")
    return found[0]
