# SPDX-License-Identifier: Apache-2.0
"""Room in what an operator is told, for what many say: who talks much does not hide what others said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nvo3sec.errors import OperatorError


def without_the_longest(answers: Mapping[str, Any], room: int) -> dict[str, Any]:
    """Answers of agents, by NVE, that have room together: of those that are too much, the longest are left out, and an
    OperatorError says so in their place. One agent that talks much must not hide what others said.

    room: bytes of JSON.
    """
    sizes = {nve: 0 if isinstance(one, OperatorError) else len(json.dumps(one)) for nve, one in answers.items()}
    kept, total = dict(answers), sum(sizes.values())
    for nve in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if total <= room:
            break
        total -= sizes[nve]
        kept[nve] = OperatorError(
            f"its answer of {sizes[nve]} bytes has no room beside the others'; ask about it alone"
        )
    return kept


def left_out(said: Mapping[str, Any], room: int | None) -> dict[str, str]:
    """What has no room, and why."""
    if room is None:
        return {}
    kept = without_the_longest(said, room)
    return {name: str(one) for name, one in kept.items() if isinstance(one, OperatorError)}
