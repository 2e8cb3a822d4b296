# SPDX-License-Identifier: Apache-2.0
"""Programs that were compiled elsewhere, so that a host that runs them needs no compiler.

`compile_into` makes them, `find` looks for the one that a translation needs: by source, runtime, interface version,
flags and architecture, all of which are in its name and in its manifest. A directory of them belongs to this user or to
root, and nobody else can write there or move it away (`p4softswitch.engine.safepath`); others may read it.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from p4softswitch.engine import safepath
from p4softswitch.engine.artifact import Artifact, Damaged, Recipe
from p4softswitch.engine.cache import Built
from p4softswitch.engine.command import Interrupt
from p4softswitch.engine.compiler import CompilerError, compile_program, find_compiler
from p4softswitch.engine.safepath import Directory
from p4softswitch.engine_api import EngineError

_FOLDER = "lib/p4softswitch"


def system_directories() -> tuple[Path, ...]:
    """Where a package of the system, or of this Python environment, puts them."""
    return tuple(dict.fromkeys(Path(prefix) / _FOLDER for prefix in (sys.prefix, "/usr")))


def _read(place: Directory, recipe: Recipe) -> Built | None:
    name = recipe.name()
    try:
        found = Artifact.unpack(safepath.read_file(place, name))
    except FileNotFoundError:
        return None
    except Damaged as error:
        raise EngineError(f"{place.path / name} is damaged: {error}") from None
    if found.recipe != recipe:
        raise EngineError(f"{place.path / name} is another program than its name says")
    return Built(place.path / name, found.library)


def find(recipe: Recipe, directory: Path | None) -> Built | None:
    """The compiled program from this directory, or, without one, from those of the system, if it is there.

    Raises EngineError if a named directory does not have it, if it is damaged, or where others could have put it.
    """
    name = recipe.name()
    if directory is None:
        there = [where for where in system_directories() if os.path.lexists(where / name)]
    else:
        there = [directory]
    for where in there:
        try:
            with safepath.directory(where, private=False) as place:
                found = _read(place, recipe)
        except OSError as error:
            raise EngineError(f"compiled programs cannot be read from {where}: {error.strerror}") from None
        if found is not None:
            return found
    if directory is not None:
        raise EngineError(
            f"{directory} has no {name}, which is this program for this version and architecture"
            f" ({recipe.architecture}): compile it with `p4softswitch --compile PROGRAM.json --output DIR`"
        )
    return None


def compile_into(source: str, output: Path, *, interrupt: Interrupt | None = None) -> Path:
    """Compile a translation for other hosts of this architecture; the file that was made.

    Raises CompilerError, OSError.
    """
    recipe, compiler = Recipe.of(source), find_compiler(interrupt)
    own = _processor_flags(compiler.command)
    if own:
        raise CompilerError(f"{own} compiles for the processor of this machine: others need not run it")
    output.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = Directory(descriptor, output)
        with tempfile.TemporaryDirectory(prefix="p4softswitch-") as work:
            made = compile_program(source, recipe, compiler, work=Path(work), interrupt=interrupt)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=output) as work:
            safepath.publish(made.pack(), Path(work), place, recipe.name(), 0o644)
    finally:
        os.close(descriptor)
    return output / recipe.name()


def _processor_flags(words: Sequence[str]) -> str:
    return shlex.join(word for word in words if word in ("-march=native", "-mcpu=native", "-mtune=native"))
