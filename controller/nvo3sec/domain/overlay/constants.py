# SPDX-License-Identifier: Apache-2.0
"""Numbers of the NVE program. Generated from its manifest by `python -m nvo3sec.program.generate`; do not edit."""

from __future__ import annotations

PORT_UNDERLAY_BIT = 256
"""Ports from this number on are of the underlay; below, they are access ports."""
PORT_CPU = 510
"""The agent's port."""
PORT_DROP = 511
"""Where dropped packets go; the highest port number."""
INTERFACE_TUNNEL = 32768
"""Top bit of an overlay interface that is a tunnel; without it, a VAP."""
INTERFACE_AGENT = 65535
"""Overlay interface of the copy that goes to the agent."""
IP_KIND_NONE = 0
"""What the source guard sees in a frame that is none of the following."""
IP_KIND_IPV4 = 1
IP_KIND_IPV6 = 2
IP_KIND_ARP = 3
SERVICE_ANNOUNCER = 1
"""What a source may be besides a host, as the source guard says it."""
SERVICE_ROUTER = 2
SERVICE_DHCP_SERVER = 4
SUITE_CHASKEY12 = 1
"""Number of the cipher suite on the wire (docs/wire-format.md)."""
ETHERNET_LENGTH = 14
"""Ethernet header, bytes."""
IPV4_OVERHEAD = 72
"""From the inner frame to the outer IPv4 packet, bytes."""
IPV6_OVERHEAD = 92
"""From the inner frame to the outer IPv6 packet, bytes."""
FRAME_LIMIT = 1568
"""First length of an inner frame that is too long, bytes."""
PEER_COUNT = 32768
"""Peer numbers are below it."""
ADJACENCY_SIZE = 4096
"""Next hops that the program promises room for."""
UNDERLAY_BUCKETS = 64
"""Flows are spread over so many; each has a way of its own."""
