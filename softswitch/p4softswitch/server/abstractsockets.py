# SPDX-License-Identifier: Apache-2.0
"""Who has an abstract name of a UNIX socket, asked of the kernel (sock_diag(7)).

Not of the socket: whoever has it need not accept, and then answers as often as its backlog has room (listen(2)). Nor of
/proc/net/unix, where a name with line feeds in it can say anything of another one.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .netlink import ERROR, REQUEST, message, messages

_NETLINK_SOCK_DIAG = 4
_DUMP = 0x300  # NLM_F_DUMP
_DONE = 3  # NLMSG_DONE
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_QUESTION = struct.Struct("=BBHIIIII")  # struct unix_diag_req: family, protocol, -, states, inode, what to show, cookie
_ANSWER = struct.Struct("=BBBBIII")  # struct unix_diag_msg: family, type, state, -, inode, cookie
_ALL = 0xFFFFFFFF
_SHOW = 0x01 | 0x40  # UDIAG_SHOW_NAME, UDIAG_SHOW_UID
_NAME, _UID = 0, 7  # UNIX_DIAG_NAME, UNIX_DIAG_UID
_ATTRIBUTE = struct.Struct("=HH")
_KIND = 0x3FFF  # NLA_TYPE_MASK
_ROOM = 1 << 20
_ANSWER_S = 5.0


@dataclass(frozen=True)
class NamedSocket:
    """The inode of a socket, and the user who made it; None if this kernel does not say (Linux 5.3)."""

    inode: int
    user: int | None


def named_socket(name: str) -> NamedSocket | None:
    """The stream socket that has this abstract name (the text after the leading zero byte) in the network namespace of
    the calling thread; None if none has it.

    Raises:
        OSError: the kernel does not say.
    """
    wanted = b"\0" + os.fsencode(name)
    question = _QUESTION.pack(socket.AF_UNIX, 0, 0, _ALL, 0, _SHOW, _ALL, _ALL)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_ANSWER_S)
        netlink.send(message(_BY_FAMILY, REQUEST | _DUMP, 1, question))
        found = None
        for answer in _dumped(netlink):
            _family, kind, _state, _pad, inode, *_cookie = _ANSWER.unpack_from(answer)
            attributes = dict(_attributes(answer[_ANSWER.size :]))
            # A connection that nobody has accepted yet has the name, too, and no inode.
            if kind == socket.SOCK_STREAM and inode and attributes.get(_NAME) == wanted:
                user = attributes.get(_UID)
                found = NamedSocket(inode, None if user is None else int(struct.unpack("=I", user)[0]))
    return found


def _dumped(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        for answer in messages(netlink.recv(_ROOM)):
            if answer.kind == ERROR:
                raise OSError(answer.error, os.strerror(answer.error))
            if answer.kind == _DONE:
                return
            yield answer.body


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _KIND, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
