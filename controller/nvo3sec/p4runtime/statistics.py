# SPDX-License-Identifier: Apache-2.0
"""What a switch counts besides what the program does: the service p4softswitch.v1.Statistics, beside P4Runtime.

Only the embedded switch has it. Its answer is JSON; see p4softswitch/server/statistics.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
"""One spelling for each: what is said of a port twice would be said once."""

STATISTICS_METHOD = "/p4softswitch.v1.Statistics/Get"


@dataclass(frozen=True)
class PortStatistics:
    """What is counted of one port, by name, and the interface or socket that it is attached to. state: up, down or
    absent, and why; empty where the switch does not say."""

    interface: str
    counts: dict[str, int]
    state: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SwitchStatistics:
    """Numbers of the switch itself, by name, and those of its ports, by port."""

    engine: dict[str, int] = field(default_factory=dict)
    ports: dict[int, PortStatistics] = field(default_factory=dict)


def parse_statistics(answer: bytes) -> SwitchStatistics:
    """The answer of the method. Raises ValueError for another form; names that are new are taken as they come."""
    try:
        document = json.loads(answer)
        if not isinstance(document, dict) or not isinstance(document.get("ports"), dict):
            raise ValueError("no object with ports")
        if not all(_NUMBER.fullmatch(number) for number in document["ports"]):
            raise ValueError("a port without a number")
        states = document.get("states", {})
        if not isinstance(states, dict):
            raise ValueError("states that are no object")
        ports = {int(number): _port(port, states.get(number)) for number, port in document["ports"].items()}
        return SwitchStatistics(_counts(document.get("engine")), ports)
    except RecursionError:
        raise ValueError("not the statistics of a switch: nested too deep") from None
    except ValueError as error:
        raise ValueError(f"not the statistics of a switch: {error}") from None


def _port(port: Any, state: Any) -> PortStatistics:
    if not isinstance(port, dict) or not isinstance(port.get("interface"), str):
        raise ValueError("a port without its interface")
    counts = _counts({name: port[name] for name in port if name != "interface"})
    if state is None:  # of a port that there is not, or of a switch from before it had states
        return PortStatistics(port["interface"], counts)
    if not isinstance(state, dict) or not all(isinstance(state.get(name), str) for name in ("state", "reason")):
        raise ValueError("a state without its reason")
    return PortStatistics(port["interface"], counts, state["state"], state["reason"])


def _counts(counts: Any) -> dict[str, int]:
    if not isinstance(counts, dict) or not all(type(count) is int and count >= 0 for count in counts.values()):
        raise ValueError("counts that are no numbers")
    return counts
