# SPDX-License-Identifier: Apache-2.0
"""The domain file that the controller is started with, made from a topology."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nvo3lab.topology import TENANT_MTU, UNDERLAY_MTU, AccessPort, Leaf, Topology

PUNT = {"rate": 20, "burst": 20}
"""What a VAP may punt, packets a second and at once: enough for every host of the lab to be looked up, and a bound that
the drill's flood exceeds."""
VAP_FLOOD = {"rate": 60, "burst": 60}
FLOOD = {"rate": 900, "burst": 900}
"""Copies of frames to groups, of each VAP and of each VN in each direction, a second and at once. Where a frame costs
three, the first are 20 frames: more than hosts send that come up, and less than the drill's flood on the slowest
machine. The VN has room for every VAP at its limit."""
PEER_METER = {"leaf3": {"rate": 20, "burst": 20}}
"""What may come from each peer and not verify, of the one NVE where the drill forges more: nobody's share anywhere else
changes by that."""

LIFETIMES = {"lease_s": 20, "lease_renew_s": 3, "grace_s": 1}
"""Seconds. A lease is short, so that a drill can wait for its end, and long beside what an NVA that was killed takes to
come back on a busy machine. A short grace for old keys, so that several rotations fit into a drill."""


def domain(topology: Topology, sockets: dict[str, Path], meter: dict[str, int] | None = None) -> dict[str, Any]:
    """The domain as plain data.

    Args:
        sockets: of each leaf, the P4Runtime socket of its switch.
        meter: rate and burst of every VAP and every peer; the controller's defaults unless told, and `PEER_METER`.
    """
    vap_limit = {} if meter is None else {"meter": meter}
    peer_limits = PEER_METER if meter is None else {leaf.name: meter for leaf in topology.leaves}
    return {
        "domain": "lab.example",
        "lifetimes": LIFETIMES,
        "vns": [
            {
                "name": tenant.name,
                "vni": tenant.vni,
                "level": tenant.level,
                "mtu": TENANT_MTU,
                "punt": PUNT,
                "flood": FLOOD,
                "vap_flood": VAP_FLOOD,
            }
            for tenant in topology.tenants
        ],
        "nves": [_nve(leaf, sockets[leaf.name], vap_limit, peer_limits.get(leaf.name)) for leaf in topology.leaves],
        "tenant_systems": [
            {
                "name": host.name,
                "vn": host.tenant,
                "nve": leaf.name,
                "port": port.number,
                "vlan": host.vlan or 0,
                "mac": host.mac,
                "ips": [host.ip],
            }
            for leaf in topology.leaves
            for port in leaf.ports
            for host in port.hosts
        ],
        "reservations": [
            {"vn": one.tenant, **address, "nves": [one.leaf]}
            for one in topology.reservations
            for address in ({"mac": one.mac}, {"ip": one.ip})
        ],
    }


def watched(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What observers of the underlay are told of the VNs of a domain (`wires/observer.py`, WatchedVn.of_members)."""
    systems = document["tenant_systems"]
    return [
        {
            "name": vn["name"],
            "vni": vn["vni"],
            "level": vn["level"],
            "members": [(one["mac"], ip) for one in systems if one["vn"] == vn["name"] for ip in one["ips"]],
        }
        for vn in document["vns"]
    ]


class _WrittenOut(yaml.SafeDumper):  # type: ignore[misc]  # has no types
    """Without the aliases by which YAML says the same thing twice: a domain file takes none."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(topology: Topology, sockets: dict[str, Path], path: Path, meter: dict[str, int] | None = None) -> None:
    """Write the domain file, readable by its owner only."""
    path.touch(mode=0o600)
    path.write_text(yaml.dump(domain(topology, sockets, meter), Dumper=_WrittenOut, sort_keys=False), encoding="utf-8")


def _nve(leaf: Leaf, socket: Path, vap_limit: dict[str, Any], peer_meter: dict[str, int] | None) -> dict[str, Any]:
    return {
        "name": leaf.name,
        "device_id": leaf.device_id,
        # A domain file takes one spelling of a path; whoever names the lab's directory may use any.
        "p4runtime": f"unix:{socket.resolve() if '..' in socket.parts else socket}",
        "underlay": {
            "address": leaf.address if leaf.ipv6 is None else [leaf.address, leaf.ipv6],
            "port": leaf.underlay_port,
            "mac": leaf.mac,
            "mtu": UNDERLAY_MTU,
            **({} if peer_meter is None else {"peer_meter": peer_meter}),
        },
        "vaps": [vap | vap_limit for port in leaf.ports for vap in _vaps(port)],
    }


def _vaps(port: AccessPort) -> list[dict[str, Any]]:
    seen: dict[int, str] = {}
    for host in port.hosts:
        seen.setdefault(host.vlan or 0, host.tenant)
    return [{"port": port.number, "vlan": vlan, "vn": vn} for vlan, vn in seen.items()]
