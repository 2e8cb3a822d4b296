# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of the tests' own, and frames as only kernels make them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """This thread in a network namespace of its own: sockets opened and commands run meanwhile are in it."""
    with _back_again():
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        yield


@contextlib.contextmanager
def network() -> Iterator[int]:
    """Another network namespace, by a descriptor that ends with it."""
    with own_network():
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield namespace
    finally:
        os.close(namespace)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """This thread in the network namespace behind a descriptor."""
    with _back_again():
        if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        yield


@contextlib.contextmanager
def _back_again() -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield
    finally:
        if _LIBC.setns(before, _CLONE_NEWNET) != 0:
            os._exit(70)  # nothing may go on in the wrong network
        os.close(before)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_make_veth() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        with own_network():
            ip("link", "add", "one", "type", "veth", "peer", "name", "two")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


_SOL_PACKET, _PACKET_VNET_HDR = 263, 15


def unfinished_sender(interface: str) -> socket.socket:
    """A raw socket that says of each frame what is to be done with it, as a virtual machine does of its own."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    raw.bind((interface, 0x0800))
    return raw


def virtio_header(checksum: bool = False, segment: int = 0, start: int = 34, offset: int = 6) -> bytes:
    """struct virtio_net_hdr: the checksum is to be made, a UDP datagram is to be cut into segments.

    start: of what the checksum is over; offset: its place from there on.
    """
    kind = 5 if segment else 0  # VIRTIO_NET_HDR_GSO_UDP_L4
    place = (start, offset) if checksum else (0, 0)
    return struct.pack("=BBHHHH", int(checksum), kind, 42 if segment else 0, segment, *place)


_SIOCETHTOOL = 0x8946
_SETTERS = {"tx": 0x17, "tso": 0x1F, "gso": 0x24}


def switch_offload(interface: str, name: str, on: bool) -> None:
    """`ethtool -K interface NAME on|off`, in the namespace of this thread."""
    value = ctypes.create_string_buffer(struct.pack("=II", _SETTERS[name], int(on)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), ctypes.addressof(value)))
