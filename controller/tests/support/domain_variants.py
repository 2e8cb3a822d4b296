# SPDX-License-Identifier: Apache-2.0
"""The example domain with something less, or something else."""

from __future__ import annotations

from dataclasses import replace

from nva_agents import DOMAIN
from nvo3sec.domain.overlay.model import Domain


def without_vn(domain: Domain, name: str, *nves: str) -> Domain:
    """Without a VN; or, if NVEs are named, without their VAPs of it."""
    changed = tuple(
        replace(nve, vaps=tuple(vap for vap in nve.vaps if vap.vn != name)) if nve.name in (nves or [nve.name]) else nve
        for nve in domain.nves
    )
    stay = tuple(s for s in domain.tenant_systems if s.vn != name or (nves and s.nve not in nves))
    kept = tuple(vn for vn in domain.vns if nves or vn.name != name)
    return replace(
        domain, vns=kept, nves=changed, tenant_systems=stay, reservations=() if not nves else domain.reservations
    )


def without_nve(domain: Domain, name: str) -> Domain:
    nves = tuple(
        replace(nve, routes=tuple(route for route in nve.routes if route.peer != name))
        for nve in domain.nves
        if nve.name != name
    )
    systems = tuple(system for system in domain.tenant_systems if system.nve != name)
    return replace(domain, nves=nves, tenant_systems=systems, reservations=(), tunnels=())


def renamed(domain: Domain, old: str, new: str) -> Domain:
    """Another VN in the place of one: its number, its VAPs."""
    vns = tuple(replace(vn, name=new) if vn.name == old else vn for vn in domain.vns)
    nves = tuple(
        replace(nve, vaps=tuple(replace(vap, vn=new) if vap.vn == old else vap for vap in nve.vaps))
        for nve in domain.nves
    )
    systems = tuple(system for system in domain.tenant_systems if system.vn != old)
    return replace(domain, vns=vns, nves=nves, tenant_systems=systems, reservations=())


NO_RED = without_vn(DOMAIN, "red")


def without(domain: Domain, nve: str) -> Domain:
    """A domain as its file would give it without one NVE."""
    return replace(
        domain,
        nves=tuple(
            replace(one, routes=tuple(route for route in one.routes if route.peer != nve))
            for one in domain.nves
            if one.name != nve
        ),
        tenant_systems=tuple(system for system in domain.tenant_systems if system.nve != nve),
        tunnels=tuple(tunnel for tunnel in domain.tunnels if nve not in tunnel.ends),
    )
