# SPDX-License-Identifier: Apache-2.0
"""What operators are told of the whole domain. Nothing in here has ever seen a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from nvo3sec.domain.keys.sa import Direction
from nvo3sec.domain.messages.credential_terms import span
from nvo3sec.domain.messages.versions import Speaks, differences
from nvo3sec.domain.overlay.meanings import Meaning
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.domain.switch.status import AgentStatus, stands_no_more, unknown_status
from nvo3sec.nva.intent.level_steps import LevelProgress
from nvo3sec.nva.reports.journal import ReportRecord
from nvo3sec.operator.documents import HeldNumber, Key, LevelUnderWay, SaidReport, Speech, Status, Switch
from nvo3sec.operator.fair_share import left_out
from nvo3sec.operator.json_form import to_json

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
    level_changes: Iterable[LevelProgress] = (),
) -> Status:
    """Switches with what is expected and what is there, every key by name, the last reports, what is not ready, and
    what will not be for long.

    excluded: NVEs that are shut out, and why; nothing is expected of their switches. awaited: those of them that are to
    come back, or to leave the domain: nothing is ready without them. disputed: NVEs that remember another history
    of the NVA's store than it has, and what. alarms: what the NVA itself knows to be wrong. held: numbers that may
    still stand for what they stood for, and the NVEs where: those that are shut out are not waited for, since nobody
    takes anything from them. contested: NVEs whose name several agents use, and what is known of these. level_changes:
    that are under way.
    """
    out, strange, rivals = excluded or {}, disputed or {}, contested or {}
    directions = list(directions)
    present = set(registered)
    switches = []
    for nve in domain.nves:
        # One that the domain has got while the others were asked was not.
        switches.append(
            Switch(
                **vars(agents.get(nve.name) or unknown_status(nve.name, "was not asked")),
                excluded=out.get(nve.name, ""),
                disputed=strange.get(nve.name, ""),
                registered=nve.name in present,
                p4runtime=nve.p4runtime,
                device_id=nve.device_id,
            )
        )
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
    under_way = tuple(map(_under_way, level_changes))
    missing += map(_not_in_force, under_way)
    return Status(
        domain=domain.name,
        ready=not missing,
        not_ready=tuple(missing),
        warnings=tuple(one for one in map(lambda d: _overdue(d, now), directions) if one),
        switches=tuple(switches),
        held=tuple(
            HeldNumber(f"{one.sort} {one.number}", one.owner, tuple(nves)) for one, nves in (held or {}).items()
        ),
        level_changes=under_way,
        keys=tuple(key for direction in directions for key in _keys(direction, now)),
        reports=tuple(
            SaidReport(
                r.nve,
                round(now - r.at, 1),
                r.report.event,
                r.report.detail,
                _is_over(r, agents.get(r.nve), out, strange, rivals),
            )
            for r in _last(reports)
        ),
    )


def _under_way(one: LevelProgress) -> LevelUnderWay:
    change = one.change
    return LevelUnderWay(
        one.subject,
        one.wanted.word,
        change.was.word,
        change.sends.word,
        change.demands.word,
        one.waits_for,
        one.late,
    )


def _not_in_force(one: LevelUnderWay) -> str:
    """That a change has not come to its end yet, and why."""
    waits = f": waits for {', '.join(one.waits_for)}" if one.waits_for else ""
    late = ", longer than is due" if one.late else ""
    return f"{one.subject}: level {one.wanted} is on its way, {one.sends} is sent, {one.demands} demanded{waits}{late}"


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
        case "updates-refused" | "incarnation-lost" | "incarnation-retired" | "lease-withheld":
            return agent is not None and _is_ready(agent)
    if agent is None or not agent.nva:
        return False
    return stands_no_more(f"{record.report.event}: {record.report.detail}", agent.standing)


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


def with_versions(report: Status, nva: Speaks, agents: Mapping[str, Speaks], room: int | None = None) -> Status:
    """A status with what the NVA and each agent speak, and which of them is to be upgraded. agents: by NVE. room: as
    for `with_terms`."""
    present = {switch.nve: agents.get(switch.nve) for switch in report.switches}
    unsaid_of = left_out({name: to_json(_speech(one)) for name, one in present.items()}, room)
    present = {name: None if name in unsaid_of else one for name, one in present.items()}
    out = {switch.nve for switch in report.switches if switch.excluded}
    known = [(name, one) for name, one in present.items() if one is not None and name not in out]
    unsaid = [f"the agent of {name}: what it speaks: {why}" for name, why in unsaid_of.items()]
    return replace(
        report,
        speaks=_speech(nva),
        switches=tuple(replace(switch, speaks=_speech(present[switch.nve])) for switch in report.switches),
        warnings=(*(report.warnings or ()), *differences(nva, known), *unsaid),
    )


def _speech(one: Speaks | None) -> Speech | None:
    return None if one is None else Speech(one.software, one.protocol, tuple(sorted(one.features)))


def _last(reports: list[ReportRecord]) -> list[ReportRecord]:
    """The last ones, few of each NVE: who talks much does not hide what others said."""
    shown: list[ReportRecord] = []
    count: Counter[str] = Counter()
    for record in reversed(reports):
        if count[record.nve] < REPORTS_OF_ONE_SHOWN and len(shown) < REPORTS_SHOWN:
            count[record.nve] += 1
            shown.append(record)
    return shown[::-1]


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


def _keys(direction: Direction, now: float) -> list[Key]:
    return [
        Key(
            sender=direction.tunnel.sender,
            receiver=direction.tunnel.receiver,
            suite=direction.tunnel.suite.name,
            state=sa.state.value,
            spi=f"{sa.spi:08x}",
            generation=sa.generation,
            age_s=round(now - sa.planned_at, 1),
            to_soft_s=round(sa.soft_at - now, 1),
            to_hard_s=round(sa.hard_at - now, 1),
            at_receiver=sa.spi in (direction.receiver.holds or ()),
            at_sender=sa.spi in (direction.sender.holds or ()),
            inherited=sa.inherited,
            level=direction.tunnel.suite.level.word,
        )
        for sa in direction.sas
    ]
