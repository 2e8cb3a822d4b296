# SPDX-License-Identifier: Apache-2.0
"""As much of HTTP/2 (RFC 9113) as an attacker needs, over TLS, without a library that would make it behave."""

from __future__ import annotations

import socket
import ssl

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
CANCEL = 8


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """A header field without indexing (RFC 7541 section 6.2.2), each part shorter than 127 bytes."""
    first, second = name.encode(), value.encode()
    return b"\x00" + bytes([len(first)]) + first + bytes([len(second)]) + second


def call_headers(path: str, authority: str, *more: tuple[str, str]) -> bytes:
    """The header block of a call of gRPC."""
    fields = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", authority)]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), *more]
    return b"".join(_literal(name, value) for name, value in fields)


def message(body: bytes, length: int | None = None) -> bytes:
    """A message of gRPC: uncompressed, with its length in front, or with a length that is a lie."""
    return b"\x00" + (len(body) if length is None else length).to_bytes(4, "big") + body


def context(anchors: str, device: str | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """TLS as `device` (a file with key and chain), or as nobody."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(anchors)
    made.set_alpn_protocols(["h2"])
    if device is not None:
        made.load_cert_chain(device)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    return made


class Connection:
    """A TLS connection, blocking."""

    def __init__(self, port: int, name: str, anchors: str, device: str | None, source: str = "127.0.0.1") -> None:
        raw = socket.create_connection(("127.0.0.1", port), 30.0, (source, 0))
        try:
            self.tls = context(anchors, device).wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise
        self.name = name
        self._stream = -1

    def hello(self) -> None:
        """The preface and empty settings."""
        self.tls.sendall(PREFACE + frame(SETTINGS))

    def new_stream(self) -> int:
        """The number of the next stream."""
        self._stream += 2
        return self._stream

    def begin(self, path: str, *more: tuple[str, str]) -> int:
        """Begin a call; returns its stream."""
        number = self.new_stream()
        self.tls.sendall(frame(HEADERS, END_HEADERS, number, call_headers(path, self.name, *more)))
        return number

    def until_closed(self, timeout_s: float = 120.0, limit: int = 1 << 30) -> bytes:
        """What comes until the other side ends the connection. Raises TimeoutError."""
        self.tls.settimeout(timeout_s)
        got = bytearray()
        try:
            while len(got) < limit and (data := self.tls.recv(65536)):
                got += data
        except TimeoutError:
            raise
        except OSError:
            pass  # a reset is an end, too
        return bytes(got)

    def close(self) -> None:
        """Without a word."""
        self.tls.close()


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """The whole frames in `data`: kind, flags, stream, payload."""
    found = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        if len(data) < 9 + length:
            break
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, data[9 : 9 + length]))
        data = data[9 + length :]
    return found
