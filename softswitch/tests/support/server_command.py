# SPDX-License-Identifier: Apache-2.0
"""The command `p4softswitch` as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from server_harness import TIMEOUT

MAC = b"\x02\x00\x00\x00\x00\x01"
FRAME = MAC + b"\x02\x00\x00\x00\x00\x02" + b"\x08\x00" + bytes(range(50))


@contextlib.contextmanager
def running(
    directory: Path,
    general: Sequence[str] = (),
    target: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The command, once it has said that it serves. environment: instead of that of the tests."""
    address = f"unix:{directory / 'p4rt'}"
    command = [sys.executable, "-m", "p4softswitch.cli", "--device-id", "1", *general, "--"]
    command += ["--grpc-server-addr", address, *target]
    read, write = os.pipe()
    process = subprocess.Popen(
        [*command[:3], "--ready-fd", str(write), *command[3:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[write],
        cwd=directory,
        env=environment,
    )
    os.close(write)
    try:
        with os.fdopen(read) as ready:
            assert ready.read() == "ready\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
    process.send_signal(number)
    out, error = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, error
