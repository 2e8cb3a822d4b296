# SPDX-License-Identifier: Apache-2.0
"""Files for captures.

What is in them is other people's traffic, so they are their owner's alone. What stands at their place is not trusted:
who may write into the directory must not have this process write elsewhere, as root maybe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from p4softswitch.engine_api import EngineError

MODE = 0o600
_HEADER = 24
"""Bytes of a capture without a frame: the header of the file."""


class CaptureRefused(EngineError):
    """A capture cannot be written to that file; the message names it and says why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"capture file {path}: {why}")


def open_capture(path: str) -> int:
    """A new, empty file, open for writing, with mode 0600 whatever the umask, and locked as long as it is open (flock).

    A capture of this user's that nobody writes any more is replaced. Nothing is followed, appended to or truncated.

    Raises:
        CaptureRefused: there is something else; another process writes that file; or the system's own reason.
    """
    try:
        _make_room(path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise CaptureRefused(path, error.strerror or str(error)) from None
    try:
        os.fchmod(file, MODE)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise CaptureRefused(path, error.strerror or str(error)) from None
    return file


def identity_of(file: int) -> tuple[int, int]:
    """Device and inode of an open file."""
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def remove_unused(path: str, identity: tuple[int, int]) -> None:
    """A capture that has ended goes if it has no frame. What else stands at its place by now stays."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == identity and found.st_size <= _HEADER:
            os.unlink(path)


def _make_room(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise CaptureRefused(path, "a symbolic link stands there, which is not followed")
    if not stat.S_ISREG(found.st_mode):
        raise CaptureRefused(path, "what stands there is not a regular file")
    if found.st_uid != os.geteuid():
        raise CaptureRefused(path, f"the file that stands there belongs to another user (uid {found.st_uid})")
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        raise CaptureRefused(path, "another port or process writes it") from None
    finally:
        os.close(file)
