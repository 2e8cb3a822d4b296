# SPDX-License-Identifier: Apache-2.0
"""Which TCP and UDP sockets a process has, from /proc: a switch must not be reachable over any network."""

from __future__ import annotations

import os
from pathlib import Path

from nvo3lab.wires import linux

_TABLES = ("tcp", "tcp6", "udp", "udp6")
_TCP_LISTEN = "0A"


def internet_sockets(pid: int) -> list[str]:
    """Every TCP or UDP socket of a process, as `tcp 0100007F:2356 listening` or the like; empty where there is none.

    Addresses are as the kernel prints them. Raises OSError where the process is gone or not ours to look at.
    """
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    found = []
    for table in _TABLES:
        path = Path(f"/proc/{pid}/net/{table}")  # of the process's own network namespace
        if not path.exists():
            continue  # a kernel without IPv6
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                state = "listening" if table.startswith("tcp") and fields[3] == _TCP_LISTEN else f"state {fields[3]}"
                found.append(f"{table} {fields[1]} {state}")
    return found


def internet_sockets_of_tree(pid: int) -> list[str]:
    """As internet_sockets, of a process and all its descendants."""
    return [line for each in (pid, *linux.descendants(pid)) for line in internet_sockets(each)]
