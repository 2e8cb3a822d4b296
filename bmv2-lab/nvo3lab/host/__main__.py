# SPDX-License-Identifier: Apache-2.0
"""The process of one tenant system: `python -m nvo3lab.host CONFIGURATION`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from nvo3lab.host.base import TenantHost
from nvo3lab.host.kernel import KernelHost
from nvo3lab.host.user import UserHost
from nvo3lab.rpc import serve

_METHODS = (
    "ping",
    "resolve",
    "stream_start",
    "stream_begin",
    "stream_end",
    "stream_stop",
    "inject",
    "expect_marker",
    "received",
    "transfer_listen",
    "transfer_receive",
    "transfer_send",
)


async def _run(configuration: dict[str, Any]) -> None:
    host: TenantHost = KernelHost(configuration) if configuration["stack"] == "kernel" else UserHost(configuration)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await serve(Path(configuration["control"]), {name: getattr(host, name) for name in _METHODS})
    async with server:
        await stop.wait()
    host.port.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvo3lab.host")
    parser.add_argument("configuration", type=Path)
    asyncio.run(_run(json.loads(parser.parse_args().configuration.read_text())))


main()
