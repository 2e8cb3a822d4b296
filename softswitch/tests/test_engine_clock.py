# SPDX-License-Identifier: Apache-2.0
"""The clock of the switch while the machine is suspended. CLOCK_MONOTONIC stands still then: limits would not end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_scenarios import PROGRAMS
from p4softswitch.engine.compiler import find_compiler

STANDS_STILL = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As a process sees it that has just been suspended and woken up: the clock goes on where it stood. */
int clock_gettime(clockid_t which, struct timespec *t) {
  int result = (int)syscall(SYS_clock_gettime, which, t);
  if (result == 0 && which == CLOCK_MONOTONIC) t->tv_sec -= 3600;
  return result;
}
"""

SWITCH = """
import time
from pathlib import Path
import sys
from p4softswitch.engine.engine import EngineConfig, load

assert time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() > 3500, "the clock was not taken away"
began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
engine = load(Path(sys.argv[1]).read_bytes(), config=EngineConfig(cache=Path(sys.argv[2]), clock_start_ns=began))
now, after = engine.now(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
assert 0 < now <= (after - began) / 1000, now
print("held")
"""


@pytest.fixture
def woken(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose CLOCK_MONOTONIC has missed an hour."""
    source, library = tmp_path / "still.c", tmp_path / "still.so"
    source.write_text(STANDS_STILL)
    subprocess.run([*find_compiler().command, "-shared", "-fPIC", "-o", library, source], check=True)
    return os.environ | {"LD_PRELOAD": str(library)}


def test_it_goes_on_while_the_machine_is_suspended(woken, tmp_path):
    command = [sys.executable, "-c", SWITCH, str(PROGRAMS / "router.json"), str(tmp_path / "cache")]
    done = subprocess.run(command, env=woken, capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr
