# SPDX-License-Identifier: Apache-2.0
"""The clock of the switch while the machine is suspended. CLOCK_MONOTONIC stands still then: limits would not end."""

from __future__ import annotations

import os
import subprocess
import sys

from clocks import Clocks
from engine_scenarios import PROGRAMS

SWITCH = """
import time
from pathlib import Path
import sys
from p4softswitch.engine.engine import EngineConfig, load

assert time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() > 190, "the clock was not taken away"
began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
engine = load(Path(sys.argv[1]).read_bytes(), config=EngineConfig(cache=Path(sys.argv[2]), clock_start_ns=began))
now, after = engine.now(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
assert 0 < now <= (after - began) / 1000, now
print("held")
"""


def test_it_goes_on_while_the_machine_is_suspended(tmp_path):
    clocks = Clocks(tmp_path)
    clocks.set_back(200)
    command = [sys.executable, "-c", SWITCH, str(PROGRAMS / "router.json"), str(tmp_path / "cache")]
    environment = os.environ | clocks.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "held\n", done.stderr
