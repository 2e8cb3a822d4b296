# SPDX-License-Identifier: Apache-2.0
"""A short differential run: some packets through both targets. ptf-tests/run_differential.py makes long ones."""

from __future__ import annotations

import itertools

import pytest
from differential.campaign import Campaign
from harness import switches
from harness.session import pipeline_directory

PACKETS = 2_000  # about one world


def test_both_targets_do_the_same() -> None:
    missing = [name for target, name in switches.EXECUTABLES.items() if switches.find(target) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} is not on PATH")
    campaign = Campaign(("bmv2", "embedded"), pipeline_directory(), lambda report: None)
    try:
        campaign.run(seed=2026, numbers=itertools.count(), packets=PACKETS, findings=1)
    finally:
        campaign.close()
    report = campaign.report
    assert not report.findings, "\n".join(finding.describe() for finding in report.findings)
    assert report.packets >= PACKETS
    # A run in which nothing comes far compares nothing.
    assert report.outputs > PACKETS // 20
    assert len(report.drops) > 40
