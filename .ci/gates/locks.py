# SPDX-License-Identifier: Apache-2.0
"""Do the lock files fit pyproject.toml, this environment and each other?

Of each lock file: everything has hashes; there is no host, no path, no option; what is wanted is there, in a version
that is wanted, and nothing that nobody wants. It asks the environment that `make lint` made from the lock files,
which must be what they say; nothing is fetched. `make lock` mends what is found.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"

ENTRY = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")

Pins = dict[str, tuple[str, str]]
"""Name: version, marker."""


def read(path: Path, wrong: list[str]) -> Pins:
    pins: Pins = {}
    hashed = True
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("#"):
            continue
        if HASH.fullmatch(line):
            hashed = True
        elif (entry := ENTRY.fullmatch(line)) and hashed:
            pins[entry["name"]] = entry["version"], (entry["marker"] or "").strip()
            hashed = False
        else:
            wrong.append(f"{path.name}:{number}: neither a version nor its hash: {line}")
    if not hashed:
        wrong.append(f"{path.name}: the last one has no hash")
    return pins


def wanted_by(requirements: Iterable[str], extra: str = "") -> list[Requirement]:
    """Those of them that hold here."""
    found = [Requirement(one) for one in requirements]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]


def check_pin(one: Requirement, pins: Pins, what: str, wrong: list[str]) -> str | None:
    """The version that is locked; None if there is none."""
    version = pins.get(canonicalize_name(one.name), (None, ""))[0]
    if version is None:
        wrong.append(f"{what}: {one} is wanted, and not there")
    elif not one.specifier.contains(version, prereleases=True):
        wrong.append(f"{what}: {one} is wanted, and {version} is there")
    return version


def closure(roots: list[Requirement], pins: Pins, what: str, wrong: list[str]) -> set[str]:
    """Names of all that the roots want here, each found in the lock file in a version that is wanted."""
    seen: set[tuple[str, str]] = set()
    todo = list(roots)
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        version = check_pin(one, pins, what, wrong)
        for extra in ("", *one.extras) if version is not None else ():
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                wrong.append(f"{what}: {name} {version} is not installed here")
                continue
            if distribution.version != version:
                wrong.append(f"{what}: {name} {version} is locked, {distribution.version} is installed")
            todo += wanted_by(distribution.requires or (), extra)
    return {name for name, _ in seen}


def alone(roots: list[Requirement], pins: Pins, what: str, wrong: list[str]) -> set[str]:
    """The same for what is locked without what it wants."""
    for one in roots:
        check_pin(one, pins, what, wrong)
    return {canonicalize_name(one.name) for one in roots}


def named_in(path: Path) -> list[Requirement]:
    return wanted_by(line for line in path.read_text().splitlines() if line and not line.startswith("#"))


def main() -> int:
    wrong: list[str] = []
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runs: list[str] = pyproject["project"]["dependencies"]
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    locks = {path.stem: read(path, wrong) for path in sorted(LOCKS.glob("*.txt"))}
    known = {"run", "zig", "test", "lint", "shell"}
    if locks.keys() != known:
        print(f"locks/: {', '.join(sorted(locks))} are there, {', '.join(sorted(known))} are known")
        return 1

    wanted = {
        "run": closure(wanted_by([*runs, *pyproject["build-system"]["requires"]]), locks["run"], "run", wrong),
        # Not installed where there is a compiler.
        "zig": alone(wanted_by(extras["zig"]), locks["zig"], "zig", wrong),
        "test": closure(wanted_by([*runs, *extras["test"]]), locks["test"], "test", wrong)
        | alone(named_in(LOCKS / "ptf.in"), locks["test"], "test", wrong),
        "lint": closure(wanted_by([*runs, *extras["lint"]]), locks["lint"], "lint", wrong),
    }
    # Installed in an environment of its own.
    alone(named_in(LOCKS / "shell.in"), locks["shell"], "shell", wrong)
    versions: dict[str, set[str]] = {}
    for lock, needed in wanted.items():
        for name, (version, marker) in locks[lock].items():
            versions.setdefault(name, set()).add(version)
            if name not in needed and not marker:
                wrong.append(f"{lock}: {name} is there, and nobody wants it")
    wrong += [f"{name} is locked as {' and as '.join(sorted(has))}" for name, has in versions.items() if len(has) > 1]
    for line in wrong:
        print(f"locks/: {line}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
