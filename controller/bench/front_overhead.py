# SPDX-License-Identifier: Apache-2.0
"""What the front and the client's tunnel cost, and what a neighbor notices of a flood.

    PYTHONPATH=controller/tests/support python controller/bench/front_overhead.py [--seconds 3]

Prints one line for each path: small calls (rate, median and 99th percentile of the latency) and bulk (echoed 1 MB
messages, both directions together). Then the latency of a neighbor's calls while another process opens connections as
fast as it can, each with the beginning of a ClientHello: without the front, and with it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from identity_world import ECHO, World, call, connected, grpc_channel, serving
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.names import Role
from nvo3sec.identity.server import server_credentials

FLOOD = """
import socket, sys, time
port, source, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
end, made, kept = time.monotonic() + seconds, 0, []
while time.monotonic() < end:
    s = socket.socket()
    s.setblocking(False)
    try:
        s.bind((source, 0))
        s.connect_ex(("127.0.0.1", port))
        s.send(bytes.fromhex("16030102000100 01fc0303".replace(" ", "")))
    except OSError:
        pass
    made += 1
    kept.append(s)
    if len(kept) > 300:
        kept.pop(0).close()
print(made)
"""


async def latencies(channel: grpc.aio.Channel, seconds: float) -> list[float]:
    """Seconds of each of as many calls as fit."""
    await call(channel, ECHO, {})
    took, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await call(channel, ECHO, {})
        took.append(time.perf_counter() - began)
    return took


def told(took: list[float]) -> str:
    """Rate and percentiles."""
    took = sorted(took)
    p99 = took[int(len(took) * 0.99)]
    rate = len(took) / sum(took)
    return f"{rate:7.0f} calls/s  median {statistics.median(took) * 1e6:6.0f} us  p99 {p99 * 1e6:7.0f} us"


async def bulk(channel: grpc.aio.Channel, count: int = 40) -> float:
    """Megabytes a second, of both directions together."""
    message = {"x": "y" * 1_000_000}
    await call(channel, ECHO, message)
    began = time.perf_counter()
    for _ in range(count):
        await call(channel, ECHO, message)
    return 2 * count / (time.perf_counter() - began)


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        files = world.issue(Role.NVE, "leaf1")
        limits = FrontLimits()
        async with serving(world, front=limits) as running:
            device = world.device(world.issue(Role.NVA, "nva2"), Purpose.SERVER)
            bare = grpc.aio.server(
                interceptors=[running.server.gate], options=[("grpc.max_receive_message_length", 1 << 21)]
            )
            bare.add_generic_rpc_handlers([running.service])
            port = bare.add_secure_port("127.0.0.1:0", server_credentials(device))
            await bare.start()
            async with (
                grpc_channel(port, files, world.name(Role.NVA, "nva2")) as direct,
                grpc_channel(running.port, files, running.name) as through,
                connected(running, files) as peer,
            ):
                assert peer.channel is not None
                for name, channel in (
                    ("gRPC client, no front", direct),
                    ("gRPC client, front", through),
                    ("PeerChannel, front", peer.channel),
                ):
                    print(f"{name:24} {told(await latencies(channel, seconds))}  bulk {await bulk(channel):5.0f} MB/s")
                for name, channel, target in (("no front", direct, port), ("front", through, running.port)):
                    flood = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-c", FLOOD, str(target), "127.0.0.2", str(seconds)),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                    )
                    took = await latencies(channel, seconds)
                    made = int((await flood.communicate())[0])
                    print(f"flood {made / seconds:6.0f}/s, {name:9} {told(took)}")
                    # A neighbor that comes during the flood's aftermath.
                    began = time.perf_counter()
                    fresh = (port, "nva2") if target == port else (running.port, "nva1")
                    async with grpc_channel(fresh[0], files, world.name(Role.NVA, fresh[1])) as new:
                        await call(new, ECHO, {})
                    print(f"  a new connection and its first call: {(time.perf_counter() - began) * 1e3:.0f} ms")
                print(
                    "refused by the front:", {key.value: count for key, count in running.server.front.refused.items()}
                )
            await bare.stop(0)


asyncio.run(main())
