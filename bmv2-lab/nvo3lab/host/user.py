# SPDX-License-Identifier: Apache-2.0
"""A tenant system with a stack of its own, for machines where nobody may make a network namespace.

ARP (RFC 826), IPv4 without fragments (RFC 791), ICMP echo (RFC 792), and the bulk transfer of nvo3lab.host.tcp.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from nvo3ref import tenant_frames as frames

from nvo3lab.host import tcp
from nvo3lab.host.base import TenantHost

_ARP_TRIES = 3
_ARP_WAIT = 1.0
_ARP_QUEUE = 64
"""Packets that wait for one address to be resolved."""


class UserHost(TenantHost):
    """The stack runs in the event loop: every frame is dealt with when it arrives."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._neighbors: dict[str, str] = {}
        self._unresolved: dict[str, deque[tuple[int, bytes]]] = {}
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._connections: dict[tuple[str, int, int], tcp.Connection] = {}
        self._listeners: dict[int, asyncio.Future[tcp.Connection]] = {}
        self._sequence = 0
        self._next_port = tcp.FIRST_CLIENT_PORT
        super().__init__(configuration)

    def send_echo(self, destination: str, identifier: int, payload: bytes) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._send_ipv4(
            destination,
            frames.PROTOCOL_ICMP,
            frames.icmp_echo(frames.ICMP_ECHO_REQUEST, identifier, self._sequence, payload),
        )

    async def resolve(self, ip: str) -> str | None:
        deadline = time.monotonic() + _ARP_TRIES * _ARP_WAIT
        self._ask(ip)
        while ip not in self._neighbors and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        return self._neighbors.get(ip)

    def transfer_listen(self, port: int) -> None:
        self._listeners[port] = asyncio.get_running_loop().create_future()

    async def transfer_receive(self, port: int, limit: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(limit):
                connection = await self._listeners[port]
                start = time.monotonic()
                await connection.finished
        finally:
            del self._listeners[port]
        return {
            "bytes": connection.received,
            "sha256": connection.digest.hexdigest(),
            "seconds": time.monotonic() - start,
        }

    async def transfer_send(self, destination: str, port: int, length: int, limit: float) -> dict[str, Any]:
        local = self._next_port
        self._next_port += 1
        start = time.monotonic()
        connection = tcp.Connection(self.ip, destination, local, port, self._send_segment)
        self._connections[destination, port, local] = connection
        try:
            async with asyncio.timeout(limit):
                await connection.send(length)
        finally:
            connection.close()
            del self._connections[destination, port, local]
        return {"bytes": length, "sha256": connection.digest.hexdigest(), "seconds": time.monotonic() - start}

    def on_wire(self, frame: bytes) -> None:
        ethernet = frames.parse_ethernet(frame)
        if ethernet is None or ethernet.vlans or ethernet.destination not in (self.mac, frames.BROADCAST):
            return
        if ethernet.ether_type == frames.ETHERTYPE_ARP:
            self._on_arp(ethernet)
        elif ethernet.ether_type == frames.ETHERTYPE_IPV4:
            packet = frames.parse_ipv4(ethernet.payload)
            if packet is not None and packet.destination == self.ip:
                self._on_ipv4(packet)

    def _on_arp(self, ethernet: frames.Ethernet) -> None:
        arp = frames.parse_arp(ethernet.payload)
        if arp is None:
            return
        # As RFC 826 has it, and as trusting: an entry is updated by whoever speaks, which is what spoofing lives on.
        if arp.target_ip == self.ip or arp.sender_ip in self._neighbors:
            self._learn(arp.sender_ip, arp.sender_mac)
        if arp.target_ip == self.ip and arp.operation == frames.ARP_REQUEST:
            answer = frames.arp(frames.ARP_REPLY, self.mac, self.ip, arp.sender_mac, arp.sender_ip)
            self.port.send(frames.ethernet(arp.sender_mac, self.mac, frames.ETHERTYPE_ARP, answer))

    def _on_ipv4(self, packet: frames.Ipv4) -> None:
        if packet.protocol == frames.PROTOCOL_ICMP:
            echo = frames.parse_echo(packet.payload)
            if echo is not None and echo.kind == frames.ICMP_ECHO_REQUEST:
                self._send_ipv4(
                    packet.source,
                    frames.PROTOCOL_ICMP,
                    frames.icmp_echo(frames.ICMP_ECHO_REPLY, echo.identifier, echo.sequence, echo.payload),
                )
        elif packet.protocol == frames.PROTOCOL_TCP:
            segment = tcp.parse(packet)
            if segment is not None:
                self._on_segment(packet.source, segment)

    def _on_segment(self, source: str, segment: tcp.Segment) -> None:
        key = (source, segment.source_port, segment.destination_port)
        connection = self._connections.get(key)
        if connection is None and segment.flags == tcp.SYN:
            listener = self._listeners.get(segment.destination_port)
            if listener is None or listener.done():
                return
            connection = tcp.Connection(
                self.ip, source, segment.destination_port, segment.source_port, self._send_segment
            )
            self._connections[key] = connection
            listener.set_result(connection)
        if connection is not None:
            connection.on_segment(segment)

    def _send_segment(self, destination: str, segment: bytes) -> None:
        self._send_ipv4(destination, frames.PROTOCOL_TCP, segment)

    def _send_ipv4(self, destination: str, protocol: int, payload: bytes) -> None:
        mac = self._neighbors.get(destination)
        if mac is None:
            waiting = self._unresolved.setdefault(destination, deque(maxlen=_ARP_QUEUE))
            waiting.append((protocol, payload))
            self._ask(destination)
        else:
            packet = frames.ipv4(self.ip, destination, protocol, payload)
            self.port.send(frames.ethernet(mac, self.mac, frames.ETHERTYPE_IPV4, packet))

    def _ask(self, ip: str) -> None:
        if ip not in self._resolving:
            task = asyncio.create_task(self._resolve(ip))
            self._resolving[ip] = task
            task.add_done_callback(lambda _task: self._resolving.pop(ip, None))

    async def _resolve(self, ip: str) -> None:
        self._neighbors.pop(ip, None)
        request = frames.arp(frames.ARP_REQUEST, self.mac, self.ip, "00:00:00:00:00:00", ip)
        for _ in range(_ARP_TRIES):
            self.port.send(frames.ethernet(frames.BROADCAST, self.mac, frames.ETHERTYPE_ARP, request))
            deadline = time.monotonic() + _ARP_WAIT
            while time.monotonic() < deadline:
                if ip in self._neighbors:
                    return
                await asyncio.sleep(0.002)
        self._unresolved.pop(ip, None)

    def _learn(self, ip: str, mac: str) -> None:
        self._neighbors[ip] = mac
        for protocol, payload in self._unresolved.pop(ip, ()):
            self._send_ipv4(ip, protocol, payload)
