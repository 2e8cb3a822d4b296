# SPDX-License-Identifier: Apache-2.0
"""The process of an attacker on the control network: `python -m nvo3lab.drill.intruder CONFIGURATION`.

It speaks TLS and gRPC with libraries only: nothing in it comes from the controller.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import re
import signal
import socket
import ssl
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from nvo3lab.drill import messages
from nvo3lab.rpc import serve

_TIMEOUT = 15.0
_CONNECT = "/nvo3sec.v1.Nva/Connect"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
"""What a client of HTTP/2 says first (RFC 9113 section 3.4), and an empty SETTINGS frame."""
_BLOCK = 65536
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", re.DOTALL)


class Intruder:
    """An attacker that reaches the NVA's port.

    Configuration: host and port of the NVA, its name in certificates, and the authority that it is verified against.
    """

    def __init__(self, configuration: dict[str, Any]) -> None:
        self._host, self._port = configuration["host"], int(configuration["port"])
        self._name, self._anchors = configuration["name"], Path(configuration["anchors"])
        self._posing: _Posing | None = None

    async def handshake(self, count: int, device: str | None = None, version: str = "TLSv1_3") -> dict[str, int]:
        """TLS, and then the first words of HTTP/2. How often it ended how; `accepted` where the NVA answered them."""
        return dict(Counter([await asyncio.to_thread(self._handshake, device, version) for _ in range(count)]))

    def _handshake(self, device: str | None, version: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions of TLS are the point
            context = ssl.create_default_context(cafile=str(self._anchors))
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        context.set_alpn_protocols(["h2"])
        if device is not None:
            context.load_cert_chain(device)
        try:
            with (
                socket.create_connection((self._host, self._port), _TIMEOUT) as raw,
                context.wrap_socket(raw, server_hostname=self._name) as connection,
            ):
                connection.sendall(_PREFACE)
                return "accepted" if connection.recv(_BLOCK) else "closed"
        except ssl.SSLError as error:
            return (error.reason or "TLS failed").lower().replace("_", " ")
        except TimeoutError:
            return "no answer"
        except OSError:
            return "closed"

    async def call(self, device: str, rpc: str, requests: list[str], stream: bool = False) -> dict[str, int]:
        """Call a method with each request (base64) under a device's credentials. How often with which status."""
        statuses: Counter[str] = Counter()
        async with self._channel(device) as channel:
            for request in requests:
                body = base64.b64decode(request)
                try:
                    if stream:
                        call = channel.stream_stream(rpc)(iter([body]), timeout=_TIMEOUT)
                        await call.read()
                        statuses[await _status(call)] += 1
                    else:
                        await channel.unary_unary(rpc)(body, timeout=_TIMEOUT)
                        statuses["ok"] += 1
                except grpc.aio.AioRpcError as error:
                    statuses[_how(error.code(), error.details())] += 1
        return dict(statuses)

    def _channel(self, device: str) -> Any:
        credentials = grpc.ssl_channel_credentials(self._anchors.read_bytes(), *_key_and_chain(Path(device)))
        options = [("grpc.ssl_target_name_override", self._name), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"{self._host}:{self._port}", credentials, options)

    async def pose(self, device: str, registration: str) -> None:
        """Be the agent of a device, from its registration (base64) on, until `leave`. Raises ValueError if refused."""
        await self.leave()
        posing = _Posing(self._channel(device))
        try:
            await posing.register(base64.b64decode(registration))
        except grpc.aio.AioRpcError as error:
            await posing.end()
            raise ValueError(f"not taken for the agent: {error.code().name}") from None
        self._posing = posing

    async def as_agent(self, rpc: str, request: str) -> dict[str, str]:
        """Call a method within the session of `pose`; its name is put in front. Returns status and answer (base64)."""
        if self._posing is None:
            raise ValueError("nobody is being posed as")
        return await self._posing.call(rpc, base64.b64decode(request))

    async def say(self, said: list[str]) -> dict[str, int]:
        """Say each of these (base64) in the stream of `pose`. How often it was heard, or how the stream had ended."""
        if self._posing is None:
            raise ValueError("nobody is being posed as")
        return dict(Counter([await self._posing.say(base64.b64decode(one)) for one in said]))

    async def operate(self, device: str, rpc: str, request: str, limit: float) -> Any:
        """An operator's question (base64), asked here where a command would take too long to start. Returns its JSON.

        Raises ValueError for anything else than an answer.
        """
        async with self._channel(device) as channel:
            try:
                answer = await channel.unary_unary(rpc)(base64.b64decode(request), timeout=limit)
            except grpc.aio.AioRpcError as error:
                raise ValueError(error.details() or error.code().name) from None
        return json.loads(messages.part(answer, 1))

    async def leave(self) -> None:
        """End the session of `pose`, if there is one."""
        posing, self._posing = self._posing, None
        if posing is not None:
            await posing.end()

    async def garbage(self, payloads: list[str], source: str) -> dict[str, Any]:
        """Send bytes (base64) to the port, each on a connection of its own, from an address of its own.

        Returns how many were closed and how many not, and the bytes of both directions.
        """
        ended: Counter[str] = Counter()
        sent = received = 0
        for payload in payloads:
            body = base64.b64decode(payload)
            how, answer = await asyncio.to_thread(self._throw, body, source)
            ended[how] += 1
            sent += len(body)
            received += answer
        return {"ended": dict(ended), "sent": sent, "received": received}

    def _throw(self, body: bytes, source: str) -> tuple[str, int]:
        received = 0
        try:
            with socket.create_connection((self._host, self._port), _TIMEOUT, (source, 0)) as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(body)
                while data := connection.recv(_BLOCK):
                    received += len(data)
        except TimeoutError:
            return "no end", received
        except OSError:
            pass
        return "closed", received


class _Posing:
    """A session as an agent has it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._stream = channel.stream_stream(_CONNECT)()
        self._name = b""
        self._reading: asyncio.Task[None] | None = None

    async def register(self, registration: bytes) -> None:
        await self._stream.write(registration)
        welcome = await asyncio.wait_for(self._stream.read(), _TIMEOUT)
        self._name = messages.part(welcome, 1, 1)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await self._stream.read() is not grpc.aio.EOF:
                continue

    async def say(self, message: bytes) -> str:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await asyncio.wait_for(self._stream.write(message), _TIMEOUT)
        if not self._stream.done():
            return "heard"
        return _how(await self._stream.code(), await self._stream.details())

    async def call(self, rpc: str, body: bytes) -> dict[str, str]:
        try:
            answer = await self._channel.unary_unary(rpc)(messages.field(1, self._name) + body, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            return {"status": error.code().name.lower(), "answer": ""}
        return {"status": "ok", "answer": base64.b64encode(answer).decode()}

    async def end(self) -> None:
        self._stream.cancel()
        if self._reading is not None:
            await asyncio.wait([self._reading])
        await self._channel.close()


async def _status(call: Any) -> str:
    """How a stream ended; `ok` for one that goes on, which is what an intruder wants."""
    try:
        code = await asyncio.wait_for(call.code(), 0.5)
    except TimeoutError:
        call.cancel()
        return "ok"
    return _how(code, await call.details())


def _how(code: Any, details: str | None) -> str:
    """A status in a word.

    `reset`: the server ended the stream while the intruder was still sending, and the status was lost on the way; gRPC
    makes up one of its own then. What the server calls an internal error is one.
    """
    if code is not grpc.StatusCode.INTERNAL:
        return str(code.name).lower()
    return "internal" if "internal error" in (details or "") else "reset"


def _key_and_chain(path: Path) -> tuple[bytes, bytes]:
    """A file with both, taken apart."""
    whole = [found.group(0) for found in _PEM.finditer(path.read_text(encoding="ascii"))]
    return (
        "".join(block for block in whole if "KEY" in block.partition("\n")[0]).encode(),
        "".join(block for block in whole if "CERTIFICATE" in block.partition("\n")[0]).encode(),
    )


async def _run(configuration: dict[str, Any]) -> None:
    intruder = Intruder(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    names = ("handshake", "call", "garbage", "pose", "as_agent", "say", "leave", "operate")
    methods = {name: getattr(intruder, name) for name in names}
    async with await serve(Path(configuration["control"]), methods):
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.drill.intruder")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


main()
