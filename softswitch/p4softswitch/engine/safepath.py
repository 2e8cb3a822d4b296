# SPDX-License-Identifier: Apache-2.0
"""Directories and files that nobody else can have put there: what is read from them is going to run in this process.

A directory is reached component by component, each opened without following links, and held by its descriptor. Every
directory on the way belongs to this user or to root and cannot be written by others, or has the sticky bit, so that
nobody else can move what is in it away. A symbolic link on the way is followed if it is this user's or root's; one that
stands where the directory itself should be is not. Modes are looked at and never changed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from p4softswitch.engine_api import EngineError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LINKS = 40  # as many as the kernel follows in one path


class UnsafePath(EngineError):
    """Somebody else can change what is there, or it is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Directory:
    """descriptor: opened for reading. path: where it is, without links; nobody else can put another one there."""

    descriptor: int
    path: Path


def _overflow_owner() -> int | None:
    """The user id that stands for the root of the machine in a user namespace where that has none of its own."""
    if os.stat("/").st_uid in (0, os.geteuid()):
        return None
    with open("/proc/self/uid_map") as mapping, open("/proc/sys/kernel/overflowuid") as overflow:
        if mapping.read().split() == ["0", "0", "4294967295"]:
            return None
        return int(overflow.read())


def _check(state: os.stat_result, where: str, *, private: bool = False, way: bool = False) -> None:
    """private: others may not even read it. way: a directory on the way to it."""
    trusted = {0, os.geteuid()} | ({_overflow_owner()} if way else set())
    mode = stat.S_IMODE(state.st_mode)
    if state.st_uid not in trusted:
        raise UnsafePath(
            f"{where} belongs to user {state.st_uid}, not to user {os.geteuid()} or root: compiled programs are not"
            " loaded from there"
        )
    if private and mode & 0o077:
        raise UnsafePath(
            f"{where} is open to others (mode {mode:04o}): name a directory of its own"
            + ("" if mode & stat.S_ISVTX else f", or look at what is in it and close it with `chmod 700 {where}`")
        )
    if mode & _OTHERS_WRITE and not (way and mode & stat.S_ISVTX):
        raise UnsafePath(
            f"{where} can be written by others (mode {mode:04o}): `chmod go-w {where}`, or use another one"
        )


LARGEST = 64 << 20
"""Bytes of a file that is read: many times what a compiled program has."""


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _step(name: str, above: int, create: bool) -> int:
    """What stands under a name, opened as a place only: nothing is followed, nothing waits."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    return os.open(name, flags, dir_fd=above)


@contextlib.contextmanager
def directory(path: Path, *, private: bool, create: bool = False) -> Iterator[Directory]:
    """The directory of this path, held open meanwhile.

    private: only its owner may read or write it; otherwise others may read. create: it and what is missing above it are
    made, with mode 0700. Raises FileNotFoundError if it is not there, UnsafePath, and OSError where it cannot be
    reached or made.
    """
    pending = _components(os.path.join(os.getcwd(), path))[::-1]
    names: list[str] = []
    links = 0
    current = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(os.fstat(current), "/", way=bool(pending), private=private and not pending)
        while pending:
            name = pending.pop()
            here = os.path.join("/", *names, name)
            below = _step(name, current, create)
            state = os.fstat(below)
            if stat.S_ISLNK(state.st_mode):
                try:
                    target = _link(below, state, here, is_last=not pending)
                finally:
                    os.close(below)
                links += 1
                if links > _LINKS:
                    raise UnsafePath(f"{path} leads through more than {_LINKS} symbolic links")
                pending += _components(target)[::-1]
                if target.startswith("/"):
                    names.clear()
                    current = _exchange(current, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                continue
            current = _exchange(current, below)
            if not stat.S_ISDIR(state.st_mode):
                raise UnsafePath(f"{here} is not a directory")
            _check(state, here, way=bool(pending), private=private and not pending)
            names = names[:-1] if name == ".." else [*names, name]
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)
    try:
        yield Directory(opened, Path("/", *names))
    finally:
        os.close(opened)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new


def _link(descriptor: int, state: os.stat_result, where: str, *, is_last: bool) -> str:
    if is_last:
        raise UnsafePath(f"{where} is a symbolic link: name the directory itself")
    if state.st_uid not in (0, os.geteuid(), _overflow_owner()):
        raise UnsafePath(f"{where} is a symbolic link of user {state.st_uid}")
    return os.readlink("", dir_fd=descriptor)


def read_file(place: Directory, name: str, *, one_link: bool = False) -> bytes:
    """The content of a regular file that belongs to this user or root and that others cannot write.

    one_link: it has no second name. Never waits for a peer, and opens nothing but regular files: a FIFO, a device or a
    link is UnsafePath. Of one that is larger than LARGEST that much, which no digest fits. Raises FileNotFoundError,
    UnsafePath, OSError.
    """
    where = place.path / name
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.descriptor)
    try:
        state = os.fstat(found)
        if not stat.S_ISREG(state.st_mode):
            raise UnsafePath(f"{where} is not a regular file: remove it")
        _check(state, str(where))
        if one_link and state.st_nlink != 1:
            raise UnsafePath(f"{where} has {state.st_nlink} names (hard links): remove it")
        with open(f"/proc/self/fd/{found}", "rb") as file:  # the same one, whatever stands under the name by now
            return file.read(LARGEST)
    finally:
        os.close(found)


def publish(content: bytes, work: Path, place: Directory, name: str, mode: int) -> None:
    """Make a file that is there whole or not at all, also after a crash; it replaces what has its name.

    work: a directory of this process's on the same file system. Raises OSError.
    """
    temporary = work / name
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, name, dst_dir_fd=place.descriptor)
    os.fsync(place.descriptor)
