# SPDX-License-Identifier: Apache-2.0
"""The connection to one P4Runtime server: channel, stream, and being its primary client.

It stands on finsy's protocol stubs rather than on its client class, whose errors and log lines show whole messages,
and with them keys. Here, what a server says is reduced to status codes and its text, and no request is ever logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from finsy.proto import U128, p4r, p4r_grpc, rpc_code, rpc_status

from nvo3sec.errors import NotPrimary, SwitchError, SwitchUnreachable
from nvo3sec.system.uptime import uptime_s

logging.getLogger("finsy").setLevel(logging.CRITICAL + 1)

ELECTION_ID = 1 << 64
"""Of every agent. Two agents on one switch are a mistake, and the second one finds the number taken."""

RPC_TIMEOUT_S = 30.0
PUSH_TIMEOUT_S = 180.0
"""The embedded switch compiles the program when it is loaded."""

PACKET_QUEUE = 256
"""Packets that wait for the agent. The pipeline meters them too; what does not fit is counted."""

_OPTIONS = (
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 256 << 20),
    ("grpc.max_metadata_size", 1 << 20),  # per-update errors of a large write
    ("grpc.use_local_subchannel_pool", 1),
)


class RpcFailed(SwitchError):
    """A call failed: gRPC code, the server's text, and the code and text of each update that failed by its index."""

    def __init__(self, code: int, text: str, details: dict[int, tuple[int, str]] | None = None) -> None:
        self.code = code
        self.text = text
        self.details = details or {}
        super().__init__(f"{code_name(code)}: {text}" if text else code_name(code))


def code_name(code: int) -> str:
    """NOT_FOUND for 5, and so on."""
    try:
        return str(rpc_code.Code.Name(code))
    except ValueError:
        return f"code {code}"


def _failure(error: grpc.aio.AioRpcError) -> RpcFailed:
    code = int(error.code().value[0])
    text = error.details() or ""
    details: dict[int, tuple[int, str]] = {}
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            status = rpc_status.Status()
            with contextlib.suppress(Exception):
                status.ParseFromString(value)
            for index, detail in enumerate(status.details):
                one = p4r.Error()
                if detail.Unpack(one) and one.canonical_code != rpc_code.OK:
                    details[index] = (one.canonical_code, one.message)
    return RpcFailed(code, text, details)


class Connection:
    """An open connection as primary. Use `Connection.open`; close it with `close`."""

    def __init__(self, name: str, target: str, device_id: int) -> None:
        self.name = name
        self.device_id = device_id
        self.packets: asyncio.Queue[tuple[p4r.StreamMessageResponse, float]] = asyncio.Queue(PACKET_QUEUE)
        self.packets_lost = 0
        self.stream_errors = 0
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._stub: Any = p4r_grpc.P4RuntimeStub(self._channel)
        self._stream: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        """grpc.aio takes one message at a time: a second one that comes before it is written ends the stream."""
        self._broken: asyncio.Future[SwitchError] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, name: str, target: str, device_id: int, timeout_s: float = 10.0) -> Connection:
        """Connect and become primary. Raises SwitchUnreachable, NotPrimary."""
        connection = cls(name, target, device_id)
        try:
            async with asyncio.timeout(timeout_s):
                await connection._arbitrate()
        except TimeoutError:
            await connection.close()
            raise SwitchUnreachable(f"{name}: no answer at {target} within {timeout_s:g} s") from None
        except BaseException:
            await connection.close()
            raise
        connection._reader = asyncio.create_task(connection._read(), name=f"{name}: stream")
        return connection

    async def _arbitrate(self) -> None:
        self._stream = self._stub.StreamChannel()
        update = p4r.MasterArbitrationUpdate(device_id=self.device_id, election_id=U128.encode(ELECTION_ID))
        try:
            await self._stream.write(p4r.StreamMessageRequest(arbitration=update))
            while True:
                message = await self._stream.read()
                if message is grpc.aio.EOF:
                    # The status of the call says why.
                    await self._stream
                    raise SwitchUnreachable(f"{self.name}: the stream ended during arbitration")
                if message.WhichOneof("update") == "arbitration":
                    break
        except grpc.aio.AioRpcError as error:
            failure = _failure(error)
            if failure.code in (rpc_code.INVALID_ARGUMENT, rpc_code.ALREADY_EXISTS):
                raise NotPrimary(f"{self.name}: {failure}; does another controller run on this switch?") from None
            raise SwitchUnreachable(f"{self.name}: {failure}") from None
        except asyncio.InvalidStateError:
            raise SwitchUnreachable(f"{self.name}: the stream closed during arbitration") from None
        if message.arbitration.status.code != rpc_code.OK:
            raise NotPrimary(f"{self.name}: another client is primary; whoever it is can read the keys of this switch")

    async def _read(self) -> None:
        try:
            while True:
                message = await self._stream.read()
                if message is grpc.aio.EOF:
                    self._break(SwitchUnreachable(f"{self.name}: the switch closed the stream"))
                    return
                self._dispatch(message, uptime_s())
        except grpc.aio.AioRpcError as error:
            self._break(SwitchUnreachable(f"{self.name}: {_failure(error)}"))
        except asyncio.InvalidStateError:
            self._break(SwitchUnreachable(f"{self.name}: the stream is closed"))

    def _dispatch(self, message: p4r.StreamMessageResponse, now: float) -> None:
        match message.WhichOneof("update"):
            case "packet":
                try:
                    self.packets.put_nowait((message, now))
                except asyncio.QueueFull:
                    self.packets_lost += 1
            case "arbitration":
                if message.arbitration.status.code != rpc_code.OK:
                    self._break(NotPrimary(f"{self.name}: another client took over; it can read the keys here"))
            case "error":
                self.stream_errors += 1
            case _:
                pass

    def _break(self, error: SwitchError) -> None:
        if not self._broken.done():
            self._broken.set_result(error)

    async def until_broken(self) -> SwitchError:
        """Wait until the connection is of no use any more; returns why."""
        return await asyncio.shield(self._broken)

    def check(self) -> None:
        """Raise what broke the connection, if something did."""
        if self._broken.done():
            raise self._broken.result()

    async def send(self, message: p4r.StreamMessageRequest) -> None:
        """Send over the stream. Raises SwitchUnreachable."""
        try:
            async with self._writing:
                self.check()
                await self._stream.write(message)
        except grpc.aio.AioRpcError as error:
            raise SwitchUnreachable(f"{self.name}: {_failure(error)}") from None
        except asyncio.InvalidStateError:
            raise SwitchUnreachable(f"{self.name}: the stream is closed") from None

    async def call(self, method: str, request: Any, timeout_s: float = RPC_TIMEOUT_S) -> Any:
        """A unary call. Raises RpcFailed, SwitchUnreachable."""
        self.check()
        return await self._guard(lambda: getattr(self._stub, method)(request, timeout=timeout_s))

    async def _guard(self, call: Callable[[], Any]) -> Any:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            failure = _failure(error)
            if failure.code in (rpc_code.UNAVAILABLE, rpc_code.DEADLINE_EXCEEDED):
                raise SwitchUnreachable(f"{self.name}: {failure}") from None
            raise failure from None

    async def call_other(self, method: str) -> bytes:
        """A method beside P4Runtime, with an empty request. Raises RpcFailed, SwitchUnreachable."""
        self.check()
        call = self._channel.unary_unary(method)
        return bytes(await self._guard(lambda: call(b"", timeout=RPC_TIMEOUT_S)))

    async def read(self, entities: list[p4r.Entity]) -> AsyncIterator[p4r.Entity]:
        """Read. Raises RpcFailed, SwitchUnreachable."""
        self.check()
        request = p4r.ReadRequest(device_id=self.device_id, entities=entities)
        try:
            async for reply in self._stub.Read(request, timeout=RPC_TIMEOUT_S):
                for entity in reply.entities:
                    yield entity
        except grpc.aio.AioRpcError as error:
            failure = _failure(error)
            if failure.code in (rpc_code.UNAVAILABLE, rpc_code.DEADLINE_EXCEEDED):
                raise SwitchUnreachable(f"{self.name}: {failure}") from None
            raise failure from None

    async def close(self) -> None:
        """Close everything. The switch keeps what it holds."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._stream is not None:
            self._stream.cancel()
        await self._channel.close()
        self._break(SwitchUnreachable(f"{self.name}: closed"))
