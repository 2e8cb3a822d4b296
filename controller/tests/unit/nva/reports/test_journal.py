# SPDX-License-Identifier: Apache-2.0
"""Reports of agents: one that talks much is heard less, and the others as before."""

from __future__ import annotations

import pytest
import structlog
from nvo3sec.domain.mapping import ClaimKey, Place, Reason, Reported
from nvo3sec.domain.mapping.events import Told
from nvo3sec.domain.messages.session import Report
from nvo3sec.nva.mappings.announcements import report_of
from nvo3sec.nva.reports.journal import KEPT_OF_ONE, RATE_OF_ONE, Journal, ReportRecord, log_report
from structlog.testing import capture_logs


def record(nve: str, at: float, detail: str = "") -> ReportRecord:
    return ReportRecord(nve, at, Report("foreign-entry", detail))


def test_nobody_pushes_out_what_another_one_said():
    journal = Journal()
    journal.add(record("leaf2", 0.0, "the only one"))
    for number in range(100_000):
        journal.add(record("leaf1", number / 100, str(number)))
    assert [one.report.detail for one in journal if one.nve == "leaf2"] == ["the only one"]
    mine = [one for one in journal if one.nve == "leaf1"]
    assert len(mine) == KEPT_OF_ONE
    assert [one.at for one in mine] == sorted(one.at for one in mine)
    assert mine[-1].at > 999


def test_a_flood_is_counted_and_not_kept():
    journal = Journal()
    taken = [journal.add(record("leaf1", 0.0)) for _ in range(1000)]
    assert taken.count(True) == RATE_OF_ONE.burst
    assert journal.left_out == {"leaf1": 1000 - RATE_OF_ONE.burst}
    assert journal.add(record("leaf1", 10.0)), "later there is room again"


def test_in_order():
    journal = Journal()
    for number in range(10):
        journal.add(record(f"leaf{number % 3}", float(number)))
    assert [one.at for one in journal] == [float(number) for number in range(10)]


@pytest.mark.parametrize(
    ("event", "level"),
    [
        ("mapping-thawed", "info"),
        ("mapping-moved", "info"),
        ("mapping-returned", "info"),
        ("mapping-frozen", "warning"),
    ],
)
def test_what_is_as_somebody_wanted_it_is_no_warning(event, level):
    with capture_logs() as lines:
        log_report(structlog.get_logger(), "leaf1", Report(event, "VNI 5001"))
    told = {"event": "report", "nve": "leaf1", "what": event, "detail": "VNI 5001", "log_level": level}
    assert lines == [told]


@pytest.mark.parametrize("told", Told)
@pytest.mark.parametrize("reason", [Reason.NONE, Reason.OWNED])
def test_what_has_happened_to_a_mapping_is_said_once(told, reason):
    key, other = ClaimKey(Place("leaf3", 1, 0), 0x02AA00000077), ClaimKey(Place("leaf2", 1, 20), 0x02AA00000077)
    why = ": owned" if reason else ""
    report = report_of(Reported(told, 5001, key, reason))
    assert report == Report(told.value, f"VNI 5001: 02:aa:00:00:00:77 at leaf3 port 1{why}")
    in_its_way = report_of(Reported(told, 5001, key, reason, other)).detail
    assert in_its_way == f"{report.detail}; 02:aa:00:00:00:77 at leaf2 port 1 VLAN 20 is in its way"
