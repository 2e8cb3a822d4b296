# SPDX-License-Identifier: Apache-2.0
"""Frames that a kernel left unfinished, as no wire has them.

A sender with checksum offload leaves the TCP, UDP or SCTP checksum to its network card, and with segmentation offload
the cutting into frames of the MTU. A veth or tap device is no card: such frames arrive here as the sender left them.
Only the kernel knows which ones they are (PACKET_VNET_HDR of packet(7)); ARP and ICMP never are.

Checksums are completed where a frame is received, and counted. Frames of several segments are not cut: they are
dropped, and counted.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger(__name__)

WHAT = {  # not of checksums that were completed: there is nothing to be done
    "checksum_unfinished": (
        "a checksum that cannot be completed",
        "it is dropped. Whoever sends it to the kernel, such as a virtual machine, says that the checksum is outside of"
        " the frame",
    ),
    "segments_unfinished": (
        "several segments in one",
        "it is dropped. The sender's segmentation offload or this interface's receive merging is on: turn them off with"
        " `ethtool -K DEV tso off gso off` there and `ethtool -K DEV gro off lro off` here",
    ),
    "beyond_mtu": (
        "more bytes than the interface's MTU allows",
        "the MTU of the other end is larger: set both ends to the same",
    ),
}
"""By the count of a port: what such frames have, and what comes of it. p4softswitch.losses says it in the log."""
