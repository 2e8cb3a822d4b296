# SPDX-License-Identifier: Apache-2.0
"""Attackers as processes: `python attackers.py '{"kind": "connections", "port": 7443, ...}'`.

Nothing in them comes from the controller. Each prints one JSON object with what it saw, when its work is done or its
standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import http2

SERVICE = "/nvo3sec.v1.Nva/"
HALF_A_HELLO = bytes.fromhex("16030102000100 01fc0303") + bytes(200)
STOPPED = threading.Event()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes) -> bytes:
    """One field of Protocol Buffers."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def registration() -> bytes:
    """The first message of an agent's stream."""
    return field(1, field(1, os.urandom(16)))


def report(detail: bytes = b"x" * 1000) -> bytes:
    """A message of an agent's stream that an operator is meant to see."""
    return field(3, field(1, b"foreign-entry") + field(2, detail))


def read_back(entries: int) -> bytes:
    """A message of an agent's stream: what its switch is said to hold."""
    one = field(2, field(1, b"leaf2") + field(2, 1) + field(3, 0x12345678))
    return field(2, field(1, os.urandom(16)) + one * entries)


def look_up(session: bytes, vni: int = 5001) -> bytes:
    """A lookup."""
    return field(1, session) + field(2, vni) + field(3, 0x02AA00000001)


def attach(session: bytes, mac: int) -> bytes:
    """A tenant system of VN blue at port 1."""
    return field(1, session) + field(2, field(1, 1) + field(3, 5001) + field(4, mac))


# --- connections ----------------------------------------------------------------------------------------------------


class Nobody:
    """Opens connections from many addresses, and sees how each of them ends."""

    def __init__(
        self,
        port: int,
        name: str,
        anchors: str,
        count: int,
        sources: int,
        at_once: int,
        kinds: Sequence[str] = ("silent", "half a hello", "no certificate"),
        **_: Any,
    ) -> None:
        self._port, self._name, self._anchors = port, name, anchors
        self._kinds = kinds
        self._count, self._sources = count, sources
        self._places = asyncio.Semaphore(at_once)
        self._context = http2.context(anchors, None)
        self.ended: Counter[str] = Counter()
        self.sent = self.received = 0

    async def run(self) -> dict[str, Any]:
        """All of them."""
        tasks = set()
        for number in range(self._count):
            await self._places.acquire()
            task = asyncio.create_task(self._one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return {"ended": self.ended, "sent": self.sent, "received": self.received}

    async def _one(self, number: int) -> None:
        kind = self._kinds[number % len(self._kinds)]
        place = number % self._sources
        source = f"127.1.{place // 250}.{1 + place % 250}"
        try:
            self.ended[f"{kind}: {await self._throw(kind, source)}"] += 1
        finally:
            self._places.release()

    async def _throw(self, kind: str, source: str) -> str:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(source, 0))
        except OSError as error:
            return "reset" if isinstance(error, ConnectionError) else type(error).__name__
        try:
            if kind == "half a hello":
                writer.write(HALF_A_HELLO)
                self.sent += len(HALF_A_HELLO)
            if kind == "whole hello":
                hello = self._hello()
                writer.write(hello)
                self.sent += len(hello)
            if kind == "no certificate":
                return await self._handshake(reader, writer)
            async with asyncio.timeout(120):
                got = await reader.read()
            self.received += len(got)
            return "closed" if not got else "answered"
        except TimeoutError:
            return "never"
        except ConnectionError:
            return "reset"
        finally:
            writer.transport.abort()

    def _hello(self) -> bytes:
        out = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self._context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=self._name).do_handshake()
        return out.read()

    async def _handshake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_hostname=self._name)

        async def more() -> bool:
            async with asyncio.timeout(120):
                data = await reader.read(65536)
            self.received += len(data)
            incoming.write(data)
            if not data:
                incoming.write_eof()
            return bool(data)

        def flush() -> None:
            data = outgoing.read()
            self.sent += len(data)
            writer.write(data)

        step: Callable[[], Any] = tls.do_handshake
        while True:
            try:
                step()
                flush()
                step = lambda: tls.read(1)  # noqa: E731
            except ssl.SSLWantReadError:
                flush()
                if not await more():
                    return "closed"
            except ssl.SSLError as error:
                return (error.reason or "TLS failed").lower().replace("_", " ")


# --- floods of one identity -----------------------------------------------------------------------------------------


def key_and_chain(device: str) -> tuple[bytes, bytes]:
    """A file with both, taken apart."""
    whole = re.findall(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n", Path(device).read_text(), re.DOTALL)
    key = [block for block in whole if "KEY" in block.partition("\n")[0]]
    return "".join(key).encode(), "".join(block for block in whole if block not in key).encode()


class Insider:
    """A device with a certificate, whose calls come as fast as they can be made."""

    def __init__(self, port: int, name: str, anchors: str, device: str, what: str, workers: int = 32, **more: Any):
        import grpc  # the other attackers start faster without it

        self._grpc = grpc
        self._what, self._workers, self._more = what, workers, more
        credentials = grpc.ssl_channel_credentials(Path(anchors).read_bytes(), *key_and_chain(device))
        options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
        target = f"127.0.0.1:{port}"
        self._channels = [grpc.aio.secure_channel(target, credentials, options) for _ in range(more.get("channels", 1))]
        self.ended: Counter[str] = Counter()

    async def run(self) -> dict[str, Any]:
        """Until standard input ends."""
        began = time.monotonic()
        work = {
            "lookups": self._lookups,
            "renewals": self._renewals,
            "attachments": self._attachments,
            "streams": self._streams,
            "reports": self._messages,
            "read-backs": self._messages,
            "registrations": self._messages,
        }[self._what]
        if self._what in ("lookups", "renewals", "attachments"):
            self._name = await self._session()
        tasks = [asyncio.create_task(work(number)) for number in range(self._workers)]
        await asyncio.to_thread(STOPPED.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()
        return {"ended": self.ended, "seconds": time.monotonic() - began}

    def _channel(self, number: int) -> Any:
        return self._channels[number % len(self._channels)]

    async def _call(self, number: int, name: str, body: bytes) -> None:
        try:
            await self._channel(number).unary_unary(SERVICE + name)(body, timeout=30)
            self.ended["ok"] += 1
        except self._grpc.aio.AioRpcError as error:
            self.ended[error.code().name] += 1

    async def _session(self) -> bytes:
        """A session as it should be, and its name."""
        call = self._channel(0).stream_stream(SERVICE + "Connect")()
        self._stream = call
        await call.write(registration())
        welcome = await call.read()
        start = welcome.index(b"\x0a\x10") + 2
        return bytes(welcome[start : start + 16])

    async def _lookups(self, number: int) -> None:
        body = look_up(self._name)
        while True:
            await self._call(number, "LookUp", body)

    async def _renewals(self, number: int) -> None:
        body = field(1, self._name)
        while True:
            await self._call(number, "RenewLease", body)

    async def _attachments(self, number: int) -> None:
        for mac in range(0x02DD00000000 + (number << 20), 0x02DD00000000 + (number + 1 << 20)):
            await self._call(number, "Attach", attach(self._name, mac))

    async def _streams(self, number: int) -> None:
        method = self._channel(number).stream_stream(SERVICE + "Connect")
        while True:
            call = method(timeout=30)
            try:
                await call.write(registration())
                await call.read()
                self.ended["opened"] += 1
                call.cancel()
            except (self._grpc.aio.AioRpcError, asyncio.InvalidStateError):
                self.ended[(await call.code()).name] += 1

    async def _messages(self, number: int) -> None:
        body = {
            "reports": lambda: report(),
            "registrations": lambda: registration(),
            "read-backs": lambda: read_back(int(self._more.get("entries", 80_000))),
        }[self._what]()
        method = self._channel(number).stream_stream(SERVICE + "Connect")
        while True:
            call = method()
            # A call of which nothing is read never ends here, and takes the place of the next one.
            reading = asyncio.create_task(self._read_all(call))
            try:
                await call.write(registration())
                while True:
                    await call.write(body)
                    self.ended["sent"] += 1
            except (self._grpc.aio.AioRpcError, asyncio.InvalidStateError):
                self.ended[(await call.code()).name] += 1
            finally:
                reading.cancel()

    async def _read_all(self, call: Any) -> None:
        with contextlib.suppress(self._grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while await call.read() is not self._grpc.aio.EOF:
                pass


# --- HTTP/2 ---------------------------------------------------------------------------------------------------------


class Http2:
    """Frames of HTTP/2, as fast as they are taken, over as many connections one after another as it takes."""

    def __init__(self, port: int, name: str, anchors: str, device: str, what: str, source: str = "127.0.0.9", **_: Any):
        self._where = (port, name, anchors, device, source)
        self._what = what
        self.ended: Counter[str] = Counter()
        self.frames = 0
        self._socket: socket.socket | None = None

    async def run(self) -> dict[str, Any]:
        """Until standard input ends."""
        began = time.monotonic()
        threading.Thread(target=self._end, daemon=True).start()
        await asyncio.to_thread(self._run)
        return {"ended": self.ended, "frames": self.frames, "seconds": time.monotonic() - began}

    def _end(self) -> None:
        """What waits for somebody to read from it must not wait any longer."""
        STOPPED.wait()
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not STOPPED.is_set():
            try:
                connection = http2.Connection(*self._where)
            except (OSError, ssl.SSLError):
                self.ended["not let in"] += 1
                STOPPED.wait(0.05)
                continue
            self._socket = socket.socket(fileno=os.dup(connection.tls.fileno()))
            reader = threading.Thread(target=self._drain, args=(connection,), daemon=True)
            try:
                connection.hello()
                # Read until the preface of the server has come: it has taken the connection.
                connection.tls.recv(9)
                reader.start()
                connection.tls.settimeout(60.0)
                while not STOPPED.is_set():
                    batch, count = self._batch(connection)
                    connection.tls.sendall(batch)
                    self.frames += count
                self.ended["stopped"] += 1
            except TimeoutError:
                self.ended["not read"] += 1
            except OSError:
                self.ended["closed"] += 1
            finally:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()
                connection.close()

    @staticmethod
    def _drain(connection: http2.Connection) -> None:
        with contextlib.suppress(OSError, ValueError):
            while connection.tls.recv(65536):
                pass

    def _batch(self, connection: http2.Connection) -> tuple[bytes, int]:
        count = 100
        match self._what:
            case "rapid reset":
                block = http2.call_headers(SERVICE + "LookUp", connection.name)
                out = bytearray()
                for _ in range(count):
                    stream = connection.new_stream()
                    out += http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
                    out += http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL.to_bytes(4, "big"))
                return bytes(out), 2 * count
            case "settings":
                return http2.frame(http2.SETTINGS, 0, 0, b"\x00\x04\x00\x01\x00\x00") * count, count
            case "pings":
                return http2.frame(http2.PING, 0, 0, bytes(8)) * count, count
            case "window updates":
                return http2.frame(http2.WINDOW_UPDATE, 0, 0, b"\x00\x00\x00\x01") * count, count
            case "empty data":
                stream = connection.begin(SERVICE + "Connect")
                return http2.frame(http2.DATA, 0, stream) * count, count
            case "continuations":
                stream = connection.new_stream()
                block = http2.call_headers(SERVICE + "LookUp", connection.name)
                first = http2.frame(http2.HEADERS, 0, stream, block)
                more = http2.frame(http2.CONTINUATION, 0, stream, b"\x00\x01a\x40" + b"b" * 64) * count
                return first + more, count + 1
        raise ValueError(self._what)


KINDS = {"connections": Nobody, "insider": Insider, "http2": Http2}


def _wait_for_the_end() -> None:
    sys.stdin.buffer.read()
    STOPPED.set()


async def _main(options: dict[str, Any]) -> None:
    kind = KINDS[options.pop("kind")]
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    print(json.dumps(await kind(**options).run()), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
    # Threads of sockets that nobody reads any more must not keep the process.
    os._exit(0)
