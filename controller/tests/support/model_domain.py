# SPDX-License-Identifier: Apache-2.0
"""The domain of the model: short lives, two VNs, and NVEs that may change their membership and their address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from nvo3sec.domain.overlay.level_changes import Subject
from nvo3sec.domain.overlay.model import Domain, Level, Lifetimes, MappingLimits, Nve, Rate, Route, TunnelLevel, Vap, Vn

RATE = Rate(1000, 1000)
LIFE = Lifetimes(
    lease_s=30,
    lease_renew_s=10,
    key_soft_s=120,
    key_hard_s=180,
    key_jitter_s=10,
    grace_s=5,
    confirm_s=10,
    key_soft_packets=1000,
    key_soft_bytes=1_000_000,
    key_hard_packets=4000,
    key_hard_bytes=4_000_000,
    rollout_s=15,
    rotations_at_once=4,
)
VNS = (("blue", 1), ("red", 2))


def address_of(name: str, *, other: bool = False) -> IPv4Address:
    """The two outer addresses that an NVE can have."""
    return IPv4Address((0x0A010001 if other else 0x0A000001) + int(name[4:]))


def make_domain(
    names: Iterable[str],
    absent: Iterable[tuple[str, str]] = (),
    readdressed: Iterable[str] = (),
    levels: Mapping[Subject, Level] | None = None,
) -> Domain:
    """NVEs that all serve all VNs, but for (NVE, VN) in `absent`; `readdressed` have their other address. levels: of
    VNs and pairs, where they are not the lowest."""
    names, absent, readdressed, levels = tuple(names), set(absent), set(readdressed), levels or {}

    def nve(name: str) -> Nve:
        number = int(name[4:])
        routes = tuple(Route(peer, 256, 1 + number, 1 + int(peer[4:]), RATE) for peer in names if peer != name)
        vaps = tuple(Vap(1, vni, vn, RATE) for vn, vni in VNS if (name, vn) not in absent)
        address = address_of(name, other=name in readdressed)
        return Nve(name, number + 1, f"unix:{name}", address, 1500, ((256, 1 + number),), routes, vaps)

    vns = tuple(Vn(vn, vni, levels.get((vn,), Level.INTEGRITY), 1400, RATE, 16) for vn, vni in VNS)
    limits = MappingLimits(lease_s=LIFE.lease_s)
    pairs = (TunnelLevel((one, other), level) for (one, *rest), level in levels.items() for other in rest)
    return Domain("model", LIFE, vns, tuple(map(nve, names)), (), tunnels=tuple(pairs), mapping_limits=limits)
