# SPDX-License-Identifier: Apache-2.0
"""Frames as only kernels hand them over: without their checksum, several segments in one."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_network import (
    can_make_veth,
    inside,
    ip,
    network,
    own_network,
    switch_offload,
    unfinished_sender,
    virtio_header,
)
from engine_scenarios import between, call, checksum, exact, prefix
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import Replica

pytestmark = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")

PATIENCE_S = 20.0
MAC = {port: 0x02_00_00_00_00_00 + port for port in (1, 2)}
FINISHED = dict.fromkeys(("checksum_completed", "checksum_unfinished", "segments_unfinished", "beyond_mtu"), 0)


def unfinished(engine: CompiledEngine, port: int) -> dict[str, int]:
    """Of the statistics of a port those of frames that came so."""
    counts = engine.port_statistics(port)
    return {name: counts[name] for name in FINISHED}


@pytest.fixture
def engine() -> Iterator[CompiledEngine]:
    """Bridges what is not IPv4 by MAC address or floods it, and routes 10.0.0.N to port N."""
    engine = load_program("router")
    engine.multicast_group_set(1, [Replica(port, port) for port in MAC])
    for port, mac in MAC.items():
        engine.table_insert("IngressPipe.bridge", (exact(mac, 48),), 0, call("IngressPipe.forward", (port, 9)))
        route = call("IngressPipe.route", (port, 32))
        engine.table_insert("IngressPipe.routes", (prefix(address(port), 32, 32),), 0, route)
        hop = call("IngressPipe.to_port", (port, 9), (mac, 48))
        engine.table_insert("IngressPipe.nexthops", (exact(port, 32), between(0, 1000, 16)), 1, hop)
    yield engine
    engine.stop()


def address(port: int) -> int:
    return 0x0A000000 + port


def dotted(port: int) -> str:
    return socket.inet_ntoa(address(port).to_bytes(4, "big"))


@pytest.fixture
def warnings() -> Iterator[Callable[[int], list[str]]]:
    """Waits until so many warnings are in the log, and returns what it has by then."""
    arrived: queue.Queue[str] = queue.Queue()
    known: list[str] = []

    class Arrival(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arrived.put(record.getMessage())

    logger = logging.getLogger("p4softswitch.unfinished")

    def wait(count: int) -> list[str]:
        for _ in range(count):
            known.append(arrived.get(timeout=PATIENCE_S))
        return known

    handler = Arrival()
    logger.addHandler(handler)
    yield wait
    logger.removeHandler(handler)


def frame(dst: int, payload: bytes = b"", tag: bytes = b"") -> bytes:
    return dst.to_bytes(6, "big") + (0x77).to_bytes(6, "big") + tag + b"\x88\xb5" + payload


def udp(dst: int, payload: bytes, tags: bytes = b"", finished: bool = False) -> bytes:
    """An Ethernet frame with a UDP datagram (RFC 768), whose checksum is that of the pseudo header, or whole."""
    length = 8 + len(payload)
    addresses = b"".join(address(port).to_bytes(4, "big") for port in (1, 2))
    pseudo = addresses + struct.pack(">HH", 17, length)
    ports = struct.pack(">HHH", 1000, 2000, length)
    check = (checksum(pseudo + ports + payload) or 0xFFFF) if finished else checksum(pseudo) ^ 0xFFFF
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + addresses
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    head = dst.to_bytes(6, "big") + (0x77).to_bytes(6, "big") + tags + b"\x08\x00"
    return head + header + ports + check.to_bytes(2, "big") + payload


def crc32c(data: bytes) -> int:
    """Bit by bit, as a division of polynomials (RFC 3385): not the way of the switch."""
    bits = int.from_bytes(bytes(int(f"{byte:08b}"[::-1], 2) for byte in data), "big") << 32
    bits ^= 0xFFFFFFFF << (8 * len(data))
    while bits.bit_length() > 32:
        bits ^= 0x11EDC6F41 << (bits.bit_length() - 33)
    return int(f"{bits ^ 0xFFFFFFFF:032b}"[::-1], 2)


_SOL_PACKET, _PACKET_AUXDATA, _VLAN_VALID = 263, 8, 0x10


def receive(raw: socket.socket, wanted: bytes, *, next_one: bool = False) -> bool:
    """Whether the frame arrives; what a host says of itself on a link is passed over. next_one: before all others."""
    for _ in range(100):
        data, notes, _flags, where = raw.recvmsg(65536, 256)
        if where[2] == socket.PACKET_OUTGOING:
            continue
        for _level, _kind, note in notes:  # struct tpacket_auxdata: the kernel takes a tag out
            status, _length, _snapped, _mac, _net, tag, kind = struct.unpack("=IIIHHHH", note)
            if status & _VLAN_VALID:
                data = data[:12] + struct.pack(">HH", kind, tag) + data[12:]
        if data == wanted:
            return True
        if next_one and data[6:12] == (0x77).to_bytes(6, "big"):
            return False
    return False


class TestFrames:
    """Made by hand at the other ends of two pairs of virtual Ethernet."""

    @pytest.fixture
    def outside(self, engine: CompiledEngine) -> Iterator[list[socket.socket]]:
        with own_network(), contextlib.ExitStack() as stack:
            sockets = []
            for port in (1, 2):
                inner, outer = f"inner{port}", f"outer{port}"
                ip("link", "add", inner, "type", "veth", "peer", "name", outer)
                for name in (inner, outer):
                    ip("link", "set", name, "up", "addrgenmode", "none")
                raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
                raw.bind((outer, 0))
                raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
                raw.settimeout(PATIENCE_S)
                engine.attach_interface(port, inner)
                sockets.append(raw)
            engine.start()
            yield sockets
            engine.stop()

    @pytest.mark.parametrize("tags", [b"\x81\0\0\x0a", b"\x88\xa8\0\x14\x81\0\0\x0a"], ids=len)
    def test_checksums_are_completed(self, engine: CompiledEngine, outside: list[socket.socket], tags: bytes) -> None:
        """Of even and odd lengths, with tags, which the kernel takes out and the header does not count; bridged."""
        payloads = [b"", b"1", bytes(2), os.urandom(41), os.urandom(1472 - len(tags))]
        zero = udp(MAC[2], bytes(2), finished=True)[40:42]  # comes to a checksum of 0, which is sent as 0xffff, RFC 768
        assert udp(MAC[2], zero, finished=True)[40:42] == b"\xff\xff"
        payloads.append(zero)
        with contextlib.closing(unfinished_sender("outer1")) as sender:
            for payload in payloads:
                sender.send(virtio_header(checksum=True, start=34 + len(tags)) + udp(MAC[2], payload, tags))
                assert receive(outside[1], udp(MAC[2], payload, tags, finished=True), next_one=True)
        counts = unfinished(engine, 1)
        assert counts == {**FINISHED, "checksum_completed": len(payloads)}
        assert unfinished(engine, 2) == FINISHED

    def test_checksums_of_sctp_are_completed(self, engine: CompiledEngine, outside: list[socket.socket]) -> None:
        """CRC32c, whose value over "123456789" is E3069283; here of twelve bytes of header and those nine."""
        one = frame(MAC[2], bytes(20) + b"\x13\x88\x13\x89\0\0\0\x07" + b"left" + b"123456789")
        whole = one[:42] + crc32c(one[34:42] + bytes(4) + one[46:]).to_bytes(4, "little") + one[46:]
        with contextlib.closing(unfinished_sender("outer1")) as sender:
            sender.send(virtio_header(checksum=True, offset=8) + one)
            assert receive(outside[1], whole)
        assert unfinished(engine, 1) == {**FINISHED, "checksum_completed": 1}

    def test_completed_checksums_are_not_told(
        self, engine: CompiledEngine, outside: list[socket.socket], caplog: pytest.LogCaptureFixture
    ) -> None:
        with contextlib.closing(unfinished_sender("outer1")) as sender:
            sender.send(virtio_header(checksum=True, start=38) + udp(MAC[2], b"one", b"\x81\0\0\x01"))
            assert receive(outside[1], udp(MAC[2], b"one", b"\x81\0\0\x01", finished=True))
        engine.detach(1)
        assert not [record for record in caplog.records if record.name == "p4softswitch.unfinished"]

    def test_segments_in_one_frame_are_dropped_counted_and_told(
        self, engine: CompiledEngine, outside: list[socket.socket], warnings: Callable[[int], list[str]]
    ) -> None:
        """As segmentation offload sends them, longer than the MTU or not.

        Told of the first at once, of others a minute later and when the port is closed.
        """
        engine.set_clock(0)

        def send(sender: socket.socket, count: int) -> None:
            for length in range(count):
                sender.send(virtio_header(checksum=True, segment=500) + udp(MAC[2], bytes(600 + 1000 * length)))
            sender.send(virtio_header() + frame(MAC[2], b"and the next"))
            assert receive(outside[1], frame(MAC[2], b"and the next"), next_one=True)

        with contextlib.closing(unfinished_sender("outer1")) as sender:
            send(sender, 3)
            assert unfinished(engine, 1) == {**FINISHED, "segments_unfinished": 3}
            assert unfinished(engine, 2) == FINISHED
            (first,) = warnings(1)
            assert first.startswith("port 1 (inner1): a frame with several segments in one (segments_unfinished): ")
            assert "ethtool -K DEV tso off gso off" in first
            engine.set_clock(60_000_000)
            send(sender, 2)
            (_first, second) = warnings(1)
            assert second == "port 1 (inner1): 3 more with several segments in one (segments_unfinished), 4 in all"
        engine.detach(1)
        (*_before, last) = warnings(1)
        assert last == "port 1 (inner1): 1 more with several segments in one (segments_unfinished), 5 in all"

    def test_finished_frames_are_not_told(self, engine: CompiledEngine, outside: list[socket.socket]) -> None:
        """Also as large as the MTU, with a tag, and without a transport checksum at all."""
        with contextlib.closing(unfinished_sender("outer1")) as sender:
            for one in (
                udp(MAC[2], bytes(40)),
                frame(MAC[2], bytes(1500)),
                frame(MAC[2], bytes(1500), tag=b"\x81\0\0\x0a"),
            ):
                sender.send(virtio_header() + one)
                sender.send(virtio_header() + frame(MAC[2], b"and the next"))
                assert receive(outside[1], frame(MAC[2], b"and the next"))
        assert unfinished(engine, 1) == FINISHED

    def test_a_larger_mtu_is_noticed(self, engine: CompiledEngine, outside: list[socket.socket]) -> None:
        for name in ("inner1", "outer1", "inner2", "outer2"):
            ip("link", "set", name, "mtu", "9000")
        large = frame(MAC[2], bytes(9000))
        outside[0].send(large)
        assert receive(outside[1], large)
        assert unfinished(engine, 1) == FINISHED


def exchange(sender: socket.socket, receiver: socket.socket, sent: bytes) -> None:
    """What is sent on a connection arrives."""
    thread = threading.Thread(target=sender.sendall, args=(sent,))
    thread.start()
    received = bytearray()
    while len(received) < len(sent):
        part = receiver.recv(1 << 16)
        assert part
        received += part
    thread.join()
    assert received == sent


def wrong_checksums() -> int:
    """What the kernel counts of the namespace of this thread, of TCP and UDP over IPv4 and IPv6."""
    found = []
    lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found += [
            int(value) for name, value in zip(names.split(), values.split(), strict=True) if name == "InCsumErrors"
        ]
    for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines():
        name, value = line.split()
        if name.endswith("InCsumErrors"):
            found.append(int(value))
    assert len(found) >= 4
    return sum(found)


class TestTenants:
    """Two tenants with the kernel's stack, each in a namespace of its own, as virtual Ethernet comes: offloads on."""

    @pytest.fixture
    def tenants(self, engine: CompiledEngine) -> Iterator[dict[int, int]]:
        """Of each port the namespace behind it."""
        with own_network(), contextlib.ExitStack() as stack:
            namespaces = {port: stack.enter_context(network()) for port in MAC}
            for port, namespace in namespaces.items():
                there = f"/proc/{os.getpid()}/fd/{namespace}"
                ip("link", "add", f"inner{port}", "type", "veth", "peer", "name", "eth0", "netns", there)
                ip("link", "set", f"inner{port}", "up", "addrgenmode", "none")
                with inside(namespace):
                    mac = ":".join(f"{byte:02x}" for byte in MAC[port].to_bytes(6, "big"))
                    ip("link", "set", "eth0", "address", mac)
                    ip("link", "set", "eth0", "up", "addrgenmode", "none")
                    ip("address", "add", f"{dotted(port)}/24", "dev", "eth0")
                engine.attach_interface(port, f"inner{port}")
            engine.start()
            yield namespaces
            engine.stop()

    @staticmethod
    def listening(tenants: dict[int, int]) -> socket.socket:
        with inside(tenants[2]):
            listener = socket.create_server((dotted(2), 80))
        listener.settimeout(PATIENCE_S)
        return listener

    @staticmethod
    def client(tenants: dict[int, int]) -> socket.socket:
        with inside(tenants[1]):
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    @pytest.mark.parametrize("way", ["routed", "tagged", "ipv6"])
    def test_checksum_offload_can_stay_on(
        self, engine: CompiledEngine, tenants: dict[int, int], caplog: pytest.LogCaptureFixture, way: str
    ) -> None:
        """The receiving kernel is the judge: it takes every segment, counts no wrong checksum, and so both ways."""
        kind = socket.AF_INET6 if way == "ipv6" else socket.AF_INET
        where = {
            port: {"routed": dotted(port), "tagged": f"10.1.0.{port}", "ipv6": f"fd00::{port}"}[way] for port in MAC
        }
        for port, namespace in tenants.items():
            with inside(namespace):
                for name in ("tso", "gso"):
                    switch_offload("eth0", name, on=False)
                switch_offload("eth0", "tx", on=True)
                if way == "tagged":
                    try:
                        ip("link", "add", "link", "eth0", "name", "tagged", "type", "vlan", "id", "10")
                    except subprocess.CalledProcessError:
                        pytest.skip("this kernel has no VLAN devices")
                    ip("link", "set", "tagged", "up", "addrgenmode", "none")
                    ip("address", "add", f"{where[port]}/24", "dev", "tagged")
                    for name in ("tso", "gso"):
                        switch_offload("tagged", name, on=False)
                elif way == "ipv6":
                    ip("address", "add", f"{where[port]}/64", "dev", "eth0", "nodad")
        with inside(tenants[2]):
            listener = socket.create_server((where[2], 80), family=kind)
            receiver = socket.socket(kind, socket.SOCK_DGRAM)
            receiver.bind((where[2], 81))
        with inside(tenants[1]):
            client, sender = socket.socket(kind, socket.SOCK_STREAM), socket.socket(kind, socket.SOCK_DGRAM)
        with listener, client, receiver, sender:
            for one in (listener, client, receiver):
                one.settimeout(PATIENCE_S)
            client.connect((where[2], 80))
            accepted, _address = listener.accept()
            with accepted:
                accepted.settimeout(PATIENCE_S)
                exchange(client, accepted, os.urandom(1 << 20))
                exchange(accepted, client, os.urandom(1 << 20))
            for length in (0, 1, 2, 999, 1400):
                datagram = os.urandom(length)
                sender.sendto(datagram, (where[2], 81))
                assert receiver.recv(2000) == datagram
        for port, namespace in tenants.items():
            counts = unfinished(engine, port)
            assert counts.pop("checksum_completed") > 100
            assert not any(counts.values()), counts
            with inside(namespace):
                assert wrong_checksums() == 0
        assert not [record for record in caplog.records if record.name == "p4softswitch.unfinished"]

    def test_without_offload_nothing_is_counted(
        self, engine: CompiledEngine, tenants: dict[int, int], caplog: pytest.LogCaptureFixture
    ) -> None:
        for namespace in tenants.values():
            with inside(namespace):
                switch_offload("eth0", "tx", on=False)
        with self.listening(tenants) as listener, self.client(tenants) as client:
            client.settimeout(PATIENCE_S)
            client.connect((dotted(2), 80))
            accepted, _address = listener.accept()
            with accepted:
                accepted.settimeout(PATIENCE_S)
                exchange(client, accepted, os.urandom(1 << 20))
        assert [unfinished(engine, port) for port in MAC] == [FINISHED, FINISHED]
        assert not [record for record in caplog.records if record.name == "p4softswitch.unfinished"]

    def test_arp_and_icmp_are_finished_also_with_offload(self, engine: CompiledEngine, tenants: dict[int, int]) -> None:
        with inside(tenants[1]):
            echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with echo:
            echo.settimeout(PATIENCE_S)
            request = struct.pack(">BBHHH", 8, 0, 0, 7, 1) + bytes(1000)
            request = request[:2] + checksum(request).to_bytes(2, "big") + request[4:]
            echo.sendto(request, (dotted(2), 0))
            answer = echo.recv(2000)[20:]
        assert (answer[0], answer[8:]) == (0, bytes(1000))
        assert [unfinished(engine, port) for port in MAC] == [FINISHED, FINISHED]
