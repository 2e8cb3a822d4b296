# SPDX-License-Identifier: Apache-2.0
"""Whether there is what a command names, before somebody is asked whether he means it."""

from __future__ import annotations

from nvo3sec.cli.operate import Where
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.operator.documents import Mappings, Status

MOST = 5000
"""Tenant systems that are looked at. Of more than so many the NVA says it, once it has been decided."""

NAMED = 10
"""Tenant systems, of those that could have been meant. In the same words as the NVA's."""


def some_nve(where: Where, nve: str) -> None:
    """Raises OperatorError if the domain has no NVE of this name."""
    known = [one.nve for one in where.ask(Status, "status").said.switches]
    if nve not in known:
        raise no_such("NVE", nve, known)


def tenant_system(where: Where, mac: str, nve: str, *, vn: str | None, port: int | None, vlan: int | None) -> None:
    """Raises OperatorError unless one tenant system, and no more, with this MAC address is known behind an NVE."""
    listed = where.ask(Mappings, "map_list", vn=vn, nve=nve, limit=MOST).said  # the NVA checks the names
    chosen = {
        (one.port, one.vlan)
        for one in listed.claims
        if one.mac == mac.lower() and port in (None, one.port) and vlan in (None, one.vlan)
    }
    if len(chosen) > 1:
        places = ", ".join(f"--port {one} --vlan {other}" for one, other in sorted(chosen))
        raise OperatorError(f"{mac} is behind {nve} more than once; say where: {places}")
    # Who is absent has a right that an operator can take away, and is named by its place.
    is_absent = any(one.last_owner.startswith(f"{mac.lower()} at {nve} ") for one in listed.absent)
    if not chosen and not is_absent and listed.total <= len(listed.claims):
        which = f" in VN {vn}" if vn else ""
        macs = sorted({one.mac for one in listed.claims[:NAMED]})
        more = f", and more: {listed.total} in all" if listed.total > NAMED else ""
        there = f"there are: {', '.join(macs)}{more}" if macs else "there is none at all"
        raise OperatorError(f"no tenant system with {mac} is known behind {nve}{which}; {there}")
