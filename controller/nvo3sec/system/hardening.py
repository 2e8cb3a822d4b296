# SPDX-License-Identifier: Apache-2.0
"""Keeps what a process has in its memory out of files: no core dump, whatever it dies of, and no look from outside."""

from __future__ import annotations

import ctypes
import os
import resource

from nvo3sec.errors import OperatorError

PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """To be called before the first secret is read. Raises OperatorError where the system refuses.

    Both are needed. The kernel does not ask the limit where cores go to a program (`core_pattern` with a pipe). A
    process that is not dumpable leaves none there either, and nobody but root can attach to it, or read its memory or
    its environment.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OperatorError(f"cannot keep memory out of core files: {os.strerror(ctypes.get_errno())}")
