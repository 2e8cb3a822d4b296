# SPDX-License-Identifier: Apache-2.0
"""One switch for each socket and interface.

A second one would take the sockets of the first without a word (whoever binds the path of a UNIX socket removes what is
there), or double every frame of an interface. So a switch claims what it uses before it opens anything, and who comes
second is refused, with the process that was there first.

A claim ends with its process, however that ends: of a path it is the lock of a file beside it (flock(2)), of an
interface an abstract UNIX socket, which is of one network namespace, as interfaces are (unix(7)). Any user may have a
name like that; but only who may have a packet socket can have an interface, and a claim has one to show, bound to the
interface as long as that is there. It keeps switches apart also where a stranger has the name.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from .abstractsockets import named_socket
from .packetclaims import PacketClaim, claims_on, packet_sockets

_LOG = logging.getLogger(__name__)

_LOCK = ".lock"
_INTERFACE = "p4softswitch/interface/"
_TRIES = 16
"""To get the name of an interface that somebody else has each time, and then not any more."""
_PEERCRED = struct.Struct("3i")


class Taken(OSError):
    """Something that another process uses."""

    def __init__(self, what: str, pid: int | None) -> None:
        super().__init__(errno.EADDRINUSE, f"{what} is in use by {_process(pid)}")
        self.pid = pid

    def __str__(self) -> str:
        return self.strerror or ""


class OtherName(OSError):
    """A name of an interface that is not its first one, with the one to use."""


@dataclass(frozen=True)
class Holder:
    """Who has the name that says which switch uses an interface; None is what the system does not say."""

    pid: int | None
    user: int | None

    @property
    def is_stranger(self) -> bool:
        """It is no switch: it is another user's, who has no packet socket in this network namespace (packet(7)).

        Nobody may keep a switch from its interface by a name. Whoever is not known to be a stranger may be a switch.
        """
        return self.user is not None and self.user not in (0, os.getuid()) and not _has_packet_socket(self.user)

    def __str__(self) -> str:
        return _process(self.pid) + ("" if self.user in (None, 0, os.getuid()) else f" of user {self.user}")


class Claims:
    """What this switch has claimed. Not thread-safe: one owner."""

    def __init__(self) -> None:
        self._held: dict[str, ExitStack] = {}
        self._packets: dict[str, PacketClaim] = {}

    def interface(self, name: str) -> None:
        """Raises Taken if a switch has this interface of this network namespace; OtherName; OSError of the system."""
        check_primary_name(name)
        with ExitStack() as failing:
            packets = _packet_claim()
            if packets is not None:
                failing.enter_context(closing(packets))
            stranger = self._name(name, failing)
            if packets is not None:
                self._move(name, packets)
                self._packets[name] = packets
            self._hold(name).enter_context(failing.pop_all())
        if stranger is not None:
            _LOG.warning("%s: %s has the name that says which switch uses it", name, stranger)

    @staticmethod
    def _name(name: str, failing: ExitStack) -> Holder | None:
        """The name that says it; or the stranger who has that. Raises Taken."""
        for _ in range(_TRIES):
            with ExitStack() as trying:
                listening = trying.enter_context(
                    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                )
                try:
                    listening.bind("\0" + _INTERFACE + name)
                    listening.listen(1)
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                else:
                    failing.enter_context(trying.pop_all())
                    return None
            holder = holder_of_interface(name)
            if holder is None:
                continue  # it has let go of it meanwhile
            if not holder.is_stranger:
                raise Taken(f"the interface {name}", holder.pid)
            return holder
        raise Taken(f"the interface {name}", None)

    def _move(self, name: str, packets: PacketClaim) -> None:
        other = packets.move(name, self._packets.values())
        if other is not None:
            raise Taken(f"the interface {name}", _owner_of_inode(str(other.inode)))

    def came(self, name: str) -> None:
        """What has this name is to be opened: it may be there only now, or be another one than before.

        Raises Taken; OSError with ENODEV: nothing has it, and what gets it next is not claimed yet.
        """
        packets = self._packets.get(name)
        if packets is not None:
            self._move(name, packets)
            if not packets.has(name):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)

    def went(self, name: str) -> None:
        """What had this name is not this switch's any more, if it has another one; what gets this one is."""
        if name in self._packets:
            self._packets[name].leave(name)

    def path(self, path: str) -> None:
        """Of a UNIX socket that is to be made there. Raises Taken if it is somebody's, OSError for other reasons."""
        lock = _lock(path)
        with ExitStack() as failing:
            failing.callback(os.close, lock)
            if _answers(path):
                raise Taken(f"the socket {path}", _owner_of_path(path))
            failing.pop_all()
        held = self._hold(path)
        held.callback(os.close, lock)
        held.callback(_remove, path + _LOCK)  # before it is let go

    def _hold(self, name: str) -> ExitStack:
        return self._held.setdefault(name, ExitStack())

    def let_go(self, name: str) -> None:
        """Of an interface or a path. Idempotent."""
        packets = self._packets.pop(name, None)
        if packets is not None:
            packets.close()  # before the name: who finds that free shall not find this
        held = self._held.pop(name, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        for name in list(self._held):
            self.let_go(name)


def check_primary_name(interface: str) -> None:
    """An interface may have further names (`ip link property`). Two names would be two ports, two claims, two tables.

    Raises OtherName. An interface that is not there has none.
    """
    try:
        primary = socket.if_indextoname(socket.if_nametoindex(interface))
    except OSError:
        return
    if primary != interface:
        raise OtherName(errno.EINVAL, f"it is another name of {primary}; use that", interface)


def _packet_claim() -> PacketClaim | None:
    """None: who may have no packet socket, or has no kernel for it, cannot have an interface either.

    Raises OSError: one cannot be had now, and an interface perhaps later.
    """
    try:
        return PacketClaim()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT):
            return None
        raise


def holder_of_interface(name: str) -> Holder | None:
    """Of an interface of this network namespace: the process that has it as a port, or a stranger who says so; None if
    nobody does."""
    holder = _holder_of_name(name)
    if holder is None or holder.is_stranger:
        for one in claims_on(name):
            return Holder(_owner_of_inode(str(one.inode)), one.user)
    return holder


def _holder_of_name(name: str) -> Holder | None:
    with suppress(OSError):  # of a kernel without sock_diag for UNIX sockets
        named = named_socket(_INTERFACE + name)
        if named is not None:
            return Holder(_owner_of_inode(str(named.inode)), named.user)
    # A list of sockets that is changed while the kernel gives it may be without one of them.
    return _listener("\0" + _INTERFACE + name)


def _has_packet_socket(user: int) -> bool:
    """In the network namespace of the calling thread. Yes where that is not known."""
    try:
        return any(one.user == user for one in packet_sockets())
    except OSError:
        return True


def _process(pid: int | None) -> str:
    return "another process" if pid is None else f"process {pid}"


def _lock(path: str) -> int:
    """The descriptor of a lock on a path, with the number of this process in its file."""
    while True:
        lock = os.open(path + _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(lock)
            if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
                raise OSError(errno.EEXIST, "is not the lock of a switch", path + _LOCK)
            with suppress(FileNotFoundError):
                if os.path.samestat(state, os.stat(path + _LOCK, follow_symlinks=False)):
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                    return lock
        except BlockingIOError:
            text = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise Taken(f"the socket {path}", int(text) if text.isdecimal() else None) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # whoever had it has removed the file meanwhile


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _answers(path: str) -> bool:
    """Whether somebody holds a UNIX socket at a path who is no switch, and so has no lock."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
            try:
                probe.connect(path)
            except BlockingIOError:  # its backlog is full
                return True
            except OSError:
                continue
            return True
    return False


def _listener(address: str) -> Holder | None:
    """Who listens at a UNIX socket. Each question stays in its backlog; who has no room for one more is unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return None
        except OSError:
            return Holder(None, None)
        pid, user, _ = _PEERCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    return Holder(pid or None, user)  # 0: of another PID namespace


def _owner_of_path(path: str) -> int | None:
    with suppress(OSError):
        for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            # A connection that nobody has accepted yet has the path, too, and is nobody's.
            if len(fields) == 8 and fields[7] == path and (owner := _owner_of_inode(fields[6])) is not None:
                return owner
    return None


def owner_of_tcp_port(port: int) -> int | None:
    """The process that listens at a TCP port of this network namespace, as far as this user may know."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return _owner_of_inode(fields[9])
    return None


def _owner_of_inode(inode: str) -> int | None:
    wanted = f"socket:[{inode}]"
    return next((pid for pid, link in _descriptors() if link == wanted), None)


def _descriptors() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError), closing(os.scandir(process / "fd")) as listing:
            for entry in listing:
                with suppress(OSError):
                    yield int(process.name), os.readlink(entry.path)
