# SPDX-License-Identifier: Apache-2.0
"""Data ports over gRPC: the service p4.bm.DataplaneInterface of simple_switch_grpc, as ports of PTF's data plane.

The three messages are described here, by hand, since the switch's repository is not a dependency.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import ptf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.p4runtime import unix_channel

# PTF imports scapy unless told otherwise; under the ptf command its own option decides.
ptf.config.setdefault("packet_manipulation_module", "harness.packets")
with contextlib.redirect_stdout(None):
    from ptf.dataplane import DataPlane, DataPlanePacketSourceIface, DataPlanePortIface

__all__ = ["DEVICE", "DataPlane", "GrpcPort", "PacketStream", "StreamFailed"]

DEVICE = 0  # PTF's number of the one device
OPEN_SECONDS = 120.0  # BMv2's main thread begins when the machine lets it; what takes this long has failed
PAUSE_SECONDS = 0.02  # before a stream that was turned away is opened again: the switch may need this very core


def _packet_message() -> Any:
    """Request and response have the same fields: id, device_id, port, packet."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="nve_packet_tests/dataplane.proto", package="nve_packet_tests", syntax="proto3"
    )
    message = file.message_type.add(name="Packet")
    for number, (name, kind) in enumerate(
        [
            ("id", kinds.TYPE_UINT64),
            ("device_id", kinds.TYPE_UINT64),
            ("port", kinds.TYPE_UINT32),
            ("packet", kinds.TYPE_BYTES),
        ],
        start=1,
    ):
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nve_packet_tests.Packet"))


Packet = _packet_message()


class StreamFailed(Exception):
    """The packet stream does not stand. The text has what the switch answered."""


class PacketStream:
    """The one stream that carries the packets of all ports. It carries nothing before `open` has returned."""

    def __init__(self, path: str, is_alive: Callable[[], bool] = lambda: True, device_id: int = 1) -> None:
        self._device_id = device_id
        self._is_alive = is_alive
        self._ports: dict[int, GrpcPort] = {}
        self.strays: list[tuple[int, bytes]] = []  # what came out of ports that nobody listens on
        self._channel = unix_channel(path)
        self._call = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=Packet.SerializeToString,
            response_deserializer=Packet.FromString,
        )
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stream: Any = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self._stands = False
        self._ended: str | None = None
        self._turned_away = False

    def open(self, probe: tuple[int, bytes], brings: tuple[int, bytes]) -> None:
        """Opens the stream until it stands: until `brings` has come out for `probe`, both (port, packet).

        BMv2 answers UNAVAILABLE, "not ready", from the push of a program until its main thread has noticed it, and
        RESOURCE_EXHAUSTED until it has noticed that the last client is gone. It reads nothing of a stream that it turns
        away, so the probe enters once. Nothing else tells a stream that stands: the first answer is the first packet.
        Raises StreamFailed.
        """
        deadline = time.monotonic() + OPEN_SECONDS
        answer, attempts = "no answer", 0
        while True:
            attempts += 1
            self._begin(probe, brings)
            with self._changed:
                self._changed.wait_for(lambda: self._stands or self._ended is not None, deadline - time.monotonic())
                if self._stands:
                    return
                answer = self._ended or answer
                late = time.monotonic() >= deadline
                if late or not self._turned_away or not self._is_alive():
                    within = f"within {OPEN_SECONDS:g} s, " if late else ""
                    self._ended = f"it did not stand {within}in {attempts} attempts: {answer}"
                    break
            time.sleep(PAUSE_SECONDS)
        self.check()

    def check(self) -> None:
        """Raises StreamFailed if the stream has ended: whatever was sent since then went nowhere."""
        if self._ended is not None:
            alive = "alive" if self._is_alive() else "dead"
            raise StreamFailed(f"the packet stream of the switch is gone: {self._ended} (the switch is {alive})")

    def join(self, seconds: float) -> None:
        """Waits until the stream has ended; `check` then says why."""
        if self._reader is not None:
            self._reader.join(seconds)

    def attach(self, number: int, port: GrpcPort) -> None:
        self._ports[number] = port

    def send(self, port: int, packet: bytes) -> None:
        self._outgoing.put(Packet(device_id=self._device_id, port=port, packet=packet))

    def close(self) -> None:
        self._outgoing.put(None)
        if self._stream is not None:
            self._stream.cancel()
            self.join(10)
        self._channel.close()

    def _begin(self, probe: tuple[int, bytes], brings: tuple[int, bytes]) -> None:
        self._outgoing.put(None)  # gRPC's thread that feeds the last attempt waits there
        self._outgoing = queue.SimpleQueue()
        self._ended, self._turned_away = None, False
        self.send(*probe)
        self._stream = self._call(self._requests(self._outgoing))
        self._reader = threading.Thread(
            target=self._read, args=(self._stream, brings), name="dataplane-stream", daemon=True
        )
        self._reader.start()

    @staticmethod
    def _requests(outgoing: queue.SimpleQueue[Any]) -> Iterator[Any]:
        while (packet := outgoing.get()) is not None:
            yield packet

    def _read(self, stream: Any, brings: tuple[int, bytes]) -> None:
        try:
            for message in stream:
                if not self._stands:
                    came = message.port, message.packet
                    if came != brings:
                        self._end(f"{came[1].hex()} on port {came[0]} as the answer to the first packet")
                        return
                    with self._changed:
                        self._stands = True
                        self._changed.notify_all()
                elif (port := self._ports.get(message.port)) is None:
                    self.strays.append((message.port, message.packet))
                else:
                    port.arrived(message.packet)
            self._end("the switch closed it")
        except grpc.RpcError as error:
            code = error.code()
            turned_away = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self._end(f"{code.name}: {error.details()}", turned_away)

    def _end(self, why: str, turned_away: bool = False) -> None:
        with self._changed:
            self._ended, self._turned_away = why, turned_away
            self._changed.notify_all()


class GrpcPort(DataPlanePortIface, DataPlanePacketSourceIface):
    """One port, in the shape that ptf.dataplane.DataPlane wants: selectable, recv() for each packet."""

    def __init__(self, interface_name: str, device_number: int, port_number: int, config: dict[str, Any]) -> None:
        del interface_name  # the socket is the same for all ports
        self._device = device_number
        self._number = port_number
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._ready = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
        self._stream: PacketStream = config["dataplane"]["stream"]
        self._stream.attach(port_number, self)

    def __del__(self) -> None:
        os.close(self._ready)

    def arrived(self, packet: bytes) -> None:
        self._waiting.append((packet, time.time()))
        os.eventfd_write(self._ready, 1)

    def get_packet_source(self) -> GrpcPort:
        return self

    def fileno(self) -> int:
        return self._ready

    def recv(self) -> tuple[int, int, bytes, float]:
        os.eventfd_read(self._ready)
        packet, when = self._waiting.popleft()
        return self._device, self._number, packet, when

    def send(self, packet: bytes) -> int:
        self._stream.send(self._number, packet)
        return len(packet)
