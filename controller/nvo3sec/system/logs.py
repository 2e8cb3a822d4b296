# SPDX-License-Identifier: Apache-2.0
"""Structured logs on standard error: one line an event, as text for people or as JSON for programs."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from nvo3sec.system.plain import plain_lines, plain_value

FORBIDDEN_FIELDS = frozenset({"key", "secret", "private_key", "password", "epoch_secret", "params"})
"""Never logged, whatever a caller thinks."""
ARGUMENT_CHARACTERS = 512
"""Of one argument of an operator: as long as a name may be."""


def drop_forbidden(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces fields that could hold key material, and raw bytes, by what they are."""
    for name, value in event.items():
        if name in FORBIDDEN_FIELDS:
            event[name] = "(withheld)"
        elif isinstance(value, bytes | bytearray | memoryview):
            event[name] = f"({len(value)} bytes)"
    return event


def make_harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: what others have made steers no terminal and begins no line, wherever it stands.

    A traceback has several lines. They are indented: a message of an exception cannot look like an event.
    """
    harmless: dict[str, Any] = plain_value({name: _simple(one) for name, one in event.items() if name not in _OF_LINES})
    for name in _OF_LINES & event.keys():
        lines = event[name]
        harmless[name] = indented(lines) if isinstance(lines, str) else plain_value(lines)
    return harmless


_OF_LINES = {"exception", "stack"}


def _simple(value: Any) -> Any:
    """What a renderer would call `repr` for, which can have anything in it."""
    return value if value is None or isinstance(value, str | int | float | list | tuple | dict) else repr(value)


def indented(text: str) -> str:
    """Lines for people that cannot be mistaken for the first line of an event."""
    return "\n".join(f"    {line}" for line in plain_lines(text).split("\n"))


class _Formatter(logging.Formatter):
    """For libraries that log in the way of the standard library."""

    def format(self, record: logging.LogRecord) -> str:
        first, *more = plain_lines(super().format(record)).split("\n")
        return "\n".join([first, *(f"    {line}" for line in more)])


def shorten(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: of what somebody asked, a long text (a domain file) is named by its digest."""
    asked = event.get("arguments")
    if isinstance(asked, Mapping):
        event["arguments"] = {
            name: f"({len(value)} characters, SHA-256 {hashlib.sha256(value.encode()).hexdigest()})"
            if isinstance(value, str) and len(value) > ARGUMENT_CHARACTERS
            else value
            for name, value in asked.items()
        }
    return event


class _JsonFormatter(logging.Formatter):
    """The same as a JSON line, with the names that structlog gives."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info).split("\n")
        return json.dumps(plain_value(event))


def configure(*, json_lines: bool = False, level: str = "info") -> None:
    """Set up logging for the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if json_lines else _Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_forbidden,
            shorten,
            # Tracebacks without local variables: those may be keys.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
            if json_lines
            else structlog.processors.format_exc_info,
            make_harmless,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
