# SPDX-License-Identifier: Apache-2.0
"""What an NVE writes into the DSCP of the outer headers (RFC 2983).

The DSCP that arrives is never written into a frame: nothing authenticates the outer header (docs/decisions/0044).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LAST_DSCP = 63
"""RFC 2474 3: six bits."""

DSCP_NAMES = {
    "DF": 0,
    "LE": 1,
    **{f"CS{number}": 8 * number for number in range(8)},
    **{f"AF{number}{drop}": 8 * number + 2 * drop for number in range(1, 5) for drop in range(1, 4)},
    "VOICE-ADMIT": 44,
    "EF": 46,
}
"""RFC 2474 4.2, RFC 2597, RFC 3246, RFC 5865, RFC 8622; as IANA lists them."""


class DscpModel(StrEnum):
    """Where the outer DSCP comes from."""

    PIPE = "pipe"
    """It is the underlay's own: one value for all frames."""
    COPY = "copy"
    """It is that of the frame, if the frame is of IP."""


@dataclass(frozen=True)
class OuterDscp:
    """The outer DSCP of what an NVE sends. value: of all frames, or of those that have none to copy."""

    model: DscpModel = DscpModel.PIPE
    value: int = 0


BEST_EFFORT = OuterDscp()
"""What a switch does without being told (RFC 2474 4.1)."""


def parse_dscp(value: object) -> int:
    """A DSCP, from its number or its name. Raises ValueError."""
    if isinstance(value, str) and value in DSCP_NAMES:
        return DSCP_NAMES[value]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_DSCP:
        return value
    raise ValueError(f"must be a number from 0 to {LAST_DSCP}, or one of: {', '.join(DSCP_NAMES)}")
