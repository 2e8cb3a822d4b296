# SPDX-License-Identifier: Apache-2.0
"""One TCP stream between two tenants, with the kernel's stack and plain sockets; prints what the receiver got.

`stream.py receive ADDRESS PORT` prints "ready", then one JSON object. `stream.py send ADDRESS PORT SECONDS`.
"""

import json
import socket
import sys
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


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
