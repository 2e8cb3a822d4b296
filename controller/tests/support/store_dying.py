# SPDX-License-Identifier: Apache-2.0
"""A process that forks processes that die. One line of standard input for each: directory, scenario, how, and where.

how `point`: kill -9 at the n-th `Point`; `call`, `torn`: at the n-th call that changes a file, before it or in its
middle. Answers `ack N` for each acknowledged commit, `point NAME` for each point passed, `count N` for how many points
or calls there were, and `end`: killed, done or failed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from store_scenarios import SCENARIOS


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def run(directory: str, scenario: str, how: str, where: int) -> None:
    faults = ctypes.CDLL(None)
    passed = 0

    def at(point) -> None:
        nonlocal passed
        say(f"point {point.value}")
        if how == "point" and passed == where:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    if how != "point":
        faults.faults_arm(ctypes.c_long(where), int(how == "torn"))
    SCENARIOS[scenario](Path(directory), at, lambda number: say(f"ack {number}"))
    say(f"count {faults.faults_calls() if how != 'point' else passed}")


def main() -> None:
    for line in sys.stdin:
        directory, scenario, how, where = line.split()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(directory, scenario, how, int(where))
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        say(f"end {'killed' if killed else 'done' if status == 0 else 'failed'}")


main()
