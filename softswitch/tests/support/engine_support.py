# SPDX-License-Identifier: Apache-2.0
"""Engines for the tests: compiled once a run, thrown away at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from engine_scenarios import PROGRAMS
from p4softswitch.engine.engine import CompiledEngine, EngineConfig, load

_CACHE = tempfile.TemporaryDirectory(prefix="p4softswitch-tests-")


def load_bytes(document: bytes, **config: Any) -> CompiledEngine:
    """An engine of its own for a JSON."""
    return load(document, config=EngineConfig(cache=Path(_CACHE.name), **config))


def load_program(name: str, **config: Any) -> CompiledEngine:
    """An engine of its own for one of the test programs."""
    return load_bytes((PROGRAMS / f"{name}.json").read_bytes(), **config)


def script(path: Path, body: str) -> Path:
    """An executable of the shell."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def compiler_that(monkeypatch: pytest.MonkeyPatch, directory: Path, makes: str) -> Path:
    """A compiler that has its way with its output ($out), and always ends with 0."""
    words = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n[ "$out" ] || exit 0\n'
    named = script(directory / "cc", words + makes)
    monkeypatch.setenv("P4SOFTSWITCH_CC", str(named))
    return named
