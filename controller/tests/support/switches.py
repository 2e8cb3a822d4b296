# SPDX-License-Identifier: Apache-2.0
"""Switches for tests: real ones, as processes of their own, on UNIX sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from nvo3sec.domain.overlay.model import Nve

CPU_PORT = 510
DEADLINE_S = 120.0
"""What takes so long hangs, however busy the machine. A process that ends is noticed at once."""


NAMES = {"embedded": "p4softswitch", "bmv2": "simple_switch_grpc"}


def _find(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


EXECUTABLES = {target: _find(name) for target, name in NAMES.items()}


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
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside that of the tests."""

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
                env=os.environ | self.environment,
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


_TURNED_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    # What grpc.aio makes of any status if a write comes after it. The next stream may tell.
    grpc.StatusCode.INTERNAL,
)


@dataclass
class Ports:
    """The data ports of one switch over gRPC. What comes out is kept by port.

    BMv2 turns the stream away, and reads nothing of it, until its main thread has noticed a program and the last
    client's end. Until something has come out, what was sent is kept, and sent again on the next stream.
    """

    switch: SwitchProcess
    queues: dict[int, asyncio.Queue[bytes]] = field(default_factory=dict)
    ended: str | None = None
    _early: list[Any] | None = None
    _reader: asyncio.Task[None] | None = None
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        # Not the connection that another channel has to the switch that was there before. And no stream before there is
        # one: it would fail at once.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(self.switch.ports_target, options)
        async with asyncio.timeout(DEADLINE_S):
            await self._channel.channel_ready()
        self._call = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=Packet.SerializeToString,
            response_deserializer=Packet.FromString,
        )
        self.ended, self._early = None, []
        self._stream = self._call()
        if self.switch.executable == EXECUTABLES["embedded"]:
            # What comes out of a port before the switch has the stream is lost. BMv2 says nothing before a packet.
            async with asyncio.timeout(DEADLINE_S):
                await self._stream.initial_metadata()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                while (packet := await self._stream.read()) is not grpc.aio.EOF:
                    self._early = None
                    await self.arrived(packet.port, packet.packet)
                self.ended = "the switch closed it"
                return
            except grpc.aio.AioRpcError as error:
                process = self.switch.process
                again = process is not None and process.poll() is None and time.monotonic() < deadline
                if self._early is None or not again or error.code() not in _TURNED_AWAY:
                    self.ended = f"{error.code().name}: {error.details()}"
                    return
            await asyncio.sleep(0.02)
            async with self._writing:
                self._stream = self._call()
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # read() says it, too
                    for packet in self._early:
                        await self._stream.write(packet)

    async def arrived(self, port: int, frame: bytes) -> None:
        self.queues.setdefault(port, asyncio.Queue()).put_nowait(frame)

    async def send(self, port: int, frame: bytes) -> None:
        packet = Packet(device_id=self.switch.device_id, port=port, packet=frame)
        async with self._writing:  # a test and the wires write; gRPC takes one write of a stream at a time
            if self._early is not None:
                self._early.append(packet)
            try:
                await self._stream.write(packet)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                if self._early is None or self.ended is not None:
                    raise

    async def receive(self, port: int, timeout_s: float = 120.0) -> bytes:
        """The next frame out of a port. Fails at once, and says why, if the stream has ended."""
        assert self._reader is not None, "open() comes first"
        coming = asyncio.ensure_future(self.queues.setdefault(port, asyncio.Queue()).get())
        try:
            await asyncio.wait((coming, self._reader), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            assert coming.done(), f"{self.switch.name}: nothing came out of port {port}; packet stream: {self.state()}"
            return coming.result()
        finally:
            coming.cancel()

    def state(self) -> str:
        """Of the packet stream, in words."""
        if self.ended is not None:
            return f"ended, {self.ended}"
        return "open" if self._early is None else "nothing has come out of it yet"

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
