# SPDX-License-Identifier: Apache-2.0
"""What ports lose: every frame is in one count, under its cause, and the log names the cause."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_network import can_make_veth, ip, own_network
from engine_scenarios import call, exact
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine

PATIENCE_S = 60.0
MAC = {port: 0x0200000000 + port for port in (1, 2, 7)}

needs_interfaces = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")


def frame(port: int, payload: bytes = bytes(46)) -> bytes:
    return MAC[port].to_bytes(6, "big") + (0x77).to_bytes(6, "big") + b"\x88\xb5" + payload


def bridge(**config: int) -> CompiledEngine:
    engine = load_program("router", **config)
    for port, mac in MAC.items():
        key = (exact(mac, 48),)
        engine.table_insert("IngressPipe.bridge", key, 0, call("IngressPipe.forward", (port, 9)))
    return engine


@pytest.fixture
def engine() -> Iterator[CompiledEngine]:
    engine = bridge()
    yield engine
    engine.stop()


@pytest.fixture
def warnings() -> Iterator[Callable[[], str]]:
    """The next line that the log has of losses."""
    arrived: queue.Queue[str] = queue.Queue()

    class Arrival(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arrived.put(record.getMessage())

    handler, logger = Arrival(), logging.getLogger("p4softswitch.losses")
    logger.addHandler(handler)
    yield lambda: arrived.get(timeout=PATIENCE_S)
    logger.removeHandler(handler)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lost(engine: CompiledEngine, port: int) -> dict[str, int]:
    """The causes that have a count."""
    passed = ("packets_in", "bytes_in", "packets_out", "bytes_out")
    return {name: count for name, count in engine.port_statistics(port).items() if count and name not in passed}


class TestSockets:
    @pytest.fixture
    def peers(self, engine: CompiledEngine, tmp_path: Path) -> Iterator[dict[int, socket.socket]]:
        with contextlib.ExitStack() as stack:
            sockets = {}
            for port in (1, 2):
                peer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                peer.bind(str(tmp_path / f"peer{port}"))
                peer.settimeout(PATIENCE_S)
                engine.attach_socket(port, str(tmp_path / f"port{port}"), str(tmp_path / f"peer{port}"))
                peer.connect(str(tmp_path / f"port{port}"))
                sockets[port] = peer
            engine.start()
            yield sockets

    def test_frames_and_bytes_are_counted(self, engine: CompiledEngine, peers: dict[int, socket.socket]) -> None:
        for size in (0, 46, 1500):
            peers[1].send(frame(2, bytes(size)))
            assert peers[2].recv(2000) == frame(2, bytes(size))
        until(lambda: engine.port_statistics(2)["packets_out"] == 3)
        octets = 3 * 14 + 1546
        one, two = engine.port_statistics(1), engine.port_statistics(2)
        assert (one["packets_in"], one["bytes_in"], one["packets_out"], one["bytes_out"]) == (3, octets, 0, 0)
        assert (two["packets_in"], two["bytes_in"], two["packets_out"], two["bytes_out"]) == (0, 0, 3, octets)
        assert (lost(engine, 1), lost(engine, 2)) == ({}, {})

    def test_a_peer_that_is_gone(
        self, engine: CompiledEngine, peers: dict[int, socket.socket], tmp_path: Path, warnings: Callable[[], str]
    ) -> None:
        """Its path removed, and a path behind which nobody listens any more; each is a frame nobody got."""
        os.unlink(tmp_path / "peer2")
        peers[1].send(frame(2))
        assert "port 2 (" in (line := warnings())
        assert "a frame lost because nobody listens at the peer's socket (send_no_peer)" in line
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(tmp_path / "peer2"))
        peers[1].send(frame(2))
        until(lambda: lost(engine, 2) == {"send_no_peer": 2})
        assert engine.statistics()["send_failed"] == 2
        assert engine.statistics()["packets_out"] == 0

    def test_a_peer_that_does_not_read(self, engine: CompiledEngine, peers: dict[int, socket.socket]) -> None:
        """What its queue has room for arrives; the rest is counted, and nothing is in both."""
        for _ in range(3000):
            peers[1].send(frame(2, bytes(9000)))
        until(lambda: engine.port_statistics(1)["packets_in"] == 3000)
        counts = engine.port_statistics(2)
        assert lost(engine, 2) == {"send_queue_full": 3000 - counts["packets_out"]}
        assert counts["packets_out"] < 3000
        peers[2].setblocking(False)
        arrived = 0
        with contextlib.suppress(BlockingIOError):
            while peers[2].recv(10_000):
                arrived += 1
        assert arrived == counts["packets_out"]

    def test_a_frame_longer_than_the_switch_takes(
        self, engine: CompiledEngine, peers: dict[int, socket.socket], warnings: Callable[[], str]
    ) -> None:
        peers[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        peers[1].send(frame(2, bytes(135_000)))
        assert "(receive_oversize)" in warnings()
        assert lost(engine, 1) == {"receive_oversize": 1}
        assert engine.port_statistics(1)["packets_in"] == 0

    def test_each_cause_is_told_at_once_and_then_together(
        self, engine: CompiledEngine, peers: dict[int, socket.socket], tmp_path: Path, warnings: Callable[[], str]
    ) -> None:
        """Another cause within the minute does not wait for it."""
        engine.set_clock(0)
        peers[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        os.unlink(tmp_path / "peer1")
        peers[2].send(frame(1))
        assert "a frame lost because nobody listens" in warnings()
        peers[2].send(frame(1))
        until(lambda: lost(engine, 1) == {"send_no_peer": 2})
        peers[1].send(frame(2, bytes(135_000)))
        assert "1 more lost because nobody listens at the peer's socket (send_no_peer), 2 in all" in {
            warnings().partition(": ")[2] for _ in range(2)
        }
        for _ in range(3):
            peers[2].send(frame(1))
        until(lambda: lost(engine, 1)["send_no_peer"] == 5)
        engine.set_clock(60_000_000)
        assert warnings().endswith("3 more lost because nobody listens at the peer's socket (send_no_peer), 5 in all")

    def test_a_port_without_its_socket(
        self, engine: CompiledEngine, peers: dict[int, socket.socket], tmp_path: Path, warnings: Callable[[], str]
    ) -> None:
        engine.close_port(2)
        assert not (tmp_path / "port2").exists()
        peers[1].send(frame(2))
        assert "a frame lost because the port was without its interface or socket" in warnings()
        assert lost(engine, 2) == {"send_down": 1}
        engine.close_port(2)  # nothing to do
        engine.open_port(2)
        peers[1].send(
            frame(2)
        )  # the peer is still connected to the socket that is no more: it takes nothing from others
        until(lambda: lost(engine, 2) == {"send_down": 1, "send_no_peer": 1})
        peers[2].connect(str(tmp_path / "port2"))
        peers[1].send(frame(2))
        assert peers[2].recv(2000) == frame(2)
        with pytest.raises(OSError, match="port 2"):
            engine.open_port(2)  # it is open
        until(lambda: engine.port_statistics(2)["packets_out"] == 1)
        assert lost(engine, 2) == {"send_down": 1, "send_no_peer": 1}

    def test_one_that_is_closed_hears_no_more(self, engine: CompiledEngine, tmp_path: Path) -> None:
        """What waits is received, and not what the program makes of it: here each frame comes back for good."""
        one, two = str(tmp_path / "port1"), str(tmp_path / "port2")
        engine.attach_socket(1, one, str(tmp_path / "nobody"))
        engine.attach_socket(2, two, one)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for _ in range(3):
                sender.sendto(frame(2), one)
        engine.close_port(1)
        assert engine.port_statistics(1)["packets_in"] == 3
        assert lost(engine, 2) == {"send_failed": 3}

    def test_a_port_goes_to_another_engine_with_what_waits_in_it(
        self, engine: CompiledEngine, peers: dict[int, socket.socket], tmp_path: Path
    ) -> None:
        other = bridge()
        try:
            for port in (1, 2):
                names = str(tmp_path / f"port{port}"), str(tmp_path / f"peer{port}")
                other.attach_socket(port, *names, opened=False)
            released = {port: engine.release_port(port) for port in (1, 2)}
            assert engine.release_port(1) is None
            peers[1].send(frame(2, b"between the two"))
            for port, descriptor in released.items():
                other.open_port(port, descriptor)
            other.start()
            assert peers[2].recv(2000) == frame(2, b"between the two")
            engine.stop()
            peers[2].send(frame(1))  # the paths are still there
            assert peers[1].recv(2000) == frame(1)
        finally:
            other.stop()
        assert not (tmp_path / "port1").exists()


class TestSinks:
    def test_a_port_that_there_is_not(self, engine: CompiledEngine, warnings: Callable[[], str]) -> None:
        """Of the first frame for each number at once, of others together; numbers are readable."""
        engine.set_clock(0)
        engine.attach_sink(1)
        engine.start()
        engine.inject(1, frame(7))
        assert warnings() == "port 7: there is no such port: frames for it are lost (no_port)"
        engine.inject(1, frame(2))
        assert warnings() == "port 2: there is no such port: frames for it are lost (no_port)"
        for _ in range(3):
            engine.inject(1, frame(7))
        until(lambda: engine.missed_ports() == {7: 4, 2: 1})
        engine.set_clock(60_000_000)
        assert warnings() == "3 more lost for ports that there are not (no_port), the last one for port 7, 5 in all"
        assert engine.statistics()["no_port"] == 5

    def test_a_reader_that_is_late(self) -> None:
        """The frames that it got and those counted are all."""
        engine = bridge(output_limit=4096)
        go, arrived = threading.Event(), []

        def sink(data: bytes) -> None:
            go.wait(PATIENCE_S)
            arrived.append(data)

        try:
            for port in (1, 2):
                engine.attach_sink(port)
            engine.set_packet_sink(2, sink)
            engine.start()
            for _ in range(500):
                engine.inject(1, frame(2, bytes(1000)))
            until(lambda: engine.port_statistics(1)["packets_in"] == 500)
            counts = engine.port_statistics(2)
            go.set()
        finally:
            engine.stop()
        assert len(arrived) == counts["packets_out"]
        assert counts["sink_overflow"] == 500 - counts["packets_out"] > 0


@needs_interfaces
class TestInterfaces:
    @pytest.fixture
    def outside(self, engine: CompiledEngine) -> Iterator[dict[int, socket.socket]]:
        """Two pairs of virtual Ethernet; the engine, which does not run yet, has one end of each."""
        with own_network(), contextlib.ExitStack() as stack:
            sockets = {}
            for port in (1, 2):
                inner, outer = f"inner{port}", f"outer{port}"
                ip("link", "add", inner, "type", "veth", "peer", "name", outer)
                for name in (inner, outer):
                    ip("link", "set", name, "up", "addrgenmode", "none")
                raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                raw.bind((outer, 0))
                engine.attach_interface(port, inner)
                sockets[port] = raw
            yield sockets
            engine.stop()

    @staticmethod
    def received_by_the_kernel(interface: str) -> int:
        told = subprocess.run(
            ["ip", "-json", "-statistics", "link", "show", interface], check=True, capture_output=True
        ).stdout
        return int(json.loads(told)[0]["stats64"]["rx"]["packets"])

    def test_an_overrun_receive_queue(
        self, engine: CompiledEngine, outside: dict[int, socket.socket], warnings: Callable[[], str]
    ) -> None:
        """Read while it goes on, and nothing is lost in between: what the kernel received is what came and what did not
        fit."""
        reading = threading.Event()

        def read() -> None:
            while not reading.is_set():
                engine.port_statistics(1)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            until(lambda: self._flood(outside[1], engine))
        finally:
            reading.set()
            reader.join()
        engine.start()
        assert "lost before the switch read it, because the interface's receive queue was full (receive_overrun)" in (
            warnings()
        )
        received = self.received_by_the_kernel("inner1")

        def all_there() -> bool:
            counts = engine.port_statistics(1)
            return counts["packets_in"] + counts["receive_overrun"] == received

        until(all_there)

    @staticmethod
    def _flood(sender: socket.socket, engine: CompiledEngine) -> bool:
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                sender.send(frame(1, bytes(1000)), socket.MSG_DONTWAIT)
        return engine.port_statistics(1)["receive_overrun"] > 0

    def test_a_frame_longer_than_the_mtu(
        self, engine: CompiledEngine, outside: dict[int, socket.socket], warnings: Callable[[], str]
    ) -> None:
        ip("link", "set", "inner2", "mtu", "1000")
        engine.start()
        outside[1].send(frame(2, bytes(1400)))
        assert "lost because it was longer than the MTU of the interface (send_beyond_mtu)" in warnings()
        assert lost(engine, 2) == {"send_beyond_mtu": 1}

    def test_an_interface_that_is_down(
        self, engine: CompiledEngine, outside: dict[int, socket.socket], warnings: Callable[[], str]
    ) -> None:
        engine.start()
        ip("link", "set", "inner2", "down")
        outside[1].send(frame(2))
        assert "(send_down)" in warnings()
        assert lost(engine, 2) == {"send_down": 1}

    def test_a_link_without_carrier(self, engine: CompiledEngine, outside: dict[int, socket.socket]) -> None:
        """The kernel says of it what it says of a full queue, and takes a moment to know it; every frame is counted."""
        engine.start()
        ip("link", "set", "outer2", "down")
        sent = 0

        def told() -> bool:
            nonlocal sent
            outside[1].send(frame(2))
            sent += 1
            return engine.port_statistics(2)["send_down"] > 0

        until(told)
        until(lambda: sum(lost(engine, 2).values()) == sent)
        assert lost(engine, 2).keys() <= {"send_down", "send_queue_full"}

    def test_bound_to_what_was_opened(self, engine: CompiledEngine, outside: dict[int, socket.socket]) -> None:
        """An interface that is deleted and made again with the same index is another one."""
        index = engine.port_bound(2)
        assert index == socket.if_nametoindex("inner2")
        ip("link", "delete", "inner2")
        ip("link", "add", "inner2", "index", str(index), "type", "veth", "peer", "name", "outer2")
        assert socket.if_nametoindex("inner2") == index
        assert engine.port_bound(2) == 0
        engine.close_port(2)
        engine.open_port(2)
        assert engine.port_bound(2) == index

    def test_one_that_is_closed_hears_no_more(self, engine: CompiledEngine) -> None:
        """What waits is received, and not what the program makes of it: here each frame comes back for good."""
        with own_network():
            ip("link", "add", "inner1", "type", "veth", "peer", "name", "outer1")
            for name in ("inner1", "outer1"):
                ip("link", "set", name, "up", "addrgenmode", "none")
            for port, name in ((1, "inner1"), (2, "outer1")):
                engine.attach_interface(port, name)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
                sender.bind(("outer1", 0))
                for _ in range(3):
                    sender.send(frame(2))
            until(lambda: self.received_by_the_kernel("inner1") == 3)
            engine.close_port(1)
            assert engine.port_statistics(1)["packets_in"] == 3
            assert engine.port_statistics(2)["packets_out"] == 3
            engine.stop()

    def test_what_waits_when_an_interface_goes_is_received(
        self, engine: CompiledEngine, outside: dict[int, socket.socket]
    ) -> None:
        """The kernel leaves it in the socket: it came before the interface went, and is neither lost nor uncounted."""
        sent = [frame(2, number.to_bytes(46)) for number in range(100)]
        for one in sent:
            outside[1].send(one)
        while self.received_by_the_kernel("inner1") < len(sent):
            pass  # softirq
        ip("link", "delete", "inner1")
        engine.close_port(1)
        assert engine.port_statistics(1)["packets_in"] == len(sent)
        assert engine.port_statistics(2)["packets_out"] == len(sent)
