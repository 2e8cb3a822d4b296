# SPDX-License-Identifier: Apache-2.0
"""What operators are told, as JSON values. Nothing in here has ever seen a key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from ipaddress import IPv4Address
from typing import Any

from nvo3sec.domain.keys.sa import Direction
from nvo3sec.domain.messages.answers import TEXT_LIMIT
from nvo3sec.domain.messages.credential_terms import CredentialTerms, Urgency, span
from nvo3sec.domain.messages.versions import Speaks, differences
from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import OperatorError
from nvo3sec.nva.report_journal import ReportRecord
from nvo3sec.nve import AgentStatus, SwitchCounters
from nvo3sec.p4runtime import Table
from nvo3sec.p4runtime.statistics import SwitchStatistics
from nvo3sec.program.entry import CounterValue, Pairs
from nvo3sec.system.plain import plain

REPORTS_SHOWN, REPORTS_OF_ONE_SHOWN = 20, 5


def status_report(
    domain: Domain,
    agents: Mapping[str, AgentStatus],
    directions: Iterable[Direction],
    reports: list[ReportRecord],
    registered: Iterable[str],
    now: float,
    excluded: Mapping[str, str] | None = None,
    disputed: Mapping[str, str] | None = None,
    alarms: Iterable[str] = (),
    held: Mapping[Meaning, Collection[str]] | None = None,
    contested: Mapping[str, str] | None = None,
    awaited: Collection[str] = (),
) -> dict[str, Any]:
    """Switches with what is expected and what is there, every key by name, the last reports, what is not ready, and
    what will not be for long.

    excluded: NVEs that are shut out, and why; nothing is expected of their switches. awaited: those of them that are to
    come back, or to leave the domain: nothing is ready without them. disputed: NVEs that remember another history
    of the NVA's store than it has, and what. alarms: what the NVA itself knows to be wrong. held: numbers that may
    still stand for what they stood for, and the NVEs where: those that are shut out are not waited for, since nobody
    takes anything from them. contested: NVEs whose name several agents use, and what is known of these.
    """
    out, strange, rivals = excluded or {}, disputed or {}, contested or {}
    directions = list(directions)
    present = set(registered)
    switches = []
    for nve in domain.nves:
        # One that the domain has got while the others were asked was not.
        switch = asdict(agents.get(nve.name) or unknown_status(nve.name, "was not asked"))
        switch["excluded"], switch["disputed"] = out.get(nve.name, ""), strange.get(nve.name, "")
        switch |= {"registered": nve.name in present, "p4runtime": nve.p4runtime, "device_id": nve.device_id}
        switches.append(switch)
    expected = {name: status for name, status in agents.items() if name not in out}
    missing = [f"{name}: {_why(status)}" for name, status in expected.items() if not _is_ready(status)]
    missing += [f"{name}: suspended: {out[name]}" for name in sorted(awaited)]
    missing += [f"{name}: {alarm}" for name, status in expected.items() for alarm in status.alarms]
    missing += alarms
    missing += rivals.values()
    missing += [f"the history of the NVA's store is disputed: {name} {what}" for name, what in strange.items()]
    missing += [
        f"{d.tunnel.sender} to {d.tunnel.receiver}: no key confirmed at both ends"
        for d in directions
        if not d.is_established
    ]
    missing += [
        f"{nve}: {meaning} is not confirmed to be gone, and its lease has not run out"
        for meaning, nves in (held or {}).items()
        for nve in nves
        if nve not in out
    ]
    return {
        "domain": domain.name,
        "ready": not missing,
        "not_ready": missing,
        "warnings": [one for one in map(lambda d: _overdue(d, now), directions) if one],
        "switches": switches,
        "held": [
            {"number": f"{one.sort} {one.number}", "owner": one.owner, "nves": list(nves)}
            for one, nves in (held or {}).items()
        ],
        "keys": [key for direction in directions for key in _keys(direction, now)],
        "reports": [
            {
                "nve": r.nve,
                "age_s": round(now - r.at, 1),
                "event": r.report.event,
                "detail": r.report.detail,
                "over": _is_over(r, agents.get(r.nve), out, strange, rivals),
            }
            for r in _last(reports)
        ],
    }


def _is_over(
    record: ReportRecord,
    agent: AgentStatus | None,
    excluded: Mapping[str, str],
    disputed: Mapping[str, str],
    contested: Mapping[str, str],
) -> bool:
    """Whether a report tells of a state that is no more. What tells of an event stays as it was."""
    match record.report.event:
        case "nve-suspended":
            return record.nve not in excluded
        case "store-disputed":
            return record.nve not in disputed
        case "two-agents":
            return record.nve not in contested
        case "updates-refused" | "incarnation-lost" | "lease-withheld":
            return agent is not None and _is_ready(agent)
    return False


OVERDUE_SHARE = 1 / 10
"""Of the time between soft and hard limit: so long, and for as long as a rotation may take, a key may wait for its
successor before that is said."""


def _overdue(direction: Direction, now: float) -> str:
    """What is to be said of a key that is not replaced; empty if nothing is."""
    sending = direction.current
    if sending is None:
        return ""
    patience_s = max(direction.limits.rollout_s, (sending.hard_at - sending.soft_at) * OVERDUE_SHARE)
    if now < sending.soft_at + patience_s:
        return ""
    tunnel = direction.tunnel
    overdue, left = span(now - sending.soft_at), span(max(0.0, sending.hard_at - now))
    return f"{tunnel.sender} to {tunnel.receiver}: the key is {overdue} past its soft limit, and ends in {left}"


def with_versions(
    report: dict[str, Any], nva: Speaks, agents: Mapping[str, Speaks], room: int | None = None
) -> dict[str, Any]:
    """A status with what the NVA and each agent speak, and which of them is to be upgraded. agents: by NVE. room: as
    for `with_terms`."""
    present = {switch["nve"]: agents.get(switch["nve"]) for switch in report["switches"]}
    left_out = _left_out({name: _speaks(one) for name, one in present.items()}, room)
    present = {name: None if name in left_out else one for name, one in present.items()}
    switches = [switch | {"speaks": _speaks(present[switch["nve"]])} for switch in report["switches"]]
    out = {switch["nve"] for switch in report["switches"] if switch.get("excluded")}
    known = [(name, one) for name, one in present.items() if one is not None and name not in out]
    told = {"speaks": _speaks(nva), "switches": switches}
    unsaid = [f"the agent of {name}: what it speaks: {why}" for name, why in left_out.items()]
    return report | told | {"warnings": [*report.get("warnings", ()), *differences(nva, known), *unsaid]}


def _speaks(one: Speaks | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"software": one.software, "protocol": one.protocol, "features": sorted(one.features)}


def with_terms(
    report: dict[str, Any], said: Mapping[str, CredentialTerms], now: float, room: int | None = None
) -> dict[str, Any]:
    """A status with what ends in each process, by its name (ROLE/NAME). now: seconds since 1970.

    What several processes say with the same words is one warning, and names them. room: for what all of them say,
    bytes of JSON: of those that are too much, the longest are left out, and that is a warning.
    """
    ends = []
    warnings: dict[str, list[str]] = {}
    left_out = _left_out({process: _said(one, now) for process, one in said.items()}, room)
    for process, why in left_out.items():
        warnings.setdefault(f"what it says of its credentials: {why}", []).append(process)
    for process, credentials in said.items():
        if process in left_out:
            continue
        for fault in credentials.faults:
            warnings.setdefault(fault, []).append(process)
        for term in credentials.terms:
            urgency = term.urgency(now)
            row = {"process": process, "kind": term.kind.value, "name": term.name, "left_s": round(term.ends - now)}
            ends.append(row | {"urgency": urgency.name.lower()})
            if urgency is not Urgency.NONE:
                warnings.setdefault(term.describe(now), []).append(process)
    told = [f"{', '.join(processes)}: {what}" for what, processes in warnings.items()]
    return report | {"ends": ends, "warnings": [*report.get("warnings", ()), *told]}


def _said(credentials: CredentialTerms, now: float) -> list[str]:
    """All that becomes of it in a status: a row and a warning for each term, a warning for each fault."""
    terms = [text for one in credentials.terms for text in (one.name, one.describe(now), "." * ROW_BYTES)]
    return [*terms, *credentials.faults]


ROW_BYTES = 160
"""Of a row of what ends, without its name."""


def _left_out(said: Mapping[str, Any], room: int | None) -> dict[str, str]:
    """What has no room, and why."""
    if room is None:
        return {}
    kept = without_the_longest(said, room)
    return {name: str(one) for name, one in kept.items() if isinstance(one, OperatorError)}


def _last(reports: list[ReportRecord]) -> list[ReportRecord]:
    """The last ones, few of each NVE: who talks much does not hide what others said."""
    shown: list[ReportRecord] = []
    count: Counter[str] = Counter()
    for record in reversed(reports):
        if count[record.nve] < REPORTS_OF_ONE_SHOWN and len(shown) < REPORTS_SHOWN:
            count[record.nve] += 1
            shown.append(record)
    return shown[::-1]


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


def unknown_status(nve: str, fault: str) -> AgentStatus:
    """The status of an agent that did not say one."""
    return AgentStatus(nve, fault=fault)


def status_from_json(nve: str, value: Any) -> AgentStatus:
    """An agent's own account of itself, which `domain.messages.answers` has judged. Nothing more than what is shown
    depends on it."""
    fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
    return AgentStatus(nve, **fields)


def status_to_json(status: AgentStatus) -> dict[str, Any]:
    """An agent's own account of itself, as the NVA takes it."""
    lines = {name: lines_to_json(getattr(status, name)) for name in ("differences", "foreign", "alarms")}
    return asdict(status) | lines | {"fault": _line(status.fault)}


def lines_to_json(lines: Iterable[str]) -> list[str]:
    """What is done to a switch, or to be done, as the NVA takes it."""
    return [_line(line) for line in lines]


def _line(text: str) -> str:
    """What is named by a switch can be long, and what a switch says can be anything."""
    told = plain(text)
    return told if len(told) <= TEXT_LIMIT else f"{told[: TEXT_LIMIT - 3]}..."


def _is_ready(status: AgentStatus) -> bool:
    return (
        status.connected
        and status.in_sync
        and status.incarnation_agrees
        and status.lease_left_s is not None
        and status.lease_left_s > 0
    )


def _why(status: AgentStatus) -> str:
    if status.fault:
        return status.fault
    if not status.connected:
        return "not connected"
    if not status.in_sync:
        return "switch and desired state differ"
    return "no lease yet" if not status.lease_left_s else "the lease has run out"


def _keys(direction: Direction, now: float) -> list[dict[str, Any]]:
    return [
        {
            "sender": direction.tunnel.sender,
            "receiver": direction.tunnel.receiver,
            "suite": direction.tunnel.suite.name,
            "state": sa.state.value,
            "spi": f"{sa.spi:08x}",
            "generation": sa.generation,
            "age_s": round(now - sa.planned_at, 1),
            "to_soft_s": round(sa.soft_at - now, 1),
            "to_hard_s": round(sa.hard_at - now, 1),
            "at_receiver": sa.spi in (direction.receiver.holds or ()),
            "at_sender": sa.spi in (direction.sender.holds or ()),
            "inherited": sa.inherited,
        }
        for sa in direction.sas
    ]


def counters_report(counters: SwitchCounters) -> dict[str, Any]:
    """Drops by pipeline and reason, what went through SAs, VAPs and into VNs, the last sequence number to each peer,
    and what the switch counts of itself and its ports (None where it does not tell)."""

    def rows(table: Table) -> list[dict[str, Any]]:
        return [_row(match, value, counters.interfaces) for match, value in sorted(counters.direct[table].items())]

    return {
        "nve": counters.nve,
        "drops": {
            pipeline.removeprefix("drops_"): {reason.name: _value(value) for reason, value in sorted(reasons.items())}
            for pipeline, reasons in counters.drops.items()
        },
        "sa_rx": rows(Table.SA_RX),
        "sa_tx": rows(Table.SA_TX),
        "vap": rows(Table.VAP),
        "vn": rows(Table.VN_INGRESS_AUTHORIZATION),
        "last_sequence": dict(sorted(counters.sequences.items())),
        "switch": _statistics(counters.statistics),
    }


def _statistics(statistics: SwitchStatistics | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    ports = {str(number): {"interface": port.interface, **port.counts} for number, port in statistics.ports.items()}
    return {"engine": statistics.engine, "ports": ports}


def _value(value: CounterValue) -> dict[str, int]:
    return {"packets": value.packets, "bytes": value.bytes}


def _row(match: Pairs, value: CounterValue, interfaces: Mapping[int, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, number in match:
        if name in ("source", "destination"):
            row[name] = str(IPv4Address(number))
        elif name == "spi":
            row[name] = f"{number:08x}"
        else:
            row[name] = number
        if name == "interface":
            row["towards"] = interfaces.get(number, "")
    return row | _value(value)
