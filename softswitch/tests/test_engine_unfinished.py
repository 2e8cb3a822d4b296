# SPDX-License-Identifier: Apache-2.0
"""Frames as only kernels hand them over: without their checksum, several segments in one."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from engine_network import can_make_veth, inside, ip, network, own_network, unfinished_sender, virtio_header
from engine_scenarios import between, call, checksum, exact, prefix
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import Replica

pytestmark = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")

PATIENCE_S = 20.0
MAC = {port: 0x02_00_00_00_00_00 + port for port in (1, 2)}
FINISHED = {"checksum_unfinished": 0, "beyond_mtu": 0}


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


def udp(dst: int, payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram (RFC 768), whose checksum is that of the pseudo header."""
    length = 8 + len(payload)
    addresses = b"".join(address(port).to_bytes(4, "big") for port in (1, 2))
    pseudo = checksum(addresses + struct.pack(">HH", 17, length)) ^ 0xFFFF
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + addresses
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    head = dst.to_bytes(6, "big") + (0x77).to_bytes(6, "big") + b"\x08\x00"
    return head + header + struct.pack(">HHHH", 1000, 2000, length, pseudo) + payload


def receive(raw: socket.socket, wanted: bytes) -> bool:
    """Whether the frame arrives; what a host says of itself on a link is passed over."""
    for _ in range(100):
        data, where = raw.recvfrom(65536)
        if where[2] != socket.PACKET_OUTGOING and data == wanted:
            return True
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
                raw.settimeout(PATIENCE_S)
                engine.attach_interface(port, inner)
                sockets.append(raw)
            engine.start()
            yield sockets
            engine.stop()

    def test_unfinished_checksums_are_counted_and_told(
        self, engine: CompiledEngine, outside: list[socket.socket], warnings: Callable[[int], list[str]]
    ) -> None:
        """Told of the first at once, of others a minute later and when the port is closed; forwarded all the same."""
        engine.set_clock(0)

        def send(sender: socket.socket, port: int, count: int) -> None:
            one = frame(MAC[port], os.urandom(40))
            for _ in range(count):
                sender.send(virtio_header(checksum=True) + one)
                assert receive(outside[port - 1], one)

        with contextlib.closing(unfinished_sender("outer1")) as sender:
            send(sender, 2, 3)
            assert unfinished(engine, 1) == {"checksum_unfinished": 3, "beyond_mtu": 0}
            assert unfinished(engine, 2) == FINISHED
            (first,) = warnings(1)
            assert first.startswith("port 1 (inner1): a frame with an unfinished checksum (checksum_unfinished): ")
            assert "ethtool -K DEV tx off" in first
            engine.set_clock(60_000_000)
            send(sender, 2, 2)
            (_first, second) = warnings(1)
            assert second == ("port 1 (inner1): 3 more with an unfinished checksum (checksum_unfinished), 4 in all")
        engine.detach(1)
        (*_before, last) = warnings(1)
        assert last == "port 1 (inner1): 1 more with an unfinished checksum (checksum_unfinished), 5 in all"

    def test_segments_in_one_frame_are_counted_and_told(
        self, engine: CompiledEngine, outside: list[socket.socket], warnings: Callable[[int], list[str]]
    ) -> None:
        """A frame of three segments, as segmentation offload sends it: the switch sees it whole."""
        with contextlib.closing(unfinished_sender("outer1")) as sender:
            sender.send(virtio_header(checksum=True, segment=1000) + udp(MAC[2], bytes(3000)))
            told = warnings(2)
        assert unfinished(engine, 1) == {"checksum_unfinished": 1, "beyond_mtu": 1}
        assert any("more bytes than the interface's MTU allows (beyond_mtu)" in line for line in told)

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


_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17


def switch_transmit_checksum(interface: str, on: bool) -> None:
    """`ethtool -K interface tx on|off`, in the namespace of this thread."""
    value = bytearray(struct.pack("=II", _ETHTOOL_STXCSUM, int(on)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        pointer = (ctypes.c_char * len(value)).from_buffer(value)
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), ctypes.addressof(pointer)))


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

    def test_checksum_offload_is_counted_and_told(
        self, engine: CompiledEngine, tenants: dict[int, int], warnings: Callable[[int], list[str]]
    ) -> None:
        """The address of the other one is found, by ARP; TCP does not come to stand, and the switch says why."""
        with self.listening(tenants), self.client(tenants) as client:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect((dotted(2), 80))
            (told,) = warnings(1)
        assert told.startswith("port 1 (inner1): a frame with an unfinished checksum")
        assert engine.port_statistics(1)["checksum_unfinished"] >= 1
        assert unfinished(engine, 2) == FINISHED

    def test_without_offload_nothing_is_counted(
        self, engine: CompiledEngine, tenants: dict[int, int], caplog: pytest.LogCaptureFixture
    ) -> None:
        for namespace in tenants.values():
            with inside(namespace):
                switch_transmit_checksum("eth0", on=False)
        sent = os.urandom(1 << 20)
        with self.listening(tenants) as listener, self.client(tenants) as client:
            client.settimeout(PATIENCE_S)
            client.connect((dotted(2), 80))
            accepted, _address = listener.accept()

            def send() -> None:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            with accepted, accepted.makefile("rb") as stream:
                accepted.settimeout(PATIENCE_S)
                assert stream.read() == sent
            sender.join()
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
