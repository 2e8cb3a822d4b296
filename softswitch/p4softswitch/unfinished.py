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
import threading
from collections.abc import Mapping

from p4softswitch.runtime.names import PORT_STATISTICS

_LOG = logging.getLogger(__name__)

_WHAT = {  # not of checksums that were completed: there is nothing to be done
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


class UnfinishedFrames:
    """Says in the log which ports such frames come to: of the first at once, of others together, with their number.

    Thread-safe: ports are opened and closed by one thread, and their frames told of by another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._told: dict[int, dict[str, int]] = {}

    def opened(self, port: int, name: str) -> None:
        """A port is about to be opened, and its statistics are zero."""
        with self._lock:
            self._names[port] = name
            self._told[port] = dict.fromkeys(PORT_STATISTICS, 0)

    def tell(self, port: int, counts: Mapping[str, int]) -> None:
        """The statistics of a port as they are now. What is new in them goes to the log."""
        with self._lock:
            self._tell(port, counts)

    def closed(self, port: int, counts: Mapping[str, int]) -> None:
        """The last statistics of a port that is about to be closed."""
        with self._lock:
            self._tell(port, counts)
            self._told.pop(port, None)

    def _tell(self, port: int, counts: Mapping[str, int]) -> None:
        told = self._told.get(port)
        if told is None:
            return  # it was closed meanwhile, and had its last word
        for name, count in counts.items():
            if name not in _WHAT or count <= told[name]:
                continue
            what, consequence = _WHAT[name]
            where = f"port {port} ({self._names[port]})"
            if not told[name]:
                _LOG.warning("%s: %s with %s (%s): %s", where, _frames(count), what, name, consequence)
            else:
                _LOG.warning("%s: %d more with %s (%s), %d in all", where, count - told[name], what, name, count)
            told[name] = count


def _frames(count: int) -> str:
    return "a frame" if count == 1 else f"{count} frames"
