# SPDX-License-Identifier: Apache-2.0
"""An agent and its switch as they are now: what it says of itself, and what the NVA takes it for. No keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STATES = (
    "confined: drop counters: ",
    "confined: keys: new keys ",
    "confined: message ",
    "confined: reconciliation: ",
    "confined: view: ",
    "not-announced-anew: ",
    "peer-keys-impossible: ",
    "peer-keys-not-remembered: ",
    "peer-penalty: ",
    "peers-confused: ",
    "replay-generation: ",
    "tunnel-keys-downgraded: ",
    "tunnel-keys-refused: ",
)
"""How those reports of agents begin that tell of a state whose end the agent knows."""
STANDING_CHARS, STANDING_LINES = 200, 60
"""Of what stands, so much is said: enough to tell it from everything else, and no more lines than are shown."""


@dataclass(frozen=True)
class SwitchStatus:
    """An agent and its switch as they are now."""

    nve: str
    connected: bool = False
    """To the switch, as its primary."""
    nva: bool = False
    """A session with the NVA is open."""
    adopted: bool = False
    """The switch was running with an incarnation that held when it was taken over."""
    incarnation: str = ""
    """First 4 of 16 bytes, hexadecimal: enough to see that it changed."""
    incarnation_agrees: bool = False
    lease_left_s: float | None = None
    in_sync: bool = False
    entries_expected: int = 0
    entries_actual: int = 0
    differences: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    learned: int = 0
    punts: dict[str, int] = field(default_factory=dict)
    packets_lost: int = 0
    fault: str = ""
    alarms: tuple[str, ...] = ()
    """What is wrong although the switch is as it should be."""
    limits_s: dict[str, float] = field(default_factory=dict)
    """Seconds to the hard limit of each key in the switch, by "receive" or "send", peer and SPI."""


@dataclass(frozen=True)
class AgentStatus(SwitchStatus):
    """The same, as the agent says it."""

    standing: tuple[str, ...] | None = None
    """What of all that it reported as a state is still so: how the text of each report begins, event first. None: it
    does not say (`STATES`)."""


def unknown_status(nve: str, fault: str) -> AgentStatus:
    """The status of an agent that did not say one."""
    return AgentStatus(nve, fault=fault)


def status_from_json(nve: str, value: Any) -> AgentStatus:
    """An agent's own account of itself, which `domain.messages.answers` has judged. Nothing more than what is shown
    depends on it."""
    fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
    return AgentStatus(nve, **fields)


def stands_no_more(told: str, standing: tuple[str, ...] | None) -> bool:
    """Whether a report (event and detail) tells of a state that has ended. standing: as the agent says it."""
    if standing is None or len(standing) >= STANDING_LINES or not told.startswith(STATES):
        return False
    return not told.startswith(standing)
