# SPDX-License-Identifier: Apache-2.0
"""What each NVE is told about its domain: only what it serves."""

from __future__ import annotations

from nvo3sec.domain.membership import Membership
from nvo3sec.domain.messages import NveView, PeerView
from nvo3sec.domain.model import Domain


def view_of(domain: Domain, membership: Membership, name: str, version: int) -> NveView:
    """The view of NVE `name`: VNs, VAPs and tenant systems of its own, and the peers that it shares a VN with."""
    nve = domain.nve_by_name[name]
    peers = []
    for peer_name in membership.peers_of(name):
        route = nve.route_to(peer_name)
        peers.append(
            PeerView(
                name=peer_name,
                address=domain.nve_by_name[peer_name].address,
                port=route.port,
                mac=route.mac,
                next_hop_mac=route.next_hop_mac,
                meter=route.meter,
                vnis=tuple(
                    (vn.vni, membership.level_between(name, peer_name, vn)) for vn in membership.shared(name, peer_name)
                ),
            )
        )
    vns = membership.vns_of(name)
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
        tenant_systems=tuple(s for s in domain.tenant_systems if s.nve == name and s.vn in served),
        lease_s=domain.lifetimes.lease_s,
        lease_renew_s=domain.lifetimes.lease_renew_s,
    )
