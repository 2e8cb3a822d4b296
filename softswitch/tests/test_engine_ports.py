# SPDX-License-Identifier: Apache-2.0
"""Ports: in-process, UNIX datagram sockets, network interfaces; capture files; threads."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_network import can_make_veth, ip, own_network
from engine_scenarios import call, exact
from engine_support import load_program
from p4softswitch.engine.engine import CompiledEngine
from p4softswitch.engine_api import EngineError, Replica

PATIENCE_S = 60.0
MAC = [0x0200000000 + i for i in range(8)]


def frame(dst: int, payload: bytes = b"", src: int = 0x77, tag: bytes = b"") -> bytes:
    return dst.to_bytes(6, "big") + src.to_bytes(6, "big") + tag + b"\x88\xb5" + payload


def bridge(ports: int = 4) -> CompiledEngine:
    engine = load_program("router")
    for port in range(1, ports):
        key = (exact(MAC[port], 48),)
        engine.table_insert("IngressPipe.bridge", key, 0, call("IngressPipe.forward", (port, 9)))
    engine.multicast_group_set(1, [Replica(p, p) for p in range(1, ports)])
    return engine


@pytest.fixture
def engine() -> Iterator[CompiledEngine]:
    engine = bridge()
    yield engine
    engine.stop()


class TestInProcess:
    def test_inject_and_sinks(self, engine: CompiledEngine) -> None:
        """In order, from a thread of the engine's."""
        arrived: queue.Queue[bytes] = queue.Queue()
        threads = set()

        def sink(packet: bytes) -> None:
            threads.add(threading.current_thread())
            arrived.put(packet)

        for port in (1, 2, 3):
            engine.attach_sink(port)
        engine.set_packet_sink(2, sink)
        engine.start()
        frames = [frame(MAC[2], bytes([n])) for n in range(200)]
        for one in frames:
            engine.inject(1, one)
        assert [arrived.get(timeout=PATIENCE_S) for _ in frames] == frames
        assert threading.current_thread() not in threads
        assert arrived.empty()

    def test_flood_goes_everywhere_but_back(self, engine: CompiledEngine) -> None:
        arrived: queue.Queue[tuple[int, bytes]] = queue.Queue()
        for port in (1, 2, 3):
            engine.attach_sink(port)
            engine.set_packet_sink(port, lambda packet, port=port: arrived.put((port, packet)))
        engine.start()
        unknown = frame(0x1234)
        engine.inject(1, unknown)
        assert {arrived.get(timeout=PATIENCE_S) for _ in range(2)} == {(2, unknown), (3, unknown)}

    def test_a_sink_that_fails_does_not_stop_the_others(self, engine: CompiledEngine) -> None:
        arrived: queue.Queue[bytes] = queue.Queue()

        def broken(packet: bytes) -> None:
            raise RuntimeError

        for port in (1, 2, 3):
            engine.attach_sink(port)
        engine.set_packet_sink(2, broken)
        engine.set_packet_sink(3, arrived.put)
        engine.start()
        engine.inject(1, frame(MAC[2]))
        engine.inject(1, frame(MAC[3]))
        assert arrived.get(timeout=PATIENCE_S) == frame(MAC[3])

    def test_digests(self, engine: CompiledEngine) -> None:
        arrived: queue.Queue[tuple[str, bytes]] = queue.Queue()
        engine.set_digest_sink(lambda name, data: arrived.put((name, data)))
        engine.attach_sink(1)
        engine.start()
        engine.inject(1, frame(MAC[2], src=0xABCDEF))
        assert arrived.get(timeout=PATIENCE_S) == ("seen_t", (0xABCDEF).to_bytes(6, "big") + (1).to_bytes(2, "big"))

    def test_a_frame_for_no_port_is_counted(self, engine: CompiledEngine) -> None:
        done: queue.Queue[bytes] = queue.Queue()
        engine.attach_sink(1)
        engine.attach_sink(3)
        engine.set_packet_sink(3, done.put)
        engine.start()
        engine.inject(1, frame(MAC[2]))
        engine.inject(1, frame(MAC[3]))
        done.get(timeout=PATIENCE_S)
        assert engine.statistics()["no_port"] == 1

    def test_start_and_stop_are_idempotent(self, engine: CompiledEngine) -> None:
        engine.attach_sink(1)
        engine.start()
        engine.start()
        engine.stop()
        engine.stop()
        with pytest.raises(EngineError):
            engine.detach(1)

    def test_frames_longer_than_64_kib(self, engine: CompiledEngine) -> None:
        """A packet_length of more than 16 bits; what is longer than the engine takes is refused, not cut."""
        long = frame(MAC[2], bytes(70_000))
        assert engine.process(1, long) == [(2, long)]
        with pytest.raises(EngineError):
            engine.inject(1, bytes(200_000))

    def test_stop_delivers_what_has_come_out(self, engine: CompiledEngine) -> None:
        arrived: list[bytes] = []
        done = threading.Event()

        def sink(packet: bytes) -> None:
            done.wait(PATIENCE_S)  # the first frame is held until the others have been processed
            arrived.append(packet)

        engine.attach_sink(1)
        engine.attach_sink(2)
        engine.set_packet_sink(2, sink)
        engine.start()
        for n in range(20):
            engine.inject(1, frame(MAC[2], bytes([n])))
        while engine.statistics()["packets_out"] < 20:
            pass
        done.set()
        engine.stop()
        assert arrived == [frame(MAC[2], bytes([n])) for n in range(20)]

    def test_the_drop_port_is_no_port(self, engine: CompiledEngine) -> None:
        with pytest.raises(EngineError):
            engine.attach_sink(511)

    def test_control_plane_under_load(self, engine: CompiledEngine) -> None:
        """Every frame leaves by one of the two ports between which its entry is moved; none gets lost."""
        arrived: queue.Queue[bytes] = queue.Queue()
        for port in (1, 2, 3):
            engine.attach_sink(port)
            engine.set_packet_sink(port, arrived.put)
        engine.start()
        key = (exact(MAC[2], 48),)
        packet, count = frame(MAC[2]), 3000

        def load() -> None:
            for _ in range(count):
                engine.inject(1, packet)

        loader = threading.Thread(target=load)
        loader.start()
        for n in range(400):
            engine.table_modify("IngressPipe.bridge", key, 0, call("IngressPipe.forward", (2 + n % 2, 9)))
        loader.join()
        assert [arrived.get(timeout=PATIENCE_S) for _ in range(count)] == [packet] * count


class TestSockets:
    @pytest.fixture
    def peers(self, engine: CompiledEngine, tmp_path: Path) -> Iterator[list[socket.socket]]:
        with contextlib.ExitStack() as stack:
            sockets = []
            for port in (1, 2):
                peer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                peer.bind(str(tmp_path / f"peer{port}"))
                peer.settimeout(PATIENCE_S)
                local = str(tmp_path / f"port{port}")
                engine.attach_socket(port, local, str(tmp_path / f"peer{port}"), str(tmp_path / f"{port}.pcap"))
                peer.connect(local)
                sockets.append(peer)
            engine.start()
            yield sockets

    def test_frames_and_capture(self, engine: CompiledEngine, peers: list[socket.socket], tmp_path: Path) -> None:
        frames = [frame(MAC[2], os.urandom(size)) for size in (0, 1, 46, 1500, 9000)]
        for one in frames:
            peers[0].send(one)
            assert peers[1].recv(65536) == one
        engine.stop()
        for port in (1, 2):
            assert read_pcap(tmp_path / f"{port}.pcap") == frames
        assert not (tmp_path / "port1").exists()

    def test_only_the_owner_may_send(self, peers: list[socket.socket], tmp_path: Path) -> None:
        assert (tmp_path / "port1").stat().st_mode & 0o777 == 0o600

    def test_nobody_listens(self, engine: CompiledEngine, peers: list[socket.socket], tmp_path: Path) -> None:
        """The frame is lost and counted; the port goes on."""
        os.unlink(tmp_path / "peer2")
        peers[0].send(frame(MAC[2]))
        peers[0].send(frame(MAC[1], src=1))
        assert peers[0].recv(65536) == frame(MAC[1], src=1)
        assert engine.statistics()["send_failed"] == 1

    def test_a_path_that_is_too_long(self, engine: CompiledEngine, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="too long"):
            engine.attach_socket(3, str(tmp_path / ("x" * 200)), "/nowhere")


def read_pcap(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert struct.unpack_from("<IHHiIII", data) == (0xA1B2C3D4, 2, 4, 0, 0, 131072, 1)
    at, frames = 24, []
    while at < len(data):
        length = struct.unpack_from("<IIII", data, at)[2]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


@pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")
class TestInterfaces:
    @pytest.fixture
    def outside(self, engine: CompiledEngine) -> Iterator[list[socket.socket]]:
        """Two pairs of virtual Ethernet; the engine has one end of each, raw sockets the other."""
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

    @staticmethod
    def receive(raw: socket.socket, wanted: bytes) -> bool:
        """Whether the frame arrives; what a host says of itself on a link is passed over."""
        for _ in range(100):
            data, address = raw.recvfrom(65536)
            if address[2] != socket.PACKET_OUTGOING and data == wanted:
                return True
        return False

    def test_frames(self, outside: list[socket.socket]) -> None:
        for size in (46, 1486):
            one = frame(MAC[2], os.urandom(size))
            outside[0].send(one)
            assert self.receive(outside[1], one)

    def test_vlan_tag_reaches_the_program(self, engine: CompiledEngine, outside: list[socket.socket]) -> None:
        """The kernel takes it out of the frame; the program must see it, and it leaves again."""
        tagged = frame(MAC[2], b"x" * 46, tag=b"\x81\x00\x20\x0a")
        arrived: queue.Queue[bytes] = queue.Queue()
        engine.attach_sink(3)
        engine.set_packet_sink(3, arrived.put)
        engine.table_modify("IngressPipe.bridge", (exact(MAC[2], 48),), 0, call("IngressPipe.forward", (3, 9)))
        outside[0].send(tagged)
        assert arrived.get(timeout=PATIENCE_S) == tagged

    def test_what_is_sent_does_not_come_back(self, engine: CompiledEngine, outside: list[socket.socket]) -> None:
        one = frame(MAC[2], os.urandom(60))
        before = engine.statistics()["packets_in"]
        outside[0].send(one)
        assert self.receive(outside[1], one)
        assert engine.statistics()["packets_in"] == before + 1

    def test_no_such_interface(self, engine: CompiledEngine) -> None:
        with pytest.raises(OSError, match="No such device"):
            engine.attach_interface(3, "nosuchif0")
