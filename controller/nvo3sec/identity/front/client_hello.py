# SPDX-License-Identifier: Apache-2.0
"""The unencrypted beginning of a TLS connection, as far as someone in between can read it (RFC 8446). Pure.

Two questions: is what a client sends first a ClientHello that offers TLS 1.3, and how far has a handshake got.
Everything after the ServerHello is encrypted; what is left to see is the type and the length of records, and their
order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique

RECORD_HEADER_BYTES = 5
RECORD_BYTES = (1 << 14) + 256
"""Longest record body (RFC 8446 section 5.2)."""
HELLO_BYTES = 16384
"""Longest ClientHello that is waited for. With a post-quantum key share they have about 1,800 bytes."""

ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23
CLIENT_HELLO = 1
SUPPORTED_VERSIONS = 43
TLS13 = 0x0304

PROTOCOL_VERSION_ALERT = bytes.fromhex("15030300020246")
"""A fatal alert protocol_version (RFC 8446 section 6.2): 7 bytes, for a hello that has more than 40."""


class NotAHello(ValueError):
    """What a client sent first is no ClientHello that can be taken; the text says why."""


class VersionTooLow(NotAHello):
    """It is a ClientHello that does not offer TLS 1.3."""


@dataclass
class HelloReader:
    """Collects the first message of a client. Feed it until `complete`."""

    complete: bool = False
    _body: bytearray = field(default_factory=bytearray)
    _pending: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take bytes of the client. Raises NotAHello as soon as they cannot become a ClientHello with TLS 1.3."""
        if self.complete:
            return
        self._pending += data
        while not self.complete and len(self._pending) >= 1:
            if self._pending[0] != HANDSHAKE:
                raise NotAHello("the first byte is not one of TLS")
            if len(self._pending) < RECORD_HEADER_BYTES:
                return
            length = int.from_bytes(self._pending[3:5], "big")
            if self._pending[1] != 3 or not 0 < length <= RECORD_BYTES:
                raise NotAHello("the first record is not one of TLS")
            if len(self._body) + length > HELLO_BYTES + 4:
                raise NotAHello(f"a ClientHello of more than {HELLO_BYTES} bytes")
            if len(self._pending) < RECORD_HEADER_BYTES + length:
                if not self._body and len(self._pending) > RECORD_HEADER_BYTES:
                    _check_type(self._pending[RECORD_HEADER_BYTES])
                return
            self._body += self._pending[RECORD_HEADER_BYTES : RECORD_HEADER_BYTES + length]
            del self._pending[: RECORD_HEADER_BYTES + length]
            self._look()

    def _look(self) -> None:
        _check_type(self._body[0])
        if len(self._body) < 4:
            return
        length = int.from_bytes(self._body[1:4], "big")
        if length > HELLO_BYTES:
            raise NotAHello(f"a ClientHello of more than {HELLO_BYTES} bytes")
        if len(self._body) < 4 + length:
            return
        if TLS13 not in _versions(bytes(self._body[4 : 4 + length])):
            raise VersionTooLow("the ClientHello does not offer TLS 1.3")
        self.complete = True
        self._body.clear()
        self._pending.clear()


def _check_type(first: int) -> None:
    if first != CLIENT_HELLO:
        raise NotAHello("the first message is not a ClientHello")


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise NotAHello("the ClientHello is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def vector(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes), "big"))

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)


def _versions(hello: bytes) -> set[int]:
    """The versions that the body of a ClientHello offers (RFC 8446 sections 4.1.2, 4.2.1)."""
    cursor = _Cursor(hello)
    cursor.take(2 + 32)  # legacy_version, random
    cursor.vector(1)  # legacy_session_id
    cursor.vector(2)  # cipher_suites
    cursor.vector(1)  # legacy_compression_methods
    if cursor.at_end:
        return set()
    extensions = _Cursor(cursor.vector(2))
    while not extensions.at_end:
        kind = int.from_bytes(extensions.take(2), "big")
        body = extensions.vector(2)
        if kind == SUPPORTED_VERSIONS:
            versions = _Cursor(body).vector(1)
            return {int.from_bytes(versions[at : at + 2], "big") for at in range(0, len(versions), 2)}
    return set()


@dataclass
class RecordWalker:
    """Follows the records of one direction through any cutting into pieces, without keeping what is in them."""

    _header: bytearray = field(default_factory=bytearray)
    _skip: int = 0

    def feed(self, data: bytes) -> list[int]:
        """Types of the records that end within `data`."""
        ended = []
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                if not self._skip:
                    ended.append(self._header[0])
                    self._header.clear()
                continue
            step = min(RECORD_HEADER_BYTES - len(self._header), len(data) - at)
            self._header += data[at : at + step]
            at += step
            if len(self._header) == RECORD_HEADER_BYTES:
                self._skip = int.from_bytes(self._header[3:5], "big")
                if not self._skip:
                    ended.append(self._header[0])
                    self._header.clear()
        return ended


@unique
class Stage(Enum):
    """How far a handshake has got, seen from between the two sides."""

    HELLO = 1
    """The client has said hello."""
    SERVER_FLIGHT = 2
    """The server has sent its certificate (the first encrypted record in its direction)."""
    CLIENT_FLIGHT = 3
    """The client has answered, encrypted: its certificate, if it has one."""
    SERVER_ACCEPTED = 4
    """The server has sent something after that. An HTTP/2 server sends SETTINGS at once (RFC 9113 section 3.4)."""
    OPEN = 5
    """The client has answered to that, as HTTP/2 requires it to (SETTINGS with ACK, RFC 9113 section 6.5.3)."""


@dataclass
class HandshakeProgress:
    """From the order of encrypted records in both directions to the stage of a TLS 1.3 handshake."""

    stage: Stage = Stage.HELLO
    _client: RecordWalker = field(default_factory=RecordWalker)
    _server: RecordWalker = field(default_factory=RecordWalker)

    def from_client(self, data: bytes) -> None:
        """Bytes of the client, after its hello as well as the hello itself."""
        if APPLICATION_DATA in self._client.feed(data):
            if self.stage is Stage.SERVER_FLIGHT:
                self.stage = Stage.CLIENT_FLIGHT
            elif self.stage is Stage.SERVER_ACCEPTED:
                self.stage = Stage.OPEN

    def from_server(self, data: bytes) -> None:
        """Bytes of the server."""
        if APPLICATION_DATA in self._server.feed(data):
            if self.stage is Stage.HELLO:
                self.stage = Stage.SERVER_FLIGHT
            elif self.stage is Stage.CLIENT_FLIGHT:
                self.stage = Stage.SERVER_ACCEPTED
