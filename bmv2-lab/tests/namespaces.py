# SPDX-License-Identifier: Apache-2.0
"""Whether network namespaces of a lab are left: those that it made, whatever else the machine does meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

Number = tuple[int, int]
"""Device and inode."""


def _number(descriptor_or_path: int | str) -> Number:
    found = os.stat(descriptor_or_path)
    return found.st_dev, found.st_ino


def _places(pid: str) -> Iterator[str]:
    """Paths of the network namespaces that a process is in, by thread, and of those that it holds open."""
    for folder, name in (("task", "ns/net"), ("fd", "")):
        try:
            entries = os.listdir(f"/proc/{pid}/{folder}")
        except OSError:
            continue  # it has ended, or is another user's
        for entry in entries:
            path = os.path.join(f"/proc/{pid}/{folder}", entry, name).rstrip("/")
            try:
                if os.readlink(path).startswith("net:["):
                    yield path
            except OSError:
                continue


class Held:
    """Network namespaces as open descriptors. While one is open, its number is given to no other namespace."""

    def __init__(self) -> None:
        self._descriptors: dict[Number, int] = {}

    def __len__(self) -> int:
        return len(self._descriptors)

    def add(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # gone meanwhile
        number = _number(descriptor)
        if number in self._descriptors or number == _number("/proc/self/ns/net"):
            os.close(descriptor)
        else:
            self._descriptors[number] = descriptor

    def left(self) -> list[str]:
        """What still keeps one of them: threads in it, descriptors and mounts, those of this object left out."""
        ours = {f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in self._descriptors.values()}
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for path in _places(pid):
                try:
                    if path not in ours and _number(path) in self._descriptors:
                        found.append(path)
                except OSError:
                    continue
        names = {f"net:[{inode}]" for _device, inode in self._descriptors}
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            found += [line.split()[4] for line in mounts if line.split()[3] in names]
        return found

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


@contextmanager
def held_by(pids: Iterable[int]) -> Iterator[Held]:
    """The namespaces that these processes are in or hold, except for the one of this test."""
    held = Held()
    try:
        for pid in pids:
            for path in _places(str(pid)):
                held.add(path)
        yield held
    finally:
        held.close()
