# SPDX-License-Identifier: Apache-2.0
"""The packet stream is opened until it stands, and whoever uses it afterwards is told why it does not.

The server is a real one, with answers that BMv2 gives while it starts and that cannot be brought about there at will.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness.base import NveTest
from harness.own_switch import own_switch
from harness.ports import Packet, PacketStream, StreamFailed

NOT_READY = (grpc.StatusCode.UNAVAILABLE, "not ready")
TAKEN = (grpc.StatusCode.RESOURCE_EXHAUSTED, "only one client authorized at a time")
PROBE, BRINGS = (510, b"probe"), (1, b"probe out of port 1")


class _Service:
    """Turns streams away with the given answers, one each, and then carries one: what comes in goes out of port 1."""

    def __init__(self, answers: Sequence[tuple[grpc.StatusCode, str]], brings: tuple[int, bytes] = BRINGS) -> None:
        self._answers = list(answers)
        self._brings = brings
        self.carried: list[tuple[int, bytes]] = []
        self.hang_up = threading.Event()

    def packet_stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        if self._answers:
            context.abort(*self._answers.pop(0))  # as BMv2: nothing of the stream has been read
        for request in requests:
            self.carried.append((request.port, request.packet))
            port, packet = self._brings if len(self.carried) == 1 else (1, request.packet)
            yield Packet(device_id=1, port=port, packet=packet)
            if self.hang_up.is_set():
                context.abort(grpc.StatusCode.INTERNAL, "out of order")


@contextmanager
def _serving(service: _Service, directory: Path) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    method = grpc.stream_stream_rpc_method_handler(service.packet_stream, Packet.FromString, Packet.SerializeToString)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("p4.bm.DataplaneInterface", {"PacketStream": method})]
    )
    path = str(directory / "dataplane")
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield path
    finally:
        server.stop(None).wait()


@contextmanager
def _stream(path: str, is_alive: bool = True) -> Iterator[PacketStream]:
    stream = PacketStream(path, lambda: is_alive)
    try:
        yield stream
    finally:
        stream.close()


class _Port:
    """What comes out of a port, with a way to wait for it."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.came = threading.Semaphore(0)

    def arrived(self, packet: bytes) -> None:
        self.packets.append(packet)
        self.came.release()


def test_a_stream_that_is_turned_away_is_opened_again_and_the_probe_enters_once(tmp_path: Path) -> None:
    service = _Service([*[NOT_READY] * 20, TAKEN])
    with _serving(service, tmp_path) as path, _stream(path) as stream:
        port = _Port()
        stream.attach(1, port)  # type: ignore[arg-type]
        stream.open(PROBE, BRINGS)
        stream.check()
        stream.send(2, b"frame")
        assert port.came.acquire(timeout=60)
        assert service.carried == [PROBE, (2, b"frame")]
        assert port.packets == [b"frame"], "the probe is nobody's packet"
        assert stream.strays == []


def test_another_refusal_is_final_and_told_every_time(tmp_path: Path) -> None:
    service = _Service([NOT_READY, (grpc.StatusCode.PERMISSION_DENIED, "not you")])
    with _serving(service, tmp_path) as path, _stream(path) as stream:
        with pytest.raises(StreamFailed, match="did not stand in 2 attempts: PERMISSION_DENIED: not you"):
            stream.open(PROBE, BRINGS)
        with pytest.raises(StreamFailed, match=r"did not stand.*not you.*the switch is alive"):
            stream.check()


def test_a_switch_that_has_died_is_not_waited_for(tmp_path: Path) -> None:
    with (
        _stream(str(tmp_path / "nobody"), is_alive=False) as stream,
        pytest.raises(StreamFailed, match=r"did not stand in 1 attempts: UNAVAILABLE.*the switch is dead"),
    ):
        stream.open(PROBE, BRINGS)


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.ports.OPEN_SECONDS", 2.0)
    with (
        _serving(_Service([NOT_READY] * 1000), tmp_path) as path,
        _stream(path) as stream,
        pytest.raises(StreamFailed, match=r"did not stand within 2 s, in \d+ attempts: UNAVAILABLE: not ready"),
    ):
        stream.open(PROBE, BRINGS)


def test_something_else_than_the_probe_brings_is_refused(tmp_path: Path) -> None:
    with (
        _serving(_Service([], brings=(3, b"\xab")), tmp_path) as path,
        _stream(path) as stream,
        pytest.raises(StreamFailed, match="ab on port 3 as the answer"),
    ):
        stream.open(PROBE, BRINGS)


def test_a_stream_that_ends_says_why(tmp_path: Path) -> None:
    service = _Service([])
    with _serving(service, tmp_path) as path, _stream(path) as stream:
        stream.open(PROBE, BRINGS)
        service.hang_up.set()
        stream.send(2, b"last")
        stream.join(60)
        for _ in range(2):
            with pytest.raises(StreamFailed, match="is gone: INTERNAL: out of order"):
                stream.check()


class EveryTestIsToldWhyTheStreamEnded(NveTest):
    """A switch that dies: nothing waits for packets that cannot come, and each exchange after it names the cause."""

    world_installed = False
    recordable = False

    def runTest(self) -> None:
        with own_switch(self) as session:
            session.set_incarnation(self.world.incarnation)
            session.set_lease()
            session.run([], [], Counter(), None)
            os.kill(session.switch.pid, signal.SIGKILL)
            session.stream.join(60)
            for _ in range(2):
                with self.assertRaisesRegex(StreamFailed, "packet stream of the switch is gone: UNAVAILABLE"):
                    session.run([], [], Counter(), None)
