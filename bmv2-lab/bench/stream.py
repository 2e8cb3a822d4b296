# SPDX-License-Identifier: Apache-2.0
"""One TCP stream between two tenants, with the kernel's stack and plain sockets; prints what the receiver got.

    python bmv2-lab/bench/stream.py receive ADDRESS PORT
    python bmv2-lab/bench/stream.py send ADDRESS PORT SECONDS

The receiver prints "ready", then one JSON object. `overlay.py` runs both.
"""

from __future__ import annotations

import argparse
import json
import socket
import time

_CHUNK = 1 << 18


def receive(address: str, port: int) -> None:
    with socket.create_server((address, port)) as listener:
        print("ready", flush=True)
        connection, _peer = listener.accept()
        with connection:
            buffer = bytearray(_CHUNK)
            total = 0
            start = time.monotonic()
            while count := connection.recv_into(buffer):
                total += count
            seconds = time.monotonic() - start
    print(json.dumps({"bytes": total, "seconds": seconds}), flush=True)


def send(address: str, port: int, seconds: float) -> None:
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.settimeout(30)
        data = bytes(_CHUNK)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ends = parser.add_subparsers(dest="end", required=True)
    for end in ("receive", "send"):
        of_end = ends.add_parser(end)
        of_end.add_argument("address")
        of_end.add_argument("port", type=int)
        if end == "send":
            of_end.add_argument("seconds", type=float)
    options = parser.parse_args()
    if options.end == "receive":
        receive(options.address, options.port)
    else:
        send(options.address, options.port, options.seconds)


if __name__ == "__main__":
    main()
