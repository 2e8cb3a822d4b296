# SPDX-License-Identifier: Apache-2.0
"""The operator's socket with answers of a test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvo3sec.errors import OperatorError
from nvo3sec.operator.console.server import ConsoleServer


async def echo(**params) -> dict:
    return params


async def refuse(**params) -> None:
    raise OperatorError("not today")


async def fail(**params) -> None:
    raise RuntimeError("a secret detail")


METHODS = {"echo": echo, "refuse": refuse, "fail": fail}


@contextmanager
def serving(directory: Path, methods=METHODS) -> Iterator[None]:
    """A server in a thread of its own, as the clients are synchronous."""
    started, stop = threading.Event(), None
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        server = ConsoleServer(directory, methods)
        await server.start()
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


COUNTERS = [
    {
        "nve": "leaf1",
        "drops": {"ingress": {"BAD_ICV": {"packets": 3, "bytes": 300}}, "egress": {}},
        "sa_rx": [{"source": "192.0.2.2", "destination": "192.0.2.1", "spi": "80000001", "packets": 1, "bytes": 2}],
        "sa_tx": [],
        "vap": [],
        "vn": [],
        "last_sequence": {"leaf2": 7},
        "switch": {
            "engine": {"packets_in": 9},
            "ports": {
                "1": {"interface": "access1", "checksum_completed": 7, "segments_unfinished": 5},
                "2": {"interface": "access2", "checksum_completed": 7, "segments_unfinished": 0},
            },
        },
    }
]


EMPTY_STATUS = {"domain": "lab.example", "switches": [], "keys": [], "reports": []}


def is_it(ready: bool) -> dict[str, Any]:
    """A status."""
    return EMPTY_STATUS | {"ready": ready, "not_ready": []}
