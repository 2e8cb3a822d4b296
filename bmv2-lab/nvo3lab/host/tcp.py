# SPDX-License-Identifier: Apache-2.0
"""A bulk transfer over TCP (RFC 9293), one direction of data: handshake, checksums, cumulative acknowledgements,
retransmission
from the first unacknowledged byte, orderly end. No options but the segment size, no congestion control: the
lab's wires are short, and what it must show is that every byte arrives, once and in order, through loss and
reordering.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from nvo3ref import tenant_frames as frames

from nvo3lab.rpc import answer_future

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
FIRST_CLIENT_PORT = 40000
_MSS = 1460
_WINDOW = 32 * _MSS
_FIRST_TIMEOUT = 0.2
_LAST_TIMEOUT = 2.0
_MODULUS = 1 << 32


@dataclass(frozen=True)
class Segment:
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    data: bytes


def parse(packet: frames.Ipv4) -> Segment | None:
    """None for a segment that is cut off or has a wrong checksum."""
    data = packet.payload
    if len(data) < 20:
        return None
    pseudo = (
        frames.ip_bytes(packet.source)
        + frames.ip_bytes(packet.destination)
        + struct.pack("!BBH", 0, frames.PROTOCOL_TCP, len(data))
    )
    offset = (data[12] >> 4) * 4
    if not 20 <= offset <= len(data) or frames.checksum(pseudo + data) != 0:
        return None
    source, destination, sequence, acknowledgement = struct.unpack_from("!HHII", data)
    return Segment(source, destination, sequence, acknowledgement, data[13] & (FIN | SYN | RST | ACK), data[offset:])


def build(source: str, destination: str, segment: Segment) -> bytes:
    options = struct.pack("!BBH", 2, 4, _MSS) if segment.flags & SYN else b""
    head = (
        struct.pack(
            "!HHIIBBHHH",
            segment.source_port,
            segment.destination_port,
            segment.sequence,
            segment.acknowledgement,
            (20 + len(options)) // 4 << 4,
            segment.flags,
            0xFFFF,
            0,
            0,
        )
        + options
    )
    pseudo = (
        frames.ip_bytes(source)
        + frames.ip_bytes(destination)
        + struct.pack("!BBH", 0, frames.PROTOCOL_TCP, len(head) + len(segment.data))
    )
    value = frames.checksum(pseudo + head + segment.data)
    return head[:16] + struct.pack("!H", value) + head[18:] + segment.data


class Connection:
    """One end of one connection. The end that calls `send` sends the data; the other one receives."""

    def __init__(
        self, local: str, peer: str, local_port: int, peer_port: int, transmit: Callable[[str, bytes], None]
    ) -> None:
        self._local, self._peer = local, peer
        self._ports = local_port, peer_port
        self._transmit = transmit
        self._initial = int.from_bytes(os.urandom(4))
        self._acknowledged = 0  # of what this end has sent, counted from its SYN, which is number 0
        self._next = 0
        self._expected = 0  # next sequence number of the peer
        self._established = False
        self._progress = asyncio.Event()
        self.digest = hashlib.sha256()
        self.received = 0
        self.finished: asyncio.Future[None] = answer_future()

    async def send(self, length: int) -> None:
        """Open, send random bytes, close. Raises ConnectionError where the peer resets."""
        await self._until(1, lambda: self._emit(SYN, 0))
        self._established = True
        self._emit(ACK, 1)
        data = os.urandom(length)
        self.digest.update(data)
        base = 1
        timeout = _FIRST_TIMEOUT
        while self._acknowledged < base + length:
            edge = min(self._acknowledged - base + _WINDOW, length)
            while self._next - base < edge:
                start = self._next - base
                chunk = data[start : min(start + _MSS, edge)]
                self._emit(ACK | PSH, self._next, chunk)
                self._next += len(chunk)
            if await self._wait(timeout):
                timeout = _FIRST_TIMEOUT
            else:
                self._next = self._acknowledged
                timeout = min(2 * timeout, _LAST_TIMEOUT)
        await self._until(base + length + 1, lambda: self._emit(FIN | ACK, base + length))

    def close(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def on_segment(self, segment: Segment) -> None:
        if segment.flags & RST:
            if not self.finished.done():
                self.finished.set_exception(ConnectionResetError("the peer has reset the connection"))
            self._progress.set()
            return
        if segment.flags & SYN:
            self._expected = (segment.sequence + 1) % _MODULUS
            if not segment.flags & ACK:
                self._next = 1
                self._emit(SYN | ACK, 0)
                return
        if segment.flags & ACK:
            acknowledged = (segment.acknowledgement - self._initial) % _MODULUS
            if self._acknowledged < acknowledged <= self._acknowledged + (1 << 30):
                self._acknowledged = acknowledged
                self._next = max(self._next, acknowledged)
                self._progress.set()
        if segment.data or segment.flags & FIN:
            self._take(segment)

    def _take(self, segment: Segment) -> None:
        """Data in order is taken, everything else only tells the peer again what is expected."""
        if segment.sequence == self._expected:
            self.digest.update(segment.data)
            self.received += len(segment.data)
            self._expected = (self._expected + len(segment.data)) % _MODULUS
            if segment.flags & FIN:
                self._expected = (self._expected + 1) % _MODULUS
                self.close()
        self._emit(ACK, self._next)

    async def _until(self, number: int, emit: Callable[[], None]) -> None:
        """Send again and again until the peer has acknowledged up to a number."""
        timeout = _FIRST_TIMEOUT
        while self._acknowledged < number:
            emit()
            if not await self._wait(timeout):
                timeout = min(2 * timeout, _LAST_TIMEOUT)
        self._next = max(self._next, number)

    async def _wait(self, timeout: float) -> bool:
        """Whether an acknowledgement came in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._progress.wait()
        except TimeoutError:
            return False
        self._progress.clear()
        if self.finished.done():
            self.finished.result()
        return True

    def _emit(self, flags: int, sequence: int, data: bytes = b"") -> None:
        acknowledgement = self._expected if flags & ACK else 0
        segment = Segment(*self._ports, (self._initial + sequence) % _MODULUS, acknowledgement, flags, data)
        self._transmit(self._peer, build(self._local, self._peer, segment))
