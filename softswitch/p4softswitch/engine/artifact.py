# SPDX-License-Identifier: Apache-2.0
"""A compiled program as a file: the shared object, a manifest of what it was made from, and a digest over both.

    shared object | manifest (JSON) | its length (8 bytes, little-endian) | SHA-256 of all before | MAGIC

One file, so that none of it is ever there without the rest. The digest is against damage: a crash while it was written,
a full disk, a bad one. It is none against who can write the file; see `p4softswitch.engine.safepath`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from p4softswitch.runtime.names import NUMBERS

RUNTIME = Path(__file__).parents[1] / "runtime"
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden", "-Wall", "-Wno-unused-function")
"""Nothing in them is about the processor of this machine: a program runs on every one of its architecture."""

_MAGIC = b"p4sw-so1"
_LENGTH = struct.Struct("<Q")
_TAIL = struct.Struct(f"32s{len(_MAGIC)}s")


class Damaged(ValueError):
    """The file is not what was written."""


@dataclass(frozen=True)
class Recipe:
    """What decides what a program does, whoever compiles it.

    source, runtime: SHA-256 of the generated C, and of the runtime's headers. architecture: as in x86_64-linux-gnu.
    """

    source: str
    runtime: str
    abi: int
    flags: tuple[str, ...]
    architecture: str

    @classmethod
    def of(cls, source: str, extra_flags: Sequence[str] = ()) -> Recipe:
        return cls(
            source=hashlib.sha256(source.encode()).hexdigest(),
            runtime=runtime_digest(),
            abi=NUMBERS["P4_ABI"],
            flags=(*FLAGS, *extra_flags),
            architecture=str(sysconfig.get_config_var("MULTIARCH") or sysconfig.get_platform()),
        )

    def name(self, compiler: str | None = None) -> str:
        """File name of what is made by it: by one compiler, or by any."""
        words = json.dumps([asdict(self), compiler], sort_keys=True)
        return f"{hashlib.sha256(words.encode()).hexdigest()}.so"


@dataclass(frozen=True)
class Artifact:
    """compiler: its command, and what it says about itself."""

    recipe: Recipe
    compiler: str
    library: bytes

    def pack(self) -> bytes:
        manifest = json.dumps({"compiler": self.compiler, **asdict(self.recipe)}, sort_keys=True).encode()
        body = self.library + manifest + _LENGTH.pack(len(manifest))
        return body + _TAIL.pack(hashlib.sha256(body).digest(), _MAGIC)

    @classmethod
    def unpack(cls, data: bytes) -> Artifact:
        """Raises Damaged, with what is wrong."""
        body, tail = data[: -_TAIL.size], data[-_TAIL.size :]
        if len(data) < _TAIL.size + _LENGTH.size:
            raise Damaged(f"it has {len(data)} bytes")
        digest, magic = _TAIL.unpack(tail)
        if magic != _MAGIC:
            raise Damaged("its end is missing, or it was made by something else")
        if hashlib.sha256(body).digest() != digest:
            raise Damaged("its digest is another one")
        end = len(body) - _LENGTH.size
        split = end - _LENGTH.unpack(body[end:])[0]
        try:
            manifest = json.loads(body[split:end])
            compiler = manifest.pop("compiler")
            recipe = Recipe(**manifest | {"flags": tuple(manifest["flags"])})
        except (ValueError, KeyError, TypeError):
            raise Damaged("its manifest is that of another version") from None
        return cls(recipe, compiler, body[:split])


def runtime_digest() -> str:
    """Hash over the sources of the runtime."""
    digest = hashlib.sha256()
    for path in sorted(RUNTIME.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
