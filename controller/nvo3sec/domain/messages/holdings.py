# SPDX-License-Identifier: Apache-2.0
"""What a switch holds for its tunnels, as its agent has just read it: names, limits and counters of keys. No keys.

It goes to the NVA as JSON, and nothing more than what is shown to operators depends on it: whoever owns a switch can
answer what he likes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nvo3sec.domain.messages import fields as f
from nvo3sec.domain.overlay.model import Suite

SAS_LIMIT = 65536
_NUMBER_LIMIT = 1 << 64


@dataclass(frozen=True)
class HeldSa:
    """One SA in a switch.

    peer: the NVE at the other end; its underlay address, where that is nobody's. suite: its name, or a number that has
    none. generation: 0 on the sending side, which has none. remaining_s: until the pipeline refuses it. own: derived
    for the incarnation that the switch has. packets, octets: what this key has protected; what was received is counted
    before it is verified. at_most: it may be far less, because the counter is older than the key and nobody knows what
    it was then. idle_s: since it was last seen to send; None where that is not known.
    """

    peer: str
    suite: str
    spi: int
    generation: int
    remaining_s: float
    own: bool
    packets: int
    octets: int
    idle_s: float | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Holdings:
    """One switch. incarnation: the first 4 of 16 bytes, hexadecimal. agrees: its registers and its entry say the same.
    clock_s: its own clock. lease_left_s: until its tunnels close; None: it has no lease."""

    nve: str
    incarnation: str
    agrees: bool
    clock_s: float
    lease_left_s: float | None
    receive: tuple[HeldSa, ...]
    send: tuple[HeldSa, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


def suite_name(number: int) -> str:
    """The name of a suite, or the number if it has none."""
    return Suite(number).name if number in set(Suite) else str(number)


PEER = f.matching("[0-9a-z?]([0-9a-z.:-]{0,63})", "a name or an address")
"""An NVE as an agent calls it: by its name, by its address where that is nobody's, or "?"."""

_COUNT = f.number(_NUMBER_LIMIT - 1)
_SA = f.record(
    {
        "peer": PEER,
        "suite": f.matching("[A-Z0-9_]{1,64}", "the name or the number of a suite"),
        "spi": f.number(0xFFFFFFFF),
        "generation": f.number(0xFFFFFFFF),
        "remaining_s": f.seconds,
        "own": f.flag,
        "packets": _COUNT,
        "octets": _COUNT,
    },
    {"idle_s": f.or_none(f.seconds), "at_most": f.flag},
)
_HOLDINGS = f.record(
    {
        "incarnation": f.matching("([0-9a-f]{8})?", "eight hexadecimal digits"),
        "agrees": f.flag,
        "clock_s": f.seconds,
        "receive": f.listed(_SA, SAS_LIMIT),
        "send": f.listed(_SA, SAS_LIMIT),
    },
    {"lease_left_s": f.or_none(f.seconds)},
)


def holdings_from_json(nve: str, value: Any) -> Holdings:
    """What an agent said, for the switch of `nve`. Raises ValueError for what is not that."""
    found = _HOLDINGS(value, "")
    sides = {side: tuple(HeldSa(**one) for one in found.pop(side)) for side in ("receive", "send")}
    return Holdings(nve, **({"lease_left_s": None} | found | sides))
