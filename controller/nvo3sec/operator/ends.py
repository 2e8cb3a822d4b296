# SPDX-License-Identifier: Apache-2.0
"""What of a process's credentials ends, in what its operator is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from nvo3sec.domain.messages.credential_terms import CredentialTerms, Urgency
from nvo3sec.operator.documents import End, Status
from nvo3sec.operator.fair_share import left_out

S = TypeVar("S", bound=Status)

ROW_BYTES = 160
"""Of a row of what ends, without its name."""


def with_terms(report: S, said: Mapping[str, CredentialTerms], now: float, room: int | None = None) -> S:
    """A status with what ends in each process, by its name (ROLE/NAME). now: seconds since 1970.

    What several processes say with the same words is one warning, and names them. room: for what all of them say,
    bytes of JSON: of those that are too much, the longest are left out, and that is a warning.
    """
    ends = []
    warnings: dict[str, list[str]] = {}
    unsaid = left_out({process: _said(one, now) for process, one in said.items()}, room)
    for process, why in unsaid.items():
        warnings.setdefault(f"what it says of its credentials: {why}", []).append(process)
    for process, credentials in said.items():
        if process in unsaid:
            continue
        for fault in credentials.faults:
            warnings.setdefault(fault, []).append(process)
        for term in credentials.terms:
            urgency = term.urgency(now)
            left_s = round(term.ends - now)
            ends.append(End(process, term.kind.value, term.name, left_s, urgency.name.lower()))
            if urgency is not Urgency.NONE:
                warnings.setdefault(term.describe(now), []).append(process)
    told = [f"{', '.join(processes)}: {what}" for what, processes in warnings.items()]
    return replace(report, ends=tuple(ends), warnings=(*(report.warnings or ()), *told))


def _said(credentials: CredentialTerms, now: float) -> list[str]:
    """All that becomes of it in a status: a row and a warning for each term, a warning for each fault."""
    terms = [text for one in credentials.terms for text in (one.name, one.describe(now), "." * ROW_BYTES)]
    return [*terms, *credentials.faults]
