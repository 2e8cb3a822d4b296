# SPDX-License-Identifier: Apache-2.0
"""From C source to a shared object: finding a compiler, and running it."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p4softswitch.engine import command
from p4softswitch.engine.artifact import RUNTIME, Artifact, Recipe
from p4softswitch.engine.command import Interrupt
from p4softswitch.engine.safepath import Directory, publish
from p4softswitch.engine_api import EngineError

_CANDIDATES = ("cc", "gcc", "clang")
_TIMEOUT_S = 600


class CompilerError(EngineError):
    """There is no C compiler, or it refused the generated source."""


@dataclass(frozen=True)
class Compiler:
    """command: the first word is a path. identity: command and what it says about itself. extra: flags it needs."""

    command: tuple[str, ...]
    identity: str
    extra: tuple[str, ...] = ()


def find_compiler(interrupt: Interrupt | None = None) -> Compiler:
    """The C compiler named in P4SOFTSWITCH_CC or CC, else the system's, else the one in the ziglang wheel.

    The variables hold a command as a shell would have it: words, with quotes where one has a space in it.
    Raises CompilerError, saying what to install, if there is none.
    """
    for variable in ("P4SOFTSWITCH_CC", "CC"):
        named = os.environ.get(variable)
        if named:
            words = _words(variable, named)
            return Compiler(words, _identity(words, interrupt))
    for name in _CANDIDATES:
        path = shutil.which(name)
        if path is not None:
            return Compiler((path,), _identity([path], interrupt))
    if importlib.util.find_spec("ziglang") is not None:
        words = (sys.executable, "-m", "ziglang", "cc")
        # zig turns the undefined-behaviour sanitizer on, and compiles for this very processor, unless told otherwise.
        return Compiler(words, _identity(words, interrupt), ("-fno-sanitize=undefined", "-mcpu=baseline"))
    raise CompilerError(
        "no C compiler: install one (Debian: apt install gcc), or the Python wheel that brings one (pip install "
        "ziglang), or name one in P4SOFTSWITCH_CC"
    )


def _words(variable: str, named: str) -> tuple[str, ...]:
    if path := shutil.which(named):  # as it stands, also with a space in it
        return (path,)
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise CompilerError(f"{variable} is {named!r}, which is no command: {str(error).lower()}") from None
    path = shutil.which(words[0]) if words else None
    if path is None:
        raise CompilerError(f"{variable} names {words[0] if words else named!r}, which is no command")
    return (path, *words[1:])


def _run(
    words: Sequence[str], interrupt: Interrupt | None, environment: Mapping[str, str] | None = None
) -> command.Result:
    """Raises CompilerError where the command cannot be run, or does not end, or is ended."""
    try:
        return command.run(words, os.environ | dict(environment or {}), timeout_s=_TIMEOUT_S, interrupt=interrupt)
    except TimeoutError:
        raise CompilerError(f"{words[0]} has not ended within {_TIMEOUT_S} s") from None
    except command.Interrupted:
        raise CompilerError("the switch was told to stop while the program was being compiled") from None
    except OSError as error:
        raise CompilerError(f"{words[0]} cannot be run: {error.strerror}") from None


def _identity(words: Sequence[str], interrupt: Interrupt | None) -> str:
    result = _run([*words, "--version"], interrupt)
    if result.status != 0:
        raise CompilerError(f"{shlex.join(words)} --version failed: {result.error.strip()[:500]}")
    return shlex.join(words) + "\n" + result.output


def compile_program(
    source: str,
    recipe: Recipe,
    compiler: Compiler,
    *,
    work: Path,
    kept: Directory | None = None,
    interrupt: Interrupt | None = None,
) -> Artifact:
    """Compile in `work`, a directory of this process's alone.

    kept: where a source that the compiler refuses is left, as failed.c. Raises CompilerError.
    """
    unit = work / "program.c"
    unit.write_text(source)
    output = work / "program.so"
    words = [*compiler.command, *compiler.extra, *recipe.flags, f"-I{RUNTIME}", "-o", str(output), str(unit)]
    result = _run(words, interrupt, {"TMPDIR": str(work)})  # what a compiler leaves when it is killed goes as well
    if result.status != 0:
        where = "the program" if kept is None else _keep(source, work, kept)
        raise CompilerError(f"the C compiler refused {where}:\n{result.error.strip()[:4000]}")
    library = output.read_bytes() if output.is_file() else b""
    if not library:
        raise CompilerError(f"{shlex.join(compiler.command)} produced no output")
    return Artifact(recipe, compiler.identity, library)


def _keep(source: str, work: Path, kept: Directory) -> str:
    try:
        publish(source.encode(), work, kept, "failed.c", 0o600)
    except OSError:  # a directory has that name, or the disk is full: what the compiler said is more important
        return "the program"
    return str(kept.path / "failed.c")
