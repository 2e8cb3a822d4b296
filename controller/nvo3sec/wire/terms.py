# SPDX-License-Identifier: Apache-2.0
"""What of an agent's credentials ends, from dataclasses to bytes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nvo3sec.domain.messages.credential_terms import SAID, CredentialTerms, Term, TermKind
from nvo3sec.errors import WireError
from nvo3sec.wire import checks
from nvo3sec.wire import nva_pb2 as pb

T = TypeVar("T")

NAME_LIMIT = 500
FAULT_LIMIT = 2000
MOMENT_LIMIT = 253402300800.0
"""The year 10000, in seconds since 1970: certificates end before (RFC 5280 4.1.2.5)."""
KINDS = {
    TermKind.CERTIFICATE: pb.TERM_KIND_CERTIFICATE,
    TermKind.REVOCATION_LIST: pb.TERM_KIND_REVOCATION_LIST,
    TermKind.TRUST_ANCHOR: pb.TERM_KIND_TRUST_ANCHOR,
}


def terms_out(message: CredentialTerms) -> Any:
    """What other people wrote into certificates can be anything; it is shortened here rather than refused there."""
    terms = [
        pb.Term(kind=KINDS[one.kind], name=_printable(one.name, NAME_LIMIT), begins=one.begins, ends=one.ends)
        for one in message.terms[:SAID]
    ]
    return pb.CredentialTerms(terms=terms, faults=[_printable(one, FAULT_LIMIT) for one in message.faults[:SAID]])


def terms_in(message: Any) -> CredentialTerms:
    """Raises WireError."""
    return CredentialTerms(
        terms=_few(message.terms, "terms.terms", _term),
        faults=_few(message.faults, "terms.faults", lambda one, field: checks.text(one, field, FAULT_LIMIT)),
    )


def _few(values: Any, field: str, convert: Callable[[Any, str], T]) -> tuple[T, ...]:
    if len(values) > SAID:
        raise WireError(field, f"must be at most {SAID}")
    return checks.items(values, field, convert)


def _term(one: Any, field: str) -> Term:
    return Term(
        kind=checks.chosen(one.kind, f"{field}.kind", KINDS),
        name=checks.text(one.name, f"{field}.name", NAME_LIMIT),
        begins=_moment(one.begins, f"{field}.begins"),
        ends=_moment(one.ends, f"{field}.ends"),
    )


def _moment(value: float, field: str) -> float:
    if not 0.0 <= value <= MOMENT_LIMIT:  # what is no number is neither
        raise WireError(field, "must be a time between the years 1970 and 9999")
    return value


def _printable(text: str, limit: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:limit]
