# SPDX-License-Identifier: Apache-2.0
"""The few Linux calls that Python 3.11 does not wrap: namespaces, prctl, and the offloads of a network interface."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterable

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_SIOCETHTOOL = 0x8946
# linux/ethtool.h. A sender's kernel would otherwise hand over frames with unfinished checksums, which BMv2 does not
# complete, or larger than the MTU, and a receiver's would merge several into one: things that no wire does.
_ETHTOOL_SETTERS = {
    "receive checksum": 0x15,
    "transmit checksum": 0x17,
    "scatter-gather": 0x19,
    "TCP segmentation": 0x1F,
    "segmentation": 0x24,
    "receive merging": 0x2C,
}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def enter_network(namespace: int) -> None:
    """Move the calling thread into the network namespace behind a file descriptor, setns(2). Raises OSError."""
    _check(_libc.setns(namespace, CLONE_NEWNET), "setns")


def enter_namespaces_of(pid: int) -> None:
    """Move the calling process into the network namespace of another one, and first into its user namespace."""
    with open(f"/proc/{pid}/ns/net", "rb") as network:
        if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):
            with open(f"/proc/{pid}/ns/user", "rb") as user:
                _check(_libc.setns(user.fileno(), CLONE_NEWUSER), "setns")
        enter_network(network.fileno())


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens, or already has."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none escapes a clean-up."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def become_root_of_user_namespace() -> None:
    """Enter a user namespace and a network namespace of its own, mapped to the present user. Raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1\n")
    _write("/proc/self/gid_map", f"0 {gid} 1\n")


def new_network_namespace() -> int:
    """A network namespace without a name: it ends with the last process or descriptor that holds it.

    Returns the descriptor. Raises OSError where the kernel refuses.
    """
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.close(go_write)
            unshare(CLONE_NEWNET)
        except OSError as error:
            code = error.errno or 1
        os.write(ready_write, bytes([code & 0xFF]))
        os.read(go_read, 1)  # the parent opens the namespace meanwhile, and then closes its end
        os._exit(0)
    os.close(ready_write)
    os.close(go_read)
    try:
        answer = os.read(ready_read, 1)
        code = answer[0] if answer else 1
        if code:
            raise OSError(code, f"unshare: {os.strerror(code)}")
        return os.open(f"/proc/{child}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go_write)
        os.close(ready_read)
        os.waitpid(child, 0)


def disable_offloads(interface: str) -> list[str]:
    """Turn off every offload of an interface of the calling thread's namespace.

    Returns the names of those that the driver refused to turn off; raises OSError where the interface does not exist.
    """
    refused = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        for name, command in _ETHTOOL_SETTERS.items():
            value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, request)
            except OSError:
                refused.append(name)
    return refused


def disable_ipv6() -> None:
    """No IPv6 in the calling thread's namespace: a kernel would send router solicitations and multicast reports.

    A kernel without IPv6 has nothing to disable. Raises OSError where the setting is refused.
    """
    for scope in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        if os.path.exists(path):
            _write(path, "1")


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its id, what identifies it; None for no process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def is_stopped(pid: int) -> bool:
    """Whether a process is there and does nothing because somebody has stopped it (SIGSTOP)."""
    fields = _stat(pid)
    return fields is not None and fields[0] in ("T", "t")


class Progress:
    """Whether processes get on with something: they have used a processor since the last look, or wait for one."""

    def __init__(self, pids: Iterable[int], now: float) -> None:
        self._used: dict[int, int] = {}
        self._since = dict.fromkeys(pids, now)

    def idle_s(self, pid: int, now: float) -> float:
        """For how long one of them has done nothing, seconds. now: seconds, monotonic."""
        fields = _stat(pid)
        if fields is not None:
            used = int(fields[11]) + int(fields[12])
            if fields[0] in ("R", "D") or used != self._used.get(pid):
                self._since[pid] = now
            self._used[pid] = used
        return now - self._since[pid]


def _stat(pid: int) -> list[str] | None:
    """The fields of a process from its state on (proc(5)); None if there is none, or only its status is left."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if not fields or fields[0] in ("Z", "X") else fields


def children(pid: int) -> list[int]:
    """Ids of the direct children of a process."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as listing:
                found += [int(child) for child in listing.read().split()]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Ids of all descendants of a process, parents before children."""
    found: list[int] = []
    queue = children(pid)
    while queue:
        child = queue.pop(0)
        found.append(child)
        queue += children(child)
    return found


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as target:
        target.write(text)


if sys.platform != "linux":  # pragma: no cover
    raise ImportError("the lab needs Linux: network namespaces, packet sockets, /proc")
