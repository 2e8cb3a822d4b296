# SPDX-License-Identifier: Apache-2.0
"""Messages of netlink(7), as every family of it has them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ERROR = 2
"""The type NLMSG_ERROR: a refusal, or with error 0 that something was done."""
REQUEST = 1
"""The flag NLM_F_REQUEST."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port


@dataclass(frozen=True)
class Message:
    """One that came: its type, its sequence number, the netlink port that it is for or that caused it, and the rest."""

    kind: int
    sequence: int
    port: int
    body: bytes

    @property
    def error(self) -> int:
        """Of one of the type ERROR: the errno value, 0 for none."""
        return -int(struct.unpack_from("=i", self.body)[0])


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One to send to the kernel, which is port 0."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """Those of one datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _flags, sequence, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield Message(kind, sequence, port, data[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def attribute(kind: int, data: bytes) -> bytes:
    """struct nlattr, with what it holds, filled up to a multiple of four bytes."""
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)
