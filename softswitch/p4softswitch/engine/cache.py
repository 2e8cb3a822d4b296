# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled programs, so that each is compiled once.

What is in it is going to run, as this user and often as root. So the directory is this user's alone, is reached by a
way that nobody else can change (`p4softswitch.engine.safepath`), and is not made so by this program if it is not:
whoever could write in it before could have left something. What is damaged in it is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from p4softswitch.engine import safepath
from p4softswitch.engine.artifact import Artifact, Damaged, Recipe
from p4softswitch.engine.command import Interrupt
from p4softswitch.engine.compiler import CompilerError, compile_program, find_compiler
from p4softswitch.engine.safepath import Directory

_LOG = logging.getLogger(__name__)
_WORK = "build-"


@dataclass(frozen=True)
class Built:
    """A program to be loaded. path: where it was found, or was put."""

    path: Path
    library: bytes


def default_cache() -> Path:
    """p4softswitch in XDG_CACHE_HOME if that is an absolute path, as the XDG Base Directory Specification has it, else
    in .cache of this user's home: HOME if it is this user's, else what the system says it is.

    Raises CompilerError if there is none.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "p4softswitch"
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home) or not _is_ours(home):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = ""
    if not os.path.isabs(home):
        raise CompilerError(f"user {os.geteuid()} has no home for compiled programs: name a place with --cache-dir")
    return Path(home) / ".cache" / "p4softswitch"


def _is_ours(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


@contextlib.contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A directory to build in, that goes at the end. Its process holds its lock, and loses that whatever it dies of."""
    with contextlib.ExitStack() as holding:
        with _locked(cache):  # until it has its own, nobody takes it for one that was left
            work = Path(tempfile.mkdtemp(prefix=_WORK, dir=cache))
            holding.enter_context(_locked(work))
        try:
            yield work
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(work)


def _clean(cache: Path) -> None:
    """Remove what processes were building that were killed. Where the file system has no locks, nothing is removed."""
    with _locked(cache) as is_alone:
        for left in cache.glob(f"{_WORK}*") if is_alone else ():
            with _locked(left, wait=False) as is_nobodys:
                if is_nobodys:
                    shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this process has the lock of a directory now, alone. wait: until it has."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # it is gone by now, or no directory
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # somebody else has it, or there are no such locks here
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[Directory]:
    where = default_cache() if path is None else path
    try:
        with safepath.directory(where, private=True, create=True) as place:
            yield place
    except OSError as error:
        raise CompilerError(
            f"compiled programs cannot be kept in {where}: {error.strerror}; name another place with --cache-dir"
        ) from None


def _find(place: Directory, name: str, recipe: Recipe) -> Built | None:
    """What the cache has. What is damaged is removed. Raises UnsafePath."""
    path = place.path / name
    try:
        found = Artifact.unpack(safepath.read_file(place, name, one_link=True))
        if found.recipe != recipe:
            raise Damaged("it is another program")
    except FileNotFoundError:
        return None
    except Damaged as error:
        _LOG.warning("%s is damaged (%s): it is compiled anew", path, error)
        os.unlink(name, dir_fd=place.descriptor)
        return None
    return Built(path, found.library)


def build(
    source: str, recipe: Recipe | None = None, *, cache: Path | None = None, interrupt: Interrupt | None = None
) -> Built:
    """The shared object for a translation; compiled unless the cache has it.

    recipe: of the source, by default with the usual flags. The file appears in the cache whole or not at all, so that
    processes may build at the same time. Raises CompilerError, UnsafePath.
    """
    recipe = recipe or Recipe.of(source)
    compiler = find_compiler(interrupt)
    name = recipe.name(compiler.identity)
    with _opened(cache) as place:
        _clean(place.path)
        found = _find(place, name, recipe)
        if found is not None:
            return found
        with _workplace(place.path) as work:
            made = compile_program(source, recipe, compiler, work=work, kept=place, interrupt=interrupt)
            safepath.publish(made.pack(), work, place, name, 0o600)
        return Built(place.path / name, made.library)


def discard(built: Built) -> None:
    """Forget what the system does not load: else it would be found again, also by who has mended the compiler."""
    built.path.unlink(missing_ok=True)
