# SPDX-License-Identifier: Apache-2.0
"""What the lab consists of: NVEs, tenants, hosts, and the wires between them. Pure data, no I/O.

The reference topology has what an overlay has to keep apart: two tenants with the same IPv4 addresses, hosts of one
tenant behind several NVEs, a port with two VAPs, a port with one tagged VAP, and an NVE (leaf3) that serves one of
the tenants only. The VN of blue, which every NVE serves, demands confidentiality. So the insider's keys are of that
level, leaf1 and leaf2 have keys of both, and red, in clear, shows that whoever looks for plaintext finds it.

leaf1 and leaf2 have underlay addresses of both families, and leaf3 has one of IPv4: so the tunnel of the first two is
over IPv6, in VNs of both levels, and those of leaf3 are over IPv4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

UNDERLAY_MTU = 1620
"""Largest IP packet of an underlay link, bytes: one of a tenant of 1500 bytes makes one of 1586, or of 1606 over IPv6
(docs/wire-format.md)."""
TENANT_MTU = 1500
UNDERLAY_PORT = 256
"""Underlay ports have numbers from 256 on: the parser of the NVE program cannot look a role up."""
TOKEN = b"nvo3lab-echo----"
"""Echoes of the lab carry this and a counter of their own, so that a second copy of one is told from the next."""
ECHO_SIZES = (56, 1000)
"""ICMP payloads of echoes, bytes: nothing else of the lab's has their length, which is all that ciphertext shows."""
ECHO_OVERHEAD = 42
"""From the payload of an echo to its frame: Ethernet, IPv4, ICMP."""
INTEGRITY, CONFIDENTIALITY = "integrity", "confidentiality"
"""Levels of VNs, in the words of the domain file."""


@dataclass(frozen=True)
class Host:
    """A tenant system.

    Attributes:
        vlan: tag under which the NVE sees it; None for untagged.
    """

    name: str
    tenant: str
    mac: str
    ip: str
    vlan: int | None = None


@dataclass(frozen=True)
class AccessPort:
    """A port of an NVE towards tenant systems; several of them, or a tagged one, sit behind a trunk."""

    number: int
    hosts: tuple[Host, ...]

    @property
    def is_trunk(self) -> bool:
        return any(host.vlan is not None for host in self.hosts)


@dataclass(frozen=True)
class Leaf:
    """An NVE.

    Attributes:
        address: its underlay address of IPv4.
        ipv6: that of IPv6, if it has one.
    """

    name: str
    device_id: int
    address: str
    mac: str
    ports: tuple[AccessPort, ...]
    underlay_port: int = UNDERLAY_PORT
    ipv6: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """In the underlay."""
        return (self.address,) if self.ipv6 is None else (self.address, self.ipv6)

    def ends_with(self, peer: Leaf) -> tuple[str, str]:
        """Where the tunnel to another one begins and ends: over IPv6 if both have it."""
        if self.ipv6 is None or peer.ipv6 is None:
            return self.address, peer.address
        return self.ipv6, peer.ipv6

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(host for port in self.ports for host in port.hosts)


@dataclass(frozen=True)
class Tenant:
    name: str
    vni: int
    level: str = INTEGRITY


@dataclass(frozen=True)
class Reservation:
    """Addresses of a tenant system that nobody has yet, and the one NVE where they may appear."""

    tenant: str
    mac: str
    ip: str
    leaf: str


@dataclass(frozen=True)
class Topology:
    tenants: tuple[Tenant, ...]
    leaves: tuple[Leaf, ...]
    prefix_length: int = 24
    reservations: tuple[Reservation, ...] = ()
    _by_name: dict[str, Host] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_name.update({host.name: host for leaf in self.leaves for host in leaf.hosts})
        if len(self._by_name) != sum(len(leaf.hosts) for leaf in self.leaves):
            raise ValueError("two hosts of one name")

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(self._by_name.values())

    def host(self, name: str) -> Host:
        return self._by_name[name]

    def leaf(self, name: str) -> Leaf:
        return next(leaf for leaf in self.leaves if leaf.name == name)

    def leaf_of(self, host: Host | str) -> Leaf:
        name = host if isinstance(host, str) else host.name
        return next(leaf for leaf in self.leaves if any(each.name == name for each in leaf.hosts))

    def tenant(self, name: str) -> Tenant:
        return next(tenant for tenant in self.tenants if tenant.name == name)

    def ends_of(self, leaf: Leaf) -> list[tuple[str, str]]:
        """From where to where packets of an NVE may go: its tunnels."""
        tenants = {host.tenant for host in leaf.hosts}
        others = (one for one in self.leaves if one.name != leaf.name)
        return [leaf.ends_with(one) for one in others if tenants & {host.tenant for host in one.hosts}]

    def members(self, tenant: str) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.tenant == tenant)

    def without(self, leaves: Iterable[str]) -> Topology:
        """What is left of it when some NVEs are out."""
        out = set(leaves)
        return Topology(
            self.tenants,
            tuple(leaf for leaf in self.leaves if leaf.name not in out),
            self.prefix_length,
            tuple(one for one in self.reservations if one.leaf not in out),
        )

    def pairs(self) -> Iterator[tuple[Host, Host]]:
        """Ordered pairs of different hosts of one tenant: those that must be able to talk."""
        for source in self.hosts:
            for destination in self.members(source.tenant):
                if source.name != destination.name:
                    yield source, destination


def reference() -> Topology:
    """The topology of `lab up`, `lab run` and the drill."""
    return Topology(
        tenants=(Tenant("red", 5001), Tenant("blue", 5002, CONFIDENTIALITY)),
        leaves=(
            Leaf(
                "leaf1",
                1,
                "192.0.2.1",
                "02:aa:00:00:00:01",
                (
                    AccessPort(1, (Host("red1", "red", "02:00:00:00:01:01", "10.0.0.1"),)),
                    AccessPort(2, (Host("blue1", "blue", "02:00:00:00:02:01", "10.0.0.1"),)),
                ),
                ipv6="2001:db8::1",
            ),
            Leaf(
                "leaf2",
                2,
                "192.0.2.2",
                "02:aa:00:00:00:02",
                (
                    AccessPort(1, (Host("red2", "red", "02:00:00:00:01:02", "10.0.0.2"),)),
                    AccessPort(
                        2,
                        (
                            Host("red3", "red", "02:00:00:00:01:03", "10.0.0.3", vlan=10),
                            Host("blue2", "blue", "02:00:00:00:02:02", "10.0.0.2", vlan=20),
                        ),
                    ),
                ),
                ipv6="2001:db8::2",
            ),
            Leaf(
                "leaf3",
                3,
                "192.0.2.3",
                "02:aa:00:00:00:03",
                (AccessPort(1, (Host("blue3", "blue", "02:00:00:00:02:03", "10.0.0.3", vlan=30),)),),
            ),
        ),
        reservations=(Reservation("blue", "02:00:00:00:02:09", "10.0.0.9", "leaf2"),),
    )
