# SPDX-License-Identifier: Apache-2.0
"""Files that hold keys: private, whole or absent, on the disk when the call returns."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from nvo3sec.nva.store.errors import StoreUnavailable
from nvo3sec.system import files as reading

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
_DRAFT = ".draft"


def private_directory(path: Path) -> None:
    """Make `path` if it is missing; afterwards it is ours and closed to others. Raises StoreUnavailable if not."""
    try:
        if not path.exists():
            path.mkdir(mode=PRIVATE_DIRECTORY, parents=True)
            sync_directory(path.parent)
        status = path.stat()
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreUnavailable(f"{path} must be a directory of mode 0700 that belongs to the user of this process")


def check_private(path: Path) -> None:
    """Raises StoreUnavailable unless `path` is a file of ours that others cannot touch."""
    try:
        status = path.lstat()
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreUnavailable(f"{path} must be a file of mode 0600 that belongs to the user of this process")


def read_private(path: Path, limit: int) -> bytes | None:
    """The contents, None if there is no such file. Raises StoreUnavailable, also for more than `limit` bytes."""
    if not path.exists() and not path.is_symlink():
        return None
    check_private(path)
    try:
        return reading.read_file(path, limit, follow=False)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None


def create_private(path: Path, data: bytes) -> None:
    """Write a file, replacing one that is there; after a crash there is the old one or the whole new one."""
    draft = path.with_name(path.name + _DRAFT)
    try:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()  # of a process that died
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE_FILE)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None


def destroy(path: Path) -> None:
    """Overwrite and remove a file, if it is there. On a file system that copies on write, old blocks may survive."""
    try:
        with reading.open_file(path, os.O_WRONLY, follow=False) as file:
            os.pwrite(file.fileno(), bytes(os.fstat(file.fileno()).st_size), 0)
            os.fsync(file.fileno())
            path.unlink()
        sync_directory(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_drafts(path: Path) -> None:
    """Destroy what a process that died was writing."""
    for draft in path.glob(f"*{_DRAFT}"):
        destroy(draft)
