# SPDX-License-Identifier: Apache-2.0
"""The compiled data plane, as it comes with the package `nvo3sec_p4`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from finsy.proto import p4i
from google.protobuf import text_format

from nvo3sec.errors import ArtifactError

P4INFO = "nve.p4info.txtpb"
DEVICE_CONFIG = "nve.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifacts:
    """P4Info, device configuration (bytes of BMv2 JSON), and the cookie that names exactly these two."""

    p4info: p4i.P4Info = field(repr=False)
    device_config: bytes = field(repr=False)
    cookie: int


def artifact_directory() -> Traversable:
    """Where the artifacts are. Raises ArtifactError if they are not installed."""
    try:
        return resources.files("nvo3sec_p4")
    except ModuleNotFoundError:
        raise ArtifactError("the package nvo3sec_p4 with the compiled data plane is not installed") from None


def read_artifact(name: str) -> bytes:
    """Bytes of one artifact. Raises ArtifactError."""
    try:
        return artifact_directory().joinpath(name).read_bytes()
    except OSError:
        raise ArtifactError(f"nvo3sec_p4 has no {name}; `nvo3sec p4 compile` makes it") from None


def read_manifest() -> dict[str, Any]:
    """The manifest. Raises ArtifactError."""
    try:
        manifest = json.loads(read_artifact(MANIFEST))
    except ValueError:
        raise ArtifactError(f"{MANIFEST} is not JSON") from None
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{MANIFEST} is not an object")
    return manifest


@cache
def load_artifacts() -> Artifacts:
    """The data plane to load. Raises ArtifactError if a file is missing or is not the one in the manifest."""
    p4info_text, device_config = read_artifact(P4INFO), read_artifact(DEVICE_CONFIG)
    outputs = read_manifest().get("outputs", {})
    for name, content in ((P4INFO, p4info_text), (DEVICE_CONFIG, device_config)):
        if outputs.get(name) != hashlib.sha256(content).hexdigest():
            raise ArtifactError(f"{name} is not the one in {MANIFEST}; run `nvo3sec p4 check`")
    try:
        p4info = text_format.Parse(p4info_text.decode("utf-8"), p4i.P4Info())
    except (text_format.ParseError, UnicodeDecodeError):
        raise ArtifactError(f"{P4INFO} cannot be parsed") from None
    digest = hashlib.sha256(p4info_text + b"\x00" + device_config).digest()
    return Artifacts(p4info, device_config, int.from_bytes(digest[:8], "big") or 1)
