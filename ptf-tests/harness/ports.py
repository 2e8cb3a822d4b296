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
from collections.abc import Iterator
from typing import Any

import grpc
import ptf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.p4runtime import unix_channel

# PTF imports scapy unless told otherwise; under the ptf command its own option decides.
ptf.config.setdefault("packet_manipulation_module", "harness.packets")
with contextlib.redirect_stdout(None):
    from ptf.dataplane import DataPlane, DataPlanePacketSourceIface, DataPlanePortIface

__all__ = ["DEVICE", "DataPlane", "GrpcPort", "PacketStream"]

DEVICE = 0  # PTF's number of the one device


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


class PacketStream:
    """The one stream that carries the packets of all ports."""

    def __init__(self, path: str, device_id: int = 1) -> None:
        self._device_id = device_id
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ports: dict[int, GrpcPort] = {}
        self.strays: list[tuple[int, bytes]] = []  # what came out of ports that nobody listens on
        self._channel = unix_channel(path)
        call = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=Packet.SerializeToString,
            response_deserializer=Packet.FromString,
        )
        self._stream = call(self._requests())
        self._reader = threading.Thread(target=self._read, name="dataplane-stream", daemon=True)
        self._reader.start()

    def attach(self, number: int, port: GrpcPort) -> None:
        self._ports[number] = port

    def send(self, port: int, packet: bytes) -> None:
        self._outgoing.put(Packet(device_id=self._device_id, port=port, packet=packet))

    def close(self) -> None:
        self._outgoing.put(None)
        self._stream.cancel()
        self._reader.join(10)
        self._channel.close()

    def _requests(self) -> Iterator[Any]:
        while (packet := self._outgoing.get()) is not None:
            yield packet

    def _read(self) -> None:
        try:
            for message in self._stream:
                port = self._ports.get(message.port)
                if port is None:
                    self.strays.append((message.port, message.packet))
                else:
                    port.arrived(message.packet)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                self.strays.append((-1, str(error).encode()))


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
