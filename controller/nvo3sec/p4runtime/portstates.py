# SPDX-License-Identifier: Apache-2.0
"""How the ports of a switch are: the method Watch of the service p4softswitch.v1.Ports, beside P4Runtime.

Only the embedded switch has it. Its answers are JSON, each of all ports; see p4softswitch/server/portservice.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

PORTS_WATCH_METHOD = "/p4softswitch.v1.Ports/Watch"

LAST_PORT = 511
"""v1model's ports have 9 bits."""
LONGEST_ANSWER = 1 << 20
"""Bytes: 2 KiB for each port that there may be."""
LONGEST_REASON = 200
"""Characters that are kept of a reason."""

_NUMBER = re.compile("0|[1-9][0-9]{0,2}")
_STATES = ("up", "down", "absent")


@dataclass(frozen=True)
class PortStates:
    """One answer.

    reasons: of each port that it tells of, why no frame passes; empty where frames do. faults: what of the answer
    cannot be understood, each in one line; a port of which that is so is not in reasons.
    """

    reasons: dict[int, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def parse_port_states(answer: bytes) -> PortStates:
    """Whatever the answer is: what is wrong with one port is wrong with no other."""
    if len(answer) > LONGEST_ANSWER:
        return PortStates({}, (f"port states of {len(answer)} bytes; at most {LONGEST_ANSWER} are read",))
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return PortStates({}, ("port states that are no JSON",))
    ports = document.get("ports") if isinstance(document, dict) else None
    if not isinstance(ports, dict):
        return PortStates({}, ("port states without an object `ports`",))
    if len(ports) > LAST_PORT + 1:
        return PortStates({}, (f"states of {len(ports)} ports; a switch has at most {LAST_PORT + 1}",))
    reasons, faults = {}, []
    for number, port in ports.items():
        fault = _fault(number, port)
        if fault:
            faults.append(fault)
        else:
            reasons[int(number)] = "" if port["state"] == "up" else port["reason"][:LONGEST_REASON] or port["state"]
    return PortStates(reasons, tuple(faults))


def _fault(number: str, port: Any) -> str:
    if not _NUMBER.fullmatch(number) or int(number) > LAST_PORT:
        return f"the state of a port {number[:40]!r}; ports are 0 to {LAST_PORT}"
    if not isinstance(port, dict) or not isinstance(port.get("reason"), str):
        return f"the state of port {number} without a reason"
    state = port.get("state")
    if state not in _STATES:
        told = repr(state[:40]) if isinstance(state, str) else f"a {type(state).__name__}"
        return f"port {number} is {told}; known are {', '.join(_STATES)}"
    return ""
