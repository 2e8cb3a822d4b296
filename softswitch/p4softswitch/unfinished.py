# SPDX-License-Identifier: Apache-2.0
"""Frames that a kernel left unfinished, as no wire has them.

A sender with checksum offload leaves the TCP, UDP or SCTP checksum to its network card, and with segmentation offload
the cutting into frames of the MTU. A veth or tap device is no card: such frames arrive here as the sender left them.
Only the kernel knows which ones they are (PACKET_AUXDATA of packet(7)); ARP and ICMP never are.

They are forwarded as they came, and counted. The checksum is between two tenant systems: the receiver looks at it and
drops the packet, unless it does not look. A switch that dropped it would take it only from those who do not.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger(__name__)

WHAT = {
    "checksum_unfinished": (
        "an unfinished checksum",
        "whoever receives such a packet drops it, so TCP between tenants does not come to stand. The sender's checksum"
        " offload is on: turn it off there with `ethtool -K DEV tx off`",
    ),
    "beyond_mtu": (
        "more bytes than the interface's MTU allows",
        "no wire carries such a frame whole. The sender's segmentation offload or this interface's receive merging is"
        " on: turn them off with `ethtool -K DEV tso off gso off` there and `ethtool -K DEV gro off lro off` here",
    ),
}
"""By the count of a port: what such frames have, and what comes of it. p4softswitch.losses says it in the log."""
