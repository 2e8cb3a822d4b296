# SPDX-License-Identifier: Apache-2.0
"""Are source distribution and wheel whole?

Both are built from what git has, and nothing else: the source distribution from a copy of the tracked files, the
wheel from the unpacked source distribution. The first must be the repository, the second what the rules below expect
of it. The build backend is the one that is installed here; nothing is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "nvo3sec": "controller",
    "nvo3sec_p4": "p4src",
    "nvo3lab": "bmv2-lab",
    "nvo3ref": "reference",
    "p4softswitch": "softswitch",
}
"""What is installed, and the folder that it is in."""

MADE_BY_BUILDING = {"PKG-INFO", "setup.cfg"}
DOCUMENTS = "share/doc/nvo3sec"
SOURCES = "share/nvo3sec/p4src"


def tracked() -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - the user's git
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()}


def build(what: str, where: Path, into: Path) -> Path:
    """The file that the build backend makes of the tree `where`."""
    into.mkdir()
    call = f"import sys, setuptools.build_meta as backend; backend.build_{what}(sys.argv[1])"
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", call, str(into)], cwd=where, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\n{what}: the build failed")
    (made,) = into.iterdir()
    return made


def expected_in_wheel(files: set[str], name: str, version: str) -> set[str]:
    """All tracked files of the packages; licence, sources of the data plane, documents."""
    wanted = {f"{name}-{version}.dist-info/{part}" for part in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    wanted |= {f"{name}-{version}.dist-info/top_level.txt"}
    data = f"{name}-{version}.data/data"
    for file in files:
        path = PurePosixPath(file)
        for package, folder in PACKAGES.items():
            if path.is_relative_to(f"{folder}/{package}"):
                wanted.add(str(path.relative_to(folder)))
        if path.parts[0] == "LICENSES":
            wanted.add(f"{name}-{version}.dist-info/licenses/{path}")
        elif path.parts[0] == "docs":
            wanted.add(f"{data}/{DOCUMENTS}/{path.relative_to('docs')}")
        elif len(path.parts) == 1 and path.suffix == ".md":
            wanted.add(f"{data}/{DOCUMENTS}/{path.name}")
        elif path.parts[0] == "p4src" and path.suffix == ".p4":
            wanted.add(f"{data}/{SOURCES}/{path.relative_to('p4src')}")
    return wanted


def differences(what: str, wanted: set[str], found: set[str]) -> list[str]:
    return [f"{what}: {name} is missing" for name in sorted(wanted - found)] + [
        f"{what}: {name} is not expected" for name in sorted(found - wanted)
    ]


def main() -> int:
    files = tracked()
    wrong = [
        f"{folder}/{package}/py.typed is missing: users of the package would get no types"
        for package, folder in PACKAGES.items()
        if f"{folder}/{package}/py.typed" not in files
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "copy")
        for file in files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy / file)
        source = build("sdist", copy, Path(directory, "sdist"))
        with tarfile.open(source) as archive:
            archive.extractall(directory)  # noqa: S202 - made above; the filters came with Python 3.11.4
            inside = {str(PurePosixPath(*PurePosixPath(one.name).parts[1:])) for one in archive if one.isfile()}
        made = {one for one in inside if ".egg-info/" in one} | MADE_BY_BUILDING
        wrong += differences("source distribution", files, inside - made)
        wheel = build("wheel", Path(directory, f"{name}-{version}"), Path(directory, "wheel"))
        with zipfile.ZipFile(wheel) as archive:
            inside = {one for one in archive.namelist() if not one.endswith("/")}
        wrong += differences("wheel", expected_in_wheel(files, name, version), inside)
    for line in wrong:
        print(line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
