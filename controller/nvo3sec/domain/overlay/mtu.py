# SPDX-License-Identifier: Apache-2.0
"""What a tenant may send through a tunnel: computed here, and nowhere else.

An underlay carries IP packets of a certain size. In one of them is a frame of a tenant, protected, and in that the IP
packet of the tenant: what is between the two depends on the family of the outer addresses alone (docs/wire-format.md).
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from nvo3sec.domain.overlay.constants import ETHERNET_LENGTH, FRAME_LIMIT, IPV4_OVERHEAD, IPV6_OVERHEAD

LONGEST_FRAME_BYTES = FRAME_LIMIT - 1
"""Largest inner frame that the data plane takes, without a tag, bytes."""
LONGEST_PACKET_BYTES = LONGEST_FRAME_BYTES - ETHERNET_LENGTH
"""Largest IP packet of a tenant in it, bytes."""

IPV4_LEAST_MTU = 576
"""What every IPv4 host can take in one piece (RFC 791 3.2); no VN and no tunnel is made for less. Bytes."""
IPV6_LEAST_MTU = 1280
"""What every link of IPv6 has to carry in one piece (RFC 8200 5), bytes."""


class Family(IntEnum):
    """Of the outer addresses of a tunnel; the number is the version in their packets."""

    IPV4 = 4
    IPV6 = 6

    @classmethod
    def of(cls, address: IPv4Address | IPv6Address) -> Family:
        """The family of a tunnel whose ends have addresses like this one."""
        return cls(address.version)

    @property
    def frame_overhead(self) -> int:
        """From a tenant's frame to the packet of the underlay, bytes."""
        return {Family.IPV4: IPV4_OVERHEAD, Family.IPV6: IPV6_OVERHEAD}[self]

    @property
    def packet_overhead(self) -> int:
        """From a tenant's IP packet to the packet of the underlay, bytes."""
        return ETHERNET_LENGTH + self.frame_overhead

    @property
    def word(self) -> str:
        """As people write it."""
        return {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}[self]


def longest_frame(underlay_mtu: int, family: Family) -> int:
    """The longest frame of a tenant (without a tag, bytes) in a packet of `underlay_mtu` bytes; 0 if there is none.

    Never longer than the data plane takes.
    """
    return max(0, min(underlay_mtu - family.frame_overhead, LONGEST_FRAME_BYTES))


def longest_packet(underlay_mtu: int, family: Family) -> int:
    """The longest IP packet of a tenant (bytes) in a packet of `underlay_mtu` bytes; 0 if there is none."""
    return max(0, longest_frame(underlay_mtu, family) - ETHERNET_LENGTH)


def tunnel_mtu(own: int, peer: int) -> int:
    """The largest packet between two NVEs (bytes), by what the underlay carries at each of them; `peer` 0: not known.

    What lies between them may carry less: that is not known here, and `underlay.mtu` has to say it.
    """
    return min(own, peer) if peer else own


def underlay_mtu_for(packet: int, family: Family) -> int:
    """The least MTU of an underlay (bytes) that carries IP packets of a tenant of `packet` bytes."""
    return packet + family.packet_overhead
