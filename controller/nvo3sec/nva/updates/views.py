# SPDX-License-Identifier: Apache-2.0
"""What each NVE is told about its domain: only what it serves."""

from __future__ import annotations

from dataclasses import replace

from nvo3sec.domain.mapping import Claim, MappingState, member_key
from nvo3sec.domain.messages.session import ClaimPlace, Guard, NveView, PeerView, TenantState
from nvo3sec.domain.overlay.addresses import format_mac
from nvo3sec.domain.overlay.membership import Membership
from nvo3sec.domain.overlay.model import Domain, TenantSystem


def tenants_of(domain: Domain, state: MappingState, name: str) -> tuple[TenantSystem, ...]:
    """The tenant systems behind NVE `name` that have their addresses; one that is frozen has none and is not there."""
    stated = {(one.port, one.vlan, one.mac): one for one in domain.tenant_systems_of(name)}

    def tenant(claim: Claim) -> TenantSystem:
        place, mac = claim.key
        # An announcement cannot ask for more than its addresses: what loosens the source guard is the operator's.
        known = stated.get((place.port, place.vlan, mac)) if claim.static else None
        vn = domain.vn_by_number[claim.vni]
        return TenantSystem(
            name=known.name if known else format_mac(mac).replace(":", "-"),
            vn=vn.name,
            nve=name,
            port=place.port,
            vlan=place.vlan,
            mac=mac,
            ips=claim.granted or (),
            allow_other_ethertypes=known.allow_other_ethertypes if known else False,
            allow_unspecified_source=(known or vn).allow_unspecified_source,
            allow_router=known.allow_router if known else False,
            allow_dhcp_server=known.allow_dhcp_server if known else False,
        )

    return tuple(tenant(claim) for claim in state.behind(name) if claim.granted is not None)


def guards_of(domain: Domain, state: MappingState, name: str) -> tuple[Guard, ...]:
    """What may come from VAPs of NVE `name` beside what stands there: shared addresses that another one has now."""
    sources = {
        member_key(member): member.sources
        for one in domain.shared_addresses
        for member in one.members
        if member.nve == name
    }
    found = []
    for claim in state.behind(name):
        if claim.key in sources and claim.static:
            place, mac = claim.key
            missing = [ip for ip in claim.announced if ip not in (claim.granted or ())]
            ips = (*missing, *sources[claim.key])
            if ips:
                found.append(Guard(place.port, place.vlan, mac, ips))
    return tuple(found)


def claim_places_of(domain: Domain, name: str) -> tuple[ClaimPlace, ...]:
    """Where behind NVE `name` shared addresses can be."""
    return tuple(
        ClaimPlace(member.port, member.vlan, member.mac, one.ips)
        for one in domain.shared_addresses
        for member in one.members
        if member.nve == name
    )


def tenant_state(domain: Domain, state: MappingState, name: str, version: int) -> TenantState:
    """What stands behind NVE `name`, and what else may come from its VAPs."""
    return TenantState(version, tenants_of(domain, state, name), guards_of(domain, state, name))


def view_of(domain: Domain, membership: Membership, state: MappingState, name: str, version: int) -> NveView:
    """The view of NVE `name`: VNs, VAPs and tenant systems of its own, and the peers that it shares a VN with."""
    nve = domain.nve_by_name[name]
    peers = []
    peer_names = membership.peers_of(name)
    routes = nve.routes_to(peer_names)
    for peer_name in peer_names:
        route = routes[peer_name]
        peer = domain.nve_by_name[peer_name]
        if (ends := nve.ends_with(peer)) is None:
            continue  # no domain file says so
        peers.append(
            PeerView(
                name=peer_name,
                address=ends[1],
                port=route.port,
                mac=route.mac,
                next_hop_mac=route.next_hop_mac,
                meter=route.meter,
                vnis=tuple(
                    (vn.vni, membership.demanded_between(name, peer_name, vn))
                    for vn in membership.shared(name, peer_name)
                ),
                sends=membership.sent_between(name, peer_name),
                mtu=peer.mtu,
                other_address=next((one for one in peer.addresses if one != ends[1]), None),
                zero_checksum=peer.zero_checksum,
            )
        )
    # Which subnets there are is for the NVA to know, which decides who has what, and may what.
    vns = tuple(
        replace(vn, level=membership.sent_in(vn), subnets=(), allow_unspecified_source=False)
        for vn in membership.vns_of(name)
    )
    served = {vn.name for vn in vns}
    return NveView(
        version=version,
        name=name,
        address=nve.address,
        mtu=nve.mtu,
        underlay_ports=nve.underlay_ports,
        vns=vns,
        vaps=tuple(vap for vap in nve.vaps if vap.vn in served),
        peers=tuple(peers),
        tenant_systems=tenants_of(domain, state, name),
        lease_s=domain.lifetimes.lease_s,
        lease_renew_s=domain.lifetimes.lease_renew_s,
        tunnel_keys=domain.tunnel_keys,
        guards=guards_of(domain, state, name),
        claim_places=claim_places_of(domain, name),
        verify_rate=nve.verify_rate,
        other_address=nve.other_address,
        dscp=nve.dscp,
    )
