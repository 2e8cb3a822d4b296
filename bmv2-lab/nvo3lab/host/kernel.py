# SPDX-License-Identifier: Apache-2.0
"""A tenant system with the kernel's own stack, in a network namespace of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from typing import Any

from nvo3ref import tenant_frames as frames

from nvo3lab.host.base import TenantHost

_CHUNK = 1 << 16
_ARP_TABLE = "/proc/net/arp"


class KernelHost(TenantHost):
    """ICMP through a raw socket, TCP through stream sockets; ARP is the kernel's."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__(configuration)
        self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        # Replies are taken off the wire, where copies of one show; this socket only sends.
        self._icmp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        self._icmp.setblocking(False)
        self._sequence = 0
        self._listeners: dict[int, socket.socket] = {}

    def send_echo(self, destination: str, identifier: int, payload: bytes) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        request = frames.icmp_echo(frames.ICMP_ECHO_REQUEST, identifier, self._sequence, payload)
        self._icmp.sendto(request, (destination, 0))

    async def resolve(self, ip: str) -> str | None:
        await self.ping(ip, count=1)
        with open(_ARP_TABLE, encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                if fields[0] == ip and int(fields[2], 16) & 2:  # ATF_COM: complete
                    return fields[3]
        return None

    def transfer_listen(self, port: int) -> None:
        self._listeners[port] = socket.create_server((self.ip, port))
        self._listeners[port].setblocking(False)

    async def transfer_receive(self, port: int, limit: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        digest = hashlib.sha256()
        total = 0
        with self._listeners.pop(port) as listener:
            async with asyncio.timeout(limit):
                connection, _peer = await loop.sock_accept(listener)
                with connection:
                    connection.setblocking(False)
                    start = time.monotonic()
                    while data := await loop.sock_recv(connection, _CHUNK):
                        digest.update(data)
                        total += len(data)
                    seconds = time.monotonic() - start
        return {"bytes": total, "sha256": digest.hexdigest(), "seconds": seconds}

    async def transfer_send(self, destination: str, port: int, length: int, limit: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        digest = hashlib.sha256()
        start = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            async with asyncio.timeout(limit):
                await loop.sock_connect(connection, (destination, port))
                left = length
                while left:
                    data = os.urandom(min(left, _CHUNK))
                    digest.update(data)
                    await loop.sock_sendall(connection, data)
                    left -= len(data)
        return {"bytes": length, "sha256": digest.hexdigest(), "seconds": time.monotonic() - start}
