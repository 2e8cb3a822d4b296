# SPDX-License-Identifier: Apache-2.0
"""From the file's sections to the domain model: defaults are filled in here, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from nvo3sec.config.schema import (
    DomainFile,
    LifetimesSection,
    NveSection,
    RateSection,
    ReservationSection,
    SharedAddressSection,
    SharedMemberSection,
    TunnelSection,
    hard_limit,
)
from nvo3sec.domain.overlay.dscp import DscpModel, OuterDscp
from nvo3sec.domain.overlay.model import (
    Domain,
    Level,
    Lifetimes,
    MappingLimits,
    Nve,
    Rate,
    Reservation,
    Route,
    SharedAddress,
    SharedMember,
    TenantSystem,
    TunnelKeys,
    TunnelLevel,
    Vap,
    Vn,
)

_LEVELS = {level.word: level for level in Level}

RENEW_AT_LEAST_S = 30.0
"""How often a lease is renewed, however long it is: what is left when the NVA goes away is the time for an upgrade."""


def port_towards(nve: NveSection, peer: str) -> tuple[int, int]:
    """(port, own MAC address) of `nve` towards `peer`."""
    section = nve.underlay.route_by_peer.get(peer)
    if section is None:
        return nve.underlay.port, nve.underlay.mac
    port = nve.underlay.port if section.port is None else section.port
    mac = nve.underlay.mac if section.mac is None else section.mac
    return port, mac


def underlay_macs(parsed: DomainFile) -> frozenset[int]:
    """The MAC addresses that are on the underlay: of NVEs' ports, and of whom they send to."""
    routes = [route for nve in parsed.nves for route in nve.underlay.routes]
    said = {mac for route in routes for mac in (route.mac, route.next_hop_mac) if mac is not None}
    return frozenset(said | {nve.underlay.mac for nve in parsed.nves})


def to_domain(parsed: DomainFile, directory: Path) -> Domain:
    """The domain that a checked file describes. Relative socket paths start at `directory`."""
    vns = tuple(
        Vn(
            name=vn.name,
            vni=vn.vni,
            level=_LEVELS[vn.level],
            mtu=vn.mtu,
            punt=_rate(vn.punt),
            negative_quota=vn.negative_quota,
            subnets=tuple(sorted(vn.subnets, key=str)),
            allow_link_local=vn.allow_link_local,
            allow_unspecified_source=vn.allow_unspecified_source,
            flood=_rate(vn.flood),
            vap_flood=_rate(vn.vap_flood),
        )
        for vn in parsed.vns
    )
    tenant_systems = tuple(
        TenantSystem(
            name=system.name,
            vn=system.vn,
            nve=system.nve,
            port=system.port,
            vlan=system.vlan,
            mac=system.mac,
            ips=system.ips,
            allow_other_ethertypes=system.allow_other_ethertypes,
            allow_unspecified_source=system.allow_unspecified_source,
            allow_router=system.allow_router,
            allow_dhcp_server=system.allow_dhcp_server,
        )
        for system in parsed.tenant_systems
    )
    return Domain(
        name=parsed.domain,
        lifetimes=_lifetimes(parsed.lifetimes),
        vns=vns,
        nves=tuple(_nve(nve, parsed, directory) for nve in parsed.nves),
        tenant_systems=tenant_systems,
        tunnel_keys=TunnelKeys(parsed.tunnel_keys),
        tunnels=tuple(_tunnel(tunnel) for tunnel in parsed.tunnels),
        reservations=tuple(_reservation(one) for one in parsed.reservations),
        mapping_limits=_mapping_limits(parsed),
        shared_addresses=tuple(_shared_address(one) for one in parsed.shared_addresses),
        underlay_macs=underlay_macs(parsed),
    )


def member_mac(one: SharedAddressSection, member: SharedMemberSection) -> int:
    """The MAC address that has shared addresses at a member."""
    mac = one.mac if member.mac is None else member.mac
    assert mac is not None
    return mac


def _shared_address(one: SharedAddressSection) -> SharedAddress:
    members = (
        SharedMember(member.nve, member.port, member.vlan, member_mac(one, member), member.sources)
        for member in one.members
    )
    return SharedAddress(one.name, one.vn, one.mac, one.ips, tuple(members))


def _tunnel(section: TunnelSection) -> TunnelLevel:
    one, other = sorted(section.between)
    return TunnelLevel((one, other), _LEVELS[section.level])


def _reservation(section: ReservationSection) -> Reservation:
    return Reservation(section.vn, section.address, frozenset(section.nves))


def _mapping_limits(parsed: DomainFile) -> MappingLimits:
    limits = parsed.mapping_limits
    return MappingLimits(
        claims_per_vap=limits.claims_per_vap,
        claims_per_nve=limits.claims_per_nve,
        ips_per_claim=limits.ips_per_claim,
        holds_per_nve=limits.holds_per_nve,
        waiting_per_address=limits.waiting_per_address,
        handover_s=limits.handover_s,
        return_s=limits.return_s,
        thaw_s=limits.thaw_s,
        lease_s=parsed.lifetimes.lease_s,
    )


def _rate(section: RateSection) -> Rate:
    return Rate(section.rate, section.burst)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _lifetimes(section: LifetimesSection) -> Lifetimes:
    return Lifetimes(
        lease_s=section.lease_s,
        lease_renew_s=_or(section.lease_renew_s, min(section.lease_s / 3, RENEW_AT_LEAST_S)),
        key_soft_s=section.key_soft_s,
        key_hard_s=_or(section.key_hard_s, section.key_soft_s * 1.1 + section.grace_s),
        key_jitter_s=_or(section.key_jitter_s, section.key_soft_s / 10),
        grace_s=section.grace_s,
        confirm_s=section.confirm_s,
        key_soft_packets=section.key_soft_packets,
        key_soft_bytes=section.key_soft_bytes,
        key_hard_packets=hard_limit(section.key_soft_packets, section.key_hard_packets),
        key_hard_bytes=hard_limit(section.key_soft_bytes, section.key_hard_bytes),
        rollout_s=section.rollout_s,
        rotations_at_once=section.rotations_at_once,
    )


def _nve(nve: NveSection, parsed: DomainFile, directory: Path) -> Nve:
    routes = []
    ports = {nve.underlay.port: nve.underlay.mac}
    peer_meter = _rate(nve.underlay.peer_meter)
    for peer in parsed.nves:
        if peer.name == nve.name:
            continue
        section = nve.underlay.route_by_peer.get(peer.name)
        back = port_towards(peer, nve.name)[1]
        if section is None:
            routes.append(Route(peer.name, nve.underlay.port, nve.underlay.mac, back, peer_meter))
            continue
        port, mac = port_towards(nve, peer.name)
        ports[port] = mac
        routes.append(
            Route(
                peer=peer.name,
                port=port,
                mac=mac,
                next_hop_mac=back if section.next_hop_mac is None else section.next_hop_mac,
                meter=peer_meter if section.meter is None else _rate(section.meter),
            )
        )
    path = directory / nve.p4runtime.removeprefix("unix:")
    return Nve(
        name=nve.name,
        device_id=nve.device_id,
        p4runtime=f"unix:{path}",
        address=nve.underlay.address[0],
        mtu=nve.underlay.mtu,
        underlay_ports=tuple(sorted(ports.items())),
        routes=tuple(routes),
        vaps=tuple(Vap(vap.port, vap.vlan, vap.vn, _rate(vap.meter)) for vap in nve.vaps),
        verify_rate=nve.underlay.verify_rate,
        other_address=nve.underlay.address[1] if len(nve.underlay.address) > 1 else None,
        zero_checksum=nve.underlay.zero_checksum,
        dscp=OuterDscp(DscpModel(nve.underlay.dscp.model), nve.underlay.dscp.value),
    )
