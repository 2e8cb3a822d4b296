# SPDX-License-Identifier: Apache-2.0
"""Every drop reason has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

from nvo3ref.reasons import Reason

# With the reason for each; README.md has them in full.
WITHOUT_TEST = {
    Reason.PARSER_ERROR: "no input brings any other parser error about",
    Reason.COMMIT_GENERATION: "needs two packets in ingress at once",
    Reason.COMMIT_TOO_LATE: "needs two packets in ingress at once",
    Reason.COMMIT_REPLAYED: "needs two packets in ingress at once",
}


def _expected_by_tests() -> set[str]:
    here = Path(__file__)
    sources = [path.read_text() for path in here.parent.glob("test_*.py") if path != here]
    return set(re.findall(r"\bReason\.([A-Z0-9_]+)", "\n".join(sources)))


def test_every_reason_is_expected_somewhere() -> None:
    missing = {reason.name for reason in Reason} - _expected_by_tests() - {reason.name for reason in WITHOUT_TEST}
    assert not missing, (
        f"name Reason.{min(missing)} in a test, or in WITHOUT_TEST, with why (without: {sorted(missing)})"
    )


def test_exceptions_are_still_needed() -> None:
    named = {reason.name for reason in WITHOUT_TEST} & _expected_by_tests()
    assert not named, f"a test names these: take them out of WITHOUT_TEST: {sorted(named)}"
