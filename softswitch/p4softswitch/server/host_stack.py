# SPDX-License-Identifier: Apache-2.0
"""Keeps the network stack of this host away from interfaces that are ports of the switch.

An AF_PACKET socket gets a copy of what an interface receives; the kernel goes on with the frame. Left alone it answers
ARP, neighbour discovery and ICMP there, serves its own services to whoever is behind the port, and with forwarding on
routes tenants' frames around the program. It also sends by itself: router solicitations, group reports.

So an interface is taken: an nftables table of the family netdev, named after the interface, drops what comes in behind
the packet sockets (hook ingress), and what goes out without the mark of the switch's own socket (hook egress, Linux
5.16). It stays when the switch ends, however that ends, so that tenants never meet the host in between; `release` gives
the interface back. Whoever else removes it, as a firewall does that flushes the ruleset, has it put back at once while
the switch runs; who does so again and again, after a pause.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from .claims import check_primary_name
from .netlink import ERROR, REQUEST, Message, attribute, message, messages
from .pauses import Pauses

_LOG = logging.getLogger(__name__)

TABLE_PREFIX = "p4softswitch-"

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES = 270, 1, 7
_SO_RCVBUFFORCE = 33
_ROOM_FOR_CHANGES = 8 << 20
"""Bytes of messages about changes that nobody has read yet: a firewall may replace all that it has at once."""
_BATCH_BEGIN, _BATCH_END = 16, 17  # NFNL_MSG_BATCH_*
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = (_SUBSYSTEM << 8 | number for number in (0, 2, 3, 6))
_ACK, _CREATE, _APPEND = 0x4, 0x400, 0x800
_FAMILY = 5  # NFPROTO_NETDEV
_INGRESS, _EGRESS = 0, 1
_FIRST = -(2**31)  # no base chain of anybody's comes before
_DROP, _ACCEPT = 0, 1
_NESTED = 0x8000
_SCOPE_LINK = 253  # RT_SCOPE_LINK: addresses of this scope and above are of no use beyond the link
_IFF_LOOPBACK = 8
_COMMENT = b"the frames of this interface are its switch's alone"


_WITHOUT_NF_TABLES = (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP)
"""What a kernel says that has no netfilter over netlink, or has it without nf_tables. Nothing was taken there."""


class NotTaken(OSError):
    """An interface that cannot be taken, with the reason; nothing was changed."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


# Messages of nf_tables (linux/netfilter/nf_tables.h) ------------------------------------------------------------------


def _nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, os.fsencode(value) + b"\0")


def _message(kind: int, flags: int, sequence: int, family: int, body: bytes, resource: int = 0) -> bytes:
    return message(kind, flags, sequence, struct.pack(">BBH", family, 0, resource) + body)


def _batch(parts: Iterable[tuple[int, int, bytes]]) -> bytes:
    """(message, flags, body) of what is to happen together or not at all."""
    whole = [_message(_BATCH_BEGIN, REQUEST, 0, 0, b"", _SUBSYSTEM)]
    whole += [
        _message(kind, REQUEST | _ACK | flags, sequence, _FAMILY, body)
        for sequence, (kind, flags, body) in enumerate(parts, 1)
    ]
    return b"".join([*whole, _message(_BATCH_END, REQUEST, len(whole), 0, b"", _SUBSYSTEM)])


def _expression(name: str, *data: bytes) -> bytes:
    return _nest(1, _text(1, name), _nest(2, *data))


def _let_out(table: bytes, mark: int) -> bytes:
    """The rule `meta mark MARK accept` of the chain `egress`."""
    return (
        table
        + _text(2, "egress")
        + _nest(
            4,
            _expression("meta", _number(1, 1), _number(2, 3)),  # register 1: the mark
            _expression("cmp", _number(1, 1), _number(2, 0), _nest(3, attribute(1, struct.pack("=I", mark)))),
            _expression("immediate", _number(1, 0), _nest(2, _nest(2, _number(1, _ACCEPT)))),
        )
    )


def _chain(table: bytes, name: str, hook: int, interface: str) -> bytes:
    """A base chain of one interface that drops what no rule of it accepts."""
    where = _nest(4, _number(1, hook), _number(2, _FIRST), _text(3, interface))
    return table + _text(3, name) + where + _number(5, _DROP) + _text(7, "filter")


def _taking(interface: str, mark: int) -> bytes:
    """A table made anew in one step: there is no moment at which the interface is open."""
    table = _text(1, TABLE_PREFIX + interface)
    comment = attribute(6, struct.pack("=BB", 0, len(_COMMENT) + 1) + _COMMENT + b"\0")
    return _batch(
        (
            (_NEWTABLE, _CREATE, table),
            (_DELTABLE, 0, table),
            (_NEWTABLE, _CREATE, table + comment),
            (_NEWCHAIN, _CREATE, _chain(table, "ingress", _INGRESS, interface)),
            (_NEWCHAIN, _CREATE, _chain(table, "egress", _EGRESS, interface)),
            (_NEWRULE, _CREATE | _APPEND, _let_out(table, mark)),
        )
    )


def _names(change: Message, table: str) -> bool:
    """Whether it is about a table: its name is the first attribute of tables, chains and rules."""
    return change.kind >> 8 == _SUBSYSTEM and change.body[4 : 4 + len(_text(1, table))] == _text(1, table)


def _socket(groups: int = 0) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    netlink.bind((0, 0))
    if groups:
        try:
            netlink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM_FOR_CHANGES)
        except PermissionError:
            netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM_FOR_CHANGES)
        netlink.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, groups)
    return netlink


def _ask(netlink: socket.socket, batch: bytes) -> None:
    """Raises OSError with the first refusal. The kernel answers before `send` returns."""
    netlink.send(batch)
    while select.select([netlink], [], [], 0)[0]:
        for answer in messages(netlink.recv(1 << 16)):
            if answer.kind == ERROR and answer.error:
                raise OSError(answer.error, os.strerror(answer.error))


# Whose an interface is ------------------------------------------------------------------------------------------------


def _users(interface: str) -> str:
    """What else of this host uses an interface; empty if nothing does."""
    with IPRoute() as route:
        link = next(iter(route.link("get", ifname=interface)))
        master = link.get_attr("IFLA_MASTER")
        if master is not None:
            name = next(iter(route.get_links(master))).get_attr("IFLA_IFNAME")
            return f"it belongs to {name}"
        if link["flags"] & _IFF_LOOPBACK:
            return "it is the loopback interface"
        found = [
            f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}"
            for address in route.get_addr(index=link["index"])
            if address["scope"] < _SCOPE_LINK
        ]
    return f"this host has {', '.join(found)} there" if found else ""


class HostStack:
    """The interfaces that one switch has taken. Thread-safe.

    shared: names of those that are not to be taken: the host's network stack goes on to use them.
    """

    def __init__(self, shared: Iterable[str] = ()) -> None:
        self._shared = frozenset(shared)
        self._lock = threading.Lock()
        self._mark = secrets.randbits(32) | 1
        self._taken: dict[str, Pauses] = {}
        self._asking: socket.socket | None = None
        self._watch: threading.Thread | None = None
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = False

    def take(self, interface: str) -> int:
        """Drop what comes to the host there, and what leaves without a mark, which is returned; 0 if it is shared.

        Raises NotTaken: the host uses it otherwise, or the kernel refuses.
        """
        try:
            check_primary_name(interface)
        except OSError as error:
            raise NotTaken(error.errno or errno.EINVAL, error.strerror, interface) from None
        if interface in self._shared:
            try:
                release(interface)
            except PermissionError:  # who may not open it did not close it either, and is told by what is lost
                pass
            except OSError as error:
                _LOG.warning("%s: if it is closed to this host, it stays so: %s", interface, error.strerror)
            return 0
        with self._lock:
            try:
                if users := _users(interface):
                    raise NotTaken(
                        errno.EBUSY,
                        f"{users}; a port is its switch's alone, and the host would be cut off there:"
                        f" use another interface, or start the switch with --shared {interface}",
                        interface,
                    )
                _ask(self._started(), _taking(interface, self._mark))
            except NotTaken:
                raise
            except (OSError, NetlinkError) as error:
                code = (error.errno if isinstance(error, OSError) else int(error.code)) or errno.EIO
                raise NotTaken(code, _why(interface, code), interface) from None
            self._taken.setdefault(interface, Pauses(time.monotonic))
        return self._mark

    def _started(self) -> socket.socket:
        """To ask with; what is changed is watched from now on. Raises OSError: then the next one who asks tries it."""
        if self._asking is None:
            changes = _socket(_NFNLGRP_NFTABLES)
            try:
                asking = _socket()
            except OSError:
                changes.close()
                raise
            self._watch = threading.Thread(target=self._put_back, args=(changes,), name="host-stack", daemon=True)
            self._watch.start()
            self._asking = asking
        return self._asking

    def forget(self, interface: str) -> None:
        """It is no port any more. It stays closed to the host."""
        with self._lock:
            self._taken.pop(interface, None)

    def close(self) -> None:
        """End watching. What was taken stays closed to the host. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            watch = self._watch
        os.eventfd_write(self._stop, 1)
        if watch is not None:
            watch.join()
        if self._asking is not None:
            self._asking.close()
        os.close(self._stop)

    def _put_back(self, changes: socket.socket) -> None:
        """Until `close`: what somebody else changes of a table of ours is made anew."""
        with changes:
            ends: list[int] = [changes.fileno(), self._stop]
            while self._stop not in select.select(ends, [], [])[0]:
                try:
                    data = changes.recv(1 << 20)
                except OSError:  # ENOBUFS: there were more than it holds
                    data = b""
                with self._lock:
                    if self._closed or self._asking is None:
                        return
                    ours = self._asking.getsockname()[0]
                    others = [change for change in messages(data) if change.port != ours]
                    if not data:
                        _LOG.warning("more of nf_tables was changed than could be read: every interface is closed anew")
                    undone = [
                        interface
                        for interface in sorted(self._taken)
                        if not data or any(_names(change, TABLE_PREFIX + interface) for change in others)
                    ]
                    pauses_s = [self._make_anew(self._asking, interface, opened=bool(data)) for interface in undone]
                if pauses_s:
                    select.select([self._stop], [], [], max(pauses_s))

    def _make_anew(self, asking: socket.socket, interface: str, *, opened: bool) -> float:
        """How long to pause then, seconds. opened: it is known that somebody did that."""
        pauses = self._taken[interface]
        was_longest, pause_s = pauses.is_longest, pauses.done()
        try:
            _ask(asking, _taking(interface, self._mark))
        except OSError as error:  # where the interface is gone there is nothing to keep anybody away from
            _LOG.debug("%s: not closed to this host: %s", interface, error.strerror)
        else:
            if opened and not (was_longest and pauses.is_longest):
                often = ", again and again, and no more is said of it" if pauses.is_longest else ""
                _LOG.warning(
                    "%s: somebody opened it to this host's network stack; it is closed again%s", interface, often
                )
        return pause_s


def release(interface: str) -> bool:
    """Give an interface back to the host; False if none of its name was taken. Raises OSError."""
    try:
        with _socket() as netlink:
            _ask(netlink, _batch(((_DELTABLE, 0, _text(1, TABLE_PREFIX + interface)),)))
    except OSError as error:
        if error.errno == errno.ENOENT or error.errno in _WITHOUT_NF_TABLES:
            return False
        raise
    return True


def _why(interface: str, code: int) -> str:
    if code == errno.ENODEV:
        return f"there is no such interface ({os.strerror(code)})"
    reason = os.strerror(code)
    with suppress(KeyError):
        reason += {
            errno.EPERM: ": that takes CAP_NET_ADMIN",
            errno.EOPNOTSUPP: ": that takes Linux 5.16 with nf_tables and the egress hook",
            errno.ENOENT: ": that takes nf_tables in the kernel",
            errno.EPROTONOSUPPORT: ": that takes nf_tables in the kernel",
        }[code]
    return (
        f"the host's network stack cannot be kept away from it ({reason});"
        f" a switch that is started with --shared {interface} attaches it nevertheless, and the host then hears and"
        " answers whoever is behind it"
    )
