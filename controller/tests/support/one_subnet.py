# SPDX-License-Identifier: Apache-2.0
"""In a network namespace of its own: a hundred devices of one IPv6 subnet at a server, and a neighbor that floods it.

`python one_subnet.py DIRECTORY` prints one JSON object: how many tries each device needed, and what the server counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import http2
from identity_world import ECHO, Running, World, serving, tls_context
from nvo3sec.identity.device import DeviceFiles
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.names import Role

SUBNET = "2001:db8:0:1:"
DEVICES = 100
NEIGHBORS_AT_ONCE = 300
TRIES = 200


async def flood(running: Running, host: str) -> None:
    """Connections of a neighbor, each from an address that nobody has seen before, and without a word."""
    numbers = itertools.count(1)

    async def one() -> None:
        while True:
            number = next(numbers)
            source = f"{SUBNET}bad:{number >> 16:x}:{number & 0xFFFF:x}:1"
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, running.port, local_addr=(source, 0))
                with contextlib.suppress(OSError):
                    await reader.read()
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(NEIGHBORS_AT_ONCE)))


async def connect(running: Running, files: DeviceFiles, host: str, source: str) -> asyncio.StreamWriter | None:
    """A connection on which a call was answered; None if it did not come to that."""
    context = tls_context(files, files.anchors)
    try:
        reader, writer = await asyncio.open_connection(
            host, running.port, ssl=context, server_hostname=running.name.dns, local_addr=(source, 0)
        )
    except OSError:
        return None
    block = http2.call_headers(ECHO, running.name.dns)
    writer.write(http2.PREFACE + http2.frame(http2.SETTINGS))
    writer.write(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block))
    writer.write(http2.frame(http2.DATA, http2.END_STREAM, 1, http2.message(b"{}")))
    got = b""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            got += data
            if any(kind == http2.HEADERS for kind, _, _, _ in http2.frames(got)):
                return writer
    writer.transport.abort()
    return None


async def everybody(running: Running, files: DeviceFiles, host: str) -> tuple[list[int], list[asyncio.StreamWriter]]:
    """All devices connect; how many tries each of them needed."""
    places = asyncio.Semaphore(10)

    async def one(number: int) -> tuple[int, asyncio.StreamWriter | None]:
        for tried in range(1, 1 + TRIES):
            async with places:
                writer = await connect(running, files, host, f"{SUBNET}:a:{number:x}")
            if writer is not None:
                return tried, writer
            await asyncio.sleep(0.05)
        return TRIES + 1, None

    found = await asyncio.gather(*(one(number) for number in range(1, 1 + DEVICES)))
    return [tried for tried, _ in found], [writer for _, writer in found if writer is not None]


async def main(directory: Path) -> dict[str, Any]:
    """Connect, lose all connections, and connect again."""
    world, host = World(directory), f"{SUBNET}:1"
    files = world.issue(Role.NVE, "leaf1")
    async with serving(world, front=FrontLimits(per_identity=2 * DEVICES), host=host) as running:
        flooding = asyncio.create_task(flood(running, host))
        first, writers = await everybody(running, files, host)
        open_at_once = len(writers)
        # They are of one device here, of which four addresses are known; these are of a hundred devices.
        for number in range(1, 1 + DEVICES):
            running.server.front.memory.see(f"nve/agent{number}", f"{SUBNET}:a:{number:x}")
        for writer in writers:
            writer.transport.abort()
        again, writers = await everybody(running, files, host)
        refused = {reason.value: count for reason, count in running.server.front.refused.items()}
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
    return {"first": first, "open_at_once": open_at_once, "again": again, "refused": refused}


if __name__ == "__main__":
    for words in ("link set lo up", f"-6 route add local {SUBNET}:/64 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
    # Every address of the subnet is this machine's, and may be bound to.
    Path("/proc/sys/net/ipv6/ip_nonlocal_bind").write_text("1")
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
