# SPDX-License-Identifier: Apache-2.0
"""Where each wire of a topology ends, for both ways of making wires. Pure: it plans, others make.

A wire has two ends. With namespaces they are interfaces; without, UNIX datagram sockets. Every end is described by what
nvo3lab.wires.wire.open_port takes, and a switch's end also by the argument of its `-i`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvo3lab.topology import TENANT_MTU, UNDERLAY_MTU, AccessPort, Host, Leaf, Topology

UNDERLAY = "underlay"
_VLAN_TAG = 4


def trunk_name(leaf: Leaf, port: AccessPort) -> str:
    return f"trunk-{leaf.name}-{port.number}"


@dataclass
class Plan:
    """All ends of all wires.

    Attributes:
        switch_ports: of each leaf, the arguments of `-i`.
        hosts: of each host, its end.
        fabric: of each leaf, the fabric's end of its underlay link.
        trunks: of each trunk, its end towards the NVE and, by VLAN, its ends towards hosts.
        namespaces, links: what nvo3lab.wires.plumbing makes; empty without namespaces.
    """

    switch_ports: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    fabric: dict[str, dict[str, str]] = field(default_factory=dict)
    trunks: dict[str, dict[str, Any]] = field(default_factory=dict)
    namespaces: list[str] = field(default_factory=list)
    links: list[list[dict[str, Any]]] = field(default_factory=list)


def plan_kernel(topology: Topology) -> Plan:
    """veth pairs. Each switch, each host, each trunk and the fabric has a namespace of its own, named as itself."""
    plan = Plan(namespaces=[UNDERLAY])
    serial = iter(range(1, 1 << 16))

    def end(namespace: str, interface: str, mtu: int, mac: str | None = None, **more: Any) -> dict[str, Any]:
        number = next(serial)
        mac = mac or f"02:fe:00:00:{number >> 8:02x}:{number & 0xFF:02x}"
        return {"namespace": namespace, "interface": interface, "mtu": mtu, "mac": mac, **more}

    def host_end(host: Host) -> dict[str, Any]:
        plan.namespaces.append(host.name)
        plan.hosts[host.name] = {"interface": "eth0"}
        return end(host.name, "eth0", TENANT_MTU, host.mac, ip=host.ip, prefix_length=topology.prefix_length)

    for leaf in topology.leaves:
        plan.namespaces.append(leaf.name)
        plan.switch_ports[leaf.name] = [f"{leaf.underlay_port}@underlay0"]
        plan.fabric[leaf.name] = {"interface": leaf.name}
        plan.links.append([end(leaf.name, "underlay0", UNDERLAY_MTU, leaf.mac), end(UNDERLAY, leaf.name, UNDERLAY_MTU)])
        for port in leaf.ports:
            interface = f"access{port.number}"
            plan.switch_ports[leaf.name].append(f"{port.number}@{interface}")
            if not port.is_trunk:
                plan.links.append([end(leaf.name, interface, TENANT_MTU), host_end(port.hosts[0])])
                continue
            name = trunk_name(leaf, port)
            plan.namespaces.append(name)
            plan.links.append(
                [end(leaf.name, interface, TENANT_MTU + _VLAN_TAG), end(name, "uplink", TENANT_MTU + _VLAN_TAG)]
            )
            members = {}
            for host in port.hosts:
                plan.links.append([end(name, host.name, TENANT_MTU), host_end(host)])
                members[str(host.vlan)] = {"interface": host.name}
            plan.trunks[name] = {"wire": {"interface": "uplink"}, "members": members}
    return plan


def plan_unix(topology: Topology, path: Callable[[str], Path]) -> Plan:
    """UNIX datagram sockets; `path` gives the place of a socket by its name."""
    plan = Plan()

    def ends(name: str) -> tuple[dict[str, str], dict[str, str]]:
        near, far = str(path(f"{name}.a")), str(path(f"{name}.b"))
        return {"local": near, "peer": far}, {"local": far, "peer": near}

    def attach(leaf: Leaf, number: int, wire: dict[str, str]) -> None:
        plan.switch_ports.setdefault(leaf.name, []).append(f"{number}@unix:{wire['local']},{wire['peer']}")

    for leaf in topology.leaves:
        switch_end, plan.fabric[leaf.name] = ends(f"{leaf.name}-{leaf.underlay_port}")
        attach(leaf, leaf.underlay_port, switch_end)
        for port in leaf.ports:
            switch_end, far_end = ends(f"{leaf.name}-{port.number}")
            attach(leaf, port.number, switch_end)
            if not port.is_trunk:
                plan.hosts[port.hosts[0].name] = far_end
                continue
            members = {}
            for host in port.hosts:
                members[str(host.vlan)], plan.hosts[host.name] = ends(host.name)
            plan.trunks[trunk_name(leaf, port)] = {"wire": far_end, "members": members}
    return plan
