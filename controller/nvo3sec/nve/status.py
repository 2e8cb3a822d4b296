# SPDX-License-Identifier: Apache-2.0
"""What an agent tells of itself, in the form in which the NVA takes it (`domain.messages.answers`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from nvo3sec.domain.messages.answers import TEXT_LIMIT
from nvo3sec.domain.switch.status import STANDING_CHARS, STANDING_LINES, AgentStatus
from nvo3sec.system.plain import plain


def status_to_json(status: AgentStatus) -> dict[str, Any]:
    """An agent's own account of itself, as the NVA takes it."""
    lines = {name: lines_to_json(getattr(status, name)) for name in ("differences", "foreign", "alarms")}
    told = None if status.standing is None else status.standing[:STANDING_LINES]
    standing = None if told is None else [_as_reported(one)[:STANDING_CHARS] for one in told]
    return asdict(status) | lines | {"standing": standing, "fault": _line(status.fault)}


def lines_to_json(lines: Iterable[str]) -> list[str]:
    """What is done to a switch, or to be done, as the NVA takes it."""
    return [_line(line) for line in lines]


def _as_reported(text: str) -> str:
    """As `wire.up` has the detail of a report: the two are compared."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _line(text: str) -> str:
    """What is named by a switch can be long, and what a switch says can be anything."""
    told = plain(text)
    return told if len(told) <= TEXT_LIMIT else f"{told[: TEXT_LIMIT - 3]}..."
