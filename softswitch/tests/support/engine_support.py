# SPDX-License-Identifier: Apache-2.0
"""Engines for the tests: compiled once a run, thrown away at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from engine_scenarios import PROGRAMS
from p4softswitch.engine.engine import CompiledEngine, EngineConfig, load

_CACHE = tempfile.TemporaryDirectory(prefix="p4softswitch-tests-")


def load_bytes(document: bytes, **config: Any) -> CompiledEngine:
    """An engine of its own for a JSON."""
    return load(document, config=EngineConfig(cache=Path(_CACHE.name), **config))


def load_program(name: str, **config: Any) -> CompiledEngine:
    """An engine of its own for one of the test programs."""
    return load_bytes((PROGRAMS / f"{name}.json").read_bytes(), **config)
