# SPDX-License-Identifier: Apache-2.0
"""Whether what the tenants of each VN may send fits into its tunnels: as faults of a file, and tunnel by tunnel.

Both need the same of a file: which VN has to carry how much, and what is between it and the underlay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from itertools import combinations
from typing import TypeAlias

from nvo3sec.config.fault import Fault
from nvo3sec.config.schema import DomainFile, NveSection, VnSection
from nvo3sec.domain.overlay.addresses import tunnel_ends
from nvo3sec.domain.overlay.mtu import (
    IPV6_LEAST_MTU,
    Family,
    longest_frame,
    longest_packet,
    tunnel_mtu,
    underlay_mtu_for,
)

Serving: TypeAlias = Mapping[str, list[tuple[int, NveSection]]]
"""The NVEs that serve each VN, with their places in the file."""


def who_serves(parsed: DomainFile) -> Serving:
    """The NVEs that serve each VN."""
    found: dict[str, list[tuple[int, NveSection]]] = {}
    for index, nve in enumerate(parsed.nves):
        for vn in {vap.vn for vap in nve.vaps}:
            found.setdefault(vn, []).append((index, nve))
    return found


def ipv6_vns(parsed: DomainFile) -> frozenset[str]:
    """Names of the VNs that can have tenant systems with IPv6: all but those whose subnets are of IPv4 alone, and in
    which nothing else says otherwise."""
    stated = [(one.vn, ip) for one in parsed.tenant_systems for ip in one.ips]
    stated += [(one.vn, ip) for one in parsed.shared_addresses for ip in one.ips]
    stated += [(one.vn, one.address) for one in parsed.reservations if not isinstance(one.address, int)]
    named = {vn for vn, ip in stated if isinstance(ip, IPv6Address)}
    return frozenset(
        vn.name
        for vn in parsed.vns
        if vn.name in named or not vn.subnets or any(isinstance(subnet, IPv6Network) for subnet in vn.subnets)
    )


@dataclass(frozen=True)
class VnFit:
    """Whether a VN's packets fit into a tunnel. mtu: the VN's. why: what is wrong, or nothing."""

    vn: str
    mtu: int
    fits: bool
    why: str


@dataclass(frozen=True)
class TunnelFit:
    """What a tunnel between two NVEs carries, in both directions. Lengths in bytes.

    underlay_mtu: what the underlay carries at each of the two. overhead: from a tenant's IP packet to the underlay's.
    packet, frame: the largest of a tenant; frame without a tag.
    """

    between: tuple[str, str]
    underlay: str
    underlay_mtu: int
    overhead: int
    packet: int
    frame: int
    fits: bool
    vns: tuple[VnFit, ...]


def tunnel_fits(parsed: DomainFile) -> Iterator[TunnelFit]:
    """Every tunnel of a file that is right except for its MTUs, in the order of the file."""
    ipv6 = ipv6_vns(parsed)
    vns = [(vn, frozenset(nve.name for _, nve in members)) for vn, members in _carried(parsed)]
    for one, other in combinations(parsed.nves, 2):
        shared = [vn for vn, names in vns if {one.name, other.name} <= names]
        if not shared:
            continue
        if (ends := tunnel_ends(one.underlay.address, other.underlay.address)) is None:
            continue  # a fault of its own
        family = Family.of(ends[0])
        mtu = tunnel_mtu(one.underlay.mtu, other.underlay.mtu)
        packet = longest_packet(mtu, family)
        found = tuple(_vn_fit(vn, packet, is_ipv6=vn.name in ipv6) for vn in shared)
        yield TunnelFit(
            between=(one.name, other.name),
            underlay=family.word,
            underlay_mtu=mtu,
            overhead=family.packet_overhead,
            packet=packet,
            frame=longest_frame(mtu, family),
            fits=all(vn.fits for vn in found),
            vns=found,
        )


def _vn_fit(vn: VnSection, packet: int, *, is_ipv6: bool) -> VnFit:
    if is_ipv6 and vn.mtu < IPV6_LEAST_MTU:
        return VnFit(vn.name, vn.mtu, fits=False, why=f"IPv6 needs {IPV6_LEAST_MTU} in the VN")
    if vn.mtu > packet:
        return VnFit(vn.name, vn.mtu, fits=False, why=f"{vn.mtu - packet} too long")
    return VnFit(vn.name, vn.mtu, fits=True, why="")


def check_mtu(parsed: DomainFile) -> Iterator[Fault]:
    """Every MTU that is too small for what it has to carry."""
    ipv6 = ipv6_vns(parsed)
    numbers = {vn.name: index for index, vn in enumerate(parsed.vns)}
    for vn, members in _carried(parsed):
        is_ipv6 = vn.name in ipv6
        if is_ipv6 and vn.mtu < IPV6_LEAST_MTU:
            yield Fault(
                ("vns", numbers[vn.name], "mtu"),
                f"{vn.mtu} is too small for tenant systems with IPv6, which need {IPV6_LEAST_MTU} (RFC 8200); a VN"
                " whose subnets are of IPv4 alone may have less",
            )
        over_ipv6 = _over_ipv6(members)
        for index, nve in members:
            family = Family.IPV6 if nve.name in over_ipv6 else Family.IPV4
            need = underlay_mtu_for(vn.mtu, family)
            what = f"its MTU {vn.mtu}"
            if is_ipv6 and vn.mtu < IPV6_LEAST_MTU:
                need, what = underlay_mtu_for(IPV6_LEAST_MTU, family), f"{IPV6_LEAST_MTU} of tenant systems with IPv6"
            if nve.underlay.mtu < need:
                yield Fault(
                    ("nves", index, "underlay", "mtu"),
                    f"{nve.underlay.mtu} is too small for VN {vn.name}: {what} + {family.packet_overhead} bytes of"
                    f" protection need {need}",
                )


def _over_ipv6(members: list[tuple[int, NveSection]]) -> frozenset[str]:
    """Those of a VN's members that have a tunnel over IPv6 in it."""
    having = frozenset(
        nve.name for _, nve in members if any(Family.of(one) is Family.IPV6 for one in nve.underlay.address)
    )
    return having if len(having) > 1 else frozenset()


def _carried(parsed: DomainFile) -> Iterator[tuple[VnSection, list[tuple[int, NveSection]]]]:
    """The VNs that any tunnel carries, and who serves them. Of two VNs of one name, which is a fault, the first."""
    places, seen = who_serves(parsed), set[str]()
    for vn in parsed.vns:
        members = places.get(vn.name, [])
        if len(members) > 1 and vn.name not in seen:
            seen.add(vn.name)
            yield vn, members
