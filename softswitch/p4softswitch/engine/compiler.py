# SPDX-License-Identifier: Apache-2.0
"""From C source to a loadable shared object: finding a compiler, and a cache so that a program is compiled once.

The cache holds code that is going to be loaded, so its directory must belong to the user and be closed to everybody
else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p4softswitch.engine_api import EngineError

RUNTIME = Path(__file__).parents[1] / "runtime"
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden", "-Wall", "-Wno-unused-function")
_CANDIDATES = ("cc", "gcc", "clang")
_TIMEOUT_S = 600


class CompilerError(EngineError):
    """There is no C compiler, or it refused the generated source."""


@dataclass(frozen=True)
class Compiler:
    command: tuple[str, ...]
    identity: str  # what it says about itself; part of the cache key
    extra: tuple[str, ...] = ()


def find_compiler() -> Compiler:
    """The C compiler named in P4SOFTSWITCH_CC or CC, else the system's, else the one in the ziglang wheel.

    Raises CompilerError, saying what to install, if there is none.
    """
    for variable in ("P4SOFTSWITCH_CC", "CC"):
        named = os.environ.get(variable)
        if named:
            path = shutil.which(named)
            if path is None:
                raise CompilerError(f"{variable} names {named!r}, which is no command")
            return Compiler((path,), _identity([path]))
    for name in _CANDIDATES:
        path = shutil.which(name)
        if path is not None:
            return Compiler((path,), _identity([path]))
    if importlib.util.find_spec("ziglang") is not None:
        command = [sys.executable, "-m", "ziglang", "cc"]
        # zig turns the undefined-behaviour sanitizer on unless told otherwise.
        return Compiler(tuple(command), _identity(command), ("-fno-sanitize=undefined",))
    raise CompilerError(
        "no C compiler: install one (Debian: apt install gcc), or the Python wheel that brings one (pip install "
        "ziglang), or name one in P4SOFTSWITCH_CC"
    )


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Raises CompilerError where the command cannot be run, or does not end."""
    try:
        return subprocess.run(  # noqa: S603  (no shell; the command was found on the user's own path)
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=os.environ | dict(environment or {}),
        )
    except OSError as error:
        raise CompilerError(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CompilerError(f"{command[0]} has not ended within {_TIMEOUT_S} s") from None


def _identity(command: Sequence[str]) -> str:
    result = _run([*command, "--version"])
    if result.returncode != 0:
        raise CompilerError(f"{' '.join(command)} --version failed: {result.stderr.strip()[:500]}")
    return " ".join(command) + "\n" + result.stdout


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "p4softswitch"


def _prepare_cache(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = directory.stat()
    if state.st_uid != os.getuid():
        raise CompilerError(f"{directory} belongs to another user; compiled programs are not loaded from there")
    if stat.S_IMODE(state.st_mode) & 0o077:
        directory.chmod(0o700)


_WORK = "build-"


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
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
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


def runtime_digest() -> str:
    """Hash over the sources of the runtime."""
    digest = hashlib.sha256()
    for path in sorted(RUNTIME.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build(source: str, *, cache: Path | None = None, extra_flags: Sequence[str] = ()) -> Path:
    """Path of the shared object for a translation; compiled unless the cache has it.

    The key is a hash over source (hence the JSON), runtime, compiler and flags. The file appears in the cache whole or
    not at all, so that processes may build at the same time. Raises CompilerError.
    """
    compiler = find_compiler()
    flags = [*FLAGS, *compiler.extra, *extra_flags]
    digest = hashlib.sha256()
    for part in (source, runtime_digest(), compiler.identity, "\0".join(flags)):
        digest.update(hashlib.sha256(part.encode()).digest())
    directory = cache if cache is not None else default_cache()
    _prepare_cache(directory)
    _clean(directory)
    target = directory / f"{digest.hexdigest()}.so"
    if target.exists():
        return target
    with _workplace(directory) as work:
        unit = work / "program.c"
        unit.write_text(source)
        output = work / "program.so"
        command = [*compiler.command, *flags, f"-I{RUNTIME}", "-o", str(output), str(unit)]
        result = _run(command, {"TMPDIR": str(work)})  # what a compiler leaves when it is killed goes as well
        if result.returncode != 0:
            kept = directory / "failed.c"
            kept.write_text(source)
            raise CompilerError(f"the C compiler refused {kept}:\n{result.stderr.strip()[:4000]}")
        if not output.is_file() or not output.stat().st_size:
            raise CompilerError(f"{' '.join(compiler.command)} produced no output")
        output.chmod(0o700)
        os.replace(output, target)
    return target
