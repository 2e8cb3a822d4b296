# SPDX-License-Identifier: Apache-2.0
"""The ports of an engine: made, given their interface or socket, taken from them again, and what is counted of them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable

from p4softswitch.captures import identity_of, open_capture, remove_unused
from p4softswitch.engine import binding
from p4softswitch.engine_api import EngineError, ReleasedPort
from p4softswitch.losses import LossLog
from p4softswitch.runtime.names import PORT_STATISTICS

_MISSED_ROOM = 512
"""Ports of v1model have 9 bits."""


class EnginePorts:
    """Thread-safe as far as calls for different ports are concerned; those for one port belong to one owner."""

    def __init__(self, library: ctypes.CDLL, handle: int, drop_port: int) -> None:
        self._lib = library
        self._handle = handle
        self._drop_port = drop_port
        self._attached: dict[int, str] = {}
        self._paths: set[int] = set()  # ports that are sockets
        self._identities: dict[int, tuple[int, int] | None] = {}
        self._captures: dict[int, tuple[str, tuple[int, int]]] = {}
        self.losses = LossLog()

    def attached(self) -> list[int]:
        """Numbers of the ports that there are."""
        return sorted(self._attached)

    def attach(self, port: int, kind: int, first: str, second: str, pcap: str | None) -> None:
        """A port without its interface or socket. Raises EngineError, CaptureRefused; OSError of the system. Then there
        is no capture of it."""
        if port < 0 or port > 65535 or port == self._drop_port:
            raise EngineError(f"{port} is the drop port, or no port")
        if port in self._attached:
            raise OSError(errno.EEXIST, f"port {port}: {os.strerror(errno.EEXIST)}", first or None)
        capture = -1
        if pcap is not None:
            capture = open_capture(pcap)
            self._captures[port] = pcap, identity_of(capture)
        self.losses.opened(port, first)  # before frames can come
        result = self._lib.p4_attach(self._handle, port, kind, os.fsencode(first), os.fsencode(second), capture)
        if result < 0:
            self._end_capture(port, unused=True)
        self._check(result, port, first)
        self._attached[port] = first
        if kind == binding.PORT_SOCKET:
            self._paths.add(port)

    def open(self, port: int, released: ReleasedPort | None = None) -> None:
        """Give a port its interface or socket: a new one, or what `release` of another engine gave, which it then owns.

        Raises OSError: it stays without, and what was released is still whoever's who called.
        """
        first = self._attached.get(port, "")
        result = self._lib.p4_open(self._handle, port, -1 if released is None else released.descriptor)
        self._check(result, port, first)
        if port in self._paths:
            self._identities[port] = _identity(first) if released is None else released.identity

    def close(self, port: int) -> None:
        """Take interface or socket away: frames for the port are lost, and counted. Nothing to do where it has none."""
        self._lib.p4_close(self._handle, port, 0)
        self._remove_path(port)

    def release(self, port: int) -> ReleasedPort | None:
        """As `close`, but leaves it open for another engine, with what waits in it; None where the port has none."""
        descriptor = int(self._lib.p4_close(self._handle, port, 1))
        identity = self._identities.pop(port, None)
        return None if descriptor < 0 else ReleasedPort(descriptor, identity)

    def bound(self, port: int) -> int:
        """The index of the interface that a port is bound to, or the inode of the socket that it can be reached at; 0
        for none, or one that has been deleted since."""
        if port in self._paths:
            identity = self._identities.get(port)
            return identity[1] if identity is not None and identity == _identity(self._attached[port]) else 0
        return max(0, int(self._lib.p4_bound(self._handle, port)))

    def detach(self, port: int, *, unused: bool = False) -> dict[str, int]:
        """End a port, with its capture, which stays. Its last statistics. Raises EngineError if it is not attached.

        unused: what it was for has failed. A capture without a frame does not stay.
        """
        if port not in self._attached:
            raise EngineError(f"port {port} is not attached")
        values = (ctypes.c_uint64 * len(PORT_STATISTICS))()
        self._lib.p4_detach(self._handle, port, values, len(PORT_STATISTICS))
        self._remove_path(port)
        self._end_capture(port, unused=unused)
        del self._attached[port]
        self._paths.discard(port)
        counts = port_counts(values)
        self.losses.closed(port, counts)
        return counts

    def _end_capture(self, port: int, *, unused: bool) -> None:
        capture = self._captures.pop(port, None)
        if unused and capture is not None:
            remove_unused(*capture)

    def _remove_path(self, port: int) -> None:
        """Of our own socket; what others put there stays."""
        identity = self._identities.pop(port, None)
        path = self._attached.get(port, "")
        if identity is not None and identity == _identity(path):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def statistics(self, port: int) -> dict[str, int]:
        """See `Engine.port_statistics`."""
        values = (ctypes.c_uint64 * len(PORT_STATISTICS))()
        if self._lib.p4_port_statistics(self._handle, port, values, len(PORT_STATISTICS)) < 0:
            raise EngineError(f"port {port} is not attached")
        return port_counts(values)

    def missed(self) -> dict[int, int]:
        """Frames that were for ports that there are not, by number of the port."""
        numbers, frames = (ctypes.c_uint32 * _MISSED_ROOM)(), (ctypes.c_uint64 * _MISSED_ROOM)()
        found = self._lib.p4_missed(self._handle, numbers, frames, _MISSED_ROOM)
        return dict(zip(numbers[:found], frames[:found], strict=True))

    @staticmethod
    def _check(result: int, port: int, name: str) -> None:
        if result < 0:
            raise OSError(-result, f"port {port}: {os.strerror(-result)}", name or None)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def port_counts(values: Iterable[int]) -> dict[str, int]:
    """The statistics of a port, by name."""
    return dict(zip(PORT_STATISTICS, values, strict=True))
