# SPDX-License-Identifier: Apache-2.0
"""What every tenant system of the lab can do, whichever stack it has."""

from __future__ import annotations

import base64
import itertools
from functools import partial
from pathlib import Path
from typing import Any

from nvo3lab.host.echo import DEADLINE, EchoStream
from nvo3lab.host.ledger import Ledger
from nvo3lab.wires.wire import open_port, send_paced


class TenantHost:
    """A tenant system on one wire. A subclass is a stack: it sends IPv4, resolves, and transfers bytes over TCP."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.name: str = configuration["name"]
        self.mac: str = configuration["mac"]
        self.ip: str = configuration["ip"]
        self.members: dict[str, str] = configuration["members"]
        self.ledger = Ledger(self.mac, self.ip, self.members, self._on_echo_reply)
        self._streams: dict[str, EchoStream] = {}
        self._identifiers = itertools.count(1)
        capture = Path(configuration["captures"]) / f"{self.name}.pcap"
        self.port = open_port(configuration["wire"], self._on_frame, capture)

    # What a stack has to give.

    def send_echo(self, destination: str, identifier: int, payload: bytes) -> None:
        raise NotImplementedError

    async def resolve(self, ip: str) -> str | None:
        """The MAC address that this system believes to be that of an IPv4 address, asking for it if need be."""
        raise NotImplementedError

    def transfer_listen(self, port: int) -> None:
        """Be ready for one TCP connection, which `transfer_receive` takes."""
        raise NotImplementedError

    async def transfer_receive(self, port: int, limit: float) -> dict[str, Any]:
        """Accept the connection and take what it brings. Returns bytes, SHA-256, and seconds."""
        raise NotImplementedError

    async def transfer_send(self, destination: str, port: int, length: int, limit: float) -> dict[str, Any]:
        """Connect and send a number of bytes. Returns bytes, SHA-256, and seconds."""
        raise NotImplementedError

    def on_wire(self, frame: bytes) -> None:
        """A frame for a stack that is not the kernel's."""

    # What is common.

    async def ping(self, destination: str, count: int = 3, interval: float = 0.02, size: int = 56) -> dict[str, Any]:
        """Echo requests and their answers. Returns loss and round-trip times."""
        stream = self._stream(destination, interval, [size])
        key = f"ping {next(self._identifiers)}"
        self._streams[key] = stream
        try:
            return await stream.burst(count)
        finally:
            del self._streams[key]

    def stream_start(self, stream: str, destination: str, interval: float, sizes: list[int]) -> None:
        """Send echo requests steadily until `stream_stop`."""
        self._streams[stream] = self._stream(destination, interval, sizes)
        self._streams[stream].start()

    def stream_begin(self, stream: str) -> None:
        self._streams[stream].begin()

    async def stream_end(self, stream: str) -> dict[str, Any]:
        return await self._streams[stream].end()

    async def stream_stop(self, stream: str, patience: float = DEADLINE) -> dict[str, Any]:
        """Stop a stream. Returns the summary of what is left of its window. patience: for the last answers, seconds."""
        await self._streams[stream].stop()
        result = await self._streams[stream].end(patience)
        del self._streams[stream]
        return result

    async def inject(self, frames: list[str], rate: float | None = None, repeat: int = 1) -> int:
        """Send frames (base64) as they are, `repeat` times, at a rate (frames a second). Returns how many were sent."""
        return await send_paced(self.port, [base64.b64decode(frame) for frame in frames], rate, repeat)

    def expect_marker(self, marker: str, kind: str = "marked") -> None:
        self.ledger.expect_marker(bytes.fromhex(marker), kind)

    def received(self) -> dict[str, Any]:
        """The ledger: counts, and the first frames that had no business here."""
        self.port.drain()
        counts, examples = dict(self.ledger.counts), list(self.ledger.examples)
        return {"counts": counts, "examples": examples, "missed": self.port.missed()}

    def _stream(self, destination: str, interval: float, sizes: list[int]) -> EchoStream:
        identifier = next(self._identifiers) & 0xFFFF
        send = partial(self.send_echo, destination, identifier)
        return EchoStream(destination, send, interval, sizes)

    def _on_echo_reply(self, source: str, payload: bytes) -> None:
        for stream in list(self._streams.values()):
            if stream.destination == source and stream.owns(payload):
                stream.answered(payload)

    def _on_frame(self, frame: bytes, foreign: bool) -> None:
        if not foreign:  # what this system's own kernel sends passes here too
            self.ledger.record(frame)
            self.on_wire(frame)
