# SPDX-License-Identifier: Apache-2.0
"""What of a view fits together. One VAP, peer or tenant system that does not is left out, and the others are served."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from nvo3sec.domain.messages.session import NveView, PeerView
from nvo3sec.domain.overlay.addresses import tunnel_ends
from nvo3sec.domain.overlay.model import TenantSystem

T = TypeVar("T")


def consistent(view: NveView) -> tuple[NveView, tuple[str, ...]]:
    """`view` without what refers to something that is not in it, or is in it twice; and what was left out, by name.

    To leave something out opens nothing: what is not in a view is not let through.
    """
    left_out: list[str] = []

    def kept(
        kind: str, items: Iterable[T], fits: Callable[[T], bool], *names: Callable[[T], Hashable]
    ) -> tuple[T, ...]:
        seen: set[tuple[int, Hashable]] = set()
        good: list[T] = []
        for item in items:
            own = {(number, name(item)) for number, name in enumerate(names)}
            if own & seen or not fits(item):
                left_out.append(f"{kind} {names[0](item)}")
                continue
            seen |= own
            good.append(item)
        return tuple(good)

    vns = kept("VN", view.vns, lambda _: True, lambda vn: vn.name, lambda vn: vn.vni)
    names, vnis = {vn.name for vn in vns}, {vn.vni for vn in vns}
    vaps = kept("VAP", view.vaps, lambda vap: vap.vn in names, lambda vap: vap.place)
    vn_of = {vap.place: vap.vn for vap in vaps}

    def shares(peer: PeerView) -> bool:
        # Both ends know by themselves between which of their addresses the tunnel is.
        if tunnel_ends(view.addresses, peer.addresses) != (view.towards(peer.address), peer.address):
            return False
        return not {*view.addresses} & {*peer.addresses} and all(vni in vnis for vni, _ in peer.vnis)

    def is_at_a_vap(system: TenantSystem) -> bool:
        return vn_of.get((system.port, system.vlan)) == system.vn

    peers = kept("peer", view.peers, shares, lambda peer: peer.name, lambda peer: peer.address)
    systems = kept("tenant system", view.tenant_systems, is_at_a_vap, lambda one: (one.vn, one.mac))
    guards = kept("guard", view.guards, lambda one: one.place in vn_of, lambda one: (one.place, one.mac))
    # One VAP and MAC address may be in several sets.
    shared = kept("shared address", view.claim_places, lambda one: one.place in vn_of, lambda one: one)
    fitting = replace(view, vns=vns, vaps=vaps, peers=peers, tenant_systems=systems, guards=guards, claim_places=shared)
    return fitting, tuple(left_out)
