# SPDX-License-Identifier: Apache-2.0
"""VNs and mappings as operators see them, made from the domain and the mappings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from nvo3sec.domain.mapping import Absence, Claim, ClaimKey, MappingState, Place, Reason, is_standby, obstacle
from nvo3sec.domain.mapping.reasons import REASONS
from nvo3sec.domain.overlay.addresses import IpAddress, format_mac, parse_mac
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, Vn
from nvo3sec.errors import OperatorError, no_such
from nvo3sec.operator.documents import (
    AbsentAddress,
    ClaimLine,
    Mappings,
    Member,
    PuntRate,
    ReservedAddress,
    TunnelLevel,
    VapPlace,
    VnLine,
    VnShown,
)

CLAIMS_SHOWN = 1000
"""In one answer, unless more are asked for."""
CLAIMS_NAMED = 10
"""In an error, of those that could have been meant."""


# --- VNs ------------------------------------------------------------------------------------------------------------


def vn_list(domain: Domain, membership: Membership, state: MappingState) -> tuple[VnLine, ...]:
    """Every VN: its members by name, and how many tenant systems it has, active and frozen."""
    return tuple(VnLine(**_vn(vn, membership, state)) for vn in domain.vns)


def vn_show(domain: Domain, membership: Membership, state: MappingState, name: str) -> VnShown:
    """One VN: also its VAPs, the level between each two members, and what is reserved. Raises OperatorError."""
    vn = domain.vn_by_name.get(name)
    if vn is None:
        raise no_such("VN", name, domain.vn_by_name)
    members = membership.members(name)
    behind = Counter(claim.nve for claim in _claims(state, vn.vni) if claim.granted is not None)
    return VnShown(
        **_vn(vn, membership, state),
        punt=PuntRate(vn.punt.per_second, vn.punt.burst),
        negative_quota=vn.negative_quota,
        served_by=tuple(
            Member(
                nve,
                tuple(VapPlace(vap.port, vap.vlan) for vap in domain.nve_by_name[nve].vaps if vap.vn == name),
                behind[nve],
            )
            for nve in members
        ),
        tunnels=tuple(
            TunnelLevel((one, other), membership.level_between(one, other, vn).word)
            for index, one in enumerate(members)
            for other in members[index + 1 :]
        ),
        reserved=tuple(
            ReservedAddress(_address(one.address), tuple(sorted(one.nves)))
            for one in domain.reservations
            if one.vn == name
        ),
    )


def _vn(vn: Vn, membership: Membership, state: MappingState) -> dict[str, Any]:
    claims = _claims(state, vn.vni)
    return {
        "vn": vn.name,
        "vni": vn.vni,
        "level": vn.level.word,
        "mtu": vn.mtu,
        "members": tuple(membership.members(vn.name)),
        "mappings": sum(claim.granted is not None for claim in claims),
        "frozen": sum(
            claim.granted != claim.announced and not is_standby(state.scope.shared, claim) for claim in claims
        ),
        "version": state.version(vn.vni),
    }


# --- mappings -------------------------------------------------------------------------------------------------------


def map_list(
    domain: Domain,
    state: MappingState,
    *,
    vn: str | None = None,
    nve: str | None = None,
    frozen: bool = False,
    limit: int = CLAIMS_SHOWN,
) -> Mappings:
    """Tenant systems, by VN, MAC address and place: those of a VN, behind an NVE, or that wait for something.

    `total`: how many there are; `claims` has the first `limit`. Raises OperatorError for names that do not exist.
    """
    if vn is not None and vn not in domain.vn_by_name:
        raise no_such("VN", vn, domain.vn_by_name)
    if nve is not None and nve not in domain.nve_by_name:
        raise no_such("NVE", nve, domain.nve_by_name)
    names = {one.vni: one.name for one in domain.vns}
    found: Iterable[Claim] = state.frozen() if frozen else state.claims.values()
    if nve is not None:
        found = (claim for claim in found if claim.nve == nve)
    if vn is not None:
        vni = domain.vn_by_name[vn].vni
        found = (claim for claim in found if claim.vni == vni)
    absent = (
        one
        for one in state.absences.values()
        if nve in (None, one.key.place.nve) and (vn is None or one.address[0] == domain.vn_by_name[vn].vni)
    )
    chosen = sorted(found, key=lambda claim: (claim.vni, claim.key.mac, claim.key.place))
    return Mappings(
        total=len(chosen),
        absent=tuple(_absent(one, names) for one in sorted(absent, key=lambda one: one.key)[:limit]),
        claims=tuple(claim_report(claim, state, names.get(claim.vni, str(claim.vni))) for claim in chosen[:limit]),
    )


def _absent(one: Absence, names: dict[int, str]) -> AbsentAddress:
    """An address of a tenant system whose NVE lost its lease, and which NVEs do not get it by waiting."""
    vn = names.get(one.address[0], str(one.address[0]))
    return AbsentAddress(vn, _address(one.address[1]), str(one.key), tuple(sorted(one.barred)))


def claim_report(claim: Claim, state: MappingState, vn: str) -> ClaimLine:
    """One tenant system: what it asked for, what it has, and what is in its way."""
    standing, reason, other = "active", Reason.NONE, None
    if claim.granted != claim.announced:
        standing = "frozen" if claim.granted is None else "in part"
        reason, other = obstacle(state, claim)
        if is_standby(state.scope.shared, claim):
            standing = "standby"
    return ClaimLine(
        vn=vn,
        mac=format_mac(claim.key.mac),
        nve=claim.nve,
        port=claim.key.place.port,
        vlan=claim.key.place.vlan,
        asked=tuple(str(ip) for ip in claim.announced),
        has=tuple(str(ip) for ip in claim.granted or ()),
        standing=standing,
        reason=reason.value,
        why=REASONS.get(reason, ""),
        in_its_way=None if other is None else str(other),
        stated=claim.static,
        hypervisor=claim.host,
        sequence=claim.sequence,
    )


def find_claim(
    domain: Domain,
    state: MappingState,
    mac: str,
    nve: str,
    *,
    vn: str | None = None,
    port: int | None = None,
    vlan: int | None = None,
) -> ClaimKey:
    """The one tenant system with this MAC address behind an NVE. Raises OperatorError if there is none, or several."""
    try:
        wanted = parse_mac(mac)
    except ValueError as error:
        raise OperatorError(f"{mac!r}: {error}") from None
    listed = map_list(domain, state, vn=vn, nve=nve, limit=CLAIMS_NAMED)  # checks the names
    vni = None if vn is None else domain.vn_by_name[vn].vni
    found = [
        claim.key
        for claim in state.behind(nve)
        if claim.key.mac == wanted
        and vni in (None, claim.vni)
        and port in (None, claim.key.place.port)
        and vlan in (None, claim.key.place.vlan)
    ]
    # Who is absent is no claim any more, and still has a right that an operator can take away.
    absent = {state.absences[address] for address in state.absent_of.get(nve) or ()}
    found += sorted(
        {
            one.key
            for one in absent
            if one.key.mac == wanted
            and one.key not in found
            and vni in (None, one.address[0])
            and port in (None, one.key.place.port)
            and vlan in (None, one.key.place.vlan)
        }
    )
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(_place(key.place) for key in found)
        raise OperatorError(f"{mac} is behind {nve} more than once; say where: {places}")
    others = f" in VN {vn}" if vn else ""
    known = sorted({one.mac for one in listed.claims})
    more = f", and more: {listed.total} in all" if listed.total > len(listed.claims) else ""
    there = f"there are: {', '.join(known)}{more}" if known else "there is none at all"
    raise OperatorError(f"no tenant system with {mac} is known behind {nve}{others}; {there}")


def _place(place: Place) -> str:
    return f"--port {place.port} --vlan {place.vlan}"


def _claims(state: MappingState, vni: int) -> list[Claim]:
    return [state.claims[key] for key in state.by_vn.get(vni) or ()]


def _address(address: int | IpAddress) -> str:
    return format_mac(address) if isinstance(address, int) else str(address)
