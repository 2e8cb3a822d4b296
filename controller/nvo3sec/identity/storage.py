# SPDX-License-Identifier: Apache-2.0
"""Files that hold keys: private from their first byte, whole or absent, and never overwritten by accident."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from nvo3sec.identity.errors import IdentityError
from nvo3sec.system import files as reading

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
PUBLIC_DIRECTORY = 0o755

FILE_BYTES = 16 << 20
"""Longest file that is read whole. A revocation list of 100,000 entries has about 4 MB."""


class StorageError(IdentityError):
    """A file of this package cannot be read or written as it must be."""


@dataclass(frozen=True)
class FileStamp:
    """What changes when a file is replaced or rewritten."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    """Also changes when the file is opened to this process, or closed to it."""

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """The stamp of the file; None if there is none, or none that can be reached."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def private_directory(path: Path) -> None:
    """Make `path` if it is missing; it is mode 0700 and ours afterwards. Raises StorageError if it is not."""
    try:
        path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise _in_the_way(path, error) from None
    if status.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StorageError(f"{path} is open to other users; it must be of mode 0700")


def _in_the_way(path: Path, error: OSError) -> StorageError:
    """Why the directory `path` cannot be made: by its true name, something above it that is no directory."""
    for one in (*reversed(path.parents), path):
        if os.path.exists(one) and not os.path.isdir(one):
            return StorageError(f"{one} is no directory")
    return StorageError(f"{error.filename or path}: {error.strerror}")


def write(path: Path, data: bytes, *, mode: int = PRIVATE_FILE, replace: bool = False) -> None:
    """Write `path` whole, durably, with `mode` from the beginning.

    Raises StorageError, among others if the file exists and `replace` is False.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)  # whatever the umask
                os.fsync(file.fileno())
            if replace:
                draft.replace(path)
            else:
                # Unlike a rename, a link never takes the place of something that is there.
                path.hardlink_to(draft)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        raise StorageError(f"{path} exists and is not overwritten") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None


def put_public(path: Path, data: bytes) -> None:
    """Put what everybody may read at `path`, in one step; its directories are made. Raises StorageError.

    Whatever the umask, nobody else can replace what is in the directories that are made.
    """
    try:
        for directory in (*reversed(path.parent.parents), path.parent):
            directory.mkdir(mode=PUBLIC_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise _in_the_way(path.parent, error) from None
    write(path, data, mode=PUBLIC_FILE, replace=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, *, private: bool = False) -> bytes:
    """The contents of `path`. Raises StorageError, among others for a private file that other users can read."""
    try:
        with reading.open_file(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and stat.S_IMODE(mode) & 0o077:
                raise StorageError(f"{path} holds a private key and is open to other users; expected mode 0600")
            return reading.read_whole(file, path, FILE_BYTES)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
