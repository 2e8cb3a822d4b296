# SPDX-License-Identifier: Apache-2.0
"""Processes whose machine was suspended, and had its wall clock set back: CLOCK_MONOTONIC and CLOCK_REALTIME are behind
for them, and CLOCK_BOOTTIME is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

from p4softswitch.engine.compiler import find_compiler

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned char *seconds; /* one byte, in a file that the test writes */

__attribute__((constructor)) static void look(void) {
  const char *path = getenv("SECONDS_BEHIND");
  const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *found = file < 0 ? MAP_FAILED : mmap(0, 1, PROT_READ, MAP_SHARED, file, 0);
  if (found == MAP_FAILED) _exit(77);
  close(file);
  seconds = found;
}

int clock_gettime(clockid_t which, struct timespec *t) {
  const int result = (int)syscall(SYS_clock_gettime, which, t);
  if (result == 0 && (which == CLOCK_MONOTONIC || which == CLOCK_REALTIME) && seconds) t->tv_sec -= *seconds;
  return result;
}
"""


class Clocks:
    """Of all processes that are started with `environment`."""

    def __init__(self, directory: Path) -> None:
        """Compiles what stands between the processes and their clock."""
        self._behind = directory / "behind"
        self._behind.write_bytes(bytes(1))
        source, library = directory / "clocks.c", directory / "clocks.so"
        source.write_text(SOURCE)
        subprocess.run([*find_compiler().command, "-shared", "-fPIC", "-o", library, source], check=True)
        self.environment = {"LD_PRELOAD": str(library), "SECONDS_BEHIND": str(self._behind)}

    def set_back(self, seconds: int) -> None:
        """From now on they are so much behind (255 at most)."""
        with self._behind.open("r+b") as file:
            file.write(bytes([seconds]))
