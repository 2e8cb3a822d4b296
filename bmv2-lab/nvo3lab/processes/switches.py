# SPDX-License-Identifier: Apache-2.0
"""The switches of the lab by their command lines: the same flags for BMv2 and for the embedded switch."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

from nvo3lab.topology import Leaf

CPU_PORT = 510
BMV2 = "simple_switch_grpc"
_REPLICATION = 65536
"""Replication entries; BMv2's default of 4,096 is less than the tables of the program allow."""


def command(executable: str, leaf: Leaf, ports: list[str], grpc_socket: Path) -> list[str]:
    """The command line of a leaf's switch: no program yet, P4Runtime on a UNIX socket.

    BMv2 logs nothing, because it prints keys. The embedded switch warns, of frames of several segments for
    instance, and never prints keys.
    """
    interfaces = [word for port in ports for word in ("-i", port)]
    return [
        executable,
        "--no-p4",
        "--device-id",
        str(leaf.device_id),
        "--log-level",
        "off" if Path(executable).name == BMV2 else "warn",
        *interfaces,
        "--",
        "--grpc-server-addr",
        f"unix:{grpc_socket}",
        "--cpu-port",
        str(CPU_PORT),
        *(
            word
            for option in ("--max-l1-entries", "--max-l2-entries", "--max-mc-groups")
            for word in (option, str(_REPLICATION))
        ),
    ]


async def wait_listening(path: Path, timeout: float, ended: asyncio.Future[int]) -> bool:
    """Whether somebody listens on a UNIX stream socket before the time is up or the process has ended."""
    deadline = asyncio.get_running_loop().time() + timeout
    while asyncio.get_running_loop().time() < deadline and not ended.done():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
            return True
        await asyncio.sleep(0.02)
    return False
