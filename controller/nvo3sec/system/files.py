# SPDX-License-Identifier: Apache-2.0
"""Files that others may put into place, opened so that what is there instead of a file holds nobody up.

`open` of a FIFO waits for who writes into it, for ever; that of a device can wait, or do something. So every file that
a process reads, beside those of its own package, is opened here.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFLNK: "a symbolic link",
}


def open_file(path: Path, flags: int = os.O_RDONLY, *, follow: bool = True, mode: int = 0o600) -> io.FileIO:
    """The regular file at `path`, unbuffered; never waits. follow: whether a symbolic link may lead to it.

    flags: how to open it, as of open(2); nothing is cut off from what is no regular file. mode: of one that is made.
    Raises OSError, with path and a text that says what is there instead of a regular file.
    """
    link = 0 if follow else os.O_NOFOLLOW
    safe = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | link
    try:
        descriptor = os.open(path, (flags & ~os.O_TRUNC) | safe, mode)
    except OSError as error:
        # A socket, a FIFO to write into that nobody reads, a device that is not there, or a link.
        raise _strange(path, _kind(path, follow=follow)) or error from None
    try:
        if strange := _strange(path, os.fstat(descriptor).st_mode):
            raise strange
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
        return io.FileIO(descriptor, "wb" if flags & (os.O_WRONLY | os.O_RDWR) else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """The contents of the regular file at `path`. Raises OSError, as `open_file`, and for more than `limit` bytes."""
    with open_file(path, follow=follow) as file:
        return read_whole(file, path, limit)


def read_whole(file: io.FileIO, path: Path, limit: int) -> bytes:
    """The rest of a file that is open, which is at `path`. Raises OSError, also for more than `limit` bytes."""
    data = bytearray()
    while part := file.read(limit + 1 - len(data)):
        data += part
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is longer than {limit} bytes", str(path))
    return bytes(data)


def _kind(path: Path, *, follow: bool) -> int:
    with contextlib.suppress(OSError):
        return os.stat(path, follow_symlinks=follow).st_mode
    return stat.S_IFREG


def _strange(path: Path, mode: int) -> OSError | None:
    if stat.S_ISREG(mode):
        return None
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return OSError(errno.EINVAL, f"is {kind}; expected a regular file", str(path))
