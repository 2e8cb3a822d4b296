# SPDX-License-Identifier: Apache-2.0
"""Counters of a switch, and how an operator is told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from nvo3sec.domain.keys.usage import Amount
from nvo3sec.domain.messages.answers import REASON_LENGTH
from nvo3sec.domain.messages.holdings import suite_name
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.nve.translate import SaName
from nvo3sec.p4runtime import Table
from nvo3sec.p4runtime.statistics import PortStatistics, SwitchStatistics
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.program.generated import Counter, DropReason

_NOBODY = IPv4Address(0)
"""Nobody that is known."""


@dataclass(frozen=True)
class CountersRead:
    """Counters of a switch: drops by pipeline and reason; direct counters by table and match fields; the last sequence
    number used towards each peer."""

    nve: str
    drops: dict[Counter, dict[DropReason, CounterValue]]
    direct: dict[Table, dict[Pairs, CounterValue]]
    interfaces: dict[int, str]
    """Peer or VAP of each overlay interface."""
    sequences: dict[str, int]
    addresses: dict[int, UnderlayAddress] = field(default_factory=dict)
    """Address of each peer number."""
    own: tuple[UnderlayAddress, ...] = ()
    """Addresses of the NVE itself."""
    sent: Mapping[SaName, Amount] = field(default_factory=dict)
    """What each sending SA has protected, also what then did not leave. The counter of an entry goes on when that gets
    another SA."""
    statistics: SwitchStatistics | None = None
    """Of the switch itself and its ports; None where it does not tell."""


def counters_report(counters: CountersRead) -> dict[str, Any]:
    """Drops by pipeline and reason, what went through SAs, VAPs and into VNs, the last sequence number to each peer,
    and what the switch counts of itself and its ports (None where it does not tell)."""

    def rows(table: Table) -> list[dict[str, Any]]:
        return [_row(match, value, counters) for match, value in sorted(counters.direct[table].items())]

    return {
        "nve": counters.nve,
        "drops": {
            pipeline.removeprefix("drops_"): {reason.name: _value(value) for reason, value in sorted(reasons.items())}
            for pipeline, reasons in counters.drops.items()
        },
        "sa_rx": rows(Table.SA_RX),
        "sa_tx": rows(Table.SA_TX),
        "sa_sent": [_sent(name, amount) for name, amount in sorted(counters.sent.items())],
        "vap": rows(Table.VAP),
        "vn": rows(Table.VN_INGRESS_AUTHORIZATION),
        "last_sequence": dict(sorted(counters.sequences.items())),
        "switch": _statistics(counters.statistics),
    }


def _sent(name: SaName, amount: Amount) -> dict[str, Any]:
    peer, suite, spi = name
    row = {"towards": peer, "suite": suite_name(suite), "spi": f"{spi:08x}", "at_most": amount.at_most}
    return row | {"packets": amount.packets, "bytes": amount.octets}


def _statistics(statistics: SwitchStatistics | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    return {
        "engine": statistics.engine,
        "ports": {str(number): _port(port) for number, port in statistics.ports.items()},
    }


def _port(port: PortStatistics) -> dict[str, str | int]:
    state = {"state": port.state, "reason": port.reason[:REASON_LENGTH]} if port.state else {}
    return {"interface": port.interface, **state, **port.counts}


def _value(value: CounterValue) -> dict[str, int]:
    return {"packets": value.packets, "bytes": value.bytes}


def _row(match: Pairs, value: CounterValue, counters: CountersRead) -> dict[str, Any]:
    row: dict[str, Any] = {}
    source: UnderlayAddress = _NOBODY
    for name, number in match:
        if name == "peer":
            source = counters.addresses.get(number, _NOBODY)
            row["source"] = str(source)
        elif name == "spi":
            owns = counters.own or (_NOBODY,)
            own = next((one for one in owns if one.version == source.version), owns[0])
            row |= {"destination": str(own), name: f"{number:08x}"}
        elif name == "link":
            continue  # there are none
        else:
            row[name] = number
        if name == "interface":
            row["towards"] = counters.interfaces.get(number, "")
    return row | _value(value)
