# SPDX-License-Identifier: Apache-2.0
"""Two domains, thing by thing and field by field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.domain.overlay.difference.effects import Judge
from nvo3sec.domain.overlay.difference.model import Action, Change, Difference, Effect, Fields, Key, Kind
from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.domain.overlay.model import (
    Domain,
    Lifetimes,
    MappingLimits,
    Nve,
    Rate,
    Route,
    SharedMember,
    TenantSystem,
    Vap,
    Vn,
)

_ORDER = {kind: index for index, kind in enumerate(Kind)}


def difference(old: Domain, new: Domain, held: Mapping[Meaning, Collection[str]] | None = None) -> Difference:
    """What has to change for `old` to become `new`.

    held: numbers that may still stand in some switch for what they stood for, and the NVEs where.
    """
    judge = Judge(old, new, held)
    differing = {(kind, name): pair for kind, name, *pair in _differing(old, new)}
    changes: list[Change] = []
    for key in sorted(differing, key=lambda key: (_ORDER[key[0]], key[1])):
        was, will = differing[key]
        kind, name = key[0], _name(key)
        was_fields, will_fields = _fields(kind, was), _fields(kind, will)
        if was is None:
            changes.append(judge(key, was, will, Change(kind, name, Action.ADDED, "", None, will_fields, Effect.NVA)))
        elif will is None:
            changes.append(judge(key, was, will, Change(kind, name, Action.REMOVED, "", was_fields, None, Effect.NVA)))
        else:
            changes += (
                judge(key, was, will, Change(kind, name, Action.CHANGED, field, was_fields[field], value, Effect.NVA))
                for field, value in will_fields.items()
                if was_fields[field] != value
            )
    return Difference(tuple(changes))


# --- things, by name ------------------------------------------------------------------------------------------------


_Pair: TypeAlias = tuple[Kind, tuple[str | int, ...], Any, Any]
"""Kind and name of a thing, and how it is in either domain; None where it is not."""


def _differing(old: Domain, new: Domain) -> Iterator[_Pair]:
    """Things that are not the same; of what they have in common, only what is compared is looked at."""
    one, other = _things(old), _things(new)
    for kind in one:
        yield from _unequal(kind, one[kind], other[kind])
    for name in old.nve_by_name.keys() | new.nve_by_name.keys():
        was, will = old.nve_by_name.get(name), new.nve_by_name.get(name)
        if was != will:
            before, after = _parts(was), _parts(will)
            for kind in before:
                yield from _unequal(kind, before[kind], after[kind])


def _unequal(kind: Kind, before: dict[Any, Any], after: dict[Any, Any]) -> Iterator[_Pair]:
    for name in before.keys() | after.keys():
        was, will = before.get(name), after.get(name)
        if was is not will and was != will:
            yield kind, name, was, will


def _things(domain: Domain) -> dict[Kind, dict[Any, Any]]:
    """By kind and name, without the parts of NVEs."""
    return {
        Kind.DOMAIN: {(): domain},
        Kind.LIFETIMES: {(): domain.lifetimes},
        Kind.MAPPING_LIMITS: {(): domain.mapping_limits},
        Kind.VN: {(vn.name,): vn for vn in domain.vns},
        Kind.TUNNEL: {tunnel.ends: tunnel.level for tunnel in domain.tunnels},
        Kind.TENANT_SYSTEM: {(system.name,): system for system in domain.tenant_systems},
        Kind.SHARED_ADDRESS: {(one.name,): one for one in domain.shared_addresses},
        Kind.RESERVATION: {(one.vn, _address(one.address)): one.nves for one in domain.reservations},
    }


def _parts(nve: Nve | None) -> dict[Kind, dict[Any, Any]]:
    """An NVE and its parts, by kind and name."""
    if nve is None:
        return {kind: {} for kind in (Kind.NVE, Kind.UNDERLAY_PORT, Kind.ROUTE, Kind.VAP)}
    return {
        Kind.NVE: {(nve.name,): nve},
        Kind.UNDERLAY_PORT: {(nve.name, port): mac for port, mac in nve.underlay_ports},
        Kind.ROUTE: {(nve.name, route.peer): route for route in nve.routes},
        Kind.VAP: {(nve.name, *vap.place): vap for vap in nve.vaps},
    }


def _name(key: Key) -> str:
    match key:
        case (Kind.UNDERLAY_PORT, (nve, port)):
            return f"{nve} port {port}"
        case (Kind.ROUTE, (nve, peer)):
            return f"{nve} to {peer}"
        case (Kind.VAP, (nve, port, vlan)):
            return f"{nve} port {port} VLAN {vlan}"
        case (Kind.TUNNEL, (one, other)):
            return f"{one} - {other}"
        case (Kind.RESERVATION, (vn, address)):
            return f"{address} in {vn}"
        case (_, parts):
            return " ".join(map(str, parts))


def _address(address: object) -> str:
    return format_mac(address) if isinstance(address, int) else str(address)


def _rate(name: str, rate: Rate) -> Fields:
    return {f"{name}.rate": rate.per_second, f"{name}.burst": rate.burst}


def _vn(vn: Vn) -> Fields:
    return {
        "vni": vn.vni,
        "level": vn.level.word,
        "mtu": vn.mtu,
        **_rate("punt", vn.punt),
        "negative_quota": vn.negative_quota,
        "subnets": [str(subnet) for subnet in vn.subnets],
        "allow_link_local": vn.allow_link_local,
        "allow_unspecified_source": vn.allow_unspecified_source,
        **_rate("flood", vn.flood),
        **_rate("vap_flood", vn.vap_flood),
    }


def _nve(nve: Nve) -> Fields:
    return {
        "device_id": nve.device_id,
        "p4runtime": nve.p4runtime,
        "address": ", ".join(map(str, nve.addresses)),
        "mtu": nve.mtu,
        "verify_rate": nve.verify_rate,
        "zero_checksum": nve.zero_checksum,
        "dscp.model": nve.dscp.model.value,
        "dscp.value": nve.dscp.value,
    }


def _route(route: Route) -> Fields:
    return {
        "port": route.port,
        "mac": format_mac(route.mac),
        "next_hop_mac": format_mac(route.next_hop_mac),
        **_rate("meter", route.meter),
    }


def _vap(vap: Vap) -> Fields:
    return {"vn": vap.vn, **_rate("meter", vap.meter)}


def _lifetimes(life: Lifetimes) -> Fields:
    return dict(vars(life))


def _mapping_limits(limits: MappingLimits) -> Fields:
    # lease_s is that of the lifetimes.
    return {name: value for name, value in vars(limits).items() if name != "lease_s"}


def _tenant_system(system: TenantSystem) -> Fields:
    return {
        "vn": system.vn,
        "nve": system.nve,
        "port": system.port,
        "vlan": system.vlan,
        "mac": format_mac(system.mac),
        "ips": sorted(map(str, system.ips)),
        "allow_other_ethertypes": system.allow_other_ethertypes,
        "allow_unspecified_source": system.allow_unspecified_source,
        "allow_router": system.allow_router,
        "allow_dhcp_server": system.allow_dhcp_server,
    }


def _member(one: SharedMember) -> str:
    """In their order, which has a meaning: the first one has the addresses at first."""
    sources = "".join(f" and {ip}" for ip in one.sources)
    return f"{one.nve} port {one.port} VLAN {one.vlan} {format_mac(one.mac)}{sources}"


_FIELDS: Mapping[Kind, Callable[[Any], Fields]] = {
    Kind.DOMAIN: lambda domain: {"name": domain.name, "tunnel_keys": domain.tunnel_keys.value},
    Kind.LIFETIMES: _lifetimes,
    Kind.MAPPING_LIMITS: _mapping_limits,
    Kind.VN: _vn,
    Kind.NVE: _nve,
    Kind.UNDERLAY_PORT: lambda mac: {"mac": format_mac(mac)},
    Kind.ROUTE: _route,
    Kind.VAP: _vap,
    Kind.TUNNEL: lambda level: {"level": level.word},
    Kind.TENANT_SYSTEM: _tenant_system,
    Kind.RESERVATION: lambda nves: {"nves": sorted(nves)},
    Kind.SHARED_ADDRESS: lambda one: {
        "vn": one.vn,
        "mac": "" if one.mac is None else format_mac(one.mac),
        "ips": sorted(map(str, one.ips)),
        "members": [_member(member) for member in one.members],
    },
}


def _fields(kind: Kind, item: Any) -> Fields:
    return {} if item is None else _FIELDS[kind](item)
