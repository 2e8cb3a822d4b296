# SPDX-License-Identifier: Apache-2.0
"""Packet sockets that say of an interface that a switch has it (packet(7)).

Only who may have interfaces can have one, unlike a name. It is bound to the interface, not to what that is called, with
a protocol that no frame has: numbers below 1536 are lengths on the wire (IEEE 802.3, 3.2.6), and the kernel's own
(linux/if_ether.h), of which this is none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

_PROTOCOL = 0x0534


@dataclass(frozen=True)
class PacketSocket:
    """One of the network namespace of the calling thread. interface: its index; 0 or less: bound to none."""

    protocol: int
    interface: int
    user: int
    inode: int


def packet_sockets() -> set[PacketSocket]:
    """Raises OSError where the system does not say."""
    # A list that is changed while the kernel gives it may be without one of them.
    return {*_listed(), *_listed()}


def _listed() -> Iterable[PacketSocket]:
    for line in Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]:
        fields = line.split()
        yield PacketSocket(int(fields[3], 16), int(fields[4]), int(fields[7]), int(fields[8]))


def claims_on(interface: str) -> list[PacketSocket]:
    """Of whom has it; none where the interface is not there, or the system does not say."""
    try:
        index = socket.if_nametoindex(interface)
        return [one for one in packet_sockets() if (one.protocol, one.interface) == (_PROTOCOL, index)]
    except OSError:
        return []


class PacketClaim:
    """Of one name of an interface, whatever interface that is. Not thread-safe.

    Raises OSError: this process may have no packet socket.
    """

    def __init__(self) -> None:
        self._socket = _unbound()

    @property
    def inode(self) -> int:
        """Of its socket."""
        return _inode(self._socket)

    def move(self, interface: str, own: Iterable[PacketClaim] = ()) -> PacketSocket | None:
        """To what has the name now. Whose that is, if it is somebody's; then, and where nothing has the name, this is a
        claim to no interface. own: further claims of the same switch.

        Of two who begin at once each may see the other, and neither has it.

        Raises OSError: no further packet socket can be had.
        """
        if self.has(interface):
            return None
        self.leave(interface)
        with ExitStack() as failing:
            bound = failing.enter_context(_unbound())
            try:
                bound.bind((interface, _PROTOCOL))
            except OSError:  # it is not there
                return None
            ours = {_inode(bound), *(claim.inode for claim in own)}
            other = next((one for one in claims_on(interface) if one.inode not in ours), None)
            if other is None:
                failing.pop_all()
                self._replace(bound)
            return other

    def leave(self, interface: str) -> None:
        """Have it be a claim to no interface, unless it is to what has the name now."""
        if self._socket.getsockname()[1] and not self.has(interface):
            with suppress(OSError):  # then it stays, and keeps others away until the next time
                self._replace(_unbound())

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def has(self, interface: str) -> bool:
        """Whether it is to what has the name now."""
        return bool(self._socket.getsockname()[0] == interface)

    def _replace(self, other: socket.socket) -> None:
        old, self._socket = self._socket, other
        old.close()


def _unbound() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)


def _inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino
