# SPDX-License-Identifier: Apache-2.0
"""Network interfaces as the kernel knows them, by name, and when something about them changes (rtnetlink(7)).

A message of the kernel's is taken for nothing but a reason to look again. So it does not matter that messages are lost
when many come at once (ENOBUFS), or in which order interfaces go, come back, and get each other's names and indices.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from dataclasses import dataclass

from .netlink import ERROR, REQUEST, Message, attribute, message, messages

LONGEST_NAME = 15
"""Bytes of an interface's (IFNAMSIZ of netdevice(7), less the end)."""

_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_IFLA_IFNAME = 3
_IFF_UP, _IFF_LOWER_UP = 1 << 0, 1 << 16
_INTERFACE = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ROOM = 1 << 16
_ANSWER_S = 5.0
"""The kernel answers at once, or under a lock that others hold for a while."""


@dataclass(frozen=True)
class Link:
    """An interface: its index, whether it is administratively up, and whether its link has a carrier."""

    index: int
    up: bool
    carrier: bool


class Links:
    """Of the network namespace of the thread that makes it. Thread-safe."""

    def __init__(self) -> None:
        """Raises OSError where the system has no such sockets."""
        self._lock = threading.Lock()
        self._sequence = 0
        with contextlib.ExitStack() as opened:
            self._events = opened.enter_context(_netlink())
            self._events.bind((0, _RTMGRP_LINK))
            self._events.setblocking(False)
            self._questions = opened.enter_context(_netlink())
            self._questions.settimeout(_ANSWER_S)
            self._opened = opened.pop_all()

    def fileno(self) -> int:
        """Readable when something has changed; see `drain`."""
        return self._events.fileno()

    def drain(self) -> None:
        """Forget what has changed so far: whoever looks after that sees it."""
        while True:
            try:
                self._events.recv(_ROOM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.EINTR):
                    raise

    def find(self, name: str) -> Link | None:
        """The interface of that name; None if there is none.

        Raises:
            OSError: the kernel does not say.
        """
        encoded = os.fsencode(name)
        if not 0 < len(encoded) <= LONGEST_NAME:
            return None
        body = _INTERFACE.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, encoded + b"\0")
        with self._lock:
            self._sequence = self._sequence % 0xFFFFFFFF + 1
            self._questions.send(message(_RTM_GETLINK, REQUEST, self._sequence, body))
            while True:
                for answer in messages(self._questions.recv(_ROOM)):
                    if answer.sequence == self._sequence:
                        return _link(answer)

    def close(self) -> None:
        """Idempotent."""
        self._opened.close()


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)  # 0: NETLINK_ROUTE


def _link(answer: Message) -> Link | None:
    if answer.kind == _RTM_NEWLINK:
        _family, _type, index, flags, _change = _INTERFACE.unpack_from(answer.body)
        return Link(index, bool(flags & _IFF_UP), bool(flags & _IFF_LOWER_UP))
    number = answer.error if answer.kind == ERROR else errno.EPROTO
    if number == errno.ENODEV:
        return None
    raise OSError(number, os.strerror(number))
