# SPDX-License-Identifier: Apache-2.0
"""A program in an engine, from its compilation on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..engine_api import Engine, EngineError, UnsupportedProgram
from .pipeline import Pipeline
from .status import Code, P4Error, first_phase

_LOG = logging.getLogger(__name__)


@dataclass
class Loaded:
    """Without a pipeline as long as no p4info has been pushed for it."""

    engine: Engine
    program: bytes
    pipeline: Pipeline | None = None

    def inject(self, port: int, data: bytes) -> None:
        """A packet arrives on a port.

        Raises:
            P4Error: UNKNOWN: the engine does not take it.
        """
        try:
            self.engine.inject(port, data)
        except EngineError as error:
            raise P4Error(Code.UNKNOWN, f"the data plane refuses the packet: {error}") from None

    def run(self, pipeline: Pipeline) -> None:
        """It runs, and is talked to by this pipeline from now on, not by the one that there was."""
        old, self.pipeline = self.pipeline, pipeline
        pipeline.start()
        if old is not None:
            old.close()

    def retire(self) -> None:
        """Its pipeline goes; the engine may stay."""
        if self.pipeline is not None:
            self.pipeline.close()
            self.pipeline = None


def load(factory: Callable[[bytes], Engine], program: bytes) -> Loaded:
    """Compile it.

    Raises:
        P4Error: UNKNOWN: the engine does not take it.
    """
    try:
        return Loaded(factory(program), program)
    except UnsupportedProgram as error:
        raise first_phase(f"not supported: {error}") from None
    except EngineError as error:
        raise first_phase(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever a damaged program does to the compiler, the old one runs on
        _LOG.exception("the engine failed to load a program")
        raise first_phase(f"the engine failed ({type(error).__name__})") from None
