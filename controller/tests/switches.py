# SPDX-License-Identifier: Apache-2.0
"""Switches for tests: real ones, as processes of their own, on UNIX sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from nvo3sec.domain.model import Nve

CPU_PORT = 510
DEADLINE_S = 30.0


def _embedded() -> str | None:
    beside = Path(sys.executable).with_name("p4softswitch")
    return str(beside) if beside.exists() else shutil.which("p4softswitch")


EXECUTABLES = {"embedded": _embedded(), "bmv2": shutil.which("simple_switch_grpc")}


def _packet_class() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="controller_tests/ports.proto", package="controller_tests", syntax="proto3"
    )
    message = file.message_type.add(name="Packet")
    fields = (("id", kinds.TYPE_UINT64), ("device_id", kinds.TYPE_UINT64), ("port", kinds.TYPE_UINT32))
    for number, (name, kind) in enumerate((*fields, ("packet", kinds.TYPE_BYTES)), start=1):
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("controller_tests.Packet"))


Packet = _packet_class()


@dataclass
class SwitchProcess:
    """One switch. `target` is its P4Runtime address."""

    executable: str
    device_id: int
    directory: Path
    name: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        return f"unix:{self.directory / self.name}.sock"

    @property
    def ports_target(self) -> str:
        return f"unix:{self.directory / self.name}.ports"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def start(self) -> None:
        for target in (self.target, self.ports_target):
            Path(target.removeprefix("unix:")).unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.executable,
                    "--no-p4",
                    "--device-id",
                    str(self.device_id),
                    "--",
                    "--grpc-server-addr",
                    self.target,
                    "--dp-grpc-server-addr",
                    self.ports_target,
                    "--cpu-port",
                    str(CPU_PORT),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for target in (self.target, self.ports_target):
            wait_for_server(target, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def wait_for_server(target: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the server accepts connections; fail at once if its process ends."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        assert process.poll() is None, f"the switch ended with {process.returncode}"
        assert time.monotonic() < deadline, f"no server at {target}"
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(target.removeprefix("unix:"))
            except OSError:
                time.sleep(0.01)
            else:
                return


@dataclass
class Ports:
    """The data ports of one switch over gRPC. What comes out is kept by port."""

    switch: SwitchProcess
    queues: dict[int, asyncio.Queue[bytes]] = field(default_factory=dict)
    _reader: asyncio.Task[None] | None = None
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        # Not the connection that another channel has to the switch that was there before. And no stream before there is
        # one: it would fail at once, and for good.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(self.switch.ports_target, options)
        async with asyncio.timeout(DEADLINE_S):
            await self._channel.channel_ready()
        self._stream = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=Packet.SerializeToString,
            response_deserializer=Packet.FromString,
        )()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while (packet := await self._stream.read()) is not grpc.aio.EOF:
                await self.arrived(packet.port, packet.packet)
        except grpc.aio.AioRpcError:
            pass  # the switch was stopped

    async def arrived(self, port: int, frame: bytes) -> None:
        self.queues.setdefault(port, asyncio.Queue()).put_nowait(frame)

    async def send(self, port: int, frame: bytes) -> None:
        async with self._writing:  # a test and the wires write; gRPC takes one write of a stream at a time
            await self._stream.write(Packet(device_id=self.switch.device_id, port=port, packet=frame))

    async def receive(self, port: int, timeout_s: float = 30.0) -> bytes:
        queue = self.queues.setdefault(port, asyncio.Queue())
        return await asyncio.wait_for(queue.get(), timeout_s)

    def waiting(self, port: int) -> int:
        queue = self.queues.get(port)
        return queue.qsize() if queue else 0

    async def close(self) -> None:
        if self._reader is None:
            return
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._stream.cancel()
        await self._channel.close()


class Underlay:
    """Wires between the underlay ports of several switches: what leaves one goes to where its destination MAC lives."""

    def __init__(self, nves: Sequence[Nve], ports: dict[str, Ports]) -> None:
        self._owner = {mac.to_bytes(6, "big"): (nve.name, port) for nve in nves for port, mac in nve.underlay_ports}
        self.ports = ports
        self.carried: list[bytes] = []
        for one in ports.values():
            self._connect(one)

    def _connect(self, one: Ports) -> None:
        deliver = one.arrived

        async def arrived(port: int, frame: bytes) -> None:
            if port < 256:
                await deliver(port, frame)
                return
            self.carried.append(frame)
            owner = self._owner.get(frame[:6])
            if owner is not None:
                await self.ports[owner[0]].send(owner[1], frame)

        one.arrived = arrived  # type: ignore[method-assign]
