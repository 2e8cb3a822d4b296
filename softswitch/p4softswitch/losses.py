# SPDX-License-Identifier: Apache-2.0
"""Frames that ports lose, by cause, and how the log tells of them.

Every frame that a port does not receive, send or capture is in one of its counts (`runtime/host.h`). The log names each
cause of a port when it comes up first, and from then on how many there were, once a minute and when the port is closed.
Frames that came unfinished are told in the same way; see `unfinished`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from p4softswitch import unfinished
from p4softswitch.runtime.names import PORT_STATISTICS

_LOG = logging.getLogger(__name__)

_LOST = {
    "receive_overrun": (
        "lost before the switch read it, because the interface's receive queue was full",
        "more comes than the switch can take, or it does not get the processor that it needs",
    ),
    "receive_oversize": (
        "lost on arrival, because it is longer than the switch takes",
        "receive merging may make such frames: `ethtool -K DEV gro off lro off`",
    ),
    "receive_failed": ("lost on arrival, because reading it failed", "the system gave an error"),
    "send_down": (
        "lost because the port was without its interface or socket, or the link was down",
        "see the state of the port (`p4softswitch ports list`)",
    ),
    "send_beyond_mtu": (
        "lost because it was longer than the MTU of the interface",
        "set the MTU of the interface, or of what sends through it, so that frames fit with all headers",
    ),
    "send_queue_full": (
        "lost because the queue of the interface, or of who reads the socket, was full",
        "it takes less than the switch sends there",
    ),
    "send_no_peer": (
        "lost because nobody listens at the peer's socket",
        "start the peer, or correct its path; a peer that was connected to an earlier socket has to connect anew",
    ),
    "send_oversize": ("lost because it was longer than the socket takes", "send shorter frames"),
    "send_failed": ("lost because sending it failed", "the system gave an error"),
    "sink_overflow": ("lost because its reader was late", "who reads this port is too slow"),
    "capture_lost": (
        "not captured, because the capture file took no more",
        "a full disk, or a limit of file sizes; this capture has ended with its last whole record, packets go on",
    ),
}
"""By the count of a port: what became of the frame, and what follows, or helps."""


@dataclass(frozen=True)
class _Cause:
    logger: logging.Logger
    what: str
    consequence: str


_CAUSES = {name: _Cause(_LOG, *texts) for name, texts in _LOST.items()} | {
    name: _Cause(unfinished.LOG, f"with {what}", consequence)
    for name, (what, consequence) in unfinished.WHAT.items()
}  # fmt: skip


class LossLog:
    """Says in the log what is lost at which port: the first of each cause at once, others together, with their number.

    Thread-safe: ports are opened and closed by one thread, and their frames told of by another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._told: dict[int, dict[str, int]] = {}
        self._missed: set[int] = set()
        self._missed_told = 0

    def opened(self, port: int, name: str) -> None:
        """A port is about to be made, and its statistics are zero."""
        with self._lock:
            self._names[port] = name
            self._told[port] = dict.fromkeys(PORT_STATISTICS, 0)

    def tell(self, port: int, counts: Mapping[str, int]) -> None:
        """The statistics of a port as they are now. What is new in them goes to the log."""
        with self._lock:
            self._tell(port, counts)

    def closed(self, port: int, counts: Mapping[str, int]) -> None:
        """The last statistics of a port that is no more."""
        with self._lock:
            self._tell(port, counts)
            self._told.pop(port, None)

    def missed(self, port: int, total: int) -> None:
        """A frame was for a port that there is not; total: how many frames were for such ports."""
        with self._lock:
            if port not in self._missed:
                self._missed.add(port)
                _LOG.warning("port %d: there is no such port: frames for it are lost (no_port)", port)
            else:
                more = total - self._missed_told
                _LOG.warning("%d more lost for ports that there are not (no_port), the last one for port %d, %d in all",
                             more, port, total)  # fmt: skip
            self._missed_told = total

    def _tell(self, port: int, counts: Mapping[str, int]) -> None:
        told = self._told.get(port)
        if told is None:
            return  # it was closed meanwhile, and had its last word
        for name, cause in _CAUSES.items():
            count = counts[name]
            if count <= told[name]:
                continue
            where = f"port {port} ({self._names[port]})" if self._names[port] else f"port {port}"
            if not told[name]:
                cause.logger.warning(
                    "%s: %s %s (%s): %s", where, _frames(count), cause.what, name, cause.consequence
                )  # fmt: skip
            else:
                more = count - told[name]
                cause.logger.warning("%s: %d more %s (%s), %d in all", where, more, cause.what, name, count)
            told[name] = count


def _frames(count: int) -> str:
    return "a frame" if count == 1 else f"{count} frames"
