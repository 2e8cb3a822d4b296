# SPDX-License-Identifier: Apache-2.0
"""One end of a wire: a packet socket on a network interface, or a UNIX datagram socket. Both non-blocking, frame by
frame.

A UNIX datagram socket queues very few datagrams (`net.unix.max_dgram_qlen`, often 10), so a sender that gives up at
the first refusal would lose what no wire of that length loses. Both ports keep a bounded backlog and send on when
the peer has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvo3lab.wires.pcap import PcapWriter

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_MR_PROMISC = 1
_PACKET_OUTGOING = 4
_TP_STATUS_VLAN_VALID = 1 << 4
_TP_STATUS_VLAN_TPID_VALID = 1 << 6
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32

_FRAME_MAX = 65536
_SOCKET_BUFFER = 8 * 1024 * 1024
_BACKLOG = 4096
_BATCH = 64
"""Frames taken at one wake-up, so that one busy port does not starve the others of the process."""
_RETRY_INTERVAL = 0.0005
_LOOK_INTERVAL = 0.1
_PACE = 16
"""Frames sent between two looks at the clock."""
_RETRY = {errno.EAGAIN, errno.ENOBUFS, errno.ENOTCONN, errno.ECONNREFUSED, errno.ENOENT}


class Port:
    """One end of a wire, attached to the running event loop.

    Args:
        on_frame: called with each frame received, and whether it was sent by this end of the wire and by somebody
        else (a
            kernel that talks on its own; only a packet socket sees that).
        capture: where everything that passes is written, in both directions.
    """

    def __init__(self, on_frame: Callable[[bytes, bool], None], capture: Path | None) -> None:
        self._on_frame = on_frame
        self._pcap = PcapWriter(capture) if capture else None
        self._backlog: deque[bytes] = deque()
        self._writing = False
        self._socket = self._open()
        self._socket.setblocking(False)
        self.received = 0
        self.sent = 0
        self.overflowed = 0  # frames that this end threw away because the peer did not read
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def send(self, frame: bytes) -> None:
        """Send, or queue behind what is waiting; a queue that is full drops, and counts."""
        if self._backlog:
            self._queue(frame)
        elif not self._transmit(frame):
            self._queue(frame)
            self._await_writable()

    @property
    def waiting(self) -> int:
        """Frames that the peer has not taken yet."""
        return len(self._backlog)

    def drain(self) -> int:
        """Take everything that is waiting to be received. Returns the number of frames."""
        total = 0
        while taken := self._readable():
            total += taken
        return total

    def missed(self) -> int:
        """Frames that the kernel dropped before this end could read them, since the start."""
        return 0

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        if self._pcap:
            self._pcap.close()

    def _open(self) -> socket.socket:
        raise NotImplementedError

    def _receive(self) -> tuple[bytes, bool]:
        raise NotImplementedError

    def _connect(self) -> None:
        """Reach the peer, where that is not given by the wire."""

    def _queue(self, frame: bytes) -> None:
        if len(self._backlog) >= _BACKLOG:
            self.overflowed += 1
        else:
            self._backlog.append(frame)

    def _transmit(self, frame: bytes) -> bool:
        try:
            self._connect()
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in _RETRY:
                raise
            return False
        self.sent += 1
        if self._pcap:
            self._pcap.write(frame)
        return True

    def _await_writable(self) -> None:
        """Poll in small steps: a datagram socket counts as writable even when its peer's queue is full."""
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_later(_RETRY_INTERVAL, self._flush)

    def _flush(self) -> None:
        self._writing = False
        if self._socket.fileno() < 0:
            return
        while self._backlog:
            if not self._transmit(self._backlog[0]):
                self._await_writable()
                return
            self._backlog.popleft()

    def _readable(self) -> int:
        for count in range(_BATCH):
            try:
                frame, foreign = self._receive()
            except BlockingIOError:
                return count
            except OSError as error:
                if error.errno in (errno.ECONNREFUSED, errno.ENETDOWN):
                    return count
                raise
            self.received += 1
            if self._pcap:
                self._pcap.write(frame)
            self._on_frame(frame, foreign)
        return _BATCH


class PacketPort(Port):
    """A packet socket on an interface of the calling process's network namespace; needs CAP_NET_RAW there."""

    def __init__(self, interface: str, on_frame: Callable[[bytes, bool], None], capture: Path | None = None) -> None:
        self._interface = interface
        self._missed = 0
        super().__init__(on_frame, capture)

    def missed(self) -> int:
        # Reading the statistics resets them.
        _packets, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._missed += drops
        return self._missed

    def _open(self) -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                raw.setsockopt(socket.SOL_SOCKET, force, _SOCKET_BUFFER)
            except PermissionError:  # root of a user namespace may not pass the system's limit
                raw.setsockopt(socket.SOL_SOCKET, plain, _SOCKET_BUFFER)
        raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        raw.bind((self._interface, _ETH_P_ALL))
        index = socket.if_nametoindex(self._interface)
        raw.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, struct.pack("IHH8s", index, _PACKET_MR_PROMISC, 0, b""))
        return raw

    def _receive(self) -> tuple[bytes, bool]:
        frame, ancillary, _flags, address = self._socket.recvmsg(_FRAME_MAX, 256)
        for level, kind, data in ancillary:
            if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                frame = _with_vlan_tag(frame, data)
        return frame, address[2] == _PACKET_OUTGOING


class DatagramPort(Port):
    """A UNIX datagram socket bound to `local`, whose peer is bound to `peer`, sooner or later.

    Connected, because the kernel then takes more than a handful of datagrams from the peer; but a connected socket
    hears nobody else, and a peer that was restarted is somebody else. So it looks now and then who the peer is.
    """

    def __init__(
        self, local: Path, peer: Path, on_frame: Callable[[bytes, bool], None], capture: Path | None = None
    ) -> None:
        self._local = local
        self._peer = peer
        self._connected: tuple[int, int] | None = None
        super().__init__(on_frame, capture)
        self._looking = asyncio.get_running_loop().call_later(_LOOK_INTERVAL, self._look)

    def close(self) -> None:
        self._looking.cancel()
        super().close()
        self._local.unlink(missing_ok=True)

    def _peer_is(self) -> tuple[int, int] | None:
        """What tells one socket from another that is bound to the same path later."""
        try:
            found = self._peer.stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def _look(self) -> None:
        if self._connected is not None and self._peer_is() not in (None, self._connected):
            with contextlib.suppress(OSError):  # it listens in a moment
                self._connected = None
                self._connect()
        self._looking = asyncio.get_running_loop().call_later(_LOOK_INTERVAL, self._look)

    def _open(self) -> socket.socket:
        datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        datagram.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._local.unlink(missing_ok=True)
        datagram.bind(str(self._local))
        os.chmod(self._local, 0o600)
        return datagram

    def _receive(self) -> tuple[bytes, bool]:
        return self._socket.recv(_FRAME_MAX), False

    def _connect(self) -> None:
        if self._connected is None:
            seen = self._peer_is()
            self._socket.connect(str(self._peer))
            self._connected = seen

    def _transmit(self, frame: bytes) -> bool:
        done = super()._transmit(frame)
        if not done:
            self._connected = None  # the peer may have been replaced; connecting again costs little
        return done


async def send_paced(port: Port, frames: list[bytes], rate: float | None, repeat: int) -> int:
    """Send frames in turn, `repeat` times, at a rate (frames a second; None: as fast as the peer reads).

    Returns how many were sent; every one of them was taken by the peer's end.
    """
    total = len(frames) * repeat
    start = time.monotonic()
    for index, frame in enumerate(itertools.islice(itertools.cycle(frames), total)):
        port.send(frame)
        if index % _PACE == _PACE - 1:
            ahead = start + (index + 1) / rate - time.monotonic() if rate else 0
            await asyncio.sleep(max(ahead, 0))
        while port.waiting:
            await asyncio.sleep(_RETRY_INTERVAL)
    return total


def open_port(
    description: dict[str, Any], on_frame: Callable[[bytes, bool], None], capture: Path | None = None
) -> Port:
    """A port from its description: {"interface": NAME} or {"local": PATH, "peer": PATH}."""
    if "interface" in description:
        return PacketPort(description["interface"], on_frame, capture)
    return DatagramPort(Path(description["local"]), Path(description["peer"]), on_frame, capture)


def _with_vlan_tag(frame: bytes, auxdata: bytes) -> bytes:
    """Put back the VLAN tag that the kernel takes out of a frame before it hands it to a packet socket."""
    status, _length, _snaplen, _mac, _net, tci, tpid = struct.unpack_from("IIIHHHH", auxdata)
    if not status & _TP_STATUS_VLAN_VALID:
        return frame
    if not status & _TP_STATUS_VLAN_TPID_VALID:
        tpid = 0x8100
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
