# SPDX-License-Identifier: Apache-2.0
"""The compiled data plane: is it the one that the sources give, and how it is made.

p4c's output depends on nothing but its sources and its version once `source_info` and `program` are removed, so hashes
can prove origin without compiling.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from finsy.proto import p4i
from google.protobuf import text_format

from nvo3sec.errors import ArtifactError
from nvo3sec.program import generate
from nvo3sec.program.artifacts import DEVICE_CONFIG, MANIFEST, P4INFO, artifact_directory

OLDEST_P4C = (1, 2, 5, 16)
"""The first whose loops in actions are right for this program."""

_DROP_REASON_FILE = "common/drop_reasons.p4"
_ENUM = re.compile(r"enum\s+bit<8>\s+drop_reason_t\s*\{(.*?)\}", re.DOTALL)
_CONSTANT = re.compile(r"^(?:const \S+|#define) (\w+) =? ?([^;\n]+)", re.MULTILINE)
_MEMBER = re.compile(r"(\w+)\s*=\s*(\d+)")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def source_directory(artifacts: Traversable | None = None) -> Path | None:
    """The P4 sources beside the artifacts, or None in an installation without them."""
    directory = artifacts if artifacts is not None else artifact_directory()
    parent = Path(str(directory)).parent
    return parent if (parent / "v1model" / "nve.p4").is_file() else None


def _sources(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(root.glob("*/*.p4")):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def check(artifacts: Traversable | None = None) -> list[str]:
    """What does not fit: outputs, sources and generated names against the manifest. Empty if everything does.

    Raises ArtifactError if there is no manifest.
    """
    directory = artifacts if artifacts is not None else artifact_directory()
    try:
        manifest = json.loads(directory.joinpath(MANIFEST).read_bytes())
    except (OSError, ValueError):
        raise ArtifactError(f"{MANIFEST} is missing or is not JSON; `nvo3sec p4 compile` makes it") from None
    faults = [*_compare_outputs(directory, manifest), *_compare_sources(directory, manifest)]
    if not faults:
        p4info = text_format.Parse(directory.joinpath(P4INFO).read_text(encoding="utf-8"), p4i.P4Info())
        faults += _compare_names(p4info, manifest)
    return faults


def _compare_names(p4info: p4i.P4Info, manifest: dict[str, Any]) -> Iterator[str]:
    try:
        texts = generate.everything(p4info, manifest)
    except KeyError as missing:
        yield f"{MANIFEST} says nothing of {missing}; run `make p4`"
        return
    for place, text in texts.items():
        if text != place.read_text(encoding="utf-8"):
            yield f"{place.name} does not fit {P4INFO} and {MANIFEST}: run python -m nvo3sec.program.generate"


def _compare_outputs(directory: Traversable, manifest: dict[str, Any]) -> Iterator[str]:
    outputs = manifest.get("outputs", {})
    for name in (P4INFO, DEVICE_CONFIG):
        try:
            content = directory.joinpath(name).read_bytes()
        except OSError:
            yield f"{name} is missing"
            continue
        if outputs.get(name) != _sha256(content):
            yield f"{name} is not the one in the manifest"


def _compare_sources(directory: Traversable, manifest: dict[str, Any]) -> Iterator[str]:
    root = source_directory(directory)
    if root is None:
        return
    expected = dict(manifest.get("sources", {}))
    for name, content in _sources(root):
        if expected.pop(name, None) != _sha256(content):
            yield f"{name} has changed since the program was compiled; run `make p4`"
    for name in expected:
        yield f"{name} is in the manifest and not in the sources"


def p4c_version(text: str) -> tuple[int, ...]:
    """(1, 2, 5, 16) from what `p4c --version` prints. Raises ArtifactError."""
    found = re.search(r"\b(\d+(?:\.\d+){2,3})\b", text)
    if not found:
        raise ArtifactError("`p4c --version` does not say a version")
    return tuple(int(part) for part in found.group(1).split("."))


def find_p4c() -> tuple[str, str]:
    """(path, version) of the p4c on PATH. Raises ArtifactError if it is missing or too old."""
    needed = ".".join(map(str, OLDEST_P4C))
    path = shutil.which("p4c")
    if path is None:
        raise ArtifactError(
            f"there is no p4c on PATH; version {needed} or newer is needed (https://github.com/p4lang/p4c)"
        )
    run = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  # no shell
    version = p4c_version(run.stdout + run.stderr)
    text = ".".join(map(str, version))
    if version < OLDEST_P4C:
        raise ArtifactError(f"p4c {text} at {path} is too old: {needed} or newer is needed")
    return path, text


def constants(sources: Iterable[str]) -> dict[str, int]:
    """The constants that Python needs, by name, from `const` and `#define` of the sources. Raises ArtifactError."""
    texts = {name: text for source in sources for name, text in _CONSTANT.findall(_COMMENT.sub("", source))}
    return {name: _value(name, texts) for name in generate.CONSTANTS}


def _value(name: str, texts: Mapping[str, str]) -> int:
    """Of a constant whose text is a sum of products of numbers and of other constants."""
    if name not in texts:
        raise ArtifactError(f"the P4 sources define no constant {name}")

    def of(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=other):
                return _value(other, texts)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return of(left) + of(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return of(left) * of(right)
        raise ArtifactError(f"constant {name} of the P4 sources is no sum of products: {texts[name]}")

    try:
        return of(ast.parse(texts[name].strip(), mode="eval").body)
    except (SyntaxError, RecursionError):
        raise ArtifactError(f"constant {name} of the P4 sources cannot be read: {texts[name]}") from None


def _strip(value: Any) -> Any:
    """Without what depends on where the compiler ran."""
    if isinstance(value, dict):
        return {name: _strip(part) for name, part in value.items() if name not in ("source_info", "program")}
    if isinstance(value, list):
        return [_strip(part) for part in value]
    return value


def drop_reasons(source: str) -> dict[str, int]:
    """Names and numbers of the drop reasons, in the order of the source. Raises ArtifactError."""
    enum = _ENUM.search(_COMMENT.sub("", source))
    if enum is None:
        raise ArtifactError(f"{_DROP_REASON_FILE} has no enum drop_reason_t")
    return {name: int(number) for name, number in _MEMBER.findall(enum.group(1))}


def compile_program(artifacts: Path | None = None) -> str:
    """Compile the sources, write outputs, manifest and generated names; returns the version of p4c.

    Either everything is replaced, or nothing. Raises ArtifactError with the compiler's messages.
    """
    target = artifacts if artifacts is not None else Path(str(artifact_directory()))
    root = source_directory(target)
    if root is None:
        raise ArtifactError(f"there are no P4 sources beside {target}")
    path, version = find_p4c()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        # The shared controls find the files of the architecture through the include path: see v1model/arch.p4.
        command = [
            path,
            "--target",
            "bmv2",
            "--arch",
            "v1model",
            "-I",
            "v1model",
            "--p4runtime-files",
            str(work / P4INFO),
        ]
        run = subprocess.run(  # noqa: S603  # no shell
            [*command, "-o", str(work), "v1model/nve.p4"], cwd=root, capture_output=True, text=True, check=False
        )
        if run.returncode != 0:
            raise ArtifactError(f"p4c failed:\n{run.stdout}{run.stderr}".rstrip())
        stripped = _strip(json.loads((work / DEVICE_CONFIG).read_bytes()))
        config = (json.dumps(stripped, separators=(",", ":")) + "\n").encode()
        p4info_text = (work / P4INFO).read_bytes()
    manifest = {
        "p4c": version,
        "sources": {name: _sha256(content) for name, content in _sources(root)},
        "outputs": {DEVICE_CONFIG: _sha256(config), P4INFO: _sha256(p4info_text)},
        "drop_reasons": drop_reasons((root / _DROP_REASON_FILE).read_text(encoding="utf-8")),
        "constants": constants(content.decode("utf-8") for _, content in _sources(root)),
    }
    texts = generate.everything(text_format.Parse(p4info_text.decode("utf-8"), p4i.P4Info()), manifest)
    for place, content in (
        (target / P4INFO, p4info_text),
        (target / DEVICE_CONFIG, config),
        (target / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode()),
        *((place, text.encode()) for place, text in texts.items()),
    ):
        fresh = place.with_name(place.name + ".new")
        fresh.write_bytes(content)
        os.replace(fresh, place)
    return version
