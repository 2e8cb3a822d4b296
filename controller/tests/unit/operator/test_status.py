# SPDX-License-Identifier: Apache-2.0
"""Reports in the status: what was a state and has ended is not told as if it went on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nvo3sec.config import example_path, load_domain
from nvo3sec.domain.messages.session import Report
from nvo3sec.domain.overlay.level_changes import LevelChange
from nvo3sec.domain.overlay.model import Level
from nvo3sec.domain.switch.status import STATES, AgentStatus
from nvo3sec.nva.intent.level_steps import LevelProgress
from nvo3sec.nva.reports.journal import ReportRecord
from nvo3sec.operator.status import status_report

DOMAIN = load_domain(example_path())
WELL = AgentStatus("leaf1", connected=True, nva=True, incarnation_agrees=True, lease_left_s=10.0, in_sync=True)


def is_over(event: str, agent: AgentStatus = WELL, detail: str = "why", **states: dict[str, str]) -> bool:
    agents = {nve.name: replace(agent, nve=nve.name) for nve in DOMAIN.nves}
    record = ReportRecord("leaf1", 1.0, Report(event, detail))
    (report,) = status_report(DOMAIN, agents, (), [record], (), 2.0, **states).reports
    return report.over


@pytest.mark.parametrize(
    ("event", "while_it_lasts"),
    [
        ("nve-suspended", {"excluded": {"leaf1": "its certificate is revoked"}}),
        ("store-disputed", {"disputed": {"leaf1": "remembers more"}}),
        ("two-agents", {"contested": {"leaf1": "two agents use nve/leaf1"}}),
        ("updates-refused", {"agent": replace(WELL, in_sync=False)}),
        ("incarnation-lost", {"agent": replace(WELL, incarnation_agrees=False)}),
        ("incarnation-retired", {"agent": replace(WELL, lease_left_s=None)}),
        ("lease-withheld", {"agent": replace(WELL, lease_left_s=0.0)}),
    ],
)
def test_a_state_is_over_when_it_is(event, while_it_lasts):
    assert not is_over(event, **while_it_lasts)
    assert is_over(event)


def test_one_that_is_suspended_is_not_ready_and_one_that_is_revoked_for_good_has_no_effect():
    agents = {nve.name: replace(WELL, nve=nve.name) for nve in DOMAIN.nves}
    out = {"leaf2": "its certificate was revoked", "leaf3": "revoked"}
    status = status_report(DOMAIN, agents, (), [], (), 2.0, out, awaited={"leaf2"})
    assert (status.ready, status.not_ready) == (False, ("leaf2: suspended: its certificate was revoked",))
    assert status_report(DOMAIN, agents, (), [], (), 2.0, out).ready


@pytest.mark.parametrize("event", ["foreign-entry", "mapping-frozen"])
def test_an_event_stays_one(event):
    assert not is_over(event)


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_an_agent_knows_the_end_of_is_over_when_it_says_so(state):
    event, _, part = state.partition(": ")
    told = f"{part}in full"
    assert not is_over(event, replace(WELL, standing=(f"{state}in",)), told)
    assert is_over(event, replace(WELL, standing=("confined: other",)), told)
    assert not is_over(event, WELL, told), "an agent that does not say what stands"
    assert not is_over(event, replace(WELL, nva=False, standing=()), told), "nobody knows"


def test_what_the_nva_confines_is_no_state_of_an_agent():
    assert not is_over("confined", replace(WELL, standing=()), "keys of leaf1 to leaf2: KeyError")


@pytest.mark.parametrize(
    ("waits_for", "late", "said"),
    [
        ((), False, ""),
        (("leaf2", "leaf3"), False, ": waits for leaf2, leaf3"),
        (("a key of leaf1 to leaf2",), True, ": waits for a key of leaf1 to leaf2, longer than is due"),
    ],
)
def test_a_change_of_a_level_is_not_ready_before_its_end(waits_for, late, said):
    weak, strong = Level
    one = LevelProgress("vn blue", LevelChange(weak, strong, weak), strong, waits_for, late)
    status = status_report(DOMAIN, {}, (), [], (), 2.0, level_changes=[one])
    assert not status.ready
    expected = "vn blue: level confidentiality is on its way, confidentiality is sent, integrity demanded"
    assert status.not_ready == (expected + said,)
    told = status.level_changes[0]
    assert (told.was, told.sends, told.demands) == ("integrity", "confidentiality", "integrity")
    assert (told.subject, told.wanted, told.waits_for, told.late) == ("vn blue", "confidentiality", waits_for, late)
    assert status_report(DOMAIN, {}, (), [], (), 2.0).level_changes == ()
