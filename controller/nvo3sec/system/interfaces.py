# SPDX-License-Identifier: Apache-2.0
"""Network interfaces of this host by name: whether frames pass, told by the kernel when it changes (rtnetlink(7)).

A message of the kernel's is taken for nothing but a reason to look again. So it does not matter that messages are lost
when many come at once (ENOBUFS), or in which order interfaces go, come back, and get each other's names.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Collection

PAUSE_S = 0.02
"""Between two looks: what changes meanwhile is seen by one, however often the kernel says so."""

_RTMGRP_LINK = 1
_NLMSG_ERROR, _RTM_NEWLINK, _RTM_GETLINK, _NLM_F_REQUEST = 2, 16, 18, 1
_IFLA_IFNAME, _IFNAMSIZ = 3, 16
_IFF_UP, _IFF_RUNNING, _IFF_LOWER_UP = 1 << 0, 1 << 6, 1 << 16
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_INTERFACE = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ROOM = 1 << 16
_ANSWER_S = 5.0
"""The kernel answers at once, or under a lock that others hold for a while."""


class InterfaceStates:
    """Of the network namespace of the thread that makes it, whichever thread asks later."""

    def __init__(self, names: Collection[str]) -> None:
        """Raises OSError where the system has no such sockets."""
        self._names = tuple(names)
        self._lock = threading.Lock()
        self._sequence = 0
        with contextlib.ExitStack() as opened:
            self._events = opened.enter_context(_netlink())
            self._events.bind((0, _RTMGRP_LINK))
            self._events.setblocking(False)
            self._questions = opened.enter_context(_netlink())
            self._questions.bind((0, 0))
            self._questions.settimeout(_ANSWER_S)
            self._opened = opened.pop_all()

    async def follow(self) -> AsyncGenerator[dict[str, str], None]:
        """Of each interface why no frame passes, empty where frames do: at once, and again when something has changed.
        One that the kernel does not tell of is left out. Raises OSError."""
        while True:
            self._drain()  # before the look: what changes during it is a reason for the next one
            yield await asyncio.to_thread(self._look)
            await self._readable()
            await asyncio.sleep(PAUSE_S)

    def close(self) -> None:
        """Idempotent. Waits for a question that is under way."""
        with self._lock:
            self._opened.close()

    def _drain(self) -> None:
        while True:
            try:
                self._events.recv(_ROOM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._events, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._events)

    def _look(self) -> dict[str, str]:
        found = {}
        for name in self._names:
            with self._lock, contextlib.suppress(OSError):  # of one name: busy, no memory; or all is closed
                found[name] = self._reason(name)
        return found

    def _reason(self, name: str) -> str:
        encoded = os.fsencode(name)
        if not 0 < len(encoded) < _IFNAMSIZ or b"\0" in encoded:
            return f"{name!r} is no name of an interface"
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        attribute = struct.pack("=HH", len(encoded) + 5, _IFLA_IFNAME) + encoded + bytes(-(len(encoded) + 5) % 4 + 1)
        body = _INTERFACE.pack(0, 0, 0, 0, 0) + attribute
        length = _HEADER.size + len(body)
        self._questions.sendto(_HEADER.pack(length, _RTM_GETLINK, _NLM_F_REQUEST, self._sequence, 0) + body, (0, 0))
        while True:
            answer, (sender, _groups) = self._questions.recvfrom(_ROOM)
            if sender == 0 and len(answer) >= _HEADER.size + 4:
                _length, kind, _flags, sequence, _port = _HEADER.unpack_from(answer)
                if sequence == self._sequence:
                    return _meaning(name, kind, answer[_HEADER.size :])


def _meaning(name: str, kind: int, body: bytes) -> str:
    if kind == _NLMSG_ERROR:
        number = -int(struct.unpack_from("=i", body)[0])
        if number != errno.ENODEV:
            raise OSError(number, os.strerror(number))
        return f"there is no interface {name}"
    if kind != _RTM_NEWLINK or len(body) < _INTERFACE.size:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    flags = int(_INTERFACE.unpack_from(body)[3])
    if not flags & _IFF_UP:
        return f"the interface {name} is switched off"
    if not flags & _IFF_LOWER_UP:
        return f"the link of {name} has no carrier"
    return "" if flags & _IFF_RUNNING else f"the interface {name} is not operational"


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
