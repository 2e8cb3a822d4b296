# SPDX-License-Identifier: Apache-2.0
"""Python's collector of cyclic garbage, kept away from what is large and lives long.

It looks through everything that lives whenever much was made, although a domain and its mappings have no cycles and
almost none of it goes again: with 100,000 tenant systems that takes longer than to read their file, and a second each
time later on. What is no more is freed without it, by its count of references. The modules of a process alone are more
than 60,000 objects: its event loop stands still for tens of milliseconds while they are looked through, longer than all
else that a tenant system that moves waits for.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def paused() -> Iterator[None]:
    """No collection meanwhile, in any thread. For what makes very much that stays, and takes seconds at most."""
    global _pauses, _was_enabled
    with _lock:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()


def leave_alone_what_is_there() -> None:
    """Never look through what exists now. A cycle in it would stay for ever: to be called once, after the start."""
    gc.collect()
    gc.freeze()
