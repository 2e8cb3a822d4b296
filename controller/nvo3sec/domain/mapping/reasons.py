# SPDX-License-Identifier: Apache-2.0
"""Why an announcement is refused or frozen, in words."""

from __future__ import annotations

from nvo3sec.domain.mapping.events import Reason

REASONS = {
    Reason.OWNED: "another tenant system has an address of it",
    Reason.HELD: "an address is kept for a successor, or contested",
    Reason.ABSENT: "the owner of an address lost its lease, and who had waited for it does not get it by that",
    Reason.RESERVED: "an address is reserved for other NVEs",
    Reason.NO_LEASE: "the NVE has no lease",
    Reason.NOT_SERVED: "the NVE does not serve the VN, or has no such VAP",
    Reason.BAD_ADDRESS: "an address is none that a tenant system can have",
    Reason.QUOTA: "the NVE, the VAP or the tenant system has as many as it may have",
    Reason.STATIC: "the domain file states it; only the domain file changes it",
    Reason.FOREIGN: "another hypervisor announced it",
    Reason.EVICTED: "an operator has evicted it, and its agent does not bring it back by itself",
    Reason.UNKNOWN: "there is no such tenant system",
    Reason.HINT: "the address is not stated for a set of VAPs with this one among them",
    Reason.TOO_SOON: "the address has moved less than a second ago",
    Reason.UNSTEADY: "the address has moved too often, and stays where it is until an operator decides",
}
"""In words for people."""

_BY_CODE = {reason.value: words for reason, words in REASONS.items()}


def words_of(code: str) -> str:
    """The words for a reason as it comes in an answer; "" for one that this version does not know, and for none."""
    return _BY_CODE.get(code, "")
