# SPDX-License-Identifier: Apache-2.0
"""Directories for the UNIX sockets between this process's halves of a connection, which nobody else may enter.

Each has a lock that its process holds. A process that is killed removes nothing; the next one finds that nobody holds
the lock any more, and does. What has no lock is none of these, and is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "nvo3sec-peer-"
_NEW = "nvo3sec-new-"
"""What it is called until it has its lock: before, it would look abandoned."""
_LOCK = "lock"


class ScratchDirectory:
    """A directory of mode 0700 among the temporary files, until it is closed. Raises OSError."""

    def __init__(self) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        new = Path(tempfile.mkdtemp(prefix=_NEW))  # mode 0700
        try:
            self._lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.path = new.with_name(PREFIX + new.name.removeprefix(_NEW))
            new.rename(self.path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def close(self) -> None:
        """Remove it. Does nothing the second time."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _remove_abandoned(base: Path) -> None:
    """Remove those of this user that nobody holds."""
    for found in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, not of this user, or removed by somebody else
            status = found.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            lock = os.open(found / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found)
            finally:
                os.close(lock)
