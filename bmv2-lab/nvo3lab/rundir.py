# SPDX-License-Identifier: Apache-2.0
"""The run directory of a lab: sockets, logs, captures and the lab's state, closed to other users.

Beside it is a lock, held by the lab, its guardian and every process that the guardian starts: while one of them lives,
nobody else uses the directory. When a lab and its guardian were killed at once, the next start of any lab finds that
nobody holds the lock any more, and removes what they left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvo3lab.errors import AbsentError, LabError, UsageError
from nvo3lab.wires import linux

SOCKET_PATH_LIMIT = 107
"""Longest path of a UNIX socket, without the terminating zero (sun_path)."""
_LONGEST_NAME = "/control/trunk-leaf2-2.sock"
_STATE = "lab.json"
_MADE_BASE = b"a lab made the directory of this lock\n"
"""What a lock says where the directory that it is in was made by a lab, and not by an operator."""
_SOCKET = "controller.sock"
"""The socket of a process of the controller's in its run directory, and the run directories that are not for labs."""
_NAMES_OF_PROCESSES = ("nva", "controller")
_CLEAN_TIMEOUT = 30.0
"""Seconds for processes that the kernel kills to be gone, and for a directory to be removed while a last one writes."""
_REMOVE_TIMEOUT = 5.0
_POLL = 0.02


def base_directory() -> Path:
    """Where the run directories of this user are."""
    return Path(os.environ.get("NVO3LAB_RUN") or f"{tempfile.gettempdir()}/nvo3lab-{os.getuid()}")


class RunDirectory:
    """One run directory, in the hands of one lab."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def claim(cls, name: str, base: Path | None = None) -> RunDirectory:
        """Take the run directory of a lab of this name. Raises LabError where one is running."""
        base = base or base_directory()
        path = base / name
        if len(f"{path}{_LONGEST_NAME}".encode()) > SOCKET_PATH_LIMIT:
            raise UsageError(f"{path} is too long for UNIX sockets; set NVO3LAB_RUN to a shorter path")
        is_ours = _make_base(base)
        _remove_abandoned(base)
        if path.exists() and not _lock_path(path).exists():
            raise LabError(
                f"{path} is there, and no lab has made it; remove it, or choose another --name or NVO3LAB_RUN"
            )
        lock = _lock(_lock_path(path))
        os.ftruncate(lock, 0)
        os.pwrite(lock, _MADE_BASE if is_ours else b"", 0)
        _remove_tree(path)
        _private_directory(path)
        for part in ("control", "wire", "log", "captures"):
            _private_directory(path / part)
        return cls(path, lock)

    def control(self, name: str) -> Path:
        return self.path / "control" / f"{name}.sock"

    def wire(self, name: str) -> Path:
        return self.path / "wire" / name

    def log(self, name: str) -> Path:
        return self.path / "log" / f"{name}.log"

    @property
    def controller(self) -> Path:
        """The controller's own run directory."""
        return self.path / "controller"

    @property
    def captures(self) -> Path:
        return self.path / "captures"

    def configure(self, name: str, configuration: dict[str, Any]) -> Path:
        """Write the configuration of a process of the lab."""
        path = self.path / f"{name}.json"
        path.write_text(json.dumps(configuration), encoding="utf-8")
        return path

    def save(self, state: dict[str, Any]) -> None:
        """Publish the state of a lab that is up, at once and whole."""
        draft = self.path / f"{_STATE}.new"
        draft.write_text(json.dumps(state, indent=1), encoding="utf-8")
        draft.replace(self.path / _STATE)

    def release(self) -> None:
        """Let go of the lock; a guardian that has a copy of it still holds it."""
        with contextlib.suppress(OSError):
            os.close(self.lock)

    def clean(self) -> None:
        """Remove the directory without a guardian. Raises LabError where a process of the lab goes on holding it."""
        self.release()
        deadline = time.monotonic() + _CLEAN_TIMEOUT
        while True:
            try:
                lock = _lock(_lock_path(self.path))
                break
            except FileNotFoundError:
                return  # with the place where it was: a guardian that had only begun has removed all of it
            except LabError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"a process still uses {self.path}, in which are keys; nothing was removed"
                    ) from None
                time.sleep(_POLL)
        try:
            remove(self.path)
        finally:
            os.close(lock)


def load_state(name: str, base: Path | None = None) -> dict[str, Any]:
    """The state of a running lab. Raises AbsentError where none of this name is up."""
    path = (base or base_directory()) / name / _STATE
    try:
        _check_private(path.parent)
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise AbsentError(f"no lab named {name} is up; `nvo3sec lab up` starts one") from None
    return state


def alive(state: dict[str, Any], process: str) -> bool:
    """Whether a process of a published state is still that process: its id may be a stranger's by now."""
    started = state.get("started", {}).get(process)
    return started is not None and linux.start_time(state["pids"][process]) == started


def temporary(path: Path) -> Path:
    """Where the processes of a run directory make their own temporary files."""
    return path / "tmp"


def operators_directory() -> Path:
    """Where `nvo3sec` looks for the processes of this user that it can ask."""
    if os.environ.get("XDG_RUNTIME_DIR"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "nvo3sec"
    if os.geteuid() == 0:
        return Path("/run/nvo3sec")
    return Path(tempfile.gettempdir()) / f"nvo3sec-{os.geteuid()}"


@dataclass(frozen=True)
class Found:
    """How operators find a lab.

    Attributes:
        link: what leads to its run directory; None where there can be none.
        others: names of what runs here besides, so that commands ask which is meant.
    """

    link: Path | None
    others: tuple[str, ...] = ()


@contextlib.contextmanager
def found_by_operators(run_directory: Path) -> Iterator[Found]:
    """A link by which `nvo3sec status` in another terminal finds this lab.

    It leads into a directory that is closed to others. What leads to another lab that is up, or is no lab's, stays as
    it is: a lab of the same name gets a link of another name (`lab.2`), and commands ask which of them is meant.
    """
    base, target = operators_directory(), run_directory.absolute()
    try:
        _private_directory(base)
        with _alone(base):
            link = _linked(base, target)
        found = Found(link, tuple(_running_beside(link)))
    except (OSError, LabError):
        yield Found(None)
        return
    try:
        yield found
    finally:
        with contextlib.suppress(OSError), _alone(base):
            if link.readlink() == target:
                link.unlink()


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Between two labs that start or end at once: nobody else judges or replaces a link meanwhile."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _linked(base: Path, target: Path) -> Path:
    # No lab has a name with a dot, and an agent's directory begins with `nve-`: a second name is never another's first.
    for name in itertools.chain([target.name], (f"{target.name}.{number}" for number in itertools.count(2))):
        if name in _NAMES_OF_PROCESSES:
            continue
        link = base / name
        if link.is_symlink() and (link.readlink() == target or _is_left_over(link)):
            link.unlink()
        with contextlib.suppress(FileExistsError):
            link.symlink_to(target)
            return link
    raise AssertionError  # numbers have no end


def _is_left_over(link: Path) -> bool:
    """Does it lead nowhere, or to a lab of which nobody lives?"""
    if not link.exists():
        return True
    try:
        os.close(_lock(_lock_path(link.parent / link.readlink()), create=False))
    except (LabError, OSError):  # it is up, or no lab's
        return False
    return True


def _running_beside(link: Path) -> Iterator[str]:
    for place in sorted(link.parent.iterdir()):
        if place != link and any(any(place.glob(pattern)) for pattern in (_SOCKET, f"*/{_SOCKET}")):
            yield place.name


def remove(path: Path) -> None:
    """Remove a run directory, then its lock, and the place where it was, if a lab made it and nothing else is there.

    Only who holds the lock may call this. Raises LabError where something of the directory stays.
    """
    _remove_tree(path)
    lock = _lock_path(path)
    if lock.exists():
        made = lock.read_bytes() == _MADE_BASE
        lock.unlink()
        if made:
            with contextlib.suppress(OSError):  # another lab is there
                path.parent.rmdir()


def _make_base(base: Path) -> bool:
    """Whether it is a lab's: this one makes it, or one that is there has made it. Raises LabError."""
    try:
        base.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _check_private(base)
        return any(_is_of_maker(lock) for lock in base.glob("*.lock"))
    except OSError as error:
        raise LabError(f"{base}: {error.strerror}") from None
    return True


def _is_of_maker(lock: Path) -> bool:
    try:
        return lock.read_bytes() == _MADE_BASE
    except OSError:  # its lab has just ended
        return False


def _remove_abandoned(base: Path) -> None:
    """Remove the run directories of labs that were killed: those whose lock nobody holds."""
    for found in base.glob("*.lock"):
        with contextlib.suppress(LabError, OSError):  # in use, or removed by somebody else
            lock = _lock(found, create=False)
            try:
                _remove_tree(found.with_suffix(""))
                found.unlink()
            finally:
                os.close(lock)


def _remove_tree(path: Path) -> None:
    """Raises LabError where something stays: keys may be in it."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT
    while path.exists():
        # A command that dies at this moment may still have made a file behind the back of the one that removes.
        shutil.rmtree(path, ignore_errors=True)
        if path.exists() and time.monotonic() > deadline:
            raise LabError(f"{path} cannot be removed; remove it, keys are in it")


def _lock_path(path: Path) -> Path:
    # Beside the directory, not in it: the guardian removes the directory while it still holds the lock.
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path, create: bool = True) -> int:
    """A lock that nobody else holds. Raises LabError where somebody does, OSError where there is none to take."""
    while True:
        lock = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before has removed it at the end; a lock that nobody else can find is none.
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
            os.close(lock)
        except BlockingIOError:
            os.close(lock)
            name = path.stem
            raise LabError(f"a lab named {name} is running (or being cleaned up); `nvo3sec lab ps` shows it") from None


def _private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        pass  # no directory, which is said like everything else that is there and is not what it must be
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    _check_private(path)


def _check_private(path: Path) -> None:
    """Fail closed: in a world-writable place somebody else may have been there first."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise LabError(f"{path} must be a directory of this user's with mode 0700")
