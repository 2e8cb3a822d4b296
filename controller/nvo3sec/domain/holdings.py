# SPDX-License-Identifier: Apache-2.0
"""What a switch holds for its tunnels, as its agent has just read it: names, limits and counters of keys. No keys.

It goes to the NVA as JSON, and nothing more than what is shown to operators depends on it: whoever owns a switch can
answer what he likes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nvo3sec.domain.model import Suite

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


def holdings_from_json(nve: str, value: Any) -> Holdings:
    """What an agent said, for the switch of `nve`. Raises ValueError for what is not that."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return Holdings(
        nve,
        _text(value, "incarnation"),
        _flag(value, "agrees"),
        _seconds(value, "clock_s"),
        None if value.get("lease_left_s") is None else _seconds(value, "lease_left_s"),
        _sas(value, "receive"),
        _sas(value, "send"),
    )


def _sas(value: dict[str, Any], name: str) -> tuple[HeldSa, ...]:
    found = value.get(name)
    if not isinstance(found, list) or len(found) > SAS_LIMIT:
        raise ValueError(name)
    return tuple(_sa(one) for one in found)


def _sa(value: Any) -> HeldSa:
    if not isinstance(value, dict):
        raise ValueError("an SA that is none")
    return HeldSa(
        _text(value, "peer"),
        _text(value, "suite"),
        _count(value, "spi"),
        _count(value, "generation"),
        _seconds(value, "remaining_s"),
        _flag(value, "own"),
        _count(value, "packets"),
        _count(value, "octets"),
        None if value.get("idle_s") is None else _seconds(value, "idle_s"),
        _flag({"at_most": False} | value, "at_most"),
    )


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or len(found) > 64:
        raise ValueError(name)
    return found


def _flag(value: dict[str, Any], name: str) -> bool:
    found = value.get(name)
    if not isinstance(found, bool):
        raise ValueError(name)
    return found


def _count(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    if type(found) is not int or not 0 <= found < _NUMBER_LIMIT:
        raise ValueError(name)
    return found


def _seconds(value: dict[str, Any], name: str) -> float:
    found = value.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool) or not -1e12 < found < 1e12:
        raise ValueError(name)
    return float(found)
