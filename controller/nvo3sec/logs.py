# SPDX-License-Identifier: Apache-2.0
"""Structured logs on standard error: one line an event, as text for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

FORBIDDEN_FIELDS = frozenset({"key", "secret", "private_key", "password", "epoch_secret", "params"})
"""Never logged, whatever a caller thinks."""


def drop_forbidden(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces fields that could hold key material, and raw bytes, by what they are."""
    for name, value in event.items():
        if name in FORBIDDEN_FIELDS:
            event[name] = "(withheld)"
        elif isinstance(value, bytes | bytearray | memoryview):
            event[name] = f"({len(value)} bytes)"
    return event


def configure(*, json_lines: bool = False, level: str = "info") -> None:
    """Set up logging for the process."""
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_forbidden,
            # Tracebacks without local variables: those may be keys.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
            if json_lines
            else structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
