# SPDX-License-Identifier: Apache-2.0
"""What an agent tells an operator. No keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from nvo3sec.p4runtime import Table
from nvo3sec.p4runtime.statistics import SwitchStatistics
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.program.generated import Counter, DropReason


@dataclass(frozen=True)
class AgentStatus:
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
class SwitchCounters:
    """Counters of a switch: drops by pipeline and reason; direct counters by table and match fields; the last sequence
    number used towards each peer."""

    nve: str
    drops: dict[Counter, dict[DropReason, CounterValue]]
    direct: dict[Table, dict[Pairs, CounterValue]]
    interfaces: dict[int, str]
    """Peer or VAP of each overlay interface."""
    sequences: dict[str, int]
    statistics: SwitchStatistics | None = None
    """Of the switch itself and its ports; None where it does not tell."""
